//! Shell: readings: the newest of each kind, and a sensor's over a stretch of time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use homeward_protocol::id::SensorId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::fleet::id;
use super::problem::Problem;
use super::shape::ReadingShape;
use crate::store::console;

/// Most readings in one answer.
const MOST: i64 = 1000;

/// Readings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readings {
    /// Oldest first in a stretch of time; by sensor and kind among the newest.
    readings: Vec<ReadingShape>,
    /// `from_ms` of the next answer when there may be more. Readings of that very moment come again.
    next_from_ms: Option<i64>,
}

/// The newest reading of each kind from each sensor of a gateway.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/latest", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = Readings), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn latest(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<Readings>, Problem> {
    let gateway = id(&gateway)?;
    let read = desk.store.read(move |tx| {
        let known = console::gateway(tx, &gateway)?;
        known.map(|_| console::latest(tx, &gateway)).transpose()
    });
    let found = read.await?.ok_or_else(Problem::missing)?;
    Ok(Json(Readings {
        readings: found.iter().map(ReadingShape::from).collect(),
        next_from_ms: None,
    }))
}

/// Which readings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Range {
    /// Which sensor.
    sensor: String,
    /// Taken at or after this, milliseconds since 1970.
    from_ms: i64,
    /// Taken before this, milliseconds since 1970.
    until_ms: i64,
    /// At most so many, 1 to 1000; 1000 when missing.
    limit: Option<i64>,
}

/// A sensor's readings over a stretch of time, by when they were taken.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/readings", params(("gateway" = String, Path), Range),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = Readings), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn range(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
    asked: Result<Query<Range>, QueryRejection>,
) -> Result<Json<Readings>, Problem> {
    let (gateway, Query(asked)) = (id(&gateway)?, asked.map_err(|e| Problem::wrong(e.body_text()))?);
    let sensor: SensorId = asked
        .sensor
        .parse()
        .map_err(|e| Problem::wrong(format!("sensor: {e}")))?;
    let limit = asked.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit: 1 to {MOST}")));
    }
    let stretch = (asked.from_ms, asked.until_ms);
    let read = desk.store.read(move |tx| {
        let known = console::gateway(tx, &gateway)?;
        known
            .map(|_| console::readings(tx, &gateway, &sensor, stretch, limit))
            .transpose()
    });
    let found = read.await?.ok_or_else(Problem::missing)?;
    let full = i64::try_from(found.len()).is_ok_and(|n| n == limit);
    Ok(Json(Readings {
        next_from_ms: found.last().map(|r| r.taken_at.ms).filter(|_| full),
        readings: found.iter().map(ReadingShape::from).collect(),
    }))
}
