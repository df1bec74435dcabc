//! A Bluetooth sensor that sends anything under any number we decode: a number that a body can have, or a label.
#![no_main]

use std::sync::LazyLock;

use homeward_devices::ble::{self, DeviceClock};
use homeward_protocol::reading::{Quality, Value};
use libfuzzer_sys::fuzz_target;

static KNOWN: LazyLock<Vec<u16>> =
    LazyLock::new(|| (0..=u16::MAX).filter(|number| ble::name(*number).is_some()).collect());

// The first octet chooses the characteristic, the others are its value.
fuzz_target!(|input: &[u8]| {
    let Some((choice, value)) = input.split_first() else { return };
    let characteristic = KNOWN[usize::from(*choice) % KNOWN.len()];
    let Ok(all) = ble::decode(characteristic, value) else { return };
    assert!(!all.is_empty());
    for one in &all {
        assert!(!one.fields.list().is_empty());
        if let DeviceClock::At(wall) = one.clock {
            assert!(wall.to_string().len() >= 19);
        }
        for sample in &one.samples {
            assert!(sample.marks.is_sorted_by(|a, b| a < b));
            let Value::Number(number) = sample.value else {
                assert_eq!(sample.sent, None);
                continue;
            };
            assert!(number.to_string().len() < 64);
            let (low, high) = ble::plausible(sample.kind).expect("medical kinds have a range");
            let inside = (low.to_f64()..=high.to_f64()).contains(&number.to_f64());
            assert_eq!(inside, sample.quality != Quality::OutOfRange, "{sample:?}");
        }
    }
});
