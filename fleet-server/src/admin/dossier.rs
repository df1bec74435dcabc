//! Shell: `update dossier …`: firmware of devices, as tasks for people, from the data folder.

use std::path::{Path, PathBuf};

use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::access::{Sight, UserName};
use crate::cli::dossier::{DossierCommand, DossierEnd, DossierOpen};
use crate::dossier::papers::{Newest, Papers};
use crate::dossier::{Order, TaskId, Who, words};
use crate::place::Place;
use crate::release::dossiers::{self, Carried};
use crate::release::folder::{Folder, Repository};
use crate::release::{self, ReleaseError};
use crate::store::dossiers::{self as kept, Found, Full, How, Opening, Tasks};
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
        DossierCommand::Reopen(asked) => end(store, asked, Order::Reopen, now).await,
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

    /// One to open tasks by: the newest of its line.
    fn newest(&self, path: &str) -> Result<Carried, AdminError> {
        let found = self.find(path)?;
        match dossiers::newer(&self.paths(), &found.dossier) {
            None => Ok(found),
            Some(newer) => Err(AdminError::Asked(format!(
                "newer instructions are published: {newer}. Tasks are opened by those"
            ))),
        }
    }

    fn paths(&self) -> Vec<String> {
        dossiers::paths(&self.client, &self.files)
    }

    fn find(&self, path: &str) -> Result<Carried, ReleaseError> {
        dossiers::find(&self.client, &self.files, path, |name, max| {
            self.repository.target(name, max)
        })
    }
}

/// What a release folder has published, for the server.
pub fn papers(folder: PathBuf) -> Papers {
    let (other, third) = (folder.clone(), folder.clone());
    let find = move |now, path: &str| {
        let published = Published::read(&folder, now).map_err(|why| super::told(&why))?;
        published.newest(path).map_err(|why| super::told(&why))
    };
    let look = move |now, paths: &[String]| {
        let published = Published::read(&other, now).map_err(|why| super::told(&why))?;
        let look = |path: &String| {
            // Of what could not be seen nothing is said.
            let named = dossiers::named(&published.client, &published.files, path).ok()?;
            Some((path.clone(), named))
        };
        Ok(paths.iter().filter_map(look).collect())
    };
    let all = move |now| {
        let published = Published::read(&third, now).map_err(|why| super::told(&why))?;
        let mut newest = Newest::default();
        for path in dossiers::newest(&published.paths()) {
            match published.find(path) {
                Ok(one) => newest.whole.push(one),
                Err(why) => newest.broken.push((path.to_owned(), super::told(&why))),
            }
        }
        Ok(newest)
    };
    Papers::new(find, look, all)
}

async fn list(folder: &Path, store: &Store, is_open: bool, now: Timestamp) -> Result<Said, AdminError> {
    let mut text = String::new();
    let mut named = Vec::new();
    // Without a repository there is nothing to open, and tasks are shown all the same.
    if folder.exists() {
        let published = Published::read(folder, now)?;
        for path in published.paths() {
            let one = match published.find(&path) {
                Ok(found) => found.dossier,
                Err(why) => {
                    let why = super::told(&why);
                    text.push_str(&format!("{path}  cannot be read: {why}\n"));
                    named.push(json!({ "path": path, "broken": why }));
                    continue;
                }
            };
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
    let Tasks { list: tasks, more } = store.read(|tx| kept::tasks(tx, &Sight::Fleet)).await?;
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
    if more > 0 {
        text.push_str(&format!("and {more} more, which are not listed\n"));
    }
    if text.is_empty() {
        text.push_str(
            "No dossier is published, and there are no tasks: homeward-fleet release dossier --help",
        );
    }
    let tasks: Vec<Value> = tasks.iter().map(task_json).collect();
    Ok(Said::new(
        text,
        &json!({ "published": named, "tasks": tasks, "more": more }),
    ))
}

fn task_json(full: &Full) -> Value {
    let task = &full.task;
    json!({
        "task": task.id.0, "dossier": full.kept.path, "sha256": task.dossier, "gateway": task.gateway,
        "device": task.device, "class": full.kept.dossier.class, "state": task.stands.name().0,
        "says": words::stands(task, &full.kept.dossier), "since": task.since.to_string(),
        "shown": task.shown, "brings": full.kept.dossier.after, "home": full.placement, "moved": task.has_moved(),
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
    let carried = Published::read(folder, now)?.newest(&asked.path)?;
    let named = asked.gateway.clone().zip(asked.device.clone());
    let named = named.map(|(gateway, device)| Found {
        gateway,
        device,
        shown: None,
    });
    let (dry_run, take) = (asked.dry_run, carried.clone());
    let how = if dry_run { How::DryRun } else { How::Really };
    let work = move |tx: &mut dyn crate::store::Tx| kept::open_all(tx, &take, (named, how), BY, now);
    let opened = store.write(work).await?;
    let unknown = opened
        .devices
        .iter()
        .find(|(_, opening)| *opening == Some(Opening::Unknown));
    if let Some((one, _)) = unknown {
        let why = format!("there is no gateway {} in service", one.gateway);
        return Err(AdminError::Asked(why));
    }
    let mut text = format!("{}: {}\n", carried.path, carried.dossier.by.words());
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for (one, opening) in &opened.devices {
        let device = json!({ "gateway": one.gateway, "device": one.device });
        match opening {
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
    if opened.devices.is_empty() {
        text.push_str(if carried.dossier.profiles.is_empty() {
            "No box reads such a device: say which, with --gateway and --device\n"
        } else {
            "No box in service reads a device that this is for, or all show the new version already\n"
        });
    }
    for id in &opened.superseded {
        let verb = if dry_run { "would end" } else { "has ended" };
        text.push_str(&format!("  task {id} of older instructions {verb}\n"));
    }
    if dry_run {
        text.push_str("Nothing was changed.");
    }
    let superseded: Vec<i64> = opened.superseded.iter().map(|id| id.0).collect();
    Ok(Said::new(
        text,
        &json!({
            "opened": new, "known": known, "superseded": superseded, "dry_run": dry_run, "devices": opened.devices.len(),
        }),
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
