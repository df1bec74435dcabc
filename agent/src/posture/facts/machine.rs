//! Memory, heat and power.
//!
//! Sources: proc(5), `/proc/meminfo` and `/proc/swaps`; kernel, `Documentation/ABI/testing/sysfs-class-thermal` and
//! `sysfs-class-power`; the Raspberry Pi's `rpi_volt` sensor (`in0_lcrit_alarm`).

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};

use super::seen::Seen;

/// What `/proc/meminfo` says: all of it, and the share that programs can still have.
pub fn memory(seen: &Seen, meminfo: &str) -> Vec<Fact> {
    let kib = |name: &str| {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let Some(total) = kib("MemTotal").filter(|total| *total > 0) else {
        return vec![seen.unknown(What::MemoryTotal, Why::Failed)];
    };
    let mut facts = vec![seen.one(What::MemoryTotal, Value::Bytes(total.saturating_mul(1024)))];
    if let Some(free) = kib("MemAvailable") {
        let share = u8::try_from(u128::from(free) * 100 / u128::from(total))
            .unwrap_or(100)
            .min(100);
        facts.push(seen.one(What::MemoryFree, Value::Percent(share)));
    }
    facts
}

/// The places in `/proc/swaps`. What is swapped out lies on a disk.
pub fn swap(seen: &Seen, swaps: &str) -> Fact {
    let places = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    seen.one(What::Swap, Value::list(places))
}

/// A thermal zone: its type, and its temperature in thousandths of a degree.
pub fn temperature(seen: &Seen, zone: &str, millis: &str) -> Fact {
    let read = millis.trim().parse().ok();
    // Nothing that still computes is colder than -80 °C or hotter than 200 °C.
    let read = read.filter(|millis| (-80_000..=200_000).contains(millis));
    let value = read.map_or(Value::Unknown(Why::Failed), Value::MilliCelsius);
    seen.about(What::Temperature, zone.trim(), value)
}

/// A power supply: its kind, and whether it gives power or how its battery stands.
pub fn power(seen: &Seen, name: &str, kind: &str, online: Option<&str>, status: Option<&str>) -> Fact {
    let state = match (online.map(str::trim), status.map(str::trim)) {
        (Some("1"), _) => "gives power",
        (Some("0"), _) => "gives no power",
        (_, Some(status)) if !status.is_empty() => status,
        _ => return seen.about(What::Power, name, Value::Unknown(Why::Failed)),
    };
    let words = format!("{}: {}", kind.trim(), state.to_ascii_lowercase());
    seen.about(What::Power, name, text(&words))
}

/// Whether the board saw too little voltage since it booted.
pub fn low_power(seen: &Seen, alarm: &str) -> Fact {
    let value = match alarm.trim() {
        "0" => Value::Flag(false),
        "1" => Value::Flag(true),
        _ => Value::Unknown(Why::Failed),
    };
    seen.one(What::PowerLow, value)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn memory_is_read_and_nonsense_is_said() {
        let facts = memory(
            &seen(),
            "MemTotal:       3884084 kB\nMemFree:  1 kB\nMemAvailable:   1942042 kB\n",
        );
        assert_eq!(facts[0].value, Value::Bytes(3_884_084 * 1024));
        assert_eq!(facts[1].value, Value::Percent(50));
        assert!(matches!(
            memory(&seen(), "MemTotal: 0 kB")[0].value,
            Value::Unknown(_)
        ));
        assert!(matches!(memory(&seen(), "")[0].value, Value::Unknown(_)));
    }

    #[test]
    fn heat_and_power() {
        assert_eq!(
            temperature(&seen(), "cpu-thermal\n", "51540\n").value,
            Value::MilliCelsius(51_540)
        );
        assert!(matches!(
            temperature(&seen(), "x", "999999999").value,
            Value::Unknown(_)
        ));
        assert_eq!(
            power(&seen(), "AC", "Mains\n", Some("1\n"), None)
                .value
                .to_string(),
            "Mains: gives power"
        );
        let battery = power(&seen(), "BAT0", "Battery", None, Some("Discharging\n"));
        assert_eq!(battery.value.to_string(), "Battery: discharging");
        assert_eq!(low_power(&seen(), "1\n").value, Value::Flag(true));
        let swaps = "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n";
        assert_eq!(swap(&seen(), swaps).value.to_string(), "/dev/zram0");
    }
}
