//! What gateways notice about their sensors: suspicions with their history, and which Bluetooth device each gateway
//! takes for its own. A report is the whole state, so what it no longer lists is over.

use std::collections::BTreeSet;

use homeward_protocol::bond::{BleAddress, Bond};
use homeward_protocol::id::{GatewayId, SensorId};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::watch::{DeviceFacts, Finding, Suspicion, WatchReport};

use super::care::named;
use super::records::{Origin, word};
use super::{Row, StoreError, Tx};
use crate::care::{Doubt, Doubted};

/// Newest suspicions that a page shows: those that stand, and some that are over.
const NEWEST: i64 = 100;

/// Takes the place of the report before, unless that one is newer (another outbox with an older state).
pub(super) fn put(tx: &mut dyn Tx, at: &Origin<'_>, report: &WatchReport) -> Result<(), StoreError> {
    let newer = tx.execute(
        "INSERT INTO watches (gateway, epoch, taken_at, received_at, more) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (gateway) DO UPDATE SET epoch = excluded.epoch, taken_at = excluded.taken_at,
             received_at = excluded.received_at, more = excluded.more
         WHERE watches.epoch = excluded.epoch OR watches.taken_at <= excluded.taken_at",
        &[
            at.gateway.into(),
            at.epoch.into(),
            at.no_later(report.taken_at).ms.into(),
            at.now.ms.into(),
            i64::from(report.more).into(),
        ],
    )?;
    if newer == 0 {
        return Ok(());
    }
    put_findings(tx, at, report)?;
    put_bonds(tx, at, &report.devices)
}

type Key = (String, String, String);

fn key(finding: &Finding) -> Key {
    (
        word(&finding.suspicion),
        finding.sensor.as_ref().map_or("", SensorId::as_str).to_owned(),
        finding.address.map(|a| a.to_string()).unwrap_or_default(),
    )
}

fn put_findings(tx: &mut dyn Tx, at: &Origin<'_>, report: &WatchReport) -> Result<(), StoreError> {
    let rows = tx.rows(
        "SELECT suspicion, sensor, address FROM findings WHERE gateway = $1 AND cleared_at IS NULL",
        &[at.gateway.into()],
    )?;
    let open = |row: &Row| {
        Ok((
            row.text(0)?.to_owned(),
            row.text(1)?.to_owned(),
            row.text(2)?.to_owned(),
        ))
    };
    let open: BTreeSet<Key> = rows.iter().map(open).collect::<Result<_, StoreError>>()?;
    let stand: BTreeSet<Key> = report.findings.iter().map(key).collect();
    // What a full report leaves out may stand still.
    for over in open.difference(&stand).filter(|_| report.more == 0) {
        clear(tx, at, over)?;
    }
    for finding in &report.findings {
        if !open.contains(&key(finding)) {
            raise(tx, at, finding)?;
        }
    }
    Ok(())
}

fn raise(tx: &mut dyn Tx, at: &Origin<'_>, finding: &Finding) -> Result<(), StoreError> {
    let (suspicion, sensor, address) = key(finding);
    let trusted = finding.since.trust == ClockTrust::Synced && finding.since.ms <= at.now.ms;
    let since = if trusted { finding.since.ms } else { at.now.ms };
    tx.execute(
        "INSERT INTO findings (gateway, suspicion, sensor, address, since, said, raised_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway, suspicion, sensor, address, raised_at) DO UPDATE SET cleared_at = NULL",
        &[
            at.gateway.into(),
            (&suspicion).into(),
            (&sensor).into(),
            (&address).into(),
            since.into(),
            finding.said.as_str().into(),
            at.now.ms.into(),
        ],
    )?;
    Ok(())
}

fn clear(tx: &mut dyn Tx, at: &Origin<'_>, (suspicion, sensor, address): &Key) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE findings SET cleared_at = $1
         WHERE gateway = $2 AND suspicion = $3 AND sensor = $4 AND address = $5 AND cleared_at IS NULL",
        &[
            at.now.ms.into(),
            at.gateway.into(),
            suspicion.into(),
            sensor.into(),
            address.into(),
        ],
    )?;
    Ok(())
}

fn put_bonds(tx: &mut dyn Tx, at: &Origin<'_>, devices: &[DeviceFacts]) -> Result<(), StoreError> {
    tx.execute("DELETE FROM bonds WHERE gateway = $1", &[at.gateway.into()])?;
    for device in devices {
        let class = device.bond.map(|bond| word(&bond.class));
        tx.execute(
            "INSERT INTO bonds (gateway, sensor, address, class, key_size, associated_at, firmware, battery)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            &[
                at.gateway.into(),
                device.sensor.as_str().into(),
                (&device.address.to_string()).into(),
                class.as_deref().into(),
                device.bond.map(|bond| i64::from(bond.key_size)).into(),
                device.associated_at.ms.into(),
                device.firmware.as_ref().map(ShortText::as_str).into(),
                device.battery.map(i64::from).into(),
            ],
        )?;
    }
    Ok(())
}

/// A suspicion as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What looks wrong.
    pub suspicion: Suspicion,
    /// With which sensor.
    pub sensor: Option<SensorId>,
    /// Which other device it is about.
    pub address: Option<BleAddress>,
    /// Since when.
    pub since: Timestamp,
    /// In the gateway's words.
    pub said: String,
    /// When the server heard that it is over.
    pub cleared_at: Option<Timestamp>,
}

/// The suspicions about one gateway's sensors: those that stand first, then the newest of those that are over.
pub fn findings(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT suspicion, sensor, address, since, said, cleared_at FROM findings WHERE gateway = $1
         ORDER BY CASE WHEN cleared_at IS NULL THEN 0 ELSE 1 END, raised_at DESC, suspicion, sensor, address LIMIT $2",
        &[id.as_str().into(), NEWEST.into()],
    )?;
    let shown = |row: &Row| {
        Ok(Shown {
            suspicion: named(row, 0)?,
            sensor: optional(row, 1)?,
            address: optional(row, 2)?,
            since: Timestamp::synced(row.int(3)?),
            said: row.text(4)?.to_owned(),
            cleared_at: row.opt_int(5)?.map(Timestamp::synced),
        })
    };
    rows.iter().map(shown).collect()
}

/// The Bluetooth devices of one gateway, by sensor.
pub fn bonds(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<DeviceFacts>, StoreError> {
    let rows = tx.rows(
        "SELECT sensor, address, class, key_size, associated_at, firmware, battery FROM bonds
         WHERE gateway = $1 ORDER BY sensor",
        &[id.as_str().into()],
    )?;
    rows.iter().map(device).collect()
}

fn device(row: &Row) -> Result<DeviceFacts, StoreError> {
    let small = |column: usize| -> Result<Option<u8>, StoreError> {
        let number = row.opt_int(column)?.map(u8::try_from).transpose();
        number.map_err(|e| row.corrupt(column, e))
    };
    let bond = match (row.opt_text(2)?, small(3)?) {
        (Some(_), Some(key_size)) => Some(Bond {
            class: named(row, 2)?,
            key_size,
        }),
        _ => None,
    };
    Ok(DeviceFacts {
        sensor: row.parse(0)?,
        address: row.parse(1)?,
        bond,
        associated_at: Timestamp::synced(row.int(4)?),
        firmware: row.opt_text(5)?.map(ShortText::cut),
        battery: small(6)?,
    })
}

/// What stands about the sensors of all gateways, or of the one that is named, with the gateway it is about.
///
/// Beside what gateways report, this finds a device that one gateway takes for its own while another one in service
/// does so too, or hears it near: a cuff that was carried over, or a clone. It is found with the second of the two
/// reports. A box that takes the place of another shares its devices until the old one is taken out of service.
pub(super) fn doubts(tx: &mut dyn Tx, gateway: &str) -> Result<Vec<(String, Doubt)>, StoreError> {
    let stand = tx.rows(
        "SELECT gateway, sensor, since, suspicion FROM findings
         WHERE cleared_at IS NULL AND ($1 = '' OR gateway = $1) ORDER BY gateway, since DESC, suspicion, sensor",
        &[gateway.into()],
    )?;
    let shared = tx.rows(
        "SELECT b.gateway, b.sensor, MAX(o.since) FROM bonds b
         JOIN (SELECT gateway, address, associated_at AS since FROM bonds
               UNION ALL SELECT gateway, address, since FROM findings WHERE cleared_at IS NULL AND address <> '') o
           ON o.address = b.address AND o.gateway <> b.gateway
         JOIN gateways mine ON mine.id = b.gateway AND mine.state = 'enrolled'
         JOIN gateways other ON other.id = o.gateway AND other.state = 'enrolled'
         WHERE ($1 = '' OR b.gateway = $1) GROUP BY b.gateway, b.sensor ORDER BY b.gateway, b.sensor",
        &[gateway.into()],
    )?;
    let stand = stand.iter().map(|row| doubt(row, Doubted::By(named(row, 3)?)));
    let shared = shared.iter().map(|row| doubt(row, Doubted::Shared));
    stand.chain(shared).collect()
}

fn doubt(row: &Row, what: Doubted) -> Result<(String, Doubt), StoreError> {
    let doubt = Doubt {
        what,
        sensor: optional(row, 1)?,
        since: Timestamp::synced(row.int(2)?),
    };
    Ok((row.text(0)?.to_owned(), doubt))
}

/// A text that is empty when there is none.
fn optional<T>(row: &Row, column: usize) -> Result<Option<T>, StoreError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let there = !row.text(column)?.is_empty();
    there.then(|| row.parse(column)).transpose()
}
