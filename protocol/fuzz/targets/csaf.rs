//! Advisories as somebody wrote them: read, or refused with words; and whoever is in the register is looked for in them.
#![no_main]

use homeward_fleet::advisory::csaf::read;
use homeward_fleet::advisory::implant::{Implant, Kind};
use homeward_fleet::advisory::matching::concern;
use homeward_fleet::advisory::{matter, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let device = Implant {
        placement: "home-1".parse().expect("an id"),
        device: "pacemaker".parse().expect("a name"),
        kind: Kind::Implant,
        maker: "Acme".parse().expect("a name"),
        model: "Pacer 7".parse().expect("a name"),
        shows: None,
    };
    match read(bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(advisory) => {
            assert!(!words::page(&advisory).is_empty());
            if let Some(concern) = concern(&advisory, &device) {
                assert!(!concern.flaws.is_empty() && !concern.products.is_empty());
                assert_eq!(matter(&concern).len(), 64);
            }
        }
    }
});
