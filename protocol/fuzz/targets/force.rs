//! An order to force from a stranger, as it travels and as a document. All end in an answer, and nobody is believed.
#![no_main]

use homeward_protocol::release::force::{Force, MAX_FORCE, Offer, kept};
use homeward_protocol::signed::{Message as _, PublicKey};
use homeward_protocol::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(offer) = Offer::decode(bytes) {
        let key = PublicKey::from_point(&[4; 65]).expect("65 bytes");
        assert!(kept(&offer, &[key]).is_err());
        assert!(Offer::decode(&offer.encode().expect("encodes")).is_ok_and(|again| again == offer));
    }
    if let Ok(order) = wire::decode::<Force>(bytes, MAX_FORCE) {
        let _ = order.check();
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(order) = Force::read(text)
    {
        assert!(order.check().is_ok() && order.overrules.iter().count() > 0);
    }
});
