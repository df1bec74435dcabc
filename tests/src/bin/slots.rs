//! Shell: `homeward-slots DATA STEP`: one step of an update at a time, by the agent's own code, for tests that cut the power between
//! any two of its calls.
//!
//! A step is `bring OWN SHELF BUILD`, `put BUILD`, `commit`, `confirm`, `back`, `believe VERSION` (each role's metadata), `keep
//! NUMBER` (what is wanted), or `check`: whether all that is kept can be read.
#![expect(clippy::disallowed_methods, reason = "shell: a program for tests")]

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use homeward_agent::slot::file::{Folder, digest_of};
use homeward_agent::slot::{Build, Cause, Slots};
use homeward_agent::update::decide::Floor;
use homeward_agent::update::delta::bring;
use homeward_agent::update::keep::Folder as Metadata;
use homeward_agent::update::look::FOLDER;
use homeward_agent::update::saved::file::{load, save};
use homeward_agent::update::saved::{Delta, Job, Saved};
use homeward_agent::update::tuf::{Fetch, FetchError, Store as _};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::role::Role;

/// Bytes that come at once.
const PIECE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (data, step) = words.split_first().ok_or("usage: homeward-slots DATA STEP")?;
    let folder = Folder::within(Path::new(data));
    let slots = folder.load()?.unwrap_or_default();
    match step {
        ["bring", own, shelf, build] => {
            let (own, shelf) = (Path::new(own), Shelf(PathBuf::from(shelf)));
            let job = shelf.job(own)?;
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(bring(&job, &shelf, own, Path::new(build)))?;
        }
        ["put", build] => folder.put(slots.free(), &PathBuf::from(build))?,
        ["commit"] => {
            let build = Build {
                sha256: digest_of(&folder.program(slots.free()))?,
                version: Version::ZERO,
                counter: 1,
            };
            folder.save(&slots.commit(build))?;
        }
        ["confirm"] => folder.save(&Slots::confirm(slots))?,
        ["back"] => folder.save(&slots.take_back(Cause::TakenBack))?,
        ["believe", version] => believe(Path::new(data), version.parse()?)?,
        ["keep", number] => {
            let saved = Saved {
                assigned: Some(vec![7; 200]),
                floor: Floor {
                    counter: number.parse()?,
                    ..Floor::NEW
                },
                ..Saved::NEW
            };
            save(Path::new(data), &saved)?;
        }
        ["check"] => check(Path::new(data))?,
        _ => return Err("there is no such step".into()),
    }
    Ok(())
}

const ROLES: [Role; 4] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];

/// Keeps each role's metadata as a refresh does.
fn believe(data: &Path, version: u64) -> io::Result<()> {
    let folder = Metadata::at(data.join(FOLDER)).with_each_root();
    for role in ROLES {
        let text = format!(
            "{{\"signed\":{{\"version\":{version},\"x\":\"{}\"}}}}",
            "y".repeat(300)
        );
        folder.save(&role.kept_as(), text.as_bytes())?;
    }
    Ok(())
}

/// Everything that is there is whole, and a later role was never kept before an earlier one.
fn check(data: &Path) -> Result<(), Box<dyn Error>> {
    load(data)?;
    let folder = Metadata::at(data.join(FOLDER));
    let mut versions = Vec::new();
    for role in ROLES {
        let bytes = folder.load(&role.kept_as(), 10_000)?;
        let text: Option<serde_json::Value> =
            bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose()?;
        versions.push(
            text.and_then(|text| text["signed"]["version"].as_u64())
                .unwrap_or(0),
        );
    }
    if !versions.is_sorted_by(|a, b| a >= b) {
        return Err(format!("{versions:?}").into());
    }
    Ok(())
}

/// A folder with a build, `whole`, and a `delta` to it; in small pieces, as a network brings them.
struct Shelf(PathBuf);

impl Shelf {
    /// What signed metadata would say of it to a box that runs `own`.
    fn job(&self, own: &Path) -> io::Result<Job> {
        let (whole, delta) = (self.0.join("whole"), self.0.join("delta"));
        let delta = if delta.exists() {
            Some(Delta {
                from: digest_of(own)?,
                file: "delta".into(),
                length: std::fs::metadata(&delta)?.len(),
                sha256: digest_of(&delta)?,
            })
        } else {
            None
        };
        Ok(Job {
            counter: 1,
            path: "agent/new".into(),
            file: "whole".into(),
            length: std::fs::metadata(&whole)?.len(),
            sha256: digest_of(&whole)?,
            custom: Custom {
                installer: Installer::AgentSlot,
                hw: vec!["x86_64".into()],
                version: Version::ZERO,
                min_version: None,
                disruption: Disruption::AgentRestart,
                security_floor: Version::ZERO,
            },
            not_before: Timestamp::synced(0),
            deadline: Timestamp::synced(0),
            delta,
        })
    }
}

impl Fetch for Shelf {
    async fn get(
        &self,
        file: &str,
        from: u64,
        _: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> Result<(), FetchError> {
        let bytes = std::fs::read(self.0.join(file)).map_err(|_| FetchError::Absent)?;
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        for (n, piece) in bytes[start..].chunks(PIECE).enumerate() {
            take((start + n * PIECE) as u64, piece).map_err(FetchError::Keep)?;
        }
        Ok(())
    }
}
