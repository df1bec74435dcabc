//! Releases that evidence is held against, kept as their makers signed them.

use homeward_protocol::reference::Release;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use crate::attest::reference::Reference;
use crate::audit::Action;
use crate::store::{Row, StoreError, Tx, audit};

/// Most releases that are loaded at a time: what is older is taken out by a person.
pub const MOST: i64 = 64;

/// One loaded release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub release: Release,
    /// Whose signature it was checked against.
    pub signer: PublicKey,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// By whom.
    pub loaded_by: String,
}

/// Keeps a release that was verified, in the place of one of the same name. False when there are too many.
pub fn load(
    tx: &mut dyn Tx,
    (release, bytes): (&Release, &[u8]),
    signer: &PublicKey,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let count = tx.row(
        "SELECT COUNT(*) FROM reference_values WHERE name <> $1",
        &[release.name.as_str().into()],
    )?;
    if count.map_or(Ok(0), |row| row.int(0))? >= MOST {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO reference_values (name, signed, signer, loaded_at, loaded_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET signed = excluded.signed, signer = excluded.signer,
             loaded_at = excluded.loaded_at, loaded_by = excluded.loaded_by",
        &[
            release.name.as_str().into(),
            bytes.into(),
            signer.point().into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let detail = format!(
        "{} values, signed by {}",
        release.values.len(),
        signer.fingerprint()
    );
    audit::record(
        tx,
        now,
        by,
        Action::ReferenceLoaded,
        release.name.as_str(),
        &detail,
    )?;
    Ok(true)
}

/// Takes a release out; false when there is none of that name.
pub fn remove(tx: &mut dyn Tx, name: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let gone = tx.execute("DELETE FROM reference_values WHERE name = $1", &[name.into()])?;
    if gone > 0 {
        audit::record(tx, now, by, Action::ReferenceRemoved, name, "")?;
    }
    Ok(gone > 0)
}

/// The loaded releases, the newest last. A row whose signature does not hold any more is corrupt.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Loaded>, StoreError> {
    let rows = tx.rows(
        "SELECT signed, signer, loaded_at, loaded_by FROM reference_values ORDER BY loaded_at, name LIMIT $1",
        &[MOST.into()],
    )?;
    let loaded = |row: &Row| {
        let signer = PublicKey::from_point(row.blob(1)?).ok_or_else(|| row.corrupt(1, "not a key"))?;
        let release = Release::verify(row.blob(0)?, &signer).map_err(|e| row.corrupt(0, e))?;
        Ok(Loaded {
            release: release.into_inner(),
            signer,
            loaded_at: Timestamp::synced(row.int(2)?),
            loaded_by: row.text(3)?.to_owned(),
        })
    };
    rows.iter().map(loaded).collect()
}

/// What evidence is held against.
pub fn reference(tx: &mut dyn Tx) -> Result<Reference, StoreError> {
    Ok(Reference(
        all(tx)?.into_iter().map(|loaded| loaded.release).collect(),
    ))
}

/// How many releases are loaded, and when the newest was: whether what was read before is still all.
pub fn mark(tx: &mut dyn Tx) -> Result<(i64, i64), StoreError> {
    let row = tx.row(
        "SELECT COUNT(*), COALESCE(MAX(loaded_at), 0) FROM reference_values",
        &[],
    )?;
    row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
}
