//! A policy on its way: written, reviewed and vouched for on machines of their own, loaded and given by an operator.
//! And what somebody can do who has taken over the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_fleet::ca::signer::published;
use homeward_fleet::policy::paper::Papers;
use homeward_fleet::policy::roots::keys_of;
use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::moment::Moment;
use homeward_protocol::policy::sign::{
    Floor, Ground, Keyring, Offer, Refusal, Review, SecondPerson, SignedDigest, SigningKey, accept,
};
use homeward_protocol::policy::{Policy, PolicyVersion};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{Finished, binary, finish};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::stage::claim;

const LIMIT: Duration = Duration::from_mins(1);

/// People with a folder of papers, none of them on the server.
pub(crate) struct People {
    desk: tempfile::TempDir,
}

impl People {
    /// An author and a reviewer with their keys, and a keyring that a root signed.
    pub(crate) fn new(root_key: &Path) -> People {
        let people = People {
            desk: tempfile::tempdir().expect("a folder"),
        };
        people.write("passphrase.txt", "a passphrase of some length\n");
        for name in ["ann", "ben"] {
            let (key, pass) = (people.path(&format!("{name}.key")), people.path("passphrase.txt"));
            people
                .policy(&["keygen", "--out", &key, "--passphrase-file", &pass])
                .ok();
        }
        let root = root_key.to_str().expect("text");
        let (ann, ben) = (people.path("ann.pub"), people.path("ben.pub"));
        let (ann, ben) = (format!("Ann Smith={ann}"), format!("Ben Okafor={ben}"));
        let ring = people.path("keyring.txt");
        people
            .policy(&[
                "keyring",
                "--author",
                &ann,
                "--reviewer",
                &ben,
                "--root-key",
                root,
                "--out",
                &ring,
            ])
            .ok();
        people
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.desk.path().join(name).to_str().expect("text").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.desk.path().join(name), text).expect("our own folder");
    }

    /// A command that needs no data folder.
    pub(crate) fn policy(&self, args: &[&str]) -> Finished {
        let mut command = Command::new(binary("homeward-fleet"));
        command.current_dir(self.desk.path());
        finish(command.arg("policy").args(args), b"", LIMIT)
    }

    /// Signs a document as Ann and reviews it as Ben; gives the file.
    pub(crate) fn signed(&self, name: &str, document: &str) -> String {
        let (toml, signed) = (
            self.path(&format!("{name}.toml")),
            self.path(&format!("{name}.txt")),
        );
        let reviewed = self.path(&format!("{name}-reviewed.txt"));
        self.write(&format!("{name}.toml"), document);
        let (key, pass, ring) = (
            self.path("ann.key"),
            self.path("passphrase.txt"),
            self.path("keyring.txt"),
        );
        self.policy(&[
            "sign",
            &toml,
            "--key",
            &key,
            "--passphrase-file",
            &pass,
            "--keyring",
            &ring,
            "--out",
            &signed,
        ])
        .ok();
        let read = self.policy(&["review", &signed]).ok();
        let digest = read
            .split("--digest ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let (digest, key) = (digest.expect("a digest to give"), self.path("ben.key"));
        self.policy(&[
            "review",
            &signed,
            "--key",
            &key,
            "--passphrase-file",
            &pass,
            "--digest",
            digest,
            "--out",
            &reviewed,
        ])
        .ok();
        reviewed
    }
}

/// A document for all, from a day ago.
pub(crate) fn document(version: u64, rules: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_secs()).expect("small");
    let (issued, expires) = (
        Moment::from_secs(now - 86_400),
        Moment::from_secs(now + 30 * 86_400),
    );
    format!(
        "name = \"all homes\"\nversion = {version}\nissued = \"{issued}\"\nexpires = \"{expires}\"\n\
         on_expiry = \"keep\"\nconfirm_s = 60\naudience = \"all\"\n[hazards]\nh-1 = \"A stranger signs in.\"\n{rules}"
    )
}

const USB: &str = "[usb]\nhazard = \"h-1\"\nallow = [\"hub\"]\n";

/// A server whose roots' keys were never on it.
fn house(folder: &Path) -> (Fleet, PathBuf) {
    let media = folder.join("media");
    std::fs::create_dir(&media).expect("our own folder");
    let to = media.to_str().expect("text");
    let args = ["--name", "localhost", "--trial", "--offline-root", to];
    (
        Fleet::init(&folder.join("fleet"), &args),
        media.join("root-1.key"),
    )
}

#[test]
fn papers_go_from_author_to_reviewer_to_server_and_each_step_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let (fleet, root) = house(folder.path());
    let people = People::new(&root);
    claim(&fleet, "mill-road-12");
    // The document, with its place.
    people.write("bad.toml", &document(7, "[usb]\nhazard = \"h-2\"\n"));
    let bad = people.path("bad.toml");
    let answer = people.policy(&["check", &bad]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let said = answer.stdout;
    assert!(
        said.contains("cannot be signed") && said.contains(&format!("{bad}:11:")),
        "{said}"
    );
    let reviewed = people.signed("seven", &document(7, USB));
    // Who is not in the keyring, or wrote it, does not sign.
    let (toml, ring) = (people.path("seven.toml"), people.path("keyring.txt"));
    let (ben, pass, out) = (
        people.path("ben.key"),
        people.path("passphrase.txt"),
        people.path("x.txt"),
    );
    let said = people
        .policy(&[
            "sign",
            &toml,
            "--key",
            &ben,
            "--passphrase-file",
            &pass,
            "--keyring",
            &ring,
            "--out",
            &out,
        ])
        .failed();
    assert!(
        said.contains("names no author") && said.contains("Ann Smith"),
        "{said}"
    );
    let (signed, ann) = (people.path("seven.txt"), people.path("ann.key"));
    let said = people
        .policy(&[
            "review",
            &signed,
            "--key",
            &ann,
            "--passphrase-file",
            &pass,
            "--digest",
            "00000000",
            "--out",
            &out,
        ])
        .failed();
    assert!(said.contains("not one that begins with"), "{said}");

    let said = fleet.run(&["policy", "load", &signed]).failed();
    assert!(said.contains("needs a second person's review"), "{said}");
    let said = fleet.run(&["policy", "load", &reviewed]).ok();
    assert!(said.contains("Policy 7 is loaded"), "{said}");
    let planned = fleet.json(&["policy", "assign", "7", "--all", "--dry-run"]);
    assert_eq!(planned["dry_run"], true);
    fleet.run(&["policy", "assign", "7", "--all"]).ok();
    let listed = fleet.json(&["policy", "list"]);
    assert_eq!(
        (&listed[0]["author"], &listed[0]["reviewer"]),
        (&"Ann Smith".into(), &"Ben Okafor".into())
    );
    let other = people.signed("again", &document(7, ""));
    let said = fleet.run(&["policy", "load", &other]).failed();
    assert!(said.contains("another policy has the number 7"), "{said}");
    fleet.run(&["policy", "withdraw", "7", "--reason", "a test"]).ok();
    let report = fleet.run(&["check"]).ok();
    assert!(report.contains("unbroken"), "{report}");
}

/// A key that lay on the server.
struct Found(EcdsaKeyPair);

impl Signer for Found {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signature
            .as_ref()
            .try_into()
            .map_err(|_| "not 64 bytes".to_owned())
    }
}

impl Found {
    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }
}

/// Every private key that is anywhere in a folder.
fn keys_in(folder: &Path, found: &mut Vec<Found>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            keys_in(&path, found);
            continue;
        }
        let bytes = std::fs::read(&path).expect("readable");
        let Ok(PrivateKeyDer::Pkcs8(der)) = PrivateKeyDer::from_pem_slice(&bytes) else {
            continue;
        };
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_pkcs8_der(),
            &SystemRandom::new(),
        );
        found.extend(pair.map(Found));
    }
}

/// What the attacker wants: nobody is stopped any more.
fn wanted(version: u64) -> Policy {
    let text = document(version, "");
    homeward_protocol::policy::check::check(&text)
        .policy
        .expect("a good one")
}

/// A keyring of the attacker's people, by this key.
fn own_keyring(by: &Found, author: &Found, reviewer: &Found, now: Timestamp) -> Vec<u8> {
    let named = |name: &str, key: &Found| SigningKey {
        name: ShortText::cut(name),
        key: key.public(),
    };
    let keyring = Keyring {
        version: 99,
        issued: Moment::from_secs(now.secs() - 1000),
        expires: Moment::from_secs(now.secs() + 1_000_000),
        authors: vec![named("Ann Smith", author)],
        reviewers: vec![named("Ben Okafor", reviewer)],
        second_person: SecondPerson::NotRequired,
    };
    Signed::seal(&keyring, by).expect("signs")
}

fn offer(keyring: Vec<u8>, policy: &Policy, author: &Found, reviewer: &Found) -> Offer {
    let signed = Signed::seal(policy, author).expect("signs");
    let review = Review {
        policy: SignedDigest::of(&signed),
        version: policy.version,
        at: policy.issued,
    };
    Offer {
        keyring: Bytes(keyring),
        policy: Bytes(signed),
        review: Some(Bytes(Signed::seal(&review, reviewer).expect("signs"))),
        groups: Vec::new(),
    }
}

/// K2: with the server's whole data folder, and all that it ever sent, nothing can be made that a box takes.
#[test]
fn a_server_that_was_taken_over_makes_no_box_accept_a_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut fleet, root) = house(folder.path());
    let people = People::new(&root);
    let good = people.signed("seven", &document(7, USB));
    fleet.run(&["policy", "load", &good]).ok();
    fleet.serve::<&str>(&[]);
    fleet.stop();
    let roots = keys_of(&published(&fleet.dir().join("ca")).expect("the roots").roots());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let now = Timestamp::synced(i64::try_from(now.as_millis()).expect("small"));
    let gateway: GatewayId = "gw-1".parse().expect("an id");
    let asks = |offer: &Offer, floor| {
        let ground = Ground {
            gateway: &gateway,
            roots: &roots,
            floor,
            now,
        };
        accept(offer, ground).map(|accepted| accepted.mark)
    };
    let text = std::fs::read_to_string(&good).expect("our own file");
    let real = Papers::parse(&text)
        .and_then(|papers| papers.offer())
        .expect("papers");
    let mark = asks(&real, Floor::default()).expect("the real one is taken");
    assert_eq!(mark.version, PolicyVersion(7));

    let mut found = Vec::new();
    keys_in(fleet.dir(), &mut found);
    assert!(
        found.len() >= 3,
        "the issuing keys and the listeners' lie there: {}",
        found.len()
    );
    let own = |_: usize| {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.expect("a key");
        let rng = SystemRandom::new();
        Found(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
    };
    found.extend((0..2).map(own));
    let mut tried = 0;
    let mut refuse = |offer: &Offer, floor| {
        let answer = asks(offer, floor);
        assert!(answer.is_err(), "a box took it: {answer:?}");
        tried += 1;
        answer.expect_err("refused")
    };
    let next = wanted(8);
    let pairs = || found.iter().flat_map(|a| found.iter().map(move |b| (a, b)));
    for (author, reviewer) in pairs() {
        for by in &found {
            let forged = offer(own_keyring(by, author, reviewer, now), &next, author, reviewer);
            assert_eq!(refuse(&forged, Floor::default()), Refusal::UnknownRoot);
        }
        // Under the fleet's real keyring, by keys that it does not name.
        let forged = offer(real.keyring.0.clone(), &next, author, reviewer);
        assert_eq!(refuse(&forged, Floor::default()), Refusal::WrongSigner);
        let review = offer(real.keyring.0.clone(), &next, author, reviewer).review;
        let mixed = Offer {
            review,
            ..real.clone()
        };
        assert_eq!(refuse(&mixed, Floor::default()), Refusal::WrongReview);
    }
    assert_eq!(
        refuse(
            &Offer {
                review: None,
                ..real.clone()
            },
            Floor::default()
        ),
        Refusal::NotReviewed
    );
    // Each byte of what people signed, changed.
    for at in 0..real.policy.0.len() {
        let mut changed = real.clone();
        changed.policy.0[at] ^= 0x20;
        refuse(&changed, Floor::default());
    }
    for at in 0..real.keyring.0.len() {
        let mut changed = real.clone();
        changed.keyring.0[at] ^= 0x20;
        refuse(&changed, Floor::default());
    }
    // What was good once does not come back.
    let six = people.signed("six", &document(6, ""));
    let six = std::fs::read_to_string(six).expect("our own file");
    let six = Papers::parse(&six)
        .and_then(|papers| papers.offer())
        .expect("papers");
    let floor = Floor {
        keyring: 1,
        policy: Some(mark),
    };
    assert_eq!(refuse(&six, floor), Refusal::Older);
    eprintln!("{tried} attempts with {} keys, none taken", found.len());
}
