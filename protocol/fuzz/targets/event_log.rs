//! A firmware's event log that a box sends.
#![no_main]

use homeward_protocol::event_log::{Bank, Event, EventLog};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EventLog::parse(bytes) {
        for bank in &log.banks {
            assert_eq!(log.replay(*bank).is_some(), bank.is_known());
        }
        assert_eq!(log.replay(Bank(0)), None);
        let _ = log.events.iter().filter(|e| Event::says(e)).count();
    }
});
