//! A certificate that a stranger shows.
#![no_main]

use homeward_fleet::ca::leaf::Leaf;
use homeward_protocol::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let domain = "homeward".parse().expect("a domain");
    if let Ok(leaf) = Leaf::read(bytes, &domain) {
        let _ = leaf.is_current(Timestamp::synced(0));
        assert_eq!(leaf.gateway.as_str().parse(), Ok(leaf.gateway.clone()));
    }
});
