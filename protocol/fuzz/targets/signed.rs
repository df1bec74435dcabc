//! A signed envelope from a stranger: parsing and verifying end in an answer.
#![no_main]

use std::sync::LazyLock;

use homeward_protocol::envelope::Envelope;
use homeward_protocol::signed::{PublicKey, Signed};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<Option<PublicKey>> =
    LazyLock::new(|| PublicKey::from_point(include_bytes!("../../tests/golden/envelope-1-signed.point")));

fuzz_target!(|bytes: &[u8]| {
    let (Ok(signed), Some(key)) = (Signed::<Envelope>::parse(bytes), KEY.as_ref()) else { return };
    if let Ok(verified) = signed.verify(key) {
        // Nobody but the holder of the key makes one: only the golden message itself may get here.
        assert_eq!(verified.get().gateway.as_str(), "gw-7f3k");
    }
});
