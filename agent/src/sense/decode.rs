//! One value of a Bluetooth sensor, field by field, for a person with a capture in hand.

use std::fmt::Write as _;

use homeward_devices::ble::{self, DecodeError, DeviceClock, Field, Fields, Measured, Said};
use homeward_devices::sample::Sample;
use homeward_protocol::reading::Value;
use serde_json::json;

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// Not the number of a characteristic.
    #[error("`{0}` is not a characteristic: give its four hexadecimal digits, such as 2A35")]
    Characteristic(String),
    /// Not octets.
    #[error("the value is not hexadecimal: give two digits an octet, such as 0055 or 00:55")]
    Hex,
    /// The octets are not a value of that characteristic.
    #[error("not a value of {name}")]
    Value {
        /// Which characteristic.
        name: String,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// A decoded value, to be printed.
#[derive(Debug)]
pub struct Told {
    characteristic: u16,
    all: Vec<Measured>,
}

/// Decodes `hex` as a value of `characteristic` (four hexadecimal digits, with or without `0x`).
///
/// Octets may be separated by spaces, colons or hyphens.
pub fn decode(characteristic: &str, hex: &str) -> Result<Told, DecodeFault> {
    let number = number(characteristic)
        .ok_or_else(|| DecodeFault::Characteristic(characteristic.chars().take(20).collect()))?;
    let value = octets(hex).ok_or(DecodeFault::Hex)?;
    let all = ble::decode(number, &value).map_err(|source| DecodeFault::Value {
        name: title(number),
        source,
    })?;
    Ok(Told {
        characteristic: number,
        all,
    })
}

fn number(text: &str) -> Option<u16> {
    let digits = text
        .strip_prefix("0x")
        .or(text.strip_prefix("0X"))
        .unwrap_or(text);
    let four = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    four.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text
        .trim()
        .trim_start_matches("0x")
        .chars()
        .filter(|c| !matches!(c, ' ' | ':' | '-'))
        .collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok(),
            _ => None,
        })
        .collect()
}

fn title(number: u16) -> String {
    match ble::name(number) {
        Some(name) => format!("{name} ({number:04X})"),
        None => format!("{number:04X}"),
    }
}

impl Told {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n", title(self.characteristic));
        for (index, one) in self.all.iter().enumerate() {
            if self.all.len() > 1 {
                let _ = writeln!(out, "record {}", index + 1);
            }
            for field in one.fields.list() {
                let _ = writeln!(out, "  {:<22} {}", field.name, said(&field));
            }
            if one.reserved {
                let _ = writeln!(out, "  {:<22} flags are set that are not known", "extra");
            }
            if !one.trailing.is_empty() {
                let _ = writeln!(out, "  {:<22} octets not known: {}", "extra", hex(&one.trailing));
            }
            for sample in &one.samples {
                let _ = writeln!(out, "  -> {}", reading(sample));
            }
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "characteristic": format!("{:04X}", self.characteristic),
            "name": ble::name(self.characteristic),
            "records": self.all.iter().map(record).collect::<Vec<_>>(),
        })
    }
}

fn said(field: &Field) -> String {
    let unit = field.ucum.map(|ucum| format!(" {ucum}")).unwrap_or_default();
    match &field.said {
        Said::Number(number) => format!("{number}{unit}"),
        Said::NoNumber(why) => (*why).to_owned(),
        Said::Numbers(all) => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("{}{unit}", all.join(" "))
        }
        Said::Text(text) => text.clone(),
        Said::Flags(set) if set.is_empty() => "none".to_owned(),
        Said::Flags(set) => set.join(", "),
    }
}

fn reading(sample: &Sample) -> String {
    let name = sample.kind.name();
    match sample.value {
        Value::Number(number) => format!("{name} {number} {}", sample.kind.unit().symbol()),
        Value::State(state) => format!("{name} {}", state.name()),
        Value::Absent => format!("{name}: no value"),
    }
}

fn record(one: &Measured) -> serde_json::Value {
    json!({
        "fields": one.fields.list().iter().map(field).collect::<Vec<_>>(),
        "readings": one.samples.iter().map(|it| sample(&one.fields, it)).collect::<Vec<_>>(),
        "sensor_time": clock(one.clock),
        "unknown_flags": one.reserved,
        "unknown_octets": hex(&one.trailing),
    })
}

fn field(field: &Field) -> serde_json::Value {
    let value = match &field.said {
        // Digits as text: a number in JSON would lose the device's resolution.
        Said::Number(number) => json!(number.to_string()),
        Said::NoNumber(_) => json!(null),
        Said::Numbers(all) => json!(all.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Said::Text(text) => json!(text),
        Said::Flags(set) => json!(set),
    };
    let absent = match &field.said {
        Said::NoNumber(why) => json!(why),
        _ => json!(null),
    };
    json!({"field": field.name, "value": value, "absent": absent, "ucum": field.ucum})
}

fn sample(fields: &Fields, sample: &Sample) -> serde_json::Value {
    let value = match sample.value {
        Value::Number(number) => json!(number.to_string()),
        Value::State(state) => json!(state),
        Value::Absent => json!(null),
    };
    let sent = sample
        .sent
        .map(|sent| json!({"value": sent.value.to_string(), "ucum": sent.unit.ucum()}));
    let code = fields.code(sample.kind);
    json!({
        "kind": sample.kind, "value": value, "unit": sample.kind.unit().symbol(),
        "ucum": sample.kind.unit().ucum(), "mdc": code.map(|code| code.mdc),
        "mdc_reference": code.map(|code| code.reference), "loinc": code.and_then(|code| code.loinc),
        "quality": sample.quality, "marks": sample.marks, "sent": sent,
    })
}

fn clock(clock: DeviceClock) -> serde_json::Value {
    match clock {
        DeviceClock::NotTold => json!(null),
        DeviceClock::Unset => json!("unset"),
        DeviceClock::At(wall) => json!(wall.to_string()),
        DeviceClock::SinceStart { minutes } => json!({"minutes_since_start": minutes}),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_told_with_units_and_codes() {
        let told = decode("2A35", "15bdf00b009ff03c001200").expect("decodes");
        let json = told.json();
        let record = &json["records"][0];
        assert_eq!(record["fields"][0]["value"], "18.9");
        assert_eq!(record["fields"][0]["ucum"], "kPa");
        let systolic = &record["readings"][0];
        assert_eq!(
            (&systolic["value"], &systolic["ucum"]),
            (&json!("141.8"), &json!("mm[Hg]"))
        );
        assert_eq!(
            (&systolic["mdc"], &systolic["loinc"]),
            (&json!(150_021), &json!("8480-6"))
        );
        assert_eq!(systolic["sent"], json!({"value": "18.9", "ucum": "kPa"}));
        let text = told.text();
        assert!(
            text.contains("18.9 kPa") && text.contains("systolic pressure 141.8 mmHg"),
            "{text}"
        );
    }

    #[test]
    fn octets_may_be_written_as_captures_write_them() {
        for hex in ["0055", "00 55", "00:55", "00-55", "0x0055", " 0055 "] {
            assert!(decode("2a37", hex).is_ok(), "{hex}");
        }
        for hex in ["005", "0g", "", "00é5"] {
            assert!(decode("2a37", hex).is_err(), "{hex}");
        }
        for characteristic in ["", "2a3", "02a37", "+a37", "heart"] {
            let got = decode(characteristic, "0055");
            assert!(
                matches!(got, Err(DecodeFault::Characteristic(_))),
                "{characteristic}"
            );
        }
    }

    #[test]
    fn several_records_are_told_one_by_one() {
        let told = decode("2AA7", "06000c10050006000c100600").expect("decodes");
        assert_eq!(told.json()["records"].as_array().map(Vec::len), Some(2));
        assert!(told.text().contains("record 2"));
    }

    #[test]
    fn no_number_is_said_to_be_none_and_why() {
        let told = decode("2A5F", "00ff075a00").expect("decodes").json();
        let field = &told["records"][0]["fields"][0];
        assert_eq!(
            (&field["value"], &field["absent"]),
            (&json!(null), &json!("no value"))
        );
    }
}
