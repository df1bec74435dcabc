//! A TPM's structures that a box sends.
#![no_main]

use homeward_protocol::tpm::signature::Ecdsa;
use homeward_protocol::tpm::statement::Statement;
use homeward_protocol::tpm::{AttestationKey, EndorsementKey, Public};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(public) = Public::parse(bytes) {
        assert_eq!(public.as_bytes(), bytes);
        assert!(!public.spki().is_empty());
        let _ = (AttestationKey::check(public.clone()), EndorsementKey::check(public));
    }
    if let Ok(signature) = Ecdsa::parse(bytes) {
        assert!(signature.der().len() <= 72);
    }
    let _ = Statement::parse(bytes);
});
