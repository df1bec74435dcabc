//! Shell: `ca`: the state of the authority, its keys following one another, single certificates, revocation lists.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: writes the lists that were asked for"
)]

use std::path::{Path, PathBuf};

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde_json::json;

use super::{AdminError, BY, Said};
use crate::audit::Action;
use crate::ca::passphrase::{self, Passphrase, SHORTEST};
use crate::ca::rotate::{self, Opener};
use crate::ca::{Authority, Bundle, CaError, DAY_MS, LATE_DAYS, Serial, signer};
use crate::cli::{CaCommand, RootKey, RotateCommand};
use crate::clock::Clock;
use crate::place::Place;
use crate::store::trust::{self, Holder};
use crate::store::{Store, audit, certificates, signals};

/// Gateways named when some are behind.
const NAMED: usize = 10;

/// Runs one `ca` command.
pub async fn run(place: &Place, command: &CaCommand, clock: &Clock) -> Result<Said, AdminError> {
    let (_, store) = super::open(place)?;
    let (dir, now) = (place.authority(), clock.now());
    match command {
        CaCommand::Status => super::ca_status::status(&dir, &store, now).await,
        CaCommand::Rotate(which) => rotate(&dir, &store, which, now).await,
        CaCommand::Revoke {
            serial,
            reason,
            dry_run,
        } => revoke(&store, *serial, reason, *dry_run, now).await,
        CaCommand::Crl { out } => lists(&dir, &store, out.as_deref(), now).await,
        CaCommand::Seal { passphrase_file } => seal(&dir, Some(passphrase_file), &store, now).await,
        CaCommand::Unseal => seal(&dir, None, &store, now).await,
    }
}

async fn rotate(
    dir: &Path,
    store: &Store,
    which: &RotateCommand,
    now: Timestamp,
) -> Result<Said, AdminError> {
    match which {
        RotateCommand::Issuing { keys, dry_run } => {
            let what = "New intermediates for gateways and servers under the active root";
            if *dry_run {
                return Ok(planned(
                    what,
                    "Gateways notice nothing: they get certificates of the new one as they renew.",
                ));
            }
            let pass = passphrase_of(keys)?;
            let by = Opener {
                root_key: &keys.root_key,
                passphrase: pass.as_ref(),
            };
            rotate::issuing(dir, by, now)?;
            tell(store, what, now).await?;
            Ok(done(what, &[]))
        }
        RotateCommand::Root {
            keys,
            new_key_to,
            leave_behind,
            dry_run,
        } => {
            let held = everybody_has(dir, store, *leave_behind, *dry_run, now).await?;
            let what = "The next root is the active one now";
            if *dry_run {
                return Ok(planned(
                    "The next root becomes the active one, and a new next one is made",
                    &held,
                ));
            }
            let pass = passphrase_of(keys)?;
            let by = Opener {
                root_key: &keys.root_key,
                passphrase: pass.as_ref(),
            };
            let made = rotate::root(dir, by, new_key_to, now)?;
            tell(store, what, now).await?;
            let key = format!(
                "The key of the new next root is {}: keep it away from this machine.",
                made.display()
            );
            let then = "Gateways fetch the new roots within a day, connected ones at once; see `ca status`. When all \
                        have them, `ca rotate drop-old` ends the trust in the old root.";
            Ok(done(what, &[&key, then]))
        }
        RotateCommand::DropOld {
            leave_behind,
            dry_run,
        } => {
            if signer::published(dir)?.leaving.is_empty() {
                return Err(AdminError::Asked(
                    "no root is on its way out; there is nothing to drop".into(),
                ));
            }
            let held = everybody_has(dir, store, *leave_behind, *dry_run, now).await?;
            if *dry_run {
                return Ok(planned("The old root is trusted no more", &held));
            }
            let count = rotate::drop_leaving(dir)?;
            let what = format!("{count} old root(s) trusted no more");
            tell(store, &what, now).await?;
            Ok(done(&what, &["Gateways fetch the shorter list within a day."]))
        }
    }
}

/// What opens a root's key and seals the new ones, if anything does.
fn passphrase_of(keys: &RootKey) -> Result<Option<Passphrase>, CaError> {
    match &keys.passphrase_file {
        Some(path) => passphrase::from_file(path).map(Some),
        None => passphrase::given(),
    }
}

/// Refuses while a gateway that may come back has not said that it holds today's roots: it would be shut out.
async fn everybody_has(
    dir: &Path,
    store: &Store,
    leave_behind: bool,
    dry_run: bool,
    now: Timestamp,
) -> Result<String, AdminError> {
    let bundle = signer::published(dir)?;
    let (with, without) = who_has(store, &bundle, now).await?;
    if without.is_empty() {
        return Ok(format!(
            "All {with} gateways that may come back hold today's roots."
        ));
    }
    let said = format!(
        "{} of {} gateways have not said that they hold today's roots: {}",
        without.len(),
        with + without.len(),
        named(&without)
    );
    if leave_behind || dry_run {
        return Ok(format!(
            "{said}. They would need a new claim if they do not hold them."
        ));
    }
    Err(AdminError::Found(format!(
        "{said}.\nWait until they were connected, or leave them behind with --leave-behind: then they need a new claim."
    )))
}

/// How many hold the roots of this bundle, and who does not.
pub(super) async fn who_has(
    store: &Store,
    bundle: &Bundle,
    now: Timestamp,
) -> Result<(usize, Vec<GatewayId>), AdminError> {
    const PAGE: i64 = 1000;
    let (mark, late) = (bundle.mark()?, now.plus_ms(-LATE_DAYS * DAY_MS));
    let (mut with, mut without, mut after) = (0, Vec::new(), None);
    loop {
        let from: Option<GatewayId> = after.take();
        let page: Vec<Holder> = store
            .read(move |tx| trust::holders(tx, late, from.as_ref(), PAGE))
            .await?;
        let Some(last) = page.last() else {
            return Ok((with, without));
        };
        after = Some(last.gateway.clone());
        for holder in page {
            if holder.mark == Some(mark) {
                with += 1;
            } else {
                without.push(holder.gateway);
            }
        }
    }
}

/// The first of them, and how many more.
pub(super) fn named(gateways: &[GatewayId]) -> String {
    let first: Vec<&str> = gateways.iter().take(NAMED).map(GatewayId::as_str).collect();
    match gateways.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

async fn tell(store: &Store, what: &str, now: Timestamp) -> Result<(), AdminError> {
    let what = what.to_owned();
    let told = store.write(move |tx| {
        audit::record(tx, now, BY, Action::AuthorityChanged, "authority", &what)?;
        signals::raise(tx, signals::Kind::Authority, "", now)
    });
    Ok(told.await?)
}

async fn revoke(
    store: &Store,
    serial: Serial,
    reason: &str,
    dry_run: bool,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let found = store.read(move |tx| certificates::by_serial(tx, serial)).await?;
    let Some(row) = found else {
        return Err(AdminError::Found(format!(
            "no certificate has the number {serial}; `gateway show ID` lists those of a gateway"
        )));
    };
    let (gateway, until) = (row.gateway.clone(), row.not_after);
    if let Some(at) = row.revoked_at {
        return Err(AdminError::Found(format!(
            "certificate {serial} of {gateway} was revoked at {at} already"
        )));
    }
    let json = json!({ "serial": serial.to_string(), "gateway": gateway.as_str(), "dry_run": dry_run });
    if dry_run {
        let text = format!(
            "Certificate {serial} of {gateway}, valid until {until}, would be refused from now on. If it is the one \
             that the box uses, the box needs a new claim. Nothing was changed."
        );
        return Ok(Said::new(text, &json));
    }
    let (detail, of) = (format!("number {serial}: {reason}"), gateway.clone());
    let written = store.write(move |tx| {
        certificates::revoke(tx, serial, now)?;
        audit::record(tx, now, BY, Action::CertificateRevoked, of.as_str(), &detail)?;
        signals::raise(tx, signals::Kind::Certificate, of.as_str(), now)
    });
    written.await?;
    Ok(Said::new(
        format!("Certificate {serial} of {gateway} is revoked."),
        &json,
    ))
}

async fn lists(dir: &Path, store: &Store, out: Option<&Path>, now: Timestamp) -> Result<Said, AdminError> {
    let authority = Authority::open(dir)?;
    let late = now.plus_ms(-LATE_DAYS * DAY_MS);
    let revoked = store.read(move |tx| certificates::revoked(tx, late)).await?;
    let lists = authority.crls(&revoked, now)?;
    let text: String = lists.iter().map(|list| signer::pem_list(&list.crl)).collect();
    let json = json!({ "lists": lists.len(), "revoked": revoked.len(), "pem": text });
    let Some(path) = out else {
        return Ok(Said::new(text, &json));
    };
    // Whole or not at all: a broker may read it at any moment.
    let fresh = path.with_extension("new");
    let written = std::fs::write(&fresh, &text).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|e| AdminError::Found(format!("could not write {}: {e}", path.display())))?;
    let said = format!(
        "{} list(s) with {} revoked certificates in {}",
        lists.len(),
        revoked.len(),
        path.display()
    );
    Ok(Said::new(said, &json))
}

async fn seal(dir: &Path, file: Option<&PathBuf>, store: &Store, now: Timestamp) -> Result<Said, AdminError> {
    let old = passphrase::given()?;
    let new = file.map(|path| strong(path)).transpose()?;
    let count = rotate::seal(dir, old.as_ref(), new.as_ref())?;
    let what = match &new {
        Some(_) => format!("{count} keys are sealed by the passphrase"),
        None => format!("{count} keys are in the clear"),
    };
    tell(store, &what, now).await?;
    let then = match &new {
        Some(_) => {
            "Give the passphrase to the server as the systemd credential `ca-passphrase`, or name its file in \
             HOMEWARD_CA_PASSPHRASE_FILE. Without it the server does not start, and nothing opens the keys again."
        }
        None => "Whoever reads the disk can issue certificates.",
    };
    Ok(done(&what, &[then]))
}

/// A passphrase that is long enough to seal.
pub(super) fn strong(path: &Path) -> Result<Passphrase, AdminError> {
    let pass = passphrase::from_file(path)?;
    if pass.chars().count() < SHORTEST {
        return Err(AdminError::Asked(format!(
            "the passphrase in {} has fewer than {SHORTEST} characters: whoever has the files can guess without limit",
            path.display()
        )));
    }
    Ok(pass)
}

fn planned(what: &str, then: &str) -> Said {
    Said::new(
        format!("{what}.\n{then}\nNothing was changed."),
        &json!({ "dry_run": true, "what": what, "then": then }),
    )
}

fn done(what: &str, then: &[&str]) -> Said {
    let text = std::iter::once(format!("{what}.")).chain(then.iter().map(|t| (*t).to_owned()));
    Said::new(
        text.collect::<Vec<_>>().join("\n"),
        &json!({ "done": what, "then": then }),
    )
}
