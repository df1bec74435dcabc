//! Shell: who did what, newest first, and whether the chain of rows is whole.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use crate::audit::{Broken, Chain};
use crate::store::audit::{self, Entry};

/// Rows on one page.
const PAGE: usize = 50;

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
    chain: Result<Chain, Broken>,
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let before = asked.before.unwrap_or(i64::MAX);
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let read = desk
        .store
        .read(move |tx| Ok((audit::list(tx, before, limit)?, audit::check(tx)?)));
    let (rows, chain) = read.await?;
    let full = rows.len() == PAGE;
    Ok(page(&Page {
        frame: Frame::new("Audit", "/audit", &visitor, desk.clock.now()),
        next: rows.last().map(|r| r.id).filter(|_| full),
        rows,
        chain,
    }))
}
