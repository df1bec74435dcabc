//! A box on which somebody else restarts things, too: it says so, at the box and to the people who rely on quiet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use homeward_tests::shared;

use super::stage::Stage;
use super::updates::{UPDATE, assign, stands};

/// 2026-11-27 02:00:00 UTC, as systemd writes it.
const SET: &str = "USEC=1795744800000000\\nWARN_WALL=1\\nMODE=reboot\\n";
const SAID: &str = "somebody set the box to reboot at 2026-11-27T02:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reboot_that_somebody_else_set_is_said_where_people_rely_on_quiet() {
    if shared::debian("unshare", "util-linux").is_none() {
        return;
    }
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let build = fs::read(&releases.shipped).expect("the agent");
    releases.add("7.1.0", &releases.write("good", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = stage.home("mill-road-12").await;
    releases.launch(&mut home, "");
    // As its unit starts it, on a box with another /run.
    let unit = releases.desk().join("unit");
    let within = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/shutdown && \
         printf \"{SET}\" > /run/systemd/shutdown/scheduled && exec \"$0\" \"$@\"' \"$0.own\" \"$@\"\n"
    );
    fs::rename(&unit, releases.desk().join("unit.own")).expect("our own file");
    fs::write(&unit, within).expect("our own file");
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o755)).expect("our own file");
    home.run();
    assign(&stage, &home, "7.1.0");
    let said = wait_for("the box to say who else restarts it", UPDATE, || {
        home.tend();
        let tells = stands(&stage, &home)["state"].clone();
        tells["beside"]
            .as_array()
            .filter(|all| all.iter().any(|one| one == SAID))
            .cloned()
    });
    // It says no with its exit code while the home may not be disturbed.
    let printed = home.agent.command_ended(&["update", "status"]).stdout;
    let told = stage.fleet.run(&["update", "status"]).ok();
    for one in said.iter().filter_map(|one| one.as_str()) {
        assert!(printed.contains(&format!("  - {one}\n")), "{printed}");
        assert!(
            told.contains(&format!("not only Homeward disturbs this home: {one}")),
            "{told}"
        );
    }
}
