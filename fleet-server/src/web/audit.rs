//! Shell: who did what, newest first, and whether the chain of rows is whole.

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use crate::audit::looked::Looked;
use crate::audit::{Broken, Chain};
use crate::store::audit::{self, Entry};
use crate::store::{StoreError, Tx};

/// Rows on one page.
const PAGE: usize = 50;

/// How far the trail was found whole by the pages that were looked at. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Option<Looked>>>);

impl Trail {
    fn get(&self) -> Option<Looked> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Two pages may look at once: the one that saw more counts. What was seen stays also when the trail is broken, so
    /// that the next look finds it broken too.
    fn note(&self, looked: Looked) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = |looked: &Looked| (looked.whole_at.ms, looked.chain.last());
        if seen.as_ref().is_none_or(|seen| order(seen) < order(&looked)) {
            *seen = Some(looked);
        }
    }
}

/// What stands behind the `?`: rows before this one.
#[derive(Deserialize)]
pub struct Asked {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    rows: Vec<Entry>,
    next: Option<i64>,
    trail: Result<Looked, Broken>,
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let before = asked.before.unwrap_or(i64::MAX);
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let now = desk.clock.now();
    let seen = desk.trail.get();
    let known = Looked::known(seen, now);
    let read = desk.store.read(move |tx| {
        let rows = audit::list(tx, before, limit)?;
        Ok((rows, walked(tx, known, seen)?))
    });
    let (rows, chain) = read.await?;
    let trail = chain.map(|chain| Looked::after(known, chain, now));
    if let Ok(looked) = trail {
        desk.trail.note(looked);
    }
    let full = rows.len() == PAGE;
    Ok(page(&Page {
        frame: Frame::new("Audit", "/audit", &visitor, now),
        next: rows.last().map(|r| r.id).filter(|_| full),
        rows,
        trail,
    }))
}

/// Walks what is not `known` to be whole; a walk of all of it also has to find the end that was `seen` before.
fn walked(
    tx: &mut dyn Tx,
    known: Option<Looked>,
    seen: Option<Looked>,
) -> Result<Result<Chain, Broken>, StoreError> {
    if let Some(known) = known {
        return audit::check_after(tx, known.chain);
    }
    match (audit::check(tx)?, seen) {
        (Ok(_), Some(seen)) => audit::check_after(tx, seen.chain),
        (whole, _) => Ok(whole),
    }
}
