//! What is held of gateways' logs of measurements, between their answers.

use homeward_protocol::id::GatewayId;
use homeward_protocol::wire;

use crate::attest::logs::{Logs, MAX_LOGS};
use crate::store::{StoreError, Tx};

/// What is held of one gateway's.
pub fn kept(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Logs>, StoreError> {
    let row = tx.row(
        "SELECT held FROM measured WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.map(|row| wire::decode(row.blob(0)?, MAX_LOGS).map_err(|e| row.corrupt(0, e)))
        .transpose()
}

/// Keeps it, and what the next challenge says of it.
pub fn put(tx: &mut dyn Tx, gateway: &GatewayId, logs: &Logs) -> Result<(), StoreError> {
    let bytes = wire::encode(logs, MAX_LOGS).map_err(|e| StoreError::Unavailable {
        step: "writing what is held of a log",
        why: e.to_string(),
    })?;
    tx.execute(
        "INSERT INTO measured (gateway, held) VALUES ($1, $2)
         ON CONFLICT (gateway) DO UPDATE SET held = excluded.held",
        &[gateway.as_str().into(), bytes.as_slice().into()],
    )?;
    super::hold(tx, gateway, &logs.held())
}
