//! Shell: `update dossier …`: firmware of devices, as tasks for people, from the data folder.

use std::path::{Path, PathBuf};

use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::access::{Sight, UserName};
use crate::cli::dossier::{DossierCommand, DossierEnd, DossierOpen};
use crate::dossier::{Order, TaskId, Who, words};
use crate::place::Place;
use crate::release::dossiers::{self, Carried};
use crate::release::folder::{Folder, Repository};
use crate::release::{self, ReleaseError};
use crate::store::dossiers::{self as kept, Found, Full, Opening};
use crate::store::{Store, users};

/// Runs one command.
pub async fn run(
    place: &Place,
    store: &Store,
    command: &DossierCommand,
    now: Timestamp,
) -> Result<Said, AdminError> {
    match command {
        DossierCommand::List { open, release } => {
            list(&folder(place, release.as_ref()), store, *open, now).await
        }
        DossierCommand::Show { which, release } => {
            show(&folder(place, release.as_ref()), store, which, now).await
        }
        DossierCommand::Open(asked) => open(&folder(place, asked.release.as_ref()), store, asked, now).await,
        DossierCommand::Plan { task, on, person } => order(store, *task, Order::Plan(*on), person, now).await,
        DossierCommand::Confirm { task, shows, person } => {
            order(store, *task, Order::Confirm(shows.clone()), person, now).await
        }
        DossierCommand::Refuse(asked) => end(store, asked, Order::Refuse, now).await,
        DossierCommand::Withdraw(asked) => end(store, asked, Order::Withdraw, now).await,
    }
}

fn folder(place: &Place, given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| place.release())
}

/// The published repository: what is believed of it, and its dossiers.
struct Published {
    client: homeward_protocol::tuf::client::Client,
    files: release::Files,
    repository: Repository,
}

impl Published {
    fn read(folder: &Path, now: Timestamp) -> Result<Published, AdminError> {
        let files = Folder::at(folder).published()?;
        Ok(Published {
            client: release::check(&files, now)?,
            files,
            repository: Repository::of(folder),
        })
    }

    fn find(&self, path: &str) -> Result<Carried, ReleaseError> {
        dossiers::find(&self.client, &self.files, path, |name, max| {
            self.repository.target(name, max)
        })
    }
}

async fn list(folder: &Path, store: &Store, is_open: bool, now: Timestamp) -> Result<Said, AdminError> {
    let mut text = String::new();
    let mut named = Vec::new();
    // Without a repository there is nothing to open, and tasks are shown all the same.
    if folder.exists() {
        let published = Published::read(folder, now)?;
        for path in dossiers::paths(&published.client) {
            let one = published.find(&path)?.dossier;
            let words = format!(
                "{} {} to {}, by {}",
                one.maker,
                one.model,
                one.after,
                one.by.words()
            );
            text.push_str(&format!("{path}  {words}\n"));
            named.push(
                json!({ "path": path, "class": one.class, "after": one.after, "by": one.by, "says": words }),
            );
        }
    }
    let tasks = store.read(|tx| kept::tasks(tx, &Sight::Fleet)).await?;
    let tasks: Vec<Full> = tasks
        .into_iter()
        .filter(|full| !is_open || !full.task.stands.is_over())
        .collect();
    for full in &tasks {
        let (task, dossier) = (&full.task, &full.kept.dossier);
        text.push_str(&format!(
            "{:>5}  {} {}  {} {}: {}\n",
            task.id,
            task.gateway,
            task.device,
            dossier.model,
            dossier.after,
            words::stands(task, dossier)
        ));
    }
    if text.is_empty() {
        text.push_str(
            "No dossier is published, and there are no tasks: homeward-fleet release dossier --help",
        );
    }
    let tasks: Vec<Value> = tasks.iter().map(task_json).collect();
    Ok(Said::new(text, &json!({ "published": named, "tasks": tasks })))
}

fn task_json(full: &Full) -> Value {
    let task = &full.task;
    json!({
        "task": task.id.0, "dossier": full.kept.path, "sha256": task.dossier, "gateway": task.gateway,
        "device": task.device, "class": full.kept.dossier.class, "state": task.stands.name().0,
        "says": words::stands(task, &full.kept.dossier), "since": task.since.to_string(),
        "shown": task.shown, "brings": full.kept.dossier.after, "home": full.placement,
    })
}

async fn show(folder: &Path, store: &Store, which: &str, now: Timestamp) -> Result<Said, AdminError> {
    let Ok(id) = which.parse::<TaskId>() else {
        let found = Published::read(folder, now)?.find(which)?;
        let text = format!("{}\n\n{}", found.path, words::page(&found.dossier));
        return Ok(Said::new(
            text,
            &json!({ "path": found.path, "sha256": found.sha256, "dossier": found.dossier }),
        ));
    };
    let full = store.read(move |tx| kept::task(tx, id, &Sight::Fleet)).await?;
    let full = full.ok_or_else(|| nobody(id))?;
    Ok(Said::new(
        told(&full),
        &json!({ "task": task_json(&full), "dossier": full.kept.dossier }),
    ))
}

fn told(full: &Full) -> String {
    let task = &full.task;
    let shown = task.shown.as_ref();
    let shown = shown.map_or(String::new(), |shown| format!(", which showed {shown}"));
    format!(
        "Task {}: {} at {}{shown}\n{}\n\n{}",
        task.id,
        task.device,
        task.gateway,
        words::stands(task, &full.kept.dossier),
        words::page(&full.kept.dossier)
    )
}

fn nobody(id: TaskId) -> AdminError {
    AdminError::Asked(format!("there is no task {id}: `update dossier list` shows them"))
}

async fn open(folder: &Path, store: &Store, asked: &DossierOpen, now: Timestamp) -> Result<Said, AdminError> {
    let carried = Published::read(folder, now)?.find(&asked.path)?;
    let by_hand = asked.gateway.clone().zip(asked.device.clone());
    let by_hand = by_hand.map(|(gateway, device)| Found {
        gateway,
        device,
        shown: None,
    });
    let (dry_run, dossier) = (asked.dry_run, carried.dossier.clone());
    let found = match by_hand {
        Some(one) => vec![one],
        None => store.read(move |tx| kept::devices(tx, &dossier)).await?,
    };
    if found.is_empty() {
        let why = if carried.dossier.profiles.is_empty() {
            "no box reads such a device: say which, with --gateway and --device"
        } else {
            "no box in service reads a device that this is for, or all show the new version already"
        };
        return Ok(Said::new(
            why,
            &json!({ "opened": [], "known": [], "dry_run": dry_run }),
        ));
    }
    let (devices, take) = (found.clone(), carried.clone());
    let opened = if dry_run {
        Vec::new()
    } else {
        let work = move |tx: &mut dyn crate::store::Tx| {
            kept::keep(tx, (&take.sha256, &take.path), &take.bytes, now)?;
            let one = kept::Kept {
                sha256: take.sha256.clone(),
                path: take.path.clone(),
                dossier: take.dossier.clone(),
                taken_at: now,
            };
            devices
                .iter()
                .map(|found| kept::open(tx, &one, found, BY, now))
                .collect::<Result<Vec<_>, _>>()
        };
        store.write(work).await?
    };
    if let Some((one, _)) = found
        .iter()
        .zip(&opened)
        .find(|(_, opening)| **opening == Opening::Unknown)
    {
        let why = format!("there is no gateway {} in service", one.gateway);
        return Err(AdminError::Asked(why));
    }
    let mut text = format!("{}: {}\n", carried.path, carried.dossier.by.words());
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for (at, one) in found.iter().enumerate() {
        let device = json!({ "gateway": one.gateway, "device": one.device });
        match opened.get(at) {
            None => text.push_str(&format!("  {} {}: would be opened\n", one.gateway, one.device)),
            Some(Opening::Opened(id)) => {
                text.push_str(&format!("  {} {}: task {id}\n", one.gateway, one.device));
                new.push(json!({ "task": id.0, "gateway": one.gateway, "device": one.device }));
            }
            Some(_) => {
                text.push_str(&format!("  {} {}: has one already\n", one.gateway, one.device));
                known.push(device);
            }
        }
    }
    if dry_run {
        text.push_str("Nothing was changed.");
    }
    Ok(Said::new(
        text,
        &json!({ "opened": new, "known": known, "dry_run": dry_run, "devices": found.len() }),
    ))
}

async fn end(
    store: &Store,
    asked: &DossierEnd,
    order_of: fn(crate::dossier::Reason) -> Order,
    now: Timestamp,
) -> Result<Said, AdminError> {
    order(
        store,
        asked.task,
        order_of(asked.reason.clone()),
        &asked.person,
        now,
    )
    .await
}

async fn order(
    store: &Store,
    id: TaskId,
    what: Order,
    person: &UserName,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let name = person.clone();
    if store.read(move |tx| users::kept(tx, &name)).await?.is_none() {
        let why = format!("{person} is no person of the console: homeward-fleet --data DIR user add --help");
        return Err(AdminError::Asked(why));
    }
    // A name that is typed in is nobody's own session.
    let who = Who {
        person: person.clone(),
        signed_in: false,
    };
    let work =
        move |tx: &mut dyn crate::store::Tx| kept::order(tx, (id, &Sight::Fleet), &what, (&who, BY), now);
    match store.write(work).await? {
        None => Err(nobody(id)),
        Some(Err(why)) => Err(AdminError::Found(why.to_string())),
        Some(Ok(full)) => Ok(Said::new(
            format!("Task {id}: {}", words::stands(&full.task, &full.kept.dossier)),
            &task_json(&full),
        )),
    }
}
