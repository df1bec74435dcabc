//! Canonical JSON: the one way to write a value, which is what gets signed.
//!
//! Sorted keys, no white space, only `"` and `\` escaped, integers only.
//! Source: TUF specification, section 4.2 (OLPC Canonical JSON).

use serde_json::Value;

/// A number with a fraction or an exponent, or beyond 64 bits: it has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number that is not an integer of 64 bits")]
pub struct NotAnInteger;

/// Writes `value` in its canonical form.
///
/// Text is written as it is: a control character too stands unescaped. Keys are sorted by their code points, which is
/// the order of their UTF-8 bytes. Fails on a float; nests no deeper than the reader let it.
pub fn encode(value: &Value) -> Result<Vec<u8>, NotAnInteger> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotAnInteger> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_f64() => return Err(NotAnInteger),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            list(items, (b'[', b']'), out, write)?;
        }
        Value::Object(pairs) => {
            // Whatever order the map has: another crate's feature may change it.
            let mut pairs: Vec<_> = pairs.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| key.as_bytes());
            list(pairs, (b'{', b'}'), out, |(key, value), out| {
                quote(key, out);
                out.push(b':');
                write(value, out)
            })?;
        }
    }
    Ok(())
}

fn list<T>(
    items: impl IntoIterator<Item = T>,
    (open, close): (u8, u8),
    out: &mut Vec<u8>,
    mut one: impl FnMut(T, &mut Vec<u8>) -> Result<(), NotAnInteger>,
) -> Result<(), NotAnInteger> {
    out.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        one(item, out)?;
    }
    out.push(close);
    Ok(())
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> Result<String, NotAnInteger> {
        let value = serde_json::from_str(json).expect("JSON");
        encode(&value).map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn sorts_keys_and_escapes_two_characters_only() {
        let text = canonical(r#"{"b":[1, -2, true, null], "a":"q\"b\\s\n\u00e9\u0001", "Z":{}, "é":[]}"#);
        assert_eq!(
            text.as_deref(),
            Ok("{\"Z\":{},\"a\":\"q\\\"b\\\\s\n\u{e9}\u{1}\",\"b\":[1,-2,true,null],\"\u{e9}\":[]}")
        );
    }

    #[test]
    fn a_float_has_no_canonical_form() {
        for odd in ["1.0", "1e3", "[0.5]", "99999999999999999999"] {
            assert_eq!(canonical(odd), Err(NotAnInteger), "{odd}");
        }
        assert_eq!(
            canonical("18446744073709551615").as_deref(),
            Ok("18446744073709551615")
        );
    }
}
