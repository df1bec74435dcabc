//! Shell: the `policy` commands of people who write, review and vouch. They need no data folder and no server.

use std::path::Path;

use homeward_protocol::policy::check::{Checked, Severity, check};
use homeward_protocol::policy::diff::{Change, diff};
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Accepted, Keyring, Offer, Review, SecondPerson, SignedDigest, SigningKey, kept,
};
use homeward_protocol::policy::{MAX_POLICY, OnExpiry, Policy};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{Message, PublicKey, Signed};
use homeward_protocol::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{AdminError, Said};
use crate::admin::ca::strong;
use crate::admin::keys::{self, FileKey};
use crate::cli::{Keygen, KeyringMake, Person, PolicyCommand};
use crate::cli::{PolicyReview, PolicySign};
use crate::policy::book::audience;
use crate::policy::draft::text::TextDigest;
use crate::policy::paper::{MAX_PAPERS, PaperError, Papers};
use crate::policy::roots::keys_of;

/// Fewest digits of a digest that a reviewer gives.
pub(in crate::admin) const DIGITS: usize = 8;

/// Runs a command that needs no data folder; none when it needs one.
pub fn run(command: &PolicyCommand, now: Timestamp) -> Option<Result<Said, AdminError>> {
    Some(match command {
        PolicyCommand::Keygen(asked) => keygen(asked),
        PolicyCommand::Keyring(asked) => keyring(asked, now),
        PolicyCommand::Check { file } => checked(file),
        PolicyCommand::Diff { before, after } => differ(before, after),
        PolicyCommand::Show { file, roots } => show(file, roots.as_deref()),
        PolicyCommand::Sign(asked) => sign(asked),
        PolicyCommand::Review(asked) => review(asked, now),
        PolicyCommand::Schema => Ok(schema()),
        _ => return None,
    })
}

fn keygen(asked: &Keygen) -> Result<Said, AdminError> {
    let passphrase = asked.passphrase_file.as_deref().map(strong).transpose()?;
    let half = asked.out.with_extension("pub");
    let key = FileKey::make(&asked.out, passphrase.as_ref())?;
    let public = key.public()?;
    keys::create(&half, keys::public_pem(&public).as_bytes(), 0o644)?;
    let print = public.fingerprint();
    let text = format!(
        "{} is your key: keep it, and give it to nobody.\n{} is its public half, for the keyring. Its fingerprint is \
         {print}: say it to whoever makes the keyring.",
        asked.out.display(),
        half.display()
    );
    Ok(Said::new(
        text,
        &json!({ "key": asked.out, "public": half, "fingerprint": print }),
    ))
}

fn keyring(asked: &KeyringMake, now: Timestamp) -> Result<Said, AdminError> {
    let before = asked
        .after
        .as_deref()
        .map(|file| unverified::<Keyring>(papers(file)?.keyring().map_err(odd(file))?, file));
    let version = before.transpose()?.map_or(1, |before| before.version + 1);
    let named = |people: &[Person]| people.iter().map(signing_key).collect::<Result<Vec<_>, _>>();
    let made = Keyring {
        version,
        issued: Moment::from_secs(now.secs()),
        expires: Moment::from_secs(now.secs() + i64::from(asked.days) * 86_400),
        authors: named(&asked.authors)?,
        reviewers: named(&asked.reviewers)?,
        second_person: if asked.single_person {
            SecondPerson::NotRequired
        } else {
            SecondPerson::Required
        },
    };
    made.check().map_err(|why| AdminError::Asked(why.to_owned()))?;
    let root = FileKey::read(&asked.root_key, asked.passphrase_file.as_deref())?;
    let papers = Papers {
        keyring: Some(seal(&made, &root)?),
        ..Papers::default()
    };
    keys::create(&asked.out, papers.to_string().as_bytes(), 0o644)?;
    let print = root.public()?.fingerprint();
    let text = format!(
        "{}{} holds it, signed by the root {print}. Load it: homeward-fleet --data DIR policy load {}",
        people(&made),
        asked.out.display(),
        asked.out.display()
    );
    Ok(Said::new(text, &json!({ "keyring": version, "root": print })))
}

fn signing_key(person: &Person) -> Result<SigningKey, AdminError> {
    Ok(SigningKey {
        name: ShortText::try_from(person.name.clone()).map_err(AdminError::Asked)?,
        key: keys::public_key(&person.file)?,
    })
}

fn people(keyring: &Keyring) -> String {
    let mut text = format!(
        "Keyring      number {}, until {}\n",
        keyring.version, keyring.expires
    );
    for (role, keys) in [("Author", &keyring.authors), ("Reviewer", &keyring.reviewers)] {
        for one in keys {
            let (name, print) = (one.name.as_str(), one.key.fingerprint());
            text.push_str(&format!("{role:<12} {name} ({print})\n"));
        }
    }
    if keyring.second_person == SecondPerson::NotRequired {
        text.push_str("ONE PERSON   a policy needs no review\n");
    }
    text
}

/// What was found in a document.
fn checked(file: &Path) -> Result<Said, AdminError> {
    let text = document(file)?;
    let (found, named) = (check(&text), TextDigest::of(text.as_bytes()));
    let text = format!("{}\nSHA-256      {named}", findings(file, &found));
    let said = Said::new(text, &findings_json(&found));
    Ok(if found.policy.is_some() {
        said
    } else {
        said.failed()
    })
}

fn findings(file: &Path, found: &Checked) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        text.push_str(&format!("{}:{finding}\n", file.display()));
    }
    match &found.policy {
        Some(policy) => text.push_str(&format!(
            "{} can be signed: {}, version {}, {} points",
            file.display(),
            policy.name.as_str(),
            policy.version,
            policy.points().len()
        )),
        None => text.push_str(&format!("{} cannot be signed", file.display())),
    }
    text
}

fn findings_json(found: &Checked) -> Value {
    let one = |f: &homeward_protocol::policy::check::Finding| {
        json!({
            "line": f.line, "column": f.column, "path": f.path, "said": f.said,
            "severity": match f.severity { Severity::Error => "error", Severity::Warning => "warning" },
        })
    };
    json!({
        "ok": found.policy.is_some(),
        "findings": found.findings.iter().map(one).collect::<Vec<_>>(),
    })
}

fn differ(before: &Path, after: &Path) -> Result<Said, AdminError> {
    let changes = diff(&any(before)?, &any(after)?);
    Ok(Said::new(change_lines(&changes), &changes_json(&changes)))
}

fn change_lines(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing changes".to_owned();
    }
    changes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Changes as programs read them.
pub fn changes_json(changes: &[Change]) -> Value {
    changes
        .iter()
        .map(|c| json!({ "what": c.what, "before": c.before, "after": c.after }))
        .collect()
}

fn show(file: &Path, roots: Option<&Path>) -> Result<Said, AdminError> {
    let papers = papers(file)?;
    let (policy, keyring) = read(&papers, file)?;
    let offer = papers.offer().map_err(odd(file))?;
    let vouched = roots.map(|roots| Ok::<_, AdminError>(kept(&offer, &root_keys(roots)?)));
    let vouched = vouched.transpose()?;
    let mut text = about(&policy, &offer);
    text.push_str(&people(&keyring));
    let mut said = match &vouched {
        None => {
            text.push_str("NOT CHECKED  who signed it: give --roots FILE\n");
            None
        }
        Some(Err(why)) => {
            text.push_str(&format!("REFUSED      {why}\n"));
            Some(Err(*why))
        }
        Some(Ok(accepted)) => {
            text.push_str(&stands_behind(accepted));
            Some(Ok(accepted))
        }
    };
    text.push_str(&points(&policy));
    let json = json!({
        "name": policy.name.as_str(), "version": policy.version, "digest": offer.digest().to_string(),
        "issued": policy.issued.to_string(), "expires": policy.expires.to_string(),
        "keyring": keyring.version,
        "author": said.as_ref().and_then(|s| s.as_ref().ok()).map(|a| a.author.as_str()),
        "reviewer": said.as_ref().and_then(|s| s.as_ref().ok()).and_then(|a| a.reviewer.as_ref()).map(ShortText::as_str),
        "refused": said.as_ref().and_then(|s| s.as_ref().err()),
        "points": policy.points().iter().map(|p| json!({
            "point": p.id.to_string(), "wanted": p.wanted, "hazard": p.hazard,
        })).collect::<Vec<_>>(),
    });
    let whole = Said::new(text, &json);
    Ok(match said.take() {
        Some(Err(_)) => whole.failed(),
        _ => whole,
    })
}

fn stands_behind(accepted: &Accepted) -> String {
    let reviewer = accepted
        .reviewer
        .as_ref()
        .map_or("nobody, and none is asked for", |r| r.as_str());
    format!(
        "Signed by    {}\nReviewed by  {reviewer}\n",
        accepted.author.as_str()
    )
}

fn about(policy: &Policy, offer: &Offer) -> String {
    let then = match policy.on_expiry {
        OnExpiry::Keep => "it goes on holding",
        OnExpiry::Strict => "the strict one holds",
    };
    format!(
        "Policy       {}, version {}\nFor          {}\nHolds        {} to {}, then {then}\nDigest       {}\n",
        policy.name.as_str(),
        policy.version,
        audience(&policy.audience),
        policy.issued,
        policy.expires,
        offer.digest()
    )
}

fn points(policy: &Policy) -> String {
    let line = |point: &homeward_protocol::policy::points::Point| {
        let hazard = policy.hazards.get(&point.hazard).map_or("", |line| line.as_str());
        format!(
            "  {:<28} {}\n  {:<28} against {}: {hazard}\n",
            point.id.to_string(),
            point.wanted,
            "",
            point.hazard
        )
    };
    policy.points().iter().map(line).collect()
}

fn sign(asked: &PolicySign) -> Result<Said, AdminError> {
    let text = document(&asked.file)?;
    let (found, read) = (check(&text), TextDigest::of(text.as_bytes()));
    if let Some(given) = &asked.digest
        && !read.begins_with(given, DIGITS)
    {
        return Err(AdminError::Asked(format!(
            "{} has the SHA-256 {read}, which does not begin with {given} (give at least {DIGITS} digits): it is not the \
             text that was reviewed",
            asked.file.display()
        )));
    }
    let Some(policy) = found.policy.clone() else {
        return Ok(Said::new(findings(&asked.file, &found), &findings_json(&found)).failed());
    };
    let ring = papers(&asked.keyring)?;
    let ring = ring.keyring().map_err(odd(&asked.keyring))?;
    let keyring: Keyring = unverified(ring, &asked.keyring)?;
    let key = FileKey::read(&asked.key, asked.passphrase_file.as_deref())?;
    let own = key.public()?;
    let author = named(&keyring.authors, &own, "author")?;
    let signed = Papers {
        keyring: Some(ring.to_vec()),
        policy: Some(seal(&policy, &key)?),
        review: None,
    };
    keys::create(&asked.out, signed.to_string().as_bytes(), 0o644)?;
    let digest = signed.offer().map_err(odd(&asked.out))?.digest();
    let next = match keyring.second_person {
        SecondPerson::Required => "Now a reviewer reads and signs it",
        SecondPerson::NotRequired => "No review is asked for",
    };
    let text = format!(
        "{}\nSHA-256      {read}\n{} signed it as {}: {}\nDigest       {digest}\n{next}",
        findings(&asked.file, &found),
        own.fingerprint(),
        author.name.as_str(),
        asked.out.display(),
    );
    Ok(Said::new(
        text,
        &json!({ "version": policy.version, "digest": digest.to_string(), "author": author.name.as_str() }),
    ))
}

fn review(asked: &PolicyReview, now: Timestamp) -> Result<Said, AdminError> {
    let mut papers = papers(&asked.file)?;
    let (policy, keyring) = read(&papers, &asked.file)?;
    let bytes = papers.policy().map_err(odd(&asked.file))?.to_vec();
    let (author, digest) = (
        by::<Policy>(&keyring.authors, &bytes)?.clone(),
        SignedDigest::of(&bytes),
    );
    let changes = asked
        .before
        .as_deref()
        .map(|before| Ok::<_, AdminError>(diff(&any(before)?, &policy)));
    let changes = changes.transpose()?;
    let (Some(key), Some(given), Some(out)) = (&asked.key, &asked.digest, &asked.out) else {
        return to_read(&papers, &asked.file, (&policy, &author), changes.as_deref());
    };
    let given = given.to_ascii_lowercase();
    if given.len() < DIGITS || !digest.to_string().starts_with(&given) {
        return Err(AdminError::Asked(format!(
            "{} holds the policy with the digest {digest}, not one that begins with {given} (give at least {DIGITS} \
             digits)",
            asked.file.display()
        )));
    }
    let key = FileKey::read(key, asked.passphrase_file.as_deref())?;
    let own = key.public()?;
    let reviewer = named(&keyring.reviewers, &own, "reviewer")?;
    if own == author.key {
        return Err(AdminError::Asked(
            "the author cannot be the reviewer: a second person has to read it".into(),
        ));
    }
    let made = Review {
        policy: digest,
        version: policy.version,
        at: Moment::from_secs(now.secs()),
    };
    papers.review = Some(seal(&made, &key)?);
    keys::create(out, papers.to_string().as_bytes(), 0o644)?;
    let text = format!(
        "{} reviewed version {} by {}\nLoad it: homeward-fleet --data DIR policy load {}",
        reviewer.name.as_str(),
        policy.version,
        author.name.as_str(),
        out.display()
    );
    Ok(Said::new(
        text,
        &json!({ "version": policy.version, "digest": digest.to_string(), "reviewer": reviewer.name.as_str() }),
    ))
}

/// What a reviewer reads before signing.
fn to_read(
    papers: &Papers,
    file: &Path,
    (policy, author): (&Policy, &SigningKey),
    changes: Option<&[Change]>,
) -> Result<Said, AdminError> {
    let offer = papers.offer().map_err(odd(file))?;
    let mut text = about(policy, &offer);
    text.push_str(&format!("Author       {}\n", author.name.as_str()));
    match changes {
        Some(changes) => text.push_str(&format!("What changes:\n{}\n", change_lines(changes))),
        None => text.push_str(&points(policy)),
    }
    let digest = offer.digest().to_string();
    text.push_str(&format!(
        "\nTo sign that you read this: --key FILE --digest {} --out FILE",
        digest.get(..DIGITS).unwrap_or_default()
    ));
    let json = json!({ "digest": digest, "changes": changes.map(changes_json) });
    Ok(Said::new(text, &json))
}

fn schema() -> Said {
    let text = homeward_protocol::policy::schema::document();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    Said::new(text, &json)
}

/// Which of these people signed.
pub(in crate::admin) fn by<'a, T: Message>(
    people: &'a [SigningKey],
    bytes: &[u8],
) -> Result<&'a SigningKey, AdminError> {
    let refused = |why: &dyn std::fmt::Display| AdminError::Found(format!("it cannot be reviewed: {why}"));
    let signed = Signed::<T>::parse(bytes).map_err(|e| refused(&e))?;
    let who = people.iter().find(|one| signed.verify(&one.key).is_ok());
    who.ok_or_else(|| refused(&"it is signed by no author of the keyring, or was changed"))
}

/// Whom the keyring names for this key in a role.
pub(in crate::admin) fn named<'a>(
    people: &'a [SigningKey],
    own: &PublicKey,
    role: &str,
) -> Result<&'a SigningKey, AdminError> {
    people.iter().find(|one| one.key == *own).ok_or_else(|| {
        let names: Vec<&str> = people.iter().map(|one| one.name.as_str()).collect();
        AdminError::Asked(format!(
            "the keyring names no {role} with the key {}; it names {}",
            own.fingerprint(),
            if names.is_empty() {
                "nobody".to_owned()
            } else {
                names.join(", ")
            }
        ))
    })
}

/// Signs a message.
pub(in crate::admin) fn seal<T: Message>(message: &T, key: &FileKey) -> Result<Vec<u8>, AdminError> {
    Signed::seal(message, key).map_err(|e| AdminError::Found(crate::admin::told(&e)))
}

/// Reads a message of a file without believing it.
pub(in crate::admin) fn unverified<T: Message>(bytes: &[u8], file: &Path) -> Result<T, AdminError> {
    let read = Signed::<T>::parse(bytes).and_then(|signed| signed.unverified());
    read.map_err(|e| AdminError::Asked(format!("{}: {}", file.display(), crate::admin::told(&e))))
}

fn read(papers: &Papers, file: &Path) -> Result<(Policy, Keyring), AdminError> {
    let policy = unverified(papers.policy().map_err(odd(file))?, file)?;
    Ok((policy, unverified(papers.keyring().map_err(odd(file))?, file)?))
}

fn odd(file: &Path) -> impl FnOnce(PaperError) -> AdminError + '_ {
    move |why| AdminError::Asked(format!("{}: {why}", file.display()))
}

/// Signed blocks of a file.
pub fn papers(file: &Path) -> Result<Papers, AdminError> {
    Papers::parse(&text(file, MAX_PAPERS)?).map_err(odd(file))
}

/// A document's text, as long as one may be; what is longer is for the checker to say.
fn document(file: &Path) -> Result<String, AdminError> {
    text(file, MAX_POLICY * 4)
}

/// The text of a file, of at most so many bytes.
pub(in crate::admin) fn text(file: &Path, max: usize) -> Result<String, AdminError> {
    let bytes = keys::read(file, max as u64)?;
    String::from_utf8(bytes).map_err(|_| AdminError::Asked(format!("{} is not text", file.display())))
}

/// The policy of a document, or of what was signed.
fn any(file: &Path) -> Result<Policy, AdminError> {
    let text = text(file, MAX_PAPERS)?;
    if Papers::is_in(&text) {
        let papers = Papers::parse(&text).map_err(odd(file))?;
        return unverified(papers.policy().map_err(odd(file))?, file);
    }
    let found = check(&text);
    let why = findings(file, &found);
    found.policy.ok_or(AdminError::Found(why))
}

/// The keys of the roots in a file of certificates.
pub(in crate::admin) fn root_keys(file: &Path) -> Result<Vec<PublicKey>, AdminError> {
    let bytes = keys::read(file, keys::MAX_PEM)?;
    let all: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| AdminError::Asked(format!("{}: {e}", file.display())))?;
    let found = keys_of(&all);
    if found.is_empty() {
        let why = format!("{} holds no certificate of a root", file.display());
        return Err(AdminError::Asked(why));
    }
    Ok(found)
}
