//! What a gateway's firmware measured when it was first seen, and since when a person accepted another.
//!
//! # Design
//! Firmware differs from box to box, so its registers are learned, not shipped. A firmware update is not an attack,
//! but it is a question: a change is a warning until a person has seen both values side by side and accepted the new
//! ones. Registers: 0 and 2 firmware and its extensions, 4 the loader, 7 secure boot.

use std::collections::BTreeMap;

/// The registers that are learned.
pub const LEARNED: [u8; 4] = [0, 2, 4, 7];

/// One register that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Which register.
    pub register: u8,
    /// What it held; nothing, when it was not reported before.
    pub before: Option<[u8; 32]>,
    /// What it holds; nothing, when the quote leaves it out.
    pub after: Option<[u8; 32]>,
}

/// How firmware stands to what is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// Nothing was learned yet.
    First,
    /// As accepted.
    AsBefore,
    /// Another.
    Changed,
}

/// The accepted values of one gateway's registers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline(pub BTreeMap<u8, [u8; 32]>);

impl Baseline {
    /// How these registers stand to it.
    pub fn compare(&self, registers: &BTreeMap<u8, [u8; 32]>) -> Firmware {
        if self.0.is_empty() {
            Firmware::First
        } else if self.changes(registers).is_empty() {
            Firmware::AsBefore
        } else {
            Firmware::Changed
        }
    }

    /// What changed, by register. One that a quote leaves out has changed too: leaving it out would hide a change.
    pub fn changes(&self, registers: &BTreeMap<u8, [u8; 32]>) -> Vec<Change> {
        let change = |register: u8| Change {
            register,
            before: self.0.get(&register).copied(),
            after: registers.get(&register).copied(),
        };
        let all = LEARNED.into_iter().map(change);
        all.filter(|change| change.before != change.after).collect()
    }

    /// The values that would be learned from these registers.
    pub fn learn(registers: &BTreeMap<u8, [u8; 32]>) -> Baseline {
        let learned = registers
            .iter()
            .filter(|(register, _)| LEARNED.contains(register));
        Baseline(learned.map(|(register, value)| (*register, *value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_side_by_side_until_it_is_learned() {
        let boot = |four: u8| BTreeMap::from([(0, [1; 32]), (4, [four; 32]), (9, [four; 32])]);
        let nothing = Baseline::default();
        assert_eq!(nothing.compare(&boot(1)), Firmware::First);
        let learned = Baseline::learn(&boot(1));
        assert_eq!(learned.0.len(), 2, "only firmware is learned");
        assert_eq!(learned.compare(&boot(1)), Firmware::AsBefore);
        assert_eq!(learned.compare(&boot(2)), Firmware::Changed);
        let change = Change {
            register: 4,
            before: Some([1; 32]),
            after: Some([2; 32]),
        };
        assert_eq!(learned.changes(&boot(2)), [change]);
        assert_eq!(Baseline::learn(&boot(2)).compare(&boot(2)), Firmware::AsBefore);
    }

    #[test]
    fn a_register_that_appears_or_is_left_out_is_a_change() {
        let learned = Baseline(BTreeMap::from([(0, [1; 32]), (7, [7; 32])]));
        let other = BTreeMap::from([(0, [1; 32]), (2, [2; 32])]);
        let changes = learned.changes(&other);
        let told: Vec<_> = changes.iter().map(|c| (c.register, c.before, c.after)).collect();
        assert_eq!(told, [(2, None, Some([2; 32])), (7, Some([7; 32]), None)]);
    }
}
