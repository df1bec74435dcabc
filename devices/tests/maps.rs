//! The shipped profiles say what the makers' maps say: every register of a map is either read as printed, or left
//! out with a reason.
//!
//! Reads the maps from `HOMEWARD_SHARED`, else from `shared` beside the workspace.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read the maps from the disk"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_devices::exact::decimal;
use homeward_devices::link::Registers;
use homeward_devices::modbus::serial::{Open, Rtu};
use homeward_devices::modbus::{requests, samples};
use homeward_devices::profile::{Format, Meaning, Profile, Register, WordOrder, shipped, shipped_ids};
use homeward_protocol::reading::Value as Measured;
use homeward_protocol::unit::Decimal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn maps() -> Option<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().skip(2).take(2).map(|up| up.join("shared"));
    let named = std::env::var_os("HOMEWARD_SHARED").map(PathBuf::from);
    let path = named
        .into_iter()
        .chain(beside)
        .map(|shared| shared.join("data/modbus/maps.json"))
        .find(|path| path.is_file());
    let Some(path) = path else {
        let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        assert!(
            !ci,
            "the register maps are missing: set HOMEWARD_SHARED to the folder that holds data/modbus"
        );
        eprintln!("skipped: the register maps are missing; set HOMEWARD_SHARED");
        return None;
    };
    let text = std::fs::read_to_string(&path).expect("the file can be read");
    Some(serde_json::from_str(&text).expect("maps.json is JSON"))
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

/// The number in the frame, by the addressing of the device and the number as it is printed.
fn wire_address(device: &Value, register: &Value) -> Option<u64> {
    let printed = register["address"].as_u64()?;
    let addressing = text(device, "addressing").split(' ').next().unwrap_or_default();
    match (addressing, register["function"].as_u64()) {
        ("as", Some(1)) => printed.checked_sub(1),
        ("as", Some(4)) => printed.checked_sub(30_001),
        ("modicon", Some(3)) => printed.checked_sub(40_001),
        _ => Some(printed),
    }
}

fn format_fits(format: Format, printed: &str) -> bool {
    let wanted = match format {
        Format::Coil => "coil",
        Format::Enum => "enum",
        Format::U16 => "uint16",
        Format::I16 => "int16",
        Format::F32(WordOrder::LowFirst) => "f32 little word order",
        Format::U32(_) | Format::I32(_) | Format::F32(_) => return false,
    };
    printed == wanted
}

fn scale_fits(register: &Register, printed: &Value) -> bool {
    let Some(Meaning::Number(number)) = &register.meaning else {
        return true;
    };
    // JSON prints 1e-05 where a plain decimal is wanted.
    let plain = printed["scale"]
        .as_f64()
        .map(|scale| format!("{scale:.9}"))
        .unwrap_or_default();
    let digits = plain.trim_end_matches('0').trim_end_matches('.');
    decimal(digits).is_ok_and(|scale| scale == number.scale)
}

fn unit_fits(register: &Register, printed: &str) -> bool {
    match &register.meaning {
        Some(Meaning::Number(number)) if number.unit.name() == "%" => printed.starts_with('%'),
        Some(Meaning::Number(number)) => printed.split(' ').next() == Some(number.unit.name()),
        _ => printed.is_empty(),
    }
}

/// The profile has a code for each that the map names, with the state that the map names.
fn codes_fit(register: &Register, meaning: &str) -> bool {
    let Some(Meaning::State { codes, .. }) = &register.meaning else {
        return true;
    };
    let wire_name = |state| {
        serde_json::to_value(state)
            .ok()
            .and_then(|v| Some(v.as_str()?.to_owned()))
    };
    let ours: Option<Vec<String>> = codes
        .iter()
        .map(|(code, state)| Some(format!("{code} {}", wire_name(state)?)))
        .collect();
    let printed: Vec<String> = meaning.split(',').map(|m| m.trim().to_owned()).collect();
    meaning.is_empty() || ours == Some(printed)
}

fn check(profile: &Profile, device: &Value) {
    let id = &profile.id;
    assert_eq!(profile.source, text(device, "source"), "{id}: another source");
    for printed in device["registers"].as_array().expect("registers") {
        let name = text(printed, "name");
        let left_out = profile
            .left_out
            .iter()
            .any(|(n, why)| n == name && !why.is_empty());
        let Some(ours) = profile.registers.iter().find(|r| r.name == name) else {
            assert!(
                left_out,
                "{id}: {name} is neither read nor left out with a reason"
            );
            continue;
        };
        assert!(!left_out, "{id}: {name} is read and left out");
        assert_eq!(
            Some(u64::from(ours.address)),
            wire_address(device, printed),
            "{id}: address of {name}"
        );
        let function = Some(u64::from(ours.function.code()));
        assert_eq!(function, printed["function"].as_u64(), "{id}: function of {name}");
        assert!(
            format_fits(ours.format, text(printed, "type")),
            "{id}: type of {name}"
        );
        assert!(scale_fits(ours, printed), "{id}: scale of {name}");
        assert!(unit_fits(ours, text(printed, "unit")), "{id}: unit of {name}");
        assert!(codes_fit(ours, text(printed, "meaning")), "{id}: codes of {name}");
    }
}

#[test]
fn the_shipped_profiles_say_what_the_makers_maps_say() {
    let Some(maps) = maps() else { return };
    let devices = maps["devices"].as_array().expect("devices");
    for id in shipped_ids() {
        let profile = shipped(id).expect("shipped");
        if profile.session.is_some() {
            continue;
        }
        let maker = profile.name.split(',').next().unwrap_or_default();
        let device = devices.iter().find(|d| text(d, "device").starts_with(maker));
        let device = device.unwrap_or_else(|| panic!("{id}: no map is called {maker}"));
        check(&profile, device);
        // A fingerprint register may be named only in the meaning of another one.
        let printed = device["registers"].as_array().expect("registers");
        let unprinted =
            |r: &&Register| r.expect.is_none() && !printed.iter().any(|p| text(p, "name") == r.name);
        let more: Vec<_> = profile
            .registers
            .iter()
            .filter(unprinted)
            .map(|r| &r.name)
            .collect();
        assert!(more.is_empty(), "{id}: not in the map: {more:?}");
    }
}

/// A line whose other end the test holds; it is opened once.
struct Held(Option<DuplexStream>);

impl Open for Held {
    type Stream = DuplexStream;

    fn open(&mut self) -> io::Result<DuplexStream> {
        self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn name(&self) -> &'static str {
        "the held line"
    }
}

/// The octets of a printed frame, by the start of what it means.
fn frame(maps: &Value, meaning: &str) -> Vec<u8> {
    let vectors = maps["rtu_vectors"].as_array().expect("vectors");
    let vector = vectors.iter().find(|v| text(v, "meaning").starts_with(meaning));
    let digits = text(vector.expect("the vector is there"), "frame");
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| octet(pair).expect("hexadecimal"))
        .collect()
}

#[tokio::test]
async fn the_printed_question_leaves_and_the_printed_answer_is_read() {
    let Some(maps) = maps() else { return };
    let (question, answer) = (
        frame(&maps, "Senseair S8 read CO2"),
        frame(&maps, "answer 904 ppm"),
    );
    let (near, mut far) = tokio::io::duplex(64);
    let device = tokio::spawn(async move {
        let mut asked = [0; 8];
        far.read_exact(&mut asked).await.expect("a question");
        far.write_all(&answer).await.expect("the line is open");
        (asked.to_vec(), far)
    });
    let profile = shipped("senseair-s8").expect("shipped");
    let mut line = Rtu::new(Held(Some(near)), Duration::from_secs(5));
    let request = requests(&profile)[0];
    let words = line.read(profile.unit, request).await.expect("answers");
    let decoded = samples(&profile, request, &words).expect("the right count");
    assert_eq!(decoded.samples[0].value, Measured::Number(Decimal::whole(904)));
    assert_eq!(device.await.expect("the device plays to its end").0, question);
}
