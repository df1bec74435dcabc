//! Shell: finds the material and the tools that tests borrow from their surroundings.
#![expect(clippy::disallowed_methods, reason = "shell: looks for folders and programs")]

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// True where a missing component is a failure, because the run is what others rely on.
pub fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}

/// Says aloud that a test cannot do its work here. `tests/run` collects these lines.
///
/// # Panics
/// Where `CI` is set: there everything has to be there.
pub fn missing(what: &str, how_to_get_it: &str) {
    assert!(
        !in_ci(),
        "{what} is missing, and CI must not skip: {how_to_get_it}"
    );
    eprintln!("skipped: {what} is missing; {how_to_get_it}");
}

/// A file or folder of the shared data (`data/cose`, `data/mqtt/packet-sequences`), or `None`, said aloud.
///
/// Looked for in `HOMEWARD_SHARED`, then in `shared` beside the repository and beside the folder it lies in.
pub fn data(path: &str) -> Option<PathBuf> {
    let root = workspace();
    let named = env::var_os("HOMEWARD_SHARED").map(PathBuf::from);
    let beside = root.ancestors().skip(1).take(2).map(|up| up.join("shared"));
    let found = named
        .into_iter()
        .chain(beside)
        .map(|shared| shared.join(path))
        .find(|p| p.exists());
    if found.is_none() {
        missing(path, "set HOMEWARD_SHARED to the folder that holds it");
    }
    found
}

/// Where `tests/run` puts a Python with pymodbus and the Node packages.
pub fn tools() -> PathBuf {
    if let Some(named) = env::var_os("HOMEWARD_TOOLS") {
        return named.into();
    }
    let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| home.join(".cache"), PathBuf::from)
        .join("homeward-tests")
}

/// A program on the path or in one of the folders that Debian keeps off it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let off_path = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(off_path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// A program of a Debian package, or `None`, said aloud.
pub fn debian(name: &str, package: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        missing(
            name,
            &format!("install the Debian package {package}, or run tests/run --install"),
        );
    }
    found
}
