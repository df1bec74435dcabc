//! Modbus/TCP Security with peers that know nothing of ours: certificates by OpenSSL, its client against our guard,
//! and our client against a device by pymodbus.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use homeward_tests::peers::{Pymodbus, Site, free_port};
use homeward_tests::programs::agent::Agent;

use super::guarded::PROFILE;
use super::stage::{SOON, Stage};

/// Our header, then: write 7 to register 10.
const WRITE: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 6, 0, 10, 0, 7];
/// Our header, then: read register 0.
const READ: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];

/// The answer of a server to one question by OpenSSL's client; nothing when it hung up.
fn answer(site: &Site, port: u16, more: &[&str], question: &[u8]) -> Vec<u8> {
    let mut command = site.client(port, more);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut client = command.spawn().expect("openssl starts");
    let mut stdin = client.stdin.take().expect("piped");
    let mut stdout = client.stdout.take().expect("piped");
    // It may have been refused by then.
    let _ = stdin.write_all(question);
    let (told, first) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut held = [0; 64];
        let got = stdout.read(&mut held).unwrap_or(0);
        let _ = told.send(held[..got].to_vec());
    });
    let answer = first.recv_timeout(SOON).expect("an answer, or the end");
    drop(stdin);
    let _ = client.kill();
    client.wait().expect("it was started");
    reading.join().expect("it only reads");
    answer
}

fn certificate(name: &str) -> [String; 4] {
    [
        "-cert".into(),
        format!("{name}.pem"),
        "-key".into(),
        format!("{name}.key"),
    ]
}

/// An authority with these certificates, each with the role of its name.
fn site(dir: &Path, names: &[&str]) -> Option<Site> {
    fs::create_dir_all(dir).expect("our own folder");
    let site = Site::found(dir)?;
    for name in names {
        let role = matches!(*name, "operator" | "monitor").then_some(*name);
        site.issue(name, role);
    }
    Some(site)
}

fn tls_table(of: &str, site: &Site, who: &str) -> String {
    let path = |name: String| site.file(&name).display().to_string();
    let [authority, certificate, key] = [
        "authority.pem".to_owned(),
        format!("{who}.pem"),
        format!("{who}.key"),
    ]
    .map(path);
    format!("[{of}.tls]\nauthority = \"{authority}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_reaches_the_device_behind_the_guard_as_far_as_its_role_lets_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["guard", "operator", "monitor", "nobody"];
    let Some(ours) = site(&folder.path().join("site"), &names) else {
        return;
    };
    let other = site(&folder.path().join("other"), &["operator"]).expect("openssl made one before");
    // Whom the stranger believes is not the question.
    fs::copy(ours.file("authority.pem"), other.file("authority.pem")).expect("our own folder");
    let Some(device) = Pymodbus::start(&[(0, 31), (10, 5)]) else {
        return;
    };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let (dir, guard, gate) = (
        home.agent.dir().to_owned(),
        free_port(),
        home.link.address().port(),
    );
    fs::create_dir_all(dir.join("profiles")).expect("a folder");
    fs::write(dir.join("profiles/pump.toml"), PROFILE).expect("the profile");
    let text = format!(
        "[server]\ngate = \"localhost:{gate}\"\n\n\
         [[sensor]]\nid = \"pump\"\nprofile = \"pump\"\naddress = \"127.0.0.1:{}\"\n\n\
         [[guard]]\nlisten = \"127.0.0.1:{guard}\"\nbefore = \"pump\"\n\n{}\n\
         [[guard.peer]]\nrole = \"operator\"\n\
         allow = [ {{ unit = 1, functions = [3, 6], first = 0, last = 20 }} ]\n\n\
         [[guard.peer]]\nrole = \"monitor\"\nallow = [ {{ unit = 1, functions = [3], first = 0, last = 20 }} ]\n",
        device.port,
        tls_table("guard", &ours, "guard"),
    );
    fs::write(dir.join("agent.toml"), text).expect("agent.toml");
    home.run();
    home.agent.program().wait_line("the guard listens", SOON);
    let ask = |site: &Site, name: &str, more: &[&str], question: &[u8]| {
        let shown = certificate(name);
        let shown: Vec<&str> = shown
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        answer(site, guard, &shown, question)
    };
    let refused = |function: u8, code: u8| vec![0, 1, 0, 0, 0, 3, 1, function | 0x80, code];
    let value = |value: u8| vec![0, 1, 0, 0, 0, 5, 1, 3, 2, 0, value];
    assert_eq!(ask(&ours, "monitor", &[], &READ), value(31));
    assert_eq!(ask(&ours, "monitor", &[], &WRITE), refused(6, 1));
    assert_eq!(
        ask(&ours, "nobody", &[], &READ),
        refused(3, 1),
        "no role, no rights"
    );
    assert_eq!(ask(&ours, "nobody", &[], &WRITE), refused(6, 1));
    assert_eq!(
        ask(&other, "operator", &[], &WRITE),
        Vec::<u8>::new(),
        "another site's operator"
    );
    assert_eq!(
        ask(&ours, "operator", &["-tls1_2"], &WRITE),
        Vec::<u8>::new(),
        "an old TLS"
    );
    assert_eq!(
        answer(&ours, guard, &[], &WRITE),
        Vec::<u8>::new(),
        "no certificate"
    );
    let mut register = READ;
    register[9] = 10;
    assert_eq!(
        ask(&ours, "monitor", &[], &register),
        value(5),
        "nothing was written so far"
    );
    assert_eq!(ask(&ours, "operator", &[], &WRITE), WRITE);
    assert_eq!(ask(&ours, "monitor", &[], &register), value(7));
    let written = "SELECT count(*) FROM audit WHERE action = 'device-written' AND subject = 'pump'";
    homeward_tests::programs::wait_for("the write to be on record", SOON, || {
        (stage.number(written) == 1).then_some(())
    });
    home.agent.stop();
}

#[test]
fn a_device_by_another_maker_is_read_over_tls_and_only_when_it_proves_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(ours) = site(&folder.path().join("site"), &["device", "monitor"]) else {
        return;
    };
    let other = site(&folder.path().join("other"), &["device", "monitor"]).expect("openssl made one before");
    let start = |site: &Site, old| Pymodbus::secured(site, "device", old, &[(0, 31)]);
    let Some(good) = start(&ours, false) else { return };
    let [false_device, old] =
        [start(&other, false), start(&ours, true)].map(|device| device.expect("one started before"));
    let dir = folder.path().join("agent");
    fs::create_dir_all(dir.join("profiles")).expect("our own folder");
    fs::write(dir.join("profiles/pump.toml"), PROFILE).expect("our own folder");
    let agent = Agent::at(&dir);
    let read = |port: u16, name: &str, site: &Site| {
        let text = format!(
            "[[sensor]]\nid = \"pump\"\nprofile = \"pump\"\naddress = \"127.0.0.1:{port}\"\n\n{}name = \"{name}\"\n",
            tls_table("sensor", site, "monitor"),
        );
        fs::write(dir.join("agent.toml"), text).expect("our own folder");
        agent.command_ended(&["--json", "sensor", "read", "pump"])
    };
    let said = read(good.port, "127.0.0.1", &ours).ok();
    let readings: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        readings[0]["value"],
        serde_json::json!({"number": [31, 0]}),
        "{readings}"
    );
    for (what, ended) in [
        ("a false device", read(false_device.port, "127.0.0.1", &ours)),
        ("another name", read(good.port, "pump.example", &ours)),
        ("an old TLS", read(old.port, "127.0.0.1", &ours)),
        ("we are a stranger", read(good.port, "127.0.0.1", &other)),
    ] {
        let said = ended.failed();
        assert!(said.contains("pump"), "{what}: {said}");
    }
    // There is no way back to the plain protocol.
    let plain = Pymodbus::start(&[(0, 31)]).expect("one started before");
    read(plain.port, "127.0.0.1", &ours).failed();
}
