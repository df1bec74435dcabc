//! What an attacker gets who holds the server, its database and its online keys, or the network: no software.
//!
//! Each attack begins from the same healthy fleet; the box then judges by the product's own `update::word::means`, and downloads
//! what it would.

use std::time::Duration;

use homeward_agent::slot::Digest;
use homeward_agent::update::decide::{Decision, Floor, Line, Own, Plan, Refusal, decide};
use homeward_agent::update::tuf::download;
use homeward_agent::update::word::{Meaning, Repository, means};
use homeward_protocol::id::GatewayId;
use homeward_protocol::release::assignment::{Assignment, MAX_ASSIGNMENT};
use homeward_protocol::release::{DIRECTOR_KEY, Installer, Version};
use homeward_protocol::signed::{Message, PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Found;
use homeward_protocol::wire::Bytes;
use homeward_tests::tuf::forge::Ours;
use homeward_tests::tuf::house::{DAY, House, START};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A director's key.
struct Director(EcdsaKeyPair);

impl Director {
    fn new() -> Director {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Director(pair.expect("a key"))
    }

    fn pem(&self) -> Vec<u8> {
        use base64::Engine as _;
        let public = PublicKey::from_point(self.0.public_key().as_ref()).expect("a point");
        let text = base64::engine::general_purpose::STANDARD.encode(public.spki());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
    }
}

impl Signer for Director {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

/// A director's word as who has taken its key can write it: of any target, also of what the product makes no word for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forged {
    device: GatewayId,
    path: String,
    sha256: Bytes,
    wave: u16,
    not_before: Timestamp,
    deadline: Timestamp,
    counter: u64,
}

impl Message for Forged {
    const NAME: &'static str = Assignment::NAME;
    const MAX: usize = MAX_ASSIGNMENT;
}

impl Forged {
    fn seal(&self, director: &Director) -> Vec<u8> {
        Signed::seal(self, director).expect("signs")
    }
}

/// A fleet, and one box in it.
struct Fleet {
    house: House,
    director: Director,
    own: Own,
    floor: Floor,
}

const AGENT: &str = "agent/x86_64";

fn says(version: &str, floor: &str) -> Value {
    json!({
        "installer": "agent-slot", "hw": ["x86_64"], "version": version, "disruption": "agent-restart",
        "security_floor": floor,
    })
}

/// Of the agent's releases.
fn floor(text: &str, counter: u64) -> Floor {
    let line = Line::of(Installer::AgentSlot, AGENT);
    Floor {
        versions: [(line, version(text))].into(),
        counter,
    }
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

impl Fleet {
    /// A box that runs 1.3.0; 1.4.0 is released for it, and for another hardware and another installer.
    fn healthy() -> Fleet {
        let director = Director::new();
        let mut house = House::new(Box::new(Ours));
        house.promises = true;
        house.new_keys("root", 3, 2);
        house.new_keys("targets", 2, 2);
        let first: Vec<_> = house.docs["root"]["roles"]["root"]["keyids"]
            .as_array()
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        assert_eq!(first.len(), 3);
        // The new holders, and the one before them.
        let mut all = house.signers["root"].clone();
        all.push(house.by(100, "ed25519"));
        house.signers.insert("root".into(), all);
        house.publish("root");
        house.add_target("targets", DIRECTOR_KEY, &director.pem());
        for (path, content, custom) in [
            (AGENT, "agent 1.4.0", says("1.4.0", "1.2.0")),
            ("agent/old", "agent 1.1.0", says("1.1.0", "1.0.0")),
            ("agent/aarch64", "agent for another box", says("1.4.0", "1.2.0")),
            ("firmware/pump", "firmware", says("2.0.0", "1.0.0")),
            ("dossier/pacer/1.0.0", "a dossier", says("1.4.0", "1.2.0")),
            ("packages/x86_64", "packages", says("2.0.0", "1.0.0")),
        ] {
            house.add_target("targets", path, content.as_bytes());
            house.doc("targets")["targets"][path]["custom"] = custom;
        }
        house.doc("targets")["targets"]["agent/aarch64"]["custom"]["hw"] = json!(["aarch64"]);
        house.doc("targets")["targets"]["firmware/pump"]["custom"]["installer"] = "dossier".into();
        house.doc("targets")["targets"]["packages/x86_64"]["custom"]["installer"] = "apt".into();
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        house.refresh().expect("the fleet is healthy");
        Fleet {
            house,
            director,
            own: Own {
                gateway: "gw-7f3k".parse().expect("an id"),
                hw: "x86_64".into(),
                installers: vec![(Installer::AgentSlot, version("1.3.0"))],
                bytes: Vec::new(),
                ran: Vec::new(),
            },
            floor: floor("1.2.0", 10),
        }
    }

    /// The director's word on the file with this content.
    fn assigned(&self, path: &str, content: &[u8], counter: u64) -> Vec<u8> {
        Self::assigned_to("gw-7f3k", path, content, counter).seal(&self.director)
    }

    fn assigned_to(device: &str, path: &str, content: &[u8], counter: u64) -> Forged {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        Forged {
            device: device.parse().expect("an id"),
            path: path.to_owned(),
            sha256: Bytes(digest.as_ref().to_vec()),
            wave: 0,
            not_before: START,
            deadline: START.plus_ms(DAY),
            counter,
        }
    }

    /// What the box does with what it was sent; `Ok` is the software that it would stage.
    fn judge(&self, assignment: &[u8]) -> Result<Vec<u8>, String> {
        let mut client = self.house.refresh().map_err(|e| e.to_string())?;
        let repository = Repository {
            metadata: &&self.house.metadata,
            targets: &&self.house.targets,
            store: &self.house.disk,
            folder: self.house.folder.path(),
        };
        let meant = wait(means(assignment, &mut client, repository, &self.own, &self.floor));
        match meant.map_err(|e| e.to_string())? {
            Meaning::NotTheirs(why) => Err(why.to_owned()),
            Meaning::Decided(_, Err(refusal)) => Err(refusal.to_string()),
            Meaning::Decided(_, Ok(Decision::Runs(_))) => Err("it runs already".to_owned()),
            Meaning::Decided(_, Ok(Decision::Install(plan))) => self.staged(&plan),
        }
    }

    fn found(&self, path: &str) -> Result<Option<Found>, String> {
        let mut client = self.house.refresh().map_err(|e| e.to_string())?;
        let path = path.parse()?;
        let found = wait(homeward_agent::update::tuf::find(
            &mut client,
            path,
            &&self.house.metadata,
            &self.house.disk,
        ));
        found.map_err(|e| e.to_string())
    }

    fn staged(&self, plan: &Plan) -> Result<Vec<u8>, String> {
        let place = self.house.folder.path().join("staged");
        wait(download(&plan.found, &&self.house.targets, &place)).map_err(|e| e.to_string())?;
        std::fs::read(place).map_err(|e| e.to_string())
    }

    fn refused(&self, assignment: &[u8], why: &str) {
        match self.judge(assignment) {
            Ok(software) => panic!("{why}: the box took {:?}", String::from_utf8_lossy(&software)),
            Err(said) => assert!(said.contains(why), "{why}: {said}"),
        }
    }
}

fn spki(pem: &[u8]) -> Option<PublicKey> {
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    PublicKey::from_spki(&der)
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_mins(1), work)
            .await
            .expect("in time")
    })
}

const GOOD: &[u8] = b"agent 1.4.0";
const EVIL: &[u8] = b"malware";

#[test]
fn what_both_name_is_staged() {
    let fleet = Fleet::healthy();
    assert_eq!(fleet.judge(&fleet.assigned(AGENT, GOOD, 11)).as_deref(), Ok(GOOD));
    assert_eq!(
        fleet.judge(&fleet.assigned(AGENT, GOOD, 10)).as_deref(),
        Ok(GOOD),
        "the same again, after a restart"
    );
}

#[test]
fn other_bytes_under_the_version_that_runs_are_not_what_runs() {
    // Two signed files of one version: a deadline may not end, nor what makes up for it, because of the number alone.
    let mut fleet = Fleet::healthy();
    fleet.own.installers = vec![(Installer::AgentSlot, version("1.4.0"))];
    let word = fleet.assigned(AGENT, GOOD, 11);
    let bytes = |content: &[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        Digest(digest.as_ref().try_into().expect("32 bytes"))
    };
    fleet.refused(&word, "it runs already");
    fleet.own.bytes = vec![(Installer::AgentSlot, bytes(GOOD))];
    fleet.refused(&word, "it runs already");
    fleet.own.bytes = vec![(Installer::AgentSlot, bytes(EVIL))];
    fleet.refused(&word, "version 1.4.0 is here already in other bytes");
    fleet.own.bytes = vec![(Installer::Apt, bytes(EVIL))];
    fleet.refused(&word, "it runs already");
}

#[test]
fn the_director_alone_makes_no_software() {
    let fleet = Fleet::healthy();
    fleet.house.offer_target("agent/evil", &hash(EVIL), EVIL);
    fleet.refused(&fleet.assigned("agent/evil", EVIL, 11), "does not name");
    fleet.refused(&fleet.assigned(AGENT, EVIL, 11), "another file");
}

#[test]
fn the_image_repository_alone_installs_nothing() {
    // Both targets' keys are stolen, the director's is not: software is signed, and nobody assigns it.
    let mut fleet = Fleet::healthy();
    fleet.house.add_target("targets", AGENT, EVIL);
    fleet.house.doc("targets")["targets"][AGENT]["custom"] = says("1.5.0", "1.2.0");
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "another file");
    let stranger = Director::new();
    let forged = Fleet::assigned_to("gw-7f3k", AGENT, EVIL, 11).seal(&stranger);
    fleet.refused(&forged, "not signed by the director");
}

#[test]
fn the_online_keys_alone_make_no_software() {
    // Timestamp and snapshot keys: they can point at nothing that targets' holders did not sign.
    let mut fleet = Fleet::healthy();
    let holders = fleet.house.signers["targets"].clone();
    let online = fleet.house.signers["timestamp"].clone();
    fleet.house.signers.insert("targets".into(), online);
    fleet.house.add_target("targets", AGENT, EVIL);
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    fleet.refused(
        &fleet.assigned(AGENT, EVIL, 11),
        "signed by 0 of its keys, and needs 2",
    );
    fleet.house.signers.insert("targets".into(), holders);
}

#[test]
fn the_server_and_all_but_one_of_the_holders_make_no_software() {
    let mut fleet = Fleet::healthy();
    fleet.house.add_target("targets", AGENT, EVIL);
    let one = fleet.house.signers["targets"][..1].to_vec();
    fleet.house.signers.insert("targets".into(), one);
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    fleet.refused(
        &fleet.assigned(AGENT, EVIL, 11),
        "signed by 1 of its keys, and needs 2",
    );
}

#[test]
fn the_server_and_one_holder_of_the_root_replace_nobody() {
    let mut fleet = Fleet::healthy();
    let one = fleet.house.signers["root"][..1].to_vec();
    fleet.house.new_keys("targets", 1, 1);
    fleet.house.signers.insert("root".into(), one);
    fleet.house.add_target("targets", AGENT, EVIL);
    fleet
        .house
        .publish_all(&["root", "targets", "snapshot", "timestamp"]);
    fleet.refused(
        &fleet.assigned(AGENT, EVIL, 11),
        "root version 3 is signed by 1 of its keys, and needs 2",
    );
}

#[test]
fn an_assignment_is_not_replayed() {
    let fleet = Fleet::healthy();
    fleet.refused(&fleet.assigned(AGENT, GOOD, 9), "older than 10");
    let other = Fleet::assigned_to("gw-other", AGENT, GOOD, 11).seal(&fleet.director);
    fleet.refused(&other, "for gw-other");
    let mut cut = fleet.assigned(AGENT, GOOD, 11);
    let last = cut.len() - 1;
    cut[last] ^= 1;
    fleet.refused(&cut, "not signed by the director");
}

#[test]
fn metadata_is_not_replayed() {
    let mut fleet = Fleet::healthy();
    let old = fleet.house.metadata.get("timestamp.json").expect("a timestamp");
    fleet.house.add_target("targets", AGENT, b"agent 1.4.1");
    fleet.house.doc("targets")["targets"][AGENT]["custom"] = says("1.4.1", "1.4.1");
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    fleet.house.refresh().expect("the box has seen it");
    fleet.house.metadata.put("timestamp.json", old);
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "went back");
}

#[test]
fn a_freeze_ends_after_a_week() {
    let mut fleet = Fleet::healthy();
    fleet.house.doc("timestamp")["expires"] = START.plus_ms(7 * DAY).to_string().into();
    fleet.house.publish("timestamp");
    fleet
        .judge(&fleet.assigned(AGENT, GOOD, 11))
        .expect("within the week");
    fleet.house.now = START.plus_ms(8 * DAY);
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "timestamp version 3 expired");
}

#[test]
fn a_fast_forward_is_undone_by_new_keys() {
    // The stolen online keys move the versions far ahead; new ones, by the root, make that worthless.
    let mut fleet = Fleet::healthy();
    for role in ["snapshot", "timestamp"] {
        fleet.house.doc(role)["version"] = (u64::MAX - 1).into();
        fleet.house.publish_as_it_is(role);
    }
    fleet.house.refresh().expect("signed well, if evil");
    for role in ["snapshot", "timestamp"] {
        fleet.house.new_keys(role, 1, 1);
        fleet.house.doc(role)["version"] = 2.into();
    }
    fleet.house.publish("root");
    fleet.house.publish_rest();
    assert_eq!(fleet.judge(&fleet.assigned(AGENT, GOOD, 11)).as_deref(), Ok(GOOD));
}

#[test]
fn old_and_new_files_are_not_mixed() {
    let mut fleet = Fleet::healthy();
    let old = fleet.house.metadata.get("2.targets.json").expect("targets");
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    fleet.house.offer("targets", 3, old);
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "length or the hash");
}

#[test]
fn an_arbitrary_file_in_the_place_of_software_is_not_staged() {
    let fleet = Fleet::healthy();
    for evil in [
        EVIL.to_vec(),
        b"AGENT 1.4.0".to_vec(),
        b"agent 1.4.0\0".to_vec(),
        Vec::new(),
    ] {
        fleet.house.offer_target(AGENT, &hash(GOOD), &evil);
        assert!(fleet.judge(&fleet.assigned(AGENT, GOOD, 11)).is_err());
    }
}

#[test]
fn endless_data_is_cut() {
    let fleet = Fleet::healthy();
    fleet
        .house
        .offer_target(AGENT, &hash(GOOD), &[GOOD, &vec![b'x'; 50_000_000]].concat());
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "could not get");
    assert!(
        !fleet.house.folder.path().join("staged+part").exists(),
        "nothing of it stays on the disk"
    );
    fleet.house.metadata.put("timestamp.json", vec![b' '; 600_000]);
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "longer than 512000 bytes");
}

#[test]
fn a_good_target_of_another_box_is_not_installed() {
    let fleet = Fleet::healthy();
    fleet.refused(
        &fleet.assigned("agent/aarch64", b"agent for another box", 11),
        "this box is x86_64",
    );
}

#[test]
fn a_target_for_an_installer_that_this_box_lacks_is_not_installed() {
    let fleet = Fleet::healthy();
    fleet.refused(
        &fleet.assigned("packages/x86_64", b"packages", 11),
        "no installer `apt`",
    );
    fleet.refused(
        &fleet.assigned(DIRECTOR_KEY, &fleet.director.pem(), 11),
        "no software",
    );
}

#[test]
fn a_device_s_firmware_is_installed_by_no_box_whoever_signed_for_it() {
    // The director's key is stolen, and the holders of targets were deceived too: the box has such an installer, by its own
    // word, and what lies in the folder of dossiers calls itself software of the box.
    let mut fleet = Fleet::healthy();
    fleet.own.installers.push((Installer::Dossier, Version::ZERO));
    fleet.refused(
        &fleet.assigned("firmware/pump", b"firmware", 11),
        "a person installs it by its dossier",
    );
    fleet.refused(
        &fleet.assigned("dossier/pacer/1.0.0", b"a dossier", 11),
        "a person installs it by its dossier",
    );
    assert!(
        fleet.judge(&fleet.assigned(AGENT, GOOD, 11)).is_ok(),
        "the box is well"
    );
}

#[test]
fn a_release_below_the_floor_is_not_installed() {
    // It was signed once, and is still in the repository: a stolen server may not pick it.
    let mut fleet = Fleet::healthy();
    fleet.refused(&fleet.assigned("agent/old", b"agent 1.1.0", 11), "below 1.2.0");
    // The way back is a new release that says so.
    fleet
        .house
        .add_target("targets", "agent/back", b"agent 1.1.0 again");
    fleet.house.doc("targets")["targets"]["agent/back"]["custom"] = says("1.4.2", "1.2.0");
    fleet.house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert!(
        fleet
            .judge(&fleet.assigned("agent/back", b"agent 1.1.0 again", 11))
            .is_ok()
    );
}

#[test]
fn an_older_release_that_set_no_floor_comes_only_where_it_ran_before() {
    // No release ever said a floor: the stolen director picks what was signed once, and has a hole that is known by now.
    let mut fleet = Fleet::healthy();
    fleet.floor = Floor::NEW;
    let old = fleet.assigned("agent/old", b"agent 1.1.0", 11);
    fleet.refused(&old, "version 1.1.0 is older than 1.3.0, which runs");
    // A campaign takes back to what ran here and was well: to its very bytes.
    let digest = |content| {
        Digest(
            homeward_protocol::tuf::read::hex(&hash(content))
                .expect("hex")
                .try_into()
                .expect("32"),
        )
    };
    fleet.own.ran = vec![digest(b"agent 1.1.1")];
    fleet.refused(&old, "never ran here before");
    fleet.own.ran.push(digest(b"agent 1.1.0"));
    assert_eq!(fleet.judge(&old).as_deref(), Ok(&b"agent 1.1.0"[..]));
    // And never below a floor.
    fleet.floor = floor("1.2.0", 10);
    fleet.refused(&old, "below 1.2.0");
}

#[test]
fn a_floor_and_a_counter_only_rise() {
    let fleet = Fleet::healthy();
    let path = AGENT.parse().expect("a path");
    let sealed = fleet.assigned(AGENT, GOOD, 12);
    let director = spki(&fleet.director.pem()).expect("a key");
    let assigned = Assignment::verify(&sealed, &director).expect("the director's");
    let found = fleet.found(AGENT).expect("refreshes");
    assert_eq!(found.as_ref().map(|found| &found.path), Some(&path));
    let decision = decide(&assigned, found.as_ref(), &fleet.own, &Floor::NEW);
    let Ok(Decision::Install(plan)) = &decision else {
        panic!("it installs");
    };
    let line = || Line::of(plan.custom.installer, plan.found.path.as_str());
    let after = Floor::NEW
        .decided(12, &decision)
        .confirmed(line(), plan.custom.security_floor);
    assert_eq!(after, floor("1.2.0", 12));
    assert_eq!(after.clone().decided(11, &decision), after);
    assert_eq!(
        after
            .clone()
            .decided(13, &Ok(Decision::Runs(Installer::AgentSlot))),
        floor("1.2.0", 13)
    );
    let foreign = fleet.own.gateway.clone();
    assert_eq!(after.clone().decided(13, &Err(Refusal::OtherBox(foreign))), after);
    let high = floor("9.0.0", 12);
    assert_eq!(high.clone().confirmed(line(), plan.custom.security_floor), high);
    assert_eq!(Timestamp::synced(plan.deadline.ms), START.plus_ms(DAY));
}

#[test]
fn whom_a_part_was_handed_to_makes_no_software_of_the_box() {
    let mut fleet = Fleet::healthy();
    fleet.house.delegate("targets", "vendor", &["vendor/*"], true);
    for (path, installer) in [("vendor/agent", "agent-slot"), ("vendor/pump", "dossier")] {
        fleet.house.add_target("vendor", path, EVIL);
        fleet.house.doc("vendor")["targets"][path]["custom"] = says("1.4.0", "1.2.0");
        fleet.house.doc("vendor")["targets"][path]["custom"]["installer"] = installer.into();
    }
    fleet
        .house
        .publish_all(&["vendor", "targets", "snapshot", "timestamp"]);
    fleet.own.installers.push((Installer::Dossier, Version::ZERO));
    fleet.refused(
        &fleet.assigned("vendor/agent", EVIL, 11),
        "vendor may speak of dossiers only",
    );
    fleet.refused(
        &fleet.assigned("vendor/pump", EVIL, 11),
        "a person installs it by its dossier",
    );
}

#[test]
fn a_floor_holds_for_its_own_line_of_releases() {
    let mut fleet = Fleet::healthy();
    fleet.own.installers.push((Installer::Apt, Version::ZERO));
    // The agent's is 9.0.0: that says nothing of packages 2.0.0.
    fleet.floor = floor("9.0.0", 10);
    let packages = fleet.assigned("packages/x86_64", b"packages", 11);
    assert!(fleet.judge(&packages).is_ok());
    fleet.refused(&fleet.assigned(AGENT, GOOD, 11), "below 9.0.0");
    // Neither does an image's.
    let line = |installer| Line::of(installer, "packages/x86_64");
    fleet
        .floor
        .versions
        .insert(line(Installer::Rauc), version("3.0.0"));
    assert!(fleet.judge(&packages).is_ok());
    fleet
        .floor
        .versions
        .insert(line(Installer::Apt), version("3.0.0"));
    fleet.refused(&packages, "below 3.0.0");
}

fn hash(content: &[u8]) -> String {
    homeward_protocol::tuf::read::to_hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref())
}
