//! Whether gateways can be believed: promises over challenges, evidence, judgements and what a person accepts.

use std::collections::BTreeMap;

use homeward_protocol::attest::{CHALLENGE_MS, Nonce as Nonce32, Tier, Trust, VERDICT_MS};
use homeward_protocol::envelope::{Item, Lane};
use homeward_protocol::evidence::bundle::Bundle;
use homeward_protocol::evidence::{ChainEnd, Component, Evidence, Measured, Profile};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::postures::{Link, Occasion as LinkOccasion, START, after};
use homeward_protocol::reading::Reading;
use homeward_protocol::reference::{Good, Measurand, Release};
use homeward_protocol::signed::tagged::thumbprint;
use homeward_protocol::signed::{PublicKey, Signed, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::kept::{envelope, reading, start, store_at};
use super::{Home, NOW, block};
use crate::attest::baseline::Baseline;
use crate::attest::postures::Unproven;
use crate::attest::record::Known;
use crate::attest::reference::Reference;
use crate::attest::schedule::Occasion;
use crate::attest::take::{Accept, Accepted, Came, Taken, With, accept, hash, take};
use crate::attest::{Nonce, Status, Why, refuse};
use crate::ca::{Issued, Rank, Serial};
use crate::store::attest::releases::Verified;
use crate::store::attest::{self, Answer, firmware, releases};
use crate::store::certificates::{self, Timing};
use crate::store::incidents::{self, Kind};
use crate::store::{Store, StoreError, Tx, retention};
use crate::store::{console, gateways};

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

fn id(text: &str) -> GatewayId {
    text.parse().expect("an id")
}

fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    block(store.write(work)).expect("written")
}

fn asked(store: &Store, gateway: &'static str, nonce: u8, at: Timestamp) {
    let hash = hash(&[nonce; 32]);
    write(store, move |tx| {
        attest::ask(tx, &id(gateway), &hash, Occasion::Daily, at)
    });
}

/// Claims over this number, of a box with this key; `change` spoils them before they are signed.
fn bundle(key: &Key, nonce: u8, change: impl FnOnce(&mut Evidence)) -> Vec<u8> {
    let mut evidence = Evidence {
        issued_at_s: 1_795_000_000,
        key: thumbprint(&key.public()),
        nonce: [nonce; 32],
        box_id: [3; 16],
        uptime_s: 90,
        boot_count: 4,
        boot_seed: [5; 32],
        profile: Profile::Software,
        software: (ShortText::cut("homeward-agent"), ShortText::cut("1.0")),
        measured: vec![Measured {
            component: Component::Agent,
            version: Some(ShortText::cut("1.0")),
            sha256: [7; 32],
        }],
        postures: None,
    };
    change(&mut evidence);
    let token = evidence.seal(key).expect("seals");
    Bundle { token, tpm: None }.encode().expect("fits")
}

fn reference() -> Reference {
    Reference(vec![release()])
}

fn release() -> Release {
    Release {
        name: ShortText::cut("1.0"),
        values: vec![Good {
            what: Measurand::Component(Component::Agent),
            version: Some(ShortText::cut("1.0")),
            sha256: [7; 32],
        }],
    }
}

fn came(store: &Store, gateway: &'static str, key: &Key, bytes: Vec<u8>, now: Timestamp) -> Taken {
    let key = key.public();
    write(store, move |tx| {
        let reference = reference();
        let one = crate::store::hex(&hash(&bytes));
        let incidents = [format!("{one}-1"), format!("{one}-2")];
        let with = With {
            reference: &reference,
            dice: 7,
            incidents: &incidents,
            now,
        };
        let came = Came {
            gateway: &id(gateway),
            key: &key,
            bytes: &bytes,
        };
        take(tx, &came, &with)
    })
}

fn trust(store: &Store, gateway: &'static str, at: Timestamp) -> Trust {
    block(store.read(move |tx| attest::trust(tx, &id(gateway), at))).expect("read")
}

fn judged(taken: Taken) -> (Trust, bool) {
    match taken {
        Taken::Judged(notice) => (notice.trust, notice.quarantined),
        Taken::Ignored(why) => panic!("put aside: {why}"),
    }
}

/// Makes a gateway trusted from this moment on, as a judgement in order does.
pub(super) fn trusted(store: &Store, gateway: &'static str, at: Timestamp) {
    let mut verdict = refuse(Why::Unreadable, &Known::default(), at);
    verdict.vector = "2,2,3,0,2,0,2,0".parse().expect("a vector");
    verdict.status = verdict.vector.status();
    verdict.tier = Tier::MeasuredBoot;
    verdict.why = vec![Why::InOrder];
    assert_eq!(verdict.status, Status::Affirming);
    write(store, move |tx| {
        let known = attest::kept(tx, &id(gateway))?.known.after(&verdict, None, "");
        attest::write(tx, &id(gateway), &known)?;
        let hash = hash(&at.ms.to_be_bytes());
        attest::keep(
            tx,
            &id(gateway),
            &verdict,
            Some((&hash, b"evidence")),
            ("in order", Trust::Trusted),
        )
    });
}

pub(crate) fn a_reading_is_verified_only_by_our_own_record_and_a_failure_takes_it_back(home: &Home) {
    let (store, key) = (home.open(), Key::new());
    let mut first = 1;
    let mut prev = start(1, Lane::Vital);
    let mut put = |taken_at: Timestamp, at: Timestamp| {
        let Item::Reading(plain) = reading(taken_at.ms, 20) else {
            unreachable!("a reading")
        };
        let verified = Item::Reading(Reading {
            grade: Grade::Verified,
            taken_at,
            ..plain
        });
        let one = envelope(1, Lane::Vital, first, prev, &[verified]);
        first += 1;
        prev = prev.after(&one.entries[0]);
        store_at(&store, one, at);
    };
    put(NOW.plus_ms(-5), NOW); // nobody has judged it
    trusted(&store, "gw-1", NOW);
    put(NOW.plus_ms(5), NOW.plus_ms(6));
    put(NOW.plus_ms(VERDICT_MS), NOW.plus_ms(VERDICT_MS)); // its judgement has ended
    let grades = |store: &Store| {
        let kept = block(store.read(|tx| {
            let probe = "probe".parse().expect("an id");
            console::readings(tx, &id("gw-1"), &probe, (0, i64::MAX), 10)
        }));
        let kept = kept.expect("read");
        kept.into_iter()
            .map(|r| (r.grade, r.details.reasons))
            .collect::<Vec<_>>()
    };
    let doubted = (Grade::Unverified, vec![Reason::GatewayDoubted]);
    let unjudged = (Grade::Associated, vec![Reason::GatewayUnjudged]);
    let stands = [unjudged.clone(), (Grade::Verified, Vec::new()), doubted.clone()];
    assert_eq!(grades(&store), stands);
    asked(&store, "gw-1", 1, NOW.plus_ms(10));
    let spoilt = bundle(&key, 1, |e| e.measured[0].sha256 = [8; 32]);
    let failed = came(&store, "gw-1", &key, spoilt, NOW.plus_ms(11));
    assert_eq!(judged(failed).0, Trust::Failed);
    assert_eq!(grades(&store), [unjudged, doubted.clone(), doubted]);
    let latest = block(store.read(|tx| console::latest(tx, &id("gw-1")))).expect("read");
    assert_eq!(latest[0].grade, Grade::Unverified);
}

pub(crate) fn a_number_is_used_once_in_time_and_by_its_own_gateway(home: &Home) {
    let store = home.open();
    asked(&store, "gw-1", 1, NOW);
    asked(&store, "gw-1", 2, NOW);
    let answer = |gateway: &'static str, nonce: u8, bytes: u8, ms: i64| {
        let (nonce, bytes) = (hash(&[nonce; 32]), [bytes; 32]);
        write(&store, move |tx| {
            attest::answer(tx, &id(gateway), &nonce, &bytes, NOW.plus_ms(ms))
        })
    };
    assert_eq!(
        answer("gw-2", 1, 1, 1),
        Answer::Judge(Nonce::Foreign),
        "another gateway's"
    );
    assert_eq!(
        answer("gw-1", 9, 1, 1),
        Answer::Judge(Nonce::Foreign),
        "never asked"
    );
    assert_eq!(answer("gw-1", 1, 1, 1), Answer::Judge(Nonce::Fresh));
    assert_eq!(
        answer("gw-1", 1, 1, 2),
        Answer::Again,
        "the same bytes, said twice"
    );
    assert_eq!(answer("gw-1", 1, 2, 2), Answer::Judge(Nonce::Used), "other bytes");
    assert_eq!(
        answer("gw-1", 1, 1, CHALLENGE_MS),
        Answer::Judge(Nonce::Used),
        "the same bytes, later"
    );
    assert_eq!(answer("gw-1", 2, 3, CHALLENGE_MS), Answer::Judge(Nonce::Late));
    asked(&store, "gw-1", 4, NOW.plus_ms(10));
    assert_eq!(
        answer("gw-1", 1, 1, 20),
        Answer::Judge(Nonce::Used),
        "the same bytes, after it was asked anew"
    );
    let kept = block(store.read(|tx| attest::kept(tx, &id("gw-1")))).expect("read");
    assert_eq!((kept.known.first_asked, kept.asked.unanswered), (Some(NOW), 3));
}

pub(crate) fn a_judgement_and_what_it_was_of_outlast_a_restart_and_end_by_themselves(home: &Home) {
    let (store, key) = (home.open(), Key::new());
    assert_eq!(trust(&store, "gw-1", NOW), Trust::Unknown);
    asked(&store, "gw-1", 1, NOW);
    let bytes = bundle(&key, 1, |_| {});
    assert_eq!(
        judged(came(&store, "gw-1", &key, bytes.clone(), NOW)),
        (Trust::Warning, false)
    );
    drop(store);
    let store = home.open();
    assert_eq!(trust(&store, "gw-1", NOW.plus_ms(VERDICT_MS - 1)), Trust::Warning);
    assert_eq!(trust(&store, "gw-1", NOW.plus_ms(VERDICT_MS)), Trust::Stale);
    assert_eq!(
        trust(&store, "gw-1", NOW.plus_ms(-120_000)),
        Trust::Unknown,
        "the clock is behind"
    );
    let history = block(store.read(|tx| attest::history(tx, &id("gw-1"), 9))).expect("read");
    let [one] = history.as_slice() else {
        panic!("{history:?}")
    };
    assert_eq!(
        (one.status, one.tier, one.state),
        (Status::Warning, Tier::Software, Trust::Warning)
    );
    assert_eq!(one.evidence, hash(&bytes));
    assert!(!one.said.is_empty());
    let newest = block(store.read(|tx| attest::newest_evidence(tx, &id("gw-1")))).expect("read");
    assert_eq!(newest, Some(bytes));
    let kept = block(store.read(|tx| attest::kept(tx, &id("gw-1")))).expect("read");
    assert_eq!((kept.known.box_id, kept.asked.unanswered), (Some([3; 16]), 0));
    assert!(kept.asked.next.expect("is asked again").ms > NOW.ms + 18 * 3_600_000 - 1);
}

pub(crate) fn each_kind_of_bad_evidence_has_its_judgement(home: &Home) {
    let (store, key, other) = (home.open(), Key::new(), Key::new());
    let mut nonce = 0;
    let mut send = |gateway: &'static str, by: &Key, change: fn(&mut Evidence)| {
        nonce += 1;
        asked(&store, gateway, nonce, NOW.plus_ms(i64::from(nonce)));
        let bytes = bundle(by, nonce, change);
        judged(came(&store, gateway, &key, bytes, NOW.plus_ms(i64::from(nonce))))
    };
    assert_eq!(send("gw-1", &key, |_| {}), (Trust::Warning, false));
    assert_eq!(
        send("gw-1", &key, |e| e.measured[0].sha256 = [8; 32]),
        (Trust::Failed, false)
    );
    assert_eq!(
        send("gw-1", &key, |e| e.measured[0].sha256 = [8; 32]),
        (Trust::Failed, true)
    );
    assert_eq!(
        send("gw-2", &other, |_| {}),
        (Trust::Failed, true),
        "signed by another key: at once"
    );
    assert_eq!(
        send("gw-3", &key, |e| e.key = [9; 32]),
        (Trust::Failed, true),
        "of another key: at once"
    );
    assert_eq!(
        send("gw-4", &key, |e| e.nonce = [99; 32]),
        (Trust::Failed, true),
        "a wrong number: at once"
    );
    asked(&store, "gw-5", 200, NOW);
    let good = bundle(&key, 200, |_| {});
    assert_eq!(
        judged(came(&store, "gw-5", &key, good.clone(), NOW)),
        (Trust::Warning, false)
    );
    assert_eq!(
        came(&store, "gw-5", &key, good.clone(), NOW),
        Taken::Ignored("said twice")
    );
    asked(&store, "gw-5", 201, NOW.plus_ms(5));
    let replayed = came(&store, "gw-5", &key, good, NOW.plus_ms(6));
    assert_eq!(judged(replayed), (Trust::Failed, true), "a recording: at once");
    asked(&store, "gw-6", 202, NOW);
    assert_eq!(
        judged(came(&store, "gw-6", &key, b"odd".to_vec(), NOW)),
        (Trust::Failed, false)
    );
    assert_eq!(
        judged(came(&store, "gw-6", &key, b"odder".to_vec(), NOW)),
        (Trust::Failed, true)
    );
    assert_eq!(
        came(&store, "gw-6", &key, b"oddest".to_vec(), NOW),
        Taken::Ignored("not asked for, from a gateway that is shut off")
    );
    asked(&store, "gw-7", 203, NOW);
    let late = bundle(&key, 203, |_| {});
    assert_eq!(
        came(&store, "gw-7", &key, late, NOW.plus_ms(CHALLENGE_MS)),
        Taken::Ignored("too late")
    );
    assert_eq!(trust(&store, "gw-7", NOW), Trust::Unknown);
}

pub(crate) fn only_a_person_opens_a_gateway_and_only_evidence_makes_it_good(home: &Home) {
    let (store, key) = (home.open(), Key::new());
    asked(&store, "gw-1", 1, NOW);
    let foreign = bundle(&key, 9, |_| {});
    assert_eq!(
        judged(came(&store, "gw-1", &key, foreign, NOW)),
        (Trust::Failed, true)
    );
    let open = |store: &Store| block(store.read(|tx| incidents::open_of(tx, &id("gw-1")))).expect("read");
    assert_eq!(open(&store)[0].kind, Kind::Quarantined);
    asked(&store, "gw-1", 2, NOW.plus_ms(1));
    let good = bundle(&key, 2, |_| {});
    assert_eq!(
        judged(came(&store, "gw-1", &key, good, NOW.plus_ms(2))),
        (Trust::Failed, true),
        "good evidence does not open it"
    );
    let lift = Accept {
        reason: "the box was looked at".into(),
        lift: true,
        firmware: false,
        tier: None,
    };
    let decide = |what: Accept| {
        write(&store, move |tx| {
            accept(tx, &id("gw-1"), &what, "anna", NOW.plus_ms(3))
        })
    };
    assert_eq!(decide(lift.clone()), Accepted::Done);
    assert_eq!(decide(lift), Accepted::Nothing);
    assert!(open(&store).is_empty());
    assert_eq!(
        trust(&store, "gw-1", NOW.plus_ms(4)),
        Trust::Warning,
        "its newest evidence was good"
    );
    let kept = block(store.read(|tx| attest::kept(tx, &id("gw-1")))).expect("read");
    assert!(kept.asked.wished.is_some(), "it is asked at once");
    let retier = Accept {
        reason: "a new board".into(),
        lift: false,
        firmware: false,
        tier: Some(Tier::TpmKey),
    };
    assert_eq!(decide(retier), Accepted::Done);
    asked(&store, "gw-1", 3, NOW.plus_ms(5));
    let less = bundle(&key, 3, |_| {});
    assert_eq!(
        judged(came(&store, "gw-1", &key, less, NOW.plus_ms(6))).0,
        Trust::Failed
    );
}

pub(crate) fn firmware_is_learned_noted_and_accepted_side_by_side(home: &Home) {
    let store = home.open();
    let registers = |four: u8| BTreeMap::from([(0, [1; 32]), (2, [2; 32]), (4, [four; 32]), (7, [7; 32])]);
    let read = |store: &Store| block(store.read(|tx| firmware::baseline(tx, &id("gw-1")))).expect("read");
    write(&store, move |tx| {
        firmware::accept(
            tx,
            &id("gw-1"),
            &Baseline::learn(&registers(4)),
            "first seen",
            NOW,
        )
    });
    let mut other = registers(5);
    other.remove(&7);
    let changes = read(&store).changes(&other);
    assert_eq!(changes.len(), 2);
    let noted = changes.clone();
    write(&store, move |tx| firmware::see(tx, &id("gw-1"), &noted, NOW));
    assert_eq!(
        block(store.read(|tx| firmware::changes(tx, &id("gw-1")))).expect("read"),
        changes
    );
    let accepting = Accept {
        reason: "a firmware update".into(),
        lift: false,
        firmware: true,
        tier: None,
    };
    let done = write(&store, move |tx| accept(tx, &id("gw-1"), &accepting, "anna", NOW));
    assert_eq!(done, Accepted::Done);
    assert_eq!(read(&store), Baseline::learn(&other));
    assert!(
        block(store.read(|tx| firmware::changes(tx, &id("gw-1"))))
            .expect("read")
            .is_empty()
    );
}

pub(crate) fn a_release_whose_row_was_changed_is_not_believed(home: &Home) {
    let (store, key) = (home.open(), Key::new());
    let signed = release().seal(&key).expect("seals");
    let (public, bytes) = (key.public(), signed.clone());
    let load = move |tx: &mut dyn Tx| {
        let verified = Verified {
            release: &release(),
            bytes: &bytes,
            signer: &public,
            targets: Some(7),
        };
        releases::load(tx, verified, "anna", NOW)
    };
    assert!(write(&store, load));
    let read = || block(store.read(releases::reference));
    assert_eq!(read().expect("read"), reference());
    let targets = block(store.read(releases::all)).expect("read")[0].targets;
    assert_eq!(targets, Some(7), "where it came from");
    let mut tampered = signed;
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    write(&store, move |tx| {
        let sql = "UPDATE reference_values SET signed = $1";
        tx.execute(sql, &[tampered.as_slice().into()])
    });
    assert!(matches!(read(), Err(StoreError::Corrupt { .. })));
    assert!(write(&store, |tx| releases::remove(tx, "1.0", "", "anna", NOW)));
    assert_eq!(read().expect("read"), Reference::default());
}

pub(crate) fn old_evidence_goes_and_its_judgement_stays(home: &Home) {
    const DAY: i64 = 86_400_000;
    let (store, key) = (home.open(), Key::new());
    for (nonce, days) in [(1, 0), (2, 50)] {
        let at = NOW.plus_ms(days * DAY);
        asked(&store, "gw-1", nonce, at);
        came(&store, "gw-1", &key, bundle(&key, nonce, |_| {}), at);
    }
    let rows = |table: &'static str| {
        block(store.read(move |tx| tx.row(table, &[])?.map_or(Ok(0), |row| row.int(0)))).expect("read")
    };
    let counts = || {
        [
            rows("SELECT COUNT(*) FROM evidence"),
            rows("SELECT COUNT(*) FROM results"),
            rows("SELECT COUNT(*) FROM challenges"),
        ]
    };
    assert_eq!(counts(), [2, 2, 2]);
    let step = |days: i64| {
        write(&store, move |tx| {
            retention::step(tx, 400, 400, NOW.plus_ms(days * DAY))
        })
    };
    step(91);
    assert_eq!(counts(), [1, 2, 0]);
    step(200);
    assert_eq!(counts(), [0, 2, 0]);
    step(451);
    assert_eq!(counts(), [0, 0, 0]);
    assert_eq!(
        trust(&store, "gw-1", NOW.plus_ms(451 * DAY)),
        Trust::Stale,
        "the record itself stays"
    );
}

fn link(key: &Key, seq: u64, prev: Nonce32, uptime_s: u64) -> (Vec<u8>, Nonce32) {
    let link = Link {
        seq,
        prev,
        boot_count: 4,
        boot_seed: Nonce32([5; 32]),
        uptime_s,
        at: NOW.plus_ms(i64::try_from(uptime_s).expect("small") * 1000),
        occasion: LinkOccasion::Due,
        next_s: 3600,
        measured: Nonce32([2; 32]),
        tpm: None,
    };
    let signed = Signed::seal(&link, key).expect("seals");
    let head = after(&prev, &signed);
    (signed, head)
}

pub(crate) fn a_chain_of_postures_is_checked_and_what_is_missing_is_on_record_and_counts_once(home: &Home) {
    let (store, key) = (home.open(), Key::new());
    let point = key.public();
    write(&store, move |tx| {
        gateways::add(tx, &id("gw-1"), None, NOW)?;
        let issued = Issued {
            serial: Serial::from_random([1; 16]),
            key: point,
            rank: Rank::Own(Tier::Software),
            not_before: NOW,
            not_after: NOW.plus_ms(1000),
            der: vec![1].into(),
        };
        certificates::add(tx, &id("gw-1"), &issued, Timing::InTime, NOW)
    });
    let (mut links, mut prev) = (Vec::new(), START);
    for seq in 1..=5 {
        let (signed, head) = link(&key, seq, prev, seq * 3600);
        links.push((signed, head));
        prev = head;
    }
    let mut chain = start(1, Lane::Routine);
    let mut place = 1;
    let mut deliver = |at: usize| {
        let item = Item::Proof(Bytes(links[at].0.clone()));
        let one = envelope(1, Lane::Routine, place, chain, &[item]);
        (place, chain) = (place + 1, chain.after(&one.entries[0]));
        store_at(&store, one, NOW);
    };
    deliver(0);
    deliver(1);
    let end = |at: usize| {
        Some(ChainEnd {
            seq: u64::try_from(at + 1).expect("small"),
            head: links[at].1.0,
        })
    };
    let mut nonce = 0;
    let mut said = |named: Option<ChainEnd>, ms: i64| {
        nonce += 1;
        asked(&store, "gw-1", nonce, NOW.plus_ms(ms));
        let bytes = bundle(&key, nonce, |e| e.postures = named);
        match came(&store, "gw-1", &key, bytes, NOW.plus_ms(ms)) {
            Taken::Judged(notice) => {
                let all: Vec<String> = notice.said.iter().map(|s| s.as_str().to_owned()).collect();
                all.join("; ").contains("without a gap")
            }
            Taken::Ignored(why) => panic!("put aside: {why}"),
        }
    };
    assert!(!said(end(1), 1), "all of it is here");
    assert!(!said(end(2), 2), "one is on its way");
    deliver(2);
    assert!(!said(end(2), 3));
    assert!(!said(end(3), 4), "on its way");
    assert!(!said(end(3), 599_000));
    assert!(said(end(3), 700_000), "it did not come");
    assert!(!said(end(3), 700_001), "counts once");
    deliver(4);
    assert!(
        !said(end(4), 700_002),
        "the chain goes on from the end that was named"
    );
    assert!(said(end(1), 700_003), "the box's memory was put back");
    assert!(!said(end(1), 700_004));
    assert!(said(None, 700_005));
    assert!(!said(None, 700_006));
    let kept = block(store.read(|tx| attest::postures::stretches(tx, &id("gw-1")))).expect("read");
    let proved = kept.iter().filter(|one| one.unproven.is_none()).count();
    let missing = kept
        .iter()
        .filter(|one| one.unproven == Some(Unproven::Missing))
        .count();
    assert_eq!((proved, missing), (2, 1), "{kept:?}");
}
