//! Whether this box installs what it was assigned.
//!
//! Only what both name: the director (by a signed [`Assignment`]) and the repository (by metadata that the offline keys
//! signed), with the same hash; for this box, its hardware and an installer that it has; from the version that runs; and
//! never below the floor that an earlier release of the same line set, nor older than what runs, but for a build that ran here
//! before and was well: a stolen director may not pick an old release because it was signed once. Whom targets handed a part to speaks of dossiers
//! only, which no box installs: software of the box itself is for the holders of targets.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::release::dossier::DOSSIER_FOLDER;
use homeward_protocol::release::{Custom, DIRECTOR_KEY, Disruption, Installer, Version};
use homeward_protocol::signed::Verified;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Found;
use homeward_protocol::tuf::role::Role;
use serde::{Deserialize, Serialize};

use super::saved::{Delta, Holds};
use crate::slot::Digest;

/// What this box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its name.
    pub gateway: GatewayId,
    /// Its hardware: `x86_64`, `aarch64`.
    pub hw: String,
    /// Installers that work here, each with the version that it put in place.
    pub installers: Vec<(Installer, Version)>,
    /// The bytes of what an installer put in place, where they are known.
    pub bytes: Vec<(Installer, Digest)>,
    /// The bytes of builds that ran here and were well: what may come back though it is older.
    pub ran: Vec<Digest>,
}

/// The bytes of what is `installed`, where they are known: of the `build` of the agent that runs, and of what each other
/// installer had confirmed last, while the version that it put in place is still that one.
pub fn bytes(
    build: Option<Digest>,
    installed: &[(Installer, Version)],
    holds: &[Holds],
) -> Vec<(Installer, Digest)> {
    let runs = build.map(|build| (Installer::AgentSlot, build));
    let others = holds.iter().filter(|held| {
        held.installer != Installer::AgentSlot && installed.contains(&(held.installer, held.version))
    });
    runs.into_iter()
        .chain(others.map(|held| (held.installer, held.sha256)))
        .collect()
}

/// What outlasts restarts, so that nothing old comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Nothing below is installed, line by line: the highest floor that any release of the line set which ran here.
    pub versions: BTreeMap<Line, Version>,
    /// The newest assignment for this box that was decided on, whatever was decided: what is older is no more.
    pub counter: u64,
}

/// Releases whose versions follow one another: those of one installer; of dossiers, those under one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Line(String);

impl Line {
    /// That of a release with this installer under this path.
    pub fn of(installer: Installer, path: &str) -> Line {
        match installer {
            Installer::Dossier => Line(format!("{} {path}", installer.name())),
            Installer::AgentSlot | Installer::Apt | Installer::Rauc => Line(installer.name().to_owned()),
        }
    }
}

impl Floor {
    /// Of a box that has installed nothing yet.
    pub const NEW: Floor = Floor {
        versions: BTreeMap::new(),
        counter: 0,
    };

    /// The version below which nothing of a line is installed.
    pub fn of(&self, line: &Line) -> Version {
        self.versions.get(line).copied().unwrap_or(Version::ZERO)
    }

    /// After an assignment was decided on, whose signature holds: it is the newest, also where it is refused or means what
    /// runs; what it took the place of must not come back. One for another box says nothing of this one's. To be kept before
    /// anything follows from it.
    #[must_use]
    pub fn decided(self, counter: u64, decision: &Result<Decision, Refusal>) -> Floor {
        let counter = match decision {
            Err(Refusal::OtherBox(_)) => self.counter,
            Ok(_) | Err(_) => self.counter.max(counter),
        };
        Floor { counter, ..self }
    }

    /// After a release of `line` was confirmed that sets this floor. To be kept with the confirmation.
    #[must_use]
    pub fn confirmed(mut self, line: Line, floor: Version) -> Floor {
        let floor = self.of(&line).max(floor);
        self.versions.insert(line, floor);
        self
    }
}

/// What is to be installed, by both their words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The target.
    pub found: Found,
    /// What it is.
    pub custom: Custom,
    /// Not to be activated before this.
    pub not_before: Timestamp,
    /// By when it should be done.
    pub deadline: Timestamp,
    /// The wave of its campaign.
    pub wave: u16,
    /// Which assignment this is.
    pub counter: u64,
    /// What makes it out of the build that runs here, where the repository has that.
    pub delta: Option<Delta>,
}

impl Plan {
    /// What activating it interrupts.
    pub const fn disruption(&self) -> Disruption {
        self.custom.disruption
    }
}

/// What came of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To be staged, and activated when the interlock lets it.
    Install(Box<Plan>),
    /// It runs already, by this installer.
    Runs(Installer),
}

/// Why an assignment is not carried out. Each is a reason for the server to show, and none stops the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is another box's.
    #[error("the assignment is for {0}")]
    OtherBox(GatewayId),
    /// A newer one was decided on.
    #[error("assignment {got} is older than {known}, which was decided on")]
    Replayed {
        /// Its number.
        got: u64,
        /// The newest that was decided on.
        known: u64,
    },
    /// The repository does not name it.
    #[error("the repository does not name {0}")]
    NotInRepository(String),
    /// The repository names another file under that path.
    #[error("the repository names another file as {0}")]
    OtherFile(String),
    /// The repository does not say what it is.
    #[error("{path}: {why}")]
    Undescribed {
        /// Which target.
        path: String,
        /// What is wrong with what it says.
        why: &'static str,
    },
    /// It is the firmware of a device behind the box: a person brings it there.
    #[error("`{0}` is the firmware of a device: a person installs it by its dossier, and no box does")]
    ByAPerson(String),
    /// Somebody speaks of it who may not.
    #[error("{by} may speak of dossiers only, and this is for the installer `{}`", .installer.name())]
    NotTheirs {
        /// Whom targets handed a part to.
        by: Role,
        /// What it is for.
        installer: Installer,
    },
    /// It is for other hardware.
    #[error("it is for {for_hw}, and this box is {own}")]
    OtherHardware {
        /// What it is for.
        for_hw: String,
        /// What this box is.
        own: String,
    },
    /// No such installer here.
    #[error("this box has no installer `{}`", .0.name())]
    NoInstaller(Installer),
    /// Below the floor.
    #[error("version {version} lies below {floor}, below which nothing is installed here any more")]
    BelowFloor {
        /// Its version.
        version: Version,
        /// The floor.
        floor: Version,
    },
    /// Older than what runs, and new to this box.
    #[error(
        "version {version} is older than {runs}, which runs, and never ran here before: going back takes a new release"
    )]
    Older {
        /// Its version.
        version: Version,
        /// What runs.
        runs: Version,
    },
    /// The version that runs, in other bytes.
    #[error("version {0} is here already in other bytes: what is not the same needs a version of its own")]
    OtherBytes(Version),
    /// Another version must run first.
    #[error("it needs {needs} before it, and {runs} runs")]
    TooFar {
        /// What must run.
        needs: Version,
        /// What runs.
        runs: Version,
    },
}

/// Decides on an assignment whose signature holds. `found` is what the repository says of its path.
pub fn decide(
    assigned: &Verified<Assignment>,
    found: Option<&Found>,
    own: &Own,
    floor: &Floor,
) -> Result<Decision, Refusal> {
    let assigned = assigned.get();
    if assigned.device != own.gateway {
        return Err(Refusal::OtherBox(assigned.device.clone()));
    }
    if assigned.counter < floor.counter {
        return Err(Refusal::Replayed {
            got: assigned.counter,
            known: floor.counter,
        });
    }
    let path = assigned.path().map(|path| path.to_string()).unwrap_or_default();
    let found = found.filter(|found| Some(&found.path) == assigned.path().as_ref());
    let found = found.ok_or_else(|| Refusal::NotInRepository(path.clone()))?;
    if found.target.hashes.get_sha256() != Some(assigned.sha256()) {
        return Err(Refusal::OtherFile(path));
    }
    let custom = described(found, &path)?;
    // Whoever signed for it: no box touches a device's firmware.
    if custom.installer == Installer::Dossier || path.starts_with(DOSSIER_FOLDER) {
        return Err(Refusal::ByAPerson(path));
    }
    if found.by != Role::Targets {
        return Err(Refusal::NotTheirs {
            by: found.by.clone(),
            installer: custom.installer,
        });
    }
    let runs = suits(&custom, own)?;
    let lowest = floor.of(&Line::of(custom.installer, found.path.as_str()));
    if custom.version < lowest {
        return Err(Refusal::BelowFloor {
            version: custom.version,
            floor: lowest,
        });
    }
    if custom.version == runs {
        let mut known = own.bytes.iter().filter(|(one, _)| *one == custom.installer);
        return if known.any(|(_, bytes)| *bytes != Digest(assigned.sha256())) {
            Err(Refusal::OtherBytes(runs))
        } else {
            Ok(Decision::Runs(custom.installer))
        };
    }
    let ran = own.ran.contains(&Digest(assigned.sha256()));
    if custom.version < runs && !ran {
        return Err(Refusal::Older {
            version: custom.version,
            runs,
        });
    }
    if let Some(needs) = custom.min_version.filter(|needs| *needs > runs) {
        return Err(Refusal::TooFar { needs, runs });
    }
    Ok(Decision::Install(Box::new(Plan {
        found: found.clone(),
        custom,
        not_before: assigned.not_before,
        deadline: assigned.deadline,
        wave: assigned.wave,
        counter: assigned.counter,
        delta: None,
    })))
}

fn described(found: &Found, path: &str) -> Result<Custom, Refusal> {
    let undescribed = |why| Refusal::Undescribed {
        path: path.to_owned(),
        why,
    };
    if path == DIRECTOR_KEY {
        return Err(undescribed("it is the director's key, and no software"));
    }
    Custom::read(found.target.custom.as_ref()).map_err(undescribed)
}

/// Whether the target is for this box; gives the version that its installer put in place before.
fn suits(custom: &Custom, own: &Own) -> Result<Version, Refusal> {
    if !custom.hw.contains(&own.hw) {
        return Err(Refusal::OtherHardware {
            for_hw: custom.hw.join(", "),
            own: own.hw.clone(),
        });
    }
    let installer = own.installers.iter().find(|(one, _)| *one == custom.installer);
    installer
        .map(|(_, runs)| *runs)
        .ok_or(Refusal::NoInstaller(custom.installer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_of_the_build_that_runs_and_of_what_was_confirmed_and_is_still_there() {
        use Installer::{AgentSlot, Apt, Rauc};
        let version = |text: &str| text.parse::<Version>().expect("a version");
        let holds = |installer, text: &str, byte| Holds {
            installer,
            version: version(text),
            sha256: Digest([byte; 32]),
        };
        let kept = [
            holds(AgentSlot, "1.0.0", 1),
            holds(Apt, "2.0.0", 2),
            holds(Rauc, "3.0.0", 3),
        ];
        let installed = [
            (AgentSlot, version("1.0.0")),
            (Apt, version("2.0.0")),
            // Somebody wrote another image by hand.
            (Rauc, version("3.1.0")),
        ];
        let runs = Digest([9; 32]);
        assert_eq!(
            bytes(Some(runs), &installed, &kept),
            [(AgentSlot, runs), (Apt, Digest([2; 32]))],
            "what runs goes before what was confirmed"
        );
        assert_eq!(bytes(None, &installed, &kept), [(Apt, Digest([2; 32]))]);
        assert_eq!(bytes(None, &[], &kept), []);
    }
}
