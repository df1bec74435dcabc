//! What clinicians weigh: the rows behind [`crate::advisory`].

use homeward_protocol::time::Timestamp;

use super::advisories::{self, Kept};
use super::care::team_of;
use super::implants::entry;
use super::{Row, StoreError, Tx, audit};
use crate::access::{Sight, UserName};
use crate::advisory::csaf::Advisory;
use crate::advisory::implant::Entry;
use crate::advisory::matching::{Concern, concern};
use crate::advisory::{
    Choice, Decision, Order, Stands, Unfit, WeighId, Weighing, Who, handle, matter, words,
};
use crate::audit::Action;
use crate::dossier::Day;

/// Tasks in one answer.
pub const MOST: i64 = 1_000;

/// Tasks as [`weighing`] reads them: `w`, their devices `i` and homes `p`, the advisories `a`.
macro_rules! of_weighings {
    ($rest:literal) => {
        concat!(
            "SELECT w.id, w.advisory, w.state, w.person, w.choice, w.day, w.weighed_with, w.without_change, w.by_change, w.reason,
               w.since, w.opened_at, w.opened_by, w.revision,
               i.id, i.placement, i.device, i.kind, i.maker, i.model, i.shows, i.told_at, i.told_by, i.ended_at, i.ended_why,
               a.tracking, w.matter, w.decided_by
             FROM weighings w JOIN implants i ON i.id = w.implant JOIN placements p ON p.id = i.placement
             JOIN advisories a ON a.sha256 = w.advisory ",
            $rest
        )
    };
}

/// What was opened, and what ended by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// New tasks, each with its device.
    pub new: Vec<(WeighId, Entry)>,
    /// Tasks of earlier revisions whose place they took.
    pub superseded: Vec<WeighId>,
}

/// A task in a list: with the id of its advisory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The task.
    pub weighing: Weighing,
    /// The advisory's own id.
    pub tracking: String,
}

/// Tasks that may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighings {
    /// At most [`MOST`].
    pub list: Vec<Listed>,
    /// So many more there are.
    pub more: usize,
}

/// A task with all that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The task.
    pub weighing: Weighing,
    /// The revision that it is about.
    pub kept: Kept,
    /// The newest revision, where that is another.
    pub newest: Option<Kept>,
    /// What was weighed of the same document and device before, the newest first.
    pub before: Vec<Weighing>,
}

/// Opens what one device lacks: a task for each advisory that is about it.
pub(super) fn follow_entry(
    tx: &mut dyn Tx,
    entry: &Entry,
    by: &str,
    now: Timestamp,
) -> Result<Opened, StoreError> {
    let mut opened = Opened::default();
    for sha256 in advisories::naming(tx, entry.implant.maker.as_str())? {
        if let Some(kept) = advisories::of(tx, &sha256)? {
            follow(tx, (&sha256, &kept.advisory), entry, &mut opened, by, now)?;
        }
    }
    Ok(opened)
}

/// Opens a task for this device where the advisory is about it and says something that nobody was asked to weigh yet.
pub(super) fn follow(
    tx: &mut dyn Tx,
    (sha256, advisory): (&str, &Advisory),
    entry: &Entry,
    opened: &mut Opened,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(concern) = concern(advisory, &entry.implant) else {
        return Ok(());
    };
    let matter = matter(&concern);
    let last = tx.row(
        "SELECT w.id, w.matter, w.state FROM weighings w JOIN advisories a ON a.sha256 = w.advisory
         WHERE a.namespace = $1 AND a.tracking = $2 AND w.implant = $3 AND a.removed_at IS NULL ORDER BY w.id DESC LIMIT 1",
        &[
            advisory.namespace.as_str().into(),
            advisory.id.as_str().into(),
            entry.id.0.into(),
        ],
    )?;
    if let Some(row) = last {
        // What took its place was taken out again: it is asked anew.
        if row.text(1)? == matter && row.text(2)? != "superseded" {
            return Ok(());
        }
        if let Some(before) = supersede(tx, WeighId(row.int(0)?), by, now)? {
            opened.superseded.push(before);
        }
    }
    let id = open(tx, (sha256, advisory), (entry, &concern), &matter, by, now)?;
    opened.new.push((id, entry.clone()));
    Ok(())
}

fn open(
    tx: &mut dyn Tx,
    (sha256, advisory): (&str, &Advisory),
    (entry, concern): (&Entry, &Concern<'_>),
    matter: &str,
    by: &str,
    now: Timestamp,
) -> Result<WeighId, StoreError> {
    let row = tx.row("SELECT COALESCE(MAX(id), 0) FROM weighings", &[])?;
    let id = row.map_or(Ok(0), |row| row.int(0))? + 1;
    tx.execute(
        "INSERT INTO weighings (id, advisory, implant, matter, state, since, opened_at, opened_by, revision)
         VALUES ($1, $2, $3, $4, 'open', $5, $5, $6, 1)",
        &[
            id.into(),
            sha256.into(),
            entry.id.0.into(),
            matter.into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let score = concern
        .score
        .map_or_else(String::new, |score| format!(", CVSS {score}"));
    let detail = format!(
        "task {id}, {}: {} revision {}{score}",
        entry.implant.device, advisory.id, advisory.version
    );
    let home = entry.implant.placement.as_str();
    audit::record(tx, now, by, Action::WeighOpened, home, &detail)?;
    Ok(WeighId(id))
}

/// Ends what an earlier revision asked for; a decision stands in it. Nothing for one that ended with its device.
fn supersede(tx: &mut dyn Tx, id: WeighId, by: &str, now: Timestamp) -> Result<Option<WeighId>, StoreError> {
    let row = tx.row(of_weighings!("WHERE w.id = $1"), &[id.0.into()])?;
    let Some(task) = row.as_ref().map(weighing).transpose()? else {
        return Ok(None);
    };
    let Some(next) = task.stands.superseded() else {
        return Ok(None);
    };
    if !write(tx, &task, &next, now)? {
        return Ok(None);
    }
    let detail = format!(
        "task {id}, {}: it stood as {}",
        device(&task),
        task.stands.name().1
    );
    audit::record(tx, now, by, Action::WeighSuperseded, home(&task), &detail)?;
    Ok(Some(id))
}

/// Ends what a revision asked for that a person took out.
pub(super) fn removed(tx: &mut dyn Tx, sha256: &str, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let rows = tx.rows(
        of_weighings!("WHERE w.advisory = $1 AND w.state NOT IN ('superseded', 'gone') ORDER BY w.id"),
        &[sha256.into()],
    )?;
    for row in &rows {
        let task = weighing(row)?;
        if let Some(next) = task.stands.superseded()
            && write(tx, &task, &next, now)?
        {
            let detail = format!("task {}, {}: its advisory was taken out", task.id, device(&task));
            audit::record(tx, now, by, Action::WeighWithdrawn, home(&task), &detail)?;
        }
    }
    Ok(())
}

/// Ends all that is asked for a device that is not there any more.
pub(super) fn gone(tx: &mut dyn Tx, entry: &Entry, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let rows = tx.rows(
        of_weighings!("WHERE w.implant = $1 AND w.state IN ('open', 'decided') ORDER BY w.id"),
        &[entry.id.0.into()],
    )?;
    for row in &rows {
        let task = weighing(row)?;
        if write(tx, &task, &Stands::Gone, now)? {
            let detail = format!(
                "task {}, {}: it is not in the register any more",
                task.id,
                device(&task)
            );
            audit::record(tx, now, by, Action::WeighGone, home(&task), &detail)?;
        }
    }
    Ok(())
}

fn home(task: &Weighing) -> &str {
    task.entry.implant.placement.as_str()
}

fn device(task: &Weighing) -> &str {
    task.entry.implant.device.as_str()
}

/// The tasks that may be seen: what somebody has to do first, the newest before the older.
pub fn list(tx: &mut dyn Tx, sight: &Sight) -> Result<Weighings, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(Weighings {
            list: Vec::new(),
            more: 0,
        });
    };
    let count = tx.row(
        "SELECT COUNT(*) FROM weighings w JOIN implants i ON i.id = w.implant JOIN placements p ON p.id = i.placement
         WHERE ($1 = '' OR p.team = $1)",
        &[team.into()],
    )?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let rows = tx.rows(
        of_weighings!(
            "WHERE ($1 = '' OR p.team = $1)
             ORDER BY CASE WHEN w.state IN ('open', 'decided') THEN 0 ELSE 1 END, w.opened_at DESC, w.id LIMIT $2"
        ),
        &[team.into(), MOST.into()],
    )?;
    let listed = |row: &Row| {
        Ok(Listed {
            weighing: weighing(row)?,
            tracking: row.text(25)?.to_owned(),
        })
    };
    Ok(Weighings {
        list: rows.iter().map(listed).collect::<Result<_, StoreError>>()?,
        more: usize::try_from(count).unwrap_or(0).saturating_sub(rows.len()),
    })
}

/// One task, when it may be seen.
fn task(tx: &mut dyn Tx, id: WeighId, sight: &Sight) -> Result<Option<Weighing>, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(None);
    };
    let row = tx.row(
        of_weighings!("WHERE ($1 = '' OR p.team = $1) AND w.id = $2"),
        &[team.into(), id.0.into()],
    )?;
    row.as_ref().map(weighing).transpose()
}

/// One task with all that it is about, when it may be seen.
pub fn full(tx: &mut dyn Tx, id: WeighId, sight: &Sight) -> Result<Option<Full>, StoreError> {
    let Some(weighing) = task(tx, id, sight)? else {
        return Ok(None);
    };
    let Some(kept) = advisories::of(tx, &weighing.advisory)? else {
        return Ok(None);
    };
    let (namespace, tracking) = (kept.advisory.namespace.as_str(), kept.advisory.id.as_str());
    let newest = advisories::newest(tx, namespace, tracking)?.filter(|newest| newest.sha256 != kept.sha256);
    let rows = tx.rows(
        of_weighings!(
            "WHERE a.namespace = $1 AND a.tracking = $2 AND w.implant = $3 AND w.id < $4 ORDER BY w.id DESC LIMIT 20"
        ),
        &[
            namespace.into(),
            tracking.into(),
            weighing.entry.id.0.into(),
            id.0.into(),
        ],
    )?;
    let before = rows.iter().map(self::weighing).collect::<Result<_, _>>()?;
    Ok(Some(Full {
        weighing,
        kept,
        newest,
        before,
    }))
}

/// Carries out what a person orders, when it fits; gives the task as it stands then. Nothing for one that may not be seen.
/// `seen`: the task's revision that the person had before them, where that is known. `by`: who is written down as having said so,
/// which is a program's name where one speaks for the person.
pub fn order(
    tx: &mut dyn Tx,
    (id, sight, seen): (WeighId, &Sight, Option<i64>),
    order: &Order,
    (who, by): (&Who, &str),
    now: Timestamp,
) -> Result<Option<Result<Weighing, Unfit>>, StoreError> {
    super::alone(tx)?;
    let Some(before) = task(tx, id, sight)? else {
        return Ok(None);
    };
    if seen.is_some_and(|seen| seen != before.revision) {
        return Ok(Some(Err(Unfit::Moved)));
    }
    if before.entry.ended.is_some() {
        return Ok(Some(Err(Unfit::Ended(Stands::Gone.name().1))));
    }
    let next = match handle(&before.stands, order, who, now) {
        Ok(next) => next,
        Err(why) => return Ok(Some(Err(why))),
    };
    if !write(tx, &before, &next, now)? {
        return Ok(Some(Err(Unfit::Moved)));
    }
    let (action, what) = said(order, &next, who);
    let detail = format!("task {id}, {}: {what}", device(&before));
    audit::record(tx, now, by, action, home(&before), &detail)?;
    Ok(task(tx, id, sight)?.map(Ok))
}

/// What is written down of an order.
fn said(order: &Order, next: &Stands, who: &Who) -> (Action, String) {
    let person = &who.person;
    match order {
        Order::Decide(decision) => {
            // All of it: the row keeps the last decision only.
            let what = format!(
                "{person}, with {}: {}; without a change: {}; by a change: {}",
                decision.with,
                words::choice(decision.choice),
                decision.without,
                decision.by_it
            );
            (Action::WeighDecided, what)
        }
        Order::Done => (Action::WeighDone, format!("{person}: {}", next.name().1)),
        Order::NotIt(reason) => (Action::WeighNotIt, format!("{person}: {}", reason.as_str())),
        Order::Withdraw(reason) => (Action::WeighWithdrawn, format!("{person}: {}", reason.as_str())),
        Order::Reopen(reason) => (Action::WeighReopened, format!("{person}: {}", reason.as_str())),
    }
}

fn write(tx: &mut dyn Tx, before: &Weighing, next: &Stands, now: Timestamp) -> Result<bool, StoreError> {
    let (mut person, mut decision, mut reason) = (None, None, None);
    match next {
        Stands::Open | Stands::Gone | Stands::Superseded { not_it: None } => {}
        Stands::Decided { by, decision: one } => {
            person = Some(by);
            decision = Some(one);
        }
        Stands::Done { by, .. } => person = Some(by),
        Stands::NotIt { by, reason: why }
        | Stands::Withdrawn { by, reason: why }
        | Stands::Superseded {
            not_it: Some((by, why)),
        } => {
            person = Some(by);
            reason = Some(why.as_str());
        }
    }
    let touched = tx.execute(
        "UPDATE weighings SET state = $1, person = $2, reason = $3, since = $4, told_at = NULL, revision = revision + 1
         WHERE id = $5 AND revision = $6",
        &[
            next.name().0.into(),
            person.map(UserName::as_str).into(),
            reason.into(),
            now.ms.into(),
            before.id.0.into(),
            before.revision.into(),
        ],
    )?;
    // What was decided stays on record, whatever becomes of the task, until somebody decides anew.
    if let Some(one) = decision.filter(|_| touched == 1) {
        tx.execute(
            "UPDATE weighings SET decided_by = $1, choice = $2, day = $3, weighed_with = $4, without_change = $5, by_change = $6
             WHERE id = $7",
            &[
                person.map(UserName::as_str).into(),
                one.choice.name().into(),
                one.choice.day().map(|day| day.begins().ms).into(),
                one.with.as_str().into(),
                one.without.as_str().into(),
                one.by_it.as_str().into(),
                before.id.0.into(),
            ],
        )?;
    }
    Ok(touched == 1)
}

fn weighing(row: &Row) -> Result<Weighing, StoreError> {
    let day = || {
        let ms = row.int(5)?;
        Day::kept(ms).ok_or_else(|| row.corrupt(5, "no day"))
    };
    let decision = || {
        Ok::<_, StoreError>(Decision {
            choice: match row.text(4)? {
                "act" => Choice::Act(day()?),
                "watch" => Choice::Watch(day()?),
                "leave" => Choice::Leave,
                _ => return Err(row.corrupt(4, "no choice")),
            },
            with: row.parse(6)?,
            without: row.parse(7)?,
            by_it: row.parse(8)?,
        })
    };
    let stands = match row.text(2)? {
        "open" => Stands::Open,
        "decided" => Stands::Decided {
            by: row.parse(3)?,
            decision: decision()?,
        },
        "done" => Stands::Done {
            by: row.parse(3)?,
            decision: decision()?,
        },
        "not-it" => Stands::NotIt {
            by: row.parse(3)?,
            reason: row.parse(9)?,
        },
        "withdrawn" => Stands::Withdrawn {
            by: row.parse(3)?,
            reason: row.parse(9)?,
        },
        "superseded" => Stands::Superseded {
            not_it: match row.opt_text(9)? {
                None => None,
                Some(_) => Some((row.parse(3)?, row.parse(9)?)),
            },
        },
        "gone" => Stands::Gone,
        _ => return Err(row.corrupt(2, "no state of a task")),
    };
    let decided = match row.opt_text(27)? {
        None => None,
        Some(_) => Some((row.parse(27)?, decision()?)),
    };
    Ok(Weighing {
        id: WeighId(row.int(0)?),
        advisory: row.text(1)?.to_owned(),
        matter: row.text(26)?.to_owned(),
        stands,
        decided,
        since: Timestamp::synced(row.int(10)?),
        opened_at: Timestamp::synced(row.int(11)?),
        opened_by: row.text(12)?.to_owned(),
        revision: row.int(13)?,
        entry: entry(row, 14)?,
    })
}

/// After this long it is told again.
const AGAIN_MS: i64 = 7 * 86_400_000;

/// Tasks that wait for a person now and that nobody outside the console was told of, or not for a week: those that are open, and
/// those whose day has come.
pub fn untold(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Weighing>, StoreError> {
    let rows = tx.rows(
        of_weighings!(
            "WHERE (w.state = 'open' OR (w.state = 'decided' AND w.choice <> 'leave' AND w.day <= $1)) AND (w.told_at IS NULL OR w.told_at <= $2
               OR w.told_at > $1 OR (w.state = 'decided' AND w.told_at < w.day)) ORDER BY w.id LIMIT $3"
        ),
        &[
            now.ms.into(),
            now.ms.saturating_sub(AGAIN_MS).into(),
            MOST.into(),
        ],
    )?;
    rows.iter().map(weighing).collect()
}

/// Notes that these were told of.
pub fn told(tx: &mut dyn Tx, tasks: &[WeighId], person: &str, now: Timestamp) -> Result<(), StoreError> {
    for id in tasks {
        tx.execute(
            "UPDATE weighings SET told_at = $1 WHERE id = $2",
            &[now.ms.into(), id.0.into()],
        )?;
    }
    let detail = format!("{} to be weighed", tasks.len());
    audit::record(
        tx,
        now,
        super::dossiers::ITSELF,
        Action::WeighTold,
        person,
        &detail,
    )
}
