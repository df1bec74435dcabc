//! An older word that comes again: from a server whose records were brought back, or from who kept it.
#![expect(clippy::disallowed_methods, reason = "tests: the director has a key")]

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::release::pushable::Pushable;
use homeward_protocol::signed::{PublicKey, Signer};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::super::super::decide::{Own, decide};
use super::*;

struct Director(EcdsaKeyPair);

impl Signer for Director {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self.0.sign(&SystemRandom::new(), message);
        let signed = signed.map_err(|error| error.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

/// A box, its director, and what really decides on a word.
struct Directed {
    home: Home,
    director: Director,
}

/// A release in the repository.
#[derive(Clone, Copy)]
struct Release {
    minor: u64,
    hw: &'static str,
}

const RUNS: Release = Release {
    minor: 0,
    hw: "x86_64",
};
const BAD: Release = Release {
    minor: 1,
    hw: "x86_64",
};
const FOREIGN: Release = Release {
    minor: 2,
    hw: "aarch64",
};

fn gateway(name: &str) -> GatewayId {
    name.parse().expect("an id")
}

impl Release {
    fn found(self) -> Found {
        let mut found = plan(self.minor).found;
        found.target.custom = Some(serde_json::json!({
            "installer": "agent-slot", "hw": [self.hw], "version": version(self.minor).to_string(),
            "disruption": "agent-restart", "security_floor": "0.0.0",
        }));
        found
    }
}

impl Directed {
    fn new() -> Directed {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng);
        Directed {
            home: Home::new(),
            director: Director(key.expect("a key")),
        }
    }

    fn word(&self, device: &str, release: Release, counter: u64) -> (Vec<u8>, Release) {
        let found = release.found();
        let target = Pushable::of(&found.path, &found.target).expect("software");
        let time = (Timestamp::synced(0), Timestamp::synced(i64::MAX / 2));
        let word = Assignment::new(gateway(device), &target, time, 0, counter);
        (word.seal(&self.director).expect("signed"), release)
    }

    /// The word comes, and is decided on by what is kept, where it is looked into.
    fn hears(&mut self, (word, release): &(Vec<u8>, Release)) {
        self.home.hear(Input::Assigned(word.clone()));
        self.home.act(usize::MAX);
        let asked = self.home.tick();
        let decides = |effect: &Effect| matches!(effect, Effect::Decide(asked) if asked == word);
        if !asked.iter().any(decides) {
            return;
        }
        let key = PublicKey::from_point(self.director.0.public_key().as_ref()).expect("a point");
        let assigned = Assignment::verify(word, &key).expect("the director's");
        let own = Own {
            gateway: gateway("gw-7f3k"),
            hw: "x86_64".to_owned(),
            installers: vec![(Installer::AgentSlot, version(0))],
            bytes: Vec::new(),
            ran: Vec::new(),
        };
        let floor = &self.home.course.saved().floor;
        let decision = decide(&assigned, Some(&release.found()), &own, floor);
        let counter = assigned.get().counter;
        self.home.hear(Input::Decided(counter, Box::new(decision)));
        self.home.act(usize::MAX);
    }

    fn job(&self) -> Option<u64> {
        let saved = self.home.saved.as_ref().expect("kept");
        saved.job.as_ref().map(|job| job.counter)
    }

    fn refused(&self, known: u64, got: u64) {
        let why = ShortText::cut(&Refusal::Replayed { got, known }.to_string());
        assert_eq!(self.home.ended(), Some((Some(got), Outcome::Refused(why))));
        assert_eq!(self.job(), None);
    }
}

#[test]
fn a_release_that_was_withdrawn_by_a_word_for_what_runs_does_not_come_back_by_its_older_word() {
    let mut home = Directed::new();
    let bad = home.word("gw-7f3k", BAD, 7);
    home.hears(&bad);
    assert_eq!(home.job(), Some(7));
    let keep = home.word("gw-7f3k", RUNS, 8);
    home.hears(&keep);
    assert_eq!(home.home.ended(), Some((Some(8), Outcome::Confirmed)));
    assert_eq!(home.job(), None);
    home.hears(&bad);
    home.refused(8, 7);
    // Nor after a power cut.
    home.home.start();
    home.hears(&keep);
    home.hears(&bad);
    home.refused(8, 7);
}

#[test]
fn a_word_that_was_refused_is_newer_than_what_came_before_it_and_one_for_another_box_is_not() {
    let mut home = Directed::new();
    home.hears(&home.word("gw-other", BAD, 99));
    home.hears(&home.word("gw-7f3k", FOREIGN, 8));
    assert!(matches!(home.home.ended(), Some((Some(8), Outcome::Refused(_)))));
    home.hears(&home.word("gw-7f3k", BAD, 7));
    home.refused(8, 7);
    // A higher one is no older one.
    home.hears(&home.word("gw-7f3k", BAD, 9));
    assert_eq!(home.job(), Some(9));
}

#[test]
fn what_is_under_way_goes_on_when_its_own_word_comes_after_a_newer_one_that_was_refused() {
    let mut home = Directed::new();
    let wanted = home.word("gw-7f3k", BAD, 7);
    home.hears(&wanted);
    home.hears(&home.word("gw-7f3k", FOREIGN, 8));
    let ended = home.home.ended();
    assert!(matches!(ended, Some((Some(8), Outcome::Refused(_)))));
    home.hears(&wanted);
    assert_eq!((home.job(), home.home.ended()), (Some(7), ended));
}
