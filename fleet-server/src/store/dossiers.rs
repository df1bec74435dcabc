//! Dossiers and their tasks: the rows behind [`crate::dossier`].

use homeward_protocol::id::{GatewayId, SensorId};
use homeward_protocol::release::dossier::Dossier;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit, gateways};
use crate::access::Sight;
use crate::audit::Action;
use crate::device::State;
use crate::dossier::{Day, Order, Stands, Task, TaskId, Unfit, Who, handle};

/// Tasks in one answer.
pub const MOST: i64 = 1_000;
/// Dossiers that are kept in view.
const MOST_DOSSIERS: i64 = 500;

/// A dossier, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its SHA-256, hex.
    pub sha256: String,
    /// Where it lay among the targets.
    pub path: String,
    /// What it says.
    pub dossier: Dossier,
    /// When it was taken over.
    pub taken_at: Timestamp,
}

/// A device of a dossier's kind, as its box tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its box.
    pub gateway: GatewayId,
    /// The device, as the box calls it.
    pub device: SensorId,
    /// What it said of its firmware, where it does.
    pub shown: Option<String>,
}

/// What came of opening a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Opened(TaskId),
    /// There was one for this device.
    Known,
    /// There is no such gateway in service.
    Unknown,
}

/// A task with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The task.
    pub task: Task,
    /// Its dossier.
    pub kept: Kept,
    /// The home.
    pub placement: Option<String>,
}

/// Keeps a dossier that the repository names; one that is kept stays as it is.
pub fn keep(
    tx: &mut dyn Tx,
    (sha256, path): (&str, &str),
    bytes: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO dossiers (sha256, path, bytes, taken_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (sha256) DO UPDATE SET path = excluded.path",
        &[sha256.into(), path.into(), bytes.into(), now.ms.into()],
    )?;
    Ok(())
}

/// The dossiers that were taken over, the newest first.
pub fn dossiers(tx: &mut dyn Tx) -> Result<Vec<Kept>, StoreError> {
    let rows = tx.rows(
        "SELECT sha256, path, bytes, taken_at FROM dossiers ORDER BY taken_at DESC, path LIMIT $1",
        &[MOST_DOSSIERS.into()],
    )?;
    rows.iter().map(|row| kept(row, 0)).collect()
}

fn kept(row: &Row, from: usize) -> Result<Kept, StoreError> {
    let dossier = Dossier::decode(row.blob(from + 2)?);
    Ok(Kept {
        sha256: row.text(from)?.to_owned(),
        path: row.text(from + 1)?.to_owned(),
        dossier: dossier.map_err(|e| row.corrupt(from + 2, e))?,
        taken_at: Timestamp::synced(row.int(from + 3)?),
    })
}

/// The devices in service that a dossier is for, by what their boxes tell.
pub fn devices(tx: &mut dyn Tx, dossier: &Dossier) -> Result<Vec<Found>, StoreError> {
    let mut all = Vec::new();
    for profile in &dossier.profiles {
        let rows = tx.rows(
            "SELECT s.gateway, s.sensor, b.firmware FROM sensors s JOIN gateways g ON g.id = s.gateway
             LEFT JOIN bonds b ON b.gateway = s.gateway AND b.sensor = s.sensor
             WHERE s.profile = $1 AND g.state = 'enrolled' ORDER BY s.gateway, s.sensor",
            &[profile.as_str().into()],
        )?;
        for row in &rows {
            let shown = row.opt_text(2)?;
            if dossier.is_for(profile, shown) {
                all.push(Found {
                    gateway: row.parse(0)?,
                    device: row.parse(1)?,
                    shown: shown.map(str::to_owned),
                });
            }
        }
    }
    all.sort_by(|a, b| (&a.gateway, &a.device).cmp(&(&b.gateway, &b.device)));
    all.dedup_by(|a, b| (&a.gateway, &a.device) == (&b.gateway, &b.device));
    Ok(all)
}

/// Opens a task for a device. A dossier has one for each.
pub fn open(
    tx: &mut dyn Tx,
    kept: &Kept,
    found: &Found,
    by: &str,
    now: Timestamp,
) -> Result<Opening, StoreError> {
    // Two that open at once get two numbers.
    tx.execute("UPDATE meta SET value = value WHERE key = 'audit'", &[])?;
    let known = gateways::get(tx, &found.gateway)?;
    if known.is_none_or(|known| known.state != State::Enrolled) {
        return Ok(Opening::Unknown);
    }
    let (gateway, device) = (found.gateway.as_str(), found.device.as_str());
    let twin = tx.row(
        "SELECT id FROM dossier_tasks WHERE dossier = $1 AND gateway = $2 AND device = $3",
        &[kept.sha256.as_str().into(), gateway.into(), device.into()],
    )?;
    if twin.is_some() {
        return Ok(Opening::Known);
    }
    let row = tx.row("SELECT COALESCE(MAX(id), 0) FROM dossier_tasks", &[])?;
    let id = row.map_or(Ok(0), |row| row.int(0))? + 1;
    tx.execute(
        "INSERT INTO dossier_tasks (id, dossier, gateway, device, shown, state, since, opened_at, opened_by, revision)
         VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, 1)",
        &[
            id.into(),
            kept.sha256.as_str().into(),
            gateway.into(),
            device.into(),
            found.shown.as_deref().into(),
            now.ms.into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let detail = format!("task {id}: {device}, {} to {}", kept.path, kept.dossier.after);
    audit::record(tx, now, by, Action::DossierOpened, gateway, &detail)?;
    Ok(Opening::Opened(TaskId(id)))
}

/// The tasks that may be seen: what somebody has to do first, the newest before the older.
pub fn tasks(tx: &mut dyn Tx, sight: &Sight) -> Result<Vec<Full>, StoreError> {
    let team = match sight {
        Sight::Fleet => "",
        Sight::Team(team) => team.as_str(),
        Sight::Nobody => return Ok(Vec::new()),
    };
    let rows = tx.rows(
        "SELECT t.id, t.dossier, t.gateway, t.device, t.shown, t.state, t.person, t.day, t.version, t.first, t.reason,
           t.since, t.opened_at, t.opened_by, t.revision, g.placement, d.sha256, d.path, d.bytes, d.taken_at
         FROM dossier_tasks t JOIN dossiers d ON d.sha256 = t.dossier JOIN gateways g ON g.id = t.gateway
         LEFT JOIN placements p ON p.id = g.placement
         WHERE ($1 = '' OR p.team = $1)
         ORDER BY CASE WHEN t.state IN ('open', 'planned', 'seen') THEN 0 ELSE 1 END, t.opened_at DESC, t.id LIMIT $2",
        &[team.into(), MOST.into()],
    )?;
    rows.iter().map(full).collect()
}

/// One task, when it may be seen.
pub fn task(tx: &mut dyn Tx, id: TaskId, sight: &Sight) -> Result<Option<Full>, StoreError> {
    let team = match sight {
        Sight::Fleet => "",
        Sight::Team(team) => team.as_str(),
        Sight::Nobody => return Ok(None),
    };
    let row = tx.row(
        "SELECT t.id, t.dossier, t.gateway, t.device, t.shown, t.state, t.person, t.day, t.version, t.first, t.reason,
           t.since, t.opened_at, t.opened_by, t.revision, g.placement, d.sha256, d.path, d.bytes, d.taken_at
         FROM dossier_tasks t JOIN dossiers d ON d.sha256 = t.dossier JOIN gateways g ON g.id = t.gateway
         LEFT JOIN placements p ON p.id = g.placement
         WHERE ($1 = '' OR p.team = $1) AND t.id = $2",
        &[team.into(), id.0.into()],
    )?;
    row.as_ref().map(full).transpose()
}

fn full(row: &Row) -> Result<Full, StoreError> {
    let day = |column| {
        let ms = row.int(column)?;
        Day::kept(ms).ok_or_else(|| row.corrupt(column, "no day"))
    };
    let stands = match row.text(5)? {
        "open" => Stands::Open,
        "planned" => Stands::Planned {
            by: row.parse(6)?,
            on: day(7)?,
        },
        "seen" => Stands::Seen {
            by: row.parse(6)?,
            version: row.parse(8)?,
        },
        "done" => Stands::Done {
            by: row.parse(6)?,
            first: row.opt_text(9)?.map(|_| row.parse(9)).transpose()?,
            version: row.parse(8)?,
        },
        "refused" => Stands::Refused {
            by: row.parse(6)?,
            reason: row.parse(10)?,
        },
        "withdrawn" => Stands::Withdrawn {
            by: row.parse(6)?,
            reason: row.parse(10)?,
        },
        _ => return Err(row.corrupt(5, "no state of a task")),
    };
    Ok(Full {
        task: Task {
            id: TaskId(row.int(0)?),
            dossier: row.text(1)?.to_owned(),
            gateway: row.parse(2)?,
            device: row.parse(3)?,
            shown: row.opt_text(4)?.map(str::to_owned),
            stands,
            since: Timestamp::synced(row.int(11)?),
            opened_at: Timestamp::synced(row.int(12)?),
            opened_by: row.text(13)?.to_owned(),
            revision: row.int(14)?,
        },
        kept: kept(row, 16)?,
        placement: row.opt_text(15)?.map(str::to_owned),
    })
}

/// Carries out what a person orders, when it fits; gives the task as it stands then. Nothing for a task that may not be
/// seen. `by`: who is written down as having said so, which is a program's name where one speaks for the person.
pub fn order(
    tx: &mut dyn Tx,
    (id, sight): (TaskId, &Sight),
    order: &Order,
    (who, by): (&Who, &str),
    now: Timestamp,
) -> Result<Option<Result<Full, Unfit>>, StoreError> {
    let Some(full) = task(tx, id, sight)? else {
        return Ok(None);
    };
    let before = &full.task;
    let next = match handle(&before.stands, &full.kept.dossier, order, who, now) {
        Ok(next) => next,
        Err(why) => {
            // That a device shows something else after it was worked on is worth knowing, whatever comes of it.
            if let Unfit::OtherVersion { seen, wanted } = &why {
                let detail = format!(
                    "task {id}: {} saw {seen} on {}, where {wanted} should be",
                    who.person, before.device
                );
                audit::record(
                    tx,
                    now,
                    by,
                    Action::DossierMismatch,
                    before.gateway.as_str(),
                    &detail,
                )?;
            }
            return Ok(Some(Err(why)));
        }
    };
    if !write(tx, before, &next, now)? {
        return Ok(Some(Err(Unfit::Moved)));
    }
    let (action, what) = said(&next);
    let detail = format!("task {id}, {}: {what}", before.device);
    audit::record(tx, now, by, action, before.gateway.as_str(), &detail)?;
    Ok(task(tx, id, sight)?.map(Ok))
}

fn write(tx: &mut dyn Tx, before: &Task, next: &Stands, now: Timestamp) -> Result<bool, StoreError> {
    let (mut day, mut version, mut first, mut reason) = (None, None, None, None);
    let person = match next {
        Stands::Open => None,
        Stands::Planned { by, on } => {
            day = Some(on.begins().ms);
            Some(by)
        }
        Stands::Seen { by, version: shows } => {
            version = Some(shows.as_str());
            Some(by)
        }
        Stands::Done {
            by,
            first: other,
            version: shows,
        } => {
            version = Some(shows.as_str());
            first = other.as_ref().map(crate::access::UserName::as_str);
            Some(by)
        }
        Stands::Refused { by, reason: why } | Stands::Withdrawn { by, reason: why } => {
            reason = Some(why.as_str());
            Some(by)
        }
    };
    let touched = tx.execute(
        "UPDATE dossier_tasks SET state = $1, person = $2, day = $3, version = $4, first = $5, reason = $6, since = $7,
           revision = revision + 1
         WHERE id = $8 AND revision = $9",
        &[
            next.name().0.into(),
            person.map(crate::access::UserName::as_str).into(),
            day.into(),
            version.into(),
            first.into(),
            reason.into(),
            now.ms.into(),
            before.id.0.into(),
            before.revision.into(),
        ],
    )?;
    Ok(touched == 1)
}

/// What is written down of a step.
fn said(next: &Stands) -> (Action, String) {
    match next {
        Stands::Open => (Action::DossierOpened, "open".to_owned()),
        Stands::Planned { by, on } => (Action::DossierPlanned, format!("{by} sees to it on {on}")),
        Stands::Seen { by, version } => (
            Action::DossierSeen,
            format!("{by} saw {version}; a second person has to"),
        ),
        Stands::Done { by, first, version } => {
            let first = first.as_ref().map(|first| format!("{first} and "));
            let first = first.unwrap_or_default();
            (Action::DossierDone, format!("{first}{by} saw {version}"))
        }
        Stands::Refused { by, reason } => (Action::DossierRefused, format!("{by}: {}", reason.as_str())),
        Stands::Withdrawn { by, reason } => (Action::DossierWithdrawn, format!("{by}: {}", reason.as_str())),
    }
}
