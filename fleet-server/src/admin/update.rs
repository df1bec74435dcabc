//! Shell: `update director|assign|force|status`: which software gateways shall have, from the data folder.

use std::path::Path;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::notes::Reader;
use homeward_protocol::release::pushable::Pushable;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::keys::{FileKey, public_pem};
use super::{AdminError, BY, Said, terms};
use crate::cli::update::{UpdateAssign, UpdateCommand};
use crate::clock::Clock;
use crate::config::Config;
use crate::direct::deadline::{self, Case, Terms};
use crate::direct::shelf::Shelf;
use crate::direct::{Unassignable, assign as word, released, words};
use crate::place::Place;
use crate::release::check;
use crate::release::folder::Folder;
use crate::store::updates::{self, Assigned, Said as Told};
use crate::store::{Store, connections, deadlines};

const HOUR_MS: i64 = 3_600_000;

/// Runs one `update` command.
pub async fn run(place: &Place, command: &UpdateCommand, clock: &Clock) -> Result<Said, AdminError> {
    let (config, store) = super::open(place)?;
    match command {
        UpdateCommand::Director => director(&place.director()),
        UpdateCommand::Assign(asked) => assign(place, (&config, &store), asked, clock.now()).await,
        UpdateCommand::Releases { release } => {
            let folder = release.clone().unwrap_or_else(|| place.release());
            super::releases::run(&folder, &store, clock.now()).await
        }
        UpdateCommand::Dossier(command) => super::dossier::run(place, &store, command, clock.now()).await,
        UpdateCommand::Force(command) => super::force::run(place, &store, command, clock.now()).await,
        UpdateCommand::Status { gateway } => status(&store, gateway.clone()).await,
    }
}

fn director(file: &Path) -> Result<Said, AdminError> {
    let key = if file.exists() {
        FileKey::read(file, None)?
    } else {
        FileKey::make(file, None)?
    };
    let pem = public_pem(&key.public()?);
    Ok(Said::new(pem.clone(), &json!({ "director": pem })))
}

async fn assign(
    place: &Place,
    (config, store): (&Config, &Store),
    asked: &UpdateAssign,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let terms = terms::read((config, store), &asked.terms).await?;
    let key = place.director();
    if !key.exists() {
        let why =
            "this server is no director yet: `update director` makes its key, which has to be in the release";
        return Err(AdminError::Asked(why.into()));
    }
    let key = FileKey::read(&key, None)?;
    let folder = asked.release.clone().unwrap_or_else(|| place.release());
    let client = check(&Folder::at(&folder).published()?, now)?;
    let note = Shelf::of(&client);
    let note = note
        .find(&asked.path)
        .and_then(|item| item.note(Reader::Staff, &[]));
    let note = note.map(|(_, note)| note.clone());
    let released = released(&client, &asked.path).map_err(|why| refused(&why))?;
    let times = (
        now.plus_ms(i64::from(asked.after) * HOUR_MS),
        now.plus_ms(i64::from(asked.within) * 24 * HOUR_MS),
        0,
    );
    if let Some(rule) = terms.as_ref().and_then(|terms| terms.rule) {
        terms::fit((place, store), rule, &asked.gateways, (now, times.1)).await?;
    }
    let mut given = Vec::new();
    for gateway in &asked.gateways {
        given.push(
            one(
                store,
                gateway,
                (&released, terms.as_ref()),
                times,
                (&key, asked.dry_run, now),
            )
            .await?,
        );
    }
    let verb = if asked.dry_run { "would be" } else { "is" };
    let mut text = format!(
        "{} for {}: {}\n",
        released.custom().version,
        released.custom().hw.join(", "),
        released.custom().disruption.words()
    );
    if released.custom().installer.is_forward_only() {
        text.push_str(
            "Forward only: no box takes it back; what goes wrong stays, until a newer release mends it\n",
        );
    }
    if let Some(note) = note {
        text.push_str(&format!("{note}\n"));
    }
    for one in &given {
        text.push_str(&format!("  {} {verb} told, by {}\n", one.gateway, one.deadline));
    }
    if let Some(terms) = &terms {
        text.push_str(&terms::words(terms));
    }
    if asked.dry_run {
        text.push_str("Nothing was changed.");
    } else {
        text.push_str("How they stand: homeward-fleet --data DIR update status");
    }
    let rows: Vec<Value> = given
        .iter()
        .map(|one| json!({ "gateway": one.gateway, "word": one.counter }))
        .collect();
    let json = json!({
        "version": released.custom().version, "path": asked.path, "dry_run": asked.dry_run, "gateways": rows,
    });
    Ok(Said::new(text, &json))
}

async fn one(
    store: &Store,
    gateway: &GatewayId,
    (released, terms): (&Pushable, Option<&Terms>),
    times: (Timestamp, Timestamp, u16),
    (key, dry_run, now): (&FileKey, bool, Timestamp),
) -> Result<Assigned, AdminError> {
    let whose = gateway.clone();
    let (counter, known) = store
        .read(move |tx| {
            let known = crate::store::gateways::get(tx, &whose)?.is_some();
            Ok((updates::next(tx, &whose)?, known))
        })
        .await?;
    let nobody = || AdminError::Asked(format!("there is no gateway {gateway} in service"));
    if !known {
        return Err(nobody());
    }
    let made = word(gateway, released, times, counter, (key, BY, now)).map_err(|why| refused(&why))?;
    if !dry_run {
        let (keep, terms) = (made.clone(), terms.cloned());
        let given = store.write(move |tx| {
            let given = updates::assign(tx, &keep)?;
            if let Some(terms) = terms.filter(|_| given) {
                deadlines::put(tx, &keep, &terms)?;
            }
            Ok(given)
        });
        if !given.await? {
            return Err(nobody());
        }
    }
    Ok(made)
}

fn refused(why: &Unassignable) -> AdminError {
    AdminError::Asked(super::told(why))
}

type Row = (Assigned, Option<Told>, bool, Option<Case>);

async fn status(store: &Store, gateway: Option<GatewayId>) -> Result<Said, AdminError> {
    let rows: Vec<Row> = store
        .read(move |tx| {
            let all = match &gateway {
                Some(gateway) => updates::get(tx, gateway)?.into_iter().collect(),
                None => updates::assigned(tx)?,
            };
            all.into_iter()
                .map(|one| {
                    let said = updates::said(tx, &one.gateway)?;
                    let newest = connections::history(tx, &one.gateway, 1)?;
                    let here = newest.first().is_some_and(|newest| newest.ended.is_none());
                    let case = deadlines::get(tx, &one.gateway, one.counter)?;
                    Ok((one, said, here, case))
                })
                .collect()
        })
        .await?;
    if rows.is_empty() {
        let text = "Nobody was told to take any software: homeward-fleet --data DIR update assign --help";
        return Ok(Said::new(text, &json!([])));
    }
    let mut text = String::new();
    let mut all = Vec::new();
    for (one, said, here, case) in &rows {
        let state = said.as_ref().map(|said| &said.state);
        let words = words(one, state, Some(*here));
        text.push_str(&format!("{}  {words}\n", one.gateway));
        let due = case.as_ref().map(deadline::words);
        if let Some(due) = &due {
            text.push_str(&format!("    {due}\n"));
        }
        let beside = state.iter().flat_map(|state| &state.beside);
        text.extend(
            beside.map(|what| format!("    not only Homeward disturbs this home: {}\n", what.as_str())),
        );
        all.push(json!({
            "gateway": one.gateway, "word": one.counter, "path": one.path, "version": one.version, "stands": words,
            "deadline": one.deadline.to_string(), "runs": state.map(|state| state.runs), "connected": here,
            "state": state, "due": due,
            "reason": case.as_ref().map(|case| case.terms.reason()),
            "person": case.as_ref().map(|case| case.terms.person()),
            "asked_at": moment(case.as_ref().and_then(|case| case.done.asked)),
            "passed_at": moment(case.as_ref().and_then(|case| case.done.passed)),
            "compensates": case.as_ref().filter(|case| case.done.compensates).and_then(|case| case.terms.rule)
                .map(|rule| rule.compensate),
        }));
    }
    Ok(Said::new(text, &json!(all)))
}

fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
