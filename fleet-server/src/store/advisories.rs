//! Advisories as they were taken in: the rows behind [`crate::advisory::csaf`].

use homeward_protocol::time::Timestamp;

use super::weighings::{self, Opened};
use super::{Row, StoreError, Tx, audit, implants};
use crate::advisory::csaf::{self, Advisory};
use crate::audit::Action;

/// Advisories in one answer.
pub const MOST: i64 = 500;

/// A revision that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its SHA-256, hex.
    pub sha256: String,
    /// What it says.
    pub advisory: Advisory,
    /// Whether no later one of its line is here.
    pub is_newest: bool,
    /// When it was taken in.
    pub taken_at: Timestamp,
    /// By whom.
    pub taken_by: String,
}

/// What came of taking one in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest of its line now; and what it made of tasks.
    New(Opened),
    /// It is here already.
    Known,
    /// A later revision is here: which.
    Older(String),
    /// The same revision is here with other bytes: its SHA-256. One of the two is not what its publisher gave out.
    Differs(String),
}

/// Takes one in, and opens a task for each device that it is about.
///
/// `sha256` is that of `bytes`, and `advisory` what they say.
pub fn take(
    tx: &mut dyn Tx,
    (sha256, bytes): (&str, &[u8]),
    advisory: &Advisory,
    by: &str,
    now: Timestamp,
) -> Result<Taken, StoreError> {
    super::alone(tx)?;
    if of(tx, sha256)?.is_some() {
        return Ok(Taken::Known);
    }
    if let Some(newest) = newest(tx, &advisory.namespace, &advisory.id)? {
        let (here, given) = (&newest.advisory.version, &advisory.version);
        if here.is_after(given) {
            return Ok(Taken::Older(here.to_string()));
        }
        if !given.is_after(here) {
            return Ok(Taken::Differs(newest.sha256));
        }
        tx.execute(
            "UPDATE advisories SET newest = 0 WHERE sha256 = $1",
            &[newest.sha256.as_str().into()],
        )?;
    }
    tx.execute(
        "INSERT INTO advisories (sha256, namespace, tracking, bytes, newest, taken_at, taken_by)
         VALUES ($1, $2, $3, $4, 1, $5, $6)",
        &[
            sha256.into(),
            advisory.namespace.as_str().into(),
            advisory.id.as_str().into(),
            bytes.into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let detail = format!(
        "revision {} of {}, sha256 {sha256}",
        advisory.version, advisory.namespace
    );
    audit::record(tx, now, by, Action::AdvisoryTaken, &advisory.id, &detail)?;
    let mut opened = Opened::default();
    for entry in implants::there(tx)? {
        weighings::follow(tx, (sha256, advisory), &entry, &mut opened, by, now)?;
    }
    Ok(Taken::New(opened))
}

/// The newest revision of a document.
pub fn newest(tx: &mut dyn Tx, namespace: &str, tracking: &str) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT sha256, bytes, newest, taken_at, taken_by FROM advisories
         WHERE namespace = $1 AND tracking = $2 AND newest = 1",
        &[namespace.into(), tracking.into()],
    )?;
    row.as_ref().map(kept).transpose()
}

/// One revision.
pub fn of(tx: &mut dyn Tx, sha256: &str) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT sha256, bytes, newest, taken_at, taken_by FROM advisories WHERE sha256 = $1",
        &[sha256.into()],
    )?;
    row.as_ref().map(kept).transpose()
}

/// The newest revisions whose document has this id, of each publisher who has one.
pub fn called(tx: &mut dyn Tx, tracking: &str) -> Result<Vec<Kept>, StoreError> {
    let rows = tx.rows(
        "SELECT sha256, bytes, newest, taken_at, taken_by FROM advisories
         WHERE tracking = $1 AND newest = 1 ORDER BY namespace LIMIT $2",
        &[tracking.into(), MOST.into()],
    )?;
    rows.iter().map(kept).collect()
}

/// The names of the newest revisions of all documents: SHA-256. One is read at a time, for they may be long.
pub fn all_newest(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    let rows = tx.rows(
        "SELECT sha256 FROM advisories WHERE newest = 1 ORDER BY namespace, tracking",
        &[],
    )?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// The newest revisions that were taken in last, and how many more there are.
pub fn list(tx: &mut dyn Tx) -> Result<(Vec<Kept>, usize), StoreError> {
    let count = tx.row("SELECT COUNT(*) FROM advisories WHERE newest = 1", &[])?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let rows = tx.rows(
        "SELECT sha256, bytes, newest, taken_at, taken_by FROM advisories WHERE newest = 1
         ORDER BY taken_at DESC, namespace, tracking LIMIT $1",
        &[MOST.into()],
    )?;
    let more = usize::try_from(count).unwrap_or(0).saturating_sub(rows.len());
    Ok((rows.iter().map(kept).collect::<Result<_, _>>()?, more))
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let read = csaf::read(row.blob(1)?);
    Ok(Kept {
        sha256: row.text(0)?.to_owned(),
        advisory: read.map_err(|e| row.corrupt(1, e))?,
        is_newest: row.int(2)? == 1,
        taken_at: Timestamp::synced(row.int(3)?),
        taken_by: row.text(4)?.to_owned(),
    })
}
