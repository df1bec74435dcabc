//! A profile as it is written, and the way from there to a [`Profile`]: every fault with its line.

mod register;
mod session;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use homeward_protocol::unit::Decimal;
use serde::Deserialize;
use toml::Spanned;

use crate::exact::decimal;
use crate::profile::{
    Criticality, Fault, LineSettings, MAX_TEXT, Profile, ProfileError, ProfileId, Session, Standing,
    Transport, Writable,
};
use register::{RawRegister, registers};
use session::{RawCharacteristic, RawSession, session};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    id: ProfileId,
    name: String,
    source: String,
    #[serde(default)]
    notes: String,
    standing: Standing,
    role: String,
    criticality: Criticality,
    transports: Spanned<Vec<Transport>>,
    line: Option<Spanned<LineSettings>>,
    session: Option<Spanned<RawSession>>,
    #[serde(default)]
    characteristic: Vec<Spanned<RawCharacteristic>>,
    unit: Option<Spanned<u8>>,
    interval_ms: Spanned<u32>,
    silent_after_ms: Spanned<u32>,
    time_limit_ms: Spanned<u32>,
    most_registers: Option<Spanned<u16>>,
    #[serde(default)]
    widest_gap: u16,
    #[serde(default)]
    identifies: bool,
    #[serde(default)]
    register: Vec<Spanned<RawRegister>>,
    #[serde(default)]
    writable: Vec<Spanned<RawWritable>>,
    #[serde(default)]
    left_out: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWritable {
    name: String,
    function: u8,
    address: u16,
    #[serde(default = "one")]
    count: u16,
}

const fn one() -> u16 {
    1
}

/// Collects faults with their lines.
struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, at: &Range<usize>, what: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        self.found.push(Fault {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            what: what.into(),
        });
    }

    fn number(&mut self, text: &Spanned<String>) -> Option<Decimal> {
        match decimal(text.get_ref()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(&text.span(), error.to_string());
                None
            }
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Profile, ProfileError> {
    if text.len() > MAX_TEXT {
        return Err(ProfileError::Long(text.len()));
    }
    let mut faults = Faults {
        text,
        found: Vec::new(),
    };
    let raw: RawProfile = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            faults.add(&error.span().unwrap_or(0..0), error.message());
            return Err(ProfileError::Faults(faults.found));
        }
    };
    settings(&raw, &mut faults);
    let (session, registers) = if over_ble(&raw, &mut faults) {
        (bluetooth(&raw, &mut faults), Vec::new())
    } else {
        modbus(&raw, &mut faults);
        (None, registers(&raw.register, &mut faults))
    };
    let writable = writable(&raw.writable, &mut faults);
    if !faults.found.is_empty() {
        faults.found.sort_by_key(|f| f.line);
        return Err(ProfileError::Faults(faults.found));
    }
    Ok(Profile {
        id: raw.id,
        name: raw.name,
        source: raw.source,
        notes: raw.notes,
        standing: raw.standing,
        role: raw.role,
        criticality: raw.criticality,
        transports: raw.transports.into_inner(),
        line: raw.line.map(Spanned::into_inner),
        session,
        unit: raw.unit.map_or(0, Spanned::into_inner),
        interval: ms(&raw.interval_ms),
        silent_after: ms(&raw.silent_after_ms),
        time_limit: ms(&raw.time_limit_ms),
        most_registers: raw.most_registers.map_or(0, Spanned::into_inner),
        widest_gap: raw.widest_gap,
        identifies: raw.identifies,
        registers,
        writable,
        left_out: raw.left_out.into_iter().collect(),
    })
}

fn writable(raw: &[Spanned<RawWritable>], faults: &mut Faults<'_>) -> Vec<Writable> {
    let mut out = Vec::new();
    for spanned in raw {
        let RawWritable {
            name,
            function,
            address,
            count,
        } = spanned.get_ref();
        let mut fault = |what: &str| faults.add(&spanned.span(), format!("{name}: {what}"));
        if !matches!(function, 5 | 6 | 15 | 16) {
            fault("functions 5, 6, 15 and 16 write");
        }
        if *count == 0 || u32::from(*address) + u32::from(*count) > 0x1_0000 {
            fault("a writable run has at least one place, and ends at 65535");
        }
        out.push(Writable {
            name: name.clone(),
            function: *function,
            address: *address,
            count: *count,
        });
    }
    out
}

fn ms(value: &Spanned<u32>) -> Duration {
    Duration::from_millis(u64::from(*value.get_ref()))
}

fn settings(raw: &RawProfile, faults: &mut Faults<'_>) {
    let mut bounded = |value: &Spanned<u32>, key: &str, low: u32, high: u32| {
        if !(low..=high).contains(value.get_ref()) {
            faults.add(&value.span(), format!("{key} must lie between {low} and {high}"));
        }
    };
    bounded(&raw.interval_ms, "interval_ms", 100, 86_400_000);
    let over_ble = raw.transports.get_ref().contains(&Transport::Ble);
    let limits = if over_ble { (1000, 60_000) } else { (20, 10_000) };
    bounded(&raw.time_limit_ms, "time_limit_ms", limits.0, limits.1);
    bounded(
        &raw.silent_after_ms,
        "silent_after_ms",
        *raw.interval_ms.get_ref(),
        604_800_000,
    );
    if raw.transports.get_ref().is_empty() {
        let rule = "transports names \"ble\", or at least one of \"tcp\" and \"rtu\"";
        faults.add(&raw.transports.span(), rule);
    }
}

/// Whether it is a Bluetooth profile; what belongs to the other sort is a fault.
fn over_ble(raw: &RawProfile, faults: &mut Faults<'_>) -> bool {
    let over_ble = raw.transports.get_ref().contains(&Transport::Ble);
    if over_ble && raw.transports.get_ref().len() > 1 {
        faults.add(
            &raw.transports.span(),
            "\"ble\" stands alone: a device on a wire is another profile",
        );
    }
    let spans = if over_ble {
        let line = raw.line.as_ref().map(Spanned::span);
        let unit = raw.unit.as_ref().map(Spanned::span);
        let most = raw.most_registers.as_ref().map(Spanned::span);
        let register = raw.register.first().map(Spanned::span);
        [line, unit, most, register]
    } else {
        let session = raw.session.as_ref().map(Spanned::span);
        [session, raw.characteristic.first().map(Spanned::span), None, None]
    };
    let rule = if over_ble {
        "this belongs to Modbus, and the profile is for Bluetooth"
    } else {
        "this belongs to Bluetooth, and the profile is for Modbus"
    };
    for span in spans.into_iter().flatten() {
        faults.add(&span, rule);
    }
    over_ble
}

fn bluetooth(raw: &RawProfile, faults: &mut Faults<'_>) -> Option<Session> {
    let Some(written) = &raw.session else {
        let rule = "\"ble\" needs a [session] with least_bond and visits";
        faults.add(&raw.transports.span(), rule);
        return None;
    };
    session(written, &raw.characteristic, faults)
}

fn modbus(raw: &RawProfile, faults: &mut Faults<'_>) {
    let transports = &raw.transports;
    let needed = |name| format!("a Modbus profile needs `{name}`");
    match &raw.most_registers {
        None => faults.add(&transports.span(), needed("most_registers")),
        Some(most) if !(1..=125).contains(most.get_ref()) => {
            faults.add(
                &most.span(),
                "most_registers must lie between 1 and 125, as Modbus allows",
            );
        }
        Some(_) => {}
    }
    match &raw.unit {
        None => faults.add(&transports.span(), needed("unit")),
        Some(unit) if *unit.get_ref() == 0 => {
            faults.add(
                &unit.span(),
                "unit 0 is the broadcast address: nobody answers there",
            );
        }
        Some(_) => {}
    }
    if transports.get_ref().contains(&Transport::Rtu) && raw.line.is_none() {
        faults.add(
            &transports.span(),
            "\"rtu\" needs a [line] with baud, parity and stop_bits",
        );
    }
    if let Some(line) = &raw.line {
        let LineSettings { baud, stop_bits, .. } = line.get_ref();
        if !(300..=1_000_000).contains(baud) || !(1..=2).contains(stop_bits) {
            faults.add(
                &line.span(),
                "a line has 300 to 1000000 baud and 1 or 2 stop bits",
            );
        }
    }
}
