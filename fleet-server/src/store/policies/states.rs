//! What gateways say of their policies: the newest word of each, each point, and the history of what did not hold.
//!
//! A report is the whole state, so a point that it no longer lists is no longer wanted, or holds.

use std::collections::{BTreeMap, HashMap};

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::points::PointId;
use homeward_protocol::policy::state::{PointState, PolicyState, Standing};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::wire;

use crate::store::records::Origin;
use crate::store::{Row, StoreError, Tx, Value};

/// Most bytes of a state without its points.
const MAX_STATE: usize = 8 * 1024;
/// Most spells of one gateway that are kept, whatever their age; those that go on are kept beside them.
const MAX_SPELLS: i64 = 5_000;
/// Most points of one gateway that are kept, with those that its newest word left out.
const MOST_POINTS: usize = 1_000;
/// The name of a standing.
const HOLDS: &str = "holds";
/// Rows of a history that a page shows.
const NEWEST: i64 = 50;
/// Gateways that a list about one point names.
const MOST: i64 = 500;

/// The newest word of a gateway; its points stand apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it said.
    pub state: PolicyState,
    /// When it arrived.
    pub received_at: Timestamp,
    /// When the server first heard of the return that it names.
    pub returned_heard: Option<Timestamp>,
}

/// Takes the place of the word before, unless that one is newer (another outbox with an older state).
pub fn put(tx: &mut dyn Tx, at: &Origin<'_>, state: &PolicyState) -> Result<(), StoreError> {
    let before = tx.row(
        "SELECT state, received_at, returned_heard, epoch, taken_at FROM policy_states WHERE gateway = $1",
        &[at.gateway.into()],
    )?;
    let mut heard = state.returned.is_some().then_some(at.now);
    if let Some(row) = &before {
        if row.text(3)? != at.epoch && row.int(4)? > at.no_later(state.taken_at).ms {
            return Ok(());
        }
        let said = said(row)?;
        if said.state.returned == state.returned {
            heard = said.returned_heard;
        }
    }
    put_state(tx, at, state, heard)?;
    put_points(tx, at, state)
}

fn put_state(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    state: &PolicyState,
    heard: Option<Timestamp>,
) -> Result<(), StoreError> {
    let bare = PolicyState {
        points: Vec::new(),
        ..state.clone()
    };
    let bytes = wire::encode(&bare, MAX_STATE).map_err(|e| StoreError::Unavailable {
        step: "writing a policy's state down",
        why: e.to_string(),
    })?;
    tx.execute(
        "INSERT INTO policy_states (gateway, epoch, taken_at, received_at, returned_heard, state)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, taken_at = excluded.taken_at,
             received_at = excluded.received_at, returned_heard = excluded.returned_heard, state = excluded.state",
        &[
            at.gateway.into(),
            at.epoch.into(),
            at.no_later(state.taken_at).ms.into(),
            at.now.ms.into(),
            heard.map(|at| at.ms).into(),
            bytes.as_slice().into(),
        ],
    )?;
    Ok(())
}

/// A point's columns: hazard, wanted, applied, observed, standing, why, since.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Columns {
    hazard: String,
    wanted: String,
    applied: Option<String>,
    observed: Option<String>,
    standing: &'static str,
    why: Option<String>,
    since: i64,
}

impl Columns {
    fn of(point: &PointState, now: Timestamp) -> Columns {
        let text = |text: &Option<ShortText>| text.as_ref().map(|text| text.as_str().to_owned());
        let (standing, why) = standing(&point.standing);
        let trusted = point.since.trust == ClockTrust::Synced && point.since.ms <= now.ms;
        Columns {
            hazard: point.hazard.to_string(),
            wanted: point.wanted.as_str().to_owned(),
            applied: text(&point.applied),
            observed: text(&point.observed),
            standing,
            why: why.map(|why| why.as_str().to_owned()),
            since: if trusted { point.since.ms } else { now.ms },
        }
    }

    fn is_bad(&self) -> bool {
        matches!(self.standing, "drifted" | "failed")
    }

    /// Whether this is news beside what a spell of not holding says.
    fn is_same_spell(&self, other: &Columns) -> bool {
        (self.standing, &self.observed, &self.wanted) == (other.standing, &other.observed, &other.wanted)
    }
}

/// The name of a standing, and what it says beside it.
pub const fn standing(standing: &Standing) -> (&'static str, Option<&ShortText>) {
    match standing {
        Standing::Holds => (HOLDS, None),
        Standing::Drifted => ("drifted", None),
        Standing::NotEnforceableHere(why) => ("not-enforceable-here", Some(why)),
        Standing::Failed(why) => ("failed", Some(why)),
    }
}

fn put_points(tx: &mut dyn Tx, at: &Origin<'_>, state: &PolicyState) -> Result<(), StoreError> {
    let mut before = columns(tx, at.gateway)?;
    // All that do not hold are listed when one that holds is.
    let complete = state.more == 0 || state.points.iter().any(|point| point.standing == Standing::Holds);
    for point in &state.points {
        let name = point.point.to_string();
        let mut now = Columns::of(point, at.now);
        let old = before.remove(&name);
        if let Some(old) = &old
            && point.since.trust != ClockTrust::Synced
            && old.is_same_spell(&now)
        {
            now.since = old.since;
        }
        if old.as_ref() == Some(&now) {
            continue;
        }
        put_point(tx, at, &name, &now)?;
        let (was_bad, is_bad) = (old.as_ref().is_some_and(Columns::is_bad), now.is_bad());
        let same = old.as_ref().is_some_and(|old| old.is_same_spell(&now));
        if was_bad && !same {
            end(tx, at, &name)?;
        }
        if is_bad && !(was_bad && same) {
            begin(tx, at, &name, &now)?;
        }
    }
    for (left, (name, old)) in before.into_iter().enumerate() {
        // Of a report that left some out that do not hold, nobody knows whether this is one of them.
        let may_stand = !complete && old.standing != HOLDS && left + state.points.len() < MOST_POINTS;
        if may_stand {
            continue;
        }
        tx.execute(
            "DELETE FROM policy_points WHERE gateway = $1 AND point = $2",
            &[at.gateway.into(), (&name).into()],
        )?;
        if old.is_bad() {
            end(tx, at, &name)?;
        }
    }
    Ok(())
}

fn columns(tx: &mut dyn Tx, gateway: &str) -> Result<BTreeMap<String, Columns>, StoreError> {
    let rows = tx.rows(
        "SELECT point, hazard, wanted, applied, observed, standing, why, since FROM policy_points WHERE gateway = $1",
        &[gateway.into()],
    )?;
    let text = |row: &Row, column| Ok::<_, StoreError>(row.opt_text(column)?.map(str::to_owned));
    let read = |row: &Row| {
        let columns = Columns {
            hazard: row.text(1)?.to_owned(),
            wanted: row.text(2)?.to_owned(),
            applied: text(row, 3)?,
            observed: text(row, 4)?,
            standing: standing(&stored_standing(row, 5, 6)?).0,
            why: text(row, 6)?,
            since: row.int(7)?,
        };
        Ok((row.text(0)?.to_owned(), columns))
    };
    rows.iter().map(read).collect()
}

fn put_point(tx: &mut dyn Tx, at: &Origin<'_>, name: &str, now: &Columns) -> Result<(), StoreError> {
    let with: [Value<'_>; 9] = [
        at.gateway.into(),
        name.into(),
        (&now.hazard).into(),
        (&now.wanted).into(),
        now.applied.as_deref().into(),
        now.observed.as_deref().into(),
        now.standing.into(),
        now.why.as_deref().into(),
        now.since.into(),
    ];
    tx.execute(
        "INSERT INTO policy_points (gateway, point, hazard, wanted, applied, observed, standing, why, since)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (gateway, point) DO UPDATE SET hazard = excluded.hazard, wanted = excluded.wanted, applied = excluded.applied, observed = excluded.observed,
             standing = excluded.standing, why = excluded.why, since = excluded.since",
        &with,
    )?;
    Ok(())
}

fn begin(tx: &mut dyn Tx, at: &Origin<'_>, name: &str, now: &Columns) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO drifts (gateway, point, standing, wanted, observed, why, since, noted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (gateway, point, noted_at) DO UPDATE SET standing = excluded.standing,
             wanted = excluded.wanted, observed = excluded.observed, why = excluded.why, since = excluded.since,
             ended_at = NULL",
        &[
            at.gateway.into(),
            name.into(),
            now.standing.into(),
            (&now.wanted).into(),
            now.observed.as_deref().into(),
            now.why.as_deref().into(),
            now.since.into(),
            at.now.ms.into(),
        ],
    )?;
    forget_oldest(tx, at.gateway)
}

fn forget_oldest(tx: &mut dyn Tx, gateway: &str) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM drifts WHERE gateway = $1 AND ended_at IS NOT NULL AND noted_at <
           (SELECT noted_at FROM drifts WHERE gateway = $1 ORDER BY noted_at DESC LIMIT 1 OFFSET $2)",
        &[gateway.into(), MAX_SPELLS.into()],
    )?;
    Ok(())
}

fn end(tx: &mut dyn Tx, at: &Origin<'_>, name: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE drifts SET ended_at = $1 WHERE gateway = $2 AND point = $3 AND ended_at IS NULL",
        &[at.now.ms.into(), at.gateway.into(), name.into()],
    )?;
    Ok(())
}

/// The first three columns are the state, when it arrived, and when its return was heard of.
fn said(row: &Row) -> Result<Said, StoreError> {
    let state = wire::decode(row.blob(0)?, MAX_STATE).map_err(|e| row.corrupt(0, e))?;
    Ok(Said {
        state,
        received_at: Timestamp::synced(row.int(1)?),
        returned_heard: row.opt_int(2)?.map(Timestamp::synced),
    })
}

/// The newest word of one gateway.
pub fn get(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Said>, StoreError> {
    let row = tx.row(
        "SELECT state, received_at, returned_heard FROM policy_states WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    row.as_ref().map(said).transpose()
}

/// The newest word of every gateway.
pub fn all(tx: &mut dyn Tx) -> Result<HashMap<GatewayId, Said>, StoreError> {
    let rows = tx.rows(
        "SELECT state, received_at, returned_heard, gateway FROM policy_states ORDER BY gateway LIMIT 1000000",
        &[],
    )?;
    rows.iter().map(|row| Ok((row.parse(3)?, said(row)?))).collect()
}

/// The points of one gateway, in the order of the rules.
pub fn points(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<PointState>, StoreError> {
    let rows = tx.rows(
        "SELECT point, hazard, wanted, applied, observed, standing, why, since FROM policy_points
         WHERE gateway = $1 ORDER BY point LIMIT 1000",
        &[id.as_str().into()],
    )?;
    let mut all: Vec<PointState> = rows.iter().map(point_state).collect::<Result<_, StoreError>>()?;
    all.sort_by_key(|one| one.point.rule());
    Ok(all)
}

/// The first columns: point, hazard, wanted, applied, observed, standing, why, since.
fn point_state(row: &Row) -> Result<PointState, StoreError> {
    let short = |column| Ok::<_, StoreError>(row.opt_text(column)?.map(ShortText::cut));
    Ok(PointState {
        point: row.parse(0)?,
        hazard: row.parse(1)?,
        wanted: ShortText::cut(row.text(2)?),
        applied: short(3)?,
        observed: short(4)?,
        standing: stored_standing(row, 5, 6)?,
        since: Timestamp::synced(row.int(7)?),
    })
}

fn stored_standing(row: &Row, name: usize, why: usize) -> Result<Standing, StoreError> {
    let why = ShortText::cut(row.opt_text(why)?.unwrap_or_default());
    match row.text(name)? {
        "holds" => Ok(Standing::Holds),
        "drifted" => Ok(Standing::Drifted),
        "not-enforceable-here" => Ok(Standing::NotEnforceableHere(why)),
        "failed" => Ok(Standing::Failed(why)),
        _ => Err(row.corrupt(name, "not a standing")),
    }
}

/// How the points of one gateway stand, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// They hold.
    pub holds: i64,
    /// Changed by hand.
    pub drifted: i64,
    /// Could not be set.
    pub failed: i64,
    /// Cannot be enforced there.
    pub not_enforceable: i64,
}

impl Tally {
    pub(super) fn add(&mut self, standing: &str, count: i64) {
        match standing {
            "drifted" => self.drifted += count,
            "failed" => self.failed += count,
            "not-enforceable-here" => self.not_enforceable += count,
            _ => self.holds += count,
        }
    }

    /// Whether nothing is other than it can be.
    pub const fn is_in_line(&self) -> bool {
        self.drifted == 0 && self.failed == 0
    }
}

/// The tally of each gateway, without those points that hold: these are the most, and say nothing.
pub fn tallies(tx: &mut dyn Tx) -> Result<HashMap<GatewayId, Tally>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, standing, COUNT(*) FROM policy_points
         WHERE standing IN ('drifted', 'failed', 'not-enforceable-here') GROUP BY gateway, standing LIMIT 3000000",
        &[],
    )?;
    let mut all: HashMap<GatewayId, Tally> = HashMap::new();
    for row in &rows {
        all.entry(row.parse(0)?)
            .or_default()
            .add(row.text(1)?, row.int(2)?);
    }
    Ok(all)
}

/// A point that some boxes do not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Which.
    pub point: PointId,
    /// Boxes, by how it stands.
    pub tally: Tally,
    /// Since when the longest of those that drifted or failed.
    pub since: Option<Timestamp>,
}

/// The points that some box does not meet.
pub fn unmet(tx: &mut dyn Tx) -> Result<Vec<Unmet>, StoreError> {
    let rows = tx.rows(
        "SELECT point, standing, COUNT(*), MIN(since) FROM policy_points
         WHERE standing IN ('drifted', 'failed', 'not-enforceable-here')
         GROUP BY point, standing ORDER BY point, standing LIMIT 3000",
        &[],
    )?;
    let mut all: Vec<Unmet> = Vec::new();
    for row in &rows {
        let point: PointId = row.parse(0)?;
        if all.last().is_none_or(|last| last.point != point) {
            all.push(Unmet {
                point,
                tally: Tally::default(),
                since: None,
            });
        }
        let Some(last) = all.last_mut() else { continue };
        last.tally.add(row.text(1)?, row.int(2)?);
        if matches!(row.text(1)?, "drifted" | "failed") {
            let since = Timestamp::synced(row.int(3)?);
            last.since = Some(
                last.since
                    .map_or(since, |before| if before.ms < since.ms { before } else { since }),
            );
        }
    }
    Ok(all)
}

/// A box that does not meet a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// Which box.
    pub gateway: GatewayId,
    /// How the point stands there.
    pub state: PointState,
}

/// The boxes that do not meet a point, those that never held longest first; at most 500.
pub fn offenders(tx: &mut dyn Tx, point: &PointId) -> Result<Vec<Offender>, StoreError> {
    let rows = tx.rows(
        "SELECT point, hazard, wanted, applied, observed, standing, why, since, gateway FROM policy_points
         WHERE standing IN ('drifted', 'failed', 'not-enforceable-here') AND point = $1
         ORDER BY CASE WHEN standing = 'not-enforceable-here' THEN 1 ELSE 0 END, since, gateway LIMIT $2",
        &[(&point.to_string()).into(), MOST.into()],
    )?;
    let one = |row: &Row| {
        Ok(Offender {
            gateway: row.parse(8)?,
            state: point_state(row)?,
        })
    };
    rows.iter().map(one).collect()
}

/// A time that a point did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spell {
    /// Which point.
    pub point: String,
    /// Whether somebody changed it, or it could not be set.
    pub standing: Standing,
    /// What was wanted.
    pub wanted: String,
    /// What was seen.
    pub observed: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When the server heard that it is over.
    pub ended_at: Option<Timestamp>,
}

/// The newest spells of one gateway, the newest first.
pub fn spells(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Spell>, StoreError> {
    let rows = tx.rows(
        "SELECT point, standing, why, wanted, observed, since, ended_at FROM drifts WHERE gateway = $1
         ORDER BY noted_at DESC, point LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    rows.iter().map(spell).collect()
}

/// From the first seven columns of [`spells`].
pub(super) fn spell(row: &Row) -> Result<Spell, StoreError> {
    Ok(Spell {
        point: row.text(0)?.to_owned(),
        standing: stored_standing(row, 1, 2)?,
        wanted: row.text(3)?.to_owned(),
        observed: row.opt_text(4)?.map(str::to_owned),
        since: Timestamp::synced(row.int(5)?),
        ended_at: row.opt_int(6)?.map(Timestamp::synced),
    })
}
