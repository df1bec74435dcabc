//! Shell: `claim new`.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: writes the SVG that was asked for"
)]

use std::io::IsTerminal;
use std::path::Path;

use homeward_protocol::claim::Claim;
use homeward_protocol::id::GatewayId;
use serde_json::json;
use tokio::sync::watch;

use super::{AdminError, BY, Said};
use crate::ca::{DAY_MS, signer};
use crate::care::Dependency;
use crate::cli::{ClaimCommand, ClaimNew};
use crate::clock::Clock;
use crate::device::invite::{Invitations, InviteError, Wanted};
use crate::device::{Approval, view};
use crate::place::Place;
use crate::store::care::Placement;
use crate::store::{Store, StoreError, care, chips, gateways};

/// Runs `claim new`.
pub async fn run(
    place: &Place,
    command: &ClaimCommand,
    json: bool,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let ClaimCommand::New(new) = command;
    let (config, store) = super::open(place)?;
    // A fixed port is known without a running server.
    let port = match config.listen.enrol.port() {
        0 => place.ports()?.enrol,
        fixed => fixed,
    };
    let invitations = Invitations {
        server: config.door(config.public.enrol.as_ref(), port),
        pin: watch::channel(signer::published(&place.authority())?.pin()?).1,
        lasts_ms: i64::from(new.days) * DAY_MS,
    };
    ensure_known(&store, new.gateway.as_ref()).await?;
    ensure_place(&store, new, clock).await?;
    let approval = if new.no_approval {
        Approval::Automatic
    } else {
        Approval::Operator
    };
    let wanted = Wanted {
        gateway: new.gateway.clone(),
        placement: new.placement.clone(),
        approval,
    };
    let made = invitations.invite(&store, wanted, BY, clock.now()).await;
    let claim = made.map_err(|refused| match refused {
        InviteError::Store(StoreError::Conflict(_)) => {
            AdminError::Asked("there is no such placement; add --team TEAM to make it".into())
        }
        other => AdminError::Found(super::told(&other)),
    })?;
    if let Some(hash) = &new.ek_hash {
        let (chip, gateway, now) = (
            signer::chips(&place.authority())?.chip(&hash.0),
            claim.gateway.clone(),
            clock.now(),
        );
        store
            .write(move |tx| chips::expect(tx, &chip, &gateway, now))
            .await?;
    }
    if let Some(path) = &new.svg {
        write_svg(path, &claim)?;
    }
    let mut text = view::sheet(&claim);
    if !json && std::io::stdout().is_terminal() {
        text.push('\n');
        text.push_str(&view::qr_terminal(&claim).map_err(|e| AdminError::Found(e.to_string()))?);
    }
    text.push_str(
        "\nOn the box:  homeward-agent --data DIR enrol --claim FILE   (or --claim - and paste the line)\n",
    );
    if new.ek_hash.is_some() {
        text.push_str(&format!(
            "With its TPM:  homeward-agent --data DIR enrol --server {} --pin {}\n",
            claim.server, claim.pin
        ));
    }
    let json = json!({ "claim": claim, "line": claim.to_string(), "approval": approval.name() });
    Ok(Said::new(text, &json))
}

/// Refuses a claim for a named gateway that there is not: a mistyped name would become a second gateway.
async fn ensure_known(store: &Store, gateway: Option<&GatewayId>) -> Result<(), AdminError> {
    let Some(id) = gateway.cloned() else {
        return Ok(());
    };
    let wanted = id.clone();
    let known = store.read(move |tx| gateways::get(tx, &wanted)).await?;
    known.map(drop).ok_or_else(|| super::gateways::unknown(&id))
}

/// Makes the team and the placement when a team was named.
async fn ensure_place(store: &Store, new: &ClaimNew, clock: &Clock) -> Result<(), StoreError> {
    let (Some(placement), Some(team)) = (new.placement.clone(), new.team.clone()) else {
        return Ok(());
    };
    let now = clock.now();
    let home = Placement {
        id: placement,
        team,
        dependency: new.dependency.unwrap_or(Dependency::Medium),
    };
    let made = store.write(move |tx| {
        care::ensure_team(tx, &home.team, BY, now)?;
        care::ensure_placement(tx, &home, BY, now)
    });
    made.await
}

fn write_svg(path: &Path, claim: &Claim) -> Result<(), AdminError> {
    let svg = view::qr_svg(claim).map_err(|e| AdminError::Found(e.to_string()))?;
    std::fs::write(path, svg)
        .map_err(|e| AdminError::Asked(format!("could not write {}: {e}", path.display())))
}
