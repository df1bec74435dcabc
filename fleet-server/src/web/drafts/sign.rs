//! Shell: a reviewed draft on its way to its signatures: it goes out as a file, and what was signed comes back.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Form};
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::diff::diff;
use homeward_protocol::policy::sign::Refusal;
use homeward_protocol::signed::Signed;
use serde::Deserialize;

use super::{done, refused};
use crate::policy::draft::text::ContentDigest;
use crate::policy::draft::{State as Stands, Wrong};
use crate::policy::paper::Papers;
use crate::policy::take::{Taken, take};
use crate::store::policies::drafts::{self, Acted, Kept};
use crate::store::policies::{self, Loading};
use crate::store::{StoreError, Tx};
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::guard::Visitor;

/// Differences that are named.
const NAMED: usize = 5;

/// A text as a file.
fn file(name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
}

/// The newest text, byte for byte.
pub async fn document(State(desk): State<Desk>, Path(id): Path<u64>) -> Result<Response, Failure> {
    let kept = desk.store.read(move |tx| drafts::get(tx, id)).await?;
    let kept = kept.ok_or(Failure::NothingHere)?;
    let name = match kept.text.policy() {
        Some(policy) => format!("policy-{}.toml", policy.version),
        None => format!("draft-{id}.toml"),
    };
    Ok(file(&name, kept.text.as_str().to_owned()))
}

/// What was signed for a policy, with the newest keyring.
pub async fn papers(State(desk): State<Desk>, Path(version): Path<u64>) -> Result<Response, Failure> {
    let read = move |tx: &mut dyn Tx| Ok((policies::get(tx, version)?, policies::keyring(tx)?));
    let (loaded, keyring) = desk.store.read(read).await?;
    let entry = loaded.ok_or(Failure::NothingHere)?.entry;
    let papers = Papers {
        keyring: keyring.map(|(_, signed, _)| signed),
        policy: Some(entry.signed),
        review: entry.review,
    };
    Ok(file(&format!("policy-{version}.txt"), papers.to_string()))
}

/// The newest keyring.
pub async fn keyring(State(desk): State<Desk>) -> Result<Response, Failure> {
    let (_, signed, _) = desk
        .store
        .read(policies::keyring)
        .await?
        .ok_or(Failure::NothingHere)?;
    let papers = Papers {
        keyring: Some(signed),
        ..Papers::default()
    };
    Ok(file("keyring.txt", papers.to_string()))
}

/// What was signed.
#[derive(Deserialize)]
pub struct Brought {
    papers: String,
}

/// Why it was not taken.
enum Not {
    Here,
    Wrong(Wrong),
    Said(String),
}

/// Takes it, when it is what was reviewed, and boxes would take it.
pub async fn bring(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Form(given): Form<Brought>,
) -> Result<Response, Failure> {
    let papers = Papers::parse(&given.papers)
        .map_err(|why| Failure::Form(format!("That is not what `policy review` writes: {why}.")))?;
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let Some(kept) = drafts::get(tx, id)? else {
            return Ok(Err(Not::Here));
        };
        if let Err(why) = is_of(&kept, &papers) {
            return Ok(Err(why));
        }
        Ok(match take(tx, &papers, &roots, visitor.user.as_str(), now)? {
            Taken::Refused(Refusal::NotReviewed) => Err(Not::Said(
                "the second signature is missing: a reviewer of the keyring signs it with `policy review`"
                    .into(),
            )),
            Taken::Refused(why) => Err(Not::Said(format!("no box would take it: {why}"))),
            Taken::Policy {
                version,
                loading: Loading::OtherContent,
            } => Err(Not::Said(format!(
                "another policy has the number {version}: write a higher one, and have it reviewed"
            ))),
            Taken::Policy { .. } => Ok(()),
            Taken::Keyring { .. } => Err(Not::Said("only a keyring came, and no policy".into())),
        })
    };
    match desk.store.write(work).await? {
        Ok(()) => {
            let kept = desk.store.read(move |tx| drafts::get(tx, id)).await?;
            let draft = kept.ok_or(Failure::NothingHere)?.draft;
            match draft.state {
                Stands::Signed(..) => done(Acted::Done(draft), id),
                _ => Err(refused(&Wrong::NotReviewed)),
            }
        }
        Err(Not::Here) => Err(Failure::NothingHere),
        Err(Not::Wrong(why)) => Err(refused(&why)),
        Err(Not::Said(why)) => Err(Failure::Refused(why)),
    }
}

/// Whether it says what was reviewed. Nobody's signature is looked at yet.
fn is_of(kept: &Kept, papers: &Papers) -> Result<(), Not> {
    match &kept.draft.state {
        Stands::Signed(_, version) => return Err(Not::Wrong(Wrong::Signed(*version))),
        Stands::Dropped(_) => return Err(Not::Wrong(Wrong::Dropped)),
        Stands::Reviewed(..) => {}
        Stands::Writing(_) | Stands::Asked(_) => return Err(Not::Wrong(Wrong::NotReviewed)),
    }
    let bytes = papers.policy().map_err(|why| Not::Said(why.to_string()))?;
    let signed: Policy = Signed::parse(bytes)
        .and_then(|signed| signed.unverified())
        .map_err(|_| Not::Said("no box would take it: it cannot be read".into()))?;
    if ContentDigest::of(&signed) == kept.draft.content {
        return Ok(());
    }
    let read = kept.text.policy();
    let all = read.map_or(Vec::new(), |read| diff(&read, &signed));
    let named: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Err(Not::Said(format!(
        "what was signed is not what was reviewed: {}{more}",
        named.join("; ")
    )))
}
