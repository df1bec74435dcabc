//! A profile as it is written, and the way from there to a [`Profile`]: every fault with its line.

mod register;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use homeward_protocol::unit::Decimal;
use serde::Deserialize;
use toml::Spanned;

use crate::exact::decimal;
use crate::profile::{
    Criticality, Fault, LineSettings, MAX_TEXT, Profile, ProfileError, ProfileId, Standing, Transport,
};
use register::{RawRegister, registers};

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
    unit: Spanned<u8>,
    interval_ms: Spanned<u32>,
    silent_after_ms: Spanned<u32>,
    time_limit_ms: Spanned<u32>,
    most_registers: Spanned<u16>,
    #[serde(default)]
    widest_gap: u16,
    #[serde(default)]
    register: Vec<Spanned<RawRegister>>,
    #[serde(default)]
    left_out: BTreeMap<String, String>,
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
    let registers = registers(&raw.register, &mut faults);
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
        unit: raw.unit.into_inner(),
        interval: ms(&raw.interval_ms),
        silent_after: ms(&raw.silent_after_ms),
        time_limit: ms(&raw.time_limit_ms),
        most_registers: raw.most_registers.into_inner(),
        widest_gap: raw.widest_gap,
        registers,
        left_out: raw.left_out.into_iter().collect(),
    })
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
    bounded(&raw.time_limit_ms, "time_limit_ms", 20, 10_000);
    bounded(
        &raw.silent_after_ms,
        "silent_after_ms",
        *raw.interval_ms.get_ref(),
        604_800_000,
    );
    if !(1..=125).contains(raw.most_registers.get_ref()) {
        faults.add(
            &raw.most_registers.span(),
            "most_registers must lie between 1 and 125, as Modbus allows",
        );
    }
    if *raw.unit.get_ref() == 0 {
        faults.add(
            &raw.unit.span(),
            "unit 0 is the broadcast address: nobody answers there",
        );
    }
    let transports = raw.transports.get_ref();
    if transports.is_empty() {
        faults.add(
            &raw.transports.span(),
            "transports names at least one of \"tcp\" and \"rtu\"",
        );
    }
    if transports.contains(&Transport::Rtu) && raw.line.is_none() {
        faults.add(
            &raw.transports.span(),
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
