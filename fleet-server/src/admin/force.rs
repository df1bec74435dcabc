//! Shell: `update force draft|send|status`: what is done with orders to force in the data folder.
//!
//! Who signs works elsewhere: [`papers`].

pub mod papers;

use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::SignedDigest;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::release::force::{Force, ForceNumber, Overrule, Overrules};
use homeward_protocol::signed::Message as _;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said, keys};
use crate::ca::signer::published;
use crate::cli::force::{ForceCommand, ForceDraft};
use crate::force::Kept;
use crate::force::take::{self, Taken};
use crate::place::Place;
use crate::policy::roots::keys_of;
use crate::store::{Store, forces, updates};

/// Most orders that are listed.
const MOST: i64 = 200;
const HOUR_S: i64 = 3_600;

/// Runs a command that needs the data folder.
pub async fn run(
    place: &Place,
    store: &Store,
    command: &ForceCommand,
    now: Timestamp,
) -> Result<Said, AdminError> {
    match command {
        ForceCommand::Draft(asked) => draft(store, asked, now).await,
        ForceCommand::Send { file, dry_run } => {
            let offer = papers::read(file)?.offer();
            let offer = offer.map_err(|why| AdminError::Asked(format!("{}: {why}", file.display())))?;
            let roots = keys_of(&published(&place.authority())?.roots());
            let dry = *dry_run;
            let work = move |tx: &mut dyn crate::store::Tx| {
                if dry {
                    take::look(tx, &offer, &roots, now)
                } else {
                    take::take(tx, &offer, &roots, BY, now)
                }
            };
            sent(&store.write(work).await?, dry)
        }
        ForceCommand::Status { gateway } => {
            let gateway = gateway.clone();
            let read = move |tx: &mut dyn crate::store::Tx| match &gateway {
                Some(gateway) => forces::of(tx, gateway, MOST),
                None => forces::newest(tx, MOST),
            };
            Ok(status(&store.read(read).await?, now))
        }
        _ => Err(AdminError::Asked("this needs no data folder".into())),
    }
}

async fn draft(store: &Store, asked: &ForceDraft, now: Timestamp) -> Result<Said, AdminError> {
    let gateway = asked.gateway.clone();
    let read = move |tx: &mut dyn crate::store::Tx| {
        let highest = forces::highest(tx, &gateway)?;
        Ok((updates::get(tx, &gateway)?, highest))
    };
    let (word, highest) = store.read(read).await?;
    let none = || AdminError::Asked(format!("no update is assigned to {}", asked.gateway));
    let word = word.ok_or_else(none)?;
    let odd = || AdminError::Found("the word that is kept for this gateway cannot be read".into());
    let sha256 = Assignment::sha256_of_sealed(&word.word).map_err(|_| odd())?;
    let overrules = asked.overrules.iter().map(|one| Overrule::from(*one));
    let order = Force {
        number: ForceNumber(highest.0 + 1),
        gateway: asked.gateway.clone(),
        assignment: word.counter,
        path: word.path.clone(),
        sha256: SignedDigest(sha256),
        overrules: Overrules::of(overrules)
            .ok_or_else(|| AdminError::Asked("nothing is overruled".into()))?,
        reason: ShortText::try_from(asked.reason.clone()).map_err(AdminError::Asked)?,
        not_before: Moment::from_secs(now.secs()),
        until: Moment::from_secs(now.secs() + i64::from(asked.hours) * HOUR_S),
    };
    order.check().map_err(|why| AdminError::Asked(why.to_owned()))?;
    let text = toml::to_string(&order).map_err(|e| AdminError::Found(e.to_string()))?;
    keys::create(&asked.out, text.as_bytes(), 0o644)?;
    let text = format!(
        "{}{} holds it. Nothing is ordered yet: an author of the policies' keyring signs it:\n  homeward-fleet update force \
         sign {} --key FILE --keyring FILE --out FILE",
        papers::about(&order),
        asked.out.display(),
        asked.out.display()
    );
    Ok(Said::new(text, &papers::json(&order)))
}

fn sent(taken: &Taken, dry: bool) -> Result<Said, AdminError> {
    match taken {
        Taken::Kept { accepted, new } => {
            let (author, reviewer) = accepted.people();
            let order = accepted.order();
            let end = match (dry, new) {
                (true, true) => "It would be taken. Nothing was changed.",
                (true, false) => "It was brought before. Nothing was changed.",
                (false, true) => {
                    "It is sent as soon as the box is connected and has the update: homeward-fleet --data DIR update force \
                     status"
                }
                (false, false) => "It was brought before.",
            };
            let text = format!(
                "{}Signed by    {}\nReviewed by  {}\n{end}",
                papers::about(order),
                author.as_str(),
                reviewer.as_str()
            );
            let mut json = papers::json(order);
            json["new"] = json!(new);
            json["dry_run"] = json!(dry);
            Ok(Said::new(text, &json))
        }
        Taken::Refused(why) => Err(AdminError::Found(format!(
            "not taken, as the box would not follow it: {why}"
        ))),
        Taken::NoGateway => Err(AdminError::Asked("there is no such gateway in service".into())),
        Taken::Number(highest) => Err(AdminError::Found(format!(
            "not taken: an order with the number {highest} was brought for this gateway; draft it again"
        ))),
    }
}

fn status(all: &[Kept], now: Timestamp) -> Said {
    if all.is_empty() {
        return Said::new("Nobody has ordered to force an update".to_owned(), &json!([]));
    }
    let mut text = String::new();
    for one in all {
        text.push_str(&format!(
            "{}  number {} for word {}, by {} and {}: {}\n    overrules {} until {}: {}\n",
            one.gateway,
            one.number,
            one.assignment,
            one.author,
            one.reviewer,
            one.words(now),
            one.overrules,
            one.until,
            one.reason
        ));
    }
    let rows: Vec<Value> = all.iter().map(|one| row(one, now)).collect();
    Said::new(text, &json!(rows))
}

fn row(one: &Kept, now: Timestamp) -> Value {
    json!({
        "gateway": one.gateway, "number": one.number, "word": one.assignment, "digest": one.digest,
        "overrules": one.overrules, "reason": one.reason, "author": one.author, "reviewer": one.reviewer,
        "not_before": one.not_before.to_string(), "until": one.until.to_string(), "brought_by": one.brought_by,
        "stands": one.name(now), "said": one.words(now),
    })
}
