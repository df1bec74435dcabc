//! Shell: a second person reads a draft: what it changes, on which boxes, and exactly which text that is.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use serde::Deserialize;

use super::seen::{Seen, seen};
use super::{done, reason};
use crate::policy::draft::text::TextDigest;
use crate::policy::draft::{Act, State as Stands};
use crate::store::policies::drafts;
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::frame::{Frame, page};
use crate::web::guard::Visitor;

#[derive(Template)]
#[template(path = "draft_review.html")]
struct Page {
    frame: Frame,
    seen: Seen,
    /// Whether the visitor wrote a part of it.
    own: bool,
    /// Whether a review is asked for.
    asked: bool,
    /// Whether it was reviewed.
    reviewed: bool,
}

impl Page {
    fn digest(&self) -> String {
        self.seen.kept.draft.text.to_string()
    }

    fn authors(&self) -> String {
        let authors: Vec<&str> = self.seen.kept.draft.authors.iter().map(String::as_str).collect();
        authors.join(", ")
    }

    fn lines(&self) -> Vec<&str> {
        self.seen.text.as_str().lines().collect()
    }
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
) -> Result<Response, Failure> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let read = desk.store.read(move |tx| seen(tx, (id, None), &roots, now));
    let seen = read.await?.ok_or(Failure::NothingHere)?;
    let draft = &seen.kept.draft;
    Ok(page(&Page {
        own: !draft.may_be_reviewed_by(visitor.user.as_str()),
        asked: matches!(draft.state, Stands::Asked(_)),
        reviewed: matches!(draft.state, Stands::Reviewed(..)),
        frame: Frame::new("Review", "/policies", &visitor, now),
        seen,
    }))
}

/// What the reader says.
#[derive(Deserialize)]
pub struct Word {
    /// `approve` or `return`.
    #[serde(rename = "do")]
    does: String,
    /// What was read.
    digest: String,
    #[serde(default)]
    reason: String,
}

/// Takes it.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Form(given): Form<Word>,
) -> Result<Response, Failure> {
    let digest: TextDigest = given.digest.parse().map_err(|_| Failure::NothingHere)?;
    let act = match given.does.as_str() {
        "approve" => Act::Approve { digest },
        "return" => Act::Return {
            digest,
            why: reason(&given.reason)?,
        },
        _ => return Err(Failure::NothingHere),
    };
    let now = desk.clock.now();
    let said = desk
        .store
        .write(move |tx| drafts::act_on(tx, id, &act, visitor.user.as_str(), now));
    done(said.await?, id)
}
