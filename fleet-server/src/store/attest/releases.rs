//! Releases that evidence is held against, kept as their makers signed them.

use homeward_protocol::reference::Release;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use crate::attest::reference::Reference;
use crate::audit::Action;
use crate::release::Files;
use crate::store::{Row, StoreError, Tx, audit};

/// Most releases that are loaded at a time: what is older is taken out by a person.
pub const MOST: i64 = 64;

/// One loaded release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub release: Release,
    /// Its file, as it was signed.
    pub signed: Vec<u8>,
    /// Whose signature it was checked against.
    pub signer: PublicKey,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// By whom.
    pub loaded_by: String,
    /// The version of the release's targets that name it; none when it was loaded by hand.
    pub targets: Option<u64>,
}

/// A release that was verified, with what vouches for it.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'a> {
    /// What it says.
    pub release: &'a Release,
    /// Its file.
    pub bytes: &'a [u8],
    /// Whose signature it bears.
    pub signer: &'a PublicKey,
    /// The version of the release's targets that name it; none when it is loaded by hand.
    pub targets: Option<u64>,
}

/// Keeps a release that was verified, in the place of one of the same name. False when there are too many.
pub fn load(
    tx: &mut dyn Tx,
    Verified {
        release,
        bytes,
        signer,
        targets,
    }: Verified<'_>,
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
        "INSERT INTO reference_values (name, signed, signer, loaded_at, loaded_by, targets)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (name) DO UPDATE SET signed = excluded.signed, signer = excluded.signer,
             loaded_at = excluded.loaded_at, loaded_by = excluded.loaded_by, targets = excluded.targets",
        &[
            release.name.as_str().into(),
            bytes.into(),
            signer.point().into(),
            now.ms.into(),
            by.into(),
            targets.and_then(|version| i64::try_from(version).ok()).into(),
        ],
    )?;
    let detail = format!(
        "{} values, signed by {}{}",
        release.values.len(),
        signer.fingerprint(),
        from(targets)
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

/// Where values came from, as a clause behind a comma.
pub fn from(targets: Option<u64>) -> String {
    targets.map_or(", by hand".to_owned(), |version| {
        format!(", named by the release's targets {version}")
    })
}

/// Targets of this version name it too.
pub fn named_by(tx: &mut dyn Tx, name: &str, targets: u64) -> Result<(), StoreError> {
    let version = i64::try_from(targets).unwrap_or(i64::MAX);
    let sql = "UPDATE reference_values SET targets = $1 WHERE name = $2";
    tx.execute(sql, &[version.into(), name.into()]).map(drop)
}

/// Takes a release out; false when there is none of that name.
pub fn remove(tx: &mut dyn Tx, name: &str, why: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let gone = tx.execute("DELETE FROM reference_values WHERE name = $1", &[name.into()])?;
    if gone > 0 {
        audit::record(tx, now, by, Action::ReferenceRemoved, name, why)?;
    }
    Ok(gone > 0)
}

/// The loaded releases, the newest last. A row whose signature does not hold any more is corrupt.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Loaded>, StoreError> {
    let rows = tx.rows(
        "SELECT signed, signer, loaded_at, loaded_by, targets FROM reference_values ORDER BY loaded_at, name LIMIT $1",
        &[MOST.into()],
    )?;
    let loaded = |row: &Row| {
        let signer = PublicKey::from_point(row.blob(1)?).ok_or_else(|| row.corrupt(1, "not a key"))?;
        let release = Release::verify(row.blob(0)?, &signer).map_err(|e| row.corrupt(0, e))?;
        Ok(Loaded {
            release: release.into_inner(),
            signed: row.blob(0)?.to_vec(),
            signer,
            loaded_at: Timestamp::synced(row.int(2)?),
            loaded_by: row.text(3)?.to_owned(),
            targets: row.opt_int(4)?.and_then(|version| u64::try_from(version).ok()),
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

/// What was verified of the repository of releases: its metadata, by name.
pub fn metadata(tx: &mut dyn Tx) -> Result<Files, StoreError> {
    let rows = tx.rows("SELECT name, bytes FROM release_metadata", &[])?;
    let file = |row: &Row| Ok((row.text(0)?.to_owned(), row.blob(1)?.to_vec()));
    rows.iter().map(file).collect()
}

/// Keeps what was verified of it since. False, and nothing is kept, when something else is kept than what that began with.
pub fn keep_metadata(tx: &mut dyn Tx, began: &Files, verified: &Files) -> Result<bool, StoreError> {
    if metadata(tx)? != *began {
        return Ok(false);
    }
    for (name, bytes) in verified {
        tx.execute(
            "INSERT INTO release_metadata (name, bytes) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes",
            &[name.as_str().into(), bytes.as_slice().into()],
        )?;
    }
    Ok(true)
}
