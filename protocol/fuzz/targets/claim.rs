//! A claim as a person pasted it.
#![no_main]

use homeward_protocol::claim::{Claim, Code, Endpoint, Pin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Claim>() {
        Ok(claim) => assert_eq!(claim.to_string().parse(), Ok(claim)),
        // The words for a person hold nothing that moves a terminal's cursor.
        Err(error) => assert!(!error.to_string().contains(|c: char| c.is_control())),
    }
    if let Ok(pin) = text.parse::<Pin>() {
        assert_eq!(pin.to_string(), text);
    }
    if let Ok(code) = text.parse::<Code>() {
        assert_eq!(code.to_string().parse(), Ok(code));
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
});
