//! What a box is: told by the real agent, kept by the real server, asked by people, programs and the command line.

use std::time::Duration;

use homeward_tests::programs::wait_for;

use super::stage::{Stage, is_connected};

/// The agent looks at its box 20 seconds after its start.
const TOLD: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_tells_what_it_is_once_and_its_software_when_it_is_asked_for_it() {
    let stage = Stage::new();
    let mut home = stage.home("home-1").await;
    home.run();
    wait_for("the agent to be connected", TOLD, || {
        is_connected(&home).then_some(())
    });
    let id = home.gateway.to_string();
    wait_for("the facts to arrive", TOLD, || {
        (stage.number("SELECT count(*) FROM facts") > 20).then_some(())
    });
    // The server saw a list of software that it does not have, and asked for it.
    wait_for("the list of software to arrive", TOLD, || {
        (stage.number("SELECT count(*) FROM inventories") == 1).then_some(())
    });
    let facts = stage.fleet.json(&["posture", "show", &id]);
    let said = |name: &str| {
        let all = facts["facts"].as_array().expect("a list");
        all.iter().find(|f| f["id"] == name).map(|f| f["value"].clone())
    };
    assert!(said("os.name").is_some_and(|name| name != ""), "{facts}");
    assert_eq!(said("agent.version").expect("told"), env!("CARGO_PKG_VERSION"));
    assert!(
        said("modbus.bus[127.0.0.1").is_none(),
        "a bus is told with its port"
    );
    let sbom = stage.fleet.json(&["posture", "sbom", &id]);
    assert_eq!(sbom["specVersion"], "1.6");
    let agents = stage
        .fleet
        .json(&["posture", "find", "--package", "homeward-agent"]);
    assert_eq!(agents[0]["gateway"], id.as_str());
    let found = stage
        .fleet
        .json(&["posture", "find", "--fact", "agent.version", "--value", "0."]);
    assert_eq!(found[0]["gateway"], id.as_str());

    // A restart with nothing changed tells nothing again: one small message, and no row.
    let tables = || {
        ["facts", "fact_changes", "inventories", "inventory_pieces"]
            .map(|table| stage.number(&format!("SELECT count(*) FROM {table}")))
    };
    let reports = || stage.number("SELECT number FROM fact_states");
    let (rows, number) = (tables(), reports());
    home.agent.stop();
    home.run();
    wait_for("the agent to be connected again", TOLD, || {
        is_connected(&home).then_some(())
    });
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(
        (tables()[2..].to_vec(), reports() - number <= 1),
        (rows[2..].to_vec(), true)
    );

    // A person wants all of it now.
    let before = stage.number("SELECT received_at FROM fact_states");
    stage.fleet.run(&["posture", "ask", &id]).ok();
    wait_for("all facts to be told again", TOLD, || {
        (stage.number("SELECT received_at FROM fact_states") > before).then_some(())
    });
    assert_eq!(
        stage.number("SELECT count(*) FROM fact_states WHERE newest IS NULL"),
        1,
        "a full report"
    );
}
