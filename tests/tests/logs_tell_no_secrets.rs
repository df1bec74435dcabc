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
use homeward_tests::console::Person;
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
    let made = fleet.json(&[
        "claim",
        "new",
        "--no-approval",
        "--placement",
        "home-1",
        "--team",
        "north",
    ]);
    let claim: Claim = serde_json::from_value(made["claim"].clone()).expect("a claim");
    let mut logs: Vec<String> = Vec::new();

    let dir = folder.path().join("box");
    fs::create_dir(&dir).expect("the story's folder");
    let mut agent = Agent::at(&dir);
    agent.surround(&talkative);
    let wrong = claim.to_string().replace("&c=", "&c=QQ");
    let refused = agent.enrol(&wrong, SOON);
    let enrolled = agent.enrol(&claim.to_string(), SOON);
    assert!(enrolled.status.success(), "{}", enrolled.stderr);
    for said in [refused, enrolled] {
        logs.extend([said.stdout, said.stderr]);
    }
    let config = format!(
        "[server]\nretry_min_ms = 100\nretry_max_ms = 500\n[[sensor]]\nid = \"room\"\nprofile = \
         \"comet-tx5xx\"\naddress = \"127.0.0.1:{}\"\ninterval_ms = 200\n",
        device.port
    );
    fs::write(dir.join("agent.toml"), config).expect("the story's folder");
    agent.run(&PLAIN);
    let database = fleet.dir().join("fleet.db");
    let stored = |least| {
        wait_for("readings to be stored", SOON, || {
            (number(&database, "SELECT count(*) FROM readings") >= least).then_some(())
        });
    };
    stored(10);

    let Some(olivia) = Person::at(&fleet, folder.path(), "olivia") else {
        return;
    };
    let stranger = Person::at(&fleet, folder.path(), "stranger").expect("there is curl");
    let form = stranger.get("/sign-in").text;
    let guess = stranger.post(
        "/sign-in",
        &[
            ("csrf", homeward_tests::console::csrf(&form)),
            ("name", "olivia"),
            ("password", "a-guess-that-is-wrong"),
        ],
    );
    assert_eq!(guess.status, 401);
    let olivia = olivia.signed_in("olivia", PASSWORD);
    // What must not be logged is really there.
    let gateway = format!("/gateways/{}", claim.gateway);
    let page = wait_for("the values on the page", SOON, || {
        let page = olivia.get(&gateway).text;
        (page.contains("3133.7") && page.contains("2987.3")).then_some(page)
    });
    let session = homeward_tests::console::csrf(&page).to_owned();
    let token = fleet.json(&["token", "new", "reports", "--scope", "fleet:read"]);
    let token = token["token"].as_str().expect("a token").to_owned();
    let path = format!("/api/v1/gateways/{}/latest", claim.gateway);
    assert!(olivia.api(&path, &token).text.contains("2987.3"));
    assert_eq!(
        olivia
            .api(
                &format!(
                    "/api/v1/gateways/{}/readings?sensor=room&from_ms=x",
                    claim.gateway
                ),
                &token
            )
            .status
            / 100,
        4
    );

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

    let mut secrets = readings();
    keys(fleet.dir(), &mut secrets);
    keys(agent.dir(), &mut secrets);
    assert!(secrets.iter().filter(|s| s.what == "a key").count() >= 5);
    let code = claim.code.to_string();
    secrets.push(secret("the claim's code", code.as_str()));
    secrets.push(secret("the claim's code", code.replace('-', "")));
    secrets.push(secret("a password", PASSWORD));
    secrets.push(secret("a wrong password", "a-guess-that-is-wrong"));
    secrets.push(secret("a password's hash", "$argon2"));
    secrets.push(secret("the token", token.trim()));
    secrets.push(secret("the form's token", session));
    let jar = fs::read_to_string(olivia.jar()).expect("a jar of cookies");
    let cookie = jar
        .lines()
        .find_map(|line| line.split_once("__Host-hw\t"))
        .expect("a session");
    secrets.push(secret("the session", cookie.1.trim()));

    let said = logs.iter().flat_map(|log| log.lines());
    let lines: Vec<&str> = said.collect();
    println!("{} lines searched for {} secrets", lines.len(), secrets.len());
    assert!(
        lines.iter().any(|line| line.contains("DEBUG")),
        "the run was as talkative as it can be"
    );
    for Secret { what, text } in &secrets {
        let told = lines
            .iter()
            .find(|line| says(&line.to_lowercase(), &text.to_lowercase()));
        assert!(
            told.is_none(),
            "{what} ({text}) is in the log: {}",
            told.unwrap_or(&"")
        );
    }
}
