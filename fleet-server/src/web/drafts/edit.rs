//! Shell: one draft: its text, what is wrong with it, and what it changes.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::signed::PublicKey;
use serde::Deserialize;

use super::seen::{Difference, Seen, difference, seen};
use super::{done, reason, refused};
use crate::policy::draft::text::Text;
use crate::policy::draft::{Act, State as Stands, Wrong};
use crate::store::policies::drafts::{self, Acted};
use crate::store::policies::{self, Loaded};
use crate::store::{StoreError, Tx};
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::frame::{Frame, go, page, page_with};
use crate::web::guard::Visitor;

#[derive(Template)]
#[template(path = "draft.html")]
struct Page {
    frame: Frame,
    seen: Seen,
    /// Somebody saved in the meantime: who, and what that changes to the text that stands in the form.
    conflict: Option<(String, Difference)>,
    /// The text in the form is not kept.
    unsaved: bool,
    /// The policy that was signed from it.
    signed: Option<Loaded>,
    /// To how many targets that is assigned.
    given: usize,
}

impl Page {
    fn title(&self) -> String {
        let errors = if self.seen.usable { "" } else { "Faulty: " };
        format!("{errors}{}", self.seen.kept.title)
    }

    /// Whether it can still be written.
    fn is_open(&self) -> bool {
        !matches!(
            self.seen.kept.draft.state,
            Stands::Signed(..) | Stands::Dropped(_)
        )
    }

    /// Whether the form is out of the way: the text was reviewed, and is to be signed.
    fn is_folded(&self) -> bool {
        matches!(self.seen.kept.draft.state, Stands::Reviewed(..)) && !self.unsaved
    }

    /// Whether somebody reads it now, or did.
    fn was_shown(&self) -> bool {
        matches!(
            self.seen.kept.draft.state,
            Stands::Asked(_) | Stands::Reviewed(..)
        )
    }

    fn authors(&self) -> String {
        let authors: Vec<&str> = self.seen.kept.draft.authors.iter().map(String::as_str).collect();
        authors.join(", ")
    }

    /// Whether it can be given to whoever looks to review.
    fn may_review(&self) -> bool {
        let person = self.frame.visitor.as_ref().map(|visitor| visitor.user.as_str());
        person.is_some_and(|person| self.seen.kept.draft.may_be_reviewed_by(person))
    }

    fn was_read(&self, revision: &drafts::Revision) -> bool {
        self.seen.kept.draft.read == Some(revision.number)
    }

    /// The number in its text, for the names of files.
    fn number(&self) -> u64 {
        self.seen.text.policy().map_or(0, |policy| policy.version.0)
    }

    fn digest(&self) -> String {
        self.seen.kept.draft.text.to_string()
    }

    fn short(&self) -> String {
        self.seen.kept.draft.text.short()
    }
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Result<Response, Failure> {
    let found = read(&desk, id, None).await?;
    Ok(page(&whole(&desk, &visitor, found)))
}

/// What is written.
#[derive(Deserialize)]
pub struct Written {
    text: String,
    /// The revision that the visitor saw.
    over: u64,
    /// `check` keeps nothing.
    #[serde(default, rename = "do")]
    does: String,
}

/// Saves it, or says what is wrong with it.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Form(given): Form<Written>,
) -> Result<Response, Failure> {
    let text = Text::parse(&given.text).map_err(|why| Failure::Refused(why.to_string()))?;
    if given.does == "check" {
        return checked(&desk, &visitor, id, text).await;
    }
    let (kept, by, now) = (text.clone(), visitor.user.clone(), desk.clock.now());
    let saved = desk
        .store
        .write(move |tx| drafts::save(tx, (id, given.over), &kept, by.as_str(), now));
    match saved.await? {
        Acted::Done(_) => Ok(go(&format!("/drafts/{id}"))),
        Acted::Unknown => Err(Failure::NothingHere),
        Acted::Wrong(Wrong::Newer { .. }) => conflict(&desk, &visitor, id, text).await,
        Acted::Wrong(why) => Err(refused(&why)),
    }
}

async fn checked(desk: &Desk, visitor: &Visitor, id: u64, text: Text) -> Result<Response, Failure> {
    let found = read(desk, id, Some(text)).await?;
    let mut shown = whole(desk, visitor, found);
    shown.unsaved = shown.seen.text != shown.seen.kept.text;
    Ok(page(&shown))
}

/// Nothing is written, nothing is lost: the visitor's text stays in the form, over the newest revision from now on.
async fn conflict(desk: &Desk, visitor: &Visitor, id: u64, text: Text) -> Result<Response, Failure> {
    let found = read(desk, id, Some(text)).await?;
    let mut shown = whole(desk, visitor, found);
    let kept = &shown.seen.kept;
    let from = format!("revision {}, by {}", kept.draft.revision, kept.saved.by);
    let between = difference(from, &kept.text, &shown.seen.text);
    shown.conflict = Some((kept.saved.by.clone(), between));
    shown.unsaved = true;
    Ok(page_with(StatusCode::CONFLICT, &shown))
}

type Found = (Seen, Option<Loaded>, usize);

async fn read(desk: &Desk, id: u64, text: Option<Text>) -> Result<Found, Failure> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| found(tx, (id, text), &roots, now);
    desk.store.read(work).await?.ok_or(Failure::NothingHere)
}

fn found(
    tx: &mut dyn Tx,
    which: (u64, Option<Text>),
    roots: &[PublicKey],
    now: homeward_protocol::time::Timestamp,
) -> Result<Option<Found>, StoreError> {
    let Some(seen) = seen(tx, which, roots, now)? else {
        return Ok(None);
    };
    let Stands::Signed(_, version) = seen.kept.draft.state else {
        return Ok(Some((seen, None, 0)));
    };
    let given = policies::orders(tx)?
        .iter()
        .filter(|order| order.version == version)
        .count();
    Ok(Some((seen, policies::get(tx, version)?, given)))
}

fn whole(desk: &Desk, visitor: &Visitor, (seen, signed, given): Found) -> Page {
    Page {
        frame: Frame::new("Draft", "/policies", visitor, desk.clock.now()),
        seen,
        conflict: None,
        unsaved: false,
        signed,
        given,
    }
}

/// Which revision.
#[derive(Deserialize)]
pub struct Asked {
    revision: u64,
}

/// Asks for a review.
pub async fn ask(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Form(given): Form<Asked>,
) -> Result<Response, Failure> {
    let (revision, now) = (given.revision, desk.clock.now());
    let act = Act::Ask { revision };
    let asked = desk
        .store
        .write(move |tx| drafts::act_on(tx, id, &act, visitor.user.as_str(), now));
    done(asked.await?, id)
}

/// Why.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Gives it up.
pub async fn drop(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let act = Act::Drop {
        why: reason(&given.reason)?,
    };
    let now = desk.clock.now();
    let dropped = desk
        .store
        .write(move |tx| drafts::act_on(tx, id, &act, visitor.user.as_str(), now));
    done(dropped.await?, id)
}

#[derive(Template)]
#[template(path = "draft_revision.html")]
struct Old {
    frame: Frame,
    id: u64,
    title: String,
    revision: drafts::Revision,
    text: Text,
    before: Option<Difference>,
}

/// One revision: its text, and what it changed.
pub async fn revision(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path((id, number)): Path<(u64, u64)>,
) -> Result<Response, Failure> {
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let Some(kept) = drafts::get(tx, id)? else {
            return Ok(None);
        };
        let all = drafts::revisions(tx, id)?;
        let Some(revision) = all.into_iter().find(|one| one.number == number) else {
            return Ok(None);
        };
        let Some(text) = drafts::text(tx, id, number)? else {
            return Ok(None);
        };
        let before = drafts::text(tx, id, number.saturating_sub(1))?;
        Ok(Some((kept.title, revision, text, before)))
    };
    let (title, revision, text, before) = desk.store.read(work).await?.ok_or(Failure::NothingHere)?;
    let before = before.map(|before| {
        let from = format!("revision {}", number.saturating_sub(1));
        difference(from, &before, &text)
    });
    Ok(page(&Old {
        frame: Frame::new("Revision", "/policies", &visitor, desk.clock.now()),
        id,
        title,
        revision,
        text,
        before,
    }))
}
