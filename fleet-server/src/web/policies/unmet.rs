//! Shell: which boxes do not meet which rule, and since when.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::points::PointId;
use homeward_protocol::posture::ShortText;
use serde::Deserialize;

use crate::policy::words;
use crate::store::policies::spells;
use crate::store::policies::states::{self, Offender, Spell, Unmet};
use crate::store::{StoreError, Tx};
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::frame::{Frame, page};
use crate::web::guard::Visitor;
use crate::web::rules::Mark;

/// Which point; all when missing.
#[derive(Deserialize)]
pub struct Which {
    #[serde(default)]
    point: String,
}

#[derive(Template)]
#[template(path = "unmet.html")]
struct Page {
    frame: Frame,
    unmet: Vec<Unmet>,
    point: Option<PointId>,
    offenders: Vec<Offender>,
    /// When it did not hold, on any box, the newest first.
    spells: Vec<(GatewayId, Spell)>,
}

impl Page {
    fn heading(&self) -> String {
        match &self.point {
            None => "Rules that some boxes do not meet".to_owned(),
            Some(point) => format!("Boxes that do not meet {point}"),
        }
    }

    fn about(point: &PointId) -> &'static str {
        words::rule(point.rule())
    }

    fn mark(offender: &Offender) -> Mark {
        Mark::of(&offender.state.standing, true)
    }

    fn why(offender: &Offender) -> Option<&str> {
        states::standing(&offender.state.standing)
            .1
            .map(ShortText::as_str)
    }
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let point: Option<PointId> = match which.point.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Failure::NothingHere)?),
    };
    let asked = point.clone();
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let Some(point) = asked else {
            return Ok((states::unmet(tx)?, Vec::new(), Vec::new()));
        };
        let offenders = states::offenders(tx, &point)?;
        Ok((Vec::new(), offenders, spells::of_point(tx, &point)?))
    };
    let (unmet, offenders, spells) = desk.store.read(work).await?;
    Ok(page(&Page {
        frame: Frame::new("Rules", "/policies", &visitor, desk.clock.now()),
        unmet,
        point,
        offenders,
        spells,
    }))
}
