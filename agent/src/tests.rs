//! What the agent keeps on the disk is read by the build before it, which goes on after a return: what that does not know it
//! leaves out. Without this a box that went back would have a strict policy, no floors, or no identity at all.
//!
//! A document of the wire keeps its own promise (`protocol/tests/golden`), also inside of what is kept.

use std::collections::BTreeMap;

use homeward_protocol::attest::Nonce;
use homeward_protocol::claim::ServerInfo;
use homeward_protocol::policy::sign;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{associate, attest, identity, interlock, policy, posture, slot, support, update, vault, watch};

const THEN: Timestamp = Timestamp::synced(1_795_000_000_000);

/// Whether what a later build writes, with something more, is read as if it were not there.
fn later<T: Serialize + DeserializeOwned>(kept: &Value) -> bool {
    let whole: Result<T, _> = serde_json::from_value(kept.clone());
    let whole = whole.unwrap_or_else(|error| panic!("no example: {error}: {kept}"));
    let mut more = written(&whole);
    let fields = more.as_object_mut().expect("a structure");
    fields.insert("a-later-build".to_owned(), json!({ "knows": ["more"] }));
    let back: Result<T, _> = serde_json::from_value(more);
    back.is_ok_and(|back| written(&back) == written(&whole))
}

fn written<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("writes")
}

#[test]
fn what_a_later_build_keeps_of_its_work_is_read_by_the_one_before_it() {
    use update::{decide, saved};
    let build = json!({ "sha256": "00".repeat(32), "version": "1.0.0", "counter": 1 });
    let told = json!({ "full": null, "last": null, "software": null });
    let hold = interlock::hold::Hold {
        by: ShortText::cut("nurse"),
        reason: ShortText::cut("a visit"),
        placed: THEN,
        until: THEN,
    };
    let quiet = json!({ "as_of": written(&THEN), "because": [], "unseen": [] });
    for (file, read) in [
        (
            "policy.cbor",
            later::<policy::Saved>(&written(&policy::Saved::default())),
        ),
        (
            "policy.cbor, floor",
            later::<sign::Floor>(&written(&sign::Floor::default())),
        ),
        (
            "support.json",
            later::<support::Saved>(&written(&support::Saved::default())),
        ),
        ("course.cbor", later::<saved::Saved>(&written(&saved::Saved::NEW))),
        (
            "course.cbor, floor",
            later::<decide::Floor>(&written(&decide::Floor::NEW)),
        ),
        (
            "course.cbor, before",
            later::<saved::Before>(&written(&saved::Before::default())),
        ),
        ("slots", later::<slot::Slots>(&written(&slot::Slots::default()))),
        ("slots, build", later::<slot::Build>(&build)),
        ("what was told of the box", later::<posture::telling::Kept>(&told)),
        (
            "watch.json",
            later::<watch::Saved>(&written(&watch::Saved::default())),
        ),
        ("a hold", later::<interlock::hold::Hold>(&written(&hold))),
        ("whether it is quiet", later::<interlock::Quiet>(&quiet)),
    ] {
        assert!(read, "{file}");
    }
}

#[test]
fn what_a_later_build_keeps_of_who_it_is_is_read_by_the_one_before_it() {
    let association = json!({
        "sensor": "cuff",
        "address": "C1:00:00:00:00:02",
        "bond": null,
        "by": "an installer",
        "since": written(&THEN),
        "declared": {},
    });
    let boots = json!({ "boot": "boot-0001", "count": 1, "seed": "", "version": "1.0.0" });
    let doors = ServerInfo {
        gate: "fleet.example:8883".parse().expect("a door"),
        renewal: "fleet.example:8444".parse().expect("a door"),
    };
    let server = json!({
        "gateway": "gw-1",
        "enrolment": "fleet.example:8443",
        "doors": written(&doors),
    });
    let chip = json!({ "public": "", "private": "", "attestation": "" });
    let vault = json!({ "version": 1, "salt": "", "slots": [] });
    let all = json!({ "association": [association] });
    for (file, read) in [
        ("boots.json", later::<attest::Boots>(&boots)),
        ("associations", later::<associate::Associations>(&all)),
        ("associations, one", later::<associate::Association>(&association)),
        ("associations, declared", later::<associate::Declared>(&json!({}))),
        ("server.json", later::<identity::keys::Server>(&server)),
        ("key.tpm", later::<identity::keys::ChipFile>(&chip)),
        ("vault.json", later::<vault::Stored>(&vault)),
        (
            "vault.json, slot",
            later::<vault::Slot>(&json!({ "kind": "machine", "sealed": "" })),
        ),
        (
            "vault.tpm",
            later::<vault::chip::Sealed>(&json!({ "public": "", "private": "" })),
        ),
    ] {
        assert!(read, "{file}");
    }
}

#[test]
fn what_a_later_build_keeps_of_its_chain_is_read_by_the_one_before_it() {
    let zero = Nonce([0; 32]);
    let link = attest::chain::Kept {
        seq: 1,
        head: zero,
        made: 1,
        measured: zero,
        key: zero,
    };
    let kept = serde_cbor::to_vec(&link).expect("writes");
    let mut more: BTreeMap<String, serde_cbor::Value> = serde_cbor::from_slice(&kept).expect("a structure");
    more.insert("a-later-build".to_owned(), serde_cbor::Value::Bool(true));
    let more = serde_cbor::to_vec(&more).expect("writes");
    assert_eq!(
        serde_cbor::from_slice::<attest::chain::Kept>(&more).ok(),
        Some(link)
    );
}
