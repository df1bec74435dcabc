//! The register of what lies in people or acts on them: the rows behind [`crate::advisory::implant`].

use homeward_protocol::id::PlacementId;
use homeward_protocol::release::dossier::Firmware;
use homeward_protocol::time::Timestamp;

use super::care::team_of;
use super::weighings::{self, Opened};
use super::{Row, StoreError, Tx, audit};
use crate::access::Sight;
use crate::advisory::implant::{Entry, Implant, ImplantId};
use crate::advisory::words;
use crate::audit::Action;
use crate::dossier::Reason;

/// Entries in one answer.
pub const MOST: i64 = 1_000;

/// Entries as [`entry`] reads them: `i`, of homes `p`.
macro_rules! of_implants {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.placement, i.device, i.kind, i.maker, i.model, i.shows, i.told_at, i.told_by, i.ended_at, i.ended_why
             FROM implants i JOIN placements p ON p.id = i.placement ",
            $rest
        )
    };
}

/// What came of writing a device down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is in the register, and these tasks were opened for it.
    New(Box<Entry>, Opened),
    /// A device of that name is there for this home.
    Known(ImplantId),
    /// There is no such home, or none that may be seen.
    NoHome,
}

/// Entries that may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// At most [`MOST`].
    pub list: Vec<Entry>,
    /// So many more there are.
    pub more: usize,
}

/// Writes a device down, and opens a task for each advisory that is about it.
pub fn add(
    tx: &mut dyn Tx,
    implant: &Implant,
    (sight, by): (&Sight, &str),
    now: Timestamp,
) -> Result<Added, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(Added::NoHome);
    };
    super::alone(tx)?;
    let home = tx.row(
        "SELECT id FROM placements WHERE id = $1 AND ($2 = '' OR team = $2)",
        &[implant.placement.as_str().into(), team.into()],
    )?;
    if home.is_none() {
        return Ok(Added::NoHome);
    }
    let twin = tx.row(
        "SELECT id FROM implants WHERE placement = $1 AND device = $2 AND ended_at IS NULL",
        &[implant.placement.as_str().into(), implant.device.as_str().into()],
    )?;
    if let Some(row) = twin {
        return Ok(Added::Known(ImplantId(row.int(0)?)));
    }
    let row = tx.row("SELECT COALESCE(MAX(id), 0) FROM implants", &[])?;
    let id = ImplantId(row.map_or(Ok(0), |row| row.int(0))? + 1);
    tx.execute(
        "INSERT INTO implants (id, placement, device, kind, maker, model, shows, told_at, told_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            id.0.into(),
            implant.placement.as_str().into(),
            implant.device.as_str().into(),
            implant.kind.name().into(),
            implant.maker.as_str().into(),
            implant.model.as_str().into(),
            implant.shows.as_ref().map(Firmware::as_str).into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let detail = format!("entry {id}, {}: {}", implant.device, words::device(implant));
    let home = implant.placement.as_str();
    audit::record(tx, now, by, Action::ImplantAdded, home, &detail)?;
    let entry = Entry {
        id,
        implant: implant.clone(),
        told_at: now,
        told_by: by.to_owned(),
        ended: None,
    };
    let opened = weighings::follow_entry(tx, &entry, by, now)?;
    Ok(Added::New(Box::new(entry), opened))
}

/// Notes the version that a person read off a device; tasks that this version is clear of stay until somebody decided. Nothing
/// where it may not be seen, or ended.
pub fn seen(
    tx: &mut dyn Tx,
    (id, sight): (ImplantId, &Sight),
    shows: &Firmware,
    by: &str,
    now: Timestamp,
) -> Result<Option<(Entry, Opened)>, StoreError> {
    super::alone(tx)?;
    let Some(entry) = one(tx, id, sight)?.filter(|entry| entry.ended.is_none()) else {
        return Ok(None);
    };
    tx.execute(
        "UPDATE implants SET shows = $1 WHERE id = $2",
        &[shows.as_str().into(), id.0.into()],
    )?;
    let home = entry.implant.placement.as_str();
    let detail = format!("entry {id}, {}: it shows {shows}", entry.implant.device);
    audit::record(tx, now, by, Action::ImplantSeen, home, &detail)?;
    let entry = Entry {
        implant: Implant {
            shows: Some(shows.clone()),
            ..entry.implant
        },
        ..entry
    };
    let opened = weighings::follow_entry(tx, &entry, by, now)?;
    Ok(Some((entry, opened)))
}

/// Takes a device out of the register: its tasks end. Nothing where it may not be seen, or ended before.
pub fn end(
    tx: &mut dyn Tx,
    (id, sight): (ImplantId, &Sight),
    reason: &Reason,
    by: &str,
    now: Timestamp,
) -> Result<Option<Entry>, StoreError> {
    super::alone(tx)?;
    let Some(entry) = one(tx, id, sight)?.filter(|entry| entry.ended.is_none()) else {
        return Ok(None);
    };
    tx.execute(
        "UPDATE implants SET ended_at = $1, ended_why = $2 WHERE id = $3",
        &[now.ms.into(), reason.as_str().into(), id.0.into()],
    )?;
    let home = entry.implant.placement.as_str();
    let detail = format!("entry {id}, {}: {}", entry.implant.device, reason.as_str());
    audit::record(tx, now, by, Action::ImplantEnded, home, &detail)?;
    weighings::gone(tx, &entry, by, now)?;
    Ok(Some(Entry {
        ended: Some((now, reason.as_str().to_owned())),
        ..entry
    }))
}

/// One entry, when it may be seen.
pub fn one(tx: &mut dyn Tx, id: ImplantId, sight: &Sight) -> Result<Option<Entry>, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(None);
    };
    let row = tx.row(
        of_implants!("WHERE ($1 = '' OR p.team = $1) AND i.id = $2"),
        &[team.into(), id.0.into()],
    )?;
    row.as_ref().map(|row| entry(row, 0)).transpose()
}

/// The entries that may be seen: those that are there first, by home.
pub fn list(tx: &mut dyn Tx, sight: &Sight) -> Result<Entries, StoreError> {
    let Some(team) = team_of(sight) else {
        return Ok(Entries {
            list: Vec::new(),
            more: 0,
        });
    };
    let count = tx.row(
        "SELECT COUNT(*) FROM implants i JOIN placements p ON p.id = i.placement WHERE ($1 = '' OR p.team = $1)",
        &[team.into()],
    )?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let rows = tx.rows(
        of_implants!(
            "WHERE ($1 = '' OR p.team = $1)
             ORDER BY CASE WHEN i.ended_at IS NULL THEN 0 ELSE 1 END, i.placement, i.device, i.id LIMIT $2"
        ),
        &[team.into(), MOST.into()],
    )?;
    Ok(Entries {
        list: rows.iter().map(|row| entry(row, 0)).collect::<Result<_, _>>()?,
        more: usize::try_from(count).unwrap_or(0).saturating_sub(rows.len()),
    })
}

/// All that are there.
pub fn there(tx: &mut dyn Tx) -> Result<Vec<Entry>, StoreError> {
    let rows = tx.rows(of_implants!("WHERE i.ended_at IS NULL ORDER BY i.id"), &[])?;
    rows.iter().map(|row| entry(row, 0)).collect()
}

/// An entry, from this column on.
pub(super) fn entry(row: &Row, from: usize) -> Result<Entry, StoreError> {
    let ended = match (row.opt_int(from + 9)?, row.opt_text(from + 10)?) {
        (None, _) => None,
        (Some(at), why) => Some((Timestamp::synced(at), why.unwrap_or_default().to_owned())),
    };
    let placement: PlacementId = row.parse(from + 1)?;
    Ok(Entry {
        id: ImplantId(row.int(from)?),
        implant: Implant {
            placement,
            device: row.parse(from + 2)?,
            kind: row.parse(from + 3)?,
            maker: row.parse(from + 4)?,
            model: row.parse(from + 5)?,
            shows: row.opt_text(from + 6)?.map(|_| row.parse(from + 6)).transpose()?,
        },
        told_at: Timestamp::synced(row.int(from + 7)?),
        told_by: row.text(from + 8)?.to_owned(),
        ended,
    })
}
