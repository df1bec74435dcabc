//! Claims inside a token whose signature is right: what a box that was taken over can send.
#![no_main]

use homeward_protocol::evidence::{Evidence, MAX_EVIDENCE};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::signed::tagged::Tagged;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Evidence::claimed(bytes);
    if let Ok(token) = Tagged::parse(bytes, MAX_EVIDENCE) {
        let key = PublicKey::from_point(&[4; 65]).expect("65 bytes");
        let _ = token.verify(&key, &[]);
    }
});
