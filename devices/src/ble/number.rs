//! The two number formats of medical devices: SFLOAT (16 bits) and FLOAT (32 bits).
//!
//! Source: IEEE 11073-20601. Both hold a signed exponent of ten above a signed mantissa; five mantissas stand for
//! no number at all.

use homeward_protocol::unit::Decimal;

/// What one such field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Number {
    /// `mantissa` x 10^`exponent`, with the digits the device resolves.
    Finite {
        /// The digits.
        mantissa: i32,
        /// The power of ten.
        exponent: i8,
    },
    /// Not a number: the device has no value here.
    NotANumber,
    /// A value the format cannot hold at the device's resolution.
    NotAtThisResolution,
    /// Above what the device can measure.
    AboveRange,
    /// Below what the device can measure.
    BelowRange,
    /// A pattern that the format keeps for later.
    Reserved,
}

impl Number {
    /// Reads an SFLOAT: exponent in the upper 4 bits, mantissa in the lower 12, both two's complement.
    pub const fn from_sfloat(word: u16) -> Self {
        // On the raw word, before the exponent is looked at.
        match word {
            0x07ff => Number::NotANumber,
            0x0800 => Number::NotAtThisResolution,
            0x07fe => Number::AboveRange,
            0x0802 => Number::BelowRange,
            0x0801 => Number::Reserved,
            _ => {
                let signed = word.cast_signed();
                Number::Finite {
                    mantissa: ((signed << 4) >> 4) as i32,
                    exponent: (signed >> 12) as i8,
                }
            }
        }
    }

    /// Reads a FLOAT: exponent in the upper 8 bits, mantissa in the lower 24, both two's complement.
    pub const fn from_float(word: u32) -> Self {
        match word {
            0x007f_ffff => Number::NotANumber,
            0x0080_0000 => Number::NotAtThisResolution,
            0x007f_fffe => Number::AboveRange,
            0x0080_0002 => Number::BelowRange,
            0x0080_0001 => Number::Reserved,
            _ => {
                let signed = word.cast_signed();
                Number::Finite {
                    mantissa: (signed << 8) >> 8,
                    exponent: (signed >> 24) as i8,
                }
            }
        }
    }

    /// A whole number, for fields that are integers.
    pub const fn whole(value: u16) -> Self {
        Number::scaled(value, 1, 0)
    }

    /// An integer field that counts in steps of `step` x 10^`exponent`.
    pub const fn scaled(value: u16, step: u8, exponent: i8) -> Self {
        Number::Finite {
            mantissa: value as i32 * step as i32,
            exponent,
        }
    }

    /// The number x 10^`places`; what is no number stays so.
    #[must_use]
    pub const fn shifted(self, places: i8) -> Self {
        match self {
            Number::Finite { mantissa, exponent } => Number::Finite {
                mantissa,
                exponent: exponent.saturating_add(places),
            },
            other => other,
        }
    }

    /// The number with its digits; none when it is no number, or when it is further from one than 10^18.
    pub fn decimal(self) -> Option<Decimal> {
        match self {
            Number::Finite {
                mantissa: 0,
                exponent,
            } => Decimal::new(0, exponent.clamp(-18, 0)).ok(),
            Number::Finite { mantissa, exponent } => Decimal::new(i64::from(mantissa), exponent).ok(),
            _ => None,
        }
    }

    /// What stands instead of a number, in plain words; none when it is one.
    pub const fn special(self) -> Option<&'static str> {
        match self {
            Number::Finite { .. } => None,
            Number::NotANumber => Some("no value"),
            Number::NotAtThisResolution => Some("not at this resolution"),
            Number::AboveRange => Some("above what the device can measure"),
            Number::BelowRange => Some("below what the device can measure"),
            Number::Reserved => Some("a reserved pattern"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sfloat_is_a_number_within_its_bounds_or_one_of_five_specials() {
        let mut specials = 0;
        for word in 0..=u16::MAX {
            match Number::from_sfloat(word) {
                Number::Finite { mantissa, exponent } => {
                    assert!((-2048..=2047).contains(&mantissa), "{word:04x}");
                    assert!((-8..=7).contains(&exponent), "{word:04x}");
                    let back = (i32::from(exponent) << 12 | mantissa & 0x0fff) & 0xffff;
                    assert_eq!(back, i32::from(word));
                }
                other => {
                    assert!(other.special().is_some() && other.decimal().is_none());
                    specials += 1;
                }
            }
        }
        assert_eq!(specials, 5);
    }

    #[test]
    fn a_special_mantissa_with_an_exponent_is_a_number() {
        let special_with_exponent = Number::from_sfloat(0xf7ff);
        assert_eq!(
            special_with_exponent,
            Number::Finite {
                mantissa: 2047,
                exponent: -1
            }
        );
    }

    #[test]
    fn an_exponent_beyond_reason_is_no_decimal_but_zero_is_always_zero() {
        assert_eq!(Number::from_float(0x7b38_7520).decimal(), None);
        assert_eq!(Number::from_float(0x7b00_0000).decimal(), Some(Decimal::whole(0)));
    }
}
