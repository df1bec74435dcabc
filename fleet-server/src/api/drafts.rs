//! Shell: drafts of policies, to be read. Who writes and who reviews are people, who sign in: a token could be the second
//! hand of the one who holds it.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::policies::{FindingShape, findings};
use super::problem::Problem;
use super::shape::moment;
use crate::policy::draft::{Mover, State as Stands};
use crate::store::policies::drafts;

/// A draft.
#[derive(Debug, Serialize, ToSchema)]
pub struct DraftShape {
    /// Its number.
    #[schema(example = 3)]
    id: u64,
    /// What people call it.
    title: String,
    /// The newest revision, from 1.
    revision: u64,
    /// Who wrote that.
    saved_by: String,
    /// When.
    saved_at: String,
    /// `writing`, `asked`, `reviewed`, `signed` or `dropped`.
    state: &'static str,
    /// Who brought it there: returned, asked, reviewed, brought what was signed, or gave it up; null when it was only
    /// written.
    moved_by: Option<String>,
    /// When.
    moved_at: Option<String>,
    /// Why it was returned or given up.
    why: Option<String>,
    /// The policy that was signed from it.
    policy: Option<u64>,
}

impl DraftShape {
    fn of(id: u64, title: String, revision: u64, saved: Mover, state: &Stands) -> DraftShape {
        let (moved, why) = match state {
            Stands::Writing(None) => (None, None),
            Stands::Writing(Some(against)) | Stands::Dropped(against) => {
                (Some(&against.mover), Some(against.why.clone()))
            }
            Stands::Asked(mover) | Stands::Reviewed(mover, _) | Stands::Signed(mover, _) => {
                (Some(mover), None)
            }
        };
        DraftShape {
            id,
            title,
            revision,
            saved_by: saved.by,
            saved_at: moment(saved.at),
            state: state.name(),
            moved_by: moved.map(|mover| mover.by.clone()),
            moved_at: moved.map(|mover| moment(mover.at)),
            why,
            policy: match state {
                Stands::Signed(_, version) => Some(*version),
                _ => None,
            },
        }
    }
}

/// Drafts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Drafts {
    /// Those that wait for somebody first, then the others, each with the newest first; at most 500.
    drafts: Vec<DraftShape>,
}

/// A draft with its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct WholeDraft {
    /// How it stands.
    draft: DraftShape,
    /// Everybody who wrote a revision of it: none of them can review it.
    authors: Vec<String>,
    /// The newest text, TOML.
    text: String,
    /// SHA-256 over that text, hex: what a review is of.
    digest: String,
    /// What is wrong with it.
    findings: Vec<FindingShape>,
}

/// Drafts of policies.
#[utoipa::path(get, path = "/api/v1/drafts", security(("token" = ["fleet:read"])),
    responses((status = 200, body = Drafts), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<Drafts>, Problem> {
    let listed = desk.store.read(drafts::list).await?;
    let shape = |one: drafts::Listed| DraftShape::of(one.id, one.title, one.revision, one.saved, &one.state);
    Ok(Json(Drafts {
        drafts: listed.into_iter().map(shape).collect(),
    }))
}

/// One draft of a policy, with its text.
#[utoipa::path(get, path = "/api/v1/drafts/{draft}", params(("draft" = u64, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = WholeDraft), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(desk): State<Desk>, Path(id): Path<u64>) -> Result<Json<WholeDraft>, Problem> {
    let kept = desk.store.read(move |tx| drafts::get(tx, id)).await?;
    let kept = kept.ok_or_else(Problem::missing)?;
    Ok(Json(WholeDraft {
        draft: DraftShape::of(id, kept.title, kept.draft.revision, kept.saved, &kept.draft.state),
        authors: kept.draft.authors.into_iter().collect(),
        digest: kept.draft.text.to_string(),
        findings: findings(kept.text.as_str()).1,
        text: kept.text.as_str().to_owned(),
    }))
}
