//! What one value of a Bluetooth sensor costs to decode, beside what its readings cost to write as records.
//!
//! Both are timed in turns on one thread of one run, and the quickest of many rounds counts, so that the ratio holds
//! on a busy machine too. The last line says what ten sensors with a value a second each would take of one core.
#![expect(clippy::disallowed_methods, reason = "shell: measures real time")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use homeward_devices::ble::{self, DecodeError};
use homeward_devices::sample::Sample;
use homeward_protocol::envelope::Item;
use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::{Details, Reading};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

const ROUNDS: u32 = 200;
const TIMES: u32 = 500;

/// Values as sensors send them, each as full as it comes.
const VALUES: [(u16, &[u8]); 7] = [
    (0x2a37, &[0x1e, 0x55, 0x32, 0, 0x21, 0]),
    (0x2a35, &[0x15, 0xbd, 0xf0, 0x0b, 0, 0x9f, 0xf0, 0x3c, 0, 0x12, 0]),
    (0x2a1c, &[6, 0xb0, 0x0e, 0, 0xfe, 0xdc, 7, 12, 5, 11, 50, 27, 4]),
    (0x2a5f, &[0x1c, 0x5f, 0, 0x5a, 0, 0x20, 0, 0, 0, 0, 0x57, 0xf0]),
    (
        0x2a18,
        &[
            0x0b, 1, 0, 0xe3, 7, 2, 0x1b, 11, 10, 30, 0xfb, 0xff, 98, 0xb0, 0x11, 0, 0,
        ],
    ),
    (
        0x2a9d,
        &[0x0e, 0xb0, 0x36, 0xe7, 7, 12, 25, 14, 30, 45, 3, 0xe1, 0, 0xd6, 6],
    ),
    (
        0x2aa7,
        &[
            15, 0xe3, 0xd2, 0xe4, 5, 0, 2, 0x14, 0xff, 2, 0xf0, 0xe5, 0xf3, 0x8e, 0x3f,
        ],
    ),
];

fn main() -> ExitCode {
    println!("{:<34} {:>9} {:>9} {:>7}", "value", "decode", "record", "ratio");
    let mut slowest = Duration::ZERO;
    for (characteristic, value) in VALUES {
        let Ok(records) = records(characteristic, value) else {
            eprintln!("{characteristic:04X} does not decode");
            return ExitCode::FAILURE;
        };
        let decode = || {
            let got = ble::decode(black_box(characteristic), black_box(value));
            drop(black_box(got));
        };
        let write = || {
            for record in &records {
                drop(black_box(wire::encode(black_box(record), 4096)));
            }
        };
        let (decode, write) = quickest(decode, write);
        slowest = slowest.max(decode);
        let ratio = decode.as_secs_f64() / write.as_secs_f64();
        let name = ble::name(characteristic).unwrap_or("unknown");
        println!("{name:<34} {decode:>9.0?} {write:>9.0?} {ratio:>7.2}");
    }
    let share = slowest.as_secs_f64() * 10.0 * 100.0;
    println!("ten sensors, the costliest value a second each: {share:.5} % of one core");
    ExitCode::SUCCESS
}

/// The records that come of a value.
fn records(characteristic: u16, value: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let all = ble::decode(characteristic, value)?;
    Ok(all
        .into_iter()
        .flat_map(|one| one.samples)
        .filter_map(record)
        .collect())
}

fn record(sample: Sample) -> Option<Item> {
    let sensor: SensorId = "sensor-1".parse().ok()?;
    Some(Item::Reading(Reading {
        sensor,
        kind: sample.kind,
        value: sample.value,
        taken_at: Timestamp::synced(1_700_000_000_000),
        quality: sample.quality,
        grade: Grade::Associated,
        details: Details {
            marks: sample.marks,
            sent: sample.sent,
            ..Details::default()
        },
    }))
}

/// One call of each, in the quickest of its rounds; the rounds of both take turns.
fn quickest(one: impl Fn(), other: impl Fn()) -> (Duration, Duration) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best = (best.0.min(round(&one)), best.1.min(round(&other)));
    }
    (best.0 / TIMES, best.1 / TIMES)
}

fn round(call: impl Fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..TIMES {
        call();
    }
    start.elapsed()
}
