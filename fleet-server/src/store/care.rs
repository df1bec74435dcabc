//! Care teams, placements, and the facts that [`crate::care`] judges by.

use std::collections::BTreeMap;

use homeward_protocol::attest::Trust;
use homeward_protocol::id::{GatewayId, PlacementId, TeamId};
use homeward_protocol::reading::{Details, State as Named, Value};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::unit::Decimal;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::{Row, StoreError, Tx, attest, audit, suspicions};
use crate::access::Sight;
use crate::audit::Action;
use crate::care::list::Judged;
use crate::care::{ActiveAlarm, Dependency, Facts, GAP_WINDOW_MS, Newest, SensorFacts, standing};

/// Most teams and placements that are listed.
const MOST: i64 = 10_000;

/// A care team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// What people call it.
    pub name: String,
}

/// A home as the care organisation files it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The pseudonym.
    pub id: PlacementId,
    /// Whose it is.
    pub team: TeamId,
    /// How much the person depends on the devices.
    pub dependency: Dependency,
}

/// One gateway and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which one.
    pub gateway: GatewayId,
    /// Whose home it is in.
    pub placement: Option<PlacementId>,
    /// Whether it has a connection now.
    pub connected: bool,
    /// What is judged.
    pub facts: Facts,
}

/// Makes a care team.
pub fn add_team(tx: &mut dyn Tx, team: &Team, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let with = [team.id.as_str().into(), team.name.as_str().into(), now.ms.into()];
    tx.execute(
        "INSERT INTO teams (id, name, created_at) VALUES ($1, $2, $3)",
        &with,
    )?;
    audit::record(tx, now, by, Action::TeamChanged, team.id.as_str(), "made")
}

/// All care teams by id.
pub fn teams(tx: &mut dyn Tx) -> Result<Vec<Team>, StoreError> {
    let rows = tx.rows("SELECT id, name FROM teams ORDER BY id LIMIT $1", &[MOST.into()])?;
    let team = |row: &Row| {
        Ok(Team {
            id: row.parse(0)?,
            name: row.text(1)?.to_owned(),
        })
    };
    rows.iter().map(team).collect()
}

/// Makes a placement. [`StoreError::Conflict`] when it exists or its team does not.
pub fn add_placement(tx: &mut dyn Tx, new: &Placement, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let with = [
        new.id.as_str().into(),
        new.team.as_str().into(),
        new.dependency.name().into(),
        now.ms.into(),
    ];
    tx.execute(
        "INSERT INTO placements (id, team, dependency, created_at) VALUES ($1, $2, $3, $4)",
        &with,
    )?;
    let detail = format!("made for team {}, dependency {}", new.team, new.dependency.name());
    audit::record(tx, now, by, Action::PlacementChanged, new.id.as_str(), &detail)
}

/// The placements that may be seen, by id.
pub fn placements(tx: &mut dyn Tx, sight: &Sight) -> Result<Vec<Placement>, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(Vec::new());
    };
    let rows = tx.rows(
        "SELECT id, team, dependency FROM placements WHERE ($1 = '' OR team = $1) ORDER BY id LIMIT $2",
        &[team.into(), MOST.into()],
    )?;
    let placement = |row: &Row| {
        Ok(Placement {
            id: row.parse(0)?,
            team: row.parse(1)?,
            dependency: row.parse(2)?,
        })
    };
    rows.iter().map(placement).collect()
}

/// Puts a gateway into a home, or takes it out of any. False when there is no such gateway.
pub fn place(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    placement: Option<&PlacementId>,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let with = [placement.map(PlacementId::as_str).into(), gateway.as_str().into()];
    let touched = tx.execute("UPDATE gateways SET placement = $1 WHERE id = $2", &with)?;
    if touched == 0 {
        return Ok(false);
    }
    let detail = placement.map_or("in no home".to_owned(), |p| format!("in home {p}"));
    audit::record(tx, now, by, Action::PlacementChanged, gateway.as_str(), &detail)?;
    Ok(true)
}

/// What is known of every gateway that may be seen, by id.
pub fn known(tx: &mut dyn Tx, sight: &Sight, now: Timestamp) -> Result<Vec<Known>, StoreError> {
    match team_of(sight) {
        Some(team) => gather(tx, team, "", now),
        None => Ok(Vec::new()),
    }
}

/// What is known of one gateway.
pub fn known_of(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Option<Known>, StoreError> {
    Ok(gather(tx, "", id.as_str(), now)?.into_iter().next())
}

/// The whole fleet with its judgements, by id.
pub fn judged(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Judged>, StoreError> {
    let all = known(tx, &Sight::Fleet, now)?;
    Ok(all.into_iter().map(|known| judge(known, now)).collect())
}

/// One gateway with its judgement.
pub fn judged_of(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Option<Judged>, StoreError> {
    Ok(known_of(tx, id, now)?.map(|known| judge(known, now)))
}

fn judge(known: Known, now: Timestamp) -> Judged {
    Judged {
        standing: standing(&known.facts, now),
        lifecycle: known.facts.lifecycle,
        doubts: known.facts.doubts.len(),
        trust: known.facts.trust,
        gateway: known.gateway,
        placement: known.placement,
        connected: known.connected,
    }
}

/// The team to filter by: empty for all, `None` for nothing at all.
pub(super) fn team_of(sight: &Sight) -> Option<&str> {
    match sight {
        Sight::Fleet => Some(""),
        Sight::Team(team) => Some(team.as_str()),
        Sight::Nobody => None,
    }
}

/// The statements share their first two parameters: the team and the gateway, each empty for all.
fn gather(tx: &mut dyn Tx, team: &str, gateway: &str, now: Timestamp) -> Result<Vec<Known>, StoreError> {
    let which = [team.into(), gateway.into()];
    let rows = tx.rows(
        "SELECT g.id, g.state, g.placement, g.connected_at, p.dependency, g.last_heard
         FROM gateways g LEFT JOIN placements p ON p.id = g.placement
         WHERE ($1 = '' OR p.team = $1) AND ($2 = '' OR g.id = $2) ORDER BY g.id",
        &which,
    )?;
    let mut all = BTreeMap::new();
    for row in &rows {
        all.insert(row.text(0)?.to_owned(), known_row(row)?);
    }
    let rows = tx.rows(
        "SELECT s.gateway, s.sensor, s.interval_s, s.last_stored
         FROM sensors s JOIN gateways g ON g.id = s.gateway LEFT JOIN placements p ON p.id = g.placement
         WHERE ($1 = '' OR p.team = $1) AND ($2 = '' OR g.id = $2) ORDER BY s.gateway, s.sensor",
        &which,
    )?;
    for row in &rows {
        if let Some(known) = all.get_mut(row.text(0)?) {
            known.facts.sensors.push(sensor_row(row)?);
        }
    }
    let rows = tx.rows(
        "SELECT l.gateway, l.sensor, l.mantissa, l.exponent, l.state, l.quality, l.taken_at, l.clock, l.received_at,
           l.details
         FROM latest l JOIN gateways g ON g.id = l.gateway LEFT JOIN placements p ON p.id = g.placement
         WHERE ($1 = '' OR p.team = $1) AND ($2 = '' OR g.id = $2) ORDER BY l.gateway, l.sensor, l.kind",
        &which,
    )?;
    for row in &rows {
        let Some(known) = all.get_mut(row.text(0)?) else {
            continue;
        };
        let name = row.text(1)?;
        if let Some(sensor) = known.facts.sensors.iter_mut().find(|s| s.sensor.as_str() == name) {
            sensor.newest.push(newest_row(row)?);
        }
    }
    let rows = tx.rows(
        "SELECT a.gateway, a.condition, a.sensor, a.received_at FROM (
           SELECT n.gateway, n.condition, n.sensor, n.received_at, n.active, ROW_NUMBER() OVER (
             PARTITION BY n.gateway, n.condition, COALESCE(n.sensor, '') ORDER BY n.received_at DESC, n.seq DESC
           ) AS nth
           FROM alarms n JOIN gateways g ON g.id = n.gateway LEFT JOIN placements p ON p.id = g.placement
           WHERE ($1 = '' OR p.team = $1) AND ($2 = '' OR g.id = $2)
         ) a WHERE a.nth = 1 AND a.active = 1 ORDER BY a.gateway, a.received_at",
        &which,
    )?;
    for row in &rows {
        if let Some(known) = all.get_mut(row.text(0)?) {
            known.facts.alarms.push(alarm_row(row)?);
        }
    }
    for (of, doubt) in suspicions::doubts(tx, gateway)? {
        if let Some(known) = all.get_mut(&of) {
            known.facts.doubts.push(doubt);
        }
    }
    let newest = attest::newest_record(tx)?;
    for (of, judged) in attest::standings(tx, gateway)? {
        if let Some(known) = all.get_mut(&of) {
            known.facts.trust = judged.trust(now, newest);
            known.facts.last_good = judged.last_good;
        }
    }
    let rows = tx.rows(
        "SELECT gateway, MAX(noted_at) FROM gaps
         WHERE noted_at >= $1 AND cause IN ('not-held', 'chain-broken', 'fork') AND ($2 = '' OR gateway = $2)
         GROUP BY gateway",
        &[(now.ms - GAP_WINDOW_MS).into(), gateway.into()],
    )?;
    for row in &rows {
        if let Some(known) = all.get_mut(row.text(0)?) {
            known.facts.unproven_gap = Some(Timestamp::synced(row.int(1)?));
        }
    }
    Ok(all.into_values().collect())
}

fn known_row(row: &Row) -> Result<Known, StoreError> {
    let placement = row.opt_text(2)?.map(|_| row.parse(2)).transpose()?;
    let dependency = row.opt_text(4)?.map(|_| row.parse(4)).transpose()?;
    Ok(Known {
        gateway: row.parse(0)?,
        placement,
        connected: row.opt_int(3)?.is_some(),
        facts: Facts {
            lifecycle: row.parse(1)?,
            dependency: dependency.unwrap_or(Dependency::Medium),
            last_heard: row.opt_int(5)?.map(Timestamp::synced),
            sensors: Vec::new(),
            alarms: Vec::new(),
            doubts: Vec::new(),
            trust: Trust::Unknown,
            last_good: None,
            unproven_gap: None,
        },
    })
}

fn sensor_row(row: &Row) -> Result<SensorFacts, StoreError> {
    Ok(SensorFacts {
        sensor: row.parse(1)?,
        interval_s: u64::try_from(row.int(2)?).map_err(|e| row.corrupt(2, e))?,
        last_stored: row.opt_int(3)?.map(Timestamp::synced),
        newest: Vec::new(),
    })
}

fn newest_row(row: &Row) -> Result<Newest, StoreError> {
    let trust: ClockTrust = named(row, 7)?;
    Ok(Newest {
        value: value(row, 2)?,
        quality: named(row, 5)?,
        taken_at: Timestamp {
            ms: row.int(6)?,
            trust,
        },
        received_at: Timestamp::synced(row.int(8)?),
        details: details(row, 9)?,
    })
}

fn alarm_row(row: &Row) -> Result<ActiveAlarm, StoreError> {
    Ok(ActiveAlarm {
        condition: named(row, 1)?,
        sensor: row.opt_text(2)?.map(|_| row.parse(2)).transpose()?,
        since: Timestamp::synced(row.int(3)?),
    })
}

/// A value from the three columns mantissa, exponent and state that begin at `first`.
pub(super) fn value(row: &Row, first: usize) -> Result<Value, StoreError> {
    if row.opt_text(first + 2)?.is_some() {
        return Ok(Value::State(named::<Named>(row, first + 2)?));
    }
    let (Some(mantissa), Some(exponent)) = (row.opt_int(first)?, row.opt_int(first + 1)?) else {
        return Ok(Value::Absent);
    };
    let exponent = i8::try_from(exponent).map_err(|e| row.corrupt(first + 1, e))?;
    let number = Decimal::new(mantissa, exponent).map_err(|e| row.corrupt(first + 1, e))?;
    Ok(Value::Number(number))
}

/// What else is known of a reading; nothing when there is nothing in the column.
pub(super) fn details(row: &Row, column: usize) -> Result<Details, StoreError> {
    let kept = row.opt_text(column)?.map(serde_json::from_str);
    kept.transpose()
        .map(Option::unwrap_or_default)
        .map_err(|e| row.corrupt(column, e))
}

/// A word of the protocol's enumerations, kept as it travels.
pub(in crate::store) fn named<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    let word: StrDeserializer<'_, serde::de::value::Error> = row.text(column)?.into_deserializer();
    T::deserialize(word).map_err(|e| row.corrupt(column, e))
}

/// Makes a care team unless there is one with this id.
pub fn ensure_team(tx: &mut dyn Tx, id: &TeamId, by: &str, now: Timestamp) -> Result<(), StoreError> {
    if tx
        .row("SELECT id FROM teams WHERE id = $1", &[id.as_str().into()])?
        .is_some()
    {
        return Ok(());
    }
    let team = Team {
        id: id.clone(),
        name: id.to_string(),
    };
    add_team(tx, &team, by, now)
}

/// Makes this placement, unless there is one with its id: that stays as it is.
pub fn ensure_placement(
    tx: &mut dyn Tx,
    new: &Placement,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let known = tx.row(
        "SELECT id FROM placements WHERE id = $1",
        &[new.id.as_str().into()],
    )?;
    match known {
        Some(_) => Ok(()),
        None => add_placement(tx, new, by, now),
    }
}
