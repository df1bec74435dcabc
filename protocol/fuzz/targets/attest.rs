//! What travels about attestation: a challenge, a judgement, and the bundle that answers.
#![no_main]

use homeward_protocol::attest::{Challenge, Notice};
use homeward_protocol::evidence::bundle::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(challenge) = Challenge::decode(bytes) {
        assert_eq!(Challenge::decode(&challenge.encode().expect("fits")).expect("reads"), challenge);
    }
    let _ = Notice::decode(bytes);
    if let Ok(bundle) = Bundle::decode(bytes) {
        let again = bundle.encode().expect("fits");
        assert_eq!(Bundle::decode(&again).expect("reads"), bundle);
    }
});
