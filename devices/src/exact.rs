//! Exact numbers: what a device sent, converted without a binary floating point number in between.

use homeward_protocol::unit::Decimal;

/// Most decimal places and most digits of a number in a profile: what any device resolves, with room.
const MAX_PLACES: usize = 9;
const MAX_DIGITS: usize = 12;

/// A fraction. Overflow is `None`, never a wrong number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact {
    num: i128,
    den: i128,
}

impl Exact {
    /// The fraction `num / den`; none when `den` is not above zero.
    pub const fn new(num: i128, den: i128) -> Option<Self> {
        if den > 0 { Some(Exact { num, den }) } else { None }
    }

    /// A whole number.
    pub const fn whole(num: i64) -> Self {
        Exact {
            num: num as i128,
            den: 1,
        }
    }

    /// A decimal, as it stands.
    pub fn from_decimal(value: Decimal) -> Option<Self> {
        let power = 10i128.checked_pow(u32::from(value.exponent().unsigned_abs()))?;
        let mantissa = i128::from(value.mantissa());
        if value.exponent() < 0 {
            Exact::new(mantissa, power)
        } else {
            Exact::new(mantissa.checked_mul(power)?, 1)
        }
    }

    /// A finite IEEE 754 single, exactly; none when it is not finite or beyond 2^63.
    ///
    /// What is closer to zero than 2^-56 becomes zero: below every resolution that a profile can state.
    pub fn from_f32(value: f32) -> Option<Self> {
        let bits = value.to_bits();
        let field = i32::from(u8::try_from(bits >> 23 & 0xff).ok()?);
        let fraction = i128::from(bits & 0x007f_ffff);
        let (digits, power) = match field {
            0xff => return None,
            0 => (fraction, -149),
            _ => (fraction | 0x0080_0000, field - 150),
        };
        let digits = if bits >> 31 == 1 { -digits } else { digits };
        let shift = power.unsigned_abs();
        match (power < 0, shift) {
            (true, 81..) => Exact::new(0, 1),
            (true, _) => Exact::new(digits, 1 << shift),
            (false, 40..) => None,
            (false, _) => Exact::new(digits << shift, 1),
        }
    }

    /// The product.
    pub fn times(self, by: Exact) -> Option<Self> {
        Exact::new(self.num.checked_mul(by.num)?, self.den.checked_mul(by.den)?)
    }

    /// The sum.
    pub fn plus(self, more: Exact) -> Option<Self> {
        let left = self.num.checked_mul(more.den)?;
        let right = more.num.checked_mul(self.den)?;
        Exact::new(left.checked_add(right)?, self.den.checked_mul(more.den)?)
    }

    /// Rounded to 10^`exponent`, halves away from zero; none when the digits do not fit.
    pub fn round(self, exponent: i8) -> Option<Decimal> {
        let power = 10i128.checked_pow(u32::from(exponent.unsigned_abs()))?;
        let (num, den) = if exponent < 0 {
            (self.num.checked_mul(power)?, self.den)
        } else {
            (self.num, self.den.checked_mul(power)?)
        };
        let (whole, rest) = (num / den, num % den);
        let up = rest.checked_abs()?.checked_mul(2)? >= den;
        let step = if up { num.signum() } else { 0 };
        Decimal::new(i64::try_from(whole + step).ok()?, exponent).ok()
    }

    /// The nearest binary floating point number, for simulated devices only.
    #[expect(clippy::cast_precision_loss, reason = "for invented values")]
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// Whether it is below `limit`; no when that cannot be computed.
    pub fn below(self, limit: Decimal) -> bool {
        let check = || {
            let limit = Exact::from_decimal(limit)?;
            Some(self.num.checked_mul(limit.den)? < limit.num.checked_mul(self.den)?)
        };
        check().unwrap_or(false)
    }

    /// Whether it lies in `low..=high`.
    pub fn within(self, low: Decimal, high: Decimal) -> bool {
        let at_least = |a: Exact, b: Exact| Some(a.num.checked_mul(b.den)? >= b.num.checked_mul(a.den)?);
        let check = || {
            let (low, high) = (Exact::from_decimal(low)?, Exact::from_decimal(high)?);
            Some(at_least(self, low)? && at_least(high, self)?)
        };
        check().unwrap_or(false)
    }
}

/// Why a text is not a number that a profile may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a decimal number such as 0.1 or -40 (at most {MAX_DIGITS} digits, {MAX_PLACES} after the point)"
)]
pub struct DecimalText(String);

/// Reads a plain decimal: an optional minus, digits, and perhaps a point and digits. No exponent, no plus.
pub fn decimal(text: &str) -> Result<Decimal, DecimalText> {
    let refuse = || DecimalText(text.chars().take(40).collect());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let dangling = unsigned.ends_with('.');
    let digits = whole.len() + part.len();
    if whole.is_empty() || dangling || digits > MAX_DIGITS || part.len() > MAX_PLACES {
        return Err(refuse());
    }
    if !plain(whole) || !plain(part) {
        return Err(refuse());
    }
    let magnitude: i64 = format!("{whole}{part}").parse().map_err(|_| refuse())?;
    let mantissa = if unsigned.len() == text.len() {
        magnitude
    } else {
        -magnitude
    };
    let places = i8::try_from(part.len()).map_err(|_| refuse())?;
    Decimal::new(mantissa, -places).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn d(text: &str) -> Decimal {
        decimal(text).expect("a decimal")
    }

    #[test]
    fn reads_plain_decimals_and_refuses_the_rest() {
        assert_eq!(d("0.0001"), Decimal::new(1, -4).expect("in range"));
        assert_eq!(d("-40"), Decimal::whole(-40));
        for bad in [
            "",
            "-",
            ".5",
            "5.",
            "1e-5",
            "+1",
            "1,5",
            "0.0000000001",
            "1234567890123",
            "٣",
            "--1",
        ] {
            assert!(decimal(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn halves_round_away_from_zero() {
        let half = |n| Exact::new(n, 2).and_then(|e| e.round(0));
        assert_eq!(half(1), Some(Decimal::whole(1)));
        assert_eq!(half(-1), Some(Decimal::whole(-1)));
        assert_eq!(half(-3), Some(Decimal::whole(-2)));
        assert_eq!(Exact::new(1, 3).and_then(|e| e.round(-2)), Some(d("0.33")));
        assert_eq!(Exact::whole(1234).round(2), Decimal::new(12, 2).ok());
    }

    #[test]
    fn floats_are_taken_exactly() {
        let show = |f| {
            Exact::from_f32(f)
                .and_then(|e| e.round(-3))
                .map(|v| v.to_string())
        };
        assert_eq!(show(36.7).as_deref(), Some("36.700"));
        assert_eq!(show(-0.001).as_deref(), Some("-0.001"));
        assert_eq!(show(f32::MIN_POSITIVE).as_deref(), Some("0.000"));
        for beyond in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert_eq!(show(beyond), None);
        }
    }

    proptest! {
        #[test]
        fn any_single_is_a_number_or_refused(bits in any::<u32>(), places in -9i8..=0) {
            let value = f32::from_bits(bits);
            if let Some(got) = Exact::from_f32(value).and_then(|e| e.round(places)) {
                let error = (got.to_f64() - f64::from(value)).abs();
                prop_assert!(error <= 0.51 * 10f64.powi(i32::from(places)) + f64::from(value).abs() * 1e-12);
            }
        }

        #[test]
        fn a_decimal_reads_back_as_it_prints(m in -999_999_999_999i64..=999_999_999_999, places in 0i8..=9) {
            let value = Decimal::new(m, -places).expect("in range");
            prop_assume!(value.to_string().bytes().filter(u8::is_ascii_digit).count() <= MAX_DIGITS);
            prop_assert_eq!(decimal(&value.to_string()), Ok(value));
        }
    }
}
