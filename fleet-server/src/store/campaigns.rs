//! Campaigns: the rows behind [`crate::campaign`].
//!
//! A campaign's rows are read as one and written as one: who changes them names the revision that was read, and the second
//! of two that read the same one is told to read again. So each step is taken once, whoever runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_protocol::id::{GatewayId, SensorId};
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, Value, audit, deadlines, gateways, incidents, notices, updates};
use crate::audit::Action;
use crate::campaign::board::{Board, Seen};
use crate::campaign::kept::ITSELF;
use crate::campaign::kept::{Head, Kept, Name, Order, Refused, Target};
use crate::campaign::plan::{Seed, Wave};
use crate::campaign::signs::{Note, Way};
use crate::campaign::tell::{self, Telling};
use crate::campaign::{Effect, Rules, Saved, SavedHome, State, Step};
use crate::direct::deadline::{Each, Rule, Terms};
use crate::notify::Reach;
use crate::store::incidents::Kind;

pub mod fleet;
pub mod signs;

/// Most campaigns that are listed: the newest.
const MOST: i64 = 200;

/// Rows that were read, and the revision that they had.
pub struct Read {
    /// The campaign.
    pub kept: Kept,
    /// The revision.
    pub revision: i64,
}

/// One in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What is fixed, and who did what.
    pub head: Head,
    /// How it stands.
    pub saved: Saved,
    /// How many homes stand where, by the step's name.
    pub steps: BTreeMap<String, i64>,
}

/// Names and revisions of those of which anything may still come.
pub fn live(tx: &mut dyn Tx) -> Result<Vec<(Name, i64)>, StoreError> {
    let rows = tx.rows(
        "SELECT name, revision FROM campaigns WHERE live = 1 ORDER BY started_at, name",
        &[],
    )?;
    rows.iter().map(|row| Ok((row.parse(0)?, row.int(1)?))).collect()
}

/// Those of which anything may still come that have one of these homes.
pub fn with_homes(tx: &mut dyn Tx, homes: &BTreeSet<GatewayId>) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for (name, _) in live(tx)? {
        let rows = tx.rows(
            "SELECT gateway FROM campaign_homes WHERE campaign = $1",
            &[name.as_str().into()],
        )?;
        for row in &rows {
            if homes.contains(&row.parse(0)?) {
                all.push(name);
                break;
            }
        }
    }
    Ok(all)
}

/// One campaign with all its homes.
pub fn get(tx: &mut dyn Tx, name: &Name) -> Result<Option<Read>, StoreError> {
    let Some((head, saved, revision)) = head(tx, name)? else {
        return Ok(None);
    };
    let rows = tx.rows(
        "SELECT gateway, wave, target, step, step_at, retried, wants, word, way, version_before, acted_at, sensors, why,
           since, back, due FROM campaign_homes WHERE campaign = $1",
        &[name.as_str().into()],
    )?;
    let homes = rows.iter().map(home).collect::<Result<Vec<_>, StoreError>>()?;
    let kept = Kept::restore(head, saved, homes);
    Ok(Some(Read { kept, revision }))
}

fn head(tx: &mut dyn Tx, name: &Name) -> Result<Option<(Head, Saved, i64)>, StoreError> {
    let row = tx.row(
        "SELECT name, state, reason, changed_at, changed_by, started_at, started_by, seed, soak_ms, confirmed_percent,
           failed_percent, act_within_ms, deadline, at_once, open_wave, opened_at, trouble, revision, why, person,
           compensate, afterwards, each_ms
         FROM campaigns WHERE name = $1",
        &[name.as_str().into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    let targets = targets(tx, name)?;
    Ok(Some((head_of(&row, targets)?, saved(&row)?, row.int(17)?)))
}

fn targets(tx: &mut dyn Tx, name: &Name) -> Result<Vec<Target>, StoreError> {
    let rows = tx.rows(
        "SELECT path, version, sha256 FROM campaign_targets WHERE campaign = $1 ORDER BY path",
        &[name.as_str().into()],
    )?;
    let target = |row: &Row| {
        Ok(Target {
            path: row.text(0)?.to_owned(),
            version: row.parse(1)?,
            sha256: row
                .blob(2)?
                .try_into()
                .map_err(|_| row.corrupt(2, "not 32 bytes"))?,
        })
    };
    rows.iter().map(target).collect()
}

fn head_of(row: &Row, targets: Vec<Target>) -> Result<Head, StoreError> {
    let seed = row
        .blob(7)?
        .try_into()
        .map_err(|_| row.corrupt(7, "not 16 bytes"))?;
    Ok(Head {
        name: row.parse(0)?,
        targets,
        seed: Seed(seed),
        at_once: small(row, 13)?,
        each: each(row)?,
        started_at: Timestamp::synced(row.int(5)?),
        started_by: row.text(6)?.to_owned(),
        changed_at: Timestamp::synced(row.int(3)?),
        changed_by: row.text(4)?.to_owned(),
        trouble: row.opt_text(16)?.map(str::to_owned),
    })
}

fn each(row: &Row) -> Result<Option<Each>, StoreError> {
    let Some(terms) = deadlines::terms(row, 18)? else {
        return Ok(None);
    };
    let within = span(row, 22)?;
    Ok(Some(Each { terms, within }))
}

fn saved(row: &Row) -> Result<Saved, StoreError> {
    let state = State::from_name(row.text(1)?, row.text(2)?, row.text(4)? == ITSELF);
    let open = row.opt_text(14)?.map(|name| wave(row, 14, name)).transpose()?;
    Ok(Saved {
        rules: Rules {
            soak: span(row, 8)?,
            confirmed_percent: small(row, 9)?,
            failed_percent: small(row, 10)?,
            act_within: span(row, 11)?,
            deadline: Timestamp::synced(row.int(12)?),
        },
        state: state.ok_or_else(|| row.corrupt(1, "not a campaign's state"))?,
        open,
        opened: Timestamp::synced(row.int(15)?),
    })
}

fn span(row: &Row, column: usize) -> Result<Duration, StoreError> {
    let ms = u64::try_from(row.int(column)?).map_err(|e| row.corrupt(column, e))?;
    Ok(Duration::from_millis(ms))
}

fn small<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, StoreError> {
    T::try_from(row.int(column)?).map_err(|_| row.corrupt(column, "out of range"))
}

fn wave(row: &Row, column: usize, name: &str) -> Result<Wave, StoreError> {
    Wave::from_name(name).ok_or_else(|| row.corrupt(column, "not a wave"))
}

fn way(row: &Row, column: usize, name: &str) -> Result<Way, StoreError> {
    Way::from_name(name).ok_or_else(|| row.corrupt(column, "not a way"))
}

fn home(row: &Row) -> Result<(SavedHome, Note), StoreError> {
    let step = Step::from_name(row.text(3)?, Timestamp::synced(row.int(4)?));
    let home = SavedHome {
        gateway: row.parse(0)?,
        wave: wave(row, 1, row.text(1)?)?,
        step: step.ok_or_else(|| row.corrupt(3, "not a step"))?,
        retried: row.int(5)? != 0,
    };
    let word = match (row.opt_int(7)?, row.opt_text(8)?) {
        (Some(number), Some(name)) => {
            let number = u64::try_from(number).map_err(|e| row.corrupt(7, e))?;
            Some((number, way(row, 8, name)?))
        }
        _ => None,
    };
    let sensors = row.text(11)?.split(' ').filter(|name| !name.is_empty());
    let sensors = sensors.map(|name| name.parse().map_err(|e| row.corrupt(11, e)));
    let note = Note {
        target: row.text(2)?.to_owned(),
        wants: row.opt_text(6)?.map(|name| way(row, 6, name)).transpose()?,
        word,
        due: row.opt_int(15)?.map(Timestamp::synced),
        before: row.parse(9)?,
        back: row.opt_text(14)?.map(str::to_owned),
        acted: row.opt_int(10)?.map(Timestamp::synced),
        sensors: sensors.collect::<Result<Vec<SensorId>, StoreError>>()?,
        why: row.opt_text(12)?.map(str::to_owned),
        since: Timestamp::synced(row.int(13)?),
    };
    Ok((home, note))
}

/// All campaigns, the newest first, with how many homes stand where.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<Listed>, StoreError> {
    let names = tx.rows(
        "SELECT name FROM campaigns ORDER BY started_at DESC, name LIMIT $1",
        &[MOST.into()],
    )?;
    let names = names
        .iter()
        .map(|row| row.parse(0))
        .collect::<Result<Vec<Name>, _>>()?;
    let counted = tx.rows(
        "SELECT campaign, step, COUNT(*) FROM campaign_homes GROUP BY campaign, step",
        &[],
    )?;
    let mut steps: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for row in &counted {
        let of = steps.entry(row.text(0)?.to_owned()).or_default();
        of.insert(row.text(1)?.to_owned(), row.int(2)?);
    }
    let mut all = Vec::new();
    for name in names {
        if let Some((head, saved, _)) = head(tx, &name)? {
            let steps = steps.remove(name.as_str()).unwrap_or_default();
            all.push(Listed { head, saved, steps });
        }
    }
    Ok(all)
}

/// One campaign as people see it, with at most so many homes.
pub fn board(tx: &mut dyn Tx, name: &Name, most: usize, now: Timestamp) -> Result<Option<Board>, StoreError> {
    let Some(read) = get(tx, name)? else {
        return Ok(None);
    };
    let signs = signs::of(tx, name, now)?;
    let (listed, more) = Board::listed(&read.kept, most, now);
    let (mut words, mut places) = (BTreeMap::new(), BTreeMap::new());
    for id in &listed {
        if let Some(placement) = gateways::get(tx, id)?.and_then(|known| known.placement) {
            places.insert(id.clone(), placement);
        }
        if let Some(assigned) = updates::get(tx, id)? {
            words.insert(id.clone(), assigned);
        }
    }
    let seen = listed.iter().map(|id| {
        let seen = Seen {
            signs: signs.get(id),
            assigned: words.get(id),
            placement: places.get(id),
        };
        (id.clone(), seen)
    });
    let seen = seen.collect();
    Ok(Some(Board::new(&read.kept, (&listed, more), &seen, now)))
}

/// Keeps a new campaign; those that it takes homes from end. False when there is one of that name.
pub fn start(tx: &mut dyn Tx, mut kept: Kept, plan: &str, now: Timestamp) -> Result<bool, StoreError> {
    let name = kept.head.name.clone();
    if head(tx, &name)?.is_some() {
        return Ok(false);
    }
    let homes: BTreeSet<GatewayId> = kept.notes().keys().cloned().collect();
    for other in with_homes(tx, &homes)? {
        let Some(mut read) = get(tx, &other)? else {
            continue;
        };
        let owed = read.kept.supersede(&name, &homes, now);
        let by = kept.head.started_by.clone();
        by.clone_into(&mut read.kept.head.changed_by);
        save(tx, &mut read, now)?;
        let detail = format!("{name} takes its place");
        audit::record(tx, now, &by, Action::CampaignSuperseded, other.as_str(), &detail)?;
        kept.owe(owed);
    }
    let saved = kept.core().saved();
    let each = kept.head.each.as_ref();
    let terms = each.map(|each| &each.terms);
    let number = |of: fn(Rule) -> u64| deadlines::number(terms, of);
    tx.execute(
        "INSERT INTO campaigns (name, state, reason, changed_at, changed_by, started_at, started_by, seed, soak_ms,
             confirmed_percent, failed_percent, act_within_ms, deadline, at_once, open_wave, opened_at, trouble, live,
             revision, why, person, compensate, afterwards, each_ms)
         VALUES ($1, 'running', '', $2, $3, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $2, NULL, 1, 0, $11, $12, $13, $14,
             $15)",
        &[
            name.as_str().into(),
            now.ms.into(),
            (&kept.head.started_by).into(),
            kept.head.seed.0.as_slice().into(),
            ms(saved.rules.soak).into(),
            i64::from(saved.rules.confirmed_percent).into(),
            i64::from(saved.rules.failed_percent).into(),
            ms(saved.rules.act_within).into(),
            saved.rules.deadline.ms.into(),
            i64::from(kept.head.at_once).into(),
            terms.map(Terms::reason).into(),
            terms.map(Terms::person).into(),
            number(|rule| rule.compensate).into(),
            number(|rule| rule.afterwards).into(),
            each.map(|each| ms(each.within)).into(),
        ],
    )?;
    for target in &kept.head.targets {
        tx.execute(
            "INSERT INTO campaign_targets (campaign, path, version, sha256) VALUES ($1, $2, $3, $4)",
            &[
                name.as_str().into(),
                (&target.path).into(),
                (&target.version.to_string()).into(),
                target.sha256.as_slice().into(),
            ],
        )?;
    }
    let by = kept.head.started_by.clone();
    audit::record(tx, now, &by, Action::CampaignStarted, name.as_str(), plan)?;
    let mut read = Read { kept, revision: 0 };
    save(tx, &mut read, now)?;
    Ok(true)
}

fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Writes what changed, and puts on record what came of it. [`StoreError::Conflict`] when the rows are of another revision
/// than was read: then nothing is written, and who asked reads again.
pub fn save(tx: &mut dyn Tx, read: &mut Read, now: Timestamp) -> Result<(), StoreError> {
    let kept = &mut read.kept;
    let name = kept.head.name.clone();
    let saved = kept.core().saved();
    let (state, reason) = saved.state.name();
    let claimed = tx.execute(
        "UPDATE campaigns SET state = $1, reason = $2, changed_at = $3, changed_by = $4, open_wave = $5, opened_at = $6,
             trouble = $7, live = $8, revision = revision + 1 WHERE name = $9 AND revision = $10",
        &[
            state.into(),
            reason.into(),
            kept.head.changed_at.ms.into(),
            (&kept.head.changed_by).into(),
            saved.open.map(Wave::name).into(),
            saved.opened.ms.into(),
            kept.head.trouble.as_deref().into(),
            i64::from(kept.is_live()).into(),
            name.as_str().into(),
            read.revision.into(),
        ],
    )?;
    if claimed == 0 {
        let why = format!("the campaign {name} was changed by somebody else");
        return Err(StoreError::Conflict(why));
    }
    raise(tx, kept, read.revision, now)?;
    for (home, note) in kept.changes() {
        put(tx, &name, &home, note)?;
    }
    for effect in kept.settled() {
        let (action, detail) = match effect {
            Effect::Opened(wave) => (Action::CampaignWaveOpened, wave.name().to_owned()),
            Effect::Stopped(why) => (Action::CampaignStopped, why),
            Effect::Halted(why) => (Action::CampaignHalted, why),
            Effect::Done => (Action::CampaignDone, String::new()),
            Effect::Assign(_) | Effect::TakeBack(_) | Effect::Keep(_) => continue,
        };
        audit::record(tx, now, ITSELF, action, name.as_str(), &detail)?;
    }
    read.revision += 1;
    Ok(())
}

/// What is news to people becomes an incident.
fn raise(tx: &mut dyn Tx, kept: &Kept, revision: i64, now: Timestamp) -> Result<(), StoreError> {
    for telling in tell::news(kept) {
        let id = about(&kept.head, &telling, revision);
        if telling.homes.is_empty() {
            incidents::raise_same_once(tx, &id, telling.kind, &telling.body, now)?;
        }
        for gateway in &telling.homes {
            let (id, said) = (format!("{id}-{gateway}"), tell::of_home(kept, gateway));
            incidents::raise(tx, &id, gateway, telling.kind, &said, now)?;
        }
    }
    for gateway in tell::settled(kept) {
        incidents::settle(tx, &gateway, Kind::CampaignStuck, ITSELF, now)?;
    }
    Ok(())
}

/// No other thing has this name: what is told is told once for each revision of the rows.
fn about(head: &Head, telling: &Telling, revision: i64) -> String {
    format!("{}-{}-{revision}", telling.kind.name(), head.name)
}

/// Tells its person what is news in what is about to be kept, on the ways that lead there.
pub fn notify(tx: &mut dyn Tx, read: &Read, reach: &Reach, now: Timestamp) -> Result<(), StoreError> {
    let head = &read.kept.head;
    for telling in tell::news(&read.kept) {
        let message = telling.message(head);
        let ways = reach.ways(&message.person);
        notices::put(tx, &about(head, &telling, read.revision), &message, &ways, now)?;
    }
    Ok(())
}

/// A campaign could tell nobody for a while: says so once; false when that is known.
pub fn in_trouble(
    tx: &mut dyn Tx,
    (head, why): (&Head, &str),
    reach: &Reach,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let telling = tell::trouble(head, why);
    let id = about(head, &telling, now.ms);
    let new = incidents::raise_same_once(tx, &id, telling.kind, &telling.body, now)?;
    if new {
        let message = telling.message(head);
        notices::put(tx, &id, &message, &reach.ways(&message.person), now)?;
    }
    Ok(new)
}

/// It can tell homes again.
pub fn out_of_trouble(tx: &mut dyn Tx, (head, why): (&Head, &str), now: Timestamp) -> Result<(), StoreError> {
    let telling = tell::trouble(head, why);
    incidents::settle_said(tx, (telling.kind, &telling.body), ITSELF, now)
}

fn put(tx: &mut dyn Tx, name: &Name, home: &SavedHome, note: &Note) -> Result<(), StoreError> {
    let (step, at) = home.step.name();
    let sensors: Vec<&str> = note.sensors.iter().map(SensorId::as_str).collect();
    let (sensors, before) = (sensors.join(" "), note.before.to_string());
    let number = note
        .word
        .map(|(number, _)| i64::try_from(number).unwrap_or(i64::MAX));
    let with: [Value<'_>; 17] = [
        name.as_str().into(),
        home.gateway.as_str().into(),
        home.wave.name().into(),
        (&note.target).into(),
        step.into(),
        at.unwrap_or(note.since).ms.into(),
        i64::from(home.retried).into(),
        note.wants.map(Way::name).into(),
        number.into(),
        note.word.map(|(_, way)| way.name()).into(),
        (&before).into(),
        note.acted.map(|at| at.ms).into(),
        (&sensors).into(),
        note.why.as_deref().into(),
        note.since.ms.into(),
        note.back.as_deref().into(),
        note.due.map(|at| at.ms).into(),
    ];
    tx.execute(
        "INSERT INTO campaign_homes (campaign, gateway, wave, target, step, step_at, retried, wants, word, way,
             version_before, acted_at, sensors, why, since, back, due)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (campaign, gateway) DO UPDATE SET wave = excluded.wave, step = excluded.step, step_at = excluded.step_at,
             retried = excluded.retried, wants = excluded.wants, word = excluded.word, way = excluded.way,
             acted_at = excluded.acted_at, sensors = excluded.sensors, why = excluded.why, since = excluded.since,
             due = excluded.due",
        &with,
    )?;
    Ok(())
}

/// A person orders something. Nothing when there is no such campaign.
pub fn order(
    tx: &mut dyn Tx,
    name: &Name,
    (order, reason): (&Order, &str),
    by: &str,
    now: Timestamp,
) -> Result<Option<Result<(), Refused>>, StoreError> {
    let Some(mut read) = get(tx, name)? else {
        return Ok(None);
    };
    if let Err(refused) = read.kept.order(order, reason, by, now) {
        return Ok(Some(Err(refused)));
    }
    let (action, detail) = match order {
        Order::Halt => (Action::CampaignStopped, reason.to_owned()),
        Order::Resume => (Action::CampaignResumed, reason.to_owned()),
        Order::Abort => (Action::CampaignAborted, reason.to_owned()),
        Order::Open(gateway) => (Action::CampaignHomeOpened, format!("{gateway}: {reason}")),
    };
    audit::record(tx, now, by, action, name.as_str(), &detail)?;
    save(tx, &mut read, now)?;
    Ok(Some(Ok(())))
}
