//! Values of Bluetooth health sensors: the octets of a characteristic to samples.
//!
//! Pure functions over octets: no clock, no unit guessed, every status bit kept. A value that is too short gives an
//! error and nothing partial; what is longer or sets unknown flags is decoded as far as it is known, and marked.
//!
//! # Design
//! A decoder reads the value into a struct of its own ([`Fields`]), and only then asks what of it is a patient's
//! value: so a capture can be shown as it was sent, also where nothing of it may be used. The layouts come from
//! the services' specifications of the Bluetooth SIG, the numbers from IEEE 11073-20601.

mod battery;
mod blood_pressure;
mod body_composition;
mod bytes;
mod cgm;
mod code;
mod current_time;
mod date_time;
mod device_information;
mod features;
mod field;
mod glucose;
mod glucose_context;
mod heart_rate;
mod number;
mod pulse_oximeter;
pub mod racp;
mod range;
mod thermometer;
mod value;
mod weight_scale;

pub use battery::{Battery, BatteryStatus};
pub use blood_pressure::{BloodPressure, BloodPressureFeature, CuffPressure};
pub use body_composition::BodyComposition;
pub use cgm::{CgmFeature, CgmStatus, GlucoseRecord, SessionRunTime, SessionStart};
pub use current_time::CurrentTime;
pub use date_time::{DateTime, DeviceClock, WallClock};
pub use device_information::{DeviceText, PnpId, SystemId};
pub use features::{BodyCompositionFeature, GlucoseFeature, WeightScaleFeature};
pub use field::{Field, Said};
pub use glucose::{Concentration, Fluid, Glucose, GlucoseUnit, Place};
pub use glucose_context::{GlucoseContext, Medication};
pub use heart_rate::HeartRate;
pub use number::Number;
pub use pulse_oximeter::{Condition, Continuous, Pair, SpotCheck};
pub use range::plausible;
pub use thermometer::{IntermediateTemperature, Site, Temperature, TemperatureType};
pub use weight_scale::{System, Weight};

use homeward_protocol::reading::Mark;

use crate::sample::Sample;
use bytes::Bytes;

/// Most octets that an attribute can hold. Source: Bluetooth Core, Vol 3, Part F, 3.2.9.
pub const MAX_VALUE: usize = 512;

/// What one value, or one record of it, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The values, in the units of their kinds; none for characteristics that measure nothing of a person.
    pub samples: Vec<Sample>,
    /// The device's own time.
    pub clock: DeviceClock,
    /// What tells this record from the device's others, when the device keeps records.
    pub record: Option<RecordKey>,
    /// All of it, as it was sent.
    pub fields: Fields,
    /// Whether flags were set that the definition does not know.
    pub reserved: bool,
    /// Octets behind what the definition knows.
    pub trailing: Vec<u8>,
}

/// What tells one stored record of a device from another.
///
/// The number alone does not: it starts anew with a battery change. A record is the same when its bond, this key
/// and its octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey {
    /// Sequence number (glucose), or minutes since the session began (CGM).
    pub sequence: u16,
    /// The device's time at which its numbering began; none in a glucose context, which belongs to the measurement
    /// of its number, and in a CGM record.
    pub base: Option<DateTime>,
}

/// A decoded value, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// 2A19.
    Battery(Battery),
    /// 2BED.
    BatteryStatus(BatteryStatus),
    /// 2A35.
    BloodPressure(BloodPressure),
    /// 2A36.
    CuffPressure(CuffPressure),
    /// 2A49.
    BloodPressureFeature(BloodPressureFeature),
    /// 2A9C.
    BodyComposition(BodyComposition),
    /// 2AA8.
    CgmFeature(CgmFeature),
    /// 2AA9.
    CgmStatus(CgmStatus),
    /// 2AAA.
    SessionStart(SessionStart),
    /// 2AAB.
    SessionRunTime(SessionRunTime),
    /// 2AA7.
    GlucoseRecord(GlucoseRecord),
    /// 2A2B.
    CurrentTime(CurrentTime),
    /// 2A24 to 2A29.
    DeviceText(DeviceText),
    /// 2A23.
    SystemId(SystemId),
    /// 2A50.
    PnpId(PnpId),
    /// 2A18.
    Glucose(Glucose),
    /// 2A34.
    GlucoseContext(GlucoseContext),
    /// 2A37.
    HeartRate(HeartRate),
    /// 2A5E.
    SpotCheck(SpotCheck),
    /// 2A5F.
    Continuous(Continuous),
    /// 2A52.
    Racp(racp::Answer),
    /// 2A1C.
    Temperature(Temperature),
    /// 2A1E.
    IntermediateTemperature(IntermediateTemperature),
    /// 2A1D.
    TemperatureType(TemperatureType),
    /// 2A9D.
    Weight(Weight),
    /// 2A51.
    GlucoseFeature(GlucoseFeature),
    /// 2A9E.
    WeightScaleFeature(WeightScaleFeature),
    /// 2A9B.
    BodyCompositionFeature(BodyCompositionFeature),
}

/// Why a value could not be decoded. Nothing of it may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No decoder: the value belongs in quarantine, it is never read as a vital sign.
    #[error("characteristic {0:04X} is not one that is known here")]
    Unknown(u16),
    /// The value ends before a field that it announces.
    #[error("the value ends {missing} octets before the end of {field}")]
    Short {
        /// Which field.
        field: &'static str,
        /// How many octets are missing.
        missing: usize,
    },
    /// More octets than an attribute can hold.
    #[error("the value has {0} octets, an attribute holds at most {MAX_VALUE}")]
    Long(usize),
    /// A checksum does not fit: the value was damaged on its way.
    #[error("the checksum is {told:04X}, the octets give {computed:04X}")]
    Checksum {
        /// As it was sent.
        told: u16,
        /// Over the octets before it.
        computed: u16,
    },
    /// A field says what its definition does not allow.
    #[error("{field} {fault}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// Decodes one value of the characteristic with the 16-bit number `characteristic`.
///
/// Gives one [`Measured`], or several in the order sent where a value packs several records (CGM). Fails for a
/// characteristic without a decoder, and for a value that is not whole; never panics.
pub fn decode(characteristic: u16, value: &[u8]) -> Result<Vec<Measured>, DecodeError> {
    if value.len() > MAX_VALUE {
        return Err(DecodeError::Long(value.len()));
    }
    match characteristic {
        0x2a18 => one(value, Fields::Glucose),
        0x2a19 => one(value, Fields::Battery),
        0x2a1c => one(value, Fields::Temperature),
        0x2a1d => one(value, Fields::TemperatureType),
        0x2a1e => one(value, Fields::IntermediateTemperature),
        0x2a23 => one(value, Fields::SystemId),
        0x2a24..=0x2a29 => one(value, Fields::DeviceText),
        0x2a2b => one(value, Fields::CurrentTime),
        0x2a34 => one(value, Fields::GlucoseContext),
        0x2a35 => one(value, Fields::BloodPressure),
        0x2a36 => one(value, Fields::CuffPressure),
        0x2a37 => one(value, Fields::HeartRate),
        0x2a49 => one(value, Fields::BloodPressureFeature),
        0x2a50 => one(value, Fields::PnpId),
        0x2a51 => one(value, Fields::GlucoseFeature),
        0x2a52 => one(value, Fields::Racp),
        0x2a5e => one(value, Fields::SpotCheck),
        0x2a5f => one(value, Fields::Continuous),
        0x2a9b => one(value, Fields::BodyCompositionFeature),
        0x2a9c => one(value, Fields::BodyComposition),
        0x2a9d => one(value, Fields::Weight),
        0x2a9e => one(value, Fields::WeightScaleFeature),
        0x2aa7 => cgm::records(value),
        0x2aa8 => cgm::feature(value),
        0x2aa9 => cgm::perhaps_checked(value, Fields::CgmStatus),
        0x2aaa => cgm::perhaps_checked(value, Fields::SessionStart),
        0x2aab => cgm::perhaps_checked(value, Fields::SessionRunTime),
        0x2bed => one(value, Fields::BatteryStatus),
        other => Err(DecodeError::Unknown(other)),
    }
}

/// What a decoder of one characteristic does.
trait Characteristic: Sized {
    /// Reads the fields from the front; what is left is the caller's.
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError>;

    /// What of it is a person's value.
    fn samples(&self) -> Vec<Sample> {
        Vec::new()
    }

    /// The device's own time.
    fn clock(&self) -> DeviceClock {
        DeviceClock::NotTold
    }

    /// What tells it from the device's other records.
    fn record(&self) -> Option<RecordKey> {
        None
    }

    /// All of it, in the order sent.
    fn fields(&self) -> Vec<Field>;
}

fn one<C: Characteristic>(value: &[u8], wrap: fn(C) -> Fields) -> Result<Vec<Measured>, DecodeError> {
    let mut bytes = Bytes::new(value);
    let read = C::read(&mut bytes)?;
    Ok(vec![measured(read, &bytes, wrap)])
}

/// Puts together what was read, and marks it when there was more than is known.
fn measured<C: Characteristic>(read: C, bytes: &Bytes<'_>, wrap: fn(C) -> Fields) -> Measured {
    let mut samples = read.samples();
    let extra = bytes.reserved() || !bytes.rest().is_empty();
    let clock = read.clock();
    for sample in &mut samples {
        if clock == DeviceClock::Unset {
            mark(sample, Mark::SensorClockUnset);
        }
        if extra {
            mark(sample, Mark::ExtraData);
        }
    }
    Measured {
        samples,
        clock,
        record: read.record(),
        reserved: bytes.reserved(),
        trailing: bytes.rest().to_vec(),
        fields: wrap(read),
    }
}

fn mark(sample: &mut Sample, mark: Mark) {
    if let Err(at) = sample.marks.binary_search(&mark) {
        sample.marks.insert(at, mark);
    }
}

/// Which of a device's users a value belongs to.
fn user_field(user: u8) -> Field {
    match user {
        u8::MAX => Field::text("user", "nobody known"),
        known => Field::count("user", known),
    }
}

/// The name of a characteristic that [`decode`] knows, by the Bluetooth SIG's list of numbers.
pub const fn name(characteristic: u16) -> Option<&'static str> {
    Some(match characteristic {
        0x2a18 => "Glucose Measurement",
        0x2a19 => "Battery Level",
        0x2a1c => "Temperature Measurement",
        0x2a1d => "Temperature Type",
        0x2a1e => "Intermediate Temperature",
        0x2a23 => "System ID",
        0x2a24 => "Model Number String",
        0x2a25 => "Serial Number String",
        0x2a26 => "Firmware Revision String",
        0x2a27 => "Hardware Revision String",
        0x2a28 => "Software Revision String",
        0x2a29 => "Manufacturer Name String",
        0x2a2b => "Current Time",
        0x2a34 => "Glucose Measurement Context",
        0x2a35 => "Blood Pressure Measurement",
        0x2a36 => "Intermediate Cuff Pressure",
        0x2a37 => "Heart Rate Measurement",
        0x2a49 => "Blood Pressure Feature",
        0x2a50 => "PnP ID",
        0x2a51 => "Glucose Feature",
        0x2a52 => "Record Access Control Point",
        0x2a5e => "PLX Spot-Check Measurement",
        0x2a5f => "PLX Continuous Measurement",
        0x2a9b => "Body Composition Feature",
        0x2a9c => "Body Composition Measurement",
        0x2a9d => "Weight Measurement",
        0x2a9e => "Weight Scale Feature",
        0x2aa7 => "CGM Measurement",
        0x2aa8 => "CGM Feature",
        0x2aa9 => "CGM Status",
        0x2aaa => "CGM Session Start Time",
        0x2aab => "CGM Session Run Time",
        0x2bed => "Battery Level Status",
        _ => return None,
    })
}

impl Fields {
    /// Field by field, in the order sent, those that are present.
    pub fn list(&self) -> Vec<Field> {
        match self {
            Fields::Battery(read) => read.fields(),
            Fields::BatteryStatus(read) => read.fields(),
            Fields::BloodPressure(read) => read.fields(),
            Fields::CuffPressure(read) => read.fields(),
            Fields::BloodPressureFeature(read) => read.fields(),
            Fields::BodyComposition(read) => read.fields(),
            Fields::CgmFeature(read) => read.fields(),
            Fields::CgmStatus(read) => read.fields(),
            Fields::SessionStart(read) => read.fields(),
            Fields::SessionRunTime(read) => read.fields(),
            Fields::GlucoseRecord(read) => read.fields(),
            Fields::CurrentTime(read) => read.fields(),
            Fields::DeviceText(read) => read.fields(),
            Fields::SystemId(read) => read.fields(),
            Fields::PnpId(read) => read.fields(),
            Fields::Glucose(read) => read.fields(),
            Fields::GlucoseContext(read) => read.fields(),
            Fields::HeartRate(read) => read.fields(),
            Fields::SpotCheck(read) => read.fields(),
            Fields::Continuous(read) => read.fields(),
            Fields::Racp(read) => read.fields(),
            Fields::Temperature(read) => read.fields(),
            Fields::IntermediateTemperature(read) => read.fields(),
            Fields::TemperatureType(read) => read.fields(),
            Fields::Weight(read) => read.fields(),
            Fields::GlucoseFeature(read) => read.fields(),
            Fields::WeightScaleFeature(read) => read.fields(),
            Fields::BodyCompositionFeature(read) => read.fields(),
        }
    }
}
