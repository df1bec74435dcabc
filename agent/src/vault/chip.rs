//! Shell: a secret that only this box's TPM gives back, for the vault: sealed in `vault.tpm` in the data folder (JSON).
#![expect(clippy::disallowed_methods, reason = "shell: a file, and the TPM")]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::disk::{self, DiskError};
use super::sources::found;
use super::{KEY_LEN, Kind, Source, Vault};
use crate::tpm::TpmError;
use crate::tpm::chip::Wrapped;
use crate::tpm::thread::Tpm;

/// Its name.
pub const FILE: &str = "vault.tpm";
/// Longest file that is read, bytes.
const MOST: u64 = 16 * 1024;

/// Why there is no vault on a box with a TPM.
#[derive(Debug, thiserror::Error)]
pub enum ChipError {
    /// The file, or the vault.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The TPM does not give the secret back.
    #[error("the TPM does not open what it sealed on this disk")]
    Tpm(#[from] TpmError),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Sealed {
    public: String,
    private: String,
}

/// The vault of a data folder on this machine, by its TPM where it has one; a new one when there is none. A vault that was
/// made without the TPM stays as it is.
pub async fn at(data: &Path, tpm: Option<&Tpm>) -> Result<Vault, ChipError> {
    let mut sources = found(Path::new("/"));
    if let Some(tpm) = tpm {
        sources.extend(source(data, tpm).await?);
    }
    Ok(disk::at_by(data, &sources)?)
}

async fn source(data: &Path, tpm: &Tpm) -> Result<Option<Source>, ChipError> {
    let kept = read(&data.join(FILE));
    let secret = match (kept, disk::kind(data)) {
        (Some(wrapped), _) => tpm.call(move |chip| chip.unseal(&wrapped)).await?,
        (None, Some(_)) => return Ok(None),
        (None, None) => {
            let secret: [u8; KEY_LEN] = disk::random()?;
            let wrapped = tpm.call(move |chip| chip.seal(&secret)).await?;
            let packed = Sealed {
                public: STANDARD.encode(wrapped.public),
                private: STANDARD.encode(wrapped.private),
            };
            let text = serde_json::to_string_pretty(&packed).unwrap_or_default();
            disk::write(&data.join(FILE), &text)?;
            secret.to_vec()
        }
    };
    Ok(Some(Source {
        kind: Kind::Tpm,
        secret,
    }))
}

/// A file that is damaged is none: the vault then says that it does not open.
fn read(path: &Path) -> Option<Wrapped> {
    let mut text = String::new();
    File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    let sealed: Sealed = serde_json::from_str(&text).ok()?;
    Some(Wrapped {
        public: STANDARD.decode(sealed.public).ok()?,
        private: STANDARD.decode(sealed.private).ok()?,
    })
}
