//! Incidents: what a person has to look at and to close.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit};
use crate::audit::Action;

/// What kind of thing happened. Closed: the names are in the database for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A one-time code came again with another key: one of the two boxes is not the one that was meant.
    CodeReused,
    /// So many wrong codes for one claim that it was closed.
    ClaimLocked,
    /// A gateway's evidence shut it off from policies and secrets.
    Quarantined,
    /// A gateway's firmware is another than the accepted one.
    FirmwareChanged,
    /// A gateway came in with its spare key: its TPM does not answer, or somebody has its disk.
    SpareKey,
    /// The server's clock lies before what is on record: no gateway is trusted until it is right.
    ServerClock,
    /// Most of an update's time is over, and its box found no quiet moment.
    UpdateWaits,
    /// An update's time is over.
    UpdateOverdue,
    /// Something had to be told to a person, and no way led out.
    NoticesFailed,
    /// A campaign halted by itself, and takes back what it brought.
    CampaignHalted,
    /// A campaign stopped by itself, and waits for a person.
    CampaignStopped,
    /// A home does not go back from what a campaign brought.
    CampaignStuck,
    /// A campaign is over, and left homes out.
    CampaignLeftOut,
    /// A campaign could tell nobody for a while.
    CampaignTrouble,
}

impl Kind {
    const ALL: [Kind; 14] = [
        Kind::CodeReused,
        Kind::ClaimLocked,
        Kind::Quarantined,
        Kind::FirmwareChanged,
        Kind::SpareKey,
        Kind::ServerClock,
        Kind::UpdateWaits,
        Kind::UpdateOverdue,
        Kind::NoticesFailed,
        Kind::CampaignHalted,
        Kind::CampaignStopped,
        Kind::CampaignStuck,
        Kind::CampaignLeftOut,
        Kind::CampaignTrouble,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::CodeReused => "code-reused",
            Kind::ClaimLocked => "claim-locked",
            Kind::Quarantined => "quarantined",
            Kind::FirmwareChanged => "firmware-changed",
            Kind::SpareKey => "spare-key",
            Kind::ServerClock => "server-clock",
            Kind::UpdateWaits => "update-waits",
            Kind::UpdateOverdue => "update-overdue",
            Kind::NoticesFailed => "notices-failed",
            Kind::CampaignHalted => "campaign-halted",
            Kind::CampaignStopped => "campaign-stopped",
            Kind::CampaignStuck => "campaign-stuck",
            Kind::CampaignLeftOut => "campaign-left-out",
            Kind::CampaignTrouble => "campaign-trouble",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or("not a kind of incident")
    }
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// About which gateway.
    pub gateway: Option<GatewayId>,
    /// What kind.
    pub kind: Kind,
    /// For people: what happened and what to do.
    pub said: String,
    /// When.
    pub at: Timestamp,
}

/// Raises one, unless one of this kind about this gateway is open already; true when it is new.
pub fn raise(
    tx: &mut dyn Tx,
    id: &str,
    gateway: &GatewayId,
    kind: Kind,
    said: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let open = tx.row(
        "SELECT id FROM incidents WHERE gateway = $1 AND kind = $2 AND closed_at IS NULL LIMIT 1",
        &[gateway.as_str().into(), kind.name().into()],
    )?;
    if open.is_some() {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO incidents (id, gateway, kind, said, at) VALUES ($1, $2, $3, $4, $5)",
        &[
            id.into(),
            gateway.as_str().into(),
            kind.name().into(),
            said.into(),
            now.ms.into(),
        ],
    )?;
    Ok(true)
}

/// Raises one about the server itself, unless one of this kind is open already; true when it is new.
pub fn raise_own(
    tx: &mut dyn Tx,
    id: &str,
    kind: Kind,
    said: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let open = tx.row(
        "SELECT id FROM incidents WHERE gateway IS NULL AND kind = $1 AND closed_at IS NULL LIMIT 1",
        &[kind.name().into()],
    )?;
    if open.is_some() {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO incidents (id, kind, said, at) VALUES ($1, $2, $3, $4)",
        &[id.into(), kind.name().into(), said.into(), now.ms.into()],
    )?;
    Ok(true)
}

/// Raises one about no gateway, unless the very same is open already; true when it is new.
pub fn raise_same_once(
    tx: &mut dyn Tx,
    id: &str,
    kind: Kind,
    said: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let open = tx.row(
        "SELECT id FROM incidents WHERE gateway IS NULL AND kind = $1 AND said = $2 AND closed_at IS NULL LIMIT 1",
        &[kind.name().into(), said.into()],
    )?;
    if open.is_some() {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO incidents (id, kind, said, at) VALUES ($1, $2, $3, $4)",
        &[id.into(), kind.name().into(), said.into(), now.ms.into()],
    )?;
    Ok(true)
}

/// Closes one about no gateway that says this: what it asked for was done.
pub fn settle_said(
    tx: &mut dyn Tx,
    (kind, said): (Kind, &str),
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE incidents SET closed_at = $1, closed_by = $2
         WHERE gateway IS NULL AND kind = $3 AND said = $4 AND closed_at IS NULL",
        &[now.ms.into(), by.into(), kind.name().into(), said.into()],
    )?;
    Ok(())
}

/// Closes those of a kind about one gateway: what they asked for was done.
pub fn settle(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    kind: Kind,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE incidents SET closed_at = $1, closed_by = $2 WHERE gateway = $3 AND kind = $4 AND closed_at IS NULL",
        &[now.ms.into(), by.into(), gateway.as_str().into(), kind.name().into()],
    )?;
    Ok(())
}

/// Those not closed, newest first; at most `limit`.
pub fn open(tx: &mut dyn Tx, limit: i64) -> Result<Vec<Incident>, StoreError> {
    let rows = tx.rows(
        "SELECT id, gateway, kind, said, at FROM incidents WHERE closed_at IS NULL ORDER BY at DESC, id LIMIT $1",
        &[limit.into()],
    )?;
    rows.iter().map(incident).collect()
}

/// Those about one gateway that are not closed, newest first. There is at most one of each kind.
pub fn open_of(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<Incident>, StoreError> {
    let rows = tx.rows(
        "SELECT id, gateway, kind, said, at FROM incidents WHERE gateway = $1 AND closed_at IS NULL
         ORDER BY at DESC, id LIMIT 100",
        &[gateway.as_str().into()],
    )?;
    rows.iter().map(incident).collect()
}

/// Closes one; false when it is closed already or does not exist.
pub fn close(tx: &mut dyn Tx, id: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE incidents SET closed_at = $1, closed_by = $2 WHERE id = $3 AND closed_at IS NULL",
        &[now.ms.into(), by.into(), id.into()],
    )?;
    if touched == 1 {
        audit::record(tx, now, by, Action::IncidentClosed, id, "")?;
    }
    Ok(touched == 1)
}

fn incident(row: &Row) -> Result<Incident, StoreError> {
    Ok(Incident {
        id: row.text(0)?.to_owned(),
        gateway: row.opt_text(1)?.is_some().then(|| row.parse(1)).transpose()?,
        kind: row.parse(2)?,
        said: row.text(3)?.to_owned(),
        at: Timestamp::synced(row.int(4)?),
    })
}
