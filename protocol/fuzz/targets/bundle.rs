//! A bundle of packages from a stranger: nothing is handed on beyond what its index promised, and no name leaves its folder.
#![no_main]

use homeward_protocol::release::bundle::{MAX_BUNDLE, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut came = 0;
    let ended = unpack(&mut &bytes[..], |_| Ok(()), |package, piece| {
        assert!(!package.file().contains('/') && !package.file().starts_with('.'));
        came += piece.len() as u64;
        Ok(())
    });
    assert!(came <= MAX_BUNDLE);
    if let Ok(index) = ended {
        let all: u64 = index.packages().iter().map(|one| one.length).sum();
        assert_eq!(came, all);
        let head = index.head().expect("what was read can be written");
        assert_eq!(head, bytes[..head.len()]);
    }
});
