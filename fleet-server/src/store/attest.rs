//! Whether gateways can be believed: the rows behind [`crate::attest`].
//!
//! How a gateway stands is never stored: it is computed from its row and the time, where it is read.

use std::collections::BTreeMap;

use homeward_protocol::attest::{CHALLENGE_MS, Held, Tier, Trust};
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

use super::{Row, StoreError, Tx};
use crate::attest::record::{Boots, Known, Newest, Quarantine};
use crate::attest::reliance::{Reliance, Stretch};
use crate::attest::schedule::{Asked, Occasion};
use crate::attest::{Nonce, Status, Vector, Verdict};

pub mod firmware;
pub mod measured;
pub mod postures;
pub mod releases;

/// Judgements that the grades of a backlog are held against: two months of daily ones.
const JUDGEMENTS: i64 = 64;
/// Most bytes of a small CBOR column.
const MAX_SMALL: usize = 4096;

/// All that is kept of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// What it is judged by.
    pub known: Known,
    /// When it is asked.
    pub asked: Asked,
    /// What is held of its logs.
    pub held: Option<Held>,
}

/// One gateway's row; the default when there is none yet.
pub fn kept(tx: &mut dyn Tx, id: &GatewayId) -> Result<Kept, StoreError> {
    let row = tx.row(
        "SELECT tier, key, box, boots, status, issued_at, expires_at, last_good, failures, quarantined_at,
           quarantined_why, first_asked, asked_at, unanswered, answered_at, next_at, wished_at, held
         FROM attestation WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    row.as_ref().map_or_else(|| Ok(Kept::default()), read)
}

fn read(row: &Row) -> Result<Kept, StoreError> {
    let held = row.opt_blob(17)?.map(|bytes| wire::decode(bytes, MAX_SMALL));
    Ok(Kept {
        known: known(row)?,
        asked: Asked {
            last: at(row, 12)?,
            unanswered: row.int(13)?,
            answered: at(row, 14)?,
            next: at(row, 15)?,
            wished: at(row, 16)?,
        },
        held: held.transpose().map_err(|e| row.corrupt(17, e))?,
    })
}

/// The first twelve columns of [`kept`].
fn known(row: &Row) -> Result<Known, StoreError> {
    let newest = match (row.opt_text(4)?, at(row, 5)?, at(row, 6)?) {
        (Some(_), Some(issued_at), Some(expires_at)) => Some(Newest {
            status: row.parse(4)?,
            issued_at,
            expires_at,
        }),
        _ => None,
    };
    Ok(Known {
        tier: tier(row, 0)?,
        key: bytes(row, 1)?,
        box_id: bytes(row, 2)?,
        boots: Boots::from_text(row.text(3)?).ok_or_else(|| row.corrupt(3, "not a list of boots"))?,
        newest,
        last_good: at(row, 7)?,
        failures: row.int(8)?,
        quarantine: at(row, 9)?.map(|since| Quarantine {
            since,
            why: row.opt_text(10).ok().flatten().unwrap_or_default().to_owned(),
        }),
        first_asked: at(row, 11)?,
    })
}

fn at(row: &Row, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.opt_int(column)?.map(Timestamp::synced))
}

fn tier(row: &Row, column: usize) -> Result<Option<Tier>, StoreError> {
    let name = row.opt_text(column)?;
    let tier = name.map(|name| Tier::from_name(name).ok_or_else(|| row.corrupt(column, "not a tier")));
    tier.transpose()
}

fn bytes<const N: usize>(row: &Row, column: usize) -> Result<Option<[u8; N]>, StoreError> {
    let blob = row.opt_blob(column)?;
    let array = blob.map(|blob| blob.try_into().map_err(|_| row.corrupt(column, "another length")));
    array.transpose()
}

/// How one gateway stands now.
pub fn trust(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Trust, StoreError> {
    let newest = newest_record(tx)?;
    Ok(kept(tx, id)?.known.trust(now, newest))
}

/// The newest moment that is on record: when the server's clock lies before it, the clock is wrong.
pub fn newest_record(tx: &mut dyn Tx) -> Result<Timestamp, StoreError> {
    let row = tx.row(
        "SELECT (SELECT MAX(issued_at) FROM attestation), (SELECT at FROM audit ORDER BY id DESC LIMIT 1)",
        &[],
    )?;
    let Some(row) = row else {
        return Ok(Timestamp::synced(0));
    };
    let newest = row.opt_int(0)?.max(row.opt_int(1)?);
    Ok(Timestamp::synced(newest.unwrap_or(0)))
}

/// Writes down that a gateway is asked, before it is. Only the hash of the number is kept.
pub fn ask(
    tx: &mut dyn Tx,
    id: &GatewayId,
    nonce_hash: &[u8; 32],
    occasion: Occasion,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO challenges (nonce_hash, gateway, occasion, made_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &[
            nonce_hash.as_slice().into(),
            id.as_str().into(),
            occasion.name().into(),
            now.ms.into(),
            now.plus_ms(CHALLENGE_MS).ms.into(),
        ],
    )?;
    tx.execute(
        "INSERT INTO attestation (gateway, first_asked, asked_at, unanswered) VALUES ($1, $2, $2, 1)
         ON CONFLICT (gateway) DO UPDATE SET first_asked = COALESCE(attestation.first_asked, excluded.first_asked),
             asked_at = excluded.asked_at, unanswered = attestation.unanswered + 1, wished_at = NULL",
        &[id.as_str().into(), now.ms.into()],
    )?;
    Ok(())
}

/// A person wishes a challenge; it is made when the gateway is connected.
pub fn wish(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO attestation (gateway, wished_at) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET wished_at = excluded.wished_at",
        &[id.as_str().into(), now.ms.into()],
    )?;
    Ok(())
}

/// What became of a number, when this answer comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is to be judged, with this about its number.
    Judge(Nonce),
    /// The very same bytes came before, and nothing was asked since: a transport that said it twice.
    Again,
}

/// Looks a number up, and uses it up when it is fresh.
pub fn answer(
    tx: &mut dyn Tx,
    id: &GatewayId,
    nonce_hash: &[u8; 32],
    answer: &[u8; 32],
    now: Timestamp,
) -> Result<Answer, StoreError> {
    let row = tx.row(
        "SELECT expires_at, used_at, answer, made_at FROM challenges WHERE nonce_hash = $1 AND gateway = $2",
        &[nonce_hash.as_slice().into(), id.as_str().into()],
    )?;
    let Some(row) = row else {
        return Ok(Answer::Judge(Nonce::Foreign));
    };
    if row.opt_int(1)?.is_some() {
        let newer = tx.row(
            "SELECT 1 FROM challenges WHERE gateway = $1 AND made_at > $2 LIMIT 1",
            &[id.as_str().into(), row.int(3)?.into()],
        )?;
        let same = row.opt_blob(2)? == Some(answer.as_slice());
        let again = same && newer.is_none() && now.ms < row.int(0)?;
        return Ok(if again {
            Answer::Again
        } else {
            Answer::Judge(Nonce::Used)
        });
    }
    if now.ms >= row.int(0)? {
        return Ok(Answer::Judge(Nonce::Late));
    }
    tx.execute(
        "UPDATE challenges SET used_at = $1, answer = $2 WHERE nonce_hash = $3",
        &[
            now.ms.into(),
            answer.as_slice().into(),
            nonce_hash.as_slice().into(),
        ],
    )?;
    Ok(Answer::Judge(Nonce::Fresh))
}

/// Writes the record after a judgement, and when to ask next.
pub fn put(
    tx: &mut dyn Tx,
    id: &GatewayId,
    known: &Known,
    next: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    write(tx, id, known)?;
    tx.execute(
        "UPDATE attestation SET answered_at = $1, unanswered = 0, next_at = $2 WHERE gateway = $3",
        &[now.ms.into(), next.ms.into(), id.as_str().into()],
    )?;
    Ok(())
}

/// Writes what a gateway is judged by.
pub fn write(tx: &mut dyn Tx, id: &GatewayId, known: &Known) -> Result<(), StoreError> {
    let newest = known.newest.as_ref();
    let quarantine = known.quarantine.as_ref();
    tx.execute(
        "INSERT INTO attestation (gateway, tier, key, box, boots, status, issued_at, expires_at, last_good, failures,
                                  quarantined_at, quarantined_why)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (gateway) DO UPDATE SET tier = excluded.tier, key = excluded.key, box = excluded.box,
             boots = excluded.boots, status = excluded.status, issued_at = excluded.issued_at,
             expires_at = excluded.expires_at, last_good = excluded.last_good, failures = excluded.failures,
             quarantined_at = excluded.quarantined_at, quarantined_why = excluded.quarantined_why",
        &[
            id.as_str().into(),
            known.tier.map(Tier::name).into(),
            known.key.as_ref().map(<[u8; 32]>::as_slice).into(),
            known.box_id.as_ref().map(<[u8; 16]>::as_slice).into(),
            (&known.boots.text()).into(),
            newest.map(|n| n.status.name()).into(),
            newest.map(|n| n.issued_at.ms).into(),
            newest.map(|n| n.expires_at.ms).into(),
            known.last_good.map(|at| at.ms).into(),
            known.failures.into(),
            quarantine.map(|q| q.since.ms).into(),
            quarantine.map(|q| q.why.as_str()).into(),
        ],
    )?;
    Ok(())
}

/// Keeps a judgement and what it was of; nothing, when it came without evidence.
pub fn keep(
    tx: &mut dyn Tx,
    id: &GatewayId,
    verdict: &Verdict,
    evidence: Option<(&[u8; 32], &[u8])>,
    (said, state): (&str, Trust),
) -> Result<(), StoreError> {
    let hash: &[u8] = evidence.map_or(&[], |(hash, _)| hash.as_slice());
    if let Some((_, bytes)) = evidence {
        tx.execute(
            "INSERT INTO evidence (hash, gateway, received_at, bytes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[
                hash.into(),
                id.as_str().into(),
                verdict.issued_at.ms.into(),
                bytes.into(),
            ],
        )?;
    }
    tx.execute(
        "INSERT INTO results (gateway, issued_at, evidence, expires_at, status, tier, vector, said, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        &[
            id.as_str().into(),
            verdict.issued_at.ms.into(),
            hash.into(),
            verdict.expires_at.ms.into(),
            verdict.status.name().into(),
            verdict.tier.name().into(),
            (&verdict.vector.to_string()).into(),
            said.into(),
            state.name().into(),
        ],
    )?;
    Ok(())
}

/// One judgement as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// In one word.
    pub status: Status,
    /// What proved it.
    pub tier: Tier,
    /// By what.
    pub vector: Vector,
    /// Why, in plain words.
    pub said: Vec<String>,
    /// How the gateway stood right after.
    pub state: Trust,
    /// SHA-256 of the evidence.
    pub evidence: Vec<u8>,
}

/// The newest judgements of one gateway, the newest first.
pub fn history(tx: &mut dyn Tx, id: &GatewayId, limit: i64) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT issued_at, expires_at, status, tier, vector, said, state, evidence FROM results WHERE gateway = $1
         ORDER BY issued_at DESC, evidence LIMIT $2",
        &[id.as_str().into(), limit.into()],
    )?;
    rows.iter().map(shown).collect()
}

fn shown(row: &Row) -> Result<Shown, StoreError> {
    Ok(Shown {
        issued_at: Timestamp::synced(row.int(0)?),
        expires_at: Timestamp::synced(row.int(1)?),
        status: row.parse(2)?,
        tier: tier(row, 3)?.ok_or_else(|| row.corrupt(3, "is null"))?,
        vector: row.parse(4)?,
        said: row.text(5)?.lines().map(str::to_owned).collect(),
        state: Trust::from_name(row.text(6)?).ok_or_else(|| row.corrupt(6, "not a state"))?,
        evidence: row.blob(7)?.to_vec(),
    })
}

/// What is on record of one gateway, for the grades of its readings.
pub(super) fn reliance(tx: &mut dyn Tx, gateway: &str, now: Timestamp) -> Result<Reliance, StoreError> {
    let Some(known) = standings(tx, gateway)?.remove(gateway) else {
        return Ok(Reliance {
            now: Trust::Unknown,
            judgements: Vec::new(),
            spare: false,
        });
    };
    let rows = tx.rows(
        "SELECT status, issued_at, expires_at FROM results WHERE gateway = $1 ORDER BY issued_at DESC LIMIT $2",
        &[gateway.into(), JUDGEMENTS.into()],
    )?;
    let stretch = |row: &Row| {
        Ok(Stretch {
            status: row.parse(0)?,
            from: Timestamp::synced(row.int(1)?),
            until: Timestamp::synced(row.int(2)?),
        })
    };
    Ok(Reliance {
        now: known.trust(now, now),
        judgements: rows.iter().map(stretch).collect::<Result<_, StoreError>>()?,
        spare: false,
    })
}

/// The newest evidence of one gateway, as it came.
pub fn newest_evidence(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Vec<u8>>, StoreError> {
    let row = tx.row(
        "SELECT bytes FROM evidence WHERE gateway = $1 ORDER BY received_at DESC LIMIT 1",
        &[id.as_str().into()],
    )?;
    row.map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
}

/// What is held of a gateway's logs, after its evidence brought more.
pub fn hold(tx: &mut dyn Tx, id: &GatewayId, held: &Held) -> Result<(), StoreError> {
    let bytes = wire::encode(held, MAX_SMALL).map_err(|e| StoreError::Unavailable {
        step: "writing what is held of a log",
        why: e.to_string(),
    })?;
    tx.execute(
        "UPDATE attestation SET held = $1 WHERE gateway = $2",
        &[bytes.as_slice().into(), id.as_str().into()],
    )?;
    Ok(())
}

/// What every gateway is judged by, or the one that is named, by id: for lists.
pub(super) fn standings(tx: &mut dyn Tx, gateway: &str) -> Result<BTreeMap<String, Known>, StoreError> {
    let rows = tx.rows(
        "SELECT tier, key, box, boots, status, issued_at, expires_at, last_good, failures, quarantined_at,
           quarantined_why, first_asked, gateway
         FROM attestation WHERE ($1 = '' OR gateway = $1)",
        &[gateway.into()],
    )?;
    let standing = |row: &Row| Ok((row.text(12)?.to_owned(), known(row)?));
    rows.iter().map(standing).collect()
}
