//! Shell: when work on a box suits its home: the next seven days.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::fleet::id;
use super::problem::Problem;
use super::shape::moment;
use crate::calendar;
use crate::store::calendar::{Calendar, of};

/// Times of one home. A forecast: the box looks at the moment itself before it begins anything.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowsShape {
    /// The policy that the box says it has; null where it said of none.
    policy: Option<u64>,
    /// What that says of now, in plain English.
    policy_says: String,
    /// Days of record that were looked at, at most 28.
    days: i64,
    /// Devices whose readings tell when they are used.
    telling: Vec<String>,
    /// Devices that are read all day, and tell nothing of it.
    steady: Vec<String>,
    /// The next seven days, in order and without a gap; each stretch within one day (UTC).
    stretches: Vec<StretchShape>,
}

/// A stretch of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct StretchShape {
    /// From when.
    from: String,
    /// Until when.
    until: String,
    /// `good`, `possible`, `in-use`, `not-known` or `closed`.
    #[schema(example = "good")]
    suits: &'static str,
    /// Why, in plain English.
    why: String,
}

impl WindowsShape {
    /// Of what was read at `now`.
    pub fn new(whole: &Calendar, now: homeward_protocol::time::Timestamp) -> WindowsShape {
        let names = |all: &[homeward_protocol::id::SensorId]| all.iter().map(ToString::to_string).collect();
        let stretch = |span: &calendar::Span| StretchShape {
            from: moment(span.from),
            until: moment(span.until),
            suits: span.suits.name().0,
            why: span.why(&whole.record),
        };
        WindowsShape {
            policy: whole.policy.as_ref().map(|(version, _)| *version),
            policy_says: calendar::now_words(whole.rule(), now),
            days: whole.record.days,
            telling: names(&whole.record.telling),
            steady: names(&whole.record.steady),
            stretches: whole.spans.iter().map(stretch).collect(),
        }
    }
}

/// When work on this box suits its home
///
/// What its policy lets, and when its devices were used in the last 28 days. No value of a reading is told.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/windows", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = WindowsShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<WindowsShape>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let whole = desk.store.read(move |tx| of(tx, &gateway, now)).await?;
    let whole = whole.ok_or_else(Problem::missing)?;
    Ok(Json(WindowsShape::new(&whole, now)))
}
