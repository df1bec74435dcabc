//! A simulated device: what the registers of a profile hold, made from a seed and the time that has passed.
//!
//! For the demo and for tests. The values move as such a device's would, and the same seed and time always give
//! the same words.

pub mod serve;

use std::time::Duration;

use homeward_protocol::reading::{Kind, State};

use crate::modbus::Request;
use crate::profile::{Format, Meaning, Number, Profile, Register, WordOrder};
use crate::unit::Conversion;

/// How a simulated device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Answers; nothing is wrong.
    #[default]
    Well,
    /// Answers, and reports its alarms.
    Alarming,
    /// Answers, and is switched off: what tells whether it runs says no.
    Resting,
    /// Takes questions and never answers.
    Silent,
    /// Answers every question with this exception.
    Refusing(u8),
}

/// A device of one profile.
#[derive(Debug, Clone)]
pub struct Simulated {
    profile: Profile,
    seed: u64,
}

impl Simulated {
    /// A device of that profile. Two seeds give two devices.
    pub const fn new(profile: Profile, seed: u64) -> Self {
        Simulated { profile, seed }
    }

    /// The words for `request` when `elapsed` has passed; none when it asks for a register the profile has not.
    pub fn words(&self, request: Request, elapsed: Duration, behaves: Behaviour) -> Option<Vec<u16>> {
        let wanted = u32::from(request.address)..u32::from(request.address) + u32::from(request.count);
        wanted
            .map(|address| self.word(request, address, elapsed, behaves))
            .collect()
    }

    fn word(&self, request: Request, address: u32, elapsed: Duration, behaves: Behaviour) -> Option<u16> {
        let holds = |r: &&Register| {
            r.function == request.function && (u32::from(r.address)..r.end()).contains(&address)
        };
        let register = self.profile.registers.iter().find(holds)?;
        let first = address == u32::from(register.address);
        let value = self.value(register, elapsed, behaves);
        Some(word_of(register.format, value, first))
    }

    /// The value of a register before it is cut into words: a whole number, or the bits of a float.
    fn value(&self, register: &Register, elapsed: Duration, behaves: Behaviour) -> i64 {
        if let (Behaviour::Alarming, Some(alarm)) = (behaves, register.alarm.first()) {
            return *alarm;
        }
        match &register.meaning {
            Some(Meaning::State { kind, codes })
                if *kind == Kind::Running && behaves == Behaviour::Resting =>
            {
                codes
                    .iter()
                    .find(|(_, state)| *state == State::Off)
                    .map_or(0, |(code, _)| *code)
            }
            Some(Meaning::State { kind, codes }) => self.state(register, *kind, codes, elapsed),
            Some(Meaning::Number(number)) => self.number(register, number, elapsed),
            None => register.expect.unwrap_or(0),
        }
    }

    fn state(&self, register: &Register, kind: Kind, codes: &[(i64, State)], elapsed: Duration) -> i64 {
        let moves = matches!(kind, Kind::Door | Kind::Occupancy);
        let stirred = moves && self.dice(register, elapsed.as_secs() / 20).is_multiple_of(8);
        let calm = |(_, state): &&(i64, State)| {
            matches!(
                state,
                State::Closed | State::Occupied | State::Good | State::Floating | State::On
            )
        };
        let code = if stirred {
            codes.iter().find(|c| !calm(c))
        } else {
            codes.iter().find(calm)
        };
        code.or(codes.first()).map_or(0, |(code, _)| *code)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an invented value; what a device of the profile can hold is clamped below"
    )]
    fn number(&self, register: &Register, number: &Number, elapsed: Duration) -> i64 {
        let (middle, swing) = usual(number.kind);
        let tenth = u64::try_from(elapsed.as_millis() / 100).unwrap_or(0);
        let slow = ((tenth % 6000) as f64 / 3000.0 - 1.0).abs() - 0.5;
        let jitter = (self.dice(register, tenth) % 1000) as f64 / 1000.0 - 0.5;
        let wanted = middle + swing * (slow + jitter / 4.0);
        let unscaled = match number.conversion {
            Conversion::Same => wanted,
            Conversion::Linear { factor, offset } => (wanted - offset.to_f64()) / factor.to_f64(),
        } / number.scale.to_f64();
        match register.format.bounds() {
            None => i64::from((unscaled as f32).to_bits()),
            Some((low, high)) => {
                let value = (unscaled.round() as i64).clamp(low, high);
                let taken = register.absent.contains(&value) || register.doubtful.contains(&value);
                if taken { value + 1 } else { value }
            }
        }
    }

    /// A number that is the same for the same seed, register and moment (`splitmix64`).
    fn dice(&self, register: &Register, moment: u64) -> u64 {
        let place = u64::from(register.address) << 8 | u64::from(register.function.code());
        let mut z = self.seed ^ place.rotate_left(40) ^ moment.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The middle and the swing of what such a device usually shows, in the unit of the kind.
const fn usual(kind: Kind) -> (f64, f64) {
    match kind {
        Kind::RoomPressure => (-15.0, 4.0),
        Kind::AirTemperature => (21.0, 2.0),
        Kind::RelativeHumidity => (45.0, 10.0),
        Kind::AirChanges => (12.0, 2.0),
        Kind::CarbonDioxide => (650.0, 200.0),
        Kind::BatteryCharge => (97.0, 4.0),
        Kind::BatteryVoltage => (27.2, 0.6),
        Kind::BatteryCurrent => (1.2, 0.4),
        Kind::DeviceTemperature => (31.0, 4.0),
        Kind::TimeRemaining => (42.0, 4.0),
        Kind::OxygenConcentration => (20.9, 0.4),
        Kind::StorageTemperature => (5.0, 1.5),
        // States, counters, and what no register device gives.
        _ => (0.0, 0.0),
    }
}

fn word_of(format: Format, value: i64, first: bool) -> u16 {
    let high = match format {
        Format::U32(order) | Format::I32(order) | Format::F32(order) => {
            (order == WordOrder::HighFirst) == first
        }
        Format::Coil | Format::Enum | Format::U16 | Format::I16 => false,
    };
    let shift = if high { 16 } else { 0 };
    u16::try_from((value >> shift) & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::reading::{Quality, Value};

    use super::*;
    use crate::modbus::{requests, samples};
    use crate::profile::{shipped, shipped_ids};

    fn poll(id: &str, seed: u64, secs: u64, behaves: Behaviour) -> Vec<(crate::modbus::Decoded, Request)> {
        let profile = shipped(id).expect("shipped");
        let device = Simulated::new(profile.clone(), seed);
        let read = |request| {
            let words = device
                .words(request, Duration::from_secs(secs), behaves)
                .expect("all known");
            (
                samples(&profile, request, &words).expect("the right count"),
                request,
            )
        };
        requests(&profile).into_iter().map(read).collect()
    }

    #[test]
    fn every_shipped_profile_is_played_with_good_values() {
        let on_wires = |id: &&str| shipped(id).is_some_and(|p| p.session.is_none());
        for id in shipped_ids().filter(on_wires) {
            for (seed, secs) in (0..40).map(|n| (n, n * 97)) {
                for (decoded, request) in poll(id, seed, secs, Behaviour::Well) {
                    let sound = decoded
                        .samples
                        .iter()
                        .all(|s| s.quality == Quality::Good && s.value != Value::Absent);
                    assert!(sound, "{id} {request}: {decoded:?}");
                    assert!(decoded.alarms.iter().all(|a| !a.1) && decoded.unexpected.is_empty());
                }
            }
        }
    }

    #[test]
    fn the_same_seed_and_time_give_the_same_words_and_values_move() {
        let tell = |seed, secs| poll("tsi-pressura-rpc30", seed, secs, Behaviour::Well);
        assert_eq!(tell(7, 30), tell(7, 30));
        assert_ne!(tell(7, 30), tell(7, 31));
        assert_ne!(tell(7, 30), tell(8, 30));
    }

    #[test]
    fn it_alarms_when_told() {
        let alarms = poll("tripp-lite-modbuscard", 1, 5, Behaviour::Alarming);
        assert!(alarms.iter().any(|(d, _)| d.alarms.iter().any(|a| a.1)));
    }

    #[test]
    fn it_runs_until_it_is_told_to_rest() {
        let runs = |behaves| {
            let all = poll("parker-db5-20", 1, 5, behaves);
            let mut samples = all.into_iter().flat_map(|(decoded, _)| decoded.samples);
            samples
                .find(|sample| sample.kind == Kind::Running)
                .map(|sample| sample.value)
        };
        assert_eq!(runs(Behaviour::Well), Some(Value::State(State::On)));
        assert_eq!(runs(Behaviour::Resting), Some(Value::State(State::Off)));
    }

    #[test]
    fn a_register_it_has_not_is_not_answered() {
        let device = Simulated::new(shipped("senseair-s8").expect("shipped"), 1);
        let request = Request {
            function: crate::profile::Function::InputRegisters,
            address: 3,
            count: 2,
        };
        assert_eq!(device.words(request, Duration::ZERO, Behaviour::Well), None);
    }
}
