//! The kernel's log of measurements, as the kernel shows it and as it travels.
#![no_main]

use homeward_protocol::ima::{Entry, Replay, first};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut replay = Replay::default();
    let mut rest = bytes;
    while let Ok(Some((entry, after))) = first(rest) {
        let Some(entry) = entry else {
            rest = after;
            continue;
        };
        let mut sent = Vec::new();
        entry.write(&mut sent);
        assert_eq!(Entry::read(&sent), Ok(Some((entry, [].as_slice()))));
        rest = after;
    }
    let mut rest = bytes;
    while let Ok(Some((entry, after))) = Entry::read(rest) {
        replay.take(&entry);
        rest = after;
    }
});
