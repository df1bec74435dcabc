//! A certificate request as it comes to enrolment.
#![no_main]

use homeward_fleet::enrol::csr;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = csr::key_of(bytes);
});
