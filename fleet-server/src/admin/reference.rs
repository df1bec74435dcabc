//! Shell: `reference load|import|list|remove`: what evidence is held against.
#![expect(clippy::disallowed_methods, reason = "shell: reads a root")]

use std::fs;
use std::io::Read as _;
use std::path::Path;

use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::role::Role;
use serde_json::{Value, json};

use super::{AdminError, BY, Said, evidence, keys};
use crate::cli::{ReferenceCommand, ReferenceImport};
use crate::clock::Clock;
use crate::release::folder::Repository;
use crate::release::reference::{Carried, Change, carried, plan};
use crate::release::{self, Files};
use crate::store::attest::releases::{self, Verified};
use crate::store::{Store, StoreError, Tx};

/// Runs one command that needs the data folder.
pub async fn run(store: &Store, command: &ReferenceCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        ReferenceCommand::Make(asked) => evidence::make(asked),
        ReferenceCommand::Show { file, signer } => evidence::show(file, signer),
        ReferenceCommand::Load { file, signer } => load(store, (file, signer), clock).await,
        ReferenceCommand::Import(asked) => import(store, asked, clock).await,
        ReferenceCommand::List => list(store).await,
        ReferenceCommand::Remove { name } => {
            let (wanted, now) = (name.clone(), clock.now());
            let gone = store
                .write(move |tx| releases::remove(tx, &wanted, "by hand", BY, now))
                .await?;
            if !gone {
                return Err(AdminError::Found(format!("no release {name} is loaded")));
            }
            Ok(Said::new(
                format!("Release {name} is not loaded any more"),
                &json!({ "removed": name }),
            ))
        }
    }
}

async fn load(store: &Store, (file, signer): (&Path, &Path), clock: &Clock) -> Result<Said, AdminError> {
    let signer = keys::public_key(signer)?;
    let (release, bytes) = evidence::signed_release(file, &signer)?;
    let (name, count, now) = (release.name.clone(), release.values.len(), clock.now());
    let fits = store
        .write(move |tx| {
            let verified = Verified {
                release: &release,
                bytes: &bytes,
                signer: &signer,
                targets: None,
            };
            releases::load(tx, verified, BY, now)
        })
        .await?;
    if !fits {
        return Err(too_many());
    }
    let text = format!(
        "Evidence is held against release {} now: {count} values",
        name.as_str()
    );
    Ok(Said::new(
        text,
        &json!({ "release": name.as_str(), "values": count }),
    ))
}

fn too_many() -> AdminError {
    AdminError::Found(format!(
        "no more than {} releases are loaded at a time: remove one first",
        releases::MOST
    ))
}

/// Takes over what the targets of a repository carry, once they are believed.
async fn import(store: &Store, asked: &ReferenceImport, clock: &Clock) -> Result<Said, AdminError> {
    let (began, loaded) = store
        .read(|tx| Ok((releases::metadata(tx)?, releases::all(tx)?)))
        .await?;
    let now = clock.now();
    let repository = Repository::of(&asked.folder);
    let kept = begin(&began, asked.root.as_deref())?;
    let (client, verified) = release::refresh(kept, |name, max| repository.metadata(name, max), now)
        .map_err(|error| refused(&error))?;
    let targets = client.trusted().targets();
    let targets = targets.ok_or_else(|| AdminError::Found("no targets are believed".into()))?;
    let found =
        carried(targets, |name, max| repository.target(name, max)).map_err(|error| refused(&error))?;
    let changes = plan(&loaded, &found);
    let (root, until) = (client.trusted().root().head.version, targets.head.expires);
    let mut text = format!(
        "Believed: root {root}, targets {} (good until {until})\n",
        found.targets
    );
    for (name, change) in &changes {
        text.push_str(&format!("  {name:<16} {}\n", change.words()));
    }
    if changes.is_empty() {
        text.push_str("The targets carry no reference values\n");
    }
    let json = json!({
        "root": root, "targets": found.targets, "expires_ms": until.ms, "dry_run": asked.dry_run,
        "releases": changes.iter().map(|(name, change)| json!({ "release": name, "change": change.name() }))
            .collect::<Vec<_>>(),
    });
    if asked.dry_run {
        text.push_str("Nothing was changed: this was a dry run\n");
        return Ok(Said::new(text, &json));
    }
    let done = store
        .write(move |tx| {
            if !releases::keep_metadata(tx, &began, &verified)? {
                return Ok(None);
            }
            apply(tx, &found, now).map(Some)
        })
        .await?;
    match done {
        None => {
            let why = "another import came first: look at `reference list`, and try again";
            Err(AdminError::Found(why.into()))
        }
        Some(()) => Ok(Said::new(text, &json)),
    }
}

/// What a refresh begins with: what was verified before, or the root that a person brings the first time.
fn begin(known: &Files, root: Option<&Path>) -> Result<Files, AdminError> {
    let name = Role::Root.kept_as();
    match (known.contains_key(&name), root) {
        (true, None) => Ok(known.clone()),
        (true, Some(_)) => Err(AdminError::Asked(
            "a root is known already, and follows the repository by itself: leave --root out".into(),
        )),
        (false, None) => Err(AdminError::Asked(
            "no root is known yet: give --root FILE the first time, from a source that you trust".into(),
        )),
        (false, Some(file)) => {
            let max = Role::Root.max_bytes();
            let mut bytes = Vec::new();
            let read = fs::File::open(file).and_then(|open| open.take(max + 1).read_to_end(&mut bytes));
            let read =
                read.map_err(|e| AdminError::Asked(format!("could not read {}: {e}", file.display())))?;
            if read as u64 > max {
                return Err(AdminError::Asked(format!(
                    "{} is longer than a root",
                    file.display()
                )));
            }
            Ok(Files::from([(name, bytes)]))
        }
    }
}

fn refused(error: &release::ReleaseError) -> AdminError {
    let why = super::told(error).replace('\n', " ");
    let why = why
        .strip_prefix("a box would refuse this: ")
        .unwrap_or(&why)
        .to_owned();
    AdminError::Found(format!("the repository is not believed: {why}"))
}

/// Does what the plan says, by what is loaded now: all of it, or nothing.
fn apply(tx: &mut dyn Tx, found: &Carried, now: Timestamp) -> Result<(), StoreError> {
    let changes = plan(&releases::all(tx)?, found);
    for (name, _) in changes.iter().filter(|(_, change)| **change == Change::Gone) {
        let why = format!("the release's targets {} do not name it any more", found.targets);
        releases::remove(tx, name, &why, BY, now)?;
    }
    for (release, bytes, signer) in &found.releases {
        let name = release.name.as_str();
        if changes.get(name) == Some(&Change::Same) {
            releases::named_by(tx, name, found.targets)?;
            continue;
        }
        let verified = Verified {
            release,
            bytes,
            signer,
            targets: Some(found.targets),
        };
        if !releases::load(tx, verified, BY, now)? {
            return Err(StoreError::Unavailable {
                step: "loading reference values",
                why: format!("more than {} releases", releases::MOST),
            });
        }
    }
    Ok(())
}

async fn list(store: &Store) -> Result<Said, AdminError> {
    let loaded = store.read(releases::all).await?;
    if loaded.is_empty() {
        let text = "No release is loaded: measurements are only remembered, not judged";
        return Ok(Said::new(text, &json!([])));
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for one in &loaded {
        let (name, count) = (one.release.name.as_str(), one.release.values.len());
        let signer = one.signer.fingerprint();
        text.push_str(&format!(
            "{name:<16} {count:>4} values, signed by {signer}, loaded {} by {}{}\n",
            one.loaded_at,
            one.loaded_by,
            releases::from(one.targets)
        ));
        rows.push(json!({
            "release": name, "values": count, "signer": signer, "loaded_at_ms": one.loaded_at.ms,
            "loaded_by": one.loaded_by, "targets": one.targets.map_or(Value::Null, Value::from),
        }));
    }
    Ok(Said::new(text, &rows))
}
