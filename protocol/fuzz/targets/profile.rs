//! A device profile as somebody wrote it, and what would be asked of a device by it.
#![no_main]

use homeward_devices::modbus;
use homeward_devices::profile::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::parse(text) else { return };
    for request in modbus::requests(&profile) {
        assert!(request.count >= 1);
        let _ = modbus::names(&profile, request);
        let _ = modbus::samples(&profile, request, &vec![0xffff; usize::from(request.count)]);
    }
});
