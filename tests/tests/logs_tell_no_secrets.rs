//! The promise: nothing that either program says, at its most talkative, holds a secret or a reading's value.
//!
//! A whole run is searched: set-up, sign-in, enrolment, delivery, a token's use, a lost link, revocation.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a story with real processes and files"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use homeward_protocol::claim::Claim;
use homeward_tests::console::{Person, csrf};
use homeward_tests::peers::Pymodbus;
use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::wait_for;
use homeward_tests::tally::number;

const SOON: Duration = Duration::from_secs(30);
const PLAIN: [&str; 0] = [];
const PASSWORD: &str = "violet-anvil-harbour-19";
/// Temperature and humidity in tenths: numbers that nothing else of this run is likely to be.
const REGISTERS: [(u16, u16); 2] = [(49, 31_337), (50, 29_873)];

/// Something that must not be said.
struct Secret {
    what: &'static str,
    text: String,
}

fn secret(what: &'static str, text: impl Into<String>) -> Secret {
    let text = text.into();
    assert!(text.len() >= 4, "{what}: too short to look for");
    Secret { what, text }
}

/// The readings as values, as registers, and as they stand in a record, in the ways that `Debug` prints bytes.
fn readings() -> Vec<Secret> {
    let mut all = Vec::new();
    for (_, register) in REGISTERS {
        let [high, low] = register.to_be_bytes();
        all.push(secret("a value", format!("{}.{}", register / 10, register % 10)));
        all.push(secret("a register", register.to_string()));
        all.push(secret("a record", format!("25, {high}, {low}, 32")));
        // CBOR: the mantissa as a number of two bytes, and -1 as the power of ten.
        all.push(secret("a record", format!("19{high:02x}{low:02x}20")));
        let escaped: String = [0x19, high, low, 0x20]
            .iter()
            .map(|b| std::ascii::escape_default(*b).to_string())
            .collect();
        all.push(secret("a record", escaped));
    }
    all
}

/// Every long line of every private key below `folder`.
fn keys(folder: &Path, all: &mut Vec<Secret>) {
    for entry in fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            keys(&path, all);
        } else if let Ok(text) = fs::read_to_string(&path)
            && text.contains("PRIVATE KEY")
        {
            let lines = text
                .lines()
                .filter(|line| line.len() >= 40 && !line.contains("-----"));
            all.extend(lines.map(|line| secret("a key", line)));
        }
    }
}

/// Whether `line` holds `text`, and not as digits in the middle of a longer number (a time, a port).
fn says(line: &str, text: &str) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    line.match_indices(text).any(|(at, found)| {
        let before = line.get(..at).and_then(|s| s.chars().next_back());
        let after = line.get(at + found.len()..).and_then(|s| s.chars().next());
        let (first, last) = (text.chars().next(), text.chars().next_back());
        !(digit(first) && digit(before) || digit(last) && digit(after))
    })
}

/// Enrols a box, first with a wrong code, and tells it of the device. Gives what the box said.
fn enrol(agent: &Agent, claim: &Claim, port: u16) -> Vec<String> {
    let wrong = claim.to_string().replace("&c=", "&c=QQ");
    let refused = agent.enrol(&wrong, SOON);
    let enrolled = agent.enrol(&claim.to_string(), SOON);
    assert!(enrolled.status.success(), "{}", enrolled.stderr);
    let config = format!(
        "[server]\nretry_min_ms = 100\nretry_max_ms = 500\n[[sensor]]\nid = \"room\"\nprofile = \
         \"comet-tx5xx\"\naddress = \"127.0.0.1:{port}\"\ninterval_ms = 200\n"
    );
    fs::write(agent.dir().join("agent.toml"), config).expect("the story's folder");
    vec![refused.stdout, refused.stderr, enrolled.stdout, enrolled.stderr]
}

/// People and a program look at everything, and one guesses a password. Gives the secrets that passed.
fn at_the_console(fleet: &Fleet, folder: &Path, claim: &Claim) -> Option<Vec<Secret>> {
    let stranger = Person::at(fleet, folder, "stranger")?;
    let form = stranger.get("/sign-in").text;
    let guess = [
        ("csrf", csrf(&form)),
        ("name", "olivia"),
        ("password", "a-guess-that-is-wrong"),
    ];
    assert_eq!(stranger.post("/sign-in", &guess).status, 401);
    let olivia = Person::at(fleet, folder, "olivia")?.signed_in("olivia", PASSWORD);
    // What must not be logged is really there.
    let gateway = format!("/gateways/{}", claim.gateway);
    let page = wait_for("the values on the page", SOON, || {
        let page = olivia.get(&gateway).text;
        (page.contains("3133.7") && page.contains("2987.3")).then_some(page)
    });
    let token = fleet.json(&["token", "new", "reports", "--scope", "fleet:read"]);
    let token = token["token"].as_str().expect("a token");
    let api = format!("/api/v1/gateways/{}", claim.gateway);
    let latest = olivia.api(&format!("{api}/latest"), token);
    assert!(latest.text.contains("2987.3"), "{}", latest.text);
    let wrong = olivia.api(&format!("{api}/readings?sensor=room&from_ms=x"), token);
    assert_eq!(wrong.status, 422);
    let jar = fs::read_to_string(olivia.jar()).expect("a jar of cookies");
    let session = jar.lines().find_map(|line| line.split_once("__Host-hw\t"));
    Some(vec![
        secret("a password", PASSWORD),
        secret("a wrong password", "a-guess-that-is-wrong"),
        secret("a password's hash", "$argon2"),
        secret("the token", token.trim()),
        secret("the form's token", csrf(&page)),
        secret("the session", session.expect("a session").1.trim()),
    ])
}

#[test]
fn logs_tell_no_secrets() {
    let Some(device) = Pymodbus::start(&REGISTERS) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let talkative = [("RUST_LOG".into(), "debug".into())];
    let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
    fleet.surround(&talkative);
    fleet
        .tell(&["user", "add", "olivia", "--role", "operator"], PASSWORD)
        .ok();
    fleet.serve(&PLAIN);
    let place = ["--placement", "home-1", "--team", "north"];
    let made = fleet.json(&[&["claim", "new", "--no-approval"][..], &place].concat());
    let claim: Claim = serde_json::from_value(made["claim"].clone()).expect("a claim");
    let dir = folder.path().join("box");
    fs::create_dir(&dir).expect("the story's folder");
    let mut agent = Agent::at(&dir);
    agent.surround(&talkative);
    let mut logs = enrol(&agent, &claim, device.port);
    agent.run(&PLAIN);
    let database = fleet.dir().join("fleet.db");
    let stored = |least| {
        wait_for("readings to be stored", SOON, || {
            (number(&database, "SELECT count(*) FROM readings") >= least).then_some(())
        });
    };
    stored(10);
    let Some(mut secrets) = at_the_console(&fleet, folder.path(), &claim) else {
        return;
    };

    // Links break and things are refused: errors are where careless programs talk.
    logs.extend(fleet.program().said());
    fleet.kill();
    agent.program().wait_line("no connection to", SOON);
    fleet.serve(&PLAIN);
    stored(number(&database, "SELECT count(*) FROM readings") + 10);
    fleet
        .run(&["gateway", "revoke", claim.gateway.as_str(), "--reason", "test"])
        .ok();
    wait_for("the box to be cut off", SOON, || {
        (number(
            &database,
            "SELECT count(*) FROM connections WHERE ended_at IS NULL",
        ) == 0)
            .then_some(())
    });
    agent.program().terminate(SOON);
    fleet.program().terminate(SOON);
    logs.extend(agent.program().said());
    logs.extend(fleet.program().said());

    secrets.extend(readings());
    keys(fleet.dir(), &mut secrets);
    keys(agent.dir(), &mut secrets);
    assert!(secrets.iter().filter(|s| s.what == "a key").count() >= 5);
    let code = claim.code.to_string();
    secrets.push(secret("the claim's code", code.as_str()));
    secrets.push(secret("the claim's code", code.replace('-', "")));
    search(&logs, &secrets, claim.gateway.as_str());
}

/// Looks for each secret in each line, and for something that is no secret, so that it is known to find.
fn search(logs: &[String], secrets: &[Secret], said: &str) {
    let lines: Vec<&str> = logs.iter().flat_map(|log| log.lines()).collect();
    println!("{} lines searched for {} secrets", lines.len(), secrets.len());
    let talks = lines.iter().any(|line| line.contains("DEBUG"));
    assert!(talks, "the run was as talkative as it can be");
    assert!(lines.iter().any(|line| says(line, said)), "{said} is not found");
    for Secret { what, text } in secrets {
        let text = text.to_lowercase();
        let told = lines.iter().find(|line| says(&line.to_lowercase(), &text));
        assert!(
            told.is_none(),
            "{what} ({text}) is in the log: {}",
            told.unwrap_or(&"")
        );
    }
}
