//! Bundles: a pinned set of Debian packages as one target.
//!
//! ```text
//! homeward-bundle 1\n | length of the index, 4 bytes, big end first | index, CBOR | each package's file, in its order
//! ```
//! # Design
//! The index says of each file what it is, how long, and its SHA-256, so that a reader knows all of it before it takes the
//! first byte of a package. Of one set there is one bundle: sorted, each once, no byte behind the last. Turned down: tar,
//! whose headers say more than anybody needs and can be written in many ways; an archive of packages' own form (`ar`), which
//! has no place for what is promised of each.

pub mod debian;

use std::io::{self, Read};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::wire::Bytes;
use debian::{Architecture, DebName, DebVersion};

/// How a bundle begins.
pub const MAGIC: &[u8; 18] = b"homeward-bundle 1\n";
/// Most bytes of an index.
pub const MAX_INDEX: usize = 128 * 1024;
/// Most packages of one bundle.
pub const MAX_PACKAGES: usize = 256;
/// Longest bundle, bytes.
pub const MAX_BUNDLE: u64 = 512 << 20;
/// Bytes of a package that are handed on at once.
const CHUNK: usize = 64 * 1024;

/// Why bytes are no bundle, or not the promised one.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It does not begin as one.
    #[error("it is no bundle of packages")]
    NoBundle,
    /// Its index breaks a rule.
    #[error("its index: {0}")]
    Index(&'static str),
    /// It ends too early.
    #[error("it is cut short")]
    Short,
    /// Something lies behind its last package.
    #[error("there is more behind its last package")]
    Behind,
    /// A package is another file than the index says.
    #[error("{0} is another file than the index says")]
    Differs(DebName),
    /// It could not be read.
    #[error("it could not be read")]
    Read(#[source] io::Error),
    /// A package could not be kept.
    #[error("{name} could not be kept")]
    Keep {
        /// Which.
        name: DebName,
        /// What the disk said.
        source: io::Error,
    },
}

/// One package of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: DebName,
    /// What it runs on.
    pub architecture: Architecture,
    /// Its version.
    pub version: DebVersion,
    /// The only version that it may come after; any older one, or none, when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DebVersion>,
    /// Bytes of its file.
    pub length: u64,
    /// The SHA-256 of its file, 32 bytes.
    sha256: Bytes,
}

impl Package {
    /// One of these.
    pub fn new(
        (name, architecture): (DebName, Architecture),
        (version, from): (DebVersion, Option<DebVersion>),
        length: u64,
        sha256: [u8; 32],
    ) -> Package {
        Package {
            name,
            architecture,
            version,
            from,
            length,
            sha256: Bytes(sha256.to_vec()),
        }
    }

    /// The SHA-256 of its file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256.0.as_slice().try_into().unwrap_or_default()
    }

    /// A file name for it that holds nothing but what names and versions may: `NAME_VERSION_ARCHITECTURE.deb`.
    pub fn file(&self) -> String {
        let version = self.version.to_string().replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    fn key(&self) -> (&DebName, &Architecture) {
        (&self.name, &self.architecture)
    }
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    packages: Vec<Package>,
}

impl Index {
    /// Of these packages, in any order.
    ///
    /// # Errors
    /// Which rule they break.
    pub fn new(mut packages: Vec<Package>) -> Result<Index, BundleError> {
        packages.sort_by(|one, other| one.key().cmp(&other.key()));
        let index = Index { packages };
        index.check().map(|()| index).map_err(BundleError::Index)
    }

    /// They, sorted by name.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// What a bundle begins with: everything before its first package.
    ///
    /// # Errors
    /// When it would be longer than [`MAX_INDEX`].
    pub fn head(&self) -> Result<Vec<u8>, BundleError> {
        let index = serde_cbor::to_vec(self).map_err(|_| BundleError::Index("it cannot be written"))?;
        let length = u32::try_from(index.len())
            .ok()
            .filter(|_| index.len() <= MAX_INDEX);
        let length = length.ok_or(BundleError::Index("it is too long"))?;
        Ok([MAGIC.as_slice(), &length.to_be_bytes(), &index].concat())
    }

    /// Reads what a bundle begins with, and nothing further.
    ///
    /// # Errors
    /// When it is no bundle, or its index breaks a rule.
    pub fn read(from: &mut impl Read) -> Result<Index, BundleError> {
        let mut magic = [0; MAGIC.len()];
        fill(from, &mut magic).map_err(|error| match error {
            BundleError::Short => BundleError::NoBundle,
            other => other,
        })?;
        if &magic != MAGIC {
            return Err(BundleError::NoBundle);
        }
        let mut length = [0; 4];
        fill(from, &mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_INDEX {
            return Err(BundleError::Index("it is too long"));
        }
        let mut bytes = vec![0; length];
        fill(from, &mut bytes)?;
        let index: Index =
            serde_cbor::from_slice(&bytes).map_err(|_| BundleError::Index("it cannot be read"))?;
        index.check().map_err(BundleError::Index)?;
        // Of one set there is one bundle.
        if serde_cbor::to_vec(&index).ok().as_ref() != Some(&bytes) {
            return Err(BundleError::Index("it is written in another way than ours"));
        }
        Ok(index)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.packages.is_empty() || self.packages.len() > MAX_PACKAGES {
            return Err("a bundle holds at least one package and at most 256");
        }
        if self
            .packages
            .iter()
            .any(|one| one.sha256.0.len() != 32 || one.length == 0)
        {
            return Err("a package without a length or a SHA-256");
        }
        if !self.packages.is_sorted_by(|one, other| one.key() < other.key()) {
            return Err("a package stands in it twice, or not in order");
        }
        let all = self
            .packages
            .iter()
            .try_fold(0_u64, |sum, one| sum.checked_add(one.length));
        if all.is_none_or(|all| all > MAX_BUNDLE) {
            return Err("its packages are longer than a bundle may be");
        }
        if self
            .packages
            .iter()
            .any(|one| one.from.as_ref().is_some_and(|from| *from >= one.version))
        {
            return Err("a package that may come after a version that is not older");
        }
        Ok(())
    }
}

/// Reads a whole bundle: hands the files of its packages to `take`, piece by piece, and checks each.
///
/// `ready` is told the index first, and may refuse it. What was handed on before a failure is no package: only when all
/// has ended well is each of them what the index says.
///
/// # Errors
/// When it is not whole, or not what it says.
pub fn unpack(
    from: &mut impl Read,
    ready: impl FnOnce(&Index) -> Result<(), BundleError>,
    mut take: impl FnMut(&Package, &[u8]) -> io::Result<()>,
) -> Result<Index, BundleError> {
    let index = Index::read(from)?;
    ready(&index)?;
    let mut buffer = vec![0; CHUNK];
    for package in &index.packages {
        let (mut left, mut hash) = (package.length, Context::new(&SHA256));
        while left > 0 {
            let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let read = match from.read(buffer.get_mut(..most).unwrap_or_default()) {
                Ok(0) => return Err(BundleError::Short),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(BundleError::Read(error)),
            };
            let piece = buffer.get(..read).unwrap_or_default();
            hash.update(piece);
            take(package, piece).map_err(|source| BundleError::Keep {
                name: package.name.clone(),
                source,
            })?;
            left = left.saturating_sub(read as u64);
        }
        if hash.finish().as_ref() != package.sha256.0 {
            return Err(BundleError::Differs(package.name.clone()));
        }
    }
    match fill(from, &mut [0]) {
        Err(BundleError::Short) => Ok(index),
        Err(error) => Err(error),
        Ok(()) => Err(BundleError::Behind),
    }
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), BundleError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::Short,
        _ => BundleError::Read(error),
    })
}

#[cfg(test)]
mod tests;
