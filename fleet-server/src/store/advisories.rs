//! Advisories as they were taken in: the rows behind [`crate::advisory::csaf`].

use std::collections::BTreeSet;

use homeward_protocol::time::Timestamp;

use super::weighings::{self, Opened};
use super::{Row, StoreError, Tx, audit, implants};
use crate::advisory::csaf::{self, Advisory};
use crate::advisory::matching;
use crate::audit::Action;
use crate::dossier::Reason;

/// Advisories in one answer.
pub const MOST: i64 = 500;

/// A revision that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its SHA-256, hex.
    pub sha256: String,
    /// What it says.
    pub advisory: Advisory,
}

/// A revision in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its SHA-256, hex.
    pub sha256: String,
    /// Its own id.
    pub id: String,
    /// Who gives it out.
    pub publisher: String,
    /// The same as a URI.
    pub namespace: String,
    /// Which revision.
    pub version: String,
    /// When that was given out.
    pub released: Timestamp,
    /// Its title.
    pub title: String,
    /// To whom it may be given.
    pub tlp: Option<String>,
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
    /// What is here has a version of the other form, so nobody can say which is later: which.
    OtherForm(String),
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
    let known = tx.row(
        "SELECT sha256 FROM advisories WHERE sha256 = $1 AND removed_at IS NULL",
        &[sha256.into()],
    )?;
    if known.is_some() {
        return Ok(Taken::Known);
    }
    if let Some(newest) = newest(tx, &advisory.namespace, &advisory.id)? {
        let (here, given) = (&newest.advisory.version, &advisory.version);
        if !here.is_alike(given) {
            return Ok(Taken::OtherForm(here.to_string()));
        }
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
    keep(tx, (sha256, bytes), advisory, by, now)?;
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

/// Keeps its bytes, and what lists and searches need of it; one that was taken out before comes back.
fn keep(
    tx: &mut dyn Tx,
    (sha256, bytes): (&str, &[u8]),
    advisory: &Advisory,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let makers: Vec<String> = matching::makers(advisory).into_iter().collect();
    let makers = format!(" {} ", makers.join(" "));
    tx.execute(
        "INSERT INTO advisories (sha256, namespace, tracking, bytes, publisher, version, released, title, tlp, makers, newest,
           taken_at, taken_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12)
         ON CONFLICT (sha256) DO UPDATE SET newest = 1, removed_at = NULL, removed_why = NULL, taken_at = excluded.taken_at,
           taken_by = excluded.taken_by",
        &[
            sha256.into(),
            advisory.namespace.as_str().into(),
            advisory.id.as_str().into(),
            bytes.into(),
            advisory.publisher.as_str().into(),
            advisory.version.to_string().as_str().into(),
            advisory.released.ms.into(),
            advisory.title.as_str().into(),
            advisory.tlp.as_deref().into(),
            makers.as_str().into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    Ok(())
}

/// Takes a revision out that should not have come in. What it asked for ends; the one before it is the newest again, and what that
/// asked for is asked again. Nothing when there is none of this name that counts.
pub fn remove(
    tx: &mut dyn Tx,
    sha256: &str,
    reason: &Reason,
    by: &str,
    now: Timestamp,
) -> Result<Option<Opened>, StoreError> {
    super::alone(tx)?;
    let counts = tx.row(
        "SELECT sha256 FROM advisories WHERE sha256 = $1 AND removed_at IS NULL",
        &[sha256.into()],
    )?;
    let (Some(_), Some(kept)) = (counts, of(tx, sha256)?) else {
        return Ok(None);
    };
    tx.execute(
        "UPDATE advisories SET newest = 0, removed_at = $1, removed_why = $2 WHERE sha256 = $3",
        &[now.ms.into(), reason.as_str().into(), sha256.into()],
    )?;
    let advisory = &kept.advisory;
    let detail = format!(
        "revision {} of {}, sha256 {sha256}: {}",
        advisory.version,
        advisory.namespace,
        reason.as_str()
    );
    audit::record(tx, now, by, Action::AdvisoryRemoved, &advisory.id, &detail)?;
    weighings::removed(tx, sha256, by, now)?;
    let mut opened = Opened::default();
    // Also where a later one was here: a task may have stood with this one, as both say the same.
    if let Some(before) = latest(tx, &advisory.namespace, &advisory.id)? {
        tx.execute(
            "UPDATE advisories SET newest = 1 WHERE sha256 = $1",
            &[before.sha256.as_str().into()],
        )?;
        for entry in implants::there(tx)? {
            let which = (before.sha256.as_str(), &before.advisory);
            weighings::follow(tx, which, &entry, &mut opened, by, now)?;
        }
    }
    Ok(Some(opened))
}

/// The latest revision of a document that counts, whichever is marked so.
fn latest(tx: &mut dyn Tx, namespace: &str, tracking: &str) -> Result<Option<Kept>, StoreError> {
    let rows = tx.rows(
        "SELECT sha256, bytes FROM advisories WHERE namespace = $1 AND tracking = $2 AND removed_at IS NULL
         ORDER BY taken_at DESC LIMIT $3",
        &[namespace.into(), tracking.into(), MOST.into()],
    )?;
    let mut latest: Option<Kept> = None;
    for row in &rows {
        let one = kept(row)?;
        let is_later = latest
            .as_ref()
            .is_none_or(|latest| one.advisory.version.is_after(&latest.advisory.version));
        if is_later {
            latest = Some(one);
        }
    }
    Ok(latest)
}

/// The newest revision of a document.
pub fn newest(tx: &mut dyn Tx, namespace: &str, tracking: &str) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT sha256, bytes FROM advisories WHERE namespace = $1 AND tracking = $2 AND newest = 1",
        &[namespace.into(), tracking.into()],
    )?;
    row.as_ref().map(kept).transpose()
}

/// One revision, also one that was taken out.
pub fn of(tx: &mut dyn Tx, sha256: &str) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT sha256, bytes FROM advisories WHERE sha256 = $1",
        &[sha256.into()],
    )?;
    row.as_ref().map(kept).transpose()
}

/// The newest revisions whose document has this id, of each publisher who has one.
pub fn called(tx: &mut dyn Tx, tracking: &str) -> Result<Vec<Kept>, StoreError> {
    let rows = tx.rows(
        "SELECT sha256, bytes FROM advisories WHERE tracking = $1 AND newest = 1 ORDER BY namespace LIMIT $2",
        &[tracking.into(), MOST.into()],
    )?;
    rows.iter().map(kept).collect()
}

/// The names of the newest revisions that could be about a device of this maker: SHA-256. One is read at a time, for they may be
/// long.
pub fn naming(tx: &mut dyn Tx, maker: &str) -> Result<BTreeSet<String>, StoreError> {
    let mut all = BTreeSet::new();
    for word in matching::maker(maker) {
        // Words are letters and digits: none of them means anything to LIKE.
        let rows = tx.rows(
            "SELECT sha256 FROM advisories WHERE newest = 1 AND makers LIKE $1",
            &[format!("% {word} %").as_str().into()],
        )?;
        for row in &rows {
            all.insert(row.text(0)?.to_owned());
        }
    }
    Ok(all)
}

/// The newest revisions that were taken in last, and how many more there are.
pub fn list(tx: &mut dyn Tx) -> Result<(Vec<Listed>, usize), StoreError> {
    let count = tx.row("SELECT COUNT(*) FROM advisories WHERE newest = 1", &[])?;
    let count = count.map_or(Ok(0), |row| row.int(0))?;
    let rows = tx.rows(
        "SELECT sha256, tracking, publisher, namespace, version, released, title, tlp, taken_at, taken_by FROM advisories
         WHERE newest = 1 ORDER BY taken_at DESC, namespace, tracking LIMIT $1",
        &[MOST.into()],
    )?;
    let listed = |row: &Row| {
        Ok(Listed {
            sha256: row.text(0)?.to_owned(),
            id: row.text(1)?.to_owned(),
            publisher: row.text(2)?.to_owned(),
            namespace: row.text(3)?.to_owned(),
            version: row.text(4)?.to_owned(),
            released: Timestamp::synced(row.int(5)?),
            title: row.text(6)?.to_owned(),
            tlp: row.opt_text(7)?.map(str::to_owned),
            taken_at: Timestamp::synced(row.int(8)?),
            taken_by: row.text(9)?.to_owned(),
        })
    };
    let more = usize::try_from(count).unwrap_or(0).saturating_sub(rows.len());
    Ok((rows.iter().map(listed).collect::<Result<_, StoreError>>()?, more))
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let read = csaf::read(row.blob(1)?);
    Ok(Kept {
        sha256: row.text(0)?.to_owned(),
        advisory: read.map_err(|e| row.corrupt(1, e))?,
    })
}
