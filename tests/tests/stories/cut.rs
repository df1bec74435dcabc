//! An agent that is killed with -9 at each change of what it keeps of an update, and at each of the launcher: the update goes on
//! each time from where it was.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use homeward_agent::slot::file::Folder;
use homeward_tests::homes::Home;
use homeward_tests::releases::Releases;

use super::stage::{Stage, all_arrived};
use super::updates::{UPDATE, assign, killed, launched, until};

const CONFIRMED: &str = "it is confirmed";

/// What the agent keeps of an update, and the starts that it and the launcher leave to what is on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    course: Vec<u8>,
    left: Option<u8>,
}

impl Kept {
    fn of(home: &Home) -> Kept {
        let slots = Folder::within(home.agent.dir()).load().expect("it is never half");
        Kept {
            course: fs::read(home.agent.dir().join("update/course.cbor")).unwrap_or_default(),
            left: slots.and_then(|slots| slots.trial).map(|trial| trial.left),
        }
    }

    /// What changed; nothing for a second start of what is on trial, as it has three.
    fn changed(&self, before: &Kept) -> Option<&'static str> {
        match (self.left, before.left) {
            (Some(1), Some(2)) => None,
            (Some(2), Some(3) | None) => Some("the launcher starts it"),
            (Some(3), None) => Some("it is put in place"),
            (None, Some(_)) => Some(CONFIRMED),
            _ if self.course != before.course => Some("the agent has decided something"),
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_goes_on_though_its_agent_is_killed_at_each_change_of_what_is_kept() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "7.1.0");
    releases.publish(&stage.fleet);
    let mut home = launched(&stage, &releases).await;
    stage.more_readings(5);

    let mut kept = Kept::of(&home);
    let (begun, mut kills, mut what) = (Instant::now(), 0, BTreeSet::new());
    assign(&stage, &home, "7.1.0");
    while !what.contains(CONFIRMED) {
        let status = || home.agent.command_ended(&["update", "status"]).stdout;
        let late = begun.elapsed() >= UPDATE * 2;
        assert!(!late, "killed {kills} times at {what:?}; {}", status());
        sleep(Duration::from_millis(1));
        let now = Kept::of(&home);
        if let Some(change) = now.changed(&kept) {
            println!("killed: {change}");
            what.insert(change);
            kills += 1;
            killed(&mut home);
        }
        home.tend();
        kept = now;
    }
    let runs = until(&stage, &mut home, "runs 7.1.0 and is well");
    assert_eq!(runs["state"]["packaged"], false, "{runs}");
    // Heard, decided, fetched, begun and put in place, which may be one moment; started, confirmed.
    assert!(kills >= 6 && what.len() >= 3, "killed {kills} times at {what:?}");
    println!("killed {kills} times");
    stage.more_readings(5);
    all_arrived(&home);
    assert_eq!(stage.number("SELECT count(*) FROM gaps"), 0);
}
