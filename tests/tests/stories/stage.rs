//! What the stories share: a server on a folder of its own, a home in it, and questions to both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_protocol::claim::Claim;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::wait_for;
use homeward_tests::tally::{number, numbers};

/// Something that takes a second takes at most this on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// No further argument.
pub(crate) const PLAIN: [&str; 0] = [];
/// A password long enough for the console.
pub(crate) const PASSWORD: &str = "seven-wet-otters-dance";

/// A server, and the folder that everything of the story lies in.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fleet: Fleet,
}

impl Stage {
    /// A server that serves.
    pub(crate) fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
        fleet.serve(&PLAIN);
        Stage { folder, fleet }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.fleet.dir().join("fleet.db")
    }

    /// One number from the server's database.
    pub(crate) fn number(&self, question: &str) -> i64 {
        number(&self.database(), question)
    }

    /// A column of whole numbers from the server's database.
    pub(crate) fn numbers(&self, question: &str) -> Vec<i64> {
        numbers(&self.database(), question)
    }

    /// Readings in the server's database.
    pub(crate) fn readings(&self) -> i64 {
        self.number("SELECT count(*) FROM readings")
    }

    /// A home with a simulated room sensor, two values each fifth of a second; its agent does not run yet.
    pub(crate) async fn home(&self, placement: &str) -> Home {
        self.home_in(placement, &[]).await
    }

    /// The same, with an environment of its own for the agent.
    pub(crate) async fn home_in(&self, placement: &str, surroundings: &[(OsString, OsString)]) -> Home {
        Home::settle_in(&self.fleet, self.path(), Stage::plan(placement), surroundings).await
    }

    /// What such a home is made of.
    pub(crate) const fn plan(placement: &str) -> Plan<'_> {
        Plan {
            placement,
            team: "north",
            dependency: "medium",
            sensor: "comet-tx5xx",
            profile: "comet-tx5xx",
            interval_ms: 200,
            seed: 7,
        }
    }

    /// Waits until so many more readings are stored.
    pub(crate) fn more_readings(&self, more: i64) {
        let wanted = self.readings() + more;
        wait_for("more readings to be stored", SOON, || {
            (self.readings() >= wanted).then_some(())
        });
    }

    /// An operator who can sign in.
    pub(crate) fn operator(&self, name: &str) {
        self.fleet
            .tell(&["user", "add", name, "--role", "operator"], PASSWORD)
            .ok();
    }

    /// A nurse who can sign in.
    pub(crate) fn nurse(&self, name: &str, team: &str) {
        self.fleet
            .tell(
                &["user", "add", name, "--role", "nurse", "--team", team],
                PASSWORD,
            )
            .ok();
    }
}

/// A claim for a home in the team "north", which needs no approval.
pub(crate) fn claim(fleet: &Fleet, placement: &str) -> Claim {
    let made = fleet.json(&[
        "claim",
        "new",
        "--no-approval",
        "--placement",
        placement,
        "--team",
        "north",
    ]);
    serde_json::from_value(made["claim"].clone()).expect("a claim")
}

/// Waits until nothing waits in the outbox of `home`.
pub(crate) fn all_arrived(home: &Home) {
    wait_for("everything to arrive", SOON, || {
        (home.waiting() == 0).then_some(())
    });
}

/// Whether the agent of `home` says that it is connected.
pub(crate) fn is_connected(home: &Home) -> bool {
    !home.agent.status()["link"]["connected_since"].is_null()
}
