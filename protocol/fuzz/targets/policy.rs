//! A policy from a stranger: as a document, as an offer, as an order to isolate or to open a tunnel. All end in an answer.
#![no_main]

use homeward_protocol::policy::check::{check, faults};
use homeward_protocol::policy::diff::diff;
use homeward_protocol::policy::isolation::IsolationOrder;
use homeward_protocol::policy::sign::{Offer, kept};
use homeward_protocol::policy::{MAX_POLICY, Policy};
use homeward_protocol::quiet::QuietOrder;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::support::SupportOrder;
use homeward_protocol::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(policy) = check(text).policy
    {
        assert!(faults(&policy).is_empty() && diff(&policy, &policy).is_empty());
    }
    if let Ok(policy) = wire::decode::<Policy>(bytes, MAX_POLICY) {
        let _ = (faults(&policy), policy.points());
    }
    if let Ok(offer) = Offer::decode(bytes) {
        let key = PublicKey::from_point(&[4; 65]).expect("65 bytes");
        assert!(kept(&offer, &[key]).is_err());
    }
    let _ = IsolationOrder::decode(bytes);
    let _ = QuietOrder::decode(bytes);
    let _ = SupportOrder::decode(bytes);
});
