//! Body Composition Measurement (2A9C) of service 181B.

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::weight_scale::System;
use super::{Characteristic, DecodeError, user_field};
use crate::sample::Sample;

/// A scale says by it that it could not measure.
const FAILED: u16 = u16::MAX;
const MORE_PACKETS: u32 = 12;
const RESERVED: u16 = 0xe000;

/// One body composition, as it was sent. A scale may spread it over several values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyComposition {
    /// The units of masses and height.
    pub system: System,
    /// Fat in steps of 0.1 %; 65535 is a failed measurement.
    pub fat: u16,
    /// The scale's own time.
    pub time: Option<DateTime>,
    /// Which of the scale's users; 255 is nobody known.
    pub user: Option<u8>,
    /// Basal metabolism of a day, kilojoules.
    pub basal_metabolism: Option<u16>,
    /// Muscle in steps of 0.1 %.
    pub muscle_percentage: Option<u16>,
    /// Muscle; masses are in steps of 0.005 kg or 0.01 lb.
    pub muscle: Option<u16>,
    /// Mass without fat.
    pub fat_free: Option<u16>,
    /// Soft lean mass.
    pub soft_lean: Option<u16>,
    /// Mass of water.
    pub water: Option<u16>,
    /// Impedance in steps of 0.1 ohm.
    pub impedance: Option<u16>,
    /// Weight.
    pub weight: Option<u16>,
    /// Height in steps of 0.001 m or 0.1 in.
    pub height: Option<u16>,
    /// Whether more of the same measurement follows.
    pub more_follows: bool,
}

type Told = (Kind, &'static str, Number, Unit);

impl BodyComposition {
    fn fat(&self) -> Told {
        let fat = match self.fat {
            FAILED => Number::NotANumber,
            raw => Number::scaled(raw, 1, -1),
        };
        (Kind::BodyFat, "body_fat", fat, Unit::Percent)
    }

    /// Every other number that is there, in the order sent.
    fn numbers(&self) -> Vec<Told> {
        let tenths = |kind, name, raw: Option<u16>, unit| {
            raw.map(|raw| (kind, name, Number::scaled(raw, 1, -1), unit))
        };
        let mass = |kind, name, raw: Option<u16>| {
            raw.map(|raw| {
                let (number, unit) = self.system.mass(raw);
                (kind, name, number, unit)
            })
        };
        let basal = self.basal_metabolism.map(|raw| {
            (
                Kind::BasalMetabolism,
                "basal_metabolism",
                Number::whole(raw),
                Unit::Kilojoule,
            )
        });
        let height = self.height.map(|raw| {
            let (number, unit) = self.system.height(raw);
            (Kind::BodyHeight, "height", number, unit)
        });
        let all = [
            basal,
            tenths(
                Kind::MusclePercentage,
                "muscle_percentage",
                self.muscle_percentage,
                Unit::Percent,
            ),
            mass(Kind::MuscleMass, "muscle", self.muscle),
            mass(Kind::FatFreeMass, "fat_free_mass", self.fat_free),
            mass(Kind::SoftLeanMass, "soft_lean_mass", self.soft_lean),
            mass(Kind::BodyWaterMass, "body_water", self.water),
            tenths(Kind::BodyImpedance, "impedance", self.impedance, Unit::Ohm),
            mass(Kind::BodyWeight, "weight", self.weight),
            height,
        ];
        all.into_iter().flatten().collect()
    }
}

impl Characteristic for BodyComposition {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u16("flags")?;
        let has = |bit: u32| flags >> bit & 1 == 1;
        bytes.note_reserved(u32::from(flags & RESERVED));
        Ok(BodyComposition {
            system: System::of(has(0)),
            fat: bytes.u16("body_fat")?,
            time: when(has(1), || bytes.date_time("time"))?,
            user: when(has(2), || bytes.u8("user"))?,
            basal_metabolism: when(has(3), || bytes.u16("basal_metabolism"))?,
            muscle_percentage: when(has(4), || bytes.u16("muscle_percentage"))?,
            muscle: when(has(5), || bytes.u16("muscle"))?,
            fat_free: when(has(6), || bytes.u16("fat_free_mass"))?,
            soft_lean: when(has(7), || bytes.u16("soft_lean_mass"))?,
            water: when(has(8), || bytes.u16("body_water"))?,
            impedance: when(has(9), || bytes.u16("impedance"))?,
            weight: when(has(10), || bytes.u16("weight"))?,
            height: when(has(11), || bytes.u16("height"))?,
            more_follows: has(MORE_PACKETS),
        })
    }

    /// A failed measurement voids what was computed from it, and neither weight nor height.
    fn samples(&self) -> Vec<Sample> {
        let failed = self.fat == FAILED;
        let numbers = [self.fat()].into_iter().chain(self.numbers());
        let told = numbers.map(|(kind, _, number, unit)| {
            let own = matches!(kind, Kind::BodyWeight | Kind::BodyHeight);
            let marks = Marks::default().with(failed && !own, Mark::Invalid);
            sample(kind, number, unit, &marks)
        });
        told.collect()
    }

    fn clock(&self) -> DeviceClock {
        self.time.map_or(DeviceClock::NotTold, DateTime::clock)
    }

    fn fields(&self) -> Vec<Field> {
        let field = |(_, name, number, unit): Told| Field::measure(name, number, unit);
        let time = self.time.map(|time| Field::text("time", time.to_string()));
        let who = time.into_iter().chain(self.user.map(user_field));
        let more = self.more_follows.then(|| Field::text("more", "follows"));
        let numbers = self.numbers().into_iter().map(field);
        [field(self.fat())]
            .into_iter()
            .chain(who)
            .chain(numbers)
            .chain(more)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::Value;

    fn samples(flags: u16, words: &[u16]) -> Vec<Sample> {
        let all = [flags].into_iter().chain(words.iter().copied());
        let value: Vec<u8> = all.flat_map(u16::to_le_bytes).collect();
        let got = decode(0x2a9c, &value).expect("decodes").remove(0);
        assert!(got.trailing.is_empty() && !got.reserved);
        got.samples
    }

    #[test]
    fn every_field_is_read_in_the_order_of_its_flags() {
        let got = samples(
            0x0ff8,
            &[215, 7000, 400, 6000, 12_000, 11_000, 9000, 5000, 16_000, 1750],
        );
        let shown: Vec<(Kind, String)> = got
            .iter()
            .map(|s| {
                (
                    s.kind,
                    if let Value::Number(n) = s.value {
                        n.to_string()
                    } else {
                        "none".into()
                    },
                )
            })
            .collect();
        let wanted = [
            (Kind::BodyFat, "21.5"),
            (Kind::BasalMetabolism, "7000"),
            (Kind::MusclePercentage, "40.0"),
            (Kind::MuscleMass, "30.000"),
            (Kind::FatFreeMass, "60.000"),
            (Kind::SoftLeanMass, "55.000"),
            (Kind::BodyWaterMass, "45.000"),
            (Kind::BodyImpedance, "500.0"),
            (Kind::BodyWeight, "80.000"),
            (Kind::BodyHeight, "1.750"),
        ];
        assert_eq!(shown, wanted.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn a_failed_measurement_leaves_weight_and_height() {
        let got = samples(0x0c10, &[0xffff, 400, 16_000, 1750]);
        let absent: Vec<bool> = got.iter().map(|s| s.value == Value::Absent).collect();
        assert_eq!(absent, [true, true, false, false]);
    }
}
