//! Shell: the `update force` commands of the two people who sign. They need no data folder and no server.

use std::path::Path;

use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{Keyring, SignedDigest};
use homeward_protocol::release::force::{Force, MAX_FORCE, NEVER, Review, kept};
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::admin::keys::{self, FileKey};
use crate::admin::policy::papers::{self as signing, DIGITS};
use crate::admin::{AdminError, Said};
use crate::cli::force::{ForceCommand, ForceReview, ForceSign};
use crate::force::paper::{MAX_PAPERS, Papers};
use crate::policy::paper::{PaperError, Papers as PolicyPapers};

/// Runs a command that needs no data folder; none when it needs one.
pub fn run(command: &ForceCommand, now: Timestamp) -> Option<Result<Said, AdminError>> {
    Some(match command {
        ForceCommand::Sign(asked) => sign(asked),
        ForceCommand::Review(asked) => review(asked, now),
        ForceCommand::Check { file, roots } => check(file, roots.as_deref()),
        _ => return None,
    })
}

/// What an order says, and what it never does.
pub fn about(order: &Force) -> String {
    let mut text = format!(
        "Order        number {} to force an update of {}\nUpdate       {}, word {}\nSHA-256      {}\nHolds        {} to \
         {}\nWhy          {}\nOverrules:\n",
        order.number,
        order.gateway,
        order.path,
        order.assignment,
        order.sha256,
        order.not_before,
        order.until,
        order.reason.as_str()
    );
    for one in order.overrules.iter() {
        text.push_str(&format!("  {:<12} {}\n", one.name(), one.words()));
    }
    text.push_str(&format!(
        "{NEVER}\nIt serves one activation of this update, and the reboot that belongs to it.\n"
    ));
    text
}

/// The same for programs.
pub fn json(order: &Force) -> Value {
    json!({
        "number": order.number, "gateway": order.gateway, "word": order.assignment, "path": order.path,
        "sha256": order.sha256.to_string(), "overrules": order.overrules, "reason": order.reason,
        "not_before": order.not_before.to_string(), "until": order.until.to_string(),
    })
}

/// Signed blocks of a file.
pub fn read(file: &Path) -> Result<Papers, AdminError> {
    Papers::parse(&signing::text(file, MAX_PAPERS)?).map_err(odd(file))
}

fn odd(file: &Path) -> impl FnOnce(PaperError) -> AdminError + '_ {
    move |why| AdminError::Asked(format!("{}: {why}", file.display()))
}

fn sign(asked: &ForceSign) -> Result<Said, AdminError> {
    let text = signing::text(&asked.file, MAX_FORCE)?;
    let order =
        Force::read(&text).map_err(|why| AdminError::Asked(format!("{}: {why}", asked.file.display())))?;
    let ring = PolicyPapers::parse(&signing::text(
        &asked.keyring,
        MAX_PAPERS.max(crate::policy::paper::MAX_PAPERS),
    )?);
    let ring = ring.map_err(odd(&asked.keyring))?;
    let ring = ring.keyring().map_err(odd(&asked.keyring))?;
    let keyring: Keyring = signing::unverified(ring, &asked.keyring)?;
    let key = FileKey::read(&asked.key, asked.passphrase_file.as_deref())?;
    let author = signing::named(&keyring.authors, &key.public()?, "author")?;
    let force = signing::seal(&order, &key)?;
    let digest = SignedDigest::of(&force).to_string();
    let papers = Papers {
        keyring: Some(ring.to_vec()),
        force: Some(force),
        review: None,
    };
    keys::create(&asked.out, papers.to_string().as_bytes(), 0o644)?;
    let text = format!(
        "{}Signed by    {}\nDigest       {digest}\nNow a second person reads and signs it: homeward-fleet update force review \
         {}",
        about(&order),
        author.name.as_str(),
        asked.out.display()
    );
    let mut json = json(&order);
    json["digest"] = json!(digest);
    json["author"] = json!(author.name.as_str());
    Ok(Said::new(text, &json))
}

fn review(asked: &ForceReview, now: Timestamp) -> Result<Said, AdminError> {
    let mut papers = read(&asked.file)?;
    let bytes = papers.force().map_err(odd(&asked.file))?.to_vec();
    let keyring: Keyring = signing::unverified(papers.keyring().map_err(odd(&asked.file))?, &asked.file)?;
    let order: Force = signing::unverified(&bytes, &asked.file)?;
    let author = signing::by::<Force>(&keyring.authors, &bytes)?.clone();
    let digest = SignedDigest::of(&bytes);
    let mut json = json(&order);
    json["digest"] = json!(digest.to_string());
    let (Some(key), Some(given), Some(out)) = (&asked.key, &asked.digest, &asked.out) else {
        let text = format!(
            "{}Signed by    {}\nDigest       {digest}\n\nTo sign that you read this: --key FILE --digest {} --out FILE",
            about(&order),
            author.name.as_str(),
            digest.to_string().get(..DIGITS).unwrap_or_default()
        );
        return Ok(Said::new(text, &json));
    };
    let given = given.to_ascii_lowercase();
    if given.len() < DIGITS || !digest.to_string().starts_with(&given) {
        return Err(AdminError::Asked(format!(
            "{} holds the order with the digest {digest}, not one that begins with {given} (give at least {DIGITS} digits)",
            asked.file.display()
        )));
    }
    let key = FileKey::read(key, asked.passphrase_file.as_deref())?;
    let own = key.public()?;
    let reviewer = signing::named(&keyring.reviewers, &own, "reviewer")?;
    if own == author.key {
        return Err(AdminError::Asked(
            "the author cannot be the reviewer: a second person has to read it".into(),
        ));
    }
    let made = Review {
        force: digest,
        number: order.number,
        at: Moment::from_secs(now.secs()),
    };
    papers.review = Some(signing::seal(&made, &key)?);
    keys::create(out, papers.to_string().as_bytes(), 0o644)?;
    let text = format!(
        "{}Signed by    {}\nReviewed by  {}\nBring it: homeward-fleet --data DIR update force send {}",
        about(&order),
        author.name.as_str(),
        reviewer.name.as_str(),
        out.display()
    );
    json["reviewer"] = json!(reviewer.name.as_str());
    Ok(Said::new(text, &json))
}

fn check(file: &Path, roots: Option<&Path>) -> Result<Said, AdminError> {
    let text = signing::text(file, MAX_PAPERS)?;
    let papers = match Papers::parse(&text) {
        Ok(papers) => papers,
        Err(PaperError::Missing(_)) if !text.contains("-----BEGIN ") => {
            let order =
                Force::read(&text).map_err(|why| AdminError::Found(format!("{}: {why}", file.display())))?;
            let said = format!("{}NOT SIGNED   this is the document alone", about(&order));
            return Ok(Said::new(said, &json(&order)));
        }
        Err(why) => return Err(odd(file)(why)),
    };
    let order: Force = signing::unverified(papers.force().map_err(odd(file))?, file)?;
    let offer = papers.offer().map_err(odd(file))?;
    let (mut text, mut json) = (about(&order), json(&order));
    json["digest"] = json!(offer.digest().to_string());
    let Some(roots) = roots else {
        text.push_str("NOT CHECKED  who signed it: give --roots FILE");
        return Ok(Said::new(text, &json));
    };
    match kept(&offer, &signing::root_keys(roots)?) {
        Ok(accepted) => {
            let (author, reviewer) = accepted.people();
            text.push_str(&format!(
                "Signed by    {}\nReviewed by  {}",
                author.as_str(),
                reviewer.as_str()
            ));
            json["author"] = json!(author.as_str());
            json["reviewer"] = json!(reviewer.as_str());
            Ok(Said::new(text, &json))
        }
        Err(why) => {
            text.push_str(&format!("REFUSED      {why}"));
            json["refused"] = json!(why.to_string());
            Ok(Said::new(text, &json).failed())
        }
    }
}
