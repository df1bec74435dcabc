//! A box proves itself, is judged, and leaves what it was judged by itself; what is not in order is found.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use homeward_agent::identity::keys::DeviceKey;
use homeward_protocol::attest::{Notice, Trust};
use homeward_protocol::posture::ShortText;
use homeward_tests::console::Person;
use homeward_tests::homes::Home;
use homeward_tests::programs::{binary, finish, wait_for};
use homeward_tests::shared;
use homeward_tests::testimony::Witness;
use homeward_tests::wall::clock;
use serde_json::Value;

use super::stage::{PASSWORD, PLAIN, SOON, Stage};

/// How the server says that the box stands.
fn shown(stage: &Stage, home: &Home) -> Value {
    stage.fleet.json(&["attest", "show", home.gateway.as_str()])
}

/// Waits until the server says that the box stands so.
fn stands(stage: &Stage, home: &Home, trust: &str) -> Value {
    wait_for(&format!("the box to stand as {trust}"), SOON * 2, || {
        let shown = shown(stage, home);
        (shown["trust"] == trust).then_some(shown)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_judgement_ends_at_its_printed_moment_whatever_runs_and_a_wrong_clock_trusts_nobody() {
    let (Some(before), Some(after)) = (clock("+35h"), clock("+37h")) else {
        return;
    };
    let mut stage = Stage::new();
    stage.operator("olivia");
    stage.nurse("nora", "north");
    let mut home = stage.home("mill-road-12").await;
    home.run();
    let shown_now = stands(&stage, &home, "warning");
    assert_eq!(shown_now["tier"], "software");
    let printed = shown_now["expires_at_ms"].as_i64().expect("an end");
    let said = shown_now["history"][0]["said"].to_string();
    assert!(said.contains("only the box's own word"), "{said}");
    stage.more_readings(4);

    // The box hears it too, and says it.
    let own = wait_for("the box to hear of it", SOON, || {
        let text = home.agent.command_ended(&["--json", "evidence"]).ok();
        let own: Value = serde_json::from_str(&text).expect("JSON");
        (own["judgement"]["trust"] == "warning").then_some(own)
    });
    assert_eq!(own["judgement"]["expires_at_ms"], printed);
    let plain = home.agent.command_ended(&["evidence"]).ok();
    assert!(
        plain.contains("Judgement    warning (software), until"),
        "{plain}"
    );

    if let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") {
        let page = olivia
            .signed_in("olivia", PASSWORD)
            .get(&format!("/gateways/{}", home.gateway))
            .text;
        assert!(
            page.contains("<strong class=\"trust warning\">Warning</strong> until"),
            "{page}"
        );
    }
    // The box falls silent, and the server is restarted at other times.
    home.agent.stop();
    stage.fleet.stop();
    for (clock, trust) in [(&before, "warning"), (&after, "stale")] {
        stage.fleet.surround(clock);
        stage.fleet.serve(&PLAIN);
        assert_eq!(shown(&stage, &home)["trust"], trust);
        assert_eq!(
            shown(&stage, &home)["expires_at_ms"],
            printed,
            "nothing moves its end"
        );
        if trust == "stale"
            && let Some(nora) = Person::at(&stage.fleet, stage.path(), "nora")
        {
            let page = nora.signed_in("nora", PASSWORD).get("/care").text;
            assert!(!page.contains("home all-working"), "stale is never green");
        }
        stage.fleet.stop();
    }
    // The sign-in above was written at +37 h: the true time lies before that record, so the clock is at fault.
    stage.fleet.surround(&[]);
    stage.fleet.serve(&PLAIN);
    assert_eq!(shown(&stage, &home)["trust"], "unknown");
    let alarm = "SELECT count(*) FROM incidents WHERE kind = 'server-clock' AND closed_at IS NULL";
    wait_for("the alarm about the clock", SOON, || {
        (stage.number(alarm) == 1).then_some(())
    });
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

/// A program that runs as the agent does and is another one: a byte stands behind its end.
fn tampered(folder: &Path) -> PathBuf {
    let mut program = fs::read(binary("homeward-agent")).expect("the agent");
    program.push(0);
    let path = folder.join("tampered-agent");
    fs::write(&path, program).expect("writes");
    let mode = fs::metadata(binary("homeward-agent"))
        .expect("there")
        .permissions();
    fs::set_permissions(&path, mode).expect("made a program");
    path
}

/// A key that signs releases, and its public half; `None` without openssl, said aloud.
pub(super) fn maker(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let (key, public) = (folder.join("maker.key"), folder.join("maker.pem"));
    let openssl = |args: &[&str]| {
        let made = Command::new("openssl").args(args).output();
        made.is_ok_and(|out| out.status.success())
    };
    let (k, p) = (key.display().to_string(), public.display().to_string());
    let made = openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &k,
    ]) && openssl(&["pkey", "-in", &k, "-pubout", "-out", &p]);
    if !made {
        shared::missing(
            "openssl",
            "install the Debian package openssl, or run tests/run --install",
        );
        return None;
    }
    Some((key, public))
}

/// Signs and loads the values of the agent that this run built.
fn load_release(stage: &Stage, key: &Path, public: &Path) -> PathBuf {
    load_values(
        stage,
        (key, public),
        env!("CARGO_PKG_VERSION"),
        &binary("homeward-agent"),
    )
}

/// Signs and loads the values of this agent, as a release of this name.
pub(super) fn load_values(
    stage: &Stage,
    (key, public): (&Path, &Path),
    release: &str,
    agent: &Path,
) -> PathBuf {
    let file = stage.path().join(format!("{release}.rim"));
    let args: [OsString; 10] = [
        "reference".into(),
        "make".into(),
        "--release".into(),
        release.into(),
        "--agent".into(),
        agent.into(),
        "--key".into(),
        key.into(),
        "--out".into(),
        (&file).into(),
    ];
    stage.fleet.run(&args).ok();
    let load: [OsString; 5] = [
        "reference".into(),
        "load".into(),
        (&file).into(),
        "--signer".into(),
        public.into(),
    ];
    stage.fleet.run(&load).ok();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_agent_is_shut_off_its_readings_still_arrive_and_only_a_person_opens_it() {
    let mut stage = Stage::new();
    let Some((key, public)) = maker(stage.path()) else {
        return;
    };
    let release = load_release(&stage, &key, &public);
    let mut home = stage.home("mill-road-12").await;
    let id = home.gateway.to_string();
    home.run();
    let good = stands(&stage, &home, "warning");
    assert!(!good.to_string().contains("not the one of its release"), "{good}");
    // Its evidence holds by itself, against its certificate and the release.
    let saved = stage.path().join("evidence.cbor");
    let save: [OsString; 5] = [
        "attest".into(),
        "show".into(),
        (&id).into(),
        "--save".into(),
        (&saved).into(),
    ];
    stage.fleet.run(&save).ok();
    let verify = |file: &Path| {
        let mut command = Command::new(binary("homeward-fleet"));
        command
            .args(["--json", "evidence", "verify"])
            .arg(file)
            .arg("--roots");
        command
            .arg(stage.fleet.dir().join("ca/root.crt"))
            .arg("--certificates");
        command.arg(home.agent.dir().join("identity/certificate.pem"));
        command
            .arg("--certificates")
            .arg(stage.fleet.dir().join("ca/gateways.crt"));
        command
            .arg("--reference")
            .arg(&release)
            .arg("--signer")
            .arg(&public);
        finish(&mut command, b"", SOON)
    };
    let held = verify(&saved);
    assert!(
        held.status.success() && held.stdout.contains("as released"),
        "{held:?}"
    );
    let mut bytes = fs::read(&saved).expect("saved");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let spoilt = stage.path().join("spoilt.cbor");
    fs::write(&spoilt, bytes).expect("writes");
    assert_eq!(verify(&spoilt).status.code(), Some(1));

    home.agent.stop();
    home.agent.replace_program(&tampered(stage.path()));
    home.run();
    stage.fleet.run(&["attest", "challenge", &id]).ok();
    let failed = stands(&stage, &home, "failed");
    assert!(
        failed
            .to_string()
            .contains("the agent's program is not the one of its release"),
        "{failed}"
    );
    // The second one comes by itself in a minute; a person need not wait.
    stage.fleet.run(&["attest", "challenge", &id]).ok();
    let shut = wait_for("the second failure", SOON * 3, || {
        let shown = shown(&stage, &home);
        (!shown["quarantine"].is_null()).then_some(shown)
    });
    assert!(shut["failures"].as_i64() >= Some(2), "{shut}");
    let open = "SELECT count(*) FROM incidents WHERE kind = 'quarantined' AND closed_at IS NULL";
    assert_eq!(stage.number(open), 1);
    stage.more_readings(10);
    let marked = "SELECT count(*) FROM readings WHERE grade = 'unverified'";
    wait_for("readings to be marked", SOON, || {
        (stage.number(marked) > 0).then_some(())
    });

    // The right program again: its evidence is in order, and it stays shut off.
    home.agent.stop();
    home.agent.replace_program(&binary("homeward-agent"));
    home.run();
    stage.fleet.run(&["attest", "challenge", &id]).ok();
    wait_for("evidence in order", SOON * 2, || {
        (shown(&stage, &home)["history"][0]["status"] == "warning").then_some(())
    });
    assert_eq!(shown(&stage, &home)["trust"], "failed");
    let none = stage
        .fleet
        .run(&["attest", "accept", &id, "--lift", "--reason", " "])
        .failed();
    assert!(none.contains("a reason is needed"), "{none}");
    let why = "the agent was put back by hand";
    stage
        .fleet
        .run(&["attest", "accept", &id, "--lift", "--reason", why])
        .ok();
    stands(&stage, &home, "warning");
    assert_eq!(stage.number(open), 0);
    let trail = "SELECT count(*) FROM audit WHERE action = 'quarantine-lifted' AND detail LIKE '%by hand%'";
    assert_eq!(stage.number(trail), 1);
    home.agent.stop();
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_number_a_recording_and_another_key_are_each_found_at_once() {
    let mut stage = Stage::new();
    let port = stage.fleet.port("gate");
    let verdict = |notice: &Notice| {
        let said: Vec<&str> = notice.said.iter().map(ShortText::as_str).collect();
        (notice.trust, notice.quarantined, said.join("; "))
    };
    // A number that was never asked.
    let home = stage.home("mill-road-1").await;
    let mut witness = Witness::connect(home.agent.dir(), port).await;
    witness.challenge().await;
    witness.send(witness.bundle([1; 32], &witness.key, |_| {})).await;
    let (trust, shut, said) = verdict(&witness.notice().await);
    assert_eq!((trust, shut), (Trust::Failed, true));
    assert!(said.contains("a challenge that was never made"), "{said}");

    // Another box's key, under this one's name.
    let home = stage.home("mill-road-2").await;
    let mut witness = Witness::connect(home.agent.dir(), port).await;
    let asked = witness.challenge().await;
    let other = DeviceKey::make().expect("a key");
    witness.send(witness.bundle(asked.nonce.0, &other, |_| {})).await;
    let (trust, shut, said) = verdict(&witness.notice().await);
    assert_eq!((trust, shut), (Trust::Failed, true));
    assert!(said.contains("not signed by the key"), "{said}");

    // Good evidence, and the same again when it is asked anew.
    let home = stage.home("mill-road-3").await;
    let mut witness = Witness::connect(home.agent.dir(), port).await;
    let asked = witness.challenge().await;
    let good = witness.bundle(asked.nonce.0, &witness.key, |_| {});
    witness.send(good.clone()).await;
    let first = verdict(&witness.notice().await);
    assert_eq!((first.0, first.1), (Trust::Warning, false));
    stage
        .fleet
        .run(&["attest", "challenge", home.gateway.as_str()])
        .ok();
    witness.challenge().await;
    witness.send(good).await;
    let (trust, shut, said) = verdict(&witness.notice().await);
    assert_eq!((trust, shut), (Trust::Failed, true));
    assert!(said.contains("it is a recording"), "{said}");

    // Something that is no evidence fails, and is not held against it at once.
    let home = stage.home("mill-road-4").await;
    let mut witness = Witness::connect(home.agent.dir(), port).await;
    witness.challenge().await;
    witness.send(b"hello".to_vec()).await;
    let (trust, shut, said) = verdict(&witness.notice().await);
    assert_eq!((trust, shut), (Trust::Failed, false), "{said}");
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}
