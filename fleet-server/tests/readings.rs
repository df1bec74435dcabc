//! Readings leave the server with what vouches for them, and whoever is given them needs neither the server nor us.
#![expect(clippy::disallowed_methods, reason = "tests: folders, files and keys")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use homeward_fleet::admin::{self, AdminError, Said};
use homeward_fleet::ca::signer::serial;
use homeward_fleet::ca::{Authority, DAY_MS};
use homeward_fleet::cli::Cli;
use homeward_fleet::clock::Clock;
use homeward_fleet::ingest::Arrived;
use homeward_fleet::store::certificates::{self, Timing};
use homeward_fleet::store::take::{Sealed, take};
use homeward_fleet::store::{Store, Value};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::reading::{Details, Kind, Mark, Quality, Reading, Value as Given};
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::unit::Decimal;
use homeward_protocol::watch::{DeviceFacts, WatchReport};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::ServerName;

const NOW: Timestamp = Timestamp::synced(1_795_013_350_000);
const EPOCH: Epoch = Epoch(7);
const GATEWAY: &str = "gw-7f3k2m9xqa";

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Key(key.expect("a key"))
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

fn gateway() -> GatewayId {
    GATEWAY.parse().expect("an id")
}

fn clock() -> Clock {
    Clock::from_fn(|| NOW)
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// A server's folder with one gateway, forty blood pressures, and the report of the cuff's bond.
    async fn new() -> World {
        let world = World {
            dir: tempfile::tempdir().expect("a folder"),
        };
        world
            .run(&["init", "--name", "fleet.example"])
            .await
            .expect("made");
        let authority = Authority::open(&world.data().join("ca")).expect("an authority");
        let key = Key::new();
        let point = PublicKey::from_point(key.0.public_key().as_ref()).expect("a point");
        let issued = authority.issue_gateway(
            &point,
            &gateway(),
            serial().expect("random"),
            NOW.plus_ms(-DAY_MS),
        );
        let issued = issued.expect("issued");
        let store = world.store();
        let added = store.write(move |tx| {
            let sql = "INSERT INTO gateways (id, state, created_at) VALUES ($1, 'enrolled', 1)";
            tx.execute(sql, &[Value::from(GATEWAY)])?;
            certificates::add(tx, &gateway(), &issued, Timing::InTime, NOW)
        });
        added.await.expect("added");
        send(&store, &key, Lane::Urgent, vec![vec![bonds()]]).await;
        let vital = (0..10).map(|n| (0..4).map(|m| reading(n * 4 + m)).collect());
        send(&store, &key, Lane::Vital, vital.collect()).await;
        world
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn store(&self) -> Store {
        admin::open(&homeward_fleet::place::Place::at(&self.data()))
            .expect("opens")
            .1
    }

    async fn run(&self, words: &[&str]) -> Result<Said, AdminError> {
        let data = self.data().display().to_string();
        let cli = Cli::parse_from([&["homeward-fleet", "--data", &data], words].concat());
        admin::run(&cli, &clock()).await
    }

    async fn export(&self, name: &str, more: &[&str]) -> PathBuf {
        let to = self.path(name);
        let words = [&["reading", "export", GATEWAY, "--to", &to], more].concat();
        self.run(&words).await.expect("exported");
        PathBuf::from(to)
    }
}

/// As a stranger who has the files and no server.
async fn verify(folder: &Path, roots: &Path) -> Result<Said, AdminError> {
    let (folder, roots) = (folder.display().to_string(), roots.display().to_string());
    let cli = Cli::parse_from(["homeward-fleet", "reading", "verify", &folder, "--roots", &roots]);
    admin::run(&cli, &clock()).await
}

async fn send(store: &Store, key: &Key, lane: Lane, batches: Vec<Vec<Item>>) {
    let (mut prev, mut first) = (ChainHash::start(EPOCH, lane), 1);
    for items in batches {
        let entries: Vec<Entry> = items
            .iter()
            .map(|item| Entry::Item(item.encode().expect("encodes")))
            .collect();
        let next = entries.iter().fold(prev, ChainHash::after);
        let envelope = Envelope {
            gateway: gateway(),
            epoch: EPOCH,
            lane,
            oldest: Seq(1),
            first: Seq(first),
            prev,
            sent_at: NOW,
            entries,
        };
        prev = next;
        first += u64::try_from(items.len()).expect("few");
        let signed = Signed::seal(&envelope, key).expect("seals");
        let arrived = Arrived::new(envelope);
        let taken = store.write(move |tx| {
            let sealed = Sealed {
                arrived: &arrived,
                signed: &signed,
            };
            take(tx, &gateway(), &[sealed], NOW)
        });
        assert_eq!(taken.await.expect("stored")[0].decision, "accepted");
    }
}

fn reading(n: i64) -> Item {
    let reasons = [Vec::new(), vec![Reason::LegacyBond, Reason::GatewayUnjudged]];
    let old = n % 2 == 1;
    Item::Reading(Reading {
        sensor: if n % 4 == 3 { "scale" } else { "cuff" }.parse().expect("an id"),
        kind: Kind::SystolicPressure,
        value: Given::Number(Decimal::new(1200 + n, -1).expect("fits")),
        taken_at: NOW.plus_ms(n - 1000),
        quality: Quality::Good,
        grade: if old { Grade::Associated } else { Grade::Verified },
        details: Details {
            reasons: reasons[usize::from(old)].clone(),
            marks: vec![Mark::IrregularPulse],
            ..Details::default()
        },
    })
}

fn bonds() -> Item {
    Item::Watch(WatchReport {
        taken_at: NOW.plus_ms(-5000),
        findings: Vec::new(),
        more: 0,
        devices: vec![DeviceFacts {
            sensor: "cuff".parse().expect("an id"),
            address: BleAddress([0xC1, 0, 0, 0, 0, 1]),
            bond: Some(Bond {
                class: KeyClass::SecureAuthenticated,
                key_size: 16,
            }),
            associated_at: NOW.plus_ms(-DAY_MS),
            firmware: None,
            battery: None,
        }],
    })
}

#[tokio::test]
async fn an_export_holds_by_itself_and_not_with_one_bit_changed() {
    let world = World::new().await;
    let folder = world.export("evidence", &[]).await;
    let roots = folder.join("roots.pem");
    let said = verify(&folder, &roots).await.expect("checked");
    let json = said.json();
    assert_eq!(
        (
            said.code(),
            &json["ok"],
            &json["envelopes"],
            &json["verified"],
            &json["associated"]
        ),
        (0, &true.into(), &11.into(), &20.into(), &20.into())
    );
    assert_eq!(
        (&json["bond_reported"], &json["not_here"]),
        (&20.into(), &0.into())
    );
    let file = folder.join("envelopes.cbor");
    let good = fs::read(&file).expect("the envelopes");
    for at in (0..good.len()).step_by(89) {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, &changed).expect("written");
        let said = verify(&folder, &roots).await.expect("checked");
        assert_eq!((said.code(), &said.json()["ok"]), (1, &false.into()), "byte {at}");
    }
    let half = good.len() / 2;
    fs::write(&file, &good[..half]).expect("written");
    assert_eq!(
        verify(&folder, &roots).await.expect("checked").code(),
        1,
        "cut in the middle"
    );
    fs::write(&file, []).expect("written");
    assert_eq!(
        verify(&folder, &roots).await.expect("checked").code(),
        1,
        "nothing to rely on"
    );
}

/// The fleet's own judgements travel with the readings, and are believed by its roots alone.
#[tokio::test]
async fn an_export_says_how_the_fleet_judged_the_box_and_signs_it() {
    let world = World::new().await;
    let folder = world.export("before", &[]).await;
    let said = verify(&folder, &folder.join("roots.pem")).await.expect("checked");
    assert!(
        said.json()["judged"].is_null(),
        "a server that never ran signs nothing"
    );
    let ca = world.data().join("ca");
    let authority = Authority::open(&ca).expect("made by init");
    let names = [ServerName::try_from("fleet.example").expect("a name")];
    authority
        .server_identity(&ca, &names, NOW)
        .expect("a server's certificate");
    let (from, until) = (NOW.plus_ms(-2 * DAY_MS).ms, NOW.plus_ms(2 * DAY_MS).ms);
    let store = world.store();
    let judged = store.write(move |tx| {
        let sql = "INSERT INTO results (gateway, issued_at, evidence, expires_at, status, tier, vector, said, state)
                   VALUES ($1, $2, $3, $4, 'affirming', 'tpm-chip', '2,0,0,0,2,0,2,0', 'in order', 'trusted')";
        let evidence: &[u8] = &[];
        tx.execute(sql, &[GATEWAY.into(), from.into(), evidence.into(), until.into()])
    });
    judged.await.expect("judged");
    let folder = world.export("after", &[]).await;
    let roots = folder.join("roots.pem");
    let said = verify(&folder, &roots).await.expect("checked");
    assert_eq!(said.code(), 0);
    let judged: Vec<u64> = serde_json::from_value(said.json()["judged"].clone()).expect("counted");
    assert_eq!(
        (judged[0], judged.iter().sum::<u64>()),
        (40, 40),
        "all were taken while it was trusted"
    );
    let file = folder.join("judgements.cose");
    let good = fs::read(&file).expect("signed judgements");
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        fs::write(&file, &changed).expect("written");
        let said = verify(&folder, &roots).await;
        let same = said.is_ok_and(|said| said.json()["judged"] == serde_json::json!(judged));
        assert!(!same, "byte {at} may be changed");
    }
    fs::write(&file, &good).expect("written");
    let other = World::new().await.export("evidence", &[]).await.join("roots.pem");
    assert!(verify(&folder, &other).await.is_err(), "another fleet's roots");
}

#[tokio::test]
async fn the_roots_of_another_fleet_vouch_for_nothing() {
    let (world, other) = (World::new().await, World::new().await);
    let folder = world.export("evidence", &[]).await;
    let foreign = other.export("evidence", &[]).await.join("roots.pem");
    let said = verify(&folder, &foreign).await.expect("checked");
    assert_eq!((said.code(), &said.json()["verified"]), (1, &0.into()));
    assert!(said.json()["refused"].as_u64() >= Some(11));
}

#[tokio::test]
async fn one_sensors_stretch_of_time_is_exported_in_whole_envelopes() {
    let world = World::new().await;
    let from = "2026-11-18T14:49:09.010Z";
    let folder = world.export("some", &["--sensor", "scale", "--from", from]).await;
    let said = verify(&folder, &folder.join("roots.pem")).await.expect("checked");
    let json = said.json();
    assert_eq!((said.code(), &json["ok"]), (0, &true.into()), "{json}");
    // The scale's eight readings from number 12 on lie in eight envelopes of four, after the report of bonds.
    assert_eq!(
        (&json["envelopes"], &json["verified"]),
        (&9.into(), &16.into()),
        "{json}"
    );
}

#[tokio::test]
async fn an_export_is_written_once_and_stands_in_the_audit_trail() {
    let world = World::new().await;
    let folder = world.export("evidence", &[]).await;
    let to = folder.display().to_string();
    let again = world.run(&["reading", "export", GATEWAY, "--to", &to]).await;
    assert!(again.is_err_and(|e| e.code() == 1), "nothing is overwritten");
    let none = world.path("none");
    let unknown = world
        .run(&["reading", "export", "gw-unknown", "--to", &none])
        .await;
    assert!(unknown.is_err_and(|e| e.code() == 1) && !Path::new(&none).exists());
    let wrong = ["reading", "export", GATEWAY, "--to", &none, "--from", "yesterday"];
    assert!(world.run(&wrong).await.is_err_and(|e| e.code() == 2));
    let store = world.store();
    let noted = store.read(|tx| {
        let row = tx.row(
            "SELECT COUNT(*) FROM audit WHERE action = 'readings-exported'",
            &[],
        )?;
        row.expect("a count").int(0)
    });
    assert_eq!(noted.await.expect("read"), 1);
}

#[tokio::test]
async fn a_list_says_the_grade_with_its_reasons() {
    let world = World::new().await;
    let said = world
        .run(&["reading", "list", GATEWAY, "--sensor", "cuff", "--limit", "2"])
        .await
        .expect("listed");
    let json = said.json();
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    // Both say what they say in their envelopes; this server has judged their gateway by nothing yet.
    assert_eq!(
        (&json[0]["grade"], &json[1]["grade"]),
        (&"associated".into(), &"associated".into())
    );
    assert_eq!(json[0]["grade_reasons"], serde_json::json!(["gateway-unjudged"]));
    assert_eq!(
        json[1]["grade_reasons"],
        serde_json::json!(["legacy-bond", "gateway-unjudged"])
    );
    assert_eq!(json[1]["marks"], serde_json::json!(["irregular-pulse"]));
    let newest = world.run(&["reading", "list", GATEWAY]).await.expect("listed");
    assert_eq!(
        newest.json().as_array().map(Vec::len),
        Some(2),
        "one of each sensor"
    );
}

#[tokio::test]
async fn only_a_check_needs_no_data_folder() {
    let cli = Cli::parse_from(["homeward-fleet", "reading", "list", GATEWAY]);
    if cli.data.is_none() {
        let answer = admin::run(&cli, &clock()).await;
        assert!(answer.is_err_and(|e| e.code() == 2 && e.to_string().contains("--data DIR")));
    }
    let missing = verify(Path::new("/nowhere/at-all"), Path::new("/nowhere/roots.pem")).await;
    assert!(missing.is_err_and(|e| e.code() == 2));
}
