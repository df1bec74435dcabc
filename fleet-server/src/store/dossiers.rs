//! Dossiers and their tasks: the rows behind [`crate::dossier`].

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::id::{GatewayId, PlacementId, SensorId};
use homeward_protocol::release::Version;
use homeward_protocol::release::dossier::{DOSSIER_FOLDER, Dossier};
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit, gateways};
use crate::access::Sight;
use crate::advisory::implant::{Kind, Name};
use crate::audit::Action;
use crate::device::State;
use crate::dossier::{Day, Order, Stands, Task, TaskId, Unfit, Whereabouts, Who, handle};
use crate::release::dossiers::Carried;

/// Who ends what is ended by nobody in person.
pub const ITSELF: &str = "system";
/// Tasks in one answer.
pub const MOST: i64 = 1_000;
/// Dossiers that are kept in view.
const MOST_DOSSIERS: i64 = 500;

/// Tasks with what they are about, as [`full`] reads them: `t`, their dossiers `d`, boxes `g` and homes `p`.
macro_rules! of_tasks {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.dossier, t.gateway, t.device, t.shown, t.state, t.person, t.day, t.version, t.first, t.reason,
               t.since, t.opened_at, t.opened_by, t.revision, t.placement, g.placement, d.sha256, d.path, d.bytes, d.taken_at
             FROM dossier_tasks t JOIN dossiers d ON d.sha256 = t.dossier JOIN gateways g ON g.id = t.gateway
             LEFT JOIN placements p ON p.id = t.placement ",
            $rest
        )
    };
}

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
    /// There is one that answers for this device.
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
    /// The home that it was opened for.
    pub placement: Option<PlacementId>,
}

/// Tasks that may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// At most [`MOST`].
    pub list: Vec<Full>,
    /// So many more there are.
    pub more: usize,
}

/// What came of opening a dossier's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The devices that it is for, and what came of each; nothing where it was only asked.
    pub devices: Vec<(Found, Option<Opening>)>,
    /// Tasks of older dossiers of its line, which ended by it.
    pub superseded: Vec<TaskId>,
}

/// Whether tasks are opened, or it is only said which would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They are.
    Really,
    /// Nothing is changed.
    DryRun,
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

/// The devices in service that a dossier is for: by what their boxes tell, and those of the register that it names by maker, model
/// and kind, where a box stands in the home; of several boxes there the first, so that a device is asked for once.
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
    let rows = tx.rows(
        "SELECT MIN(g.id), i.device, i.shows, i.maker, i.model, i.kind FROM implants i
           JOIN gateways g ON g.placement = i.placement
         WHERE i.ended_at IS NULL AND g.state = 'enrolled'
         GROUP BY i.id, i.device, i.shows, i.maker, i.model, i.kind ORDER BY i.id",
        &[],
    )?;
    for row in &rows {
        let (maker, model): (Name, Name) = (row.parse(3)?, row.parse(4)?);
        let (kind, shown): (Kind, _) = (row.parse(5)?, row.opt_text(2)?);
        let is_it = maker.is(&dossier.maker) && model.is(&dossier.model) && kind.class() == dossier.class;
        if is_it && dossier.is_needed(shown) {
            all.push(Found {
                gateway: row.parse(0)?,
                device: row.parse(1)?,
                shown: shown.map(str::to_owned),
            });
        }
    }
    all.sort_by(|a, b| (&a.gateway, &a.device).cmp(&(&b.gateway, &b.device)));
    all.dedup_by(|a, b| (&a.gateway, &a.device) == (&b.gateway, &b.device));
    Ok(all)
}

/// Devices, each with its box.
type Devices = BTreeSet<(GatewayId, SensorId)>;

/// The devices for which a task of this dossier, or of a newer one of its line, answers: somebody is asked, or did or decided
/// something in the home where the device is now. What ended because its instructions did answers for nothing.
fn answered(tx: &mut dyn Tx, dossier: &Dossier) -> Result<Devices, StoreError> {
    let line = format!("{DOSSIER_FOLDER}{}/%", dossier.name);
    let rows = tx.rows(
        "SELECT t.gateway, t.device, d.path FROM dossier_tasks t JOIN dossiers d ON d.sha256 = t.dossier
           JOIN gateways g ON g.id = t.gateway
         WHERE d.path LIKE $1 AND (t.state IN ('open', 'planned', 'seen')
           OR (t.state IN ('done', 'refused', 'withdrawn') AND COALESCE(t.placement, '') = COALESCE(g.placement, '')))",
        &[line.as_str().into()],
    )?;
    let mut answered = Devices::new();
    for row in &rows {
        let version: Option<Version> = row.text(2)?.rsplit('/').next().and_then(|text| text.parse().ok());
        if version.ok_or_else(|| row.corrupt(2, "no version"))? >= dossier.version {
            answered.insert((row.parse(0)?, row.parse(1)?));
        }
    }
    Ok(answered)
}

/// The devices that a dossier is for and for which no task of it, or of newer ones, answers.
pub fn without_a_task(tx: &mut dyn Tx, carried: &Carried) -> Result<Vec<Found>, StoreError> {
    let with = answered(tx, &carried.dossier)?;
    let mut all = devices(tx, &carried.dossier)?;
    all.retain(|one| !with.contains(&(one.gateway.clone(), one.device.clone())));
    Ok(all)
}

/// Opens a task for each device that a dossier is for, or for the one that was named; the open tasks of older dossiers of its
/// line end.
pub fn open_all(
    tx: &mut dyn Tx,
    carried: &Carried,
    (named, how): (Option<Found>, How),
    by: &str,
    now: Timestamp,
) -> Result<Opened, StoreError> {
    let found = match named {
        Some(one) => vec![one],
        None => devices(tx, &carried.dossier)?,
    };
    let kept = Kept {
        sha256: carried.sha256.clone(),
        path: carried.path.clone(),
        dossier: carried.dossier.clone(),
        taken_at: now,
    };
    if how == How::DryRun {
        let older = older(tx, &kept)?;
        return Ok(Opened {
            devices: found.into_iter().map(|one| (one, None)).collect(),
            superseded: older.into_iter().map(|full| full.task.id).collect(),
        });
    }
    super::alone(tx)?;
    keep(tx, (&kept.sha256, &kept.path), &carried.bytes, now)?;
    let mut answered = answered(tx, &kept.dossier)?;
    let mut devices = Vec::new();
    for one in found {
        let opening = open_one(tx, &kept, (&one, &mut answered), by, now)?;
        devices.push((one, Some(opening)));
    }
    // Who named a box that is not in service is told so, and nothing ended.
    if devices
        .iter()
        .any(|(_, opening)| *opening == Some(Opening::Unknown))
    {
        return Ok(Opened {
            devices,
            superseded: Vec::new(),
        });
    }
    let superseded = supersede(tx, &kept, &mut answered, by, now)?;
    for (one, opening) in superseded.opened {
        devices.push((one, Some(opening)));
    }
    Ok(Opened {
        devices,
        superseded: superseded.ended,
    })
}

/// Tasks that older dossiers of the same line ask for.
fn older(tx: &mut dyn Tx, newer: &Kept) -> Result<Vec<Full>, StoreError> {
    let line = format!("{DOSSIER_FOLDER}{}/%", newer.dossier.name);
    let rows = tx.rows(
        of_tasks!(
            "WHERE t.state IN ('open', 'planned', 'seen') AND d.path LIKE $1 AND d.sha256 <> $2 ORDER BY t.id"
        ),
        &[line.as_str().into(), newer.sha256.as_str().into()],
    )?;
    let mut all = rows.iter().map(full).collect::<Result<Vec<_>, _>>()?;
    all.retain(|full| full.kept.dossier.version <= newer.dossier.version);
    Ok(all)
}

struct Superseded {
    ended: Vec<TaskId>,
    opened: Vec<(Found, Opening)>,
}

/// Ends what older dossiers of the same line ask for. A device that no box reads, and one that the newer is for, gets a task
/// of the newer in its place; one whose box has moved gets none before a person looked again.
fn supersede(
    tx: &mut dyn Tx,
    newer: &Kept,
    answered: &mut Devices,
    by: &str,
    now: Timestamp,
) -> Result<Superseded, StoreError> {
    let (mut ended, mut opened) = (Vec::new(), Vec::new());
    let fitting = devices(tx, &newer.dossier)?;
    for full in older(tx, newer)? {
        let task = &full.task;
        let next = Stands::Superseded {
            newer: newer.path.clone(),
        };
        if !write(tx, task, &next, now)? {
            continue;
        }
        let detail = format!("task {}, {}: {} took its place", task.id, task.device, newer.path);
        audit::record(
            tx,
            now,
            by,
            Action::DossierSuperseded,
            task.gateway.as_str(),
            &detail,
        )?;
        ended.push(task.id);
        let is_it = |found: &&Found| found.gateway == task.gateway && found.device == task.device;
        let by_hand = newer.dossier.profiles.is_empty().then(|| Found {
            gateway: task.gateway.clone(),
            device: task.device.clone(),
            shown: task.shown.clone(),
        });
        let next = by_hand.or_else(|| fitting.iter().find(is_it).cloned());
        if let Some(found) = next.filter(|_| task.whereabouts == Whereabouts::There)
            && let opening @ Opening::Opened(_) = open_one(tx, newer, (&found, &mut *answered), by, now)?
        {
            opened.push((found, opening));
        }
    }
    Ok(Superseded { ended, opened })
}

/// Dossiers that somebody still has to carry out: SHA-256 and path.
pub fn asked_for(tx: &mut dyn Tx) -> Result<Vec<(String, String)>, StoreError> {
    let rows = tx.rows(
        "SELECT d.sha256, d.path FROM dossiers d WHERE EXISTS (SELECT 1 FROM dossier_tasks t
           WHERE t.dossier = d.sha256 AND t.state IN ('open', 'planned', 'seen')) ORDER BY d.path LIMIT $1",
        &[MOST_DOSSIERS.into()],
    )?;
    rows.iter()
        .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned())))
        .collect()
}

/// Ends the open tasks of a dossier that is not published any more.
pub fn recall(tx: &mut dyn Tx, sha256: &str, now: Timestamp) -> Result<Vec<TaskId>, StoreError> {
    let rows = tx.rows(
        of_tasks!("WHERE t.state IN ('open', 'planned', 'seen') AND t.dossier = $1 ORDER BY t.id"),
        &[sha256.into()],
    )?;
    let mut ended = Vec::new();
    for row in &rows {
        let full = full(row)?;
        let task = &full.task;
        if write(tx, task, &Stands::Recalled, now)? {
            let detail = format!(
                "task {}, {}: {} is not published any more",
                task.id, task.device, full.kept.path
            );
            audit::record(
                tx,
                now,
                ITSELF,
                Action::DossierRecalled,
                task.gateway.as_str(),
                &detail,
            )?;
            ended.push(task.id);
        }
    }
    Ok(ended)
}

/// Tasks of a dossier that ended because it was not published for a time, or because newer instructions took their place that
/// are not published any more. One for each device in service for which no task of it, or of newer ones, answers.
pub fn ended_with(tx: &mut dyn Tx, sha256: &str) -> Result<Vec<Task>, StoreError> {
    let any = tx.row(
        "SELECT d.sha256, d.path, d.bytes, d.taken_at FROM dossiers d WHERE d.sha256 = $1 AND EXISTS (SELECT 1 FROM dossier_tasks t
           WHERE t.dossier = d.sha256 AND t.state IN ('recalled', 'superseded'))",
        &[sha256.into()],
    )?;
    let Some(own) = any.as_ref().map(|row| kept(row, 0)).transpose()? else {
        return Ok(Vec::new());
    };
    let rows = tx.rows(
        of_tasks!(
            "WHERE t.dossier = $1 AND t.state IN ('recalled', 'superseded') AND g.state = 'enrolled' ORDER BY t.id"
        ),
        &[sha256.into()],
    )?;
    let mut ended = BTreeMap::new();
    for row in &rows {
        let task = full(row)?.task;
        ended.insert((task.gateway.clone(), task.device.clone()), task);
    }
    let answered = answered(tx, &own.dossier)?;
    ended.retain(|device, _| !answered.contains(device));
    Ok(ended.into_values().collect())
}

/// Asks for those again. Who calls this saw that the dossier is the newest of its line that is published.
pub fn ask_again(tx: &mut dyn Tx, sha256: &str, now: Timestamp) -> Result<Vec<TaskId>, StoreError> {
    let mut again = Vec::new();
    for task in ended_with(tx, sha256)? {
        if write(tx, &task, &Stands::Open, now)? {
            let detail = format!(
                "task {}, {}: its instructions are published again",
                task.id, task.device
            );
            let gateway = task.gateway.as_str();
            audit::record(tx, now, ITSELF, Action::DossierReopened, gateway, &detail)?;
            again.push(task.id);
        }
    }
    Ok(again)
}

/// The path of a newer dossier of the same line that has tasks which were not recalled.
fn newer(tx: &mut dyn Tx, than: &Kept) -> Result<Option<String>, StoreError> {
    let line = format!("{DOSSIER_FOLDER}{}/%", than.dossier.name);
    let rows = tx.rows(
        "SELECT d.sha256, d.path, d.bytes, d.taken_at FROM dossiers d WHERE d.path LIKE $1 AND EXISTS (
           SELECT 1 FROM dossier_tasks t WHERE t.dossier = d.sha256 AND t.state <> 'recalled')",
        &[line.as_str().into()],
    )?;
    let all = rows
        .iter()
        .map(|row| kept(row, 0))
        .collect::<Result<Vec<_>, _>>()?;
    let newer = all
        .into_iter()
        .filter(|one| one.dossier.version > than.dossier.version);
    Ok(newer.max_by_key(|one| one.dossier.version).map(|one| one.path))
}

/// The tasks of a dossier for a device: of each home in which it was.
fn twins(tx: &mut dyn Tx, sha256: &str, found: &Found) -> Result<Vec<Task>, StoreError> {
    let rows = tx.rows(
        of_tasks!("WHERE t.dossier = $1 AND t.gateway = $2 AND t.device = $3 ORDER BY t.id"),
        &[
            sha256.into(),
            found.gateway.as_str().into(),
            found.device.as_str().into(),
        ],
    )?;
    rows.iter().map(|row| Ok(full(row)?.task)).collect()
}

/// Opens a task for a device. A dossier has one for each home in which it is.
pub fn open(
    tx: &mut dyn Tx,
    kept: &Kept,
    found: &Found,
    by: &str,
    now: Timestamp,
) -> Result<Opening, StoreError> {
    super::alone(tx)?;
    let mut answered = answered(tx, &kept.dossier)?;
    open_one(tx, kept, (found, &mut answered), by, now)
}

/// The same, where it is known which devices have an answer.
fn open_one(
    tx: &mut dyn Tx,
    kept: &Kept,
    (found, answered): (&Found, &mut Devices),
    by: &str,
    now: Timestamp,
) -> Result<Opening, StoreError> {
    let known = gateways::get(tx, &found.gateway)?;
    let Some(known) = known.filter(|known| known.state == State::Enrolled) else {
        return Ok(Opening::Unknown);
    };
    let (gateway, device) = (found.gateway.as_str(), found.device.as_str());
    if !answered.insert((found.gateway.clone(), found.device.clone())) {
        return Ok(Opening::Known);
    }
    let row = tx.row("SELECT COALESCE(MAX(id), 0) FROM dossier_tasks", &[])?;
    let id = row.map_or(Ok(0), |row| row.int(0))? + 1;
    tx.execute(
        "INSERT INTO dossier_tasks (id, dossier, gateway, device, shown, state, since, opened_at, opened_by, revision, placement)
         VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, 1, $9)",
        &[
            id.into(),
            kept.sha256.as_str().into(),
            gateway.into(),
            device.into(),
            found.shown.as_deref().into(),
            now.ms.into(),
            now.ms.into(),
            by.into(),
            known.placement.as_ref().map(PlacementId::as_str).into(),
        ],
    )?;
    let detail = format!("task {id}: {device}, {} to {}", kept.path, kept.dossier.after);
    audit::record(tx, now, by, Action::DossierOpened, gateway, &detail)?;
    Ok(Opening::Opened(TaskId(id)))
}

/// The tasks that may be seen: what somebody has to do first, the newest before the older.
/// A task is seen by the team of the home that it was opened for.
pub fn tasks(tx: &mut dyn Tx, sight: &Sight) -> Result<Tasks, StoreError> {
    let team = match sight {
        Sight::Fleet => "",
        Sight::Team(team) => team.as_str(),
        Sight::Nobody => {
            return Ok(Tasks {
                list: Vec::new(),
                more: 0,
            });
        }
    };
    let count = tx.row(
        "SELECT COUNT(*) FROM dossier_tasks t LEFT JOIN placements p ON p.id = t.placement
         WHERE ($1 = '' OR p.team = $1)",
        &[team.into()],
    )?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let rows = tx.rows(
        of_tasks!(
            "WHERE ($1 = '' OR p.team = $1)
         ORDER BY CASE WHEN t.state IN ('open', 'planned', 'seen') THEN 0 ELSE 1 END, t.opened_at DESC, t.id LIMIT $2"
        ),
        &[team.into(), MOST.into()],
    )?;
    Ok(Tasks {
        list: rows.iter().map(full).collect::<Result<_, _>>()?,
        more: usize::try_from(count).unwrap_or(0).saturating_sub(rows.len()),
    })
}

/// One task, when it may be seen.
pub fn task(tx: &mut dyn Tx, id: TaskId, sight: &Sight) -> Result<Option<Full>, StoreError> {
    let team = match sight {
        Sight::Fleet => "",
        Sight::Team(team) => team.as_str(),
        Sight::Nobody => return Ok(None),
    };
    let row = tx.row(
        of_tasks!("WHERE ($1 = '' OR p.team = $1) AND t.id = $2"),
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
        "superseded" => Stands::Superseded {
            newer: row.text(10)?.to_owned(),
        },
        "recalled" => Stands::Recalled,
        _ => return Err(row.corrupt(5, "no state of a task")),
    };
    let whereabouts = if row.opt_text(15)? == row.opt_text(16)? {
        Whereabouts::There
    } else {
        Whereabouts::Elsewhere
    };
    Ok(Full {
        task: Task {
            id: TaskId(row.int(0)?),
            dossier: row.text(1)?.to_owned(),
            gateway: row.parse(2)?,
            device: row.parse(3)?,
            shown: row.opt_text(4)?.map(str::to_owned),
            stands,
            whereabouts,
            since: Timestamp::synced(row.int(11)?),
            opened_at: Timestamp::synced(row.int(12)?),
            opened_by: row.text(13)?.to_owned(),
            revision: row.int(14)?,
        },
        kept: kept(row, 17)?,
        placement: row.opt_text(15)?.map(|_| row.parse(15)).transpose()?,
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
    if let Order::Reopen(_) = order
        && let Some(path) = newer(tx, &full.kept)?
    {
        return Ok(Some(Err(Unfit::Newer(path))));
    }
    if let Order::Reopen(_) = order
        && before.stands.is_over()
    {
        let of_it = Found {
            gateway: before.gateway.clone(),
            device: before.device.clone(),
            shown: None,
        };
        let twins = twins(tx, &before.dossier, &of_it)?;
        if let Some(twin) = twins.iter().find(|twin| !twin.stands.is_over()) {
            return Ok(Some(Err(Unfit::Twin(twin.id))));
        }
    }
    let at = (&before.stands, before.whereabouts);
    let next = match handle(at, &full.kept.dossier, order, who, now) {
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
    if let Order::Reopen(_) = order {
        tx.execute(
            "UPDATE dossier_tasks SET placement = (SELECT g.placement FROM gateways g WHERE g.id = $1) WHERE id = $2",
            &[before.gateway.as_str().into(), id.0.into()],
        )?;
    }
    let (action, what) = match order {
        Order::Reopen(reason) => {
            let what = format!("{} asks for it again: {}", who.person, reason.as_str());
            (Action::DossierReopened, what)
        }
        _ => said(&next),
    };
    let detail = format!("task {id}, {}: {what}", before.device);
    audit::record(tx, now, by, action, before.gateway.as_str(), &detail)?;
    // Who opened it again for another home sees what came of it, whoever's that home is.
    Ok(task(tx, id, &Sight::Fleet)?.map(Ok))
}

fn write(tx: &mut dyn Tx, before: &Task, next: &Stands, now: Timestamp) -> Result<bool, StoreError> {
    let (mut day, mut version, mut first, mut reason) = (None, None, None, None);
    let person = match next {
        Stands::Open | Stands::Recalled => None,
        Stands::Superseded { newer } => {
            reason = Some(newer.as_str());
            None
        }
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
        Stands::Superseded { newer } => (Action::DossierSuperseded, newer.clone()),
        Stands::Recalled => (Action::DossierRecalled, "recalled".to_owned()),
    }
}
