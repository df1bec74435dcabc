//! Shell: gateways that wait for an operator.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use crate::store::console::{self, Claimed};

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    frame: Frame,
    waiting: Vec<Claimed>,
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let waiting = desk.store.read(|tx| console::waiting(tx)).await?;
    Ok(page(&Page {
        frame: Frame::new("Approvals", "/approvals", &visitor, desk.clock.now()),
        waiting,
    }))
}
