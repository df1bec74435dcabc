//! Chains of postures: the newest link of each gateway's, and the stretches of time that links prove, or do not.

use homeward_protocol::attest::Nonce;
use homeward_protocol::evidence::Evidence;
use homeward_protocol::id::GatewayId;
use homeward_protocol::postures::{LONGEST_S, Link, START, TpmClock};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::{self, Bytes};
use serde::{Deserialize, Serialize};

use crate::attest::Postures;
use crate::attest::postures::{End, Newest, Step, Unproven, end, follow};
use crate::store::{Row, StoreError, Tx, certificates};

/// Most bytes of the kept link.
const MAX_NEWEST: usize = 512;
/// How long links may be on their way after evidence named them, milliseconds.
const ON_THEIR_WAY_MS: i64 = 10 * 60_000;
/// Stretches that a page shows.
const NEWEST: i64 = 50;

/// The newest link as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    seq: u64,
    prev: Nonce,
    head: Nonce,
    boot: (u64, Nonce),
    uptime_s: u64,
    next_s: u32,
    at: Timestamp,
    tpm: Option<TpmClock>,
    first: Nonce,
}

impl From<&Newest> for Kept {
    fn from(newest: &Newest) -> Kept {
        let Newest {
            seq,
            prev,
            head,
            boot,
            uptime_s,
            next_s,
            at,
            tpm,
            first,
        } = *newest;
        Kept {
            seq,
            prev,
            head,
            boot,
            uptime_s,
            next_s,
            at,
            tpm,
            first,
        }
    }
}

impl From<Kept> for Newest {
    fn from(kept: Kept) -> Newest {
        Newest {
            seq: kept.seq,
            prev: kept.prev,
            head: kept.head,
            boot: kept.boot,
            uptime_s: kept.uptime_s,
            next_s: kept.next_s,
            at: kept.at,
            tpm: kept.tpm,
            first: kept.first,
        }
    }
}

/// The newest link that is here.
pub fn newest(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Newest>, StoreError> {
    let row = tx.row(
        "SELECT newest FROM chain_ends WHERE gateway = $1 AND newest IS NOT NULL",
        &[gateway.as_str().into()],
    )?;
    let read = |row: Row| {
        let kept: Kept = wire::decode(row.blob(0)?, MAX_NEWEST).map_err(|e| row.corrupt(0, e))?;
        Ok(Newest::from(kept))
    };
    row.map(read).transpose()
}

/// Takes one link, as it was signed: checks it, and writes down what it proves. What a spare key brings and the
/// gateway's own did not sign breaks nothing.
pub fn take(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    bytes: &Bytes,
    (spare, now): (bool, Timestamp),
) -> Result<(), StoreError> {
    let before = newest(tx, gateway)?;
    let Some(link) = verified(tx, gateway, bytes)? else {
        if spare {
            return Ok(());
        }
        let seq = before.map_or(0, |newest| newest.seq);
        let at = before.map_or(now, |newest| newest.at);
        return note(tx, gateway, (seq, seq), (at, now), Some(Unproven::Refused), now);
    };
    let (step, next) = follow(before.as_ref(), &link, &bytes.0);
    let Some(next) = next else { return Ok(()) };
    put(tx, gateway, &next)?;
    let (first, from) = before.map_or((link.seq, link.at), |before| (before.seq, before.at));
    match step {
        Step::Proved => extend(tx, gateway, (first, link.seq), (from, link.at), now),
        Step::Old | Step::Gap(Unproven::Begins) => Ok(()),
        Step::Gap(why) => note(tx, gateway, (first, link.seq), (from, link.at), Some(why), now),
    }
}

/// The link, when a certificate's key of the gateway signed it.
fn verified(tx: &mut dyn Tx, gateway: &GatewayId, bytes: &Bytes) -> Result<Option<Link>, StoreError> {
    let Ok(signed) = Signed::<Link>::parse(&bytes.0) else {
        return Ok(None);
    };
    let keys = certificates::keys(tx, gateway)?;
    let link = keys.iter().find_map(|key| signed.verify(key).ok());
    Ok(link.map(homeward_protocol::signed::Verified::into_inner))
}

fn put(tx: &mut dyn Tx, gateway: &GatewayId, newest: &Newest) -> Result<(), StoreError> {
    let bytes = wire::encode(&Kept::from(newest), MAX_NEWEST).map_err(|e| StoreError::Unavailable {
        step: "writing the newest link of a chain",
        why: e.to_string(),
    })?;
    tx.execute(
        "INSERT INTO chain_ends (gateway, newest) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET newest = excluded.newest",
        &[gateway.as_str().into(), bytes.as_slice().into()],
    )?;
    Ok(())
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Goes on with the proved stretch that ends at the link before, or begins one.
fn extend(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (first, last): (u64, u64),
    (from, until): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    let touched = tx.execute(
        "UPDATE stretches SET last_seq = $1, until_at = $2, noted_at = $3
         WHERE gateway = $4 AND last_seq = $5 AND unproven IS NULL",
        &[
            number(last).into(),
            until.ms.into(),
            now.ms.into(),
            gateway.as_str().into(),
            number(first).into(),
        ],
    )?;
    if touched > 0 {
        return Ok(());
    }
    note(tx, gateway, (first, last), (from, until), None, now)
}

fn note(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (first, last): (u64, u64),
    (from, until): (Timestamp, Timestamp),
    unproven: Option<Unproven>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO stretches (gateway, first_seq, last_seq, from_at, until_at, unproven, noted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        &[
            gateway.as_str().into(),
            number(first).into(),
            number(last).into(),
            from.ms.into(),
            until.ms.into(),
            unproven.map(Unproven::name).into(),
            now.ms.into(),
        ],
    )?;
    if unproven.is_some_and(Unproven::breaks) {
        broke(tx, gateway)?;
    }
    Ok(())
}

fn broke(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO chain_ends (gateway, breaks) VALUES ($1, 1)
         ON CONFLICT (gateway) DO UPDATE SET breaks = chain_ends.breaks + 1",
        &[gateway.as_str().into()],
    )?;
    Ok(())
}

/// How the chain stands to what the newest evidence says of its end. What was broken since the evidence before counts
/// once: the chain goes on from the end that the box names.
pub fn judge(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<Postures, StoreError> {
    let newest = newest(tx, gateway)?;
    let row = tx.row(
        "SELECT breaks, promised, promised_at FROM chain_ends WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    let (breaks, promised) = match &row {
        Some(row) => (row.int(0)?, row.opt_int(1)?.zip(row.opt_int(2)?)),
        None => (0, None),
    };
    let stands = end(newest.as_ref(), evidence.postures);
    if row.is_none() && stands == End::Here {
        return Ok(Postures::Whole);
    }
    let here = number(newest.map_or(0, |newest| newest.seq));
    let waiting = promised.filter(|(seq, _)| *seq > here);
    let overdue = waiting.is_some_and(|(_, at)| now.ms.saturating_sub(at) >= ON_THEIR_WAY_MS);
    let lost = match stands {
        End::Here => None,
        End::Ahead => overdue.then_some(Unproven::Missing),
        End::Other => Some(Unproven::WentBack),
    };
    if let Some(why) = lost {
        adopt(tx, gateway, evidence, newest.as_ref(), why, now)?;
    }
    let ahead = evidence.postures.filter(|_| stands == End::Ahead && !overdue);
    tx.execute(
        "INSERT INTO chain_ends (gateway, promised, promised_at) VALUES ($1, $2, $3)
         ON CONFLICT (gateway) DO UPDATE SET promised = excluded.promised, promised_at = excluded.promised_at, breaks = 0",
        &[
            gateway.as_str().into(),
            ahead.map(|end| number(end.seq)).into(),
            // What was promised before and is not here yet keeps its time.
            ahead.map(|_| waiting.map_or(now.ms, |(_, at)| at)).into(),
        ],
    )?;
    Ok(match (breaks > 0 || lost.is_some(), ahead) {
        (true, _) => Postures::Broken,
        (false, Some(_)) => Postures::OnTheirWay,
        (false, None) => Postures::Whole,
    })
}

/// Goes on from the end that the box names, and puts on record that what led there is not here.
fn adopt(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    evidence: &Evidence,
    before: Option<&Newest>,
    why: Unproven,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (first, from) = before.map_or((0, now), |before| (before.seq, before.at));
    let Some(named) = evidence.postures else {
        tx.execute(
            "UPDATE chain_ends SET newest = NULL WHERE gateway = $1",
            &[gateway.as_str().into()],
        )?;
        return note(tx, gateway, (first, first), (from, now), Some(why), now);
    };
    let newest = Newest {
        seq: named.seq,
        prev: START,
        head: Nonce(named.head),
        boot: (evidence.boot_count, Nonce(evidence.boot_seed)),
        uptime_s: evidence.uptime_s,
        next_s: LONGEST_S,
        at: now,
        tpm: None,
        first: before.map_or(START, |before| before.first),
    };
    put(tx, gateway, &newest)?;
    note(tx, gateway, (first, named.seq), (from, now), Some(why), now)
}

/// A stretch of time as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// From when, by the gateway's clock.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Links at both ends and between them.
    pub links: i64,
    /// Why it is not proved; proved when missing.
    pub unproven: Option<Unproven>,
}

/// The newest stretches, the newest first.
pub fn stretches(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT from_at, until_at, first_seq, last_seq, unproven FROM stretches WHERE gateway = $1
         ORDER BY last_seq DESC, noted_at DESC LIMIT $2",
        &[gateway.as_str().into(), NEWEST.into()],
    )?;
    let shown = |row: &Row| {
        let why = row
            .opt_text(4)?
            .map(|name| Unproven::from_name(name).ok_or_else(|| row.corrupt(4, "not a reason")));
        Ok(Shown {
            from: Timestamp::synced(row.int(0)?),
            until: Timestamp::synced(row.int(1)?),
            links: row.int(3)? - row.int(2)? + 1,
            unproven: why.transpose()?,
        })
    };
    rows.iter().map(shown).collect()
}
