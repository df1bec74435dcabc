//! Plain words for one reading: its value, its grade, and what is known of it beside.
//!
//! The pages, the API's descriptions and the command line say the same words. A translation replaces this file and
//! [`super::words`].

use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::reading::{Kind, Mark, Quality, SensorClock, Sent, Value};

/// A value with its unit.
pub fn value(kind: Kind, value: Value) -> String {
    match value {
        Value::Number(number) => {
            let symbol = kind.unit().symbol();
            format!("{number} {symbol}").trim_end().to_owned()
        }
        Value::State(state) => state.name().to_owned(),
        Value::Absent => "no value".to_owned(),
    }
}

/// What is known of a value.
pub const fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "",
        Quality::OutOfRange => "out of range",
        Quality::Doubtful => "doubtful",
    }
}

/// How sure we are of the device.
pub const fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Unverified => "unverified",
        Grade::Associated => "associated",
        Grade::Verified => "verified",
    }
}

/// What keeps a reading from a higher grade, as a clause after the grade.
pub const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NoIdentity => "the device has no identity that can be checked",
        Reason::UnauthenticatedBond => "nothing was checked when the device was paired",
        Reason::LegacyBond => "it was paired by the old method, which can be overheard",
        Reason::ShortKey => "the key of its bond is too short",
        Reason::DebugKey => "its bond uses a key that everybody knows",
        Reason::BondChanged => "it does not have the bond that it was paired with",
        Reason::NotAssociated => "the device was not this home's when it measured",
        Reason::OtherDevice => "it looks like another device than the one set up here",
        Reason::ShapeOnly => "its profile was never tried with such a device",
        Reason::GatewayUnjudged => "nobody has judged the box yet",
        Reason::GatewayDoubted => "the box itself is in doubt",
        Reason::ClockUntrusted => "the box's clock was not confirmed",
        Reason::GatewayUnproven => "the box's own word is all that vouches for it",
        Reason::SpareKey => "the box's TPM did not answer: it spoke with its spare key",
        Reason::BelowPolicy => "the box's policy does not name the device, or wants to be surer of it",
    }
}

/// What a device says of one of its values.
pub const fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::FromStorage => "measured earlier",
        Mark::BySensorClock => "time by the device's clock",
        Mark::SensorClockUnset => "the device's clock is not set",
        Mark::EarlyEstimate => "early estimate",
        Mark::Ongoing => "still measuring",
        Mark::Questionable => "questionable",
        Mark::Invalid => "could not measure",
        Mark::NotAPatient => "demonstration or test",
        Mark::ControlSolution => "control solution",
        Mark::Moved => "moved while measuring",
        Mark::CuffPosition => "cuff loose or misplaced",
        Mark::IrregularPulse => "irregular pulse",
        Mark::BeyondDevice => "beyond what the device can measure",
        Mark::PoorSignal => "poor contact or signal",
        Mark::OffBody => "off the body",
        Mark::SampleFault => "sample or strip not right",
        Mark::TemperatureFault => "device too hot or too cold",
        Mark::DeviceFault => "device fault",
        Mark::LowBattery => "battery low",
        Mark::ExtraData => "sent more than is understood",
    }
}

/// What a device sent before its value was converted.
pub fn sent(sent: Sent) -> String {
    format!("sent as {} {}", sent.value, sent.unit.symbol())
        .trim_end()
        .to_owned()
}

/// How far a device's clock was from the box's; nothing when it was right to the minute or is not known.
pub fn clock(clock: SensorClock) -> Option<String> {
    let ahead_ms = clock.ahead_ms?;
    let (minutes, way) = (
        ahead_ms.unsigned_abs() / 60_000,
        if ahead_ms < 0 { "behind" } else { "ahead" },
    );
    let far = match minutes {
        0 => return None,
        1..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    };
    Some(format!("the device's clock is {far} {way}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_protocol::reading::State;
    use homeward_protocol::unit::{Decimal, Unit};

    #[test]
    fn values_carry_their_unit() {
        let number = |m, e| Value::Number(Decimal::new(m, e).expect("fits"));
        assert_eq!(value(Kind::OxygenConcentration, number(931, -1)), "93.1 %");
        assert_eq!(value(Kind::Door, Value::State(State::Open)), "open");
        assert_eq!(value(Kind::Running, number(1, 0)), "1");
        assert_eq!(value(Kind::BatteryCharge, Value::Absent), "no value");
    }

    #[test]
    fn a_clock_is_mentioned_when_it_is_off_and_known() {
        let off = |ahead_ms| clock(SensorClock { at_ms: 0, ahead_ms });
        assert_eq!(off(None), None);
        assert_eq!(off(Some(-59_999)), None);
        assert_eq!(
            off(Some(-3_600_000)).as_deref(),
            Some("the device's clock is 60 min behind")
        );
        assert_eq!(
            off(Some(7_200_000)).as_deref(),
            Some("the device's clock is 2 h ahead")
        );
        assert_eq!(
            off(Some(i64::MIN)).as_deref(),
            Some("the device's clock is 106751991167 days behind")
        );
    }

    #[test]
    fn what_was_sent_stands_in_the_devices_unit() {
        let kilopascal = Sent {
            value: Decimal::new(160, -1).expect("fits"),
            unit: Unit::Kilopascal,
        };
        assert_eq!(sent(kilopascal), "sent as 16.0 kPa");
    }
}
