//! Shell: `update director|assign|status`: which software gateways shall have, from the data folder.

use std::path::Path;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::keys::{FileKey, public_pem};
use super::{AdminError, BY, Said};
use crate::cli::update::{UpdateAssign, UpdateCommand};
use crate::clock::Clock;
use crate::direct::{Released, Unassignable, assign as word, released, words};
use crate::place::Place;
use crate::release::check;
use crate::release::folder::Folder;
use crate::store::updates::{self, Assigned, Said as Told};
use crate::store::{Store, connections};

const HOUR_MS: i64 = 3_600_000;

/// Runs one `update` command.
pub async fn run(place: &Place, command: &UpdateCommand, clock: &Clock) -> Result<Said, AdminError> {
    let (_, store) = super::open(place)?;
    match command {
        UpdateCommand::Director => director(&place.director()),
        UpdateCommand::Assign(asked) => assign(place, &store, asked, clock.now()).await,
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
    store: &Store,
    asked: &UpdateAssign,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let key = place.director();
    if !key.exists() {
        let why =
            "this server is no director yet: `update director` makes its key, which has to be in the release";
        return Err(AdminError::Asked(why.into()));
    }
    let key = FileKey::read(&key, None)?;
    let folder = asked.release.clone().unwrap_or_else(|| place.release());
    let client = check(&Folder::at(&folder).published()?, now)?;
    let released = released(&client, &asked.path).map_err(|why| refused(&why))?;
    let times = (
        now.plus_ms(i64::from(asked.after) * HOUR_MS),
        now.plus_ms(i64::from(asked.within) * 24 * HOUR_MS),
        0,
    );
    let mut given = Vec::new();
    for gateway in &asked.gateways {
        given.push(one(store, gateway, &released, times, (&key, asked.dry_run, now)).await?);
    }
    let verb = if asked.dry_run { "would be" } else { "is" };
    let mut text = format!(
        "{} for {}: {}\n",
        released.custom.version,
        released.custom.hw.join(", "),
        released.custom.disruption.words()
    );
    for one in &given {
        text.push_str(&format!("  {} {verb} told, by {}\n", one.gateway, one.deadline));
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
        "version": released.custom.version, "path": asked.path, "dry_run": asked.dry_run, "gateways": rows,
    });
    Ok(Said::new(text, &json))
}

async fn one(
    store: &Store,
    gateway: &GatewayId,
    released: &Released,
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
        let keep = made.clone();
        if !store.write(move |tx| updates::assign(tx, &keep)).await? {
            return Err(nobody());
        }
    }
    Ok(made)
}

fn refused(why: &Unassignable) -> AdminError {
    AdminError::Asked(super::told(why))
}

type Row = (Assigned, Option<Told>, bool);

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
                    Ok((one, said, here))
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
    for (one, said, here) in &rows {
        let state = said.as_ref().map(|said| &said.state);
        let words = words(one, state, Some(*here));
        text.push_str(&format!("{}  {words}\n", one.gateway));
        all.push(json!({
            "gateway": one.gateway, "word": one.counter, "path": one.path, "version": one.version, "stands": words,
            "deadline": one.deadline.to_string(), "runs": state.map(|state| state.runs), "connected": here,
            "state": state,
        }));
    }
    Ok(Said::new(text, &json!(all)))
}
