//! Shell: `campaign …`: releases on their way to the fleet, from the data folder.

mod words;

use std::time::Duration;

use homeward_protocol::evidence::Component;
use homeward_protocol::id::GatewayId;
use homeward_protocol::release::Installer;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said, terms};
use crate::campaign::board::Board;
use crate::campaign::draft::{Draft, Release, Wish};
use crate::campaign::kept::{Name, Order};
use crate::campaign::step::Effect;
use crate::cli::campaign::{CampaignCommand, CampaignOpen, CampaignOrder, CampaignPlan, CampaignStart};
use crate::clock::Clock;
use crate::config::Config;
use crate::direct::deadline::Each;
use crate::direct::published;
use crate::place::Place;
use crate::release::check;
use crate::release::folder::Folder;
use crate::store::Store;
use crate::store::attest::releases;
use crate::store::campaigns::{self, fleet};

/// Most characters of a reason, and of a name.
const MAX_TEXT: usize = 200;

/// Runs one `campaign` command.
pub(super) async fn run(place: &Place, command: &CampaignCommand, clock: &Clock) -> Result<Said, AdminError> {
    let (config, store) = super::open(place)?;
    let now = clock.now();
    match command {
        CampaignCommand::Plan(asked) => {
            let draft = draft(place, (&config, &store), asked, now).await?;
            planned(&store, &draft).await
        }
        CampaignCommand::Start(asked) => start(place, (&config, &store), asked, now).await,
        CampaignCommand::Status { name: None, .. } => list(&store).await,
        CampaignCommand::Status {
            name: Some(name),
            homes,
        } => {
            let board = board(&store, name, usize::from(*homes), now).await?;
            Ok(Said::new(words::board(&board), &words::board_json(&board)))
        }
        CampaignCommand::Halt(asked) => order(&store, asked, Order::Halt, now).await,
        CampaignCommand::Resume(asked) => order(&store, asked, Order::Resume, now).await,
        CampaignCommand::Abort(asked) => order(&store, asked, Order::Abort, now).await,
        CampaignCommand::Open(asked) => open(&store, asked, now).await,
    }
}

async fn draft(
    place: &Place,
    (config, store): (&Config, &Store),
    asked: &CampaignPlan,
    now: Timestamp,
) -> Result<Draft, AdminError> {
    let folder = asked.release.clone().unwrap_or_else(|| place.release());
    let client = check(&Folder::at(&folder).published()?, now)?;
    let homes = store.read(fleet::homes).await?;
    let wish = Wish {
        name: asked.name.clone(),
        paths: asked.targets.clone(),
        soak: minutes(asked.soak),
        confirmed_percent: asked.confirmed,
        failed_percent: asked.failed,
        act_within: minutes(asked.act_within),
        within: Duration::from_hours(24 * u64::from(asked.within)),
        at_once: asked.at_once,
        each: each((config, store), asked).await?,
    };
    let name = asked.name.clone();
    let taken = store
        .read(move |tx| Ok(campaigns::get(tx, &name)?.is_some()))
        .await?;
    if taken {
        return Err(AdminError::Asked(format!(
            "there is a campaign {} already",
            asked.name
        )));
    }
    let draft = Draft::new(wish, &published(&client), &homes);
    let draft = draft.map_err(|why| AdminError::Asked(why.to_string()))?;
    if let Some(rule) = draft.wish.each.as_ref().and_then(|each| each.terms.rule) {
        let gateways: Vec<GatewayId> = draft.parts.keys().cloned().collect();
        // The last home may be told on the campaign's last day.
        let times = (now, now.plus_ms(i64::from(asked.within + asked.due) * 86_400_000));
        terms::fit((place, store), rule, &gateways, times).await?;
    }
    Ok(draft)
}

/// What goes with each word, by what was asked.
async fn each(at: (&Config, &Store), asked: &CampaignPlan) -> Result<Option<Each>, AdminError> {
    let Some(terms) = terms::read(at, &asked.terms).await? else {
        return Ok(None);
    };
    if asked.due >= asked.within {
        return Err(AdminError::Asked(format!(
            "each home has {} days and the campaign ends after {}: no home's time would end before that. Give a smaller --due \
             or a larger --within",
            asked.due, asked.within
        )));
    }
    let within = Duration::from_hours(24 * u64::from(asked.due));
    Ok(Some(Each { terms, within }))
}

/// The plan, and which campaigns would end for it.
async fn planned(store: &Store, draft: &Draft) -> Result<Said, AdminError> {
    let homes = draft.parts.keys().cloned().collect();
    let ends = store.read(move |tx| campaigns::with_homes(tx, &homes)).await?;
    let unmeasured = unmeasured(store, draft).await?;
    let mut json = words::plan_json(draft, &ends);
    json["without_reference"] = json!(unmeasured);
    let text = words::unmeasured(&unmeasured) + &words::plan(draft, &ends);
    Ok(Said::new(text, &json))
}

/// Paths of its releases that evidence would not be believed with: values of agents are loaded, and none is of these bytes.
async fn unmeasured(store: &Store, draft: &Draft) -> Result<Vec<String>, AdminError> {
    let reference = store.read(releases::reference).await?;
    let doubts = |release: &&Release| {
        let custom = &release.custom;
        custom.installer == Installer::AgentSlot
            && reference.would_doubt(Component::Agent, &custom.version.to_string(), &release.sha256)
    };
    let paths = draft.releases.iter().filter(doubts);
    Ok(paths.map(|release| release.path.clone()).collect())
}

fn minutes(count: u32) -> Duration {
    Duration::from_mins(u64::from(count))
}

async fn start(
    place: &Place,
    (config, store): (&Config, &Store),
    asked: &CampaignStart,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let draft = draft(place, (config, store), &asked.asked, now).await?;
    if asked.dry_run {
        return planned(store, &draft).await;
    }
    if !place.director().exists() {
        let why =
            "this server is no director yet: `update director` makes its key, which has to be in the release";
        return Err(AdminError::Asked(why.into()));
    }
    let code = draft.code();
    if asked.plan.as_deref() != Some(code.as_str()) {
        return Err(AdminError::Asked(format!(
            "this is not the plan that was read: the fleet, the releases or the rules are other now. Read it anew:\n\n{}",
            words::plan(&draft, &[])
        )));
    }
    let without: usize = draft.without_return().values().map(Vec::len).sum();
    if without > 0 && !asked.without_return {
        return Err(AdminError::Asked(format!(
            "{without} of its homes could not go back if the release is bad, as the plan says. Publish what runs there, \
             or give --without-return"
        )));
    }
    let unmeasured = unmeasured(store, &draft).await?;
    if !unmeasured.is_empty() && !asked.without_reference {
        let words = words::unmeasured(&unmeasured);
        return Err(AdminError::Asked(words.trim_end().to_owned()));
    }
    let (name, kept) = (draft.wish.name.clone(), draft.start(BY, now));
    let detail = format!(
        "plan {code}, {} homes, {}",
        draft.parts.len(),
        words::rules(&draft.wish)
    );
    let begun = store
        .write(move |tx| campaigns::start(tx, kept, &detail, now))
        .await?;
    if !begun {
        return Err(AdminError::Asked(format!("there is a campaign {name} already")));
    }
    let text = format!(
        "Campaign {name} began, for {} homes. How it stands: homeward-fleet --data DIR campaign status {name}",
        draft.parts.len()
    );
    Ok(Said::new(
        text,
        &json!({ "campaign": name.as_str(), "plan": code, "homes": draft.parts.len() }),
    ))
}

async fn list(store: &Store) -> Result<Said, AdminError> {
    let all = store.read(campaigns::list).await?;
    if all.is_empty() {
        let text = "There was no campaign yet: homeward-fleet --data DIR campaign plan --help";
        return Ok(Said::new(text, &json!([])));
    }
    let rows: Vec<Value> = all.iter().map(words::listed_json).collect();
    let text: String = all.iter().map(words::listed).collect();
    Ok(Said::new(text, &rows))
}

fn nobody(name: &Name) -> AdminError {
    AdminError::Asked(format!(
        "there is no campaign {name}: `campaign status` lists them"
    ))
}

async fn board(store: &Store, name: &Name, most: usize, now: Timestamp) -> Result<Board, AdminError> {
    let which = name.clone();
    let board = store
        .read(move |tx| campaigns::board(tx, &which, most, now))
        .await?;
    board.ok_or_else(|| nobody(name))
}

fn text(given: &str, what: &str) -> Result<String, AdminError> {
    let given = given.trim();
    if given.is_empty() || given.chars().count() > MAX_TEXT || given.chars().any(char::is_control) {
        return Err(AdminError::Asked(format!(
            "{what} has 1 to {MAX_TEXT} characters in one line"
        )));
    }
    Ok(given.to_owned())
}

async fn order(
    store: &Store,
    asked: &CampaignOrder,
    order: Order,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let (name, reason) = (asked.name.clone(), text(&asked.reason, "a reason")?);
    if asked.dry_run {
        return preview(store, &name, &order, &reason, now).await;
    }
    done(store, &name, (order, reason), BY, now).await
}

/// What an order would do, and nothing of it is done.
async fn preview(
    store: &Store,
    name: &Name,
    order: &Order,
    reason: &str,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let which = name.clone();
    let read = store.read(move |tx| campaigns::get(tx, &which)).await?;
    let mut kept = read.ok_or_else(|| nobody(name))?.kept;
    kept.order(order, reason, BY, now)
        .map_err(|why| AdminError::Asked(why.to_string()))?;
    let count = |of: fn(&Effect) -> bool| kept.news().iter().filter(|effect| of(effect)).count();
    let told = count(|effect| matches!(effect, Effect::Assign(_)));
    let back = count(|effect| matches!(effect, Effect::TakeBack(_)));
    let keep = count(|effect| matches!(effect, Effect::Keep(_)));
    let text = format!(
        "{told} homes would be told to take the release, {back} to go back, {keep} to keep what they run.\nNothing was \
         changed."
    );
    Ok(Said::new(
        text,
        &json!({ "campaign": name.as_str(), "dry_run": true, "on": told, "back": back, "keep": keep }),
    ))
}

async fn open(store: &Store, asked: &CampaignOpen, now: Timestamp) -> Result<Said, AdminError> {
    let (by, reason) = (text(&asked.by, "a name")?, text(&asked.reason, "a reason")?);
    let order = Order::Open(asked.gateway.clone());
    done(store, &asked.name, (order, reason), &by, now).await
}

async fn done(
    store: &Store,
    name: &Name,
    (order, reason): (Order, String),
    by: &str,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let (which, who) = (name.clone(), by.to_owned());
    let outcome = store
        .write(move |tx| campaigns::order(tx, &which, (&order, &reason), &who, now))
        .await?;
    outcome
        .ok_or_else(|| nobody(name))?
        .map_err(|why| AdminError::Asked(why.to_string()))?;
    let board = board(store, name, 0, now).await?;
    let stands = crate::campaign::board::stands(&board.head, &board.saved);
    let state = board.saved.state.name().0;
    Ok(Said::new(
        format!("Campaign {name} {stands}"),
        &json!({ "campaign": name.as_str(), "state": state, "stands": stands }),
    ))
}
