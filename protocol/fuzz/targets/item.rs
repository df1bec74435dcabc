//! One record: what is read prints, and reads back.
#![no_main]

use homeward_protocol::envelope::Item;
use homeward_protocol::reading::Value;
use homeward_protocol::wire::{self, Bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(item) = Item::decode(&Bytes(bytes.to_vec())) else { return };
    if let Item::Reading(reading) = &item {
        assert!(reading.taken_at.to_string().len() < 64);
        if let Value::Number(number) = reading.value {
            assert!(number.to_string().len() < 64);
        }
    }
    let again = wire::encode(&item, 4 * bytes.len() + 1024).expect("an accepted record encodes");
    let same: Item = wire::decode(&again, again.len()).expect("and decodes");
    assert_eq!(same, item);
});
