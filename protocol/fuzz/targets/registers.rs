//! A device that answers with anything, for each profile we ship.
#![no_main]

use std::sync::LazyLock;

use homeward_devices::modbus;
use homeward_devices::profile::{Profile, shipped, shipped_ids};
use libfuzzer_sys::fuzz_target;

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| shipped_ids().filter_map(shipped).collect());

fuzz_target!(|bytes: &[u8]| {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
    for profile in PROFILES.iter() {
        for request in modbus::requests(profile) {
            let _ = modbus::samples(profile, request, &words);
            let mut fitted = words.clone();
            fitted.resize(usize::from(request.count), 0);
            let _ = modbus::samples(profile, request, &fitted);
        }
    }
});
