//! What [`crate::calendar`] is made of: when the devices of a home gave readings, what its policy says of times, and what its
//! update waits for. Hours only; no value is read.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::rules::Maintenance;
use homeward_protocol::time::Timestamp;

use super::policies::{self, states};
use super::{StoreError, Tx, console, updates};
use crate::calendar::{BACK_DAYS, Heard, MOST_READINGS, Record, Span, week};
use crate::direct;

/// The next seven days of one home.
pub struct Calendar {
    /// The home, by its pseudonym.
    pub placement: Option<String>,
    /// The policy that the box says it has, and its rule, where that has one.
    pub policy: Option<(u64, Option<Maintenance>)>,
    /// What the record says.
    pub record: Record,
    /// Each stretch.
    pub spans: Vec<Span>,
    /// How its update stands, in one sentence; none where nothing is assigned.
    pub update: Option<String>,
}

impl Calendar {
    /// The rule that its times come from.
    pub fn rule(&self) -> Option<&Maintenance> {
        self.policy.as_ref()?.1.as_ref()
    }
}

/// Of one gateway; nothing where there is none.
pub fn of(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Option<Calendar>, StoreError> {
    let Some(gateway) = console::gateway(tx, id)? else {
        return Ok(None);
    };
    let heard = heard(tx, id, now)?;
    let record = Record::new(&heard, gateway.enrolled_at, now);
    let held = states::get(tx, id)?.and_then(|said| said.state.policy);
    let policy = match held {
        Some(mark) => {
            policies::get(tx, mark.version.0)?.map(|loaded| (mark.version.0, loaded.entry.policy.maintenance))
        }
        None => None,
    };
    let rule = policy.as_ref().and_then(|(_, rule)| rule.as_ref());
    let spans = week(rule, &record, now);
    let said = updates::said(tx, id)?;
    let connected = Some(gateway.connected_at.is_some());
    let update = updates::get(tx, id)?
        .map(|assigned| direct::words(&assigned, said.as_ref().map(|said| &said.state), connected));
    Ok(Some(Calendar {
        placement: gateway.placement.map(|home| home.to_string()),
        policy,
        record,
        spans,
        update,
    }))
}

/// When each device gave readings, kind by kind: the newest of each, so that a device that is read each second costs no more
/// than one that is used each day.
fn heard(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Vec<Heard>, StoreError> {
    let kinds = tx.rows(
        "SELECT sensor, kind FROM latest WHERE gateway = $1 ORDER BY sensor, kind",
        &[id.as_str().into()],
    )?;
    let first = now.plus_ms(-BACK_DAYS * 86_400_000);
    let mut all = Vec::new();
    for kind in &kinds {
        let rows = tx.rows(
            "SELECT taken_at FROM readings WHERE gateway = $1 AND sensor = $2 AND kind = $3 AND taken_at >= $4
             ORDER BY taken_at DESC LIMIT $5",
            &[
                id.as_str().into(),
                kind.text(0)?.into(),
                kind.text(1)?.into(),
                first.ms.into(),
                MOST_READINGS.into(),
            ],
        )?;
        let at = rows.iter().map(|row| Ok(Timestamp::synced(row.int(0)?)));
        all.push(Heard {
            sensor: kind.parse(0)?,
            at: at.collect::<Result<_, StoreError>>()?,
        });
    }
    Ok(all)
}
