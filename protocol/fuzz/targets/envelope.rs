//! The inside of a signed envelope, as a gateway that went bad could send it.
#![no_main]

use homeward_protocol::envelope::{Entry, Envelope, Item, MAX_ENVELOPE};
use homeward_protocol::signed::Message as _;
use homeward_protocol::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = wire::decode::<Envelope>(bytes, MAX_ENVELOPE) else { return };
    let mut chain = envelope.prev;
    for entry in &envelope.entries {
        chain = chain.after(entry);
        if let Entry::Item(body) = entry {
            let _ = Item::decode(body);
        }
    }
    if envelope.check().is_ok() {
        assert!(envelope.last() >= envelope.first);
        // What we accept we can say again, and it means the same.
        let again = wire::encode(&envelope, 2 * MAX_ENVELOPE).expect("an accepted envelope encodes");
        let same: Envelope = wire::decode(&again, 2 * MAX_ENVELOPE).expect("and decodes");
        assert_eq!(same, envelope);
    }
});
