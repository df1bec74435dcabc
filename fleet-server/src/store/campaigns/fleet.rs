//! Who could take part in a campaign, and what is known of each.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::wire;

use crate::campaign::draft::Home;
use crate::campaign::plan::Ring;
use crate::store::updates::MAX_STATE;
use crate::store::{Row, StoreError, Tx};
use homeward_protocol::release::state::UpdateState;

/// Every gateway in service, by id. Its ring is its group: `lab`, `own`, else a patient's.
pub fn homes(tx: &mut dyn Tx) -> Result<Vec<Home>, StoreError> {
    let rows = tx.rows(
        "SELECT g.id, p.dependency, u.state,
           (SELECT MIN(m.group_id) FROM group_members m WHERE m.gateway = g.id AND m.group_id IN ('lab', 'own'))
         FROM gateways g LEFT JOIN placements p ON p.id = g.placement LEFT JOIN update_states u ON u.gateway = g.id
         WHERE g.state = 'enrolled' ORDER BY g.id",
        &[],
    )?;
    let hardware = hardware(tx)?;
    rows.iter().map(|row| home(row, &hardware)).collect()
}

fn home(row: &Row, hardware: &BTreeMap<String, String>) -> Result<Home, StoreError> {
    let state = row
        .opt_blob(2)?
        .map(|bytes| wire::decode::<UpdateState>(bytes, MAX_STATE))
        .transpose();
    let state = state.map_err(|e| row.corrupt(2, e))?;
    let gateway: GatewayId = row.parse(0)?;
    Ok(Home {
        hardware: hardware.get(gateway.as_str()).cloned(),
        gateway,
        ring: match row.opt_text(3)? {
            Some("lab") => Ring::Lab,
            Some("own") => Ring::Own,
            _ => Ring::Patient,
        },
        dependency: row.opt_text(1)?.map(|_| row.parse(1)).transpose()?,
        runs: state.as_ref().map(|state| state.runs),
        build: state.as_ref().and_then(|state| state.build).map(|build| build.0),
        installers: state.map(|state| state.installers).unwrap_or_default(),
    })
}

/// What boxes are, by the package that holds their package manager; only of those that told their list of software.
fn hardware(tx: &mut dyn Tx) -> Result<BTreeMap<String, String>, StoreError> {
    let rows = tx.rows(
        "SELECT s.gateway, p.arch FROM fact_states s JOIN packages p ON p.inventory = s.inventory
         WHERE p.name = 'dpkg'",
        &[],
    )?;
    let mut all = BTreeMap::new();
    for row in &rows {
        let name = match row.text(1)? {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        all.insert(row.text(0)?.to_owned(), name.to_owned());
    }
    Ok(all)
}
