//! Shell: `gateway list|show|windows|approve|revoke|isolate|release`.

use std::fmt::Write as _;
use std::time::Duration;

use homeward_protocol::attest::Tier;
use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::api::calendar::WindowsShape;
use crate::calendar::{best, now_words};
use crate::cli::GatewayCommand;
use crate::clock::Clock;
use crate::device::State;
use crate::device::register::{self, Approving, Revoking, Shown};
use crate::store::calendar;
use crate::store::gateways::{self, Gateway};
use crate::store::{Store, connections};

/// The shortest stretch that is called the best, for an update that takes some minutes.
const SHORTEST: Duration = Duration::from_mins(30);
/// Gateways in one listing; more are fetched page by page.
const PAGE: i64 = 500;

/// Runs one `gateway` command.
pub async fn run(store: &Store, command: &GatewayCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        GatewayCommand::List { state } => list(store, state.as_deref(), clock.now()).await,
        GatewayCommand::Show { id } => show(store, id, clock.now()).await,
        GatewayCommand::Windows { id } => windows(store, id, clock.now()).await,
        GatewayCommand::Approve { id, fingerprint } => approve(store, id, fingerprint.clone(), clock).await,
        GatewayCommand::Revoke { id, reason, dry_run } => revoke(store, id, reason, *dry_run, clock).await,
        GatewayCommand::Isolate { id, reason } => {
            super::policy::isolate(store, id, Ordered::Isolate, reason, clock).await
        }
        GatewayCommand::Quiet {
            id,
            hours: Some(hours),
            reason,
        } => {
            let why = reason.as_deref().unwrap_or_default();
            super::quiet::order(store, id, Some(*hours), why, clock).await
        }
        GatewayCommand::Quiet { id, hours: None, .. } => super::quiet::show(store, id, clock.now()).await,
        GatewayCommand::Unquiet { id, reason } => super::quiet::order(store, id, None, reason, clock).await,
        GatewayCommand::Support(command) => super::support::run(store, command, clock).await,
        GatewayCommand::Release { id, reason } => {
            super::policy::isolate(store, id, Ordered::Lift, reason, clock).await
        }
    }
}

async fn windows(store: &Store, id: &GatewayId, now: Timestamp) -> Result<Said, AdminError> {
    let which = id.clone();
    let whole = store.read(move |tx| calendar::of(tx, &which, now)).await?;
    let whole = whole.ok_or_else(|| unknown(id))?;
    let mut text = format!("{}\n", now_words(whole.rule(), now));
    if let Some(update) = &whole.update {
        let _ = writeln!(text, "Its update: {update}.");
    }
    match best(&whole.spans, SHORTEST) {
        Some(span) => {
            let _ = writeln!(text, "Suits best: {} to {}.", span.from, span.until);
        }
        None => text.push_str("No time of the next seven days is known to suit.\n"),
    }
    for span in &whole.spans {
        let _ = write!(
            text,
            "\n{} to {}  {:<16}  {}",
            span.from,
            span.until,
            span.suits.name().1,
            span.why(&whole.record)
        );
    }
    Ok(Said::new(text, &json!(WindowsShape::new(&whole, now))))
}

async fn list(store: &Store, state: Option<&str>, now: Timestamp) -> Result<Said, AdminError> {
    let state: Option<State> = state.map(super::asked).transpose()?;
    let mut all: Vec<Gateway> = Vec::new();
    loop {
        let after = all.last().map(|g| g.id.clone());
        let page = store
            .read(move |tx| gateways::list(tx, state, after.as_ref(), PAGE))
            .await?;
        let last = page.is_empty();
        all.extend(page);
        if last {
            break;
        }
    }
    if all.is_empty() {
        let text = "No gateways. Make a claim for the first one: homeward-fleet --data DIR claim new";
        return Ok(Said::new(text, &json!([])));
    }
    let mut text = format!(
        "{:<16} {:<9} {:<20} {:<22} LAST HEARD\n",
        "GATEWAY", "STATE", "PLACEMENT", "CONNECTED"
    );
    for gateway in &all {
        let placement = gateway.placement.as_ref().map_or("-", |p| p.as_str());
        let connected = gateway
            .connected_at
            .map_or_else(|| "no".to_owned(), |at| format!("since {at}"));
        let heard = gateway
            .last_heard
            .map_or_else(|| "never".to_owned(), |at| ago(at, now));
        text.push_str(&format!(
            "{:<16} {:<9} {placement:<20} {connected:<22} {heard}\n",
            gateway.id.as_str(),
            gateway.state.name(),
        ));
    }
    let rows: Vec<Value> = all.iter().map(row).collect();
    Ok(Said::new(text, &rows))
}

async fn show(store: &Store, id: &GatewayId, now: Timestamp) -> Result<Said, AdminError> {
    let wanted = id.clone();
    let found = store
        .read(move |tx| {
            let shown = register::show(tx, &wanted)?;
            let past = connections::history(tx, &wanted, 5)?;
            Ok(shown.map(|shown| (shown, past)))
        })
        .await?;
    let Some((shown, past)) = found else {
        return Err(unknown(id));
    };
    let mut text = about(&shown, now);
    for connection in &past {
        let ended = connection.ended.as_ref();
        let until = ended.map_or_else(|| "now".to_owned(), |(at, why)| format!("{at} ({why})"));
        text.push_str(&format!(
            "Connection   {} to {until} from {}\n",
            connection.connected_at, connection.address
        ));
    }
    let mut json = row(&shown.gateway);
    json["fingerprint"] = json!(
        shown
            .claim
            .as_ref()
            .and_then(|c| c.key.as_ref())
            .map(PublicKey::fingerprint)
    );
    json["tier"] = match &shown.chip {
        Some(chip) if chip.vouched => json!(Tier::TpmChip),
        Some(_) => json!(Tier::TpmKey),
        None => json!(Tier::Software),
    };
    json["certificates"] = shown
        .certificates
        .iter()
        .map(|c| {
            json!({
                "serial": c.serial.to_string(),
                "not_before_ms": c.not_before.ms,
                "not_after_ms": c.not_after.ms,
                "revoked": c.revoked_at.is_some(),
            })
        })
        .collect();
    json["incidents"] = shown
        .incidents
        .iter()
        .map(|i| json!({ "kind": i.kind.name(), "said": i.said, "at_ms": i.at.ms }))
        .collect();
    Ok(Said::new(text, &json))
}

/// Where the gateway's key is, as far as it is proved.
fn key_words(shown: &Shown) -> &'static str {
    match &shown.chip {
        Some(chip) if chip.vouched => "in a TPM of a known maker (tpm-chip)",
        Some(_) => "in a TPM that no known maker vouches for (tpm-key)",
        None => "in software, as far as is known (software)",
    }
}

fn about(shown: &Shown, now: Timestamp) -> String {
    let gateway = &shown.gateway;
    let mut text = format!(
        "Gateway      {}\nState        {}\n",
        gateway.id,
        gateway.state.name()
    );
    if let Some(why) = &gateway.revoked_why {
        text.push_str(&format!("Revoked      {why}\n"));
    }
    let placement = gateway.placement.as_ref().map_or("none", |p| p.as_str());
    text.push_str(&format!("Placement    {placement}\n"));
    let heard = gateway
        .last_heard
        .map_or_else(|| "never".to_owned(), |at| ago(at, now));
    text.push_str(&format!(
        "Last heard   {heard}\nKey          {}\n",
        key_words(shown)
    ));
    if let Some(claim) = &shown.claim {
        if claim.needs_approval()
            && let Some(key) = &claim.key
        {
            text.push_str(&format!(
                "Waiting      for approval; compare with the box: {}\n             homeward-fleet --data DIR \
                 gateway approve {} --fingerprint {}\n",
                key.fingerprint(),
                gateway.id,
                key.fingerprint(),
            ));
        } else if claim.used_at.is_none() {
            text.push_str(&format!(
                "Claim        not used yet, until {}\n",
                claim.expires_at
            ));
        }
    }
    for certificate in shown.certificates.iter().take(3) {
        let revoked = certificate.revoked_at.map_or("", |_| ", revoked");
        text.push_str(&format!(
            "Certificate  until {}{revoked}\n",
            certificate.not_after
        ));
    }
    for incident in &shown.incidents {
        text.push_str(&format!("! {}         {}\n", incident.at, incident.said));
    }
    text
}

async fn approve(
    store: &Store,
    id: &GatewayId,
    fingerprint: Option<String>,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let (wanted, now) = (id.clone(), clock.now());
    let outcome = store
        .write(move |tx| register::approve(tx, &wanted, fingerprint.as_deref(), BY, now))
        .await?;
    let text = match outcome {
        Approving::Approved => format!("{id} is approved; it gets its certificate when it asks next"),
        Approving::Already => format!("{id} was approved before"),
        Approving::NoClaim => return Err(unknown(id)),
        Approving::NotUsed => {
            return Err(AdminError::Found(format!(
                "{id} has not used its claim yet: run `enrol` on the box first"
            )));
        }
        Approving::OtherKey(print) => {
            return Err(AdminError::Found(format!(
                "the box that waits as {id} has the fingerprint {print}, not the one given. Nothing was approved: \
                 somebody else may hold the claim"
            )));
        }
        Approving::Revoked => return Err(AdminError::Found(format!("{id} is revoked, which is for good"))),
    };
    Ok(Said::new(text, &json!({ "id": id, "approved": true })))
}

async fn revoke(
    store: &Store,
    id: &GatewayId,
    reason: &str,
    dry_run: bool,
    clock: &Clock,
) -> Result<Said, AdminError> {
    if dry_run {
        let wanted = id.clone();
        let found = store.read(move |tx| gateways::get(tx, &wanted)).await?;
        let gateway = found.ok_or_else(|| unknown(id))?;
        let placement = gateway.placement.as_ref().map_or("no placement", |p| p.as_str());
        let connected = if gateway.connected_at.is_some() {
            "its connection would end"
        } else {
            "it is not connected"
        };
        let text =
            format!("{id} ({placement}) would be shut out for good; {connected}. Nothing was changed.");
        return Ok(Said::new(text, &json!({ "id": id, "would_revoke": true })));
    }
    let (wanted, why, now) = (id.clone(), reason.to_owned(), clock.now());
    match store
        .write(move |tx| register::revoke(tx, &wanted, &why, BY, now))
        .await?
    {
        Revoking::Revoked(certificates) => {
            let text = format!(
                "{id} is shut out; {certificates} certificates are revoked. A running server ends its connection \
                 within a second. To let the home in again, make a new claim."
            );
            Ok(Said::new(
                text,
                &json!({ "id": id, "revoked": true, "certificates": certificates }),
            ))
        }
        Revoking::Already => Ok(Said::new(
            format!("{id} was revoked before"),
            &json!({ "id": id, "revoked": true }),
        )),
        Revoking::Unknown => Err(unknown(id)),
    }
}

/// A gateway was named that there is not.
pub(super) fn unknown(id: &GatewayId) -> AdminError {
    AdminError::Asked(format!("there is no gateway {id}; `gateway list` shows all"))
}

fn row(gateway: &Gateway) -> Value {
    json!({
        "id": gateway.id,
        "state": gateway.state.name(),
        "placement": gateway.placement,
        "connected": gateway.connected_at.is_some(),
        "connected_at_ms": gateway.connected_at.map(|at| at.ms),
        "last_heard_ms": gateway.last_heard.map(|at| at.ms),
        "enrolled_at_ms": gateway.enrolled_at.map(|at| at.ms),
        "revoked_why": gateway.revoked_why,
    })
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.age(now).as_secs();
    let span = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{span} ago")
}
