//! What puts software in place: one trait for all ways of doing so, and what tells them apart.
//!
//! # Design
//! - Staging disturbs nothing and asks nobody. [`Installer::activate`] takes the interlock's [`Window`] by value: without a
//!   permission, or with one that is spent, it cannot be called.
//! - What follows an activation, and whether there is a way back, is the nature of each ([`After`], [`Back`]): what decides
//!   on the course of an update knows that without asking the box.
//! - How far a job has come is what its installer finds on the box ([`Standing`]), never what somebody remembers of it.
//! - Calls block for as long as a disk or a program takes: who makes them makes them aside.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::{Can, Offer, Outcome};
use homeward_protocol::release::{Disruption, Installer as Kind};

use crate::interlock::{Act, Window, Work};
use crate::slot::Digest;
use crate::update::saved::Job;

pub mod packages;
pub mod rauc;
pub mod slots;

/// Longest that a restart of the agent may take, from the permission on.
const LONGEST_RESTART: Duration = Duration::from_mins(1);
/// Longest that packages may take: their scripts run, and a disk may be slow.
const LONGEST_PACKAGES: Duration = Duration::from_mins(20);
/// Longest that writing a whole image may take, or a reboot.
const LONGEST_IMAGE: Duration = Duration::from_mins(30);

/// What has to follow an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The agent begins anew.
    Restart,
    /// The box does, by a permission of its own: what was quiet before an image was written may not be any more.
    Reboot,
    /// Nothing: what was put in place runs.
    Nothing,
}

/// Whether what was put in place can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// To what ran before.
    Way,
    /// Forward only.
    NoWay,
}

/// What follows an activation by this installer.
pub const fn after(kind: Kind) -> After {
    match kind {
        Kind::AgentSlot => After::Restart,
        Kind::Rauc => After::Reboot,
        Kind::Apt | Kind::Dossier => After::Nothing,
    }
}

/// Whether this installer can take back what it put in place.
pub const fn back(kind: Kind) -> Back {
    if kind.is_forward_only() {
        Back::NoWay
    } else {
        Back::Way
    }
}

/// What activating a job disturbs at least, whatever its release says of it, and for how long at most.
pub fn act(kind: Kind, said: Disruption) -> Act {
    let (least, longest) = match kind {
        Kind::AgentSlot => (Disruption::AgentRestart, LONGEST_RESTART),
        // The scripts of packages may restart what they like, unless that is denied to them.
        Kind::Apt => (Disruption::None, LONGEST_PACKAGES),
        Kind::Rauc | Kind::Dossier => (Disruption::Reboot, LONGEST_IMAGE),
    };
    Act {
        disruption: said.max(least),
        longest,
        work: Work::Forward,
    }
}

/// What an installer finds of a job, or of one that nobody wants any more, when the agent starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it is still to be put in place.
    Nothing,
    /// Something that is on trial here and that nobody wants any more.
    Unwanted(Kind),
    /// It runs, and has to show that it is well.
    OnTrial,
    /// It runs, and was confirmed.
    Confirmed,
    /// It lies in place, and the box has to reboot for it.
    Leaving,
    /// It was begun and not finished: it has to be gone on with, when the home may be disturbed.
    Unfinished(ShortText),
    /// It is over.
    Over(Outcome),
}

/// Why an installer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nothing was changed, and it may work another time.
    #[error("not now: {0}")]
    Later(String),
    /// Nothing was changed, and this target is never taken.
    #[error("refused: {0}")]
    Refused(String),
    /// Something was changed, is not as the release says, and cannot be taken back.
    #[error("it stays as it is: {0}")]
    Stays(String),
    /// It promises no way back.
    #[error("there is no way back from what {} put in place", .0.name())]
    NoWayBack(Kind),
}

impl From<io::Error> for InstallError {
    fn from(error: io::Error) -> InstallError {
        InstallError::Later(error.to_string())
    }
}

/// One way to put software in place.
pub trait Installer: Send + Sync {
    /// Which.
    fn kind(&self) -> Kind;

    /// Whether it works on this box: what it needs is there, and answers.
    fn probe(&self) -> Can;

    /// The agent may have heard of newer release keys: whoever believes releases by keys of its own hears of them, too.
    ///
    /// # Errors
    /// Why it does not follow them.
    fn follow(&self) -> Result<(), InstallError> {
        Ok(())
    }

    /// The bytes of what it put in place before, or found there, that ran and was well.
    fn ran(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Whether the job is staged already.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn is_staged(&self, job: &Job) -> Result<bool, InstallError>;

    /// Brings the file at `from`, which is the job's by its digest, to where it is activated from. It disturbs nothing.
    ///
    /// # Errors
    /// Why it is not there, or never taken.
    fn stage(&self, job: &Job, from: &Path) -> Result<(), InstallError>;

    /// Puts what was staged in place; the permission is spent.
    ///
    /// # Errors
    /// What became of it.
    fn activate(&self, job: &Job, window: Window) -> Result<(), InstallError>;

    /// The box begins anew, so that what is in place runs, or what ran before it; the permission is spent.
    ///
    /// # Errors
    /// Why it does not; [`InstallError::Refused`] where no reboot is needed for anything.
    fn reboot(&self, _window: Window) -> Result<(), InstallError> {
        Err(InstallError::Refused(format!(
            "{} needs no reboot",
            self.kind().name()
        )))
    }

    /// What it finds at a start of the job that is wanted.
    fn standing(&self, wanted: Option<&Job>) -> Standing;

    /// What is on trial stays. To be repeated until it succeeds.
    ///
    /// # Errors
    /// When it could not be kept.
    fn confirm(&self) -> Result<(), InstallError>;

    /// What ran before is to run at the next start. To be repeated until it succeeds.
    ///
    /// # Errors
    /// When it could not be kept, and [`InstallError::NoWayBack`] where there is none.
    fn roll_back(&self) -> Result<(), InstallError>;
}

/// Those of one box.
#[derive(Clone)]
pub struct Installers(Vec<Arc<dyn Installer>>);

impl Installers {
    /// These.
    pub fn new(all: Vec<Box<dyn Installer>>) -> Installers {
        Installers(all.into_iter().map(Arc::from).collect())
    }

    /// These and another.
    #[must_use]
    pub fn and(mut self, one: Arc<dyn Installer>) -> Installers {
        self.0.push(one);
        self
    }

    /// That of this kind.
    pub fn of(&self, kind: Kind) -> Option<&dyn Installer> {
        self.0.iter().map(AsRef::as_ref).find(|one| one.kind() == kind)
    }

    /// What this box can do.
    pub fn probe(&self) -> Vec<Offer> {
        let offers = self.0.iter().map(|one| Offer {
            installer: one.kind(),
            can: one.probe(),
        });
        offers.collect()
    }

    /// Those who believe by keys of their own hear of newer ones; why some do not follow them.
    pub fn follow(&self) -> Vec<(Kind, InstallError)> {
        let followed = self
            .0
            .iter()
            .map(|one| one.follow().map_err(|error| (one.kind(), error)));
        followed.filter_map(Result::err).collect()
    }

    /// The bytes of all that ran here and was well.
    pub fn ran(&self) -> Vec<Digest> {
        self.0.iter().flat_map(|one| one.ran()).collect()
    }

    /// What is found at a start: what has to be left first, else how the job stands.
    pub fn standing(&self, wanted: Option<&Job>) -> Standing {
        let kind = wanted.map(|job| job.custom.installer);
        let mut others = self.0.iter().filter(|one| Some(one.kind()) != kind);
        let unwanted = others.find_map(|one| match one.standing(None) {
            standing @ Standing::Unwanted(_) => Some(standing),
            _ => None,
        });
        let own = || {
            kind.and_then(|kind| self.of(kind))
                .map(|one| one.standing(wanted))
        };
        unwanted.or_else(own).unwrap_or(Standing::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_cannot_say_that_it_disturbs_less_than_its_installer_does() {
        for (kind, said, asks) in [
            (Kind::AgentSlot, Disruption::None, Disruption::AgentRestart),
            (Kind::AgentSlot, Disruption::Reboot, Disruption::Reboot),
            (Kind::Rauc, Disruption::None, Disruption::Reboot),
            (Kind::Apt, Disruption::ServiceRestart, Disruption::ServiceRestart),
        ] {
            assert_eq!(act(kind, said).disruption, asks, "{kind:?}");
        }
    }

    #[test]
    fn packages_go_forward_only_and_what_a_person_carries_out_too() {
        let ways = [Kind::AgentSlot, Kind::Apt, Kind::Rauc, Kind::Dossier].map(back);
        assert_eq!(ways, [Back::Way, Back::NoWay, Back::Way, Back::NoWay]);
    }
}
