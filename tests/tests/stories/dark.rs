//! Boxes that were dark for a season, and software: what they have of the repository is over, its root is two roots old, and the
//! clock of one stands in 1970. They take the release of today, and nobody goes there.

use std::fs;

use homeward_tests::homes::Home;
use homeward_tests::releases::Releases;
use homeward_tests::wall::clock;

use super::stage::{PLAIN, Stage, all_arrived};
use super::updates::{assign, launched_in, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boxes_that_were_dark_for_ninety_days_take_the_release_of_today_by_a_root_two_roots_on() {
    let (Some(later), Some(never)) = (clock("+90d"), clock("@1970-01-02 03:04:05")) else {
        return;
    };
    let mut stage = Stage::new();
    let mut releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("spring", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let mut right = launched_in(&stage, &releases, "mill-road-12", "").await;
    let mut wrong = launched_in(&stage, &releases, "old-quay-7", "").await;
    let both = |stage: &Stage, homes: [&mut Home; 2], version: &str| {
        for home in &homes {
            assign(stage, home, version);
        }
        for home in homes {
            until(stage, home, &format!("runs {version} and is well"));
        }
    };
    both(&stage, [&mut right, &mut wrong], "7.1.0");
    right.agent.stop();
    wrong.agent.stop();
    stage.fleet.stop();

    // A season later. Each root is signed by two of the keys before it; the server signs by another key.
    stage.fleet.surround(&later);
    releases.surround(&later);
    releases.rotate(&stage.fleet, ["frank", "grace", "heidi"], "online-2");
    releases.rotate(&stage.fleet, ["ivan", "judy", "mallory"], "online-3");
    build.extend(b"and another");
    releases.add("7.2.0", &releases.write("summer", &build), "7.2.0");
    releases.publish(&stage.fleet);
    let roots = stage.fleet.dir().join("release/repository/metadata");
    assert!(roots.join("3.root.json").exists() && !roots.join("4.root.json").exists());
    stage.fleet.serve(&PLAIN);

    right.agent.surround(&later);
    wrong.agent.surround(&never);
    right.run();
    wrong.run();
    both(&stage, [&mut right, &mut wrong], "7.2.0");
    for home in [&right, &wrong] {
        assert!(home.agent.dir().join("update/3.root.json").exists());
    }
    for home in [right, wrong] {
        all_arrived(&home);
    }
    assert_eq!(stage.number("SELECT count(*) FROM gaps"), 0);
}
