//! Shell: drafts of policies: the list, and how one is begun.
//!
//! A draft comes to be signed on other machines: the console holds no key, and what it reviews is believed by nobody but
//! the console.

pub mod edit;
pub mod review;
pub mod seen;
pub mod sign;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use crate::policy::draft::begin;
use crate::policy::draft::text::title;
use crate::policy::draft::{State as Stands, Wrong};
use crate::store::policies::drafts::{self, Acted, Listed, MOST_OPEN};
use crate::store::policies::{self, Loaded};
use crate::store::{StoreError, Tx};

/// Policies that a draft can begin from: the newest.
const OFFERED: usize = 50;
/// Most characters of a reason.
const MAX_REASON: usize = 200;

/// A policy that a draft can begin from.
struct Base {
    version: u64,
    name: String,
    /// Whether it is what boxes shall have now.
    in_force: bool,
}

#[derive(Template)]
#[template(path = "drafts.html")]
struct Page {
    frame: Frame,
    list: Vec<Listed>,
    bases: Vec<Base>,
}

impl Page {
    /// Who brought it where it is.
    fn more(state: &Stands) -> Option<String> {
        match state {
            Stands::Writing(None) => None,
            Stands::Writing(Some(against)) | Stands::Dropped(against) => {
                Some(format!("by {}: {}", against.mover.by, against.why))
            }
            Stands::Asked(mover) => Some(format!("asked for by {}", mover.by)),
            Stands::Reviewed(mover, _) => Some(format!("reviewed by {}", mover.by)),
            Stands::Signed(_, version) => Some(format!("as policy {version}")),
        }
    }

    fn heading(&self) -> String {
        let waits = self
            .list
            .iter()
            .filter(|one| matches!(one.state, Stands::Asked(_)));
        match waits.count() {
            0 => "Drafts of policies".to_owned(),
            1 => "Drafts: 1 waits for a review".to_owned(),
            n => format!("Drafts: {n} wait for a review"),
        }
    }
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let work = |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let orders = policies::orders(tx)?;
        Ok((drafts::list(tx)?, policies::list(tx)?, orders))
    };
    let (list, loaded, orders) = desk.store.read(work).await?;
    let offered: Vec<&Loaded> = loaded
        .iter()
        .filter(|one| one.withdrawn.is_none())
        .take(OFFERED)
        .collect();
    let in_force = offered
        .iter()
        .map(|one| one.entry.mark.version.0)
        .find(|version| orders.iter().any(|order| order.version == *version));
    let base = |one: &&Loaded| Base {
        version: one.entry.mark.version.0,
        name: one.entry.policy.name.as_str().to_owned(),
        in_force: in_force == Some(one.entry.mark.version.0),
    };
    Ok(page(&Page {
        frame: Frame::new("Drafts", "/policies", &visitor, desk.clock.now()),
        list,
        bases: offered.iter().map(base).collect(),
    }))
}

/// A new one.
#[derive(Deserialize)]
pub struct New {
    title: String,
    /// The number of a policy, or nothing.
    #[serde(default)]
    from: String,
}

/// Begins one.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<New>,
) -> Result<Response, Failure> {
    let title = title(&given.title)
        .ok_or_else(|| Failure::Form("A title is needed: what the policy is for.".into()))?;
    let base: Option<u64> = match given.from.trim() {
        "" => None,
        number => Some(number.parse().map_err(|_| Failure::NothingHere)?),
    };
    let now = desk.clock.now();
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let newest = policies::list(tx)?
            .first()
            .map_or(0, |one| one.entry.mark.version.0);
        let text = match base {
            None => begin::empty(newest + 1, now),
            Some(base) => {
                let Some(loaded) = policies::get(tx, base)? else {
                    return Ok(Err(Failure::NothingHere));
                };
                let written = drafts::source(tx, base)?.map(|kept| kept.text);
                let next = begin::next(&loaded.entry.policy, written.as_ref(), newest + 1, now);
                let Some(next) = next else {
                    let why =
                        format!("policy {base} is too long to be written out: begin with an empty document");
                    return Ok(Err(Failure::Refused(why)));
                };
                next
            }
        };
        Ok(
            match drafts::begin(tx, (&title, base), &text, visitor.user.as_str(), now)? {
                Some(id) => Ok(id),
                None => Err(Failure::Refused(format!(
                    "{MOST_OPEN} drafts wait already: give up those that nobody needs"
                ))),
            },
        )
    };
    let id = desk.store.write(work).await??;
    Ok(go(&format!("/drafts/{id}")))
}

/// Why something is turned down or given up.
fn reason(given: &str) -> Result<String, Failure> {
    let reason: String = given.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "A reason is needed: it stands in the audit trail.".into(),
        ));
    }
    Ok(reason)
}

/// Where to go after something was done to a draft.
fn done(acted: Acted, id: u64) -> Result<Response, Failure> {
    match acted {
        Acted::Done(_) => Ok(go(&format!("/drafts/{id}"))),
        Acted::Unknown => Err(Failure::NothingHere),
        Acted::Wrong(why) => Err(refused(&why)),
    }
}

fn refused(why: &Wrong) -> Failure {
    Failure::Refused(why.to_string())
}
