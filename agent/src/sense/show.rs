//! A profile and a poll in words, for the terminal of whoever installs a sensor.

use std::fmt::Write;

use homeward_devices::profile::{Criticality, Meaning, Profile, Standing};
use homeward_protocol::reading::{Quality, Reading, Value};

/// What a profile says, for `profile check`.
pub fn describe(profile: &Profile) -> String {
    let standing = match profile.standing {
        Standing::FromManual => "written from the manual, tried on no device",
        Standing::Tried => "tried on the device",
        Standing::Shape => "a shape only: its readings are unverified",
    };
    let weight = match profile.criticality {
        Criticality::Comfort => "comfort",
        Criticality::Supporting => "supporting",
        Criticality::Vital => "vital",
    };
    let (name, role, every) = (&profile.name, &profile.role, profile.interval.as_secs_f32());
    let mut out = format!(
        "{}: {name}\n{weight}: {role}\n{standing}\nasked every {every} s\n",
        profile.id
    );
    for characteristic in profile.session.iter().flat_map(|s| &s.characteristics) {
        let needed = if characteristic.needed {
            ""
        } else {
            ", when it has it"
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {}  {}{needed}", characteristic.at, characteristic.name);
    }
    for register in &profile.registers {
        let says = match &register.meaning {
            Some(Meaning::Number(number)) => format!("{}, {}", number.kind.name(), number.kind.unit().ucum()),
            Some(Meaning::State { kind, .. }) => kind.name().to_owned(),
            None if register.expect.is_some() => "must stay as it is".to_owned(),
            None => "the device's own alarm".to_owned(),
        };
        let (function, address) = (register.function.code(), register.address);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  function {function} address {address:5}  {}: {says}",
            register.name
        );
    }
    out
}

/// One line a value, for `sensor read`.
pub fn values(readings: &[Reading]) -> String {
    readings.iter().map(line).collect()
}

/// One line as it comes, for `sensor watch`: when it was taken, by which sensor, and what it is.
pub fn shown(reading: &Reading) -> String {
    format!(
        "{}  {:<16}  {}",
        reading.taken_at,
        reading.sensor,
        line(reading).trim_end()
    )
}

fn line(reading: &Reading) -> String {
    let value = match reading.value {
        Value::Number(number) => {
            let text = format!("{number} {}", reading.kind.unit().symbol());
            text.trim_end().to_owned()
        }
        Value::State(state) => state.name().to_owned(),
        Value::Absent => "no value".to_owned(),
    };
    let doubt = match reading.quality {
        Quality::Good => "",
        Quality::OutOfRange => "  (out of range)",
        Quality::Doubtful => "  (doubtful)",
    };
    format!("{}: {value}{doubt}\n", reading.kind.name())
}
