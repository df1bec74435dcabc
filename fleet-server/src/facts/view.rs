//! What is shown of a box's facts: on its page, by the API and on the command line.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::fact::Fact;
use homeward_protocol::posture::facts::Mark;
use homeward_protocol::posture::inventory::Inventory;
use homeward_protocol::posture::inventory::cyclonedx::{About, document};
use homeward_protocol::time::Timestamp;
use serde_json::Value;

use crate::store::facts::{self, Changed};
use crate::store::{StoreError, Tx, gateways};

/// One fact with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As it was told.
    pub fact: Fact,
    /// Since when it is so.
    pub since: Option<Timestamp>,
}

/// When the box told what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// By its clock.
    pub taken_at: Timestamp,
    /// By ours.
    pub received_at: Timestamp,
    /// The fingerprint of the whole.
    pub mark: Mark,
}

/// All that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// When; none when the box has told nothing.
    pub told: Option<Told>,
    /// The facts, in the order of their kinds.
    pub lines: Vec<Line>,
    /// What changed, the newest first.
    pub changes: Vec<Changed>,
}

/// Reads it; `None` when there is no such gateway.
pub fn read(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<View>, StoreError> {
    if gateways::get(tx, gateway)?.is_none() {
        return Ok(None);
    }
    let Some(known) = facts::known(tx, gateway)? else {
        return Ok(Some(View::default()));
    };
    let since = facts::since(tx, gateway)?;
    let line = |fact: &Fact| Line {
        fact: fact.clone(),
        since: since.iter().find(|row| row.fact == fact.id).map(|row| row.since),
    };
    let latest = known.latest();
    Ok(Some(View {
        told: Some(Told {
            taken_at: latest.taken_at,
            received_at: known.received_at,
            mark: latest.mark,
        }),
        lines: known.state().facts().map(line).collect(),
        changes: facts::history(tx, gateway)?,
    }))
}

/// A gateway's list of software as an SBOM.
pub fn sbom(gateway: &GatewayId, (list, name, taken_at): &(Inventory, Mark, Timestamp)) -> Value {
    let about = About {
        name: *name,
        subject: gateway.as_str(),
        taken_at: *taken_at,
        tool: ("homeward-fleet", env!("CARGO_PKG_VERSION")),
    };
    document(list, &about)
}
