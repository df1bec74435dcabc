//! Shell: the agent itself, in one of two slots.
#![expect(clippy::disallowed_methods, reason = "shell: an environment")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Can;
use homeward_protocol::release::{Installer as Kind, Version};

use super::{InstallError, Installer, Standing};
use crate::clock::Clock;
use crate::interlock::Window;
use crate::slot::file::{Folder, digest_of};
use crate::slot::{Cause, Digest, LAUNCHED, PACKAGE, Place, Slots};
use crate::update::saved::Job;

/// The slots of one data folder, and what runs.
pub struct OwnSlots {
    folder: Folder,
    runs: Place,
    version: Version,
    clock: Arc<Clock>,
}

impl OwnSlots {
    /// Those of `data`, while the build at `runs` runs.
    pub fn new(data: &Path, (runs, version): (Place, Version), clock: Arc<Clock>) -> OwnSlots {
        OwnSlots {
            folder: Folder::within(data),
            runs,
            version,
            clock,
        }
    }

    /// The record of the slots. One that cannot be read counts as none only while the package's build runs: else the slot
    /// that runs would be taken for a free one.
    fn known(&self) -> io::Result<Slots> {
        match self.folder.load() {
            Err(_) if self.runs == Place::Package => Ok(Slots::default()),
            loaded => loaded.map(Option::unwrap_or_default),
        }
    }

    /// Changes the record; without one there is nothing to change.
    fn change(&self, how: impl Fn(Slots) -> Slots) -> Result<(), InstallError> {
        match self.folder.load()? {
            Some(slots) => Ok(self.folder.save(&how(slots))?),
            None => Ok(()),
        }
    }
}

impl Installer for OwnSlots {
    fn kind(&self) -> Kind {
        Kind::AgentSlot
    }

    fn probe(&self) -> Can {
        match std::env::var_os(LAUNCHED) {
            Some(_) => Can::Yes(self.version),
            None => Can::No(ShortText::cut(
                "the agent was not started by its launcher, so nobody would start a new build",
            )),
        }
    }

    /// The confirmed build, the one that it took the place of, and the package's own.
    fn ran(&self) -> Vec<Digest> {
        let package = std::env::var_os(LAUNCHED).map(PathBuf::from);
        let package = package.filter(|path| path.is_absolute());
        let package = digest_of(&package.unwrap_or_else(|| PACKAGE.into()));
        let slots = self.known().unwrap_or_default();
        package.ok().into_iter().chain(slots.confirmed()).collect()
    }

    fn is_staged(&self, job: &Job) -> Result<bool, InstallError> {
        let free = self.known()?.free();
        Ok(self.folder.is_whole(free, &job.sha256))
    }

    fn stage(&self, _job: &Job, from: &Path) -> Result<(), InstallError> {
        let free = self.known()?.free();
        Ok(self.folder.put(free, from)?)
    }

    fn activate(&self, job: &Job, window: Window) -> Result<(), InstallError> {
        if self.clock.uptime() >= window.until() {
            return Err(InstallError::Later("the disk took too long".to_owned()));
        }
        Ok(self.folder.save(&self.known()?.commit(job.build()))?)
    }

    fn standing(&self, wanted: Option<&Job>) -> Standing {
        let slots = self.folder.load().ok().flatten().unwrap_or_default();
        let own = wanted.filter(|job| job.custom.installer == Kind::AgentSlot);
        slots.standing(self.runs, own.map(|job| job.counter))
    }

    fn confirm(&self) -> Result<(), InstallError> {
        self.change(Slots::confirm)
    }

    fn roll_back(&self) -> Result<(), InstallError> {
        self.change(|slots| slots.take_back(Cause::TakenBack))
    }
}
