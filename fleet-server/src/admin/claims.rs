//! Shell: `claim new`.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: writes the SVG that was asked for"
)]

use std::io::IsTerminal;

use homeward_protocol::claim::{Claim, Code};
use homeward_protocol::id::{PlacementId, TeamId};

use super::{AdminError, BY, Said};
use crate::access::token::random;
use crate::ca::Authority;
use crate::cli::{ClaimCommand, ClaimNew};
use crate::clock::Clock;
use crate::device::register::{self, Claiming, NewClaim};
use crate::device::{self, Approval, view};
use crate::place::Place;
use crate::store::{StoreError, Tx, care};

/// Runs `claim new`.
pub async fn run(
    place: &Place,
    command: &ClaimCommand,
    json: bool,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let ClaimCommand::New(new) = command;
    let (config, store) = super::open(place)?;
    let authority = Authority::open(&place.authority())?;
    // A fixed port is known without a running server.
    let port = match config.listen.enrol.port() {
        0 => place.ports()?.enrol,
        fixed => fixed,
    };
    let now = clock.now();
    let no_random = |e: crate::access::token::NoRandomness| AdminError::Found(e.to_string());
    let claim = Claim {
        server: config.door(config.public.enrol.as_ref(), port),
        pin: authority.pin()?,
        gateway: device::gateway_id(random().map_err(no_random)?),
        code: Code::from_random(random().map_err(no_random)?),
        expires: now.plus_ms(i64::from(new.days) * 86_400_000).secs(),
    };
    let (kept, asked) = (claim.clone(), Asked::of(new));
    let made = store
        .write(move |tx| {
            asked.place(tx, now)?;
            let new = NewClaim {
                gateway: &kept.gateway,
                code: &kept.code,
                approval: asked.approval,
                expires_at: homeward_protocol::time::Timestamp::synced(kept.expires * 1000),
                placement: asked.placement.as_ref(),
                by: BY,
            };
            register::claim_new(tx, &new, now)
        })
        .await;
    match made {
        Ok(Claiming::New | Claiming::Anew) => {}
        Ok(Claiming::Revoked) => return Err(AdminError::Found("the gateway is revoked".into())),
        Err(StoreError::Conflict(_)) => {
            return Err(AdminError::Asked(
                "there is no such placement; add --team TEAM to make it".into(),
            ));
        }
        Err(other) => return Err(other.into()),
    }
    if let Some(path) = &new.svg {
        let svg = view::qr_svg(&claim).map_err(|e| AdminError::Found(e.to_string()))?;
        std::fs::write(path, svg)
            .map_err(|e| AdminError::Asked(format!("could not write {}: {e}", path.display())))?;
    }
    let mut text = view::sheet(&claim);
    if !json && std::io::stdout().is_terminal() {
        text.push('\n');
        text.push_str(&view::qr_terminal(&claim).map_err(|e| AdminError::Found(e.to_string()))?);
    }
    text.push_str(
        "\nOn the box:  homeward-agent --data DIR enrol --claim FILE   (or --claim - and paste the line)\n",
    );
    let json = serde_json::json!({ "claim": claim, "line": claim.to_string(), "approval": Asked::of(new).approval.name() });
    Ok(Said::new(text, &json))
}

/// Where the box goes and who lets it in.
struct Asked {
    placement: Option<PlacementId>,
    team: Option<TeamId>,
    approval: Approval,
}

impl Asked {
    fn of(new: &ClaimNew) -> Asked {
        Asked {
            placement: new.placement.clone(),
            team: new.team.clone(),
            approval: if new.no_approval {
                Approval::Automatic
            } else {
                Approval::Operator
            },
        }
    }

    /// Makes the team and the placement when a team was named.
    fn place(&self, tx: &mut dyn Tx, now: homeward_protocol::time::Timestamp) -> Result<(), StoreError> {
        if let (Some(placement), Some(team)) = (&self.placement, &self.team) {
            care::ensure_team(tx, team, BY, now)?;
            care::ensure_placement(tx, placement, team, BY, now)?;
        }
        Ok(())
    }
}
