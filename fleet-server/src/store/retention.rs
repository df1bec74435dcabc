//! How long each table keeps its rows, and the step that deletes older ones.
//!
//! Every table is named in [`RULES`]; a test compares the list with the schema, so that no table grows without
//! somebody having said how far.

use homeward_protocol::time::Timestamp;

use super::{StoreError, Tx};

/// Rows that one step deletes from one table at most: a fraction of a second for the writer.
const STEP: i64 = 2000;
/// Lists of software that one step drops, each with a thousand packages or two.
const LISTS: i64 = 4;
/// The newest envelopes of each stream that stay whatever their age: as many as a gateway may have sent without
/// having heard the acknowledgement, so that each one that comes again can be compared.
const LAST: i64 = 64;
/// A hint that nobody has read by then is of no use.
const SIGNAL_DAYS: u32 = 7;
/// A certificate may be renewed for 180 days after its end; after this it says nothing to anybody.
const CERTIFICATE_DAYS: u32 = 400;
/// Evidence as it came is kept so long; its judgements as long as readings.
const EVIDENCE_DAYS: u32 = 90;
/// A number that was answered may come again within a day; after that it is foreign, which is as bad.
const CHALLENGE_DAYS: u32 = 2;
/// Lists of software that no box has any more, and pieces whose rest did not come.
const UNUSED_DAYS: u32 = 7;
const DAY_MS: i64 = 86_400_000;

/// How far a table grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Rows go when they are this old, by the server's clock.
    Days(Age),
    /// One row, or a few, for each thing of the fleet: a gateway, a sensor, a person, a certificate.
    PerThing,
    /// Bounded where it is written.
    AtWriting,
    /// For good: it grows with what people do, not with what devices send.
    Always,
}

/// Which age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// As configured for readings and what else gateways report.
    Readings,
    /// As configured for signed envelopes.
    Envelopes,
    /// [`SIGNAL_DAYS`].
    Signals,
    /// [`CERTIFICATE_DAYS`] after their end.
    Certificates,
    /// [`EVIDENCE_DAYS`].
    Evidence,
    /// [`CHALLENGE_DAYS`].
    Challenges,
    /// [`UNUSED_DAYS`] after nothing needs them any more.
    Unused,
    /// At their own end.
    Expired,
}

/// Every table of ours.
pub const RULES: &[(&str, Keep)] = &[
    ("advisories", Keep::Always),
    ("alarms", Keep::Days(Age::Readings)),
    ("assignments", Keep::PerThing),
    ("attempts", Keep::Days(Age::Readings)),
    ("attestation", Keep::PerThing),
    ("audit", Keep::Always),
    ("baselines", Keep::PerThing),
    ("bonds", Keep::PerThing),
    ("campaign_homes", Keep::Days(Age::Readings)),
    ("campaign_targets", Keep::Always),
    ("campaigns", Keep::Always),
    ("certificates", Keep::Days(Age::Certificates)),
    ("chain_ends", Keep::PerThing),
    ("challenges", Keep::Days(Age::Challenges)),
    ("chips", Keep::PerThing),
    ("claims", Keep::PerThing),
    ("connections", Keep::Days(Age::Readings)),
    ("deadlines", Keep::Days(Age::Readings)),
    ("dossier_tasks", Keep::Always),
    ("dossiers", Keep::Always),
    ("draft_revisions", Keep::Always),
    ("drafts", Keep::Always),
    ("drifts", Keep::Days(Age::Readings)),
    ("envelopes", Keep::Days(Age::Envelopes)),
    ("evidence", Keep::Days(Age::Evidence)),
    ("expected_chips", Keep::PerThing),
    ("fact_changes", Keep::Days(Age::Readings)),
    ("fact_states", Keep::PerThing),
    ("facts", Keep::PerThing),
    ("findings", Keep::Days(Age::Readings)),
    ("forces", Keep::Always),
    ("gaps", Keep::Days(Age::Readings)),
    ("gateways", Keep::PerThing),
    ("group_members", Keep::PerThing),
    ("implants", Keep::Always),
    ("incidents", Keep::Always),
    ("inventories", Keep::Days(Age::Unused)),
    ("inventory_pieces", Keep::Days(Age::Unused)),
    ("isolations", Keep::PerThing),
    ("latest", Keep::PerThing),
    ("measured", Keep::PerThing),
    ("meta", Keep::PerThing),
    ("notices", Keep::Days(Age::Readings)),
    ("outages", Keep::Days(Age::Readings)),
    ("packages", Keep::Days(Age::Unused)),
    ("placements", Keep::PerThing),
    ("policies", Keep::Always),
    ("policy_keyrings", Keep::Always),
    ("policy_mark", Keep::PerThing),
    ("policy_points", Keep::PerThing),
    ("policy_states", Keep::PerThing),
    ("policy_targets", Keep::Always),
    ("postures", Keep::PerThing),
    ("quarantine", Keep::AtWriting),
    ("quiets", Keep::PerThing),
    ("readings", Keep::Days(Age::Readings)),
    ("reference_values", Keep::Always),
    ("rejects", Keep::PerThing),
    ("release_metadata", Keep::PerThing),
    ("results", Keep::Days(Age::Readings)),
    ("sensors", Keep::PerThing),
    ("sessions", Keep::Days(Age::Expired)),
    ("setup_codes", Keep::Days(Age::Expired)),
    ("signals", Keep::Days(Age::Signals)),
    ("stopped_flows", Keep::Days(Age::Readings)),
    ("stopped_totals", Keep::PerThing),
    ("streams", Keep::Days(Age::Readings)),
    ("stretches", Keep::Days(Age::Readings)),
    ("support_sessions", Keep::Days(Age::Readings)),
    ("teams", Keep::PerThing),
    ("tokens", Keep::PerThing),
    ("update_states", Keep::PerThing),
    ("users", Keep::PerThing),
    ("watches", Keep::PerThing),
    ("weighings", Keep::Always),
];

/// Deletes a bounded number of rows that are older than they are kept; true when there may be more.
pub fn step(
    tx: &mut dyn Tx,
    readings_days: u32,
    envelopes_days: u32,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let before = |days: u32| now.ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
    let mut more = false;
    for (sql, days) in [
        (READINGS, readings_days),
        (ALARMS, readings_days),
        (ATTEMPTS, readings_days),
        (OUTAGES, readings_days),
        (GAPS, readings_days),
        (FACT_CHANGES, readings_days),
        (PIECES, UNUSED_DAYS),
        (FINDINGS, readings_days),
        (CONNECTIONS, readings_days),
        (RESULTS, readings_days),
        (STRETCHES, readings_days),
        (DRIFTS, readings_days),
        (STOPPED, readings_days),
        (SUPPORT, readings_days),
        (CAMPAIGN_HOMES, readings_days),
        (DEADLINES, readings_days),
        (NOTICES, readings_days),
        (EVIDENCE, EVIDENCE_DAYS),
        (CHALLENGES, CHALLENGE_DAYS),
        (STREAMS, readings_days.max(envelopes_days)),
        (SIGNALS, SIGNAL_DAYS),
        (CERTIFICATES, CERTIFICATE_DAYS),
        (SESSIONS, 0),
        (SETUP_CODES, 0),
    ] {
        let deleted = tx.execute(sql, &[before(days).into(), STEP.into()])?;
        more |= full(deleted);
    }
    more |= drop_lists(tx, before(UNUSED_DAYS))?;
    let old = before(envelopes_days);
    let deleted = tx.execute(ENVELOPES, &[old.into(), (LAST - 1).into(), STEP.into()])?;
    Ok(more | full(deleted))
}

/// Lists that no box has any more, with what stands in them: a few at a time.
fn drop_lists(tx: &mut dyn Tx, before: i64) -> Result<bool, StoreError> {
    let unused = tx.rows(
        "SELECT name FROM inventories AS old WHERE kept_at < $1
           AND NOT EXISTS (SELECT 1 FROM fact_states WHERE fact_states.inventory = old.name) LIMIT $2",
        &[before.into(), LISTS.into()],
    )?;
    for list in &unused {
        let name = list.text(0)?;
        tx.execute("DELETE FROM packages WHERE inventory = $1", &[name.into()])?;
        tx.execute("DELETE FROM inventories WHERE name = $1", &[name.into()])?;
    }
    Ok(i64::try_from(unused.len()).unwrap_or(LISTS) >= LISTS)
}

fn full(deleted: u64) -> bool {
    i64::try_from(deleted).unwrap_or(STEP) >= STEP
}

const READINGS: &str = "DELETE FROM readings WHERE (gateway, epoch, seq) IN
    (SELECT gateway, epoch, seq FROM readings WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
const ALARMS: &str = "DELETE FROM alarms WHERE (gateway, epoch, seq) IN
    (SELECT gateway, epoch, seq FROM alarms WHERE received_at < $1 LIMIT $2)";
/// Only what tells a repeated one: the audit trail keeps them for good.
const ATTEMPTS: &str = "DELETE FROM attempts WHERE (gateway, epoch, seq) IN
    (SELECT gateway, epoch, seq FROM attempts WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
const OUTAGES: &str = "DELETE FROM outages WHERE (gateway, epoch, seq) IN
    (SELECT gateway, epoch, seq FROM outages WHERE received_at < $1 LIMIT $2)";
const GAPS: &str = "DELETE FROM gaps WHERE (gateway, epoch, lane, from_seq, cause) IN
    (SELECT gateway, epoch, lane, from_seq, cause FROM gaps WHERE noted_at < $1 LIMIT $2)";
const FACT_CHANGES: &str = "DELETE FROM fact_changes WHERE (gateway, received_at, fact) IN
    (SELECT gateway, received_at, fact FROM fact_changes WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
const PIECES: &str = "DELETE FROM inventory_pieces WHERE (gateway, inventory, part) IN
    (SELECT gateway, inventory, part FROM inventory_pieces WHERE received_at < $1 LIMIT $2)";
/// Those that stand are kept.
const FINDINGS: &str = "DELETE FROM findings WHERE (gateway, suspicion, sensor, address, raised_at) IN
    (SELECT gateway, suspicion, sensor, address, raised_at FROM findings WHERE raised_at < $1 AND cleared_at IS NOT NULL
     ORDER BY raised_at LIMIT $2)";
/// Connections that still last are kept.
const CONNECTIONS: &str = "DELETE FROM connections WHERE (gateway, connected_at) IN
    (SELECT gateway, connected_at FROM connections WHERE connected_at < $1 AND ended_at IS NOT NULL
     ORDER BY connected_at LIMIT $2)";
/// The newest judgement of each gateway is also in `attestation`, whatever its age.
const RESULTS: &str = "DELETE FROM results WHERE (gateway, issued_at, evidence) IN
    (SELECT gateway, issued_at, evidence FROM results WHERE issued_at < $1 ORDER BY issued_at LIMIT $2)";
const STRETCHES: &str = "DELETE FROM stretches WHERE (gateway, last_seq, noted_at) IN
    (SELECT gateway, last_seq, noted_at FROM stretches WHERE noted_at < $1 ORDER BY noted_at LIMIT $2)";
/// Those that go on are kept.
const DRIFTS: &str = "DELETE FROM drifts WHERE (gateway, point, noted_at) IN
    (SELECT gateway, point, noted_at FROM drifts WHERE noted_at < $1 AND ended_at IS NOT NULL
     ORDER BY noted_at LIMIT $2)";
const STOPPED: &str = "DELETE FROM stopped_flows WHERE (gateway, point, who, peer, protocol, port) IN
    (SELECT gateway, point, who, peer, protocol, port FROM stopped_flows WHERE last_at < $1 ORDER BY last_at LIMIT $2)";
/// The audit trail keeps them for good.
const SUPPORT: &str = "DELETE FROM support_sessions WHERE (gateway, number) IN
    (SELECT gateway, number FROM support_sessions WHERE asked_at < $1 ORDER BY asked_at LIMIT $2)";
/// Of campaigns that are over; the audit trail keeps who was told what.
const CAMPAIGN_HOMES: &str = "DELETE FROM campaign_homes WHERE (campaign, gateway) IN
    (SELECT h.campaign, h.gateway FROM campaign_homes h JOIN campaigns c ON c.name = h.campaign
     WHERE c.live = 0 AND c.changed_at < $1 LIMIT $2)";
/// Those that are not over are kept.
const DEADLINES: &str = "DELETE FROM deadlines WHERE (gateway, counter) IN
    (SELECT gateway, counter FROM deadlines WHERE ended_at < $1 LIMIT $2)";
/// Those that are still tried are kept; the audit trail keeps for good that somebody was asked.
const NOTICES: &str = "DELETE FROM notices WHERE id IN
    (SELECT id FROM notices WHERE made_at < $1 AND next_at IS NULL ORDER BY made_at LIMIT $2)";
const EVIDENCE: &str = "DELETE FROM evidence WHERE (gateway, received_at, hash) IN
    (SELECT gateway, received_at, hash FROM evidence WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
const CHALLENGES: &str = "DELETE FROM challenges WHERE nonce_hash IN
    (SELECT nonce_hash FROM challenges WHERE made_at < $1 ORDER BY made_at LIMIT $2)";
const ENVELOPES: &str = "DELETE FROM envelopes WHERE (gateway, epoch, lane, last_seq) IN
    (SELECT gateway, epoch, lane, last_seq FROM envelopes AS old WHERE received_at < $1
        AND last_seq < (SELECT last_seq FROM envelopes AS new
                        WHERE new.gateway = old.gateway AND new.epoch = old.epoch AND new.lane = old.lane
                        ORDER BY last_seq DESC LIMIT 1 OFFSET $2)
     ORDER BY received_at LIMIT $3)";
/// All streams of an outbox go together: a lane may rest for years while another is busy.
const STREAMS: &str = "DELETE FROM streams WHERE (gateway, epoch, lane) IN
    (SELECT gateway, epoch, lane FROM streams AS old WHERE updated_at < $1
        AND NOT EXISTS (SELECT 1 FROM streams AS kin
                        WHERE kin.gateway = old.gateway AND kin.epoch = old.epoch AND kin.updated_at >= $1)
     LIMIT $2)";
const SIGNALS: &str =
    "DELETE FROM signals WHERE id IN (SELECT id FROM signals WHERE at < $1 ORDER BY id LIMIT $2)";
const CERTIFICATES: &str = "DELETE FROM certificates WHERE serial IN (SELECT serial FROM certificates WHERE not_after < $1 LIMIT $2)";
const SESSIONS: &str = "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE expires_at < $1 LIMIT $2)";
const SETUP_CODES: &str = "DELETE FROM setup_codes WHERE code_hash IN
    (SELECT code_hash FROM setup_codes WHERE expires_at < $1 LIMIT $2)";
