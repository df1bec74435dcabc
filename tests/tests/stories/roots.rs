//! The authority's keys follow one another while a home reports: nobody drives there, nothing is lost.

use std::path::Path;
use std::process::Command;

use homeward_tests::homes::Home;
use homeward_tests::programs::wait_for;
use homeward_tests::shared;

use super::stage::{SOON, Stage, is_connected};

fn key(stage: &Stage, name: &str) -> String {
    stage.fleet.dir().join("ca").join(name).display().to_string()
}

/// Waits until every box that may come back has said that it holds today's roots.
fn everybody_holds_todays_roots(stage: &Stage) {
    wait_for("all boxes to hold today's roots", SOON * 3, || {
        let status = stage.fleet.json(&["ca", "status"]);
        let none_missing = status["not_yet"].as_array().is_some_and(Vec::is_empty);
        (none_missing && status["holders"] == 1).then_some(())
    });
}

/// What the box signed under the first root, which nobody trusts any more, and under the others.
fn readings_of_every_time_verify(stage: &Stage, home: &Home) {
    let (out, list) = (stage.path().join("readings"), stage.path().join("all.crl"));
    let (out, list) = (out.display().to_string(), list.display().to_string());
    stage
        .fleet
        .run(&["reading", "export", home.gateway.as_str(), "--to", &out])
        .ok();
    stage.fleet.run(&["ca", "crl", "--out", &list]).ok();
    let roots = format!("{out}/roots.pem");
    // The command fails when one envelope or reading is refused.
    stage
        .fleet
        .run(&["reading", "verify", &out, "--roots", &roots, "--crl", &list])
        .ok();
}

fn reconnects_and_reports(stage: &Stage, home: &mut Home) {
    home.agent.stop();
    home.run();
    wait_for("the box to be connected", SOON, || {
        is_connected(home).then_some(())
    });
    stage.more_readings(10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_and_intermediates_are_replaced_while_a_home_reports() {
    let mut stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let medium = stage.path().join("medium");
    std::fs::create_dir(&medium).expect("a folder");
    let media = medium.display().to_string();
    let (first, second) = (key(&stage, "root-1.key"), key(&stage, "root-2.key"));
    let rotate = [
        "ca",
        "rotate",
        "root",
        "--root-key",
        &second,
        "--new-key-to",
        &media,
    ];

    // Before the box has ever reported, nobody knows what it holds.
    let refused = stage.fleet.run(&rotate).failed();
    assert!(
        refused.contains("have not said that they hold") && refused.contains(home.gateway.as_str()),
        "{refused}"
    );
    home.run();
    stage.more_readings(10);
    everybody_holds_todays_roots(&stage);
    let planned = stage.fleet.run(&[&rotate[..], &["--dry-run"]].concat()).ok();
    assert!(
        planned.contains("Nothing was changed") && planned.contains("All 1 gateways"),
        "{planned}"
    );
    let wrong = [
        "ca",
        "rotate",
        "root",
        "--root-key",
        &first,
        "--new-key-to",
        &media,
    ];
    assert!(
        stage
            .fleet
            .run(&wrong)
            .failed()
            .contains("not the key of the root")
    );

    // A new intermediate: the box's certificate is of the old one, and it comes back with it.
    stage
        .fleet
        .run(&["ca", "rotate", "issuing", "--root-key", &first])
        .ok();
    stage
        .fleet
        .program()
        .wait_line("the authority has new certificates", SOON);
    reconnects_and_reports(&stage, &mut home);

    // The next root: the box trusts it since it was enrolled, and learns of the one after it by a link.
    stage.fleet.run(&rotate).ok();
    reconnects_and_reports(&stage, &mut home);
    everybody_holds_todays_roots(&stage);
    let anchors = std::fs::read_to_string(home.agent.dir().join("identity/trust.pem")).expect("there");
    assert_eq!(anchors.matches("BEGIN CERTIFICATE").count(), 3);

    stage.fleet.run(&["ca", "rotate", "drop-old"]).ok();
    everybody_holds_todays_roots(&stage);
    let anchors = std::fs::read_to_string(home.agent.dir().join("identity/trust.pem")).expect("there");
    assert_eq!(anchors.matches("BEGIN CERTIFICATE").count(), 2);
    reconnects_and_reports(&stage, &mut home);

    // The server starts on what is there, and a box that enrols now trusts the new roots.
    stage.fleet.stop();
    stage.fleet.serve(&super::stage::PLAIN);
    stage.more_readings(10);
    let mut other = stage.home("mill-road-14").await;
    other.run();
    wait_for("the new box to be connected", SOON, || {
        is_connected(&other).then_some(())
    });
    let trail = stage.number("SELECT count(*) FROM audit WHERE action = 'authority-changed'");
    assert_eq!(trail, 3);
    home.agent.stop();
    other.agent.stop();
    readings_of_every_time_verify(&stage, &home);
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

/// What openssl, as another broker would use it, says of a box's certificate against the published list.
fn openssl_verifies(stage: &Stage, home: &Home, list: &Path) -> String {
    let mut command = Command::new("openssl");
    command.args([
        "verify",
        "-crl_check",
        "-partial_chain",
        "-purpose",
        "sslclient",
        "-CAfile",
    ]);
    command
        .arg(stage.fleet.dir().join("ca/gateways.crt"))
        .arg("-CRLfile")
        .arg(list);
    command.arg(home.agent.dir().join("identity/certificate.pem"));
    let done = command.output().expect("openssl runs");
    format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_certificate_is_revoked_and_its_holder_is_out_within_a_second() {
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(4);
    let shown = stage.fleet.json(&["gateway", "show", home.gateway.as_str()]);
    let serial = shown["certificates"][0]["serial"]
        .as_str()
        .expect("a number")
        .to_owned();
    let revoke = ["ca", "revoke", &serial, "--reason", "the key was copied"];
    let planned = stage.fleet.run(&[&revoke[..], &["--dry-run"]].concat()).ok();
    assert!(planned.contains("Nothing was changed"), "{planned}");
    stage.fleet.run(&revoke).ok();
    let open = "SELECT count(*) FROM connections WHERE ended_at IS NULL";
    wait_for("the connection to end", SOON, || {
        (stage.number(open) == 0).then_some(())
    });
    let took = stage.number(
        "SELECT (SELECT max(ended_at) FROM connections) - (SELECT max(revoked_at) FROM certificates)",
    );
    assert!((0..=1000).contains(&took), "cut off after {took} ms");
    assert!(stage.fleet.run(&revoke).failed().contains("was revoked at"));
    let list = stage.path().join("gateways.crl");
    stage
        .fleet
        .run(&["ca", "crl", "--out", &list.display().to_string()])
        .ok();
    let text = std::fs::read_to_string(&list).expect("the list");
    assert!(text.starts_with("-----BEGIN X509 CRL-----"), "{text}");
    assert_eq!(stage.fleet.json(&["ca", "crl"])["revoked"], 1);
    if shared::program("openssl").is_some() {
        let said = openssl_verifies(&stage, &home, &list);
        assert!(said.contains("certificate revoked"), "{said}");
        let other = stage.home("mill-road-14").await;
        let said = openssl_verifies(&stage, &other, &list);
        assert!(said.contains(": OK"), "{said}");
    } else {
        shared::missing("openssl", "apt install openssl");
    }
    home.agent.stop();
    home.run();
    home.agent.program().wait_line("no connection to", SOON);
    assert!(
        !is_connected(&home),
        "it cannot come back, by a new handshake or an old session"
    );
}
