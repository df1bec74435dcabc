//! Shell: `reading verify`: files in, a judgement out. Nothing is asked of a server or of a data folder.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads the files that are to be checked"
)]

use std::path::{Path, PathBuf};

use homeward_protocol::grade::Reason;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;

use super::readings::{CERTIFICATES, ENVELOPES};
use super::{AdminError, Said, judged};
use crate::care::reading as said;
use crate::cli::ReadingVerify;
use crate::stamp::judged::Judged;
use crate::stamp::papers::Papers;
use crate::stamp::{Checked, Link, Verifier, sequence};

/// Refusals that are named one by one; more are only counted.
const NAMED: usize = 50;

/// What came of a check.
#[derive(Debug, Default, Serialize)]
struct Account {
    /// Whether everything holds.
    ok: bool,
    /// Envelopes that hold.
    envelopes: u64,
    /// Readings that hold, by their grade.
    verified: u64,
    associated: u64,
    unverified: u64,
    /// Verified readings for which the files also hold their gateway's report of the bond.
    bond_reported: u64,
    /// Readings by how the fleet judged their gateway when they were taken, where the files hold that: trusted, with a
    /// warning, not relied on, not judged yet.
    judged: Option<[u64; 4]>,
    /// Records that are between the envelopes and not here, as far as that can be counted.
    not_here: u64,
    /// Envelopes and readings that are refused.
    refused: u64,
    /// The first of them.
    why: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    file: String,
    /// Which envelope of the file, from 1.
    envelope: usize,
    gateway: Option<String>,
    /// Which record, when it is one alone.
    number: Option<u64>,
    why: String,
}

impl Account {
    fn take(&mut self, checked: &Checked, file: &Path, envelope: usize, judged: &[Judged]) {
        use homeward_protocol::grade::Grade;
        let judged: Vec<&Judged> = judged.iter().filter(|j| j.gateway == checked.gateway).collect();
        self.envelopes += 1;
        if let Link::Apart(Some(missing)) = checked.link {
            self.not_here += missing;
        }
        for stamp in &checked.stamps {
            match stamp.reading.grade {
                Grade::Verified => self.verified += 1,
                Grade::Associated => self.associated += 1,
                Grade::Unverified => self.unverified += 1,
            }
            let said = judged.iter().find_map(|j| j.against(stamp.reading.taken_at));
            if let Some(said) = said {
                let place = match said {
                    Ok(()) => 0,
                    Err(Reason::GatewayUnproven) => 1,
                    Err(Reason::GatewayUnjudged) => 3,
                    Err(_) => 2,
                };
                if let Some(count) = self.judged.get_or_insert_default().get_mut(place) {
                    *count += 1;
                }
            }
            let reported = stamp.reading.grade == Grade::Verified && stamp.bond.is_some();
            self.bond_reported += u64::from(reported);
        }
        for (seq, doubt) in &checked.refused {
            self.refuse(Refused {
                file: file.display().to_string(),
                envelope,
                gateway: Some(checked.gateway.to_string()),
                number: Some(seq.0),
                why: doubt.to_string(),
            });
        }
    }

    fn refuse(&mut self, refused: Refused) {
        self.refused += 1;
        if self.why.len() < NAMED {
            self.why.push(refused);
        }
    }

    fn text(&self, papers: &Papers) -> String {
        use homeward_protocol::grade::Grade;
        let counts = [
            (self.verified, Grade::Verified),
            (self.associated, Grade::Associated),
            (self.unverified, Grade::Unverified),
        ];
        let counts: Vec<String> = counts
            .iter()
            .map(|(n, g)| format!("{n} {}", said::grade(*g)))
            .collect();
        let readings = self.verified + self.associated + self.unverified;
        let mut text = format!(
            "{readings} readings hold, in {} signed envelopes: {}\n",
            self.envelopes,
            counts.join(", ")
        );
        if self.verified > 0 {
            text.push_str(&format!(
                "{} of the verified ones stand on a bond that their gateway reported before\n",
                self.bond_reported
            ));
        }
        if let Some([trusted, warned, doubted, unjudged]) = self.judged {
            text.push_str(&format!(
                "Their fleet, which signed that, judged their gateways then: trusted {trusted}, with a warning \
                 {warned}, not relied on {doubted}, not judged yet {unjudged}\n"
            ));
        } else if self.verified > 0 {
            text.push_str(
                "How their fleet judged the gateways then is not in these files: ask it (`attest show`)\n",
            );
        }
        if self.not_here > 0 {
            text.push_str(&format!("{} records between them are not here\n", self.not_here));
        }
        for refused in &self.why {
            let number = refused.number.map_or(String::new(), |n| format!(", number {n}"));
            let gateway = refused
                .gateway
                .as_deref()
                .map_or(String::new(), |g| format!(", {g}"));
            text.push_str(&format!(
                "REFUSED {} envelope {}{gateway}{number}: {}\n",
                refused.file, refused.envelope, refused.why
            ));
        }
        for why in papers.refused() {
            text.push_str(&format!("Certificate left out: {why}\n"));
        }
        text.push_str(&match (self.refused, readings) {
            (0, 0) => "Nothing was found to rely on".to_owned(),
            (0, _) => "All of it holds".to_owned(),
            (n, _) => format!("{n} refused"),
        });
        text
    }
}

/// Checks envelopes against certificates and roots. An error says what does not hold; exit code 1.
pub fn verify(asked: &ReadingVerify) -> Result<Said, AdminError> {
    let papers = papers(asked)?;
    let mut verifier = Verifier::new(papers);
    let mut account = Account::default();
    let roots = pem(&asked.roots)?;
    let mut judged = Vec::new();
    for folder in asked.paths.iter().filter(|path| path.is_dir()) {
        judged.extend(judged::read(folder, &roots)?);
    }
    for path in &asked.paths {
        let file = if path.is_dir() {
            path.join(ENVELOPES)
        } else {
            path.clone()
        };
        check(&file, &mut verifier, &mut account, &judged)?;
    }
    let readings = account.verified + account.associated + account.unverified;
    account.ok = account.refused == 0 && readings > 0;
    let said = Said::new(account.text(verifier.papers()), &account);
    Ok(if account.ok { said } else { said.failed() })
}

fn check(
    file: &Path,
    verifier: &mut Verifier,
    account: &mut Account,
    judged: &[Judged],
) -> Result<(), AdminError> {
    let bytes = read(file)?;
    let mut rest = bytes.as_slice();
    for envelope in 1.. {
        if rest.is_empty() {
            break;
        }
        // Where the next one begins cannot be known when this one is none.
        let (one, after) = sequence::split(rest).unwrap_or((rest, &[]));
        match verifier.check(one) {
            Ok(checked) => account.take(&checked, file, envelope, judged),
            Err(fault) => account.refuse(Refused {
                file: file.display().to_string(),
                envelope,
                gateway: None,
                number: None,
                why: super::told(&fault).replace('\n', " "),
            }),
        }
        rest = after;
    }
    Ok(())
}

fn papers(asked: &ReadingVerify) -> Result<Papers, AdminError> {
    let roots = pem(&asked.roots)?;
    let mut files: Vec<PathBuf> = asked.certificates.clone();
    files.extend(
        asked
            .paths
            .iter()
            .filter(|p| p.is_dir())
            .map(|p| p.join(CERTIFICATES)),
    );
    let mut certificates = Vec::new();
    for file in &files {
        certificates.extend(pem(file)?);
    }
    if certificates.is_empty() {
        let why = "no certificate of a gateway was given: give the folder of `reading export`, or --certificates FILE";
        return Err(AdminError::Asked(why.into()));
    }
    let lists = asked.crl.as_deref().map(lists).transpose()?;
    Papers::read(&roots, &certificates, lists.unwrap_or_default())
        .map_err(|e| AdminError::Asked(e.to_string()))
}

pub(super) fn pem(file: &Path) -> Result<Vec<CertificateDer<'static>>, AdminError> {
    let text = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(AdminError::Asked(format!(
            "{} holds no certificate",
            file.display()
        ))),
        Err(error) => Err(AdminError::Asked(format!("{}: {error}", file.display()))),
    }
}

/// All lists of a PEM file, one for each issuer; else the one that the file is.
fn lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, AdminError> {
    let bytes = read(file)?;
    let pem: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    Ok(pem
        .ok()
        .filter(|lists| !lists.is_empty())
        .unwrap_or_else(|| vec![CertificateRevocationListDer::from(bytes)]))
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, AdminError> {
    std::fs::read(file).map_err(|e| AdminError::Asked(format!("could not read {}: {e}", file.display())))
}
