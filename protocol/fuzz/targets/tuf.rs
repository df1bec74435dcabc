//! Metadata from a stranger, in every place of a refresh, and the director's word: each ends in an answer.
#![no_main]

use std::sync::LazyLock;

use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::{Answer, Client};
use homeward_protocol::tuf::envelope::Envelope;
use homeward_protocol::tuf::role::Role;
use homeward_protocol::tuf::{glob, sign};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::synced(1_800_000_000_000);

/// A root that one known key signed for all roles: what the fuzzer makes is signed by nobody.
static ROOT: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let key = sign::SigningKey::from_seed(&[7; 32]).ok()?;
    let holders = sign::Holders { keys: vec![key.public()], threshold: 1 };
    let mut root = sign::root(1, NOW.plus_ms(1_000), [&holders, &holders, &holders, &holders]).ok()?;
    root.sign(&key).ok()?;
    Some(root.to_bytes())
});

static KEY: LazyLock<Option<PublicKey>> =
    LazyLock::new(|| PublicKey::from_point(include_bytes!("../../tests/golden/envelope-1-signed.point")));

fuzz_target!(|bytes: &[u8]| {
    let _ = Envelope::parse(&Role::Targets, bytes);
    let _ = Client::begin(bytes, NOW);
    if let Some((client, _)) = ROOT.as_ref().and_then(|root| Client::begin(root, NOW).ok()) {
        let mut next = client.clone();
        assert!(next.handle(Answer::Fetched(bytes.to_vec())).is_err(), "nobody signed it");
        let mut later = client;
        for answer in [Answer::Absent, Answer::Loaded(Some(bytes.to_vec())), Answer::Fetched(bytes.to_vec())] {
            let _ = later.handle(answer);
        }
        assert!(later.trusted().timestamp().is_none(), "nobody signed it");
    }
    if let Some(key) = KEY.as_ref() {
        assert!(Assignment::verify(bytes, key).is_err());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (pattern, path) = text.split_once('\n').unwrap_or((text, text));
        let _ = glob::matches(pattern, path);
    }
});
