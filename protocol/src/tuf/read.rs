//! Reading the fields of metadata out of JSON values.

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// What is wrong with a file, for its reader.
pub(super) type Rule = &'static str;
/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Bytes of an even number of hexadecimal digits, in either case.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// Bytes as lower case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

pub(super) fn object<'a>(from: &'a Object, key: &str, rule: Rule) -> Result<&'a Object, Rule> {
    from.get(key).and_then(Value::as_object).ok_or(rule)
}

pub(super) fn text<'a>(from: &'a Object, key: &str, rule: Rule) -> Result<&'a str, Rule> {
    from.get(key).and_then(Value::as_str).ok_or(rule)
}

/// A whole number of one or more.
pub(super) fn positive(from: &Object, key: &str, rule: Rule) -> Result<u64, Rule> {
    let number = from.get(key).and_then(Value::as_u64);
    number.filter(|n| *n > 0).ok_or(rule)
}

/// A list of texts.
pub(super) fn texts(value: &Value, rule: Rule) -> Result<Vec<String>, Rule> {
    let items = value.as_array().ok_or(rule)?.iter();
    let texts: Option<Vec<String>> = items.map(|item| item.as_str().map(str::to_owned)).collect();
    texts.ok_or(rule)
}

/// `2026-11-25T06:30:00Z`, as a moment that somebody vouched for.
pub(super) fn moment(from: &Object, key: &str, rule: Rule) -> Result<Timestamp, Rule> {
    Timestamp::from_utc(text(from, key, rule)?).ok_or(rule)
}

/// What every role's file begins with: its type, its format, its version, its end.
pub(super) fn header(signed: &Object, kind: &str) -> Result<(u64, Timestamp), Rule> {
    if text(signed, "_type", "it does not say its type")? != kind {
        return Err("it is of another type");
    }
    let format = text(signed, "spec_version", "it does not say its format")?;
    if format.split('.').next() != Some("1") {
        return Err("it is of another format than 1.x");
    }
    let version = positive(signed, "version", "its version is not a whole number above zero")?;
    Ok((
        version,
        moment(signed, "expires", "it does not say when it expires")?,
    ))
}
