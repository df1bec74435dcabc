//! An update forced by two people although somebody asked for quiet: not by one of them, not by who has taken over the server,
//! and not while a device is being used.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homeward_devices::simulated::Behaviour;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{Keyring, SecondPerson, SignedDigest, SigningKey};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::{Force, ForceNumber, Offer, Review};
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::wire::Bytes;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::{Finished, binary, finish, wait_for};
use homeward_tests::releases::Releases;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::Value;

use super::policies::People;
use super::stage::Stage;

const LIMIT: Duration = Duration::from_mins(1);
/// Quiet after a start, polls, twenty seconds of trial, on a busy machine.
const UPDATE: Duration = Duration::from_mins(4);
const DEVICE: &str = "parker-db5-20";

/// A key of whoever has taken over the server.
struct Own(EcdsaKeyPair);

impl Own {
    fn new() -> Own {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        Own(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
    }

    fn named(&self, name: &str) -> SigningKey {
        SigningKey {
            name: ShortText::cut(name),
            key: PublicKey::from_point(self.0.public_key().as_ref()).expect("a point"),
        }
    }
}

impl Signer for Own {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|e| e.to_string())?;
        signature.as_ref().try_into().map_err(|_| "length".to_owned())
    }
}

/// One command of somebody who signs, away from the server.
fn away(args: &[&str]) -> Finished {
    let mut command = Command::new(binary("homeward-fleet"));
    finish(command.args(["update", "force"]).args(args), b"", LIMIT)
}

fn draft(stage: &Stage, home: &Home, people: &People, overrule: &str) -> String {
    let out = people.path(&format!("{overrule}.toml"));
    let gateway = home.gateway.as_str();
    let mut args = vec![
        "update",
        "force",
        "draft",
        "--gateway",
        gateway,
        "--overrule",
        overrule,
    ];
    args.extend(["--reason", "the hole is being used", "--out", &out]);
    let said = stage.fleet.run(&args).ok();
    assert!(said.contains("It never overrules a session"), "{said}");
    out
}

fn sign(people: &People, document: &str) -> String {
    let out = document.replace(".toml", "-signed.txt");
    let (key, pass, ring) = (
        people.path("ann.key"),
        people.path("passphrase.txt"),
        people.path("keyring.txt"),
    );
    let mut args = vec!["sign", document, "--key", &key, "--passphrase-file", &pass];
    args.extend(["--keyring", &ring, "--out", &out]);
    away(&args).ok();
    out
}

fn review(people: &People, signed: &str) -> String {
    let out = signed.replace("-signed", "-reviewed");
    let read = away(&["review", signed]).ok();
    let digest = read
        .split("--digest ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let digest = digest.expect("a digest to give");
    let by = |key: &str, out: &str| {
        let (key, pass) = (people.path(key), people.path("passphrase.txt"));
        let mut args = vec!["review", signed, "--key", &key, "--passphrase-file", &pass];
        args.extend(["--digest", digest, "--out", out]);
        away(&args)
    };
    by("ann.key", &format!("{out}.own")).failed();
    by("ben.key", &out).ok();
    out
}

/// How the server says that orders for the home stand, the newest first.
fn orders(stage: &Stage, home: &Home) -> Vec<Value> {
    let all = stage
        .fleet
        .json(&["update", "force", "status", "--gateway", home.gateway.as_str()]);
    all.as_array().cloned().unwrap_or_default()
}

fn order_stands(stage: &Stage, home: &mut Home, number: u64, stands: &str) -> Value {
    let what = format!("order {number} to be {stands}");
    wait_for(&what, UPDATE, || {
        home.tend();
        let found = orders(stage, home);
        found
            .into_iter()
            .find(|one| one["number"] == number && one["stands"] == stands)
    })
}

fn update(stage: &Stage, home: &Home) -> Value {
    let all = stage
        .fleet
        .json(&["update", "status", "--gateway", home.gateway.as_str()]);
    all[0].clone()
}

fn until(stage: &Stage, home: &mut Home, words: &str) -> Value {
    wait_for(&format!("the server to say {words:?}"), UPDATE, || {
        home.tend();
        let one = update(stage, home);
        let said = one["stands"].as_str().unwrap_or_default();
        said.contains(words).then_some(one)
    })
}

fn reasons(one: &Value) -> String {
    one["state"]["now"][1]["waiting"].to_string()
}

/// An order by keys of the server's own, put where orders are kept.
fn forge(stage: &Stage, home: &Home, document: &str) {
    let text = fs::read_to_string(document).expect("the document");
    let order = Force {
        number: ForceNumber(1),
        ..Force::read(&text).expect("a document")
    };
    let (root, author, reviewer) = (Own::new(), Own::new(), Own::new());
    let keyring = Keyring {
        version: 99,
        issued: order.not_before,
        expires: Moment::from_secs(order.until.secs() + 86_400),
        authors: vec![author.named("Ann Smith")],
        reviewers: vec![reviewer.named("Ben Okafor")],
        second_person: SecondPerson::Required,
    };
    let force = Signed::seal(&order, &author).expect("seals");
    let digest = SignedDigest::of(&force);
    let read = Review {
        force: digest,
        number: order.number,
        at: order.not_before,
    };
    let offer = Offer {
        keyring: Bytes(Signed::seal(&keyring, &root).expect("seals")),
        force: Bytes(force),
        review: Bytes(Signed::seal(&read, &reviewer).expect("seals")),
    };
    let db = rusqlite::Connection::open(stage.database()).expect("opens");
    db.execute(
        "INSERT INTO forces (gateway, number, digest, assignment, overrules, reason, author, reviewer, not_before, until_at,
           brought_at, brought_by, live, paper)
         VALUES (?1, 1, ?2, ?3, 'hold', 'forged', 'Ann Smith', 'Ben Okafor', ?4, ?5, ?4, 'mallory', 1, ?6)",
        rusqlite::params![
            home.gateway.as_str(),
            digest.to_string(),
            i64::try_from(order.assignment).expect("small"),
            order.not_before.ms(),
            order.until.ms(),
            offer.encode().expect("encodes"),
        ],
    )
    .expect("inserts");
}

/// A home with a device that is not being used; `more` is said of its updates.
pub(crate) async fn settled(stage: &Stage, releases: &Releases, more: &str) -> Home {
    let plan = Plan {
        placement: "mill-road-12",
        team: "north",
        dependency: "medium",
        sensor: DEVICE,
        profile: DEVICE,
        interval_ms: 200,
        seed: 7,
    };
    let mut home = Home::settle(&stage.fleet, stage.path(), plan).await;
    releases.launch(&mut home, more);
    home.set_device(Behaviour::Resting);
    home.run();
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_force_an_update_over_a_hold_and_never_over_a_session() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    let new = releases.write("new", &build);
    releases.add("7.1.0", &new, "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = settled(&stage, &releases, "").await;
    let people = People::new(Path::new(&stage.fleet.dir().join("ca/root-1.key")));
    let hold = [
        "update",
        "hold",
        "--by",
        "nurse",
        "--minutes",
        "60",
        "dressing change",
    ];
    home.agent.command_ended(&hold).ok();
    let gateway = home.gateway.to_string();
    stage
        .fleet
        .run(&["update", "assign", "agent/7.1.0", "--gateway", &gateway])
        .ok();
    until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");

    // Whoever has the server, its database and its keys forces nothing: the box names what it did not believe.
    let document = draft(&stage, &home, &people, "hold");
    forge(&stage, &home, &document);
    let forged = order_stands(&stage, &mut home, 1, "refused");
    assert!(
        forged["said"]
            .as_str()
            .is_some_and(|said| said.contains("no root that this box trusts")),
        "{forged}"
    );
    until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");

    // One person is not enough; two are, and the dry run says what it does and never does.
    fs::remove_file(&document).expect("our own folder");
    let document = draft(&stage, &home, &people, "hold");
    let signed = sign(&people, &document);
    let half = stage.fleet.run(&["update", "force", "send", &signed]).failed();
    assert!(half.contains("HOMEWARD FORCE REVIEW is missing"), "{half}");
    let reviewed = review(&people, &signed);
    let dry = stage
        .fleet
        .run(&["update", "force", "send", &reviewed, "--dry-run"])
        .ok();
    assert!(
        dry.contains("that somebody asked for quiet") && dry.contains("It never overrules a session"),
        "{dry}"
    );
    assert_eq!(orders(&stage, &home).len(), 1, "nothing was kept");

    // The therapy begins before the order comes: it stands, and the box waits.
    home.set_device(Behaviour::Well);
    until(&stage, &mut home, &format!("waits: {DEVICE} is being used"));
    stage.fleet.run(&["update", "force", "send", &reviewed]).ok();
    order_stands(&stage, &mut home, 2, "in-effect");
    let watches = home.agent.program().pid();
    let shown = wait_for("the session alone to stand against it", UPDATE, || {
        home.tend();
        let one = update(&stage, &home);
        let why = reasons(&one);
        (why.contains("is being used") && !why.contains("asked for quiet")).then_some(why)
    });
    stage.more_readings(100);
    let said = home.agent.command_ended(&["update", "status"]).stdout;
    assert!(
        said.contains("by Ann Smith and Ben Okafor, is in effect"),
        "{said}"
    );
    assert_eq!(
        home.agent.program().pid(),
        watches,
        "nobody restarted it: {shown}"
    );
    // Killed in between, it still knows.
    home.agent.kill();
    home.run();
    order_stands(&stage, &mut home, 2, "in-effect");

    // The therapy ends, the hold stands: it begins, once, and says what it overruled.
    home.set_device(Behaviour::Resting);
    let used = order_stands(&stage, &mut home, 2, "used");
    until(&stage, &mut home, "runs 7.1.0 and is well");
    let listed = home.agent.command_ended(&["update", "hold", "--list"]).ok();
    assert!(listed.contains("dressing change"), "{listed}");
    let told = update(&stage, &home)["state"]["forces"].to_string();
    assert!(told.contains("nurse asked for quiet"), "{used} {told}");
    for (action, rows) in [("force-brought", 1), ("force-sent", 2)] {
        let asked = format!("SELECT count(*) FROM audit WHERE action = '{action}'");
        assert_eq!(stage.number(&asked), rows, "{action}");
    }
    let again = stage.fleet.run(&["update", "force", "send", &reviewed]);
    assert!(
        !again.stdout.contains("It is sent as soon as"),
        "{}",
        again.stdout
    );
    stage.more_readings(10);
}
