//! What the pages and the API read beside judgements: one gateway from all sides, and the lists.

use homeward_protocol::grade::Grade;
use homeward_protocol::id::{GatewayId, PlacementId, SensorId};
use homeward_protocol::posture::PostureReport;
use homeward_protocol::reading::{Details, Kind, Quality, Value};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

use super::care::{details, named, value};
use super::{Row, StoreError, Tx};
use crate::care::Lifecycle;

/// Newest rows of a history that a page shows.
const NEWEST: i64 = 20;
/// Most rows of a list that has no pages.
const MOST: i64 = 500;
/// Most bytes of a stored posture report: an envelope holds no larger item.
const MAX_POSTURE: usize = 64 * 1024;

/// A gateway's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Which one.
    pub id: GatewayId,
    /// How far its life has come.
    pub lifecycle: Lifecycle,
    /// Whose home it is in.
    pub placement: Option<PlacementId>,
    /// When it was claimed.
    pub created_at: Timestamp,
    /// When it was let in.
    pub enrolled_at: Option<Timestamp>,
    /// When it was shut out.
    pub revoked_at: Option<Timestamp>,
    /// Why it was shut out.
    pub revoked_why: Option<String>,
    /// Connected since.
    pub connected_at: Option<Timestamp>,
    /// From where it is, or was last, connected.
    pub address: Option<String>,
    /// When anything of it was last stored.
    pub last_heard: Option<Timestamp>,
}

/// One gateway's row.
pub fn gateway(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
    let row = tx.row(
        "SELECT id, state, placement, created_at, enrolled_at, revoked_at, revoked_why, connected_at, address,
           last_heard FROM gateways WHERE id = $1",
        &[id.as_str().into()],
    )?;
    let gateway = |row: Row| {
        Ok(Gateway {
            id: row.parse(0)?,
            lifecycle: row.parse(1)?,
            placement: row.opt_text(2)?.map(|_| row.parse(2)).transpose()?,
            created_at: Timestamp::synced(row.int(3)?),
            enrolled_at: moment(&row, 4)?,
            revoked_at: moment(&row, 5)?,
            revoked_why: text(&row, 6)?,
            connected_at: moment(&row, 7)?,
            address: text(&row, 8)?,
            last_heard: moment(&row, 9)?,
        })
    };
    row.map(gateway).transpose()
}

/// The newest posture report and when it was stored.
pub fn posture(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<(PostureReport, Timestamp)>, StoreError> {
    let row = tx.row(
        "SELECT report, received_at FROM postures WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    let posture = |row: Row| {
        let report = wire::decode(row.blob(0)?, MAX_POSTURE).map_err(|e| row.corrupt(0, e))?;
        Ok((report, Timestamp::synced(row.int(1)?)))
    };
    row.map(posture).transpose()
}

/// A sensor as the gateway lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// Which one.
    pub sensor: SensorId,
    /// The profile it is read by.
    pub profile: String,
    /// How often it is asked, seconds.
    pub interval_s: i64,
    /// Times in a row that it did not answer.
    pub failures: i64,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When a reading of it was last stored.
    pub last_stored: Option<Timestamp>,
}

/// A gateway's sensors.
pub fn sensors(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Sensor>, StoreError> {
    let rows = tx.rows(
        "SELECT sensor, profile, interval_s, failures, last_error, last_stored FROM sensors
         WHERE gateway = $1 ORDER BY sensor",
        &[id.as_str().into()],
    )?;
    let sensor = |row: &Row| {
        Ok(Sensor {
            sensor: row.parse(0)?,
            profile: row.text(1)?.to_owned(),
            interval_s: row.int(2)?,
            failures: row.int(3)?,
            last_error: text(row, 4)?,
            last_stored: moment(row, 5)?,
        })
    };
    rows.iter().map(sensor).collect()
}

/// A reading as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which sensor.
    pub sensor: SensorId,
    /// What was measured.
    pub kind: Kind,
    /// What the device gave.
    pub value: Value,
    /// What is known of it.
    pub quality: Quality,
    /// How sure we are of its device.
    pub grade: Grade,
    /// When the gateway took it.
    pub taken_at: Timestamp,
    /// When the server stored it.
    pub received_at: Timestamp,
    /// What else is known of it.
    pub details: Details,
}

/// The newest reading of each kind from each sensor.
pub fn latest(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT sensor, kind, mantissa, exponent, state, quality, grade, taken_at, clock, received_at,
           details FROM latest
         WHERE gateway = $1 ORDER BY sensor, kind",
        &[id.as_str().into()],
    )?;
    rows.iter().map(shown).collect()
}

/// Readings of one sensor taken from `from` on and before `until`, oldest first, at most `limit`.
pub fn readings(
    tx: &mut dyn Tx,
    id: &GatewayId,
    sensor: &SensorId,
    (from, until): (i64, i64),
    limit: i64,
) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT sensor, kind, mantissa, exponent, state, quality, grade, taken_at, clock, received_at,
           details FROM readings
         WHERE gateway = $1 AND sensor = $2 AND taken_at >= $3 AND taken_at < $4 ORDER BY taken_at, kind LIMIT $5",
        &[id.as_str().into(), sensor.as_str().into(), from.into(), until.into(), limit.into()],
    )?;
    rows.iter().map(shown).collect()
}

fn shown(row: &Row) -> Result<Shown, StoreError> {
    Ok(Shown {
        sensor: row.parse(0)?,
        kind: named(row, 1)?,
        value: value(row, 2)?,
        quality: named(row, 5)?,
        grade: named(row, 6)?,
        taken_at: Timestamp {
            ms: row.int(7)?,
            trust: named(row, 8)?,
        },
        received_at: Timestamp::synced(row.int(9)?),
        details: details(row, 10)?,
    })
}

/// A hole in a gateway's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which lane.
    pub lane: String,
    /// Records that are not here.
    pub missing: i64,
    /// Why, as it is kept.
    pub cause: String,
    /// When it was noticed.
    pub noted_at: Timestamp,
}

/// The newest holes.
pub fn gaps(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Gap>, StoreError> {
    let rows = tx.rows(
        "SELECT lane, missing, cause, noted_at FROM gaps WHERE gateway = $1 ORDER BY noted_at DESC, from_seq DESC
         LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    let gap = |row: &Row| {
        Ok(Gap {
            lane: row.text(0)?.to_owned(),
            missing: row.int(1)?,
            cause: row.text(2)?.to_owned(),
            noted_at: Timestamp::synced(row.int(3)?),
        })
    };
    rows.iter().map(gap).collect()
}

/// What a gateway sent that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// How many pieces came.
    pub total: i64,
    /// How many of them are kept as they came, each only once.
    pub kept: i64,
    /// When the newest came.
    pub last_at: Timestamp,
    /// What was wrong with the newest.
    pub last_why: String,
}

/// What could not be read; `None` when everything could.
pub fn unreadable(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Unreadable>, StoreError> {
    let row = tx.row(
        "SELECT total, last_at, last_why, (SELECT count(*) FROM quarantine WHERE gateway = $1)
         FROM rejects WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    let read = |row: Row| {
        Ok(Unreadable {
            total: row.int(0)?,
            last_at: Timestamp::synced(row.int(1)?),
            last_why: row.text(2)?.to_owned(),
            kept: row.int(3)?,
        })
    };
    row.map(read).transpose()
}

/// Something that lasted from one moment to another, and why it ended or came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// When it began.
    pub from: Timestamp,
    /// When it ended; not yet, when missing.
    pub until: Option<Timestamp>,
    /// From which address, for a connection.
    pub address: Option<String>,
    /// Why, as it is kept.
    pub why: Option<String>,
}

/// The newest connections, as the server saw them.
pub fn connections(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Stretch>, StoreError> {
    let rows = tx.rows(
        "SELECT connected_at, ended_at, address, ended_why FROM connections WHERE gateway = $1
         ORDER BY connected_at DESC LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    rows.iter().map(stretch).collect()
}

/// The newest outages, as the gateway itself reports them.
pub fn outages(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Stretch>, StoreError> {
    let rows = tx.rows(
        "SELECT from_at, until_at, NULL, cause FROM outages WHERE gateway = $1 ORDER BY from_at DESC LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    rows.iter().map(stretch).collect()
}

fn stretch(row: &Row) -> Result<Stretch, StoreError> {
    Ok(Stretch {
        from: Timestamp::synced(row.int(0)?),
        until: moment(row, 1)?,
        address: text(row, 2)?,
        why: text(row, 3)?,
    })
}

/// A condition that began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmEvent {
    /// What is wrong, as it is kept.
    pub condition: String,
    /// With which sensor.
    pub sensor: Option<String>,
    /// Whether it began.
    pub active: bool,
    /// When the server heard of it.
    pub received_at: Timestamp,
}

/// The newest alarms.
pub fn alarms(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<AlarmEvent>, StoreError> {
    let rows = tx.rows(
        "SELECT condition, sensor, active, received_at FROM alarms WHERE gateway = $1
         ORDER BY received_at DESC, seq DESC LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    let alarm = |row: &Row| {
        Ok(AlarmEvent {
            condition: row.text(0)?.to_owned(),
            sensor: text(row, 1)?,
            active: row.int(2)? != 0,
            received_at: Timestamp::synced(row.int(3)?),
        })
    };
    rows.iter().map(alarm).collect()
}

/// A gateway's certificate, as far as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number, hex.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Whether it was renewed after it had expired.
    pub late: bool,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The newest certificates.
pub fn certificates(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Certificate>, StoreError> {
    let rows = tx.rows(
        "SELECT serial, not_before, not_after, late, revoked_at FROM certificates WHERE gateway = $1 AND spare = 0
         ORDER BY issued_at DESC LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    let certificate = |row: &Row| {
        Ok(Certificate {
            serial: row.text(0)?.to_owned(),
            not_before: Timestamp::synced(row.int(1)?),
            not_after: Timestamp::synced(row.int(2)?),
            late: row.int(3)? != 0,
            revoked_at: moment(row, 4)?,
        })
    };
    rows.iter().map(certificate).collect()
}

/// A claim, without its code, which nobody can read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// For which gateway.
    pub gateway: GatewayId,
    /// How far the gateway's life has come.
    pub lifecycle: Lifecycle,
    /// For which home.
    pub placement: Option<PlacementId>,
    /// Whether an operator has to say yes.
    pub needs_operator: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// The key that used it.
    pub key: Option<PublicKey>,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Times it was tried with a wrong code.
    pub failed_tries: i64,
}

/// The newest claims.
pub fn claims(tx: &mut dyn Tx) -> Result<Vec<Claimed>, StoreError> {
    let rows = tx.rows(
        "SELECT c.gateway, g.state, g.placement, c.approval, c.created_by, c.created_at, c.expires_at, c.spki,
           c.used_at, c.approved_by, c.failed_tries
         FROM claims c JOIN gateways g ON g.id = c.gateway ORDER BY c.created_at DESC, c.gateway LIMIT $1",
        &[MOST.into()],
    )?;
    rows.iter().map(claimed).collect()
}

/// The claims whose gateways wait for an operator, longest first.
pub fn waiting(tx: &mut dyn Tx) -> Result<Vec<Claimed>, StoreError> {
    let rows = tx.rows(
        "SELECT c.gateway, g.state, g.placement, c.approval, c.created_by, c.created_at, c.expires_at, c.spki,
           c.used_at, c.approved_by, c.failed_tries
         FROM gateways g JOIN claims c ON g.id = c.gateway
         WHERE c.approval = 'operator' AND c.spki IS NOT NULL AND c.approved_at IS NULL AND g.state <> 'revoked'
         ORDER BY c.used_at, c.gateway LIMIT $1",
        &[MOST.into()],
    )?;
    rows.iter().map(claimed).collect()
}

impl Claimed {
    /// What is compared by eye before an approval; empty when nobody has used the claim.
    pub fn fingerprint(&self) -> String {
        self.key.as_ref().map(PublicKey::fingerprint).unwrap_or_default()
    }
}

fn claimed(row: &Row) -> Result<Claimed, StoreError> {
    let key = row
        .opt_blob(7)?
        .map(|spki| PublicKey::from_spki(spki).ok_or_else(|| row.corrupt(7, "not a P-256 key")));
    Ok(Claimed {
        gateway: row.parse(0)?,
        lifecycle: row.parse(1)?,
        placement: row.opt_text(2)?.map(|_| row.parse(2)).transpose()?,
        needs_operator: row.text(3)? == "operator",
        created_by: row.text(4)?.to_owned(),
        created_at: Timestamp::synced(row.int(5)?),
        expires_at: Timestamp::synced(row.int(6)?),
        key: key.transpose()?,
        used_at: moment(row, 8)?,
        approved_by: text(row, 9)?,
        failed_tries: row.int(10)?,
    })
}

/// Something that a person should look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// About which gateway.
    pub gateway: Option<GatewayId>,
    /// Which kind, as it is kept.
    pub kind: String,
    /// What happened, in plain words.
    pub said: String,
    /// When.
    pub at: Timestamp,
    /// When a person closed it.
    pub closed_at: Option<Timestamp>,
    /// Who closed it.
    pub closed_by: Option<String>,
}

/// The newest incidents, open ones first.
pub fn incidents(tx: &mut dyn Tx) -> Result<Vec<Incident>, StoreError> {
    let rows = tx.rows(
        "SELECT id, gateway, kind, said, at, closed_at, closed_by FROM incidents
         ORDER BY CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END, at DESC, id LIMIT $1",
        &[MOST.into()],
    )?;
    let incident = |row: &Row| {
        Ok(Incident {
            id: row.text(0)?.to_owned(),
            gateway: row.opt_text(1)?.map(|_| row.parse(1)).transpose()?,
            kind: row.text(2)?.to_owned(),
            said: row.text(3)?.to_owned(),
            at: Timestamp::synced(row.int(4)?),
            closed_at: moment(row, 5)?,
            closed_by: text(row, 6)?,
        })
    };
    rows.iter().map(incident).collect()
}

/// What waits for an operator: gateways to approve, and open incidents.
pub fn to_do(tx: &mut dyn Tx) -> Result<(i64, i64), StoreError> {
    let waiting = tx.row(
        "SELECT COUNT(*) FROM gateways g JOIN claims c ON g.id = c.gateway
         WHERE c.approval = 'operator' AND c.spki IS NOT NULL AND c.approved_at IS NULL AND g.state <> 'revoked'",
        &[],
    )?;
    let open = tx.row("SELECT COUNT(*) FROM incidents WHERE closed_at IS NULL", &[])?;
    let count = |row: Option<Row>| row.map_or(Ok(0), |row| row.int(0));
    Ok((count(waiting)?, count(open)?))
}

fn moment(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.opt_int(column)?.map(Timestamp::synced))
}

fn text(row: &Row, column: usize) -> Result<Option<String>, StoreError> {
    Ok(row.opt_text(column)?.map(str::to_owned))
}
