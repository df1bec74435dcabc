//! Whether a bundle is one that the offline keys signed: by a root of the helper's own, whoever brings the rest.
//!
//! # Design
//! The agent, which speaks with the network, fetches metadata and hands it on; whoever has taken the agent over can hand on
//! what was signed, and nothing else. What was believed before is kept by the helper, so that nothing old comes back.

use std::collections::BTreeMap;

use homeward_protocol::release::{Custom, Installer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::TufError;
use homeward_protocol::tuf::client::{Answer, Ask, Client};
use homeward_protocol::tuf::metadata::targets::Target;
use homeward_protocol::tuf::role::Role;

use super::plan::Why;

/// Longest root, bytes.
pub const MAX_ROOT: u64 = Role::Root.max_bytes();
/// Longest file of metadata, bytes.
pub const MAX_FILE: u64 = Role::Targets.max_bytes();

/// Files of metadata by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is believed of one target.
#[derive(Debug, Clone)]
pub struct Believed {
    /// Its length and its hashes.
    pub target: Target,
    /// What it is.
    pub custom: Custom,
    /// What is kept of the repository now.
    pub keep: Files,
}

/// The root's version, when these bytes are one that vouches for itself.
///
/// # Errors
/// When they are none.
pub fn root(bytes: &[u8], now: Timestamp) -> Result<u64, TufError> {
    Client::begin(bytes, now).map(|(client, _)| client.trusted().root().head.version)
}

/// Believes what `given` says of the target at `path`, as far as the keys vouch that the `kept` root names, for the
/// hardware `hw`. Whom targets handed a part to speaks of no packages.
///
/// # Errors
/// Why it is not believed.
pub fn believe(kept: Files, given: &Files, path: &str, hw: &str, now: Timestamp) -> Result<Believed, Why> {
    // Metadata that is over, or a root that has not come yet, may be followed by better.
    let (client, keep) = refresh(kept, given, now).map_err(Why::Later)?;
    let refused = |why: String| Why::Refused(why);
    let targets = client.trusted().targets();
    let target = targets.and_then(|targets| targets.targets.get(path));
    let target = target.ok_or_else(|| refused("the release's keys signed no such target".to_owned()))?;
    let custom = Custom::read(target.custom.as_ref()).map_err(|why| refused(why.to_owned()))?;
    if custom.installer != Installer::Apt {
        return Err(refused(format!(
            "it is for the installer `{}`",
            custom.installer.name()
        )));
    }
    if !custom.hw.iter().any(|one| one == hw) {
        return Err(refused(format!(
            "it is for {}, and this box is {hw}",
            custom.hw.join(", ")
        )));
    }
    Ok(Believed {
        target: target.clone(),
        custom,
        keep,
    })
}

fn refresh(mut kept: Files, given: &Files, now: Timestamp) -> Result<(Client, Files), String> {
    loop {
        let root = kept.get(&Role::Root.kept_as());
        let root = root.ok_or("this helper trusts no root yet: give it one with --trust")?;
        let said = |error: TufError| error.to_string();
        let (mut client, mut step) = Client::begin(root, now).map_err(said)?;
        let ended = loop {
            if let Some(save) = step.save {
                kept.insert(save.name, save.bytes);
            }
            let answer = match step.ask {
                Ask::Nothing => break Ok(()),
                Ask::Load { name, .. } => Answer::Loaded(kept.get(&name).cloned()),
                Ask::Fetch { file, .. } => fetch(given, &file),
            };
            match client.handle(answer) {
                Ok(next) => step = next,
                Err(error) => break Err(error),
            }
        };
        match ended {
            Ok(()) => return Ok((client, kept)),
            // Each refresh begins with the newest root that was kept.
            Err(TufError::TooManyRoots) => {}
            Err(error) => return Err(said(error)),
        }
    }
}

/// A file that was handed on: under its name on a server, or as the agent keeps it, without the version in front.
fn fetch(given: &Files, file: &str) -> Answer {
    let plain = || {
        let (version, name) = file.split_once('.')?;
        let is_version = version.bytes().all(|b| b.is_ascii_digit()) && name != Role::Root.kept_as();
        given.get(name).filter(|_| is_version)
    };
    given
        .get(file)
        .or_else(plain)
        .cloned()
        .map_or(Answer::Absent, Answer::Fetched)
}
