//! Shell: where the passphrase of sealed keys comes from. It is never asked for on a command line's arguments, which
//! everybody on the machine can read.
#![expect(clippy::disallowed_methods, reason = "shell: environment and files")]

use std::path::{Path, PathBuf};

use pkcs8::der::zeroize::Zeroizing;

use super::CaError;
use super::files::{damaged, read};

/// The name of the systemd credential (systemd.exec(5), `LoadCredential=`).
pub const CREDENTIAL: &str = "ca-passphrase";
/// The variable that names a file, where there is no systemd.
pub const VARIABLE: &str = "HOMEWARD_CA_PASSPHRASE_FILE";
/// Shortest passphrase that seals, characters: whoever has the files can guess without limit.
pub const SHORTEST: usize = 12;

/// A passphrase; wiped from memory when dropped. It has no `Debug`.
pub type Passphrase = Zeroizing<String>;

/// The passphrase that this process was given: as a credential of systemd, or in the file that [`VARIABLE`] names.
pub fn given() -> Result<Option<Passphrase>, CaError> {
    let credentials =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(CREDENTIAL));
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    match credentials.filter(|path| path.exists()).or(named) {
        Some(path) => from_file(&path).map(Some),
        None => Ok(None),
    }
}

/// The first line of a file.
pub fn from_file(path: &Path) -> Result<Passphrase, CaError> {
    let bytes = Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged(path, "not text"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(damaged(path, "there is no passphrase in its first line"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}
