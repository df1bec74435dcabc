//! Whether a log says that Secure Boot was on.
//!
//! Said only by register 7, before its separator: exactly one `SecureBoot` variable whose data is what was measured.
//! Empty data occurs and means "off or unknown". Only after the replayed registers equalled quoted ones is any of it a
//! fact. Source: TCG PC Client Platform Firmware Profile 1.06, sections 3.3.4.8 and 10.2.6 (`UEFI_VARIABLE_DATA`).

use super::{Event, EventLog};

const SEPARATOR: u32 = 4;
const VARIABLE_CONFIG: u32 = 0x8000_0001;
/// `EFI_GLOBAL_VARIABLE`, as its bytes lie.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];

/// What the log says of Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecureBoot {
    /// On.
    On,
    /// Off.
    Off,
    /// The firmware measured no value.
    OffOrUnknown,
    /// The log says nothing that was measured, or contradicts itself.
    NotSaid,
}

impl EventLog<'_> {
    /// What it says of Secure Boot.
    pub fn secure_boot(&self) -> SecureBoot {
        let before = self
            .events
            .iter()
            .filter(|e| e.pcr == 7)
            .take_while(|e| e.kind != SEPARATOR);
        let mut said = before.filter(|e| e.kind == VARIABLE_CONFIG).filter_map(variable);
        match (said.next(), said.next()) {
            (Some((value, true)), None) => match value {
                [] => SecureBoot::OffOrUnknown,
                [0] => SecureBoot::Off,
                [1] => SecureBoot::On,
                _ => SecureBoot::NotSaid,
            },
            _ => SecureBoot::NotSaid,
        }
    }
}

/// The value of the variable `SecureBoot` and whether it is what was measured; nothing for another variable.
fn variable<'a>(event: &Event<'a>) -> Option<(&'a [u8], bool)> {
    let (guid, rest) = event.data.split_at_checked(16)?;
    let (name_length, rest) = rest.split_at_checked(8)?;
    let (data_length, rest) = rest.split_at_checked(8)?;
    let length = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok();
    let name_bytes = length(name_length)?.checked_mul(2)?;
    let (name, rest) = rest.split_at_checked(name_bytes)?;
    let (value, _) = rest.split_at_checked(length(data_length)?)?;
    let expected: Vec<u8> = "SecureBoot".encode_utf16().flat_map(u16::to_le_bytes).collect();
    (guid == GLOBAL && name == expected).then(|| (value, event.says()))
}
