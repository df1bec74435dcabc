//! What is so of the homes of a campaign: only of those of which something is awaited.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

use crate::campaign::around::Around;
use crate::campaign::kept::Name;
use crate::campaign::signs::{Heard, Said, Signs, is_side_effect};
use crate::device::State;
use crate::store::care::named;
use crate::store::updates::MAX_STATE;
use crate::store::{Row, StoreError, Tx};

/// Of all homes that were told, wait, are to keep what they run and have not named that yet, act, go back or are away; that
/// confirmed after `watched`, or speak for the wave that is open, or were directed by hand since; and of those that have not begun
/// and that somebody depends on highly by now.
pub fn of(
    tx: &mut dyn Tx,
    name: &Name,
    watched: Timestamp,
) -> Result<BTreeMap<GatewayId, Signs>, StoreError> {
    let with = [name.as_str().into(), watched.ms.into()];
    // Homes wait for a person, for which those of the last wave speak.
    let waits = tx.row(
        "SELECT 1 FROM campaign_homes WHERE campaign = $1 AND wave = 'named' AND step = 'not-yet' LIMIT 1",
        &[name.as_str().into()],
    )?;
    let waits = i64::from(waits.is_some());
    let rows = tx.rows(
        "SELECT h.gateway, g.state, g.connected_at, g.by_spare, a.counter, u.state, u.received_at, t.status, t.issued_at,
           g.last_heard, CASE WHEN p.dependency = 'high' THEN 1 ELSE 0 END
         FROM campaign_homes h JOIN campaigns c ON c.name = h.campaign JOIN gateways g ON g.id = h.gateway
           LEFT JOIN placements p ON p.id = g.placement
           LEFT JOIN assignments a ON a.gateway = h.gateway
           LEFT JOIN update_states u ON u.gateway = h.gateway
           LEFT JOIN attestation t ON t.gateway = h.gateway
         WHERE h.campaign = $1 AND (h.wants IS NOT NULL
           OR h.step IN ('assigned', 'offline', 'waiting', 'fetching', 'stopped', 'acting', 'unwell', 'silent',
             'taken-back', 'stuck', 'away', 'dark')
           OR (h.step = 'confirmed' AND (h.step_at >= $2 OR (h.wave = c.open_wave AND (h.wave <> 'rest' OR CAST($3 AS BIGINT) = 1))))
           OR (h.step = 'confirmed' AND a.counter > h.word)
           OR (h.step = 'not-yet' AND (h.word IS NOT NULL
             OR (h.wave NOT IN ('lab', 'named') AND p.dependency = 'high'))))",
        &[name.as_str().into(), watched.ms.into(), waits.into()],
    )?;
    let mut all = BTreeMap::new();
    for row in &rows {
        all.insert(row.parse(0)?, read(row)?);
    }
    let rows = tx.rows(
        "SELECT s.gateway, s.sensor, s.interval_s, s.last_stored
         FROM campaign_homes h JOIN sensors s ON s.gateway = h.gateway
         WHERE h.campaign = $1 AND (h.wants = 'on'
           OR h.sensors <> '' AND (h.step IN ('assigned', 'offline', 'waiting', 'fetching', 'stopped', 'acting', 'silent')
             OR (h.step = 'confirmed' AND h.step_at >= $2)))",
        &with,
    )?;
    for row in &rows {
        let gateway: GatewayId = row.parse(0)?;
        if let Some(signs) = all.get_mut(&gateway) {
            signs.sensors.push(Heard {
                sensor: row.parse(1)?,
                interval_s: u64::try_from(row.int(2)?).map_err(|e| row.corrupt(2, e))?,
                last: row.opt_int(3)?.map(Timestamp::synced),
            });
        }
    }
    let rows = tx.rows(
        "SELECT f.gateway, f.raised_at, f.said, f.suspicion
         FROM campaign_homes h JOIN findings f ON f.gateway = h.gateway
         WHERE h.campaign = $1 AND f.cleared_at IS NULL AND f.raised_at >= h.acted_at AND (h.step = 'acting' OR (h.step = 'confirmed' AND h.step_at >= $2))",
        &with,
    )?;
    for row in &rows {
        let gateway: GatewayId = row.parse(0)?;
        if !is_side_effect(named(row, 3)?) {
            continue;
        }
        if let Some(signs) = all.get_mut(&gateway) {
            let since = Timestamp::synced(row.int(1)?);
            signs.suffers.push((since, row.text(2)?.to_owned()));
        }
    }
    // What an outage made the outbox give up is not the update's doing, and what a box no longer holds may be asked for by a server
    // that was put back from a backup.
    let rows = tx.rows(
        "SELECT l.gateway, MIN(l.noted_at)
         FROM campaign_homes h JOIN gaps l ON l.gateway = h.gateway
         WHERE h.campaign = $1 AND l.cause NOT IN ('quota', 'not-held') AND l.noted_at >= h.acted_at
           AND (h.step = 'acting' OR (h.step = 'confirmed' AND h.step_at >= $2))
         GROUP BY l.gateway",
        &with,
    )?;
    for row in &rows {
        let gateway: GatewayId = row.parse(0)?;
        if let Some(signs) = all.get_mut(&gateway) {
            let what = "records of this home are missing, or do not fit together";
            signs
                .suffers
                .push((Timestamp::synced(row.int(1)?), what.to_owned()));
        }
    }
    Ok(all)
}

/// Homes in service that do not have the campaign's release and were heard after `heard`, and how many of them were not after
/// `silent`.
pub fn around(
    tx: &mut dyn Tx,
    name: &Name,
    (heard, silent): (Timestamp, Timestamp),
) -> Result<Around, StoreError> {
    let row = tx.row(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN g.connected_at IS NULL AND g.last_heard < $1 THEN 1 ELSE 0 END), 0)
         FROM gateways g WHERE g.state = 'enrolled' AND (g.connected_at IS NOT NULL OR g.last_heard >= $2)
           AND NOT EXISTS (SELECT 1 FROM campaign_homes h WHERE h.campaign = $3 AND h.gateway = g.id
             AND h.step NOT IN ('not-yet', 'assigned', 'offline', 'waiting', 'fetching', 'stopped', 'left-out'))",
        &[silent.ms.into(), heard.ms.into(), name.as_str().into()],
    )?;
    let Some(row) = row else {
        return Ok(Around::default());
    };
    let count = |column| usize::try_from(row.int(column)?).map_err(|e| row.corrupt(column, e));
    Ok(Around {
        homes: count(0)?,
        dark: count(1)?,
    })
}

fn read(row: &Row) -> Result<Signs, StoreError> {
    let state: State = row.parse(1)?;
    let said = match (row.opt_blob(5)?, row.opt_int(6)?) {
        (Some(bytes), Some(at)) => Some(Said {
            state: wire::decode(bytes, MAX_STATE).map_err(|e| row.corrupt(5, e))?,
            at: Timestamp::synced(at),
        }),
        _ => None,
    };
    let judged = match (row.opt_text(7)?, row.opt_int(8)?) {
        (Some(_), Some(at)) => Some((row.parse(7)?, Timestamp::synced(at))),
        _ => None,
    };
    let word = row.opt_int(4)?.map(u64::try_from).transpose();
    Ok(Signs {
        in_service: state == State::Enrolled,
        connected: row.opt_int(2)?.is_some() && row.int(3)? == 0,
        heard: row.opt_int(9)?.map(Timestamp::synced),
        depended_on: row.int(10)? == 1,
        word: word.map_err(|e| row.corrupt(4, e))?,
        said,
        judged,
        sensors: Vec::new(),
        awake: None,
        suffers: Vec::new(),
    })
}
