//! One register as it is written, and the way from there to a [`Register`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use homeward_protocol::reading::{Kind, State};
use homeward_protocol::unit::{Decimal, Unit};
use serde::Deserialize;
use toml::Spanned;

use super::Faults;
use crate::exact::decimal;
use crate::profile::{Format, Function, MAX_REGISTERS, Meaning, Number, Register, WordOrder};
use crate::unit::{Conversion, DeviceUnit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegister {
    name: String,
    function: Function,
    address: u16,
    #[serde(rename = "type")]
    format: RawFormat,
    word_order: Option<Spanned<WordOrder>>,
    kind: Option<Spanned<Kind>>,
    unit: Option<Spanned<DeviceUnit>>,
    scale: Option<Spanned<String>>,
    resolution: Option<Spanned<String>>,
    range: Option<Spanned<[String; 2]>>,
    codes: Option<Spanned<BTreeMap<String, State>>>,
    #[serde(default)]
    absent: Vec<i64>,
    #[serde(default)]
    doubtful: Vec<i64>,
    #[serde(default)]
    alarm: Vec<i64>,
    expect: Option<i64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawFormat {
    Coil,
    Enum,
    U16,
    I16,
    U32,
    I32,
    F32,
}

pub(super) fn registers(raw: &[Spanned<RawRegister>], faults: &mut Faults<'_>) -> Vec<Register> {
    if raw.is_empty() || raw.len() > MAX_REGISTERS {
        faults.add(
            &(0..0),
            format!("a profile has 1 to {MAX_REGISTERS} [[register]] tables"),
        );
        return Vec::new();
    }
    let (mut names, mut kinds, mut places) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut out = Vec::new();
    for spanned in raw {
        let (at, raw) = (spanned.span(), spanned.get_ref());
        let name = &raw.name;
        if !names.insert(name.clone()) {
            faults.add(&at, format!("two registers are called {name}"));
        }
        if let Some(kind) = &raw.kind
            && !kinds.insert(*kind.get_ref())
        {
            let twice = "a sensor gives each kind once: put the second one into a profile of its own";
            faults.add(&kind.span(), format!("{name}: {twice}"));
        }
        let Some(register) = register(raw, &at, faults) else {
            continue;
        };
        let words = u32::from(register.address)..register.end();
        if words
            .into_iter()
            .any(|place| !places.insert((register.function, place)))
        {
            faults.add(&at, format!("{name} lies over another register"));
        }
        out.push(register);
    }
    out
}

fn register(raw: &RawRegister, at: &Range<usize>, faults: &mut Faults<'_>) -> Option<Register> {
    let before = faults.found.len();
    let name = &raw.name;
    let format = format(raw, faults);
    if raw.function.reads_bits() != (format == Format::Coil) {
        let rule = "functions 1 and 2 read type \"coil\", functions 3 and 4 the others";
        faults.add(at, format!("{name}: {rule}"));
    }
    if u32::from(raw.address) + u32::from(format.words()) > 0x1_0000 {
        faults.add(at, format!("{name} lies beyond the last register"));
    }
    if raw.kind.is_none() && raw.alarm.is_empty() && raw.expect.is_none() {
        faults.add(
            at,
            format!("{name} says nothing: give it a kind, alarm or expect, or move it to left_out"),
        );
    }
    let lists = raw
        .absent
        .iter()
        .chain(&raw.doubtful)
        .chain(&raw.alarm)
        .chain(&raw.expect);
    for value in lists {
        if format
            .bounds()
            .is_none_or(|(low, high)| !(low..=high).contains(value))
        {
            faults.add(at, format!("{name}: its type never holds the value {value}"));
        }
    }
    let meaning = match &raw.kind {
        None => bare(raw, at, faults),
        Some(kind) if kind.get_ref().unit() == Unit::One => state(raw, kind, format, faults),
        Some(kind) => number(raw, kind, at, faults),
    };
    (faults.found.len() == before).then(|| Register {
        name: name.clone(),
        function: raw.function,
        address: raw.address,
        format,
        meaning,
        absent: raw.absent.clone(),
        doubtful: raw.doubtful.clone(),
        alarm: raw.alarm.clone(),
        expect: raw.expect,
    })
}

fn format(raw: &RawRegister, faults: &mut Faults<'_>) -> Format {
    let order = raw.word_order.as_ref().map(|o| *o.get_ref()).unwrap_or_default();
    let format = match raw.format {
        RawFormat::Coil => Format::Coil,
        RawFormat::Enum => Format::Enum,
        RawFormat::U16 => Format::U16,
        RawFormat::I16 => Format::I16,
        RawFormat::U32 => Format::U32(order),
        RawFormat::I32 => Format::I32(order),
        RawFormat::F32 => Format::F32(order),
    };
    if let Some(order) = &raw.word_order
        && format.words() == 1
    {
        faults.add(&order.span(), format!("{}: one word has no word order", raw.name));
    }
    format
}

/// A register without a kind: what only makes sense with one must not be there.
fn bare(raw: &RawRegister, at: &Range<usize>, faults: &mut Faults<'_>) -> Option<Meaning> {
    let number = raw.unit.is_some() || raw.scale.is_some() || raw.resolution.is_some() || raw.range.is_some();
    if number || raw.codes.is_some() {
        faults.add(
            at,
            format!(
                "{}: unit, scale, resolution, range and codes need a kind",
                raw.name
            ),
        );
    }
    None
}

fn state(
    raw: &RawRegister,
    kind: &Spanned<Kind>,
    format: Format,
    faults: &mut Faults<'_>,
) -> Option<Meaning> {
    let (name, at) = (&raw.name, kind.span());
    if raw.unit.is_some() || raw.scale.is_some() || raw.resolution.is_some() || raw.range.is_some() {
        faults.add(
            &at,
            format!("{name}: a state has no unit, scale, resolution or range"),
        );
    }
    if !matches!(format, Format::Enum | Format::Coil) {
        faults.add(
            &at,
            format!("{name}: a state is read from type \"enum\" or \"coil\""),
        );
    }
    let Some(codes) = &raw.codes else {
        faults.add(
            &at,
            format!("{name}: a state needs codes, such as {{ 0 = \"closed\", 1 = \"open\" }}"),
        );
        return None;
    };
    let mut known = Vec::new();
    for (code, state) in codes.get_ref() {
        let in_type = |c: &i64| {
            format
                .bounds()
                .is_some_and(|(low, high)| (low..=high).contains(c))
        };
        match code.parse::<i64>().ok().filter(in_type) {
            Some(code) => known.push((code, *state)),
            None => faults.add(
                &codes.span(),
                format!("{name}: its type never holds the code {code}"),
            ),
        }
        if !states(*kind.get_ref()).contains(state) {
            let (kind, state) = (kind.get_ref().name(), state.name());
            faults.add(&codes.span(), format!("{name}: {kind} is never \"{state}\""));
        }
    }
    Some(Meaning::State {
        kind: *kind.get_ref(),
        codes: known,
    })
}

fn number(
    raw: &RawRegister,
    kind: &Spanned<Kind>,
    at: &Range<usize>,
    faults: &mut Faults<'_>,
) -> Option<Meaning> {
    let name = &raw.name;
    if raw.codes.is_some() {
        faults.add(at, format!("{name}: a number has no codes"));
    }
    let Some(unit) = &raw.unit else {
        faults.add(
            &kind.span(),
            format!("{name}: a number needs the unit that the device gives it in"),
        );
        return None;
    };
    let wanted = kind.get_ref().unit();
    let Some(conversion) = unit.get_ref().to(wanted) else {
        let way = format!("no way from {} to {}", unit.get_ref().name(), wanted.ucum());
        faults.add(&unit.span(), format!("{name}: {way}"));
        return None;
    };
    let scale = match &raw.scale {
        Some(text) => faults.number(text)?,
        None => Decimal::whole(1),
    };
    let exact_digits = conversion == Conversion::Same && !matches!(raw.format, RawFormat::F32);
    let resolution = resolution(raw, exact_digits.then_some(scale), at, faults)?;
    let range = match &raw.range {
        Some(range) => Some(bounds(name, range, faults)?),
        None => None,
    };
    Some(Meaning::Number(Number {
        kind: *kind.get_ref(),
        scale,
        unit: *unit.get_ref(),
        conversion,
        resolution,
        range,
    }))
}

/// The power of ten that results are rounded to. `own` is the scale when the device's digits are kept.
fn resolution(
    raw: &RawRegister,
    own: Option<Decimal>,
    at: &Range<usize>,
    faults: &mut Faults<'_>,
) -> Option<i8> {
    let name = &raw.name;
    match (own, &raw.resolution) {
        (Some(scale), None) => Some(scale.exponent()),
        (Some(_), Some(text)) => {
            faults.add(
                &text.span(),
                format!("{name}: whole numbers keep their own resolution"),
            );
            None
        }
        (None, Some(text)) => {
            let value = faults.number(text)?;
            if value.mantissa() == 1 {
                return Some(value.exponent());
            }
            faults.add(
                &text.span(),
                format!("{name}: a resolution is 1, 0.1, 0.01 and so on"),
            );
            None
        }
        (None, None) => {
            let rule = "a converted number and a float need the resolution they are rounded to";
            faults.add(at, format!("{name}: {rule}"));
            None
        }
    }
}

fn bounds(name: &str, range: &Spanned<[String; 2]>, faults: &mut Faults<'_>) -> Option<(Decimal, Decimal)> {
    let [low, high] = range.get_ref();
    match (decimal(low), decimal(high)) {
        (Ok(low), Ok(high)) if low.to_f64() < high.to_f64() => Some((low, high)),
        (Ok(_), Ok(_)) => {
            faults.add(
                &range.span(),
                format!("{name}: a range goes from the lower to the higher"),
            );
            None
        }
        (Err(error), _) | (_, Err(error)) => {
            faults.add(&range.span(), format!("{name}: {error}"));
            None
        }
    }
}

/// The states that a kind can have.
const fn states(kind: Kind) -> &'static [State] {
    match kind {
        Kind::Door => &[State::Closed, State::Open],
        Kind::Occupancy => &[State::Occupied, State::Unoccupied],
        Kind::BatteryCondition => &[State::Good, State::Weak, State::Replace, State::Depleted],
        Kind::BatteryActivity => &[
            State::Floating,
            State::Charging,
            State::Resting,
            State::Discharging,
        ],
        Kind::Running => &[State::On, State::Off],
        _ => &[],
    }
}
