//! Every published value decodes to what was published, and no damage to one becomes a value that nobody sent.
//!
//! Reads the vectors from `HOMEWARD_SHARED`, else from `shared` beside the workspace. Each names its source there.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read the vectors from the disk"
)]

use std::path::{Path, PathBuf};

use homeward_devices::ble::{self, DeviceClock, Fields, GlucoseUnit, Measured, Number, System, racp};
use homeward_protocol::code::Code;
use homeward_protocol::reading::{Quality, Value as Read};
use homeward_protocol::unit::Unit;
use serde_json::{Value, json};

fn file(name: &str) -> Option<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().skip(2).take(2).map(|up| up.join("shared"));
    let named = std::env::var_os("HOMEWARD_SHARED").map(PathBuf::from);
    let all = named.into_iter().chain(beside);
    let Some(path) = all
        .map(|shared| shared.join("data/ble").join(name))
        .find(|path| path.is_file())
    else {
        let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        assert!(
            !ci,
            "the vectors are missing: set HOMEWARD_SHARED to the folder that holds data/ble"
        );
        eprintln!("skipped: the vectors are missing; set HOMEWARD_SHARED");
        return None;
    };
    let text = std::fs::read_to_string(&path).expect("the file can be read");
    Some(serde_json::from_str(&text).expect("the file is JSON"))
}

fn octets(vector: &Value) -> Vec<u8> {
    let hex = vector["hex"].as_str().expect("hex");
    let pairs = hex.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| octet(pair).expect("hex digits")).collect()
}

/// The 16-bit number; none for the bare number formats.
fn characteristic(vector: &Value) -> Option<u16> {
    u16::from_str_radix(vector["characteristic"].as_str().expect("named"), 16).ok()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().expect("a list")
}

/// A number, or the name that the vectors give to what is none.
fn number(number: Number) -> Value {
    match number {
        Number::Finite { .. } => json!(number.decimal().expect("holds").to_f64()),
        Number::NotANumber => json!("NaN"),
        Number::NotAtThisResolution => json!("NRes"),
        Number::AboveRange => json!("+INF"),
        Number::BelowRange => json!("-INF"),
        Number::Reserved => json!("reserved"),
    }
}

fn pressure(unit: Unit) -> &'static str {
    if unit == Unit::Kilopascal { "kPa" } else { "mmHg" }
}

fn heart(read: &ble::HeartRate) -> Value {
    json!({
        "heart_rate_bpm": read.rate, "bpm": read.rate, "contact": read.contact,
        "energy_kJ": read.energy, "energy_kj": read.energy,
        "rr_1024": read.intervals, "rr": read.intervals,
    })
}

fn blood_pressure(read: &ble::BloodPressure) -> Value {
    let time = read.time.map(|time| time.to_string());
    json!({
        "unit": pressure(read.unit), "systolic": number(read.systolic), "sys": number(read.systolic),
        "diastolic": number(read.diastolic), "dia": number(read.diastolic), "map": number(read.mean),
        "time": time, "timestamp": time.map(|time| time.replacen("0000", "????", 1) + " (year 0 = unknown)"),
        "pulse_bpm": read.pulse.map(number), "pulse": read.pulse.map(number),
        "user_id": read.user, "user": read.user, "status": read.status,
    })
}

fn glucose(read: &ble::Glucose, clock: DeviceClock) -> Value {
    let told = read.concentration.expect("these hold a concentration");
    let unit = match told.unit {
        GlucoseUnit::KilogramPerLitre => "kg/L",
        GlucoseUnit::MolePerLitre => "mol/L",
    };
    let DeviceClock::At(effective) = clock else {
        panic!("these hold a time")
    };
    json!({
        "seq": read.sequence, "base_time": read.base.to_string(), "effective": effective.to_string(),
        "time_offset_min": read.offset, "offset_min": read.offset, "unit": unit,
        "conc": number(told.value), "value": number(told.value), "type": told.fluid.0,
        "location": told.place.0, "status": read.status, "context_follows": read.context_follows,
    })
}

fn oximeter(normal: ble::Pair, condition: ble::Condition, more: &Value) -> Value {
    let mut facts = json!({
        "spo2": number(normal.saturation), "pr": number(normal.pulse),
        "status": condition.status, "measurement_status": condition.status,
        "dev_status": condition.device, "sensor_status": condition.device,
        "pai": condition.amplitude.map(number),
    });
    let all = facts.as_object_mut().expect("an object");
    all.extend(more.as_object().cloned().unwrap_or_default());
    facts
}

fn cgm(read: &ble::GlucoseRecord, size: usize) -> Value {
    json!({
        "size": size, "conc_mg_dL": number(read.concentration), "value": number(read.concentration),
        "offset_min": read.minutes, "status": read.status, "cal_temp": read.calibration,
        "caltemp": read.calibration, "warning": read.warning, "trend": read.trend.map(number),
        "quality_pct": read.quality.map(number), "quality": read.quality.map(number), "crc_ok": read.checked,
    })
}

fn answer(read: racp::Answer) -> Value {
    match read {
        racp::Answer::Done { request, code } => {
            json!({"op": 6, "operator": 0, "request": request, "response": code.number(), "code": code.number()})
        }
        racp::Answer::Count(count) => json!({"op": 5, "operator": 0, "count": count}),
        racp::Answer::Command { operation, operator } => json!({"op": operation, "operator": operator}),
    }
}

/// What was decoded, under every name that the vectors use for it.
fn facts(measured: &Measured, octets: &[u8]) -> Value {
    match &measured.fields {
        Fields::HeartRate(read) => heart(read),
        Fields::BloodPressure(read) => blood_pressure(read),
        Fields::Glucose(read) => glucose(read, measured.clock),
        Fields::GlucoseContext(read) => json!({"seq": read.sequence, "meal": read.meal}),
        Fields::Temperature(read) => {
            let time = read.time.map(|time| time.to_string());
            let site = read.site.expect("these hold a site");
            let unit = if read.unit == Unit::Celsius { "C" } else { "F" };
            json!({
                "unit": unit, "temp": number(read.value), "celsius": number(read.value), "time": time,
                "timestamp": time, "type": [json!(site.0), json!(site.name())],
            })
        }
        Fields::SpotCheck(read) => {
            let time = read.time.map(|time| time.to_string());
            let more = json!({"time": time, "timestamp": time, "clock_not_set": read.clock_not_set});
            oximeter(read.normal, read.condition, &more)
        }
        Fields::Continuous(read) => oximeter(read.normal, read.condition, &json!({})),
        Fields::Weight(read) => {
            let (unit, step) = match read.system {
                System::Metric => ("kg", 0.005),
                System::Imperial => ("lb", 0.01),
            };
            let time = read.time.map(|time| time.to_string());
            json!({"unit": unit, "weight": f64::from(read.weight) * step, "time": time})
        }
        Fields::BodyComposition(read) => {
            let unit = if read.system == System::Metric {
                "SI"
            } else {
                "imperial"
            };
            let time = read.time.map(|time| time.to_string());
            json!({
                "unit": unit, "fat_pct": f64::from(read.fat) / 10.0, "time": time, "user_id": read.user,
                "bmr_kJ": read.basal_metabolism,
            })
        }
        Fields::GlucoseRecord(read) => cgm(read, usize::from(octets[0])),
        Fields::CgmStatus(read) => {
            let [a, b, c, _] = read.status.to_le_bytes();
            json!({
                "offset_min": read.minutes, "status": format!("{a:02x}{b:02x}{c:02x}"), "crc_ok": true,
                "session_stopped": read.stopped(), "time_sync_required": b & 1 == 1,
                "below_patient_low": c & 1 == 1,
            })
        }
        Fields::SessionStart(read) => json!({
            "local": read.time.to_string(), "tz_15min": read.zone, "dst_15min": read.daylight_saving,
            "crc_ok": true,
        }),
        Fields::CgmFeature(read) => json!({
            "features": format!("0x{:x}", read.features), "type": read.fluid.0, "location": read.place.0,
            "crc_ok": true, "crc_supported": read.features >> 12 & 1 == 1,
        }),
        Fields::Racp(read) => answer(*read),
        other => panic!("no vector is known for {other:?}"),
    }
}

/// Numbers are equal to seven digits (some were printed from single precision), a list of choices when one of them is, names in any case.
fn same(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            (a - b).abs() <= a.abs() * 1e-7
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (one, Value::Array(choices)) => choices.iter().any(|choice| same(one, choice)),
        (Value::String(a), Value::String(b)) => a.eq_ignore_ascii_case(b),
        _ => wanted == got,
    }
}

/// Notes of the person who collected the vectors.
const REMARKS: [&str; 2] = ["note", "actual_crc"];

fn assert_facts(vector: &Value, wanted: &Value, got: &Value) {
    for (key, value) in wanted.as_object().expect("fields") {
        if !REMARKS.contains(&key.as_str()) {
            let found = got.get(key).unwrap_or(&Value::Null);
            assert!(
                same(value, found),
                "{key}: wanted {value}, got {found} in {vector}"
            );
        }
    }
}

fn bare(vector: &Value) -> Number {
    let octets = octets(vector);
    match vector["characteristic"].as_str() {
        Some("SFLOAT") => Number::from_sfloat(u16::from_le_bytes(octets.try_into().expect("2 octets"))),
        Some("FLOAT") => Number::from_float(u32::from_le_bytes(octets.try_into().expect("4 octets"))),
        other => panic!("unknown form {other:?}"),
    }
}

#[test]
fn every_published_value_decodes_to_what_was_published() {
    let Some(vectors) = file("vectors.json") else {
        return;
    };
    for vector in list(&vectors, "vectors") {
        let wanted = &vector["expected"];
        let Some(characteristic) = characteristic(vector) else {
            assert!(same(&wanted["value"], &number(bare(vector))), "{vector}");
            continue;
        };
        let octets = octets(vector);
        match ble::decode(characteristic, &octets) {
            Ok(got) if got.len() == 1 => assert_facts(vector, wanted, &facts(&got[0], &octets)),
            Ok(got) => panic!("{} records in {vector}", got.len()),
            Err(error) => assert_eq!(wanted, "error", "{error} in {vector}"),
        }
    }
    assert_eq!(list(&vectors, "vectors").len(), 41, "a vector was added or lost");
}

/// The author of this one names the three status octets in the opposite order; the octets are the same, and the
/// order of the service is that of vectors.json.
const OTHER_ORDER: &str = "cgm-full-crc";

#[test]
fn every_value_of_the_suites_decodes_or_is_refused_as_they_say() {
    let Some(suites) = file("vectors-suites.json") else {
        return;
    };
    for vector in list(&suites, "vectors") {
        let mut wanted = vector["expect"].clone();
        if vector["id"] == OTHER_ORDER {
            let (status, warning) = (wanted["status"].clone(), wanted["warning"].clone());
            wanted["status"] = warning;
            wanted["warning"] = status;
        }
        let Some(characteristic) = characteristic(vector) else {
            assert!(same(&wanted, &number(bare(vector))), "{vector}");
            continue;
        };
        let octets = octets(vector);
        let got = ble::decode(characteristic, &octets);
        assert_eq!(got.is_ok(), vector["valid"] == true, "{got:?} in {vector}");
        let all = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted]);
        for (wanted, got) in all.iter().zip(got.iter().flatten()) {
            assert_facts(vector, wanted, &facts(got, &octets));
        }
        assert!(
            got.is_err() || got.is_ok_and(|got| got.len() == all.len()),
            "{vector}"
        );
    }
    assert_eq!(list(&suites, "vectors").len(), 40, "a vector was added or lost");
}

#[test]
fn a_value_that_was_made_with_a_wrong_exponent_never_becomes_a_good_reading() {
    let Some(vectors) = file("vectors.json") else {
        return;
    };
    let rejected = list(&vectors["rejected"], "vectors");
    assert_eq!(rejected.len(), 3);
    for vector in rejected {
        let got = ble::decode(characteristic(vector).expect("a characteristic"), &octets(vector));
        for sample in got.expect("whole").iter().flat_map(|one| &one.samples) {
            assert_eq!(sample.quality, Quality::OutOfRange, "{vector}");
            if let Read::Number(number) = sample.value {
                assert!(number.to_f64() < 1e-5, "{number} in {vector}");
            }
        }
    }
}

/// Every vector that is a value of a characteristic.
fn values() -> Option<Vec<(u16, Vec<u8>)>> {
    let (vectors, suites) = (file("vectors.json")?, file("vectors-suites.json")?);
    let all = list(&vectors, "vectors")
        .iter()
        .chain(list(&vectors["rejected"], "vectors"));
    let all = all.chain(list(&suites, "vectors"));
    Some(
        all.filter_map(|vector| Some((characteristic(vector)?, octets(vector))))
            .collect(),
    )
}

/// A number is one that a body can have, or it is labelled; its unit is the one that the octets tell.
fn assert_honest(characteristic: u16, octets: &[u8]) {
    let Ok(all) = ble::decode(characteristic, octets) else {
        return;
    };
    for sample in all.iter().flat_map(|one| &one.samples) {
        if let (Read::Number(number), Some((low, high))) = (sample.value, ble::plausible(sample.kind)) {
            let inside = (low.to_f64()..=high.to_f64()).contains(&number.to_f64());
            assert!(
                inside || sample.quality == Quality::OutOfRange,
                "{octets:02x?}: {sample:?}"
            );
        }
        if let Some(sent) = sample.sent {
            assert!(
                told(characteristic, octets).contains(&sent.unit),
                "{octets:02x?}: {sample:?}"
            );
        }
    }
    for one in &all {
        assert!(!one.fields.list().is_empty());
    }
}

/// The units that are not ours, as the flags of a value tell them; written from the services' flag tables.
fn told(characteristic: u16, octets: &[u8]) -> &'static [Unit] {
    let bit = |at: u8| octets[0] >> at & 1 == 1;
    match characteristic {
        0x2a35 | 0x2a36 if bit(0) => &[Unit::Kilopascal],
        0x2a1c | 0x2a1e if bit(0) => &[Unit::Fahrenheit],
        0x2a9c | 0x2a9d if bit(0) => &[Unit::Pound, Unit::Inch],
        0x2a18 if bit(2) => &[Unit::MillimolePerLitre],
        _ => &[],
    }
}

#[test]
fn a_value_cut_short_anywhere_is_an_error_or_an_honest_value() {
    let Some(values) = values() else { return };
    for (characteristic, octets) in values {
        for length in 0..octets.len() {
            assert_honest(characteristic, &octets[..length]);
        }
        assert!(ble::decode(characteristic, &[]).is_err(), "{characteristic:04x}");
    }
}

#[test]
fn a_value_with_any_octet_changed_is_an_error_or_an_honest_value() {
    let Some(values) = values() else { return };
    for (characteristic, octets) in values {
        for at in 0..octets.len() {
            for flip in 1..=u8::MAX {
                let mut changed = octets.clone();
                changed[at] ^= flip;
                assert_honest(characteristic, &changed);
            }
        }
    }
}

#[test]
fn a_value_under_another_characteristics_number_is_an_error_or_an_honest_value() {
    let Some(values) = values() else { return };
    let known: Vec<u16> = (0..=u16::MAX)
        .filter(|number| ble::name(*number).is_some())
        .collect();
    assert_eq!(known.len(), 33);
    for (_, octets) in values {
        for characteristic in &known {
            assert_honest(*characteristic, &octets);
        }
    }
}

#[test]
fn what_no_decoder_is_for_is_refused_whatever_it_holds() {
    for characteristic in (0..=u16::MAX).filter(|number| ble::name(*number).is_none()) {
        let got = ble::decode(characteristic, &[0, 80]);
        assert_eq!(got, Err(ble::DecodeError::Unknown(characteristic)));
    }
    assert_eq!(ble::decode(0x2a37, &[0; 513]), Err(ble::DecodeError::Long(513)));
}

#[test]
fn every_code_is_a_row_that_was_verified() {
    let Some(map) = file("mdc-map.json") else { return };
    let rows = list(&map, "observations");
    let verified = |code: Code| {
        rows.iter().any(|row| {
            let loinc = code.loinc.is_none_or(|loinc| {
                row["loinc"] == loinc && row.get("loinc_verified").is_none_or(|verified| verified == true)
            });
            row["mdc"] == code.mdc && row["ref"] == code.reference && row["verified"] == true && loinc
        })
    };
    let mut seen = std::collections::BTreeSet::new();
    // One value of each measurement, and a glucose of each fluid.
    let mut values = values().unwrap_or_default();
    for fluid in 0..16 {
        values.push((0x2a18, vec![2, 7, 0, 0xe8, 7, 3, 31, 23, 58, 0, 98, 0xb0, fluid]));
    }
    for (characteristic, octets) in values {
        for one in ble::decode(characteristic, &octets).iter().flatten() {
            for code in one
                .samples
                .iter()
                .filter_map(|sample| one.fields.code(sample.kind))
            {
                assert!(verified(code), "{code:?}");
                seen.insert(code.mdc);
            }
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}
