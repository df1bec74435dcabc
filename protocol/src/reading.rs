//! One value from one sensor at one moment.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::grade::{Grade, Reason};
use crate::id::SensorId;
use crate::time::{ClockTrust, Timestamp};
use crate::unit::{Decimal, Unit};

/// What was measured. Closed: a new kind is a new version of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Pressure of a room against its surroundings, pascal.
    RoomPressure,
    /// Air temperature, degrees Celsius.
    AirTemperature,
    /// Relative humidity of the air, per cent.
    RelativeHumidity,
    /// Air changes, per hour.
    AirChanges,
    /// Carbon dioxide in the air, parts per million.
    CarbonDioxide,
    /// A door: see [`State`].
    Door,
    /// Presence of a person in a room: see [`State`].
    Occupancy,
    /// Charge left in a power supply's battery, per cent.
    BatteryCharge,
    /// Voltage of a power supply's battery, volt.
    BatteryVoltage,
    /// Current of a power supply's battery, ampere.
    BatteryCurrent,
    /// Temperature inside a device, degrees Celsius.
    DeviceTemperature,
    /// Time a power supply has run on its battery, seconds.
    TimeOnBattery,
    /// Time a power supply can still run on its battery, minutes.
    TimeRemaining,
    /// How a power supply's battery is: see [`State`].
    BatteryCondition,
    /// What a power supply's battery is doing: see [`State`].
    BatteryActivity,
    /// Concentration of oxygen a device delivers, per cent.
    OxygenConcentration,
    /// Whether a device runs: see [`State`].
    Running,
    /// Temperature inside a freezer or a fridge, degrees Celsius.
    StorageTemperature,
    /// Heart rate from the heart's electricity or a chest strap, beats per minute.
    HeartRate,
    /// Pulse rate from a cuff or an oximeter, beats per minute.
    PulseRate,
    /// Systolic blood pressure, millimetres of mercury.
    SystolicPressure,
    /// Diastolic blood pressure, millimetres of mercury.
    DiastolicPressure,
    /// Mean arterial pressure, millimetres of mercury.
    MeanPressure,
    /// Pressure in the cuff while it measures, millimetres of mercury.
    CuffPressure,
    /// Temperature of the body, degrees Celsius.
    BodyTemperature,
    /// Oxygen saturation of the blood, per cent.
    OxygenSaturation,
    /// Pulse amplitude index of an oximeter, per cent.
    PulseAmplitude,
    /// Glucose in the blood, milligrams per decilitre.
    BloodGlucose,
    /// Glucose in interstitial fluid (CGM), milligrams per decilitre.
    TissueGlucose,
    /// How fast the tissue glucose changes, milligrams per decilitre and minute.
    GlucoseTrend,
    /// Glycated haemoglobin, per cent.
    GlycatedHaemoglobin,
    /// Carbohydrate eaten, grams.
    Carbohydrate,
    /// Weight of the body, kilograms.
    BodyWeight,
    /// Height of the body, metres.
    BodyHeight,
    /// Body mass index, kilograms per square metre.
    BodyMassIndex,
    /// Fat of the body, per cent.
    BodyFat,
    /// Muscle of the body, per cent.
    MusclePercentage,
    /// Muscle of the body, kilograms.
    MuscleMass,
    /// Mass of the body without fat, kilograms.
    FatFreeMass,
    /// Soft lean mass of the body, kilograms.
    SoftLeanMass,
    /// Water of the body, kilograms.
    BodyWaterMass,
    /// Impedance of the body, ohm.
    BodyImpedance,
    /// Basal metabolism of a day, kilojoules.
    BasalMetabolism,
    /// Energy expended since the last reset, kilojoules.
    EnergyExpended,
    /// Flow of the air that a detector draws past its cell, litres per minute.
    SampleFlow,
}

impl Kind {
    /// The unit that a number of this kind is in.
    pub const fn unit(self) -> Unit {
        match self {
            Kind::RoomPressure => Unit::Pascal,
            Kind::SampleFlow => Unit::LitrePerMinute,
            Kind::HeartRate | Kind::PulseRate => Unit::PerMinute,
            Kind::SystolicPressure | Kind::DiastolicPressure | Kind::MeanPressure | Kind::CuffPressure => {
                Unit::MillimetreOfMercury
            }
            Kind::BloodGlucose | Kind::TissueGlucose => Unit::MilligramPerDecilitre,
            Kind::GlucoseTrend => Unit::MilligramPerDecilitrePerMinute,
            Kind::Carbohydrate => Unit::Gram,
            Kind::BodyWeight
            | Kind::MuscleMass
            | Kind::FatFreeMass
            | Kind::SoftLeanMass
            | Kind::BodyWaterMass => Unit::Kilogram,
            Kind::BodyHeight => Unit::Metre,
            Kind::BodyMassIndex => Unit::KilogramPerSquareMetre,
            Kind::BodyImpedance => Unit::Ohm,
            Kind::BasalMetabolism | Kind::EnergyExpended => Unit::Kilojoule,
            Kind::AirTemperature
            | Kind::DeviceTemperature
            | Kind::StorageTemperature
            | Kind::BodyTemperature => Unit::Celsius,
            Kind::RelativeHumidity
            | Kind::BatteryCharge
            | Kind::OxygenConcentration
            | Kind::OxygenSaturation
            | Kind::PulseAmplitude
            | Kind::GlycatedHaemoglobin
            | Kind::BodyFat
            | Kind::MusclePercentage => Unit::Percent,
            Kind::AirChanges => Unit::PerHour,
            Kind::CarbonDioxide => Unit::PartsPerMillion,
            Kind::BatteryVoltage => Unit::Volt,
            Kind::BatteryCurrent => Unit::Ampere,
            Kind::TimeOnBattery => Unit::Second,
            Kind::TimeRemaining => Unit::Minute,
            Kind::Door | Kind::Occupancy | Kind::BatteryCondition | Kind::BatteryActivity | Kind::Running => {
                Unit::One
            }
        }
    }

    /// Plain English, for pages and terminals.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::RoomPressure => "room pressure",
            Kind::AirTemperature => "room temperature",
            Kind::RelativeHumidity => "humidity",
            Kind::AirChanges => "air changes",
            Kind::CarbonDioxide => "carbon dioxide",
            Kind::Door => "door",
            Kind::Occupancy => "occupancy",
            Kind::BatteryCharge => "battery charge",
            Kind::BatteryVoltage => "battery voltage",
            Kind::BatteryCurrent => "battery current",
            Kind::DeviceTemperature => "device temperature",
            Kind::TimeOnBattery => "time on battery",
            Kind::TimeRemaining => "time remaining",
            Kind::BatteryCondition => "battery condition",
            Kind::BatteryActivity => "battery activity",
            Kind::OxygenConcentration => "oxygen",
            Kind::Running => "running",
            Kind::StorageTemperature => "storage temperature",
            Kind::HeartRate => "heart rate",
            Kind::PulseRate => "pulse",
            Kind::SystolicPressure => "systolic pressure",
            Kind::DiastolicPressure => "diastolic pressure",
            Kind::MeanPressure => "mean pressure",
            Kind::CuffPressure => "cuff pressure",
            Kind::BodyTemperature => "body temperature",
            Kind::OxygenSaturation => "oxygen saturation",
            Kind::PulseAmplitude => "pulse amplitude",
            Kind::BloodGlucose => "blood glucose",
            Kind::TissueGlucose => "tissue glucose",
            Kind::GlucoseTrend => "glucose trend",
            Kind::GlycatedHaemoglobin => "HbA1c",
            Kind::Carbohydrate => "carbohydrate",
            Kind::BodyWeight => "weight",
            Kind::BodyHeight => "height",
            Kind::BodyMassIndex => "body mass index",
            Kind::BodyFat => "body fat",
            Kind::MusclePercentage => "muscle",
            Kind::MuscleMass => "muscle mass",
            Kind::FatFreeMass => "fat-free mass",
            Kind::SoftLeanMass => "soft lean mass",
            Kind::BodyWaterMass => "body water",
            Kind::BodyImpedance => "body impedance",
            Kind::BasalMetabolism => "basal metabolism",
            Kind::EnergyExpended => "energy expended",
            Kind::SampleFlow => "sample flow",
        }
    }
}

/// A named state, for the kinds that are not numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Door closed.
    Closed,
    /// Door open.
    Open,
    /// Somebody is there.
    Occupied,
    /// Nobody is there.
    Unoccupied,
    /// In order.
    Good,
    /// Weak or low: will need attention.
    Weak,
    /// To be replaced.
    Replace,
    /// Empty.
    Depleted,
    /// Full and kept full.
    Floating,
    /// Taking charge.
    Charging,
    /// Neither taking nor giving charge.
    Resting,
    /// Giving charge: the mains are away.
    Discharging,
    /// Switched on and running.
    On,
    /// Switched off or standing.
    Off,
}

impl State {
    /// Plain English, for pages and terminals.
    pub const fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::Occupied => "occupied",
            State::Unoccupied => "unoccupied",
            State::Good => "good",
            State::Weak => "weak",
            State::Replace => "to be replaced",
            State::Depleted => "empty",
            State::Floating => "full",
            State::Charging => "charging",
            State::Resting => "resting",
            State::Discharging => "running on battery",
            State::On => "on",
            State::Off => "off",
        }
    }
}

/// What the device gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A number in the unit of its [`Kind`].
    Number(Decimal),
    /// A named state.
    State(State),
    /// The device answered, and said that it has no value here (a sentinel such as NaN).
    Absent,
}

/// What is known of the value beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Nothing against it.
    Good,
    /// Outside the range its profile gives; kept and labelled, never dropped.
    OutOfRange,
    /// Not a code its profile knows, or the device marks it itself as doubtful.
    Doubtful,
}

/// One value from one sensor at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Which sensor, as this gateway knows it.
    pub sensor: SensorId,
    /// What was measured.
    pub kind: Kind,
    /// What the device gave.
    pub value: Value,
    /// When the gateway took it.
    pub taken_at: Timestamp,
    /// What is known of it beside itself.
    pub quality: Quality,
    /// How sure we are of its device.
    pub grade: Grade,
    /// What else is known of it. Not on the wire when there is nothing.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

impl Reading {
    /// The highest grade that what stands in the reading itself leaves: its reasons, and its clock. A greater
    /// [`Reading::grade`] contradicts itself and is not to be believed.
    pub fn highest_grade(&self) -> Grade {
        let by_clock = match self.taken_at.trust {
            ClockTrust::Synced => Grade::Verified,
            ClockTrust::Unsynced | ClockTrust::Floor => Reason::ClockUntrusted.ceiling(),
        };
        Grade::beside(&self.details.reasons).min(by_clock)
    }
}

/// What else is known of a reading.
///
/// Both lists travel in their order and each thing once, whatever order they are given in; a list that does not is
/// refused when it is read. So neither can grow beyond the number of things there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Details {
    /// What keeps it from a higher grade, in the order of [`Reason`], each once.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "in_order",
        deserialize_with = "ordered"
    )]
    pub reasons: Vec<Reason>,
    /// What the device says of the value, in the order of [`Mark`], each once.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "in_order",
        deserialize_with = "ordered"
    )]
    pub marks: Vec<Mark>,
    /// The device's own time, when it told one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_clock: Option<SensorClock>,
    /// What the device sent, when its unit was converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
}

impl Details {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Details::default()
    }
}

fn in_order<T: Ord + Clone + Serialize, S: Serializer>(list: &Vec<T>, to: S) -> Result<S::Ok, S::Error> {
    if list.is_sorted_by(|a, b| a < b) {
        return list.serialize(to);
    }
    let mut list = list.clone();
    list.sort_unstable();
    list.dedup();
    list.serialize(to)
}

fn ordered<'de, T: Ord + DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<T>::deserialize(from)?;
    if list.is_sorted_by(|a, b| a < b) {
        Ok(list)
    } else {
        Err(serde::de::Error::custom(
            "reasons and marks stand in their order, each once",
        ))
    }
}

/// A number before its conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// The device's digits.
    pub value: Decimal,
    /// The device's unit.
    pub unit: Unit,
}

/// A device's own time of a value.
///
/// A value is never dropped for it: the gateway's time stands in [`Reading::taken_at`], this beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorClock {
    /// What the device's clock said, read as if it were UTC: milliseconds since 1970.
    pub at_ms: i64,
    /// How far that clock was ahead of the gateway's when both were seen together, milliseconds; none when they
    /// never were in that connection.
    pub ahead_ms: Option<i64>,
}

/// What a device says of one of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Measured earlier and kept by the device.
    FromStorage,
    /// Its time comes from the device's clock alone.
    BySensorClock,
    /// The device's clock is not set, or had a fault.
    SensorClockUnset,
    /// An estimate before the measurement settled.
    EarlyEstimate,
    /// The measurement is still going on.
    Ongoing,
    /// The device calls it questionable.
    Questionable,
    /// The device calls it invalid, or it says that it could not measure. There is no value.
    Invalid,
    /// A demonstration, a test or a calibration. There is no value.
    NotAPatient,
    /// A control solution. There is no value.
    ControlSolution,
    /// The body moved.
    Moved,
    /// The cuff was too loose, or in a wrong place.
    CuffPosition,
    /// The pulse was irregular.
    IrregularPulse,
    /// Above or below what the device can measure.
    BeyondDevice,
    /// No or bad contact, a weak signal, low perfusion.
    PoorSignal,
    /// The sensor is off the body, displaced or disconnected.
    OffBody,
    /// The sample or the strip was not right.
    SampleFault,
    /// Too hot or too cold for the device.
    TemperatureFault,
    /// The device reports a malfunction.
    DeviceFault,
    /// The device's battery is low.
    LowBattery,
    /// The value carried octets or flags that its definition does not know.
    ExtraData,
}

impl Mark {
    /// All of them, in their order.
    pub const ALL: [Mark; 20] = [
        Mark::FromStorage,
        Mark::BySensorClock,
        Mark::SensorClockUnset,
        Mark::EarlyEstimate,
        Mark::Ongoing,
        Mark::Questionable,
        Mark::Invalid,
        Mark::NotAPatient,
        Mark::ControlSolution,
        Mark::Moved,
        Mark::CuffPosition,
        Mark::IrregularPulse,
        Mark::BeyondDevice,
        Mark::PoorSignal,
        Mark::OffBody,
        Mark::SampleFault,
        Mark::TemperatureFault,
        Mark::DeviceFault,
        Mark::LowBattery,
        Mark::ExtraData,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn lists_travel_in_order_and_each_thing_once() {
        let given = Details {
            reasons: vec![Reason::ClockUntrusted, Reason::NoIdentity, Reason::ClockUntrusted],
            marks: vec![Mark::LowBattery, Mark::Moved],
            ..Details::default()
        };
        let bytes = wire::encode(&given, 1024).expect("encodes");
        let back: Details = wire::decode(&bytes, 1024).expect("decodes");
        assert_eq!(back.reasons, [Reason::NoIdentity, Reason::ClockUntrusted]);
        assert_eq!(back.marks, [Mark::Moved, Mark::LowBattery]);
        for bad in [
            r#"{"marks":["moved","moved"]}"#,
            r#"{"reasons":["clock-untrusted","no-identity"]}"#,
        ] {
            assert!(serde_json::from_str::<Details>(bad).is_err(), "{bad}");
        }
        assert!(Mark::ALL.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn no_reading_stands_above_its_own_reasons_or_its_own_clock() {
        let mut reading = Reading {
            sensor: "cuff".parse().expect("an id"),
            kind: Kind::SystolicPressure,
            value: Value::Absent,
            taken_at: Timestamp::synced(1),
            quality: Quality::Good,
            grade: Grade::Verified,
            details: Details::default(),
        };
        assert_eq!(reading.highest_grade(), Grade::Verified);
        reading.taken_at.trust = ClockTrust::Unsynced;
        assert_eq!(reading.highest_grade(), Grade::Associated);
        reading.details.reasons = vec![Reason::BondChanged];
        assert_eq!(reading.highest_grade(), Grade::Unverified);
    }
}
