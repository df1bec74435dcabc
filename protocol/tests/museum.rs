//! The museum of bad input: bytes that a decoder must refuse, and why each is here.
//!
//! A finding of a fuzz target ends here, under a name that says what was wrong.
#![expect(clippy::disallowed_methods, reason = "shell: tests read the golden files")]

use std::fs;
use std::path::PathBuf;

use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, iana};
use homeward_protocol::ack::Ack;
use homeward_protocol::claim::{Claim, Code, Endpoint, Pin};
use homeward_protocol::envelope::{Entry, Envelope, Item, MAX_ENVELOPE};
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::Offer;
use homeward_protocol::signed::{Message, PublicKey, Signed, SignedError};
use homeward_protocol::support::SupportOrder;
use homeward_protocol::unit::Decimal;
use homeward_protocol::wire::{self, Bytes};

fn golden(name: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    fs::read(file).expect("a golden file")
}

fn envelope() -> Envelope {
    wire::decode(&golden("envelope-1.cbor"), MAX_ENVELOPE).expect("the golden envelope")
}

fn reads(name: &str, bytes: &[u8]) -> bool {
    match name.split('-').next() {
        Some("ack") => Ack::decode(bytes).is_ok(),
        Some("force") => Offer::decode(bytes).is_ok(),
        Some("support") => SupportOrder::decode(bytes).is_ok(),
        Some("item") => Item::decode(&Bytes(bytes.to_vec())).is_ok(),
        _ => wire::decode::<Envelope>(bytes, MAX_ENVELOPE).is_ok(),
    }
}

const MESSAGES: [&str; 14] = [
    "force-offer-1.cbor",
    "item-1-support-ended.cbor",
    "support-1-open.cbor",
    "item-1-policy.cbor",
    "item-1-stopped.cbor",
    "ack-1-continue.cbor",
    "envelope-1.cbor",
    "item-1-alarm.cbor",
    "item-1-facts-since.cbor",
    "item-1-software.cbor",
    "item-1-outage.cbor",
    "item-1-posture.cbor",
    "item-1-reading-details.cbor",
    "item-1-reading-number.cbor",
];

#[test]
fn half_a_message_is_no_message() {
    for name in MESSAGES {
        let whole = golden(name);
        assert!(reads(name, &whole), "{name}");
        for size in 0..whole.len() {
            assert!(
                !reads(name, &whole[..size]),
                "{name} cut to {size} bytes was accepted"
            );
        }
    }
}

#[test]
fn nothing_may_follow_a_message() {
    for name in MESSAGES {
        let mut more = golden(name);
        more.push(0xf6);
        assert!(!reads(name, &more), "{name} with a byte behind it was accepted");
    }
}

#[test]
fn a_damaged_message_is_read_or_refused_and_never_a_panic() {
    for name in MESSAGES {
        let whole = golden(name);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = reads(name, &damaged);
            }
        }
    }
}

/// Each: why it is here, and bytes that no decoder of ours may take.
#[test]
fn shapes_that_hurt_other_decoders_are_refused() {
    let nested = |open: u8| vec![open; 40_000];
    let museum: [(&str, Vec<u8>); 12] = [
        ("nothing at all", vec![]),
        ("lists in lists, deeper than a stack", nested(0x81)),
        ("maps in maps", nested(0xa1)),
        ("tags on tags", nested(0xc1)),
        ("open lists in open lists", nested(0x9f)),
        (
            "a list that says it has 2^64-1 elements",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        (
            "a map that says it has 2^64-1 pairs",
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        (
            "bytes that say they are 2^64-1 long",
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        (
            "text that says it is 4 GiB long",
            b"\x7a\xff\xff\xff\xff".to_vec(),
        ),
        ("a break where none is open", vec![0xff]),
        ("reserved additional information", vec![0x1c]),
        ("text that is not UTF-8", b"\xa1\x62\xc3\x28\x00".to_vec()),
    ];
    for (why, bytes) in museum {
        for name in MESSAGES {
            assert!(!reads(name, &bytes), "{name}: {why}");
        }
        assert!(Signed::<Envelope>::parse(&bytes).is_err(), "signed: {why}");
    }
}

fn replaced(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let whole = golden(name);
    let at = whole
        .windows(from.len())
        .position(|w| w == from)
        .expect("it is in there");
    [&whole[..at], to, &whole[at + from.len()..]].concat()
}

#[test]
fn fields_are_known_whole_and_single() {
    let unknown = replaced("ack-1-continue.cbor", b"\x65epoch", b"\x65epocx");
    assert!(Ack::decode(&unknown).is_err(), "an unknown field");
    let doubled = replaced("ack-1-continue.cbor", b"\xa4", b"\xa5\x64lane\x65vital");
    assert!(Ack::decode(&doubled).is_err(), "a field twice");
    let lane = replaced("ack-1-continue.cbor", b"urgent", b"URGENT");
    assert!(Ack::decode(&lane).is_err(), "a lane that is none");
    let sensor = Bytes(replaced("item-1-reading-number.cbor", b"freezer-1", b"freezer/1"));
    assert!(
        Item::decode(&sensor).is_err(),
        "an id that a topic would break on"
    );
    let twice = Bytes(replaced(
        "item-1-reading-details.cbor",
        b"\x65moved",
        b"\x6cfrom-storage",
    ));
    assert!(Item::decode(&twice).is_err(), "a mark twice");
    let control = Bytes(replaced("item-1-posture.cbor", b"Debian", b"Deb\x1b[m"));
    assert!(
        Item::decode(&control).is_err(),
        "a text that would move a terminal's cursor"
    );
    let exponent = serde_cbor::to_vec(&(1i64, 19i8)).expect("encodes");
    assert!(
        wire::decode::<Decimal>(&exponent, 64).is_err(),
        "a number that would print for pages"
    );
    let long = serde_cbor::to_vec(&"x".repeat(129)).expect("encodes");
    assert!(
        wire::decode::<ShortText>(&long, 1024).is_err(),
        "a text beyond its limit"
    );
}

#[test]
fn an_envelope_that_does_not_count_right_is_refused() {
    let with = |change: fn(&mut Envelope)| {
        let mut envelope = envelope();
        change(&mut envelope);
        envelope.check().is_err()
    };
    assert!(with(|e| e.entries.clear()), "nothing in it");
    assert!(with(|e| e.oldest.0 = 0), "numbers begin at 1");
    assert!(
        with(|e| e.first.0 = e.oldest.0 - 1),
        "before the oldest it still holds"
    );
    assert!(
        with(|e| e.first.0 = i64::MAX as u64 - 2),
        "numbers that a database cannot hold"
    );
    let lose = |e: &mut Envelope, n: u64| {
        for entry in &mut e.entries {
            if let Entry::Lost(lost) = entry {
                lost.count = n;
            }
        }
    };
    let mut none = envelope();
    lose(&mut none, 0);
    assert!(none.check().is_err(), "a loss of nothing");
    let mut all = envelope();
    lose(&mut all, u64::MAX);
    assert!(all.check().is_err(), "a loss beyond the last number");
    let _ = all.last();
}

#[test]
fn a_signature_by_other_rules_is_refused() {
    let payload = golden("envelope-1.cbor");
    let es256 = || HeaderBuilder::new().algorithm(iana::Algorithm::ES256);
    let built = |builder: CoseSign1Builder| builder.signature(vec![0; 64]).build().to_vec().expect("encodes");
    let plain = || CoseSign1Builder::new().payload(payload.clone());
    let museum = [
        ("no algorithm", built(plain())),
        (
            "another algorithm",
            built(plain().protected(HeaderBuilder::new().algorithm(iana::Algorithm::ES384).build())),
        ),
        (
            "the algorithm where nothing protects it",
            built(plain().unprotected(es256().build())),
        ),
        (
            "a key id nobody asked for",
            built(plain().protected(es256().key_id(vec![1]).build())),
        ),
        (
            "something unprotected",
            built(
                plain()
                    .protected(es256().build())
                    .unprotected(HeaderBuilder::new().key_id(vec![1]).build()),
            ),
        ),
        (
            "a critical header",
            built(plain().protected(es256().add_critical(iana::HeaderParameter::Kid).build())),
        ),
        (
            "no payload",
            built(CoseSign1Builder::new().protected(es256().build())),
        ),
    ];
    for (why, bytes) in museum {
        let parsed = Signed::<Envelope>::parse(&bytes);
        assert!(matches!(parsed, Err(SignedError::Structure(_))), "{why}");
    }
    let point = PublicKey::from_point(&golden("envelope-1-signed.point")).expect("a point");
    let unsigned = built(plain().protected(es256().build()));
    let parsed = Signed::<Envelope>::parse(&unsigned).expect("the shape is right");
    assert!(
        matches!(parsed.verify(&point), Err(SignedError::Signature)),
        "a signature of zeros"
    );
    let short = plain()
        .protected(es256().build())
        .signature(vec![])
        .build()
        .to_vec()
        .expect("encodes");
    let parsed = Signed::<Envelope>::parse(&short).expect("the shape is right");
    assert!(
        matches!(parsed.verify(&point), Err(SignedError::Signature)),
        "no signature"
    );
}

#[test]
fn points_that_are_not_on_the_curve_verify_nothing() {
    assert!(PublicKey::from_point(&[4; 64]).is_none(), "too short");
    assert!(PublicKey::from_point(&[2; 65]).is_none(), "not uncompressed");
    let mut zeros = [0; 65];
    zeros[0] = 4;
    let signed = Signed::<Envelope>::parse(&golden("envelope-1-signed.cbor")).expect("reads");
    let nowhere = PublicKey::from_point(&zeros).expect("the shape of a point");
    assert!(matches!(signed.verify(&nowhere), Err(SignedError::Signature)));
}

#[test]
fn texts_that_are_no_claim_are_refused() {
    let good = String::from_utf8(golden("claim-1.txt")).expect("text");
    let good = good.trim();
    for (from, to) in [
        ("&g=", "&g=&g="),
        ("gw-7f3k", "fleet"),
        ("gw-7f3k", "gw-7f3k/../x"),
        ("v=1", "v=2"),
        (":8443", ""),
        (":8443", ":99999"),
        ("fleet.example", ""),
        ("fleet.example", "[::1"),
        ("fleet.example", "fl\u{e9}et"),
        ("&x=", "&x=9999999999999999999999"),
        ("&x=", "&y="),
    ] {
        let bad = good.replace(from, to);
        assert!(bad.parse::<Claim>().is_err(), "{bad} was accepted");
    }
    let json = String::from_utf8(golden("claim-1.json")).expect("text");
    let more = json.replacen('{', "{\"more\":1,", 1);
    assert!(more.parse::<Claim>().is_err(), "an unknown key");
    // Found by fuzzing: the parser's own words repeated a key that moves the cursor.
    let cursor = json.replacen('{', "{\"a\u{7f}\u{9b}b\":1,", 1);
    let words = cursor.parse::<Claim>().expect_err("an unknown key").to_string();
    assert!(!words.contains(char::is_control), "{words:?}");
    for bad in ["", ":", ":1", "a:0", "a b:1", "[::g]:1", "[::1]", "a:1:", "\0:1"] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad:?} was accepted");
    }
    for bad in [
        "",
        "0",
        "0000-0000-0000-000U",
        "0000-0000-0000-00000",
        "0000-0000-0000-000\u{661}",
    ] {
        assert!(bad.parse::<Code>().is_err(), "{bad:?} was accepted");
    }
    for bad in [
        String::new(),
        "A".repeat(42),
        "A".repeat(44),
        format!("{}B", "A".repeat(42)),
        "=".repeat(43),
    ] {
        assert!(bad.parse::<Pin>().is_err(), "{bad:?} was accepted");
    }
}
