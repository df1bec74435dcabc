//! TPMs: those that proved themselves, by the key that they certified, and those that are expected.
//!
//! Of an endorsement key only a keyed hash is here ([`ChipId`]).

use homeward_protocol::attest::Tier;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tpm::{AttestationKey, Public};

use super::{Row, StoreError, Tx};
use crate::enrol::chip::{Chip, ChipId};

/// Keeps what was proved; a proof for the same key replaces the one before.
pub fn put(tx: &mut dyn Tx, chip: &Chip) -> Result<(), StoreError> {
    tx.execute("DELETE FROM chips WHERE point = $1", &[chip.key.point().into()])?;
    tx.execute(
        "INSERT INTO chips (point, gateway, chip, attestation, vouched, proved_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            chip.key.point().into(),
            chip.gateway.as_str().into(),
            chip.chip.0.as_slice().into(),
            chip.attestation.public().as_bytes().into(),
            i64::from(chip.vouched).into(),
            chip.proved_at.ms.into(),
        ],
    )?;
    Ok(())
}

/// What was proved for a key.
pub fn of_key(tx: &mut dyn Tx, key: &PublicKey) -> Result<Option<Chip>, StoreError> {
    let row = tx.row(
        "SELECT gateway, point, chip, attestation, vouched, proved_at FROM chips WHERE point = $1",
        &[key.point().into()],
    )?;
    row.as_ref().map(chip).transpose()
}

/// What was proved for the key of a gateway's newest certificate; `None` when that key is in software.
pub fn of_gateway(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Chip>, StoreError> {
    let row = tx.row(
        "SELECT p.gateway, p.point, p.chip, p.attestation, p.vouched, p.proved_at
         FROM chips p JOIN certificates c ON c.point = p.point AND c.gateway = p.gateway
         WHERE p.gateway = $1 ORDER BY c.issued_at DESC LIMIT 1",
        &[gateway.as_str().into()],
    )?;
    row.as_ref().map(chip).transpose()
}

/// What the server can say of a key of a gateway.
pub fn tier(tx: &mut dyn Tx, gateway: &GatewayId, key: &PublicKey) -> Result<Tier, StoreError> {
    let found = of_key(tx, key)?.filter(|chip| chip.gateway == *gateway);
    Ok(found.map_or(Tier::Software, |chip| {
        if chip.vouched { Tier::TpmChip } else { Tier::TpmKey }
    }))
}

/// Expects a chip as a gateway: it comes in without a code. It is no other gateway's any more.
pub fn expect(tx: &mut dyn Tx, id: &ChipId, gateway: &GatewayId, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM expected_chips WHERE chip = $1",
        &[id.0.as_slice().into()],
    )?;
    tx.execute(
        "INSERT INTO expected_chips (chip, gateway, created_at) VALUES ($1, $2, $3)",
        &[id.0.as_slice().into(), gateway.as_str().into(), now.ms.into()],
    )?;
    Ok(())
}

/// As which gateway a chip comes in without a code: the one that it is expected as, else the one that it enrolled as
/// last.
pub fn expected(tx: &mut dyn Tx, id: &ChipId) -> Result<Option<GatewayId>, StoreError> {
    let row = tx.row(
        "SELECT gateway FROM expected_chips WHERE chip = $1",
        &[id.0.as_slice().into()],
    )?;
    if let Some(row) = row {
        return row.parse(0).map(Some);
    }
    let row = tx.row(
        "SELECT c.gateway FROM chips p JOIN certificates c ON c.point = p.point AND c.gateway = p.gateway
         WHERE p.chip = $1 ORDER BY c.issued_at DESC LIMIT 1",
        &[id.0.as_slice().into()],
    )?;
    row.as_ref().map(|row| row.parse(0)).transpose()
}

fn chip(row: &Row) -> Result<Chip, StoreError> {
    let key = PublicKey::from_point(row.blob(1)?).ok_or_else(|| row.corrupt(1, "not a P-256 key"))?;
    let id = row
        .blob(2)?
        .try_into()
        .map_err(|_| row.corrupt(2, "not 32 bytes"))?;
    let attestation = Public::parse(row.blob(3)?).and_then(AttestationKey::check);
    Ok(Chip {
        gateway: row.parse(0)?,
        key,
        chip: ChipId(id),
        attestation: attestation.map_err(|_| row.corrupt(3, "not an attestation key"))?,
        vouched: row.int(4)? != 0,
        proved_at: Timestamp::synced(row.int(5)?),
    })
}
