//! The records themselves: readings, postures and the sensors they list, alarms, outages, and what could not be
//! read. Written while an envelope is taken ([`super::take`]); pages read them in `console.rs`.
//!
//! Names of variants stand in the tables as on the wire.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::alarm::Alarm;
use homeward_protocol::envelope::{Item, Lane, MAX_ITEM};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::guard::WriteAttempt;
use homeward_protocol::id::{GatewayId, SensorId, Seq};
use homeward_protocol::link::Outage;
use homeward_protocol::posture::{PostureReport, ShortText};
use homeward_protocol::reading::{Details, Reading, Value as Given};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::wire;
use serde::Serialize;

use super::streams::number;
use super::{
    Row, StoreError, Tx, Value, attest, audit, care, facts, forces, policies, support, suspicions, updates,
};
use crate::attest::reliance::Reliance;
use crate::device::attempt;
use crate::facts::Wish;
use crate::ingest::{Content, Place};

/// Pieces of one gateway that are kept though they could not be read; older ones are only counted.
pub const MAX_QUARANTINED: i64 = 32;

/// Where records come from, and when they arrived by the server's clock.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The gateway's id.
    pub gateway: &'a str,
    /// The outbox's, as text.
    pub epoch: &'a str,
    /// Which lane.
    pub lane: Lane,
    /// Whether the gateway's spare key speaks.
    pub spare: bool,
    /// When.
    pub now: Timestamp,
}

impl Origin<'_> {
    /// When something was taken, and never after it arrived: else a clock that ran ahead once would make old news the
    /// newest for years.
    pub fn no_later(&self, taken_at: Timestamp) -> Timestamp {
        Timestamp {
            ms: taken_at.ms.min(self.now.ms),
            ..taken_at
        }
    }
}

/// The name of a variant, as on the wire.
pub fn word(value: &impl Serialize) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    quoted.trim_matches('"').to_owned()
}

/// Whether a gateway's records may come a second time under other numbers.
///
/// # Design
/// Any other outbox counts, whether it is known to have forked or not: a disk that is put back a second time brings
/// what stands in the epoch that took the first one's place, and a server that was restored may not know of the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// Never: it had one outbox.
    Straight,
    /// It had others: what a disk held when it was put back is numbered anew, also what had been delivered before.
    Renumbered,
}

impl Past {
    /// By whether the gateway has streams of another epoch.
    pub(super) const fn of(others: bool) -> Past {
        if others { Past::Renumbered } else { Past::Straight }
    }

    /// Whether a record of this moment may be one that is stored. Below the clock's floor all records carry one
    /// moment, so there nothing is taken for the same.
    fn may_repeat(self, of: Timestamp) -> bool {
        self == Past::Renumbered && of.trust != ClockTrust::Floor
    }
}

/// Stores what the places hold, but for the newest of each kind, which is noted in `newest`; gives how many readings,
/// and how many records that could not be read.
pub(super) fn keep<'a>(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    places: &'a [Place],
    (past, reliance): (Past, Option<&Reliance>),
    newest: &mut Newest<'a>,
) -> Result<(u64, u64), StoreError> {
    let (mut readings, mut unreadable) = (0, 0);
    for Place {
        first: seq, content, ..
    } in places
    {
        match content {
            Content::Record(Item::Reading(reading)) => {
                let columns = Columns::of(reading, reliance);
                if past.may_repeat(reading.taken_at) {
                    if at.spare && stands_elsewhere(tx, at, reading, &columns)? {
                        continue; // its own key said it, and that is worth more
                    }
                    take_back(tx, at, reading, &columns)?;
                }
                put_reading(tx, at, *seq, reading, &columns)?;
                newest.note(reading, columns);
                readings += 1;
            }
            Content::Record(Item::Alarm(alarm)) => put_alarm(tx, at, *seq, alarm, past)?,
            Content::Record(Item::Outage(outage)) => put_outage(tx, at, *seq, outage, past)?,
            Content::Unreadable { body, why } => {
                quarantine(tx, at.gateway, &body.0, why, at.now)?;
                unreadable += 1;
            }
            // Signed by itself, whoever brings it.
            Content::Record(Item::Proof(link)) => {
                let gateway = at.gateway.parse().map_err(|_| unwritable("not a gateway's id"))?;
                attest::postures::take(tx, &gateway, link, (at.spare, at.now))?;
            }
            // Kept, signed, in its envelope.
            Content::Lost(_) => {}
            // What the box is and has, its own key says: the spare one speaks for its sensors alone.
            Content::Record(_) if at.spare => {}
            Content::Record(Item::Posture(report)) => put_posture(tx, at, report)?,
            Content::Record(Item::Write(write)) => put_write(tx, at, *seq, write, past)?,
            Content::Record(Item::Facts(report)) => {
                newest.wishes.extend(facts::take(tx, at, report)?);
            }
            Content::Record(Item::Software(piece)) => facts::take_piece(tx, at, piece)?,
            Content::Record(Item::Watch(report)) => suspicions::put(tx, at, report)?,
            Content::Record(Item::Policy(state)) => policies::states::put(tx, at, state)?,
            Content::Record(Item::Support(record)) => support::take(tx, at, record)?,
            Content::Record(Item::Stopped(flows)) => policies::stopped::put(tx, at, flows)?,
            Content::Record(Item::Update(state)) => {
                updates::put(tx, at, state)?;
                forces::told(tx, at, state)?;
            }
        }
    }
    Ok((readings, unreadable))
}

/// The newest reading of each sensor and kind among those that are being stored: written once, after all of them.
#[derive(Default)]
pub(super) struct Newest<'a> {
    readings: BTreeMap<(&'a str, String), Columns>,
    /// What the gateway is to be asked for after the commit.
    pub(super) wishes: BTreeSet<Wish>,
}

impl<'a> Newest<'a> {
    fn note(&mut self, reading: &'a Reading, columns: Columns) {
        self.readings
            .insert((reading.sensor.as_str(), columns.kind.clone()), columns);
    }

    /// Writes them to `latest`, and to `sensors` when they were stored.
    pub(super) fn put(&self, tx: &mut dyn Tx, at: &Origin<'_>) -> Result<(), StoreError> {
        for ((sensor, _), columns) in &self.readings {
            put_latest(tx, at, sensor, columns)?;
        }
        let sensors: BTreeSet<&str> = self.readings.keys().map(|(sensor, _)| *sensor).collect();
        for sensor in sensors {
            tx.execute(
                "UPDATE sensors SET last_stored = $1 WHERE gateway = $2 AND sensor = $3",
                &[at.now.ms.into(), at.gateway.into(), sensor.into()],
            )?;
        }
        Ok(())
    }
}

/// A reading's columns beside its place.
struct Columns {
    kind: String,
    mantissa: Option<i64>,
    exponent: Option<i64>,
    state: Option<String>,
    quality: String,
    grade: String,
    taken_at: i64,
    clock: String,
    details: Option<String>,
}

impl Columns {
    fn of(reading: &Reading, reliance: Option<&Reliance>) -> Columns {
        let (mantissa, exponent, state) = match reading.value {
            Given::Number(n) => (Some(n.mantissa()), Some(i64::from(n.exponent())), None),
            Given::State(state) => (None, None, Some(word(&state))),
            Given::Absent => (None, None, None),
        };
        let (grade, details) = believed(reading, reliance);
        Columns {
            kind: word(&reading.kind),
            mantissa,
            exponent,
            state,
            quality: word(&reading.quality),
            grade: word(&grade),
            taken_at: reading.taken_at.ms,
            clock: word(&reading.taken_at.trust),
            details: (!details.is_empty()).then(|| json(&details)),
        }
    }

    fn values(&self) -> [Value<'_>; 9] {
        [
            (&self.kind).into(),
            self.mantissa.into(),
            self.exponent.into(),
            self.state.as_deref().into(),
            (&self.quality).into(),
            (&self.grade).into(),
            self.taken_at.into(),
            (&self.clock).into(),
            self.details.as_deref().into(),
        ]
    }
}

/// As `details` columns have it. The text of a plain structure cannot fail.
fn json(details: &Details) -> String {
    serde_json::to_string(details).unwrap_or_default()
}

/// Whether this very reading stands in another epoch that the gateway's own key began.
fn stands_elsewhere(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    reading: &Reading,
    columns: &Columns,
) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT 1 FROM readings r WHERE gateway = $1 AND sensor = $2 AND kind = $3 AND taken_at = $4
           AND mantissa IS NOT DISTINCT FROM $5 AND exponent IS NOT DISTINCT FROM $6
           AND state IS NOT DISTINCT FROM $7 AND epoch <> $8
           AND NOT EXISTS (SELECT 1 FROM streams s WHERE s.gateway = r.gateway AND s.epoch = r.epoch AND s.spare = 1)
         LIMIT 1",
        &same(at, reading, columns),
    )?;
    Ok(row.is_some())
}

/// What tells a reading from another, and the epoch in which it is now.
fn same<'a>(at: &'a Origin<'_>, reading: &'a Reading, columns: &'a Columns) -> [Value<'a>; 8] {
    [
        at.gateway.into(),
        reading.sensor.as_str().into(),
        (&columns.kind).into(),
        columns.taken_at.into(),
        columns.mantissa.into(),
        columns.exponent.into(),
        columns.state.as_deref().into(),
        at.epoch.into(),
    ]
}

/// Removes this very reading from its gateway's other epochs: it stands in this one from now on.
fn take_back(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    reading: &Reading,
    columns: &Columns,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM readings WHERE gateway = $1 AND sensor = $2 AND kind = $3 AND taken_at = $4
           AND mantissa IS NOT DISTINCT FROM $5 AND exponent IS NOT DISTINCT FROM $6
           AND state IS NOT DISTINCT FROM $7 AND epoch <> $8",
        &same(at, reading, columns),
    )?;
    Ok(())
}

fn put_reading(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    seq: Seq,
    reading: &Reading,
    columns: &Columns,
) -> Result<(), StoreError> {
    let [
        kind,
        mantissa,
        exponent,
        state,
        quality,
        grade,
        taken_at,
        clock,
        details,
    ] = columns.values();
    tx.execute(
        "INSERT INTO readings (gateway, epoch, seq, sensor, kind, mantissa, exponent, state, quality, grade,
                               taken_at, clock, received_at, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
        &[
            at.gateway.into(),
            at.epoch.into(),
            number(seq).into(),
            reading.sensor.as_str().into(),
            kind,
            mantissa,
            exponent,
            state,
            quality,
            grade,
            taken_at,
            clock,
            at.now.ms.into(),
            details,
        ],
    )?;
    Ok(())
}

/// Within one outbox what comes later is newer, whatever the box's clock did; between outboxes the clock decides, and
/// nothing counts as taken after it arrived.
fn put_latest(tx: &mut dyn Tx, at: &Origin<'_>, sensor: &str, columns: &Columns) -> Result<(), StoreError> {
    let [
        kind,
        mantissa,
        exponent,
        state,
        quality,
        grade,
        taken_at,
        clock,
        details,
    ] = columns.values();
    tx.execute(
        "INSERT INTO latest (gateway, sensor, kind, epoch, mantissa, exponent, state, quality, grade, taken_at,
                             clock, received_at, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (gateway, sensor, kind) DO UPDATE SET epoch = excluded.epoch, mantissa = excluded.mantissa,
             exponent = excluded.exponent, state = excluded.state, quality = excluded.quality,
             grade = excluded.grade, taken_at = excluded.taken_at, clock = excluded.clock,
             received_at = excluded.received_at, details = excluded.details
         WHERE latest.epoch = excluded.epoch
            OR CASE WHEN latest.taken_at < latest.received_at THEN latest.taken_at ELSE latest.received_at END
            <= CASE WHEN excluded.taken_at < excluded.received_at THEN excluded.taken_at ELSE excluded.received_at END",
        &[
            at.gateway.into(),
            sensor.into(),
            kind,
            at.epoch.into(),
            mantissa,
            exponent,
            state,
            quality,
            grade,
            taken_at,
            clock,
            at.now.ms.into(),
            details,
        ],
    )?;
    Ok(())
}

/// What was read could not be written down again.
fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable {
        step: "writing a record down",
        why: error.to_string(),
    }
}

/// SHA-256, lower case hex.
fn digest(bytes: &[u8]) -> String {
    super::hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// The grade that a reading has here, and what is known of it. A gateway that claims more than its own reasons allow, or
/// than our record of it, is not believed; what it signed is kept in its envelope.
fn believed(reading: &Reading, reliance: Option<&Reliance>) -> (Grade, Details) {
    let own = reading.grade.min(reading.highest_grade());
    let against = reliance.and_then(|record| record.against(reading.taken_at));
    let mut details = reading.details.clone();
    let said = |reason: &Reason| reason.ceiling() < own || *reason == Reason::SpareKey;
    match against.filter(|reason| said(reason) && !details.reasons.contains(reason)) {
        Some(reason) => {
            details.reasons.push(reason);
            (reason.ceiling(), details)
        }
        None => (own, details),
    }
}

/// Nothing that was taken after `since` stands as verified any more: the box that says so was found not in order.
pub fn take_back_verified(tx: &mut dyn Tx, gateway: &GatewayId, since: Timestamp) -> Result<(), StoreError> {
    let (verified, unverified) = (word(&Grade::Verified), word(&Grade::Unverified));
    let of: [Value<'_>; 3] = [gateway.as_str().into(), (&verified).into(), since.ms.into()];
    let doubted = |row: &Row, column: usize| {
        let mut details = care::details(row, column)?;
        details.reasons.push(Reason::GatewayDoubted);
        Ok::<_, StoreError>(json(&details))
    };
    let readings = tx.rows(
        "SELECT epoch, seq, details FROM readings WHERE gateway = $1 AND grade = $2 AND taken_at > $3",
        &of,
    )?;
    for row in &readings {
        tx.execute(
            "UPDATE readings SET grade = $1, details = $2 WHERE gateway = $3 AND epoch = $4 AND seq = $5",
            &[
                (&unverified).into(),
                (&doubted(row, 2)?).into(),
                gateway.as_str().into(),
                row.text(0)?.into(),
                row.int(1)?.into(),
            ],
        )?;
    }
    let latest = tx.rows(
        "SELECT sensor, kind, details FROM latest WHERE gateway = $1 AND grade = $2 AND taken_at > $3",
        &of,
    )?;
    for row in &latest {
        tx.execute(
            "UPDATE latest SET grade = $1, details = $2 WHERE gateway = $3 AND sensor = $4 AND kind = $5",
            &[
                (&unverified).into(),
                (&doubted(row, 2)?).into(),
                gateway.as_str().into(),
                row.text(0)?.into(),
                row.text(1)?.into(),
            ],
        )?;
    }
    Ok(())
}

fn put_posture(tx: &mut dyn Tx, at: &Origin<'_>, report: &PostureReport) -> Result<(), StoreError> {
    let bytes = wire::encode(report, MAX_ITEM).map_err(unwritable)?;
    let trust = report.trust.map(|mark| mark.to_string());
    let newer = tx.execute(
        "INSERT INTO postures (gateway, taken_at, received_at, epoch, report, trust) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gateway) DO UPDATE SET taken_at = excluded.taken_at, received_at = excluded.received_at,
             epoch = excluded.epoch, report = excluded.report, trust = excluded.trust
         WHERE postures.epoch = excluded.epoch OR postures.taken_at <= excluded.taken_at",
        &[
            at.gateway.into(),
            at.no_later(report.taken_at).ms.into(),
            at.now.ms.into(),
            at.epoch.into(),
            bytes.as_slice().into(),
            trust.as_deref().into(),
        ],
    )?;
    if newer == 0 {
        Ok(())
    } else {
        put_sensors(tx, at, report)
    }
}

/// The report's list takes the place of the one before.
fn put_sensors(tx: &mut dyn Tx, at: &Origin<'_>, report: &PostureReport) -> Result<(), StoreError> {
    tx.execute("DELETE FROM sensors WHERE gateway = $1", &[at.gateway.into()])?;
    for sensor in &report.sensors {
        tx.execute(
            "INSERT INTO sensors (gateway, sensor, profile, interval_s, failures, last_error, last_heard, listed_at,
                                  last_stored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                     (SELECT max(received_at) FROM latest WHERE gateway = $1 AND sensor = $2))
             ON CONFLICT DO NOTHING",
            &[
                at.gateway.into(),
                sensor.sensor.as_str().into(),
                sensor.profile.as_str().into(),
                i64::from(sensor.interval_s).into(),
                i64::from(sensor.failures).into(),
                sensor.last_error.as_ref().map(ShortText::as_str).into(),
                sensor.last_heard.map(|at| at.ms).into(),
                at.now.ms.into(),
            ],
        )?;
    }
    Ok(())
}

/// An alarm that comes again in another epoch stands once, in the new epoch, and was heard of when it first came: an end
/// that was stored meanwhile stays the newest word on it.
fn put_alarm(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    seq: Seq,
    alarm: &Alarm,
    past: Past,
) -> Result<(), StoreError> {
    let condition = word(&alarm.condition);
    let same: [Value<'_>; 6] = [
        at.gateway.into(),
        at.epoch.into(),
        alarm.sensor.as_ref().map(SensorId::as_str).into(),
        (&condition).into(),
        i64::from(alarm.active).into(),
        alarm.at.ms.into(),
    ];
    let mut heard = at.now.ms;
    if past.may_repeat(alarm.at) {
        let first = tx.row(FIRST_ALARM, &same)?;
        heard = first.map_or(Ok(None), |row| row.opt_int(0))?.unwrap_or(heard);
        tx.execute(TAKE_BACK_ALARM, &same)?;
    }
    let [gateway, epoch, sensor, condition, active, moment] = same;
    let number = number(seq).into();
    tx.execute(
        "INSERT INTO alarms (gateway, epoch, seq, sensor, condition, active, at, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        &[
            gateway,
            epoch,
            number,
            sensor,
            condition,
            active,
            moment,
            heard.into(),
        ],
    )?;
    Ok(())
}

const FIRST_ALARM: &str = "SELECT min(received_at) FROM alarms WHERE gateway = $1 AND epoch <> $2
   AND sensor IS NOT DISTINCT FROM $3 AND condition = $4 AND active = $5 AND at = $6";
const TAKE_BACK_ALARM: &str = "DELETE FROM alarms WHERE gateway = $1 AND epoch <> $2
   AND sensor IS NOT DISTINCT FROM $3 AND condition = $4 AND active = $5 AND at = $6";

/// A row of the audit trail: in homes as on the server, who changed a thing or tried to is kept for good.
///
/// The trail's rows cannot move, so one that stands from another epoch is not written again.
fn put_write(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    seq: Seq,
    write: &WriteAttempt,
    past: Past,
) -> Result<(), StoreError> {
    let digest = digest(&wire::encode(write, MAX_ITEM).map_err(unwritable)?);
    let told_before = past.may_repeat(write.at)
        && tx
            .row(
                "SELECT epoch FROM attempts WHERE gateway = $1 AND digest = $2 AND epoch <> $3 LIMIT 1",
                &[at.gateway.into(), (&digest).into(), at.epoch.into()],
            )?
            .is_some();
    tx.execute(
        "INSERT INTO attempts (gateway, epoch, seq, digest, received_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        &[
            at.gateway.into(),
            at.epoch.into(),
            number(seq).into(),
            (&digest).into(),
            at.now.ms.into(),
        ],
    )?;
    if told_before {
        return Ok(());
    }
    let (action, detail) = attempt::told(write);
    audit::record(tx, at.now, at.gateway, action, write.sensor.as_str(), &detail)
}

/// As [`put_alarm`]; a page orders outages by their own times, so the moment of storing may move on.
fn put_outage(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    seq: Seq,
    outage: &Outage,
    past: Past,
) -> Result<(), StoreError> {
    let cause = word(&outage.cause);
    let same: [Value<'_>; 5] = [
        at.gateway.into(),
        at.epoch.into(),
        outage.from.ms.into(),
        outage.until.ms.into(),
        (&cause).into(),
    ];
    if past.may_repeat(outage.from) {
        tx.execute(
            "DELETE FROM outages WHERE gateway = $1 AND epoch <> $2 AND from_at = $3 AND until_at = $4 AND cause = $5",
            &same,
        )?;
    }
    let [gateway, epoch, from, until, cause] = same;
    let number = number(seq).into();
    tx.execute(
        "INSERT INTO outages (gateway, epoch, seq, from_at, until_at, cause, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        &[gateway, epoch, number, from, until, cause, at.now.ms.into()],
    )?;
    Ok(())
}

/// The gateway was heard now.
pub(super) fn heard(tx: &mut dyn Tx, at: &Origin<'_>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE gateways SET last_heard = $1 WHERE id = $2",
        &[at.now.ms.into(), at.gateway.into()],
    )?;
    Ok(())
}

/// Keeps a whole payload that could not be read; see [`MAX_QUARANTINED`].
pub fn reject(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    payload: &[u8],
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    quarantine(tx, gateway.as_str(), payload, why, now)
}

fn quarantine(
    tx: &mut dyn Tx,
    gateway: &str,
    bytes: &[u8],
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let digest = digest(bytes);
    let new = tx.execute(
        "INSERT INTO quarantine (gateway, digest, received_at, why, bytes) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        &[
            gateway.into(),
            (&digest).into(),
            now.ms.into(),
            why.into(),
            bytes.into(),
        ],
    )?;
    tx.execute(
        "INSERT INTO rejects (gateway, total, last_at, last_why) VALUES ($1, 1, $2, $3)
         ON CONFLICT (gateway) DO UPDATE SET total = rejects.total + 1, last_at = excluded.last_at,
             last_why = excluded.last_why",
        &[gateway.into(), now.ms.into(), why.into()],
    )?;
    if new > 0 {
        tx.execute(
            "DELETE FROM quarantine WHERE gateway = $1 AND digest IN
                 (SELECT digest FROM quarantine WHERE gateway = $1 ORDER BY received_at DESC, digest
                  LIMIT 1000 OFFSET $2)",
            &[gateway.into(), MAX_QUARANTINED.into()],
        )?;
    }
    Ok(())
}
