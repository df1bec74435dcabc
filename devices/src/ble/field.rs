//! A decoded value, field by field, for a person with a capture in hand.

use homeward_protocol::unit::{Decimal, Unit};

use super::number::Number;

/// One field of a value, in the order in which it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it is, in `snake_case`.
    pub name: &'static str,
    /// What it says.
    pub said: Said,
    /// UCUM code of the unit it was sent in; none when it has no unit.
    pub ucum: Option<&'static str>,
}

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A number, with the device's digits.
    Number(Decimal),
    /// No number, and why.
    NoNumber(&'static str),
    /// Several numbers, oldest first.
    Numbers(Vec<Decimal>),
    /// Words, a time, or octets in hexadecimal.
    Text(String),
    /// Bits that are set, by name.
    Flags(Vec<String>),
}

impl Field {
    /// A number with its unit. One that no decimal of ours can hold is said so.
    pub(super) fn number(name: &'static str, number: Number, ucum: &'static str) -> Self {
        let said = match (number.decimal(), number.special()) {
            (Some(decimal), _) => Said::Number(decimal),
            (None, Some(special)) => Said::NoNumber(special),
            (None, None) => Said::NoNumber("beyond any measurement"),
        };
        Field {
            name,
            said,
            ucum: Some(ucum),
        }
    }

    /// A number in one of our units.
    pub(super) fn measure(name: &'static str, number: Number, unit: Unit) -> Self {
        Field::number(name, number, unit.ucum())
    }

    /// A count or a code.
    pub(super) fn count(name: &'static str, count: impl Into<i64>) -> Self {
        Field {
            name,
            said: Said::Number(Decimal::whole(count.into())),
            ucum: None,
        }
    }

    /// Words.
    pub(super) fn text(name: &'static str, text: impl Into<String>) -> Self {
        Field {
            name,
            said: Said::Text(text.into()),
            ucum: None,
        }
    }

    /// The bits of `word` that are set, by the names of `known`; a bit without a name is said by its number.
    pub(super) fn flags(name: &'static str, word: u32, known: &[(u32, &str)]) -> Self {
        let set = (0..32).filter(|bit| word >> bit & 1 == 1);
        let name_of = |bit: u32| {
            let found = known.iter().find(|(at, _)| *at == bit);
            found.map_or_else(|| format!("reserved bit {bit}"), |(_, name)| (*name).to_owned())
        };
        Field {
            name,
            said: Said::Flags(set.map(name_of).collect()),
            ucum: None,
        }
    }
}
