//! Shell: policies: the list, how far each has come, what is wrong with a document, and what was signed elsewhere.
//!
//! Nothing is signed here: the keys of authors and reviewers are not on the server. How a text comes to be signed:
//! [`super::drafts`].

pub mod check;
pub mod one;
pub mod unmet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::when::When;
use crate::policy::book::{Fit, audience};
use crate::policy::paper::Papers;
use crate::policy::rollout::Counts;
use crate::policy::take::{Taken, take};
use crate::store::policies::{self, Loaded, Loading, drafts, overview, states};
use crate::store::{StoreError, Tx};

/// One policy in the list.
pub struct Row {
    /// Its number.
    pub version: u64,
    /// What people call it.
    pub name: String,
    /// Who stands behind it.
    pub people: String,
    /// Whom it is for.
    pub audience: String,
    /// When its time is over.
    pub expires: When,
    /// Why it is not offered, when it is not.
    pub not_offered: Option<String>,
    /// How far it has come.
    pub counts: Counts,
}

impl Row {
    fn of(loaded: &Loaded, fit: Fit, counts: Counts, now: Timestamp) -> Row {
        let policy = &loaded.entry.policy;
        let reviewer = loaded.reviewer.as_deref().unwrap_or("nobody");
        let not_offered = match (&loaded.withdrawn, fit) {
            (Some((_, by, why)), _) => Some(format!("withdrawn by {by}: {why}")),
            (None, Fit::Expired) => Some("its time is over".into()),
            (None, Fit::SignersGone) => Some("the newest keyring does not stand behind it".into()),
            (None, Fit::Fit) => None,
        };
        Row {
            version: policy.version.0,
            name: policy.name.as_str().to_owned(),
            people: format!("by {}, reviewed by {reviewer}", loaded.author),
            audience: audience(&policy.audience),
            expires: When::new(Timestamp::synced(policy.expires.ms()), now),
            not_offered,
            counts,
        }
    }
}

#[derive(Template)]
#[template(path = "policies.html")]
struct Page {
    frame: Frame,
    rows: Rows,
}

#[derive(Template)]
#[template(path = "policies_rows.html")]
struct Rows {
    frame: Frame,
    list: Vec<Row>,
    keyring: Option<(u64, When)>,
    without: usize,
    unmet: usize,
    /// Drafts that wait for a review.
    asked: i64,
}

impl Rows {
    fn heading(&self) -> String {
        let wrong: usize = self
            .list
            .iter()
            .map(|row| row.counts.refused + row.counts.returned + row.counts.unfit + row.counts.strict)
            .sum();
        match wrong {
            0 => "Policies".to_owned(),
            1 => "Policies: 1 box needs you".to_owned(),
            n => format!("Policies: {n} boxes need you"),
        }
    }
}

async fn read(desk: &Desk, visitor: &Visitor) -> Result<Rows, Failure> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let book = policies::book(tx, &roots)?;
        let lines = overview::lines(tx, &book, now)?;
        let rows: Vec<Row> = policies::list(tx)?
            .iter()
            .map(|loaded| {
                let counts = Counts::of(&lines, loaded.entry.mark.version.0);
                Row::of(loaded, book.fit(&loaded.entry, now), counts, now)
            })
            .collect();
        let without = lines.iter().filter(|line| line.wanted.is_none()).count();
        let unmet = states::unmet(tx)?
            .iter()
            .filter(|one| !one.tally.is_in_line())
            .count();
        let keyring = policies::keyring(tx)?;
        Ok((rows, keyring, without, unmet, drafts::asked(tx)?))
    };
    let (list, keyring, without, unmet, asked) = desk.store.read(work).await?;
    Ok(Rows {
        frame: Frame::new("Policies", "/policies", visitor, now),
        list,
        keyring: keyring.map(|(number, _, until)| (number, When::new(until, now))),
        without,
        unmet,
        asked,
    })
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let rows = read(&desk, &visitor).await?;
    Ok(page(&Page {
        frame: rows.frame.clone(),
        rows,
    }))
}

/// The part of it that is fetched anew.
pub async fn rows(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    Ok(page(&read(&desk, &visitor).await?))
}

/// What was signed.
#[derive(Deserialize)]
pub struct Signed {
    papers: String,
}

/// Takes what was signed elsewhere.
pub async fn load(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<Signed>,
) -> Result<Response, Failure> {
    let papers = Papers::parse(&given.papers)
        .map_err(|why| Failure::Form(format!("That is not what `policy review` writes: {why}.")))?;
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let taken = desk
        .store
        .write(move |tx| take(tx, &papers, &roots, visitor.user.as_str(), now));
    match taken.await? {
        Taken::Keyring { .. } => Ok(go("/policies")),
        Taken::Policy {
            version,
            loading: Loading::OtherContent,
        } => Err(Failure::Refused(format!(
            "another policy has the number {version}: sign this one under a higher one"
        ))),
        Taken::Policy { version, .. } => Ok(go(&format!("/policies/{version}"))),
        Taken::Refused(why) => Err(Failure::Refused(format!("no box would take it: {why}"))),
    }
}
