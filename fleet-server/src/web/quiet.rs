//! Shell: quiet for a home: a nurse or an operator asks that nothing disturbs it for a while, and ends that.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::PlacementId;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use crate::bus::Event;
use crate::quiet::{HOURS, MAX_REASON, chosen};
use crate::store::quiets::{self, Boxed};

/// Which home.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    home: String,
}

/// For how long, and why.
#[derive(Deserialize)]
pub struct Given {
    home: String,
    /// Hours, or 0 to end it.
    hours: u32,
    reason: String,
}

#[derive(Template)]
#[template(path = "quiet.html")]
struct Page {
    frame: Frame,
    home: PlacementId,
    boxes: Vec<Boxed>,
}

impl Page {
    const fn hours() -> [u32; 5] {
        HOURS
    }

    /// What stands, in a sentence for each box.
    fn lines(&self) -> Vec<String> {
        let many = self.boxes.len() > 1;
        let all = self.boxes.iter().filter_map(|one| {
            let said = one.words(self.frame.now)?;
            Some(if many {
                format!("{}: {said}", one.gateway)
            } else {
                said
            })
        });
        all.collect()
    }

    /// Whether there is something to end.
    fn stands(&self) -> bool {
        let now = self.frame.now;
        let mut wishes = self.boxes.iter().filter_map(|one| one.wish.as_ref());
        wishes.any(|wish| wish.until.ms > now.ms)
    }
}

async fn boxes(desk: &Desk, visitor: &Visitor, home: &str) -> Result<(PlacementId, Vec<Boxed>), Failure> {
    let home: PlacementId = home.parse().map_err(|_| Failure::NothingHere)?;
    let (which, sight) = (home.clone(), visitor.sight.clone());
    let found = desk.store.read(move |tx| quiets::at(tx, &which, &sight)).await?;
    Ok((home, found.ok_or(Failure::NothingHere)?))
}

/// The page of one home.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let (home, boxes) = boxes(&desk, &visitor, &asked.home).await?;
    let frame = Frame::new("Hold updates", "/care", &visitor, desk.clock.now());
    Ok(page(&Page { frame, home, boxes }))
}

/// Asks for it, or ends it.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<Given>,
) -> Result<Response, Failure> {
    let (home, boxes) = boxes(&desk, &visitor, &given.home).await?;
    let reason: String = given.reason.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        let why = "A reason is needed: it is shown at the box, and stands in the audit trail.";
        return Err(Failure::Form(why.into()));
    }
    let length = match given.hours {
        0 => None,
        hours => Some(chosen(hours).ok_or_else(|| Failure::Form("Choose one of the times.".into()))?),
    };
    let (by, now) = (visitor.user.clone(), desk.clock.now());
    let gateways: Vec<_> = boxes.into_iter().map(|one| one.gateway).collect();
    let ordered = gateways.clone();
    desk.store
        .write(move |tx| {
            for gateway in &ordered {
                quiets::order(tx, gateway, length, (&reason, by.as_str()), now)?;
            }
            Ok(())
        })
        .await?;
    for gateway in gateways {
        desk.bus.publish(Event::Changed(gateway));
    }
    Ok(go(&format!("/care/quiet?home={home}")))
}
