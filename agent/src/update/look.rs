//! Shell: `update trust|check`: the first root, and what a repository offers this box.
#![expect(clippy::disallowed_methods, reason = "shell: reads a file that it is given")]

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use homeward_protocol::release::Custom;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Client;
use homeward_protocol::tuf::role::Role;
use serde_json::{Value, json};

use super::base::Base;
use super::fetch::Http;
use super::keep::Folder;
use super::tuf::{Store as _, UpdateError, refresh, trust as take};
use crate::clock::Clock;
use crate::identity::tls::{TlsError, unverified};

/// Where a data folder keeps what is believed.
pub const FOLDER: &str = "update";

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The repository or the disk.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The same, of the repository that was asked for.
    #[error("{from} does not say what is released")]
    From {
        /// Where.
        from: Base,
        /// Why.
        source: UpdateError,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The root could not be read.
    #[error("could not read {path}")]
    Read {
        /// Which file.
        path: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// There is one already.
    #[error("this box trusts root {0} already, and follows it by itself; it takes no other")]
    Trusts(u64),
}

fn store(data: &Path) -> Folder {
    Folder::at(data.join(FOLDER)).with_each_root()
}

/// Takes the first root; gives text and JSON to print.
pub fn trust(data: &Path, root: &Path, now: Timestamp) -> Result<(String, Value), LookError> {
    let store = store(data);
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| LookError::Read { path, source }
    };
    let kept = store
        .load(&Role::Root.kept_as(), Role::Root.max_bytes())
        .map_err(io(data))?;
    if let Some(kept) = kept {
        let (client, _) = Client::begin(&kept, now).map_err(UpdateError::from)?;
        return Err(LookError::Trusts(client.trusted().root().head.version));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(root)
        .and_then(|file| file.take(Role::Root.max_bytes()).read_to_end(&mut bytes))
        .map_err(io(root))?;
    take(&store, &bytes, now)?;
    let (client, _) = Client::begin(&bytes, now).map_err(UpdateError::from)?;
    let version = client.trusted().root().head.version;
    let text = format!("This box trusts root {version} and its successors now");
    Ok((text, json!({ "root": version })))
}

/// Brings what is believed up to date; gives what is released for this box, as text and JSON.
pub async fn check(data: &Path, from: &Base, clock: &Arc<Clock>) -> Result<(String, Value), LookError> {
    // Whoever carries the files is not believed, so any certificate will do; the signatures decide.
    let tls = from
        .is_secure()
        .then(|| unverified(clock))
        .transpose()?
        .map(Arc::new);
    let http = Http::new(from.join("metadata"), tls);
    let refreshed = refresh(&http, &store(data), clock.now()).await;
    let client = refreshed.map_err(|source| LookError::From {
        from: from.clone(),
        source,
    })?;
    Ok(tell(&client))
}

/// What a repository offers this hardware.
fn tell(client: &Client) -> (String, Value) {
    let trusted = client.trusted();
    let hw = std::env::consts::ARCH;
    let (mut text, mut offered) = (String::new(), Vec::new());
    for (path, target) in trusted.targets().iter().flat_map(|targets| &targets.targets) {
        let Ok(custom) = Custom::read(target.custom.as_ref()) else {
            continue;
        };
        if !custom.hw.iter().any(|one| one == hw) {
            continue;
        }
        let (installer, version) = (custom.installer.name(), custom.version);
        let back = if custom.installer.is_forward_only() {
            "; forward only, there is no way back"
        } else {
            ""
        };
        text.push_str(&format!(
            "{}: {installer} {version}, {} bytes; {}{back}\n",
            path.escape_debug(),
            target.length,
            custom.disruption.words()
        ));
        offered.push(json!({ "path": path, "length": target.length, "custom": custom }));
    }
    if offered.is_empty() {
        text.push_str(&format!("Nothing is released for {hw}\n"));
    }
    let until = trusted.timestamp().map(|timestamp| timestamp.head.expires);
    let root = trusted.root().head;
    text.push_str(&format!("By root {}, good until {}", root.version, root.expires));
    if let Some(until) = until {
        text.push_str(&format!("; the repository's word is good until {until}"));
    }
    let json =
        json!({ "root": root.version, "until_ms": until.map(|at| at.ms), "hw": hw, "offered": offered });
    (text, json)
}
