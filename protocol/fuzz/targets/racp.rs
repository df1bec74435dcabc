//! What a device answers at its record access control point, and that no command of ours deletes.
#![no_main]

use homeward_devices::ble::racp::{Answer, Command, Which};
use libfuzzer_sys::fuzz_target;

const DELETE: u8 = 2;

fuzz_target!(|input: (&[u8], u16, u16)| {
    let (value, first, last) = input;
    let _ = Answer::decode(value);
    for which in [Which::All, Which::First, Which::Last, Which::From(first), Which::Between(first, last)] {
        for command in [Command::Send(which), Command::Count(which), Command::Abort] {
            let octets = command.encode();
            assert!(octets.len() >= 2 && octets.len() <= 7 && octets[0] != DELETE);
            assert!(matches!(Answer::decode(&octets), Ok(Answer::Command { operation, .. }) if operation == octets[0]));
        }
    }
});
