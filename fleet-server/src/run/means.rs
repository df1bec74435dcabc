//! Shell: what words of campaigns are made with: the published repository, and this place's key as the director.
#![expect(clippy::disallowed_methods, reason = "shell: looks whether there is a key")]

use std::path::PathBuf;
use std::sync::Arc;

use homeward_protocol::time::Timestamp;

use crate::admin::keys::FileKey;
use crate::admin::releases::published;
use crate::admin::told;
use crate::campaign::drive::{Find, Means};
use crate::direct::shelf::read::Releases;
use crate::release::check;
use crate::release::folder::Folder;

/// Reads both anew each time: the key may be made, and a release carried here, while the server runs.
pub(super) fn find(key: PathBuf, release: PathBuf) -> Find {
    Arc::new(move |now| means(&key, &release, now))
}

/// What is published, read anew each time.
pub(super) fn releases(release: PathBuf) -> Releases {
    Releases::from_fn(move |now| published(&release, now))
}

fn means(key: &std::path::Path, release: &std::path::Path, now: Timestamp) -> Result<Means, String> {
    if !key.exists() {
        return Err("this server is no director yet: `homeward-fleet update director` makes its key".into());
    }
    let director = FileKey::read(key, None).map_err(|why| told(&why))?;
    let files = Folder::at(release).published().map_err(|why| told(&why))?;
    let client = check(&files, now).map_err(|why| told(&why))?;
    Ok(Means {
        client: Arc::new(client),
        director: Arc::new(director),
    })
}
