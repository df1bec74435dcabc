//! Shell: `posture show|history|sbom|find|ask`.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::fact::What;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, Said};
use crate::cli::PostureCommand;
use crate::clock::Clock;
use crate::facts::view::{self, Line, View};
use crate::store::Store;
use crate::store::facts::{self, Changed};

/// Most boxes that a question to the fleet gives.
const MOST: i64 = 100_000;

/// Runs one `posture` command.
pub async fn run(store: &Store, command: &PostureCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        PostureCommand::Show { id } => show(store, id).await,
        PostureCommand::History { id } => history(store, id).await,
        PostureCommand::Sbom { id } => sbom(store, id).await,
        PostureCommand::Ask { id } => ask(store, id, clock.now()).await,
        PostureCommand::Find {
            fact,
            subject,
            value,
            package,
        } => match (fact, package) {
            (_, Some(package)) => who_has(store, package).await,
            (Some(fact), None) => find(store, *fact, (subject, value)).await,
            (None, None) => Err(AdminError::Asked("give --fact or --package".into())),
        },
    }
}

fn unknown(id: &GatewayId) -> AdminError {
    AdminError::Found(format!("there is no gateway {id}"))
}

async fn read(store: &Store, id: &GatewayId) -> Result<View, AdminError> {
    let wanted = id.clone();
    let found = store.read(move |tx| view::read(tx, &wanted)).await?;
    found.ok_or_else(|| unknown(id))
}

async fn show(store: &Store, id: &GatewayId) -> Result<Said, AdminError> {
    let found = read(store, id).await?;
    let Some(told) = found.told else {
        let text = format!("{id} has told no facts yet. Ask it: homeward-fleet posture ask {id}");
        return Ok(Said::new(text, &json!({ "facts": [] })));
    };
    let mut text = format!(
        "{id}, as it told at {}, received {}\n",
        told.taken_at, told.received_at
    );
    for line in &found.lines {
        text.push_str(&in_words(line));
    }
    let rows: Vec<Value> = found.lines.iter().map(as_json).collect();
    let json = json!({
        "gateway": id.as_str(), "taken_at_ms": told.taken_at.ms, "received_at_ms": told.received_at.ms,
        "mark": told.mark.to_string(), "facts": rows,
    });
    Ok(Said::new(text, &json))
}

fn in_words(line: &Line) -> String {
    let fact = &line.fact;
    let since = line.since.map(|at| format!(", since {at}")).unwrap_or_default();
    let subject = fact
        .id
        .subject()
        .map(|subject| format!(" {subject}"))
        .unwrap_or_default();
    let name = format!("{}{subject}", fact.id.what().said());
    format!("  {name}: {}  ({}{since})\n", fact.value, fact.source.as_str())
}

fn as_json(line: &Line) -> Value {
    json!({
        "id": line.fact.id.to_string(),
        "what": line.fact.id.what().said(),
        "value": line.fact.value.to_string(),
        "raw": line.fact.value,
        "source": line.fact.source.as_str(),
        "taken_at_ms": line.fact.taken_at.ms,
        "since_ms": line.since.map(|at| at.ms),
    })
}

async fn history(store: &Store, id: &GatewayId) -> Result<Said, AdminError> {
    let found = read(store, id).await?;
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
    let line = |c: &Changed| format!("{}  {}: {} -> {}\n", c.at, c.fact, word(&c.was), word(&c.now));
    let text: String = found.changes.iter().map(line).collect();
    let row = |c: &Changed| json!({ "id": c.fact.to_string(), "at_ms": c.at.ms, "was": c.was, "now": c.now });
    let rows: Vec<Value> = found.changes.iter().map(row).collect();
    let text = if text.is_empty() {
        format!("Nothing of {id} has changed")
    } else {
        text
    };
    Ok(Said::new(text, &rows))
}

async fn sbom(store: &Store, id: &GatewayId) -> Result<Said, AdminError> {
    let wanted = id.clone();
    let found = store.read(move |tx| facts::list(tx, &wanted)).await?;
    let Some(found) = found else {
        let why =
            format!("no list of software of {id} is here yet. Ask the box: homeward-fleet posture ask {id}");
        return Err(AdminError::Found(why));
    };
    let document = view::sbom(id, &found);
    Ok(Said::new(format!("{document:#}"), &document))
}

async fn ask(store: &Store, id: &GatewayId, now: Timestamp) -> Result<Said, AdminError> {
    let wanted = id.clone();
    let asked = store.write(move |tx| facts::ask(tx, &wanted, now));
    if !asked.await? {
        return Err(unknown(id));
    }
    let text =
        format!("{id} is asked for all its facts; when it is connected they are here within a minute or two");
    Ok(Said::new(text, &json!({ "asked": id.as_str() })))
}

async fn find(store: &Store, what: What, (subject, value): (&str, &str)) -> Result<Said, AdminError> {
    let wanted = (subject.to_owned(), value.to_owned());
    let found = store
        .read(move |tx| facts::find(tx, what, (&wanted.0, &wanted.1), MOST))
        .await?;
    let mut text = String::new();
    let mut rows = Vec::new();
    for one in &found {
        text.push_str(&format!(
            "{:<24} {}: {} (since {})\n",
            one.gateway, one.fact, one.value, one.since
        ));
        rows.push(json!({
            "gateway": one.gateway.as_str(), "id": one.fact.to_string(), "value": one.value, "since_ms": one.since.ms,
        }));
    }
    let text = if found.is_empty() {
        "No box has it".to_owned()
    } else {
        text
    };
    Ok(Said::new(text, &rows))
}

async fn who_has(store: &Store, package: &str) -> Result<Said, AdminError> {
    let wanted = package.to_owned();
    let found = store.read(move |tx| facts::who_has(tx, &wanted, MOST)).await?;
    let mut text = String::new();
    let mut rows = Vec::new();
    for one in &found {
        text.push_str(&format!("{:<24} {} {}\n", one.gateway, one.name, one.version));
        rows.push(json!({
            "gateway": one.gateway.as_str(), "kind": one.kind, "name": one.name, "version": one.version,
        }));
    }
    let text = if found.is_empty() {
        "No box has it".to_owned()
    } else {
        text
    };
    Ok(Said::new(text, &rows))
}
