//! One value from one sensor at one moment.

use serde::{Deserialize, Serialize};

use crate::grade::Grade;
use crate::id::SensorId;
use crate::time::Timestamp;
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
}

impl Kind {
    /// The unit that a number of this kind is in.
    pub const fn unit(self) -> Unit {
        match self {
            Kind::RoomPressure => Unit::Pascal,
            Kind::AirTemperature | Kind::DeviceTemperature | Kind::StorageTemperature => Unit::Celsius,
            Kind::RelativeHumidity | Kind::BatteryCharge | Kind::OxygenConcentration => Unit::Percent,
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
}
