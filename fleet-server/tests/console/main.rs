//! The console through its router: who is let in, what forms must carry, and what pages say.
#![expect(clippy::disallowed_methods, reason = "tests: golden files")]

#[path = "../support/scenario.rs"]
mod scenario;

mod advisories;
mod api;
mod audit;
mod campaigns;
mod changes;
mod doors;
mod dossiers;
mod drafts;
mod measured;
mod nurse;
mod pages;
mod password;
mod policies;
mod releases;
mod sessions;
mod sign_in;
mod visit;

use std::path::PathBuf;

fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("writes");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} has changed; look at it, then UPDATE_GOLDEN=1\n{text}",
        path.display()
    );
}
