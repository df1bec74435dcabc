//! Whether a bundle is one that the offline keys signed: by a root of the helper's own, whoever brings the rest.
//!
//! # Design
//! The agent, which speaks with the network, fetches metadata and hands it on; whoever has taken the agent over can hand on
//! what was signed, and nothing else. What was believed before is kept by the helper, so that nothing old comes back. Each
//! file is kept as soon as it verified: a newer root counts also where what should follow it does not come, or is over.

use std::collections::BTreeMap;
use std::io;

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
}

/// Keeps a file under its name, durably, before anything is believed that relies on it.
pub type Keep<'a> = dyn FnMut(&str, &[u8]) -> io::Result<()> + 'a;

/// The root's version, when these bytes are one that vouches for itself.
///
/// # Errors
/// When they are none.
pub fn root(bytes: &[u8], now: Timestamp) -> Result<u64, TufError> {
    Client::begin(bytes, now).map(|(client, _)| client.trusted().root().head.version)
}

/// Believes what `given` says of the target at `path`, as far as the keys vouch that the `kept` root names, for the
/// hardware `hw`. Whom targets handed a part to speaks of no packages. What verified is kept, also where what follows did not.
///
/// # Errors
/// Why it is not believed.
pub fn believe(
    kept: Files,
    given: &Files,
    (path, hw): (&str, &str),
    now: Timestamp,
    keep: &mut Keep<'_>,
) -> Result<Believed, Why> {
    // Metadata that is over, or a root that has not come yet, may be followed by better.
    let client = refresh(kept, given, now, keep).map_err(|(_, why)| Why::Later(why))?;
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
    })
}

/// Follows what is kept through what is `given`, as far as that verifies: the root's version by then, and why it went no
/// further; none where it came to the end.
///
/// # Errors
/// When there is no root to begin with.
pub fn follow(
    kept: Files,
    given: &Files,
    now: Timestamp,
    keep: &mut Keep<'_>,
) -> Result<(u64, Option<String>), String> {
    match refresh(kept, given, now, keep) {
        Ok(client) => Ok((client.trusted().root().head.version, None)),
        Err((Some(root), why)) => Ok((root, Some(why))),
        Err((None, why)) => Err(why),
    }
}

/// A refresh by what is `given`; else the root's version that it came to, if it had one at all, and why it ended.
fn refresh(
    mut kept: Files,
    given: &Files,
    now: Timestamp,
    keep: &mut Keep<'_>,
) -> Result<Client, (Option<u64>, String)> {
    loop {
        let root = kept.get(&Role::Root.kept_as());
        let root = root.ok_or((
            None,
            "this helper trusts no root yet: give it one with --trust".to_owned(),
        ))?;
        let (mut client, mut step) = Client::begin(root, now).map_err(|error| (None, error.to_string()))?;
        // The version of the root that is kept: what could not be kept does not count.
        let mut version = client.trusted().root().head.version;
        let ended = loop {
            if let Some(save) = step.save {
                keep(&save.name, &save.bytes)
                    .map_err(|error| (Some(version), format!("could not keep {}: {error}", save.name)))?;
                kept.insert(save.name, save.bytes);
                version = client.trusted().root().head.version;
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
            Ok(()) => return Ok(client),
            // Each refresh begins with the newest root that was kept.
            Err(TufError::TooManyRoots) => {}
            Err(error) => return Err((Some(version), error.to_string())),
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
