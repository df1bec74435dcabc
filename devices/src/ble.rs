//! Values of Bluetooth health sensors: the octets of a characteristic to samples.
//!
//! Pure functions over octets: no clock, no unit guessed, every status bit kept. A value that is too short gives an
//! error and nothing partial; what is longer or sets unknown flags is decoded as far as it is known, and marked.
//!
//! # Design
//! A decoder reads the value into a struct of its own ([`Fields`]), and only then asks what of it is a patient's
//! value: so a capture can be shown as it was sent, also where nothing of it may be used. The layouts come from
//! the services' specifications of the Bluetooth SIG, the numbers from IEEE 11073-20601.

#[expect(dead_code, reason = "for the decoders that follow")]
mod bytes;
mod date_time;
#[expect(dead_code, reason = "for the decoders that follow")]
mod field;
mod heart_rate;
mod number;
mod range;
#[expect(dead_code, reason = "for the decoders that follow")]
mod value;

pub use date_time::{DateTime, DeviceClock, WallClock};
pub use field::{Field, Said};
pub use heart_rate::HeartRate;
pub use number::Number;
pub use range::plausible;

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
    /// 2A37.
    HeartRate(HeartRate),
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
        0x2a37 => one(value, Fields::HeartRate),
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

impl Fields {
    /// Field by field, in the order sent, those that are present.
    pub fn list(&self) -> Vec<Field> {
        match self {
            Fields::HeartRate(read) => read.fields(),
        }
    }
}
