//! A gateway is revoked: cut off at once, refused when it comes back, and it loses nothing of what it holds.

use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;

use super::stage::{PASSWORD, SOON, Stage, is_connected};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_gateway_is_cut_off_within_a_second_and_keeps_its_readings() {
    let mut stage = Stage::new();
    stage.operator("olivia");
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(10);
    let gateway = home.gateway.clone();
    let id = gateway.as_str();
    let revoke = ["gateway", "revoke", id, "--reason", "the box was stolen"];
    let planned = stage.fleet.run(&[&revoke[..], &["--dry-run"]].concat()).ok();
    assert!(planned.contains("Nothing was changed"), "{planned}");
    wait_for("the box to be connected", SOON, || {
        is_connected(&home).then_some(())
    });

    stage.fleet.run(&revoke).ok();
    let open = "SELECT count(*) FROM connections WHERE ended_at IS NULL";
    wait_for("the connection to end", SOON, || {
        (stage.number(open) == 0).then_some(())
    });
    let took = "SELECT (SELECT max(ended_at) FROM connections) - revoked_at FROM gateways";
    let took = stage.number(took);
    assert!((0..=1000).contains(&took), "cut off after {took} ms");
    let stored = stage.readings();
    wait_for("the box to notice", SOON, || (!is_connected(&home)).then_some(()));
    wait_for("readings to be kept", SOON, || {
        (home.waiting() >= 20).then_some(())
    });

    home.agent.stop();
    home.run();
    home.agent.program().wait_line("no connection to", SOON);
    assert!(!is_connected(&home));
    assert!(home.waiting() >= 20, "it keeps what it has");
    assert_eq!(stage.readings(), stored, "nothing comes in any more");
    assert_eq!(
        stage.number("SELECT count(*) FROM gateways WHERE state = 'revoked'"),
        1
    );

    if let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") {
        let trail = olivia.signed_in("olivia", PASSWORD).get("/audit").text;
        assert!(
            trail.contains("the box was stolen") && trail.contains(id),
            "{trail}"
        );
    }
    home.agent.stop();
    stage.fleet.stop();
    let report = stage.fleet.run(&["check"]).ok();
    assert!(report.contains("unbroken"), "{report}");
}
