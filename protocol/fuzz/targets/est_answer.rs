//! What a server that went bad answers to an enrolling box.
#![no_main]

use homeward_agent::enrol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificates) = enrol::certs_only(bytes) {
        assert!(!certificates.is_empty());
        let _ = enrol::leaf_first(certificates, &[]);
    }
    for status in [200, 202, 400, 401, 503] {
        let retry_after = bytes.get(..8).and_then(|b| std::str::from_utf8(b).ok());
        let _ = enrol::read_answer(status, retry_after, bytes);
    }
});
