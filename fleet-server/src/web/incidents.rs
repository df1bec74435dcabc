//! Shell: what a person should look into.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use crate::store::console::{self, Incident};
use crate::store::incidents;

#[derive(Template)]
#[template(path = "incidents.html")]
struct Page {
    frame: Frame,
    incidents: Vec<Incident>,
}

impl Page {
    fn heading(&self) -> String {
        match self.incidents.iter().filter(|i| i.closed_at.is_none()).count() {
            0 => "No open incidents".to_owned(),
            1 => "1 open incident".to_owned(),
            n => format!("{n} open incidents"),
        }
    }
}

/// The list, open ones first.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let incidents = desk.store.read(|tx| console::incidents(tx)).await?;
    Ok(page(&Page {
        frame: Frame::new("Incidents", "/incidents", &visitor, desk.clock.now()),
        incidents,
    }))
}

/// Closes one.
pub async fn close(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(incident): Path<String>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let closed = desk
        .store
        .write(move |tx| incidents::close(tx, &incident, visitor.user.as_str(), now));
    if closed.await? {
        Ok(go("/incidents"))
    } else {
        Err(Failure::NothingHere)
    }
}
