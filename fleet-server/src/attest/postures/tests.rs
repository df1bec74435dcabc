//! Thirty days away with clocks that are reset, and every way of spoiling the chain of them.
#![expect(clippy::disallowed_methods, reason = "test: makes keys")]

use std::cell::RefCell;
use std::collections::HashMap;

use homeward_protocol::postures::{Occasion, START, after};
use homeward_protocol::signed::{PublicKey, Signed, Signer, Verified};
use homeward_protocol::time::ClockTrust;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        let rng = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).expect("a key");
        Key(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &rng).expect("a key"))
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_point(self.0.public_key().as_ref()).expect("a point")
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

/// Hourly links of `hours`, with a reboot every tenth day whose clock wakes up in 1970 and comes right a day later.
fn away(key: &Key, hours: u64, tpm: bool) -> Vec<Vec<u8>> {
    let (mut links, mut prev) = (Vec::new(), START);
    for hour in 0..hours {
        let boot = hour / 240;
        let in_boot = hour % 240;
        let true_ms = 1_795_000_000_000 + i64::try_from(hour).expect("small") * 3_600_000;
        let lost = boot > 0 && in_boot < 24;
        let at = if lost {
            Timestamp {
                ms: i64::try_from(in_boot).expect("small") * 3_600_000,
                trust: ClockTrust::Floor,
            }
        } else {
            Timestamp::synced(true_ms)
        };
        let link = Link {
            seq: hour + 1,
            prev,
            boot_count: boot + 1,
            boot_seed: Nonce([u8::try_from(boot).expect("small"); 32]),
            uptime_s: 60 + in_boot * 3600,
            at,
            occasion: Occasion::Due,
            next_s: 3600,
            measured: Nonce([7; 32]),
            tpm: tpm.then(|| TpmClock {
                clock_ms: hour * 3_600_000,
                resets: u32::try_from(boot).expect("small"),
                restarts: 0,
                safe: true,
            }),
        };
        let signed = Signed::seal(&link, key).expect("seals");
        prev = after(&prev, &signed);
        links.push(signed);
    }
    links
}

/// A server's eyes: what a link says when its signature holds. Each is looked at once, as most come again and again.
struct Eyes(PublicKey, RefCell<HashMap<Vec<u8>, Option<Link>>>);

impl Eyes {
    fn of(key: &Key) -> Eyes {
        Eyes(key.public(), RefCell::default())
    }

    fn see(&self, bytes: &[u8]) -> Option<Link> {
        let mut seen = self.1.borrow_mut();
        if let Some(known) = seen.get(bytes) {
            return known.clone();
        }
        let signed = Signed::<Link>::parse(bytes).ok();
        let link = signed
            .and_then(|s| s.verify(&self.0).ok())
            .map(Verified::into_inner);
        seen.insert(bytes.to_vec(), link.clone());
        link
    }
}

/// What a server makes of links in this order: steps, and how the end that the box names stands to them.
fn checked(eyes: &Eyes, links: &[Vec<u8>], named: Option<ChainEnd>) -> (Vec<Step>, End) {
    let (mut newest, mut steps) = (None, Vec::new());
    for bytes in links {
        let Some(link) = eyes.see(bytes) else {
            steps.push(Step::Gap(Unproven::Refused));
            continue;
        };
        let (step, next) = follow(newest.as_ref(), &link, bytes);
        newest = next.or(newest);
        steps.push(step);
    }
    (steps, end(newest.as_ref(), named))
}

/// Whether anything of it says that somebody had a hand in it.
fn is_found((steps, end): &(Vec<Step>, End)) -> bool {
    let broken = |step: &Step| match step {
        Step::Gap(why) => why.breaks(),
        Step::Old => true,
        Step::Proved => false,
    };
    steps.iter().any(broken) || *end != End::Here
}

fn end_of(links: &[Vec<u8>]) -> ChainEnd {
    let mut prev = START;
    for signed in links {
        prev = after(&prev, signed);
    }
    ChainEnd {
        seq: u64::try_from(links.len()).expect("small"),
        head: prev.0,
    }
}

#[test]
fn thirty_days_away_with_clocks_reset_hold_and_what_is_not_proved_is_named() {
    let key = Key::new();
    let eyes = Eyes::of(&key);
    for tpm in [false, true] {
        let links = away(&key, 30 * 24, tpm);
        let (steps, end) = checked(&eyes, &links, Some(end_of(&links)));
        assert_eq!(end, End::Here);
        let gaps: Vec<(usize, Unproven)> = steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| match step {
                Step::Gap(why) => Some((at, *why)),
                _ => None,
            })
            .collect();
        let expected = [
            (0, Unproven::Begins),
            (240, Unproven::Restarted),
            (480, Unproven::Restarted),
        ];
        assert_eq!(gaps, expected, "a boot is a gap, and no fault");
        assert!(!is_found(&(steps, end)));
    }
}

#[test]
fn taking_out_any_one_link_is_found() {
    let key = Key::new();
    let eyes = Eyes::of(&key);
    let links = away(&key, 30 * 24, false);
    let named = Some(end_of(&links));
    for at in 0..links.len() {
        let mut fewer = links.clone();
        fewer.remove(at);
        assert!(is_found(&checked(&eyes, &fewer, named)), "link {at} is missing");
    }
}

#[test]
fn putting_any_two_neighbours_in_each_others_place_is_found() {
    let key = Key::new();
    let eyes = Eyes::of(&key);
    let links = away(&key, 30 * 24, false);
    let named = Some(end_of(&links));
    for at in 1..links.len() {
        let mut swapped = links.clone();
        swapped.swap(at - 1, at);
        assert!(
            is_found(&checked(&eyes, &swapped, named)),
            "links {} and {at}",
            at - 1
        );
    }
    let mut moved = links.clone();
    let last = moved.pop().expect("a link");
    moved.insert(0, last);
    assert!(is_found(&checked(&eyes, &moved, named)));
}

#[test]
fn changing_any_one_link_is_found_also_when_its_own_key_signs_it_anew() {
    let (key, other) = (Key::new(), Key::new());
    let eyes = Eyes::of(&key);
    let links = away(&key, 30 * 24, false);
    let named = Some(end_of(&links));
    for at in 0..links.len() {
        let mut bit = links.clone();
        let byte = (at * 7) % bit[at].len();
        bit[at][byte] ^= 1 << (at % 8);
        assert!(is_found(&checked(&eyes, &bit, named)), "a bit of link {at}");
        let mut link = Signed::<Link>::parse(&links[at])
            .and_then(|s| s.unverified())
            .expect("a link");
        link.measured = Nonce([8; 32]);
        for (who, signer) in [("another key", &other), ("the box's own key, later", &key)] {
            let mut forged = links.clone();
            forged[at] = Signed::seal(&link, signer).expect("seals");
            assert!(is_found(&checked(&eyes, &forged, named)), "link {at} by {who}");
        }
    }
}

#[test]
fn silence_is_unproven_and_rarer_links_that_were_announced_are_not() {
    let key = Key::new();
    let links = away(&key, 2, false);
    let [first, second] = [0, 1].map(|at| {
        Signed::<Link>::parse(&links[at])
            .and_then(|s| s.unverified())
            .expect("a link")
    });
    let (_, newest) = follow(None, &first, &links[0]);
    for (next_s, later_s, step) in [
        (3600, 3600, Step::Proved),
        (3600, 3600 + GRACE_S, Step::Proved),
        (3600, 3601 + GRACE_S, Step::Gap(Unproven::Silent)),
        (7200, 7200, Step::Proved),
    ] {
        let newest = newest.map(|n| Newest { next_s, ..n });
        let link = Link {
            uptime_s: first.uptime_s + later_s,
            ..second.clone()
        };
        assert_eq!(follow(newest.as_ref(), &link, &links[1]).0, step, "{later_s} s");
    }
    let back = Link {
        uptime_s: first.uptime_s - 1,
        ..second.clone()
    };
    assert_eq!(
        follow(newest.as_ref(), &back, &links[1]).0,
        Step::Gap(Unproven::WentBack)
    );
    let fewer = Link {
        boot_count: 0,
        ..second
    };
    assert_eq!(
        follow(newest.as_ref(), &fewer, &links[1]).0,
        Step::Gap(Unproven::WentBack)
    );
}

#[test]
fn a_chain_that_begins_anew_goes_on_and_its_first_link_that_comes_again_changes_nothing() {
    let key = Key::new();
    let eyes = Eyes::of(&key);
    let (links, other) = (away(&key, 3, false), away(&key, 2, true));
    let both = [links.clone(), vec![links[0].clone()], other.clone()].concat();
    let (steps, stands) = checked(&eyes, &both, Some(end_of(&other)));
    assert_eq!(
        steps[3..],
        [Step::Old, Step::Gap(Unproven::WentBack), Step::Proved]
    );
    assert_eq!(stands, End::Here);
}

#[test]
fn a_tpms_clock_does_not_go_back() {
    let key = Key::new();
    let links = away(&key, 3, true);
    let read = |at: usize| {
        Signed::<Link>::parse(&links[at])
            .and_then(|s| s.unverified())
            .expect("a link")
    };
    let (_, newest) = follow(None, &read(0), &links[0]);
    let (_, newest) = follow(newest.as_ref(), &read(1), &links[1]);
    let clock = |clock_ms, resets| {
        let tpm = Some(TpmClock {
            clock_ms,
            resets,
            restarts: 0,
            safe: true,
        });
        Link { tpm, ..read(2) }
    };
    let step = |link: &Link| follow(newest.as_ref(), link, &links[2]).0;
    assert_eq!(step(&clock(7_200_000, 0)), Step::Proved);
    assert_eq!(
        step(&clock(3_599_999, 0)),
        Step::Gap(Unproven::WentBack),
        "a snapshot of the box"
    );
    assert_eq!(
        step(&clock(0, 1)),
        Step::Proved,
        "a cleared count of milliseconds belongs to a reset"
    );
}

#[test]
fn the_end_that_evidence_names_tells_what_is_missing_or_went_back() {
    let key = Key::new();
    let eyes = Eyes::of(&key);
    let links = away(&key, 3, false);
    let named = end_of(&links);
    let at = |count: usize, named| checked(&eyes, &links[..count], named).1;
    assert_eq!(at(3, Some(named)), End::Here);
    assert_eq!(at(2, Some(named)), End::Ahead);
    assert_eq!(at(0, Some(named)), End::Ahead);
    assert_eq!(at(3, None), End::Other);
    assert_eq!(at(0, None), End::Here, "a box that was never away has no chain");
    assert_eq!(
        at(3, Some(end_of(&links[..2]))),
        End::Here,
        "the newest link overtook the evidence"
    );
    assert_eq!(
        at(3, Some(end_of(&links[..1]))),
        End::Other,
        "its memory was put back"
    );
    let other = ChainEnd {
        head: [1; 32],
        ..named
    };
    assert_eq!(at(3, Some(other)), End::Other);
    for why in Unproven::ALL {
        assert_eq!(Unproven::from_name(why.name()), Some(why));
        assert!(!why.said().is_empty());
    }
}
