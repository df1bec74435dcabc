//! Shell: `advisory …`: advisories are taken in from files, and what they made of tasks is shown.
#![expect(clippy::disallowed_methods, reason = "shell: reads files")]

pub mod register;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::read::to_hex;
use ring::digest;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::access::Sight;
use crate::advisory::csaf::{self, Advisory, MAX_DOCUMENT};
use crate::advisory::matching::concern;
use crate::advisory::{Order, WeighId, Weighing, Who, words};
use crate::cli::advisory::{AdvisoryCommand, AdvisoryTake, WeighEnd};
use crate::dossier::Reason;
use crate::store::advisories::{self, Listed, Taken};
use crate::store::weighings::{self, Opened};
use crate::store::{Store, Tx, implants, users};

/// Most files of one call.
const MOST_FILES: usize = 20_000;
/// How deep a folder is read.
const DEEP: usize = 8;

/// Runs one command.
pub async fn run(store: &Store, command: &AdvisoryCommand, now: Timestamp) -> Result<Said, AdminError> {
    match command {
        AdvisoryCommand::Take(asked) => take(store, asked, now).await,
        AdvisoryCommand::List => list(store).await,
        AdvisoryCommand::Show { id } => show(store, id).await,
        AdvisoryCommand::Remove { sha256, reason } => remove(store, sha256, reason, now).await,
        AdvisoryCommand::Tasks { open } => tasks(store, *open, now).await,
        AdvisoryCommand::Task { task } => one(store, *task, now).await,
        AdvisoryCommand::Withdraw(asked) => order(store, asked, Order::Withdraw, now).await,
        AdvisoryCommand::Reopen(asked) => order(store, asked, Order::Reopen, now).await,
    }
}

/// The files that were named, and those in the folders that were.
fn files(from: &[PathBuf]) -> Result<Vec<PathBuf>, AdminError> {
    let mut all = Vec::new();
    for path in from {
        if path.is_dir() {
            walk(path, 0, &mut all)?;
        } else {
            all.push(path.clone());
        }
    }
    if all.len() > MOST_FILES {
        let why = format!(
            "{} documents, where one call takes at most {MOST_FILES}",
            all.len()
        );
        return Err(AdminError::Asked(why));
    }
    Ok(all)
}

fn walk(folder: &Path, depth: usize, all: &mut Vec<PathBuf>) -> Result<(), AdminError> {
    let failed = |e: std::io::Error| AdminError::Asked(format!("could not read {}: {e}", folder.display()));
    let mut paths = Vec::new();
    for found in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(found.map_err(failed)?);
    }
    paths.sort_by_key(std::fs::DirEntry::path);
    for found in paths {
        let (path, kind) = (found.path(), found.file_type().map_err(failed)?);
        // Links are not followed: a folder could be its own.
        if kind.is_dir() && depth < DEEP {
            walk(&path, depth + 1, all)?;
        } else if kind.is_file() && path.extension().is_some_and(|is| is == "json") {
            all.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<(Vec<u8>, Advisory), String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|e| e.to_string())?;
    let advisory = csaf::read(&bytes).map_err(|e| e.to_string())?;
    Ok((bytes, advisory))
}

/// What came of all files.
#[derive(Default)]
struct Sum {
    text: String,
    documents: Vec<Value>,
    tasks: usize,
    new: usize,
    refused: usize,
}

async fn take(store: &Store, asked: &AdvisoryTake, now: Timestamp) -> Result<Said, AdminError> {
    let files = files(&asked.from)?;
    if files.is_empty() {
        return Err(AdminError::Asked(
            "there is no document (*.json) in what was named".into(),
        ));
    }
    let mut sum = Sum::default();
    for path in &files {
        match read(path) {
            Err(why) => {
                sum.refused += 1;
                sum.text
                    .push_str(&format!("{}: not taken: {why}\n", path.display()));
                sum.documents
                    .push(json!({ "file": path, "taken": "refused", "why": why }));
            }
            Ok((bytes, advisory)) => {
                let sha256 = to_hex(digest::digest(&digest::SHA256, &bytes).as_ref());
                if asked.dry_run {
                    would(store, path, &advisory, &mut sum).await?;
                } else {
                    take_one(store, (path, bytes, sha256), advisory, now, &mut sum).await?;
                }
            }
        }
    }
    let (documents, all) = (sum.new, files.len());
    let last = if asked.dry_run {
        format!(
            "{all} documents were looked at: {} devices. Nothing was changed.",
            sum.tasks
        )
    } else {
        format!(
            "{documents} of {all} documents are new; {} tasks were opened for clinicians.",
            sum.tasks
        )
    };
    let text = format!("{}{last}", sum.text);
    let json = json!({
        "documents": sum.documents, "new": documents, "refused": sum.refused, "tasks": sum.tasks, "dry_run": asked.dry_run,
    });
    let said = Said::new(text, &json);
    Ok(if sum.refused > 0 { said.failed() } else { said })
}

/// Says for which devices tasks would be opened, as far as nobody weighed the same already.
async fn would(store: &Store, path: &Path, advisory: &Advisory, sum: &mut Sum) -> Result<(), AdminError> {
    let entries = store.read(implants::there).await?;
    let about: Vec<_> = entries
        .iter()
        .filter(|entry| concern(advisory, &entry.implant).is_some())
        .collect();
    sum.tasks += about.len();
    for entry in &about {
        sum.text.push_str(&format!(
            "{} revision {}: about {} of {}, {}\n",
            advisory.id,
            advisory.version,
            entry.implant.device,
            entry.implant.placement,
            words::device(&entry.implant)
        ));
    }
    let about: Vec<Value> = about.into_iter().map(register::entry_json).collect();
    sum.documents
        .push(json!({ "file": path, "id": advisory.id, "about": about }));
    Ok(())
}

async fn take_one(
    store: &Store,
    (path, bytes, sha256): (&Path, Vec<u8>, String),
    advisory: Advisory,
    now: Timestamp,
    sum: &mut Sum,
) -> Result<(), AdminError> {
    let (name, version) = (advisory.id.clone(), advisory.version.to_string());
    let work = move |tx: &mut dyn Tx| advisories::take(tx, (&sha256, &bytes), &advisory, BY, now);
    let (taken, why) = match store.write(work).await? {
        Taken::Known => ("known", None),
        Taken::Older(here) => ("older", Some(format!("revision {here} of it is here"))),
        Taken::OtherForm(here) => (
            "refused",
            Some(format!(
                "revision {here} of it is here, which is numbered otherwise: nobody can say which is later. `advisory remove` takes \
                 that out"
            )),
        ),
        Taken::Differs(here) => (
            "refused",
            Some(format!(
                "revision {version} of it is here with other bytes (sha256 {here}): one of the two is not what its publisher \
                 gave out"
            )),
        ),
        Taken::New(new) => {
            sum.new += 1;
            sum.tasks += new.new.len();
            sum.text
                .push_str(&format!("{name} revision {version}: taken in\n"));
            let tasks = opened(&mut sum.text, &new);
            sum.documents
                .push(json!({ "file": path, "id": name, "taken": "new", "tasks": tasks }));
            return Ok(());
        }
    };
    if taken == "refused" {
        sum.refused += 1;
    }
    if let Some(why) = &why {
        sum.text
            .push_str(&format!("{}: {name} not taken: {why}\n", path.display()));
    }
    sum.documents
        .push(json!({ "file": path, "id": name, "taken": taken, "why": why }));
    Ok(())
}

/// What was opened, line by line, and as JSON.
fn opened(text: &mut String, new: &Opened) -> Value {
    for (id, entry) in &new.new {
        text.push_str(&format!(
            "  task {id}: a clinician weighs it for {} of {}, {}\n",
            entry.implant.device,
            entry.implant.placement,
            words::device(&entry.implant)
        ));
    }
    for id in &new.superseded {
        text.push_str(&format!("  task {id} of an earlier revision has ended\n"));
    }
    let tasks = new.new.iter().map(|(id, entry)| {
        json!({ "task": id.0, "home": entry.implant.placement, "device": entry.implant.device })
    });
    Value::Array(tasks.collect())
}

async fn list(store: &Store) -> Result<Said, AdminError> {
    let (all, more) = store.read(advisories::list).await?;
    let mut text = String::new();
    for advisory in &all {
        text.push_str(&format!(
            "{:<20} {:<6} {}  {}\n",
            advisory.id, advisory.version, advisory.released, advisory.title
        ));
    }
    if all.is_empty() {
        text.push_str("No advisory was taken in: homeward-fleet --data DIR advisory take --help\n");
    }
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    let list: Vec<Value> = all.iter().map(listed_json).collect();
    Ok(Said::new(text, &json!({ "advisories": list, "more": more })))
}

fn listed_json(one: &Listed) -> Value {
    json!({
        "id": one.id,
        "publisher": one.publisher,
        "namespace": one.namespace,
        "version": one.version,
        "released": one.released.to_string(),
        "title": one.title,
        "tlp": one.tlp,
        "sha256": one.sha256,
        "taken_at": one.taken_at.to_string(),
        "taken_by": one.taken_by,
    })
}

async fn show(store: &Store, id: &str) -> Result<Said, AdminError> {
    let which = id.to_owned();
    let found = store.read(move |tx| Ok((advisories::called(tx, &which)?, implants::there(tx)?)));
    let (found, entries) = found.await?;
    if found.is_empty() {
        let why = format!("there is no advisory {id}: `advisory list` shows them");
        return Err(AdminError::Asked(why));
    }
    let (mut text, mut list) = (String::new(), Vec::new());
    for kept in &found {
        text.push_str(&words::page(&kept.advisory));
        text.push_str(&format!("  sha256     {}\n", kept.sha256));
        let mut about = Vec::new();
        for entry in &entries {
            let Some(concern) = concern(&kept.advisory, &entry.implant) else {
                continue;
            };
            text.push_str(&format!(
                "\nAbout {} of {}, {}\n{}",
                entry.implant.device,
                entry.implant.placement,
                words::device(&entry.implant),
                words::concern(&concern)
            ));
            about.push(register::entry_json(entry));
        }
        if about.is_empty() {
            text.push_str("No device of the register is named by it.\n");
        }
        let advisory = json!({
            "id": kept.advisory.id, "namespace": kept.advisory.namespace, "version": kept.advisory.version.to_string(),
            "title": kept.advisory.title, "sha256": kept.sha256,
        });
        list.push(json!({ "advisory": advisory, "about": about }));
    }
    Ok(Said::new(text, &Value::Array(list)))
}

async fn remove(store: &Store, sha256: &str, reason: &Reason, now: Timestamp) -> Result<Said, AdminError> {
    let (which, why) = (sha256.to_owned(), reason.clone());
    let work = move |tx: &mut dyn Tx| advisories::remove(tx, &which, &why, BY, now);
    let Some(new) = store.write(work).await? else {
        let why = format!("there is no advisory with the SHA-256 {sha256}: `advisory show ID` prints it");
        return Err(AdminError::Asked(why));
    };
    let mut text = "It is out; what it asked for has ended.\n".to_owned();
    let tasks = opened(&mut text, &new);
    Ok(Said::new(text, &json!({ "sha256": sha256, "tasks": tasks })))
}

async fn tasks(store: &Store, open: bool, now: Timestamp) -> Result<Said, AdminError> {
    let all = store.read(|tx| weighings::list(tx, &Sight::Fleet)).await?;
    let mut text = String::new();
    let shown: Vec<_> = all
        .list
        .iter()
        .filter(|one| !open || !one.weighing.stands.is_over())
        .collect();
    for one in &shown {
        let task = &one.weighing;
        text.push_str(&format!(
            "{:>4}  {:<14} {:<20} {} of {}: {}\n",
            task.id.0,
            task.stands.name().1,
            one.tracking,
            task.entry.implant.device,
            task.entry.implant.placement,
            words::stands(&task.stands, now)
        ));
    }
    if shown.is_empty() {
        text.push_str("Nothing is to be weighed\n");
    }
    if all.more > 0 {
        text.push_str(&format!("and {} more\n", all.more));
    }
    let list: Vec<Value> = shown
        .iter()
        .map(|one| task_json(&one.weighing, &one.tracking, now))
        .collect();
    Ok(Said::new(text, &json!({ "tasks": list, "more": all.more })))
}

fn task_json(task: &Weighing, tracking: &str, now: Timestamp) -> Value {
    json!({
        "task": task.id.0,
        "advisory": tracking,
        "sha256": task.advisory,
        "device": register::entry_json(&task.entry),
        "state": task.stands.name().0,
        "says": words::stands(&task.stands, now),
        "since": task.since.to_string(),
        "to_weigh": task.stands.is_to_weigh(now),
    })
}

async fn one(store: &Store, id: WeighId, now: Timestamp) -> Result<Said, AdminError> {
    let full = store
        .read(move |tx| weighings::full(tx, id, &Sight::Fleet))
        .await?;
    let full = full.ok_or_else(|| nobody(id))?;
    let (task, advisory) = (&full.weighing, &full.kept.advisory);
    let mut text = format!(
        "Task {id}: {} of {}, {}\n{}\n\n{}\n",
        task.entry.implant.device,
        task.entry.implant.placement,
        words::device(&task.entry.implant),
        words::stands(&task.stands, now),
        words::page(advisory)
    );
    match concern(advisory, &task.entry.implant) {
        Some(concern) => text.push_str(&words::concern(&concern)),
        None => text.push_str("By what the device shows now, this revision is not about it any more.\n"),
    }
    let newest = full.newest.as_ref();
    if let Some(line) = newest.and_then(|newest| words::later(task, &newest.advisory)) {
        text.push_str(&line);
        text.push('\n');
    }
    if let Some((by, decision)) = &task.decided {
        text.push_str(&words::decision(by, decision));
    }
    for before in &full.before {
        text.push_str(&format!(
            "Before: task {}: {}\n",
            before.id,
            words::stands(&before.stands, now)
        ));
    }
    Ok(Said::new(text, &task_json(task, &advisory.id, now)))
}

fn nobody(id: WeighId) -> AdminError {
    AdminError::Asked(format!("there is no task {id}: `advisory tasks` shows them"))
}

async fn order(
    store: &Store,
    asked: &WeighEnd,
    order_of: fn(Reason) -> Order,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let (id, name) = (asked.task, asked.person.clone());
    if store.read(move |tx| users::kept(tx, &name)).await?.is_none() {
        let why = format!(
            "{} is no person of the console: homeward-fleet --data DIR user add --help",
            asked.person
        );
        return Err(AdminError::Asked(why));
    }
    // A name that is typed in is nobody's own session.
    let who = Who {
        person: asked.person.clone(),
        signed_in: None,
    };
    let what = order_of(asked.reason.clone());
    let work = move |tx: &mut dyn Tx| weighings::order(tx, (id, &Sight::Fleet, None), &what, (&who, BY), now);
    match store.write(work).await? {
        None => Err(nobody(id)),
        Some(Err(why)) => Err(AdminError::Found(why.to_string())),
        Some(Ok(task)) => Ok(Said::new(
            format!("Task {id}: {}", words::stands(&task.stands, now)),
            &json!({ "task": id.0, "state": task.stands.name().0 }),
        )),
    }
}
