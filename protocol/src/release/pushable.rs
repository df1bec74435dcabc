//! The proof that a release may be pushed to a box: nothing can be assigned without it, and no device's firmware has one.
//!
//! # Design
//! An [`super::assignment::Assignment`] is made of a [`Pushable`] and of nothing else, and [`Pushable::of`] is the only maker
//! of one. So no command, no call and no campaign has to remember the rule; one that forgot it would not compile. The box
//! does not rely on that: it refuses a dossier whoever signed for it.

use super::dossier::DOSSIER_FOLDER;
use super::{Custom, DIRECTOR_KEY, Installer, REFERENCE_FOLDER, REFERENCE_KEY};
use crate::tuf::metadata::targets::{Target, TargetPath};

/// Why a target is pushed to nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPushable {
    /// It is the firmware of a device: a person installs it.
    #[error(
        "`{0}` is the firmware of a device, for a person to install by its dossier: nothing can be pushed to a device"
    )]
    ByAPerson(String),
    /// It does not say what it is, or is no software.
    #[error("{0}: {1}")]
    Undescribed(String, &'static str),
}

/// Software of a box itself, under its path and with its hash, as the repository names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushable {
    path: TargetPath,
    sha256: [u8; 32],
    custom: Custom,
}

impl Pushable {
    /// The proof for the target at `path`; none for what a person installs, whatever it calls itself: all that lies in the
    /// folder of dossiers, and all whose installer is one.
    pub fn of(path: &TargetPath, target: &Target) -> Result<Pushable, NotPushable> {
        let name = path.as_str();
        let undescribed = |why| NotPushable::Undescribed(name.to_owned(), why);
        if name.starts_with(DOSSIER_FOLDER) {
            return Err(NotPushable::ByAPerson(name.to_owned()));
        }
        if name == DIRECTOR_KEY || name == REFERENCE_KEY || name.starts_with(REFERENCE_FOLDER) {
            return Err(undescribed("it is no software"));
        }
        let custom = Custom::read(target.custom.as_ref()).map_err(undescribed)?;
        if custom.installer == Installer::Dossier {
            return Err(NotPushable::ByAPerson(name.to_owned()));
        }
        let sha256 = target.hashes.get_sha256();
        Ok(Pushable {
            path: path.clone(),
            sha256: sha256.ok_or_else(|| undescribed("it has no SHA-256"))?,
            custom,
        })
    }

    /// Its path.
    pub const fn path(&self) -> &TargetPath {
        &self.path
    }

    /// The SHA-256 that it has to have.
    pub const fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// What it is.
    pub const fn custom(&self) -> &Custom {
        &self.custom
    }
}
