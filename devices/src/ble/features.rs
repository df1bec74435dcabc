//! What a device can do, read once: Glucose Feature (2A51), Weight Scale Feature (2A9E), Body Composition Feature
//! (2A9B).
//!
//! A status flag that a device cannot set is no proof when it is absent.

use super::bytes::Bytes;
use super::field::Field;
use super::{Characteristic, DecodeError};

/// What a glucose meter can notice. Source: Glucose Service 1.0.1, section 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlucoseFeature(pub u16);

/// What a weight scale can do. Source: Weight Scale Service 1.0.1, section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightScaleFeature(pub u32);

/// What a body composition analyser can do. Source: Body Composition Service 1.0, section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyCompositionFeature(pub u32);

const GLUCOSE: [(u32, &str); 11] = [
    (0, "detects a low battery"),
    (1, "detects a sensor malfunction"),
    (2, "detects the size of the sample"),
    (3, "detects a strip inserted wrongly"),
    (4, "detects a wrong strip"),
    (5, "detects results beyond its range"),
    (6, "detects its temperature"),
    (7, "detects an interrupted reading"),
    (8, "general fault"),
    (9, "time fault"),
    (10, "several bonds"),
];
const GLUCOSE_RESERVED: u16 = 0xf800;

const WEIGHT: [(u32, &str); 3] = [(0, "time"), (1, "several users"), (2, "body mass index")];
const WEIGHT_RESERVED: u32 = 0xffff_fc00;
/// From which bit on the steps of weight, then of height, are said.
const WEIGHT_STEPS: (u32, u32) = (3, 7);

const COMPOSITION: [(u32, &str); 11] = [
    (0, "time"),
    (1, "several users"),
    (2, "basal metabolism"),
    (3, "muscle percentage"),
    (4, "muscle mass"),
    (5, "fat-free mass"),
    (6, "soft lean mass"),
    (7, "body water mass"),
    (8, "impedance"),
    (9, "weight"),
    (10, "height"),
];
const COMPOSITION_RESERVED: u32 = 0xfffc_0000;
const COMPOSITION_STEPS: (u32, u32) = (11, 15);

/// The steps in which a mass is sent, by the four bits that say it.
fn mass_step(code: u32) -> &'static str {
    match code {
        0 => "not said",
        1 => "0.5 kg or 1 lb",
        2 => "0.2 kg or 0.5 lb",
        3 => "0.1 kg or 0.2 lb",
        4 => "0.05 kg or 0.1 lb",
        5 => "0.02 kg or 0.05 lb",
        6 => "0.01 kg or 0.02 lb",
        7 => "0.005 kg or 0.01 lb",
        _ => "reserved",
    }
}

/// The steps in which a height is sent, by the three bits that say it.
fn height_step(code: u32) -> &'static str {
    match code {
        0 => "not said",
        1 => "0.01 m or 1 in",
        2 => "0.005 m or 0.5 in",
        3 => "0.001 m or 0.1 in",
        _ => "reserved",
    }
}

/// The features by name, then the steps, whose bits begin at `steps`.
fn with_steps(word: u32, names: &[(u32, &str)], (mass, height): (u32, u32)) -> Vec<Field> {
    let features = word & !(u32::MAX << mass);
    vec![
        Field::flags("feature", features, names),
        Field::text("mass_step", mass_step(word >> mass & 0xf)),
        Field::text("height_step", height_step(word >> height & 0x7)),
    ]
}

impl Characteristic for GlucoseFeature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let word = bytes.u16("feature")?;
        bytes.note_reserved(u32::from(word & GLUCOSE_RESERVED));
        Ok(GlucoseFeature(word))
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::flags("feature", u32::from(self.0), &GLUCOSE)]
    }
}

impl Characteristic for WeightScaleFeature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let word = bytes.u32("feature")?;
        bytes.note_reserved(word & WEIGHT_RESERVED);
        Ok(WeightScaleFeature(word))
    }

    fn fields(&self) -> Vec<Field> {
        with_steps(self.0, &WEIGHT, WEIGHT_STEPS)
    }
}

impl Characteristic for BodyCompositionFeature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let word = bytes.u32("feature")?;
        bytes.note_reserved(word & COMPOSITION_RESERVED);
        Ok(BodyCompositionFeature(word))
    }

    fn fields(&self) -> Vec<Field> {
        with_steps(self.0, &COMPOSITION, COMPOSITION_STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Measured, Said, decode};

    fn told(characteristic: u16, value: &[u8]) -> (Measured, Vec<String>) {
        let one = decode(characteristic, value).expect("decodes").remove(0);
        let words = one.fields.list().into_iter().map(|field| match field.said {
            Said::Text(text) => text,
            Said::Flags(set) => set.join(", "),
            other => panic!("{other:?}"),
        });
        let words = words.collect();
        (one, words)
    }

    #[test]
    fn features_and_steps_are_told_by_name_and_measure_nothing() {
        let (glucose, words) = told(0x2a51, &[0x21, 0x04]);
        assert_eq!(
            words,
            ["detects a low battery, detects results beyond its range, several bonds"]
        );
        assert!(glucose.samples.is_empty() && !glucose.reserved);
        // Time, 0.005 kg, 0.001 m.
        let (_, words) = told(0x2a9e, &[0xb9, 0x01, 0, 0]);
        assert_eq!(words, ["time", "0.005 kg or 0.01 lb", "0.001 m or 0.1 in"]);
        // Impedance and height, 0.1 kg, 0.01 m.
        let (_, words) = told(0x2a9b, &[0, 0x9d, 0, 0]);
        assert_eq!(words, ["impedance, height", "0.1 kg or 0.2 lb", "0.01 m or 1 in"]);
    }

    #[test]
    fn unknown_bits_are_noted_and_a_short_value_is_refused() {
        assert!(told(0x2a51, &[0, 0x80]).0.reserved);
        assert!(told(0x2a9e, &[0, 4, 0, 0]).0.reserved);
        assert!(told(0x2a9b, &[0, 0, 4, 0]).0.reserved);
        for (characteristic, short) in [(0x2a51, 1), (0x2a9e, 3), (0x2a9b, 3)] {
            assert!(
                decode(characteristic, &vec![0; short]).is_err(),
                "{characteristic:04X}"
            );
        }
    }
}
