//! A dossier from a stranger, as a document and as it is signed: what is taken comes back as it was, and breaks no rule.
#![no_main]

use homeward_protocol::release::dossier::{Dossier, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(dossier) = Dossier::decode(bytes) {
        assert_eq!(dossier.to_bytes().as_deref(), Ok(bytes));
    }
    if let Ok(dossier) = std::str::from_utf8(bytes).map_err(drop).and_then(|text| read(text).map_err(drop))
        && let Ok(made) = dossier.to_bytes()
    {
        assert_eq!(Dossier::decode(&made).as_ref(), Ok(&dossier));
    }
});
