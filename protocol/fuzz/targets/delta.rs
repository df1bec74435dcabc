//! A delta from a stranger: it ends within the length of what was promised, whatever it says of itself.
#![no_main]

use homeward_protocol::release::delta;
use libfuzzer_sys::fuzz_target;

const LENGTH: u64 = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let old: Vec<u8> = (0..10_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut came = 0;
    let _ = delta::apply(&old, bytes, LENGTH, |piece| {
        came += piece.len() as u64;
        Ok(())
    });
    assert!(came <= LENGTH);
});
