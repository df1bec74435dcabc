//! Continuous glucose (service 181F): measurement (2AA7), feature (2AA8), status (2AA9), start (2AAA) and run
//! time (2AAB) of a session.

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::glucose::{Fluid, Place, fluid_and_place};
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError, Fields, Measured, RecordKey, measured};
use crate::sample::Sample;

/// Size, flags, concentration and time offset: what every record has.
const LEAST_RECORD: usize = 6;
const CRC_SUPPORTED: u32 = 12;
/// Stands where a checksum would, in the feature of a sensor without checksums.
const NO_CRC: u16 = 0xffff;
const UNKNOWN_ZONE: i8 = -128;

const STATUS_MARKS: [(u32, Mark); 4] = [
    (1, Mark::LowBattery),
    (2, Mark::Questionable),
    (3, Mark::DeviceFault),
    (5, Mark::DeviceFault),
];
const CALIBRATION_MARKS: [(u32, Mark); 4] = [
    (1, Mark::Questionable),
    (3, Mark::Questionable),
    (4, Mark::TemperatureFault),
    (5, Mark::TemperatureFault),
];
const WARNING_MARKS: [(u32, Mark); 2] = [(6, Mark::BeyondDevice), (7, Mark::BeyondDevice)];

/// Names of all 24 bits, the status octet lowest, then calibration and temperature, then warnings.
const STATUS_NAMES: [(u32, &str); 21] = [
    (0, "session stopped"),
    (1, "battery low"),
    (2, "wrong sensor type"),
    (3, "sensor malfunction"),
    (4, "device-specific alert"),
    (5, "general fault"),
    (8, "time to be set"),
    (9, "calibration not allowed"),
    (10, "calibration recommended"),
    (11, "calibration required"),
    (12, "sensor too hot"),
    (13, "sensor too cold"),
    (14, "calibration pending"),
    (16, "below the patient's low level"),
    (17, "above the patient's high level"),
    (18, "below the hypo level"),
    (19, "above the hyper level"),
    (20, "falls too fast"),
    (21, "rises too fast"),
    (22, "below what the device can measure"),
    (23, "above what the device can measure"),
];

/// One record of a CGM measurement, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlucoseRecord {
    /// Glucose in milligrams per decilitre.
    pub concentration: Number,
    /// Minutes since the session began.
    pub minutes: u16,
    /// Status octet.
    pub status: Option<u8>,
    /// Calibration and temperature octet.
    pub calibration: Option<u8>,
    /// Warning octet.
    pub warning: Option<u8>,
    /// Milligrams per decilitre and minute.
    pub trend: Option<Number>,
    /// How good the sensor thinks it is, per cent.
    pub quality: Option<Number>,
    /// Whether it ended in a checksum, which was right.
    pub checked: bool,
}

/// What a CGM sensor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgmFeature {
    /// Feature bits (24).
    pub features: u32,
    /// Which fluid.
    pub fluid: Fluid,
    /// Where.
    pub place: Place,
}

/// How a CGM session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgmStatus {
    /// Minutes since the session began.
    pub minutes: u16,
    /// Status, calibration and temperature, and warning octets; the first is the lowest.
    pub status: u32,
}

/// When a CGM session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionStart {
    /// Local time.
    pub time: DateTime,
    /// Zone in quarters of an hour from UTC; -128 is unknown.
    pub zone: i8,
    /// Daylight saving in quarters of an hour; 255 is unknown.
    pub daylight_saving: u8,
}

/// How long a sensor is made to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRunTime {
    /// Hours from its start on.
    pub hours: u16,
}

impl CgmStatus {
    /// Whether the session has ended: what comes now is not a measurement.
    pub const fn stopped(self) -> bool {
        self.status & 1 == 1
    }
}

impl SessionStart {
    /// The start in milliseconds since 1970 by the sensor's clock, in UTC; none when a part of it is unknown, or a
    /// zone or a daylight saving that no place has.
    pub fn utc_ms(self) -> Option<i64> {
        let known = (-48..=56).contains(&self.zone) && matches!(self.daylight_saving, 0 | 2 | 4 | 8);
        let quarters = i64::from(self.zone) + i64::from(self.daylight_saving);
        let local = self.time.wall_clock().filter(|_| known)?;
        Some(local.at_ms() - quarters * 15 * 60_000)
    }
}

/// Decodes a value of 2AA7: one or more whole records.
pub(super) fn records(value: &[u8]) -> Result<Vec<Measured>, DecodeError> {
    let mut rest = value;
    let mut all = Vec::new();
    loop {
        let (record, after) = split(rest)?;
        all.push(one_record(record)?);
        if after.is_empty() {
            return Ok(all);
        }
        rest = after;
    }
}

/// The first record, and what follows it. A record's first octet is its size, which counts itself.
fn split(value: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let size = usize::from(Bytes::new(value).u8("size")?);
    if size < LEAST_RECORD {
        return Err(DecodeError::Malformed {
            field: "size",
            fault: "is smaller than a record can be",
        });
    }
    let short = || DecodeError::Short {
        field: "record",
        missing: size - value.len(),
    };
    value.split_at_checked(size).ok_or_else(short)
}

/// The size tells whether a checksum is there: two octets more than the flags announce.
fn one_record(record: &[u8]) -> Result<Measured, DecodeError> {
    let mut bytes = Bytes::new(record);
    let mut read = GlucoseRecord::read(&mut bytes)?;
    if bytes.rest().len() == 2 {
        check(record, &mut bytes)?;
        read.checked = true;
    }
    Ok(measured(read, &bytes, Fields::GlucoseRecord))
}

impl GlucoseRecord {
    /// Whether the session has ended.
    pub const fn stopped(&self) -> bool {
        matches!(self.status, Some(status) if status & 1 == 1)
    }

    fn octets(&self) -> [u8; 3] {
        [self.status, self.calibration, self.warning].map(|octet| octet.unwrap_or(0))
    }

    fn marks(&self) -> Marks {
        let [status, calibration, warning] = self.octets();
        let mut marks = Marks::of(u32::from(status), &STATUS_MARKS);
        marks.add_all(&Marks::of(u32::from(calibration), &CALIBRATION_MARKS));
        marks.add_all(&Marks::of(u32::from(warning), &WARNING_MARKS));
        // A session that was stopped measures nothing.
        marks.add_if(status & 1 == 1, Mark::Invalid);
        marks
    }

    fn announced(&self) -> u32 {
        let [status, calibration, warning] = self.octets();
        u32::from_le_bytes([status, calibration, warning, 0])
    }
}

impl Characteristic for GlucoseRecord {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        bytes.u8("size")?;
        let flags = bytes.u8("flags")?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        bytes.note_reserved(u32::from(flags & 0x1c));
        let read = GlucoseRecord {
            concentration: bytes.sfloat("concentration")?,
            minutes: bytes.u16("minutes")?,
            status: when(has(7), || bytes.u8("status"))?,
            calibration: when(has(6), || bytes.u8("calibration"))?,
            warning: when(has(5), || bytes.u8("warning"))?,
            trend: when(has(0), || bytes.sfloat("trend"))?,
            quality: when(has(1), || bytes.sfloat("quality"))?,
            checked: false,
        };
        bytes.note_reserved(read.announced() & 0x0000_80c0);
        Ok(read)
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = self.marks();
        let unit = Unit::MilligramPerDecilitre;
        let glucose = sample(Kind::TissueGlucose, self.concentration, unit, &marks);
        let trend = self.trend.map(|number| {
            sample(
                Kind::GlucoseTrend,
                number,
                Unit::MilligramPerDecilitrePerMinute,
                &marks,
            )
        });
        [glucose].into_iter().chain(trend).collect()
    }

    fn clock(&self) -> DeviceClock {
        DeviceClock::SinceStart {
            minutes: self.minutes,
        }
    }

    fn record(&self) -> Option<RecordKey> {
        Some(RecordKey {
            sequence: self.minutes,
            base: None,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let fixed = [
            Field::measure("glucose", self.concentration, Unit::MilligramPerDecilitre),
            Field::measure("since_start", Number::whole(self.minutes), Unit::Minute),
        ];
        let told = self.status.or(self.calibration).or(self.warning);
        let status = told.map(|_| status_field(self.announced()));
        let trend_unit = Unit::MilligramPerDecilitrePerMinute;
        let trend = self
            .trend
            .map(|number| Field::measure("trend", number, trend_unit));
        let quality = self
            .quality
            .map(|number| Field::measure("quality", number, Unit::Percent));
        let checked = self.checked.then(|| Field::text("checksum", "right"));
        let more = status.into_iter().chain(trend).chain(quality).chain(checked);
        fixed.into_iter().chain(more).collect()
    }
}

fn status_field(word: u32) -> Field {
    Field::flags("status", word, &STATUS_NAMES)
}

/// Decodes a value of 2AA8, whose checksum octets are always there.
pub(super) fn feature(value: &[u8]) -> Result<Vec<Measured>, DecodeError> {
    let mut bytes = Bytes::new(value);
    let read = CgmFeature::read(&mut bytes)?;
    if read.features >> CRC_SUPPORTED & 1 == 1 {
        check(value, &mut bytes)?;
    } else if bytes.u16("checksum")? != NO_CRC {
        return Err(DecodeError::Malformed {
            field: "checksum",
            fault: "is not FFFF although the sensor says that it sends none",
        });
    }
    Ok(vec![measured(read, &bytes, Fields::CgmFeature)])
}

/// Decodes a value that ends in a checksum where the sensor sends checksums.
pub(super) fn perhaps_checked<C: Characteristic>(
    value: &[u8],
    wrap: fn(C) -> Fields,
) -> Result<Vec<Measured>, DecodeError> {
    let mut bytes = Bytes::new(value);
    let read = C::read(&mut bytes)?;
    if bytes.rest().len() == 2 {
        check(value, &mut bytes)?;
    }
    Ok(vec![measured(read, &bytes, wrap)])
}

/// Takes the checksum that comes next in `bytes`, and holds it against what stands before it in `value`.
fn check(value: &[u8], bytes: &mut Bytes<'_>) -> Result<(), DecodeError> {
    let covered = value.len() - bytes.rest().len();
    let told = bytes.u16("checksum")?;
    let computed = checksum(value.get(..covered).unwrap_or_default());
    if told == computed {
        Ok(())
    } else {
        Err(DecodeError::Checksum { told, computed })
    }
}

/// CRC-16/MCRF4XX: polynomial 1021 reflected, start FFFF, nothing added.
fn checksum(octets: &[u8]) -> u16 {
    octets.iter().fold(0xffff, |sum, octet| {
        (0..8).fold(sum ^ u16::from(*octet), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0x8408 } else { sum >> 1 }
        })
    })
}

impl Characteristic for CgmFeature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let features = bytes.u24("features")?;
        let (fluid, place) = fluid_and_place(bytes)?;
        Ok(CgmFeature {
            features,
            fluid,
            place,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let features = Field::flags("features", self.features, &FEATURE_NAMES);
        vec![features, self.fluid.field(), self.place.field()]
    }
}

const FEATURE_NAMES: [(u32, &str); 17] = [
    (0, "calibration"),
    (1, "patient's high and low alerts"),
    (2, "hypo alerts"),
    (3, "hyper alerts"),
    (4, "rate alerts"),
    (5, "device-specific alerts"),
    (6, "detects a sensor malfunction"),
    (7, "detects the sensor's temperature"),
    (8, "detects results beyond its range"),
    (9, "detects a low battery"),
    (10, "detects a wrong sensor type"),
    (11, "general fault"),
    (12, "checksums"),
    (13, "several bonds"),
    (14, "several sessions"),
    (15, "trend"),
    (16, "quality"),
];

impl Characteristic for CgmStatus {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        Ok(CgmStatus {
            minutes: bytes.u16("since_start")?,
            status: bytes.u24("status")?,
        })
    }

    fn clock(&self) -> DeviceClock {
        DeviceClock::SinceStart {
            minutes: self.minutes,
        }
    }

    fn fields(&self) -> Vec<Field> {
        let minutes = Field::measure("since_start", Number::whole(self.minutes), Unit::Minute);
        vec![minutes, status_field(self.status)]
    }
}

impl Characteristic for SessionStart {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        Ok(SessionStart {
            time: bytes.date_time("time")?,
            zone: bytes.u8("zone")?.cast_signed(),
            daylight_saving: bytes.u8("daylight_saving")?,
        })
    }

    fn clock(&self) -> DeviceClock {
        self.time.clock()
    }

    fn fields(&self) -> Vec<Field> {
        let minutes = |name, quarters: i32| {
            let number = Number::Finite {
                mantissa: quarters * 15,
                exponent: 0,
            };
            Field::measure(name, number, Unit::Minute)
        };
        let zone = match self.zone {
            UNKNOWN_ZONE => Field::text("zone", "unknown"),
            quarters => minutes("zone", i32::from(quarters)),
        };
        let saving = match self.daylight_saving {
            u8::MAX => Field::text("daylight_saving", "unknown"),
            quarters => minutes("daylight_saving", i32::from(quarters)),
        };
        vec![Field::text("time", self.time.to_string()), zone, saving]
    }
}

impl Characteristic for SessionRunTime {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        bytes.u16("run_time").map(|hours| SessionRunTime { hours })
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::number("run_time", Number::whole(self.hours), "h")]
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::Value;

    #[test]
    fn the_checksum_is_the_one_of_the_catalogue() {
        assert_eq!(checksum(b"123456789"), 0x6f91);
    }

    #[test]
    fn a_stopped_session_measures_nothing() {
        let got = decode(0x2aa7, &[7, 0x80, 120, 0, 5, 0, 1])
            .expect("decodes")
            .remove(0);
        assert_eq!(
            (got.samples[0].value, got.samples[0].marks.as_slice()),
            (Value::Absent, &[Mark::Invalid][..])
        );
    }

    #[test]
    fn a_record_with_a_later_field_is_read_as_far_as_it_is_known() {
        let got = decode(0x2aa7, &[9, 0, 120, 0, 5, 0, 1, 2, 3])
            .expect("decodes")
            .remove(0);
        assert_eq!(got.trailing, [1, 2, 3]);
        assert_eq!(got.samples[0].marks, [Mark::ExtraData]);
    }

    #[test]
    fn an_impossible_size_ends_and_does_not_turn_in_a_circle() {
        for size in [0, 1, 5] {
            assert!(decode(0x2aa7, &[size, 0, 120, 0, 5, 0]).is_err());
        }
        assert!(decode(0x2aa7, &[]).is_err());
    }

    #[test]
    fn a_start_is_in_utc_only_when_its_zone_is_known() {
        let start = |zone, daylight_saving| SessionStart {
            time: DateTime::from_octets([0xe2, 7, 4, 24, 13, 8, 24]),
            zone,
            daylight_saving,
        };
        let local = start(0, 0).utc_ms().expect("known");
        assert_eq!(start(4, 4).utc_ms(), Some(local - 2 * 3_600_000));
        assert_eq!(start(-20, 0).utc_ms(), Some(local + 5 * 3_600_000));
        for (zone, daylight_saving) in [(-128, 0), (4, 255), (57, 0), (-49, 0), (4, 3)] {
            assert_eq!(start(zone, daylight_saving).utc_ms(), None);
        }
    }
}
