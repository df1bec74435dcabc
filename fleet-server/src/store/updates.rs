//! Which software gateways shall have, by the director's words, and what they say of what they have.

use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::release::Version;
use homeward_protocol::release::state::{Met, UpdateState};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

use crate::access::Sight;
use crate::audit::Action;
use crate::direct::{self, shelf::Told};
use crate::store::records::Origin;
use crate::store::{Row, StoreError, Tx, audit, gateways};

/// Uses that a change met are written down once in this time, and none that is older than a month: no box fills the trail.
const APART_MS: i64 = 60_000;
const FAR_MS: i64 = 30 * 86_400_000;
/// Most bytes of a state.
pub const MAX_STATE: usize = 8 * 1024;

/// The director's newest word for a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Which gateway.
    pub gateway: GatewayId,
    /// Its number.
    pub counter: u64,
    /// The target's path.
    pub path: String,
    /// The version that the target is.
    pub version: Version,
    /// Not before.
    pub not_before: Timestamp,
    /// By when.
    pub deadline: Timestamp,
    /// When it was said.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// As it was signed.
    pub word: Vec<u8>,
}

/// What a gateway said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub state: UpdateState,
    /// When it arrived.
    pub received_at: Timestamp,
}

/// The number of the next word. One that a server before this one gave, and that gateways named, is not given again.
pub fn next(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<u64, StoreError> {
    let row = tx.row("SELECT COALESCE(MAX(counter), 0) FROM assignments", &[])?;
    let highest = row.map_or(Ok(0), |row| row.int(0))?;
    let said = said(tx, gateway)?.map_or(0, |said| {
        let now = said.state.now.map_or(0, |(mark, _)| mark.counter);
        now.max(said.state.ended.and_then(|ended| ended.counter).unwrap_or(0))
    });
    Ok(u64::try_from(highest).unwrap_or(0).max(said) + 1)
}

/// Notes a word; it takes the place of the one before. False for a gateway that is not known, or out of service.
pub fn assign(tx: &mut dyn Tx, one: &Assigned) -> Result<bool, StoreError> {
    let known = gateways::get(tx, &one.gateway)?;
    if known.is_none_or(|known| known.state == crate::device::State::Revoked) {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO assignments (gateway, counter, path, version, not_before, deadline, assigned_at, assigned_by, word)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (gateway) DO UPDATE SET counter = excluded.counter, path = excluded.path,
             version = excluded.version, not_before = excluded.not_before, deadline = excluded.deadline,
             assigned_at = excluded.assigned_at, assigned_by = excluded.assigned_by, word = excluded.word",
        &[
            one.gateway.as_str().into(),
            number(one.counter).into(),
            one.path.as_str().into(),
            one.version.to_string().as_str().into(),
            one.not_before.ms.into(),
            one.deadline.ms.into(),
            one.at.ms.into(),
            one.by.as_str().into(),
            one.word.as_slice().into(),
        ],
    )?;
    let detail = format!(
        "{} ({}), word {}, by {}",
        one.version, one.path, one.counter, one.deadline
    );
    audit::record(
        tx,
        one.at,
        &one.by,
        Action::UpdateAssigned,
        one.gateway.as_str(),
        &detail,
    )?;
    Ok(true)
}

/// Rises with each word: what was read under the same number is as it was.
pub fn mark(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let row = tx.row("SELECT COALESCE(MAX(counter), 0) FROM assignments", &[])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// All words.
pub fn assigned(tx: &mut dyn Tx) -> Result<Vec<Assigned>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, counter, path, version, not_before, deadline, assigned_at, assigned_by, word FROM assignments
         ORDER BY gateway",
        &[],
    )?;
    rows.iter().map(read).collect()
}

/// The newest word for a gateway.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Assigned>, StoreError> {
    let row = tx.row(
        "SELECT gateway, counter, path, version, not_before, deadline, assigned_at, assigned_by, word FROM assignments
         WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.as_ref().map(read).transpose()
}

/// The words for gateways in service that are to begin some time, each with what its gateway last said.
pub fn told(tx: &mut dyn Tx) -> Result<Vec<Told>, StoreError> {
    let rows = tx.rows(
        "SELECT a.gateway, a.path, a.counter, u.state FROM assignments a JOIN gateways g ON g.id = a.gateway
         LEFT JOIN update_states u ON u.gateway = a.gateway
         WHERE g.state = 'enrolled' AND a.not_before - a.assigned_at < $1 ORDER BY a.gateway",
        &[direct::NEVER_MS.into()],
    )?;
    rows.iter().map(one_told).collect()
}

/// The homes that may be seen and whose words have not ended, each with its gateway's.
pub fn coming(tx: &mut dyn Tx, sight: &Sight) -> Result<Vec<(PlacementId, Told)>, StoreError> {
    let team = match sight {
        Sight::Fleet => "",
        Sight::Team(team) => team.as_str(),
        Sight::Nobody => return Ok(Vec::new()),
    };
    let rows = tx.rows(
        "SELECT a.gateway, a.path, a.counter, u.state, p.id FROM assignments a JOIN gateways g ON g.id = a.gateway
         JOIN placements p ON p.id = g.placement LEFT JOIN update_states u ON u.gateway = a.gateway
         WHERE g.state = 'enrolled' AND ($1 = '' OR p.team = $1) AND a.not_before - a.assigned_at < $2
         ORDER BY p.id, a.gateway",
        &[team.into(), direct::NEVER_MS.into()],
    )?;
    let mut coming = Vec::new();
    for row in &rows {
        let told = one_told(row)?;
        if told.is_open() {
            coming.push((row.parse(4)?, told));
        }
    }
    Ok(coming)
}

fn one_told(row: &Row) -> Result<Told, StoreError> {
    let said = row.opt_blob(3)?.map(|bytes| wire::decode(bytes, MAX_STATE));
    Ok(Told {
        gateway: row.parse(0)?,
        path: row.text(1)?.to_owned(),
        counter: u64::try_from(row.int(2)?).map_err(|e| row.corrupt(2, e))?,
        said: said.transpose().map_err(|e| row.corrupt(3, e))?,
    })
}

fn read(row: &Row) -> Result<Assigned, StoreError> {
    Ok(Assigned {
        gateway: row.text(0)?.parse().map_err(|e| row.corrupt(0, e))?,
        counter: u64::try_from(row.int(1)?).map_err(|e| row.corrupt(1, e))?,
        path: row.text(2)?.to_owned(),
        version: row.text(3)?.parse().map_err(|e| row.corrupt(3, e))?,
        not_before: Timestamp::synced(row.int(4)?),
        deadline: Timestamp::synced(row.int(5)?),
        at: Timestamp::synced(row.int(6)?),
        by: row.text(7)?.to_owned(),
        word: row.blob(8)?.to_vec(),
    })
}

fn number(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

/// What a gateway last said.
pub fn said(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Said>, StoreError> {
    let row = tx.row(
        "SELECT state, received_at FROM update_states WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.map(|row| {
        let state = wire::decode(row.blob(0)?, MAX_STATE).map_err(|e| row.corrupt(0, e))?;
        Ok(Said {
            state,
            received_at: Timestamp::synced(row.int(1)?),
        })
    })
    .transpose()
}

/// Takes the place of the word before, unless that one is newer (another outbox with an older state).
pub fn put(tx: &mut dyn Tx, at: &Origin<'_>, state: &UpdateState) -> Result<(), StoreError> {
    let taken = at.no_later(state.taken_at).ms;
    let before = tx.row(
        "SELECT epoch, taken_at, state FROM update_states WHERE gateway = $1",
        &[at.gateway.into()],
    )?;
    if let Some(row) = &before
        && row.text(0)? != at.epoch
        && row.int(1)? > taken
    {
        return Ok(());
    }
    let before = before.and_then(|row| {
        wire::decode::<UpdateState>(row.blob(2).ok()?, MAX_STATE)
            .ok()?
            .met
    });
    let is_new = |met: &&Met| {
        let when = at.no_later(met.at).ms;
        let apart = before
            .as_ref()
            .is_none_or(|before| when.saturating_sub(before.at.ms) >= APART_MS);
        apart && at.now.ms.saturating_sub(when) < FAR_MS
    };
    if let Some(met) = state.met.as_ref().filter(is_new) {
        let detail = format!(
            "{} was being used at {} while a change was being made on its box",
            met.sensor, met.at
        );
        audit::record(tx, at.now, at.gateway, Action::UseMet, at.gateway, &detail)?;
    }
    let bytes = wire::encode(state, MAX_STATE).map_err(|e| StoreError::Unavailable {
        step: "writing a state of software down",
        why: e.to_string(),
    })?;
    tx.execute(
        "INSERT INTO update_states (gateway, epoch, taken_at, received_at, state) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, taken_at = excluded.taken_at,
             received_at = excluded.received_at, state = excluded.state",
        &[
            at.gateway.into(),
            at.epoch.into(),
            taken.into(),
            at.now.ms.into(),
            bytes.as_slice().into(),
        ],
    )?;
    Ok(())
}
