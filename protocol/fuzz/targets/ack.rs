//! An acknowledgement, as a server that went bad could send it.
#![no_main]

use homeward_protocol::ack::Ack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ack) = Ack::decode(bytes) {
        let again = ack.encode().expect("an accepted acknowledgement encodes");
        assert_eq!(Ack::decode(&again).expect("and decodes"), ack);
    }
});
