//! What a fact can say: a closed set of kinds, each with its unit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ShortText;
use crate::time::Timestamp;

/// Most texts in one list.
pub const MAX_LIST: usize = 32;

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A number of things.
    Count(u64),
    /// Words.
    Text(ShortText),
    /// Several words, in an order that does not change by itself; at most [`MAX_LIST`].
    List(Vec<ShortText>),
    /// A size, bytes.
    Bytes(u64),
    /// A share, per cent.
    Percent(u8),
    /// A temperature, thousandths of a degree Celsius.
    MilliCelsius(i32),
    /// A span, milliseconds.
    Millis(i64),
    /// A moment, milliseconds since 1970 in UTC.
    Moment(i64),
    /// It could not be had.
    Unknown(Why),
}

/// Why a fact is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The box has no such thing.
    NotThere,
    /// It may only be read with rights that the agent does not have, and no helper has either.
    NeedsRights,
    /// What was read makes no sense, or the command failed.
    Failed,
    /// It took too long.
    TimedOut,
}

impl Why {
    /// Plain words.
    pub const fn said(self) -> &'static str {
        match self {
            Why::NotThere => "there is none here",
            Why::NeedsRights => "it needs rights that the agent does not have",
            Why::Failed => "it could not be read",
            Why::TimedOut => "it took too long",
        }
    }
}

/// Change of a share that is news, per cent points.
const PERCENT: u8 = 10;
/// Change of a temperature that is news.
const MILLI_CELSIUS: u32 = 10_000;
/// Change of a span that is news, milliseconds.
const MILLIS: u64 = 500;
/// A size that changed by less than this part of itself is the same.
const PART: u64 = 20;

impl Value {
    /// A list of what fits.
    pub fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
        let all = texts.into_iter().take(MAX_LIST);
        Value::List(all.map(ShortText::cut).collect())
    }

    /// Whether it keeps the limits that its type does not hold by itself.
    pub fn is_within_limits(&self) -> bool {
        match self {
            Value::List(all) => all.len() <= MAX_LIST,
            Value::Percent(share) => *share <= 100,
            _ => true,
        }
    }

    /// Whether `new` is worth telling to who knows this value. Room, heat and clock errors move all the time: they are
    /// news when they moved by 10 points, 10 °C, half a second or a twentieth since what was told last, so that many
    /// small steps are told in the end. Everything else is news when it differs.
    pub fn is_news(&self, new: &Value) -> bool {
        match (self, new) {
            (Value::Percent(old), Value::Percent(new)) => old.abs_diff(*new) >= PERCENT,
            (Value::MilliCelsius(old), Value::MilliCelsius(new)) => old.abs_diff(*new) >= MILLI_CELSIUS,
            (Value::Millis(old), Value::Millis(new)) => old.abs_diff(*new) >= MILLIS,
            (Value::Bytes(old), Value::Bytes(new)) => old.abs_diff(*new) > old / PART,
            (old, new) => old != new,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(true) => f.write_str("yes"),
            Value::Flag(false) => f.write_str("no"),
            Value::Count(n) => write!(f, "{n}"),
            Value::Text(text) => f.write_str(text.as_str()),
            Value::List(all) if all.is_empty() => f.write_str("none"),
            Value::List(all) => {
                let texts: Vec<&str> = all.iter().map(ShortText::as_str).collect();
                f.write_str(&texts.join(", "))
            }
            Value::Bytes(n) => write_bytes(f, *n),
            Value::Percent(n) => write!(f, "{n} %"),
            Value::MilliCelsius(n) => {
                let tenths = (i64::from(*n).unsigned_abs() + 50) / 100;
                let sign = if *n < 0 { "-" } else { "" };
                write!(f, "{sign}{}.{} °C", tenths / 10, tenths % 10)
            }
            Value::Millis(n) => write!(f, "{n} ms"),
            Value::Moment(ms) => write!(f, "{}", Timestamp::synced(*ms)),
            Value::Unknown(why) => write!(f, "not known: {}", why.said()),
        }
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, n: u64) -> fmt::Result {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(n) * 10, "bytes");
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    if unit == "bytes" {
        write!(f, "{n} bytes")
    } else {
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_by_itself_is_news_only_when_it_moved_far() {
        let pairs = [
            (Value::Percent(50), Value::Percent(59), Value::Percent(60)),
            (
                Value::MilliCelsius(40_000),
                Value::MilliCelsius(49_999),
                Value::MilliCelsius(30_000),
            ),
            (Value::Millis(-200), Value::Millis(200), Value::Millis(300)),
            (Value::Bytes(1000), Value::Bytes(1050), Value::Bytes(949)),
        ];
        for (old, near, far) in pairs {
            assert!(!old.is_news(&near), "{old} to {near}");
            assert!(old.is_news(&far), "{old} to {far}");
        }
        assert!(Value::Count(1).is_news(&Value::Count(2)));
        assert!(Value::Percent(50).is_news(&Value::Unknown(Why::TimedOut)));
    }

    #[test]
    fn values_are_said_with_their_units() {
        let said = [
            (Value::Bytes(1023), "1023 bytes"),
            (Value::Bytes(1536), "1.5 KiB"),
            (Value::Bytes(u64::MAX), "16777215.9 TiB"),
            (Value::MilliCelsius(-1500), "-1.5 °C"),
            (Value::Moment(0), "1970-01-01T00:00:00Z"),
            (Value::List(Vec::new()), "none"),
            (Value::list(["a", "b"]), "a, b"),
            (
                Value::Unknown(Why::NeedsRights),
                "not known: it needs rights that the agent does not have",
            ),
        ];
        for (value, text) in said {
            assert_eq!(value.to_string(), text);
        }
    }
}
