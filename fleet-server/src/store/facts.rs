//! What boxes are: reports of facts folded into the state of each gateway, and the history of what changed.
//!
//! # Design
//! The reports stand as they came, so that the next one can be folded; beside them one row a fact answers questions to
//! the whole fleet. A full report that says nothing new rewrites one row and no fact; a change writes the fact and one
//! row of history. Boxes that say "nothing changed" write nothing at all.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::fact::{FactId, Value as FactValue, What};
use homeward_protocol::posture::facts::{Change, FactReport, FactSet, MAX_REPORT, Mark, Span};
use homeward_protocol::posture::inventory::{self, Inventory, MAX_PIECE, Piece};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::wire::{self, Bytes};

use super::records::Origin;
use super::{Row, StoreError, Tx, gateways, signals};
use crate::facts::{Folded, Known, Wish, fold};

/// Most changes of one gateway that are kept, whatever their age.
const MAX_CHANGES: i64 = 5_000;
/// Most changes that one look at a gateway's history gives.
const HISTORY: i64 = 200;

/// Takes a report; gives what the gateway is to be asked for after the commit.
pub(super) fn take(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    report: &FactReport,
) -> Result<Option<Wish>, StoreError> {
    let gateway: GatewayId = at.gateway.parse().map_err(|_| unwritable("not a gateway's id"))?;
    let known = known(tx, &gateway)?;
    let (changes, state) = match fold(known.as_ref(), report, (at.epoch, at.now)) {
        Folded::New(changes, state) => (changes, state),
        Folded::Older => return Ok(None),
        Folded::Unknown => return Ok(Some(Wish::Facts)),
    };
    let list = list_of(&state);
    put_state(tx, at, (known.as_ref(), report), list)?;
    for change in &changes {
        put_change(tx, at, change, known.is_some())?;
    }
    if known.is_some() && !changes.is_empty() {
        forget_oldest(tx, at.gateway)?;
    }
    match list {
        Some(list) if !has_list(tx, list)? => Ok(Some(Wish::Software)),
        _ => Ok(None),
    }
}

/// The list of software that the facts name.
fn list_of(state: &FactSet) -> Option<Mark> {
    match &state.get(&FactId::of(What::Inventory))?.value {
        FactValue::Text(name) => name.as_str().parse().ok(),
        _ => None,
    }
}

/// What was read could not be written down again.
fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable {
        step: "writing facts down",
        why: error.to_string(),
    }
}

fn put_state(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    (known, report): (Option<&Known>, &FactReport),
    list: Option<Mark>,
) -> Result<(), StoreError> {
    let bytes = |report: &FactReport| wire::encode(report, MAX_REPORT).map_err(unwritable);
    let (base, newest) = match (&report.span, known) {
        (Span::Since { .. }, Some(known)) => (bytes(&known.base)?, Some(bytes(report)?)),
        _ => (bytes(report)?, None),
    };
    tx.execute(
        "INSERT INTO fact_states (gateway, epoch, base, newest, number, mark, inventory, taken_at, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, base = excluded.base, newest = excluded.newest,
             number = excluded.number, mark = excluded.mark, inventory = excluded.inventory,
             taken_at = excluded.taken_at, received_at = excluded.received_at",
        &[
            at.gateway.into(),
            at.epoch.into(),
            base.as_slice().into(),
            newest.as_deref().into(),
            number(report.number).into(),
            (&report.mark.to_string()).into(),
            list.map(|list| list.to_string()).as_ref().into(),
            report.taken_at.ms.into(),
            at.now.ms.into(),
        ],
    )?;
    Ok(())
}

/// The numbers of reports, as the tables hold them: the same 64 bits.
const fn number(number: u64) -> i64 {
    number.cast_signed()
}

fn put_change(tx: &mut dyn Tx, at: &Origin<'_>, change: &Change, known: bool) -> Result<(), StoreError> {
    let trusted = change.at.trust == ClockTrust::Synced && change.at.ms <= at.now.ms;
    let since = if trusted { change.at.ms } else { at.now.ms };
    let (id, name) = (change.id.to_string(), change.id.what().name());
    let [was, is] = [&change.was, &change.is].map(|value| value.as_ref().map(ToString::to_string));
    match &is {
        None => tx.execute(
            "DELETE FROM facts WHERE gateway = $1 AND fact = $2",
            &[at.gateway.into(), (&id).into()],
        )?,
        Some(is) => tx.execute(
            "INSERT INTO facts (gateway, fact, name, value, since) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (gateway, fact) DO UPDATE SET value = excluded.value, since = excluded.since",
            &[
                at.gateway.into(),
                (&id).into(),
                name.into(),
                is.into(),
                since.into(),
            ],
        )?,
    };
    // The first report of a box is no change of it.
    if known {
        tx.execute(
            "INSERT INTO fact_changes (gateway, received_at, fact, at, was, now) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (gateway, received_at, fact) DO UPDATE SET at = excluded.at, now = excluded.now",
            &[
                at.gateway.into(),
                at.now.ms.into(),
                (&id).into(),
                since.into(),
                was.as_ref().into(),
                is.as_ref().into(),
            ],
        )?;
    }
    Ok(())
}

/// Asks a gateway for all its facts; false when there is no such gateway.
pub fn ask(tx: &mut dyn Tx, gateway: &GatewayId, now: Timestamp) -> Result<bool, StoreError> {
    let known = gateways::get(tx, gateway)?.is_some();
    if known {
        signals::raise(tx, signals::Kind::Facts, gateway.as_str(), now)?;
    }
    Ok(known)
}

fn forget_oldest(tx: &mut dyn Tx, gateway: &str) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM fact_changes WHERE gateway = $1 AND received_at <
           (SELECT received_at FROM fact_changes WHERE gateway = $1 ORDER BY received_at DESC LIMIT 1 OFFSET $2)",
        &[gateway.into(), MAX_CHANGES.into()],
    )?;
    Ok(())
}

/// Number and mark of what is known of a gateway.
pub fn head(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<(u64, Mark)>, StoreError> {
    let row = tx.row(
        "SELECT number, mark FROM fact_states WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.map(|row| Ok((row.int(0)?.cast_unsigned(), row.parse(1)?)))
        .transpose()
}

/// What is known of a gateway.
pub fn known(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Known>, StoreError> {
    let row = tx.row(
        "SELECT base, newest, epoch, received_at FROM fact_states WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    let read = |row: Row| {
        let report = |column: usize, bytes: &[u8]| {
            wire::decode::<FactReport>(bytes, MAX_REPORT).map_err(|e| row.corrupt(column, e))
        };
        Ok(Known {
            base: report(0, row.blob(0)?)?,
            newest: row.opt_blob(1)?.map(|bytes| report(1, bytes)).transpose()?,
            epoch: row.text(2)?.to_owned(),
            received_at: Timestamp::synced(row.int(3)?),
        })
    };
    row.map(read).transpose()
}

/// A fact of some gateway, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    /// Whose.
    pub gateway: GatewayId,
    /// Its id.
    pub fact: FactId,
    /// In words.
    pub value: String,
    /// Since when it is so.
    pub since: Timestamp,
}

/// Since when each fact of a gateway is as it is.
pub fn since(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<Holds>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, fact, value, since FROM facts WHERE gateway = $1 ORDER BY fact",
        &[gateway.as_str().into()],
    )?;
    rows.iter().map(holds).collect()
}

/// Which boxes have a fact: its name, with a part of its subject and a part of its value in words (either may be empty).
/// Capitals do not matter. At most `limit`, by gateway.
pub fn find(
    tx: &mut dyn Tx,
    what: What,
    (subject, value): (&str, &str),
    limit: i64,
) -> Result<Vec<Holds>, StoreError> {
    let subject = format!("%{}%", plain(subject));
    let value = format!("%{}%", plain(value));
    let rows = tx.rows(
        "SELECT gateway, fact, value, since FROM facts
         WHERE name = $1 AND lower(fact) LIKE lower($2) ESCAPE '!' AND lower(value) LIKE lower($3) ESCAPE '!'
         ORDER BY gateway, fact LIMIT $4",
        &[
            what.name().into(),
            (&subject).into(),
            (&value).into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(holds).collect()
}

/// A text in which `%` and `_` mean themselves.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out
}

fn holds(row: &Row) -> Result<Holds, StoreError> {
    Ok(Holds {
        gateway: row.parse(0)?,
        fact: row.parse(1)?,
        value: row.text(2)?.to_owned(),
        since: Timestamp::synced(row.int(3)?),
    })
}

/// A change, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Of which fact.
    pub fact: FactId,
    /// When, as far as it is known.
    pub at: Timestamp,
    /// What was so.
    pub was: Option<String>,
    /// What is so since.
    pub now: Option<String>,
}

/// The newest changes of one gateway, newest first.
pub fn history(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<Changed>, StoreError> {
    let rows = tx.rows(
        "SELECT fact, at, was, now FROM fact_changes WHERE gateway = $1 ORDER BY received_at DESC, fact LIMIT $2",
        &[gateway.as_str().into(), HISTORY.into()],
    )?;
    let changed = |row: &Row| {
        Ok(Changed {
            fact: row.parse(0)?,
            at: Timestamp::synced(row.int(1)?),
            was: row.opt_text(2)?.map(ToOwned::to_owned),
            now: row.opt_text(3)?.map(ToOwned::to_owned),
        })
    };
    rows.iter().map(changed).collect()
}

/// Takes a piece of the list of software that the gateway's facts name; no other is kept. When all are there and their hash is right, the list is kept, once for all boxes
/// that have it, and the pieces go.
pub(super) fn take_piece(tx: &mut dyn Tx, at: &Origin<'_>, piece: &Piece) -> Result<(), StoreError> {
    let name = piece.of.to_string();
    let named = tx.row(
        "SELECT 1 FROM fact_states WHERE gateway = $1 AND inventory = $2",
        &[at.gateway.into(), (&name).into()],
    )?;
    if named.is_none() || has_list(tx, piece.of)? {
        return Ok(());
    }
    // One list of a box at a time: what another one left unfinished goes.
    tx.execute(
        "DELETE FROM inventory_pieces WHERE gateway = $1 AND (inventory <> $2 OR parts <> $3)",
        &[at.gateway.into(), (&name).into(), i64::from(piece.parts).into()],
    )?;
    tx.execute(
        "INSERT INTO inventory_pieces (gateway, inventory, part, parts, body, received_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (gateway, inventory, part)
         DO UPDATE SET body = excluded.body, received_at = excluded.received_at",
        &[
            at.gateway.into(),
            (&name).into(),
            i64::from(piece.part).into(),
            i64::from(piece.parts).into(),
            piece.bytes.0.as_slice().into(),
            at.now.ms.into(),
        ],
    )?;
    let rows = tx.rows(
        "SELECT part, body FROM inventory_pieces WHERE gateway = $1 AND inventory = $2 ORDER BY part LIMIT $3",
        &[at.gateway.into(), (&name).into(), i64::from(piece.parts).into()],
    )?;
    if rows.len() < usize::from(piece.parts) {
        return Ok(());
    }
    let stored = |row: &Row| {
        let body = row.blob(1)?;
        Ok(Piece {
            of: piece.of,
            part: u16::try_from(row.int(0)?).map_err(|e| row.corrupt(0, e))?,
            parts: piece.parts,
            bytes: Bytes(body.get(..body.len().min(MAX_PIECE)).unwrap_or_default().to_vec()),
        })
    };
    let pieces: Vec<Piece> = rows.iter().map(stored).collect::<Result<_, StoreError>>()?;
    let list =
        inventory::joined(piece.of, pieces).and_then(|bytes| Some((Inventory::decode(&bytes).ok()?, bytes)));
    tx.execute(
        "DELETE FROM inventory_pieces WHERE gateway = $1",
        &[at.gateway.into()],
    )?;
    match list {
        Some((list, bytes)) => put_list(tx, (&name, &bytes), &list, at.now),
        None => Ok(()), // its hash is another, or it is no list: asked for again when the box next speaks of it
    }
}

fn put_list(
    tx: &mut dyn Tx,
    (name, bytes): (&str, &[u8]),
    list: &Inventory,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO inventories (name, list, kept_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[name.into(), bytes.into(), now.ms.into()],
    )?;
    for part in &list.components {
        let origin = part.origin.as_ref();
        tx.execute(
            "INSERT INTO packages (inventory, kind, name, version, arch, source, source_version)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            &[
                name.into(),
                part.kind.name().into(),
                part.name.as_str().into(),
                part.version.as_str().into(),
                part.arch.as_ref().map_or("", |arch| arch.as_str()).into(),
                origin.map(|(name, _)| name.as_str()).into(),
                origin.map(|(_, version)| version.as_str()).into(),
            ],
        )?;
    }
    Ok(())
}

/// Whether a list of software is here.
pub fn has_list(tx: &mut dyn Tx, name: Mark) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT 1 FROM inventories WHERE name = $1",
        &[(&name.to_string()).into()],
    )?;
    Ok(row.is_some())
}

/// A gateway's list of software, its name, and when the facts that name it were taken.
pub fn list(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
) -> Result<Option<(Inventory, Mark, Timestamp)>, StoreError> {
    let row = tx.row(
        "SELECT i.list, i.name, s.taken_at FROM fact_states s JOIN inventories i ON i.name = s.inventory
         WHERE s.gateway = $1",
        &[gateway.as_str().into()],
    )?;
    let read = |row: Row| {
        let list = Inventory::decode(row.blob(0)?).map_err(|e| row.corrupt(0, e))?;
        Ok((list, row.parse(1)?, Timestamp::synced(row.int(2)?)))
    };
    row.map(read).transpose()
}

/// A package of some gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Whose.
    pub gateway: GatewayId,
    /// Where it comes from: `deb`, `rpm` …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Which boxes have a package of this name, or one built from a source of this name. At most `limit`, by gateway.
pub fn who_has(tx: &mut dyn Tx, package: &str, limit: i64) -> Result<Vec<Installed>, StoreError> {
    let rows = tx.rows(
        "SELECT s.gateway, p.kind, p.name, p.version FROM packages p JOIN fact_states s ON s.inventory = p.inventory
         WHERE p.name = $1 OR p.source = $1 ORDER BY s.gateway, p.name, p.version LIMIT $2",
        &[package.into(), limit.into()],
    )?;
    let installed = |row: &Row| {
        Ok(Installed {
            gateway: row.parse(0)?,
            kind: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            version: row.text(3)?.to_owned(),
        })
    };
    rows.iter().map(installed).collect()
}
