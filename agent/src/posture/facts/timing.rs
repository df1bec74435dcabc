//! Where the clock gets its time from, and whether it follows.
//!
//! Sources: timedatectl(1) `show` and `show-timesync`; chronyc(1), `-c tracking` (fields in the order of the report);
//! the file that systemd-timesyncd touches (`/run/systemd/timesync/synchronized`).

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};

use super::seen::{Seen, assigned};

/// What `timedatectl show` and `show-timesync` print.
pub fn systemd(seen: &Seen, show: &str, timesync: Option<&str>) -> Vec<Fact> {
    let flag = |name: &str| assigned(show, name).map(|word| word == "yes");
    let mut facts = Vec::new();
    match (
        flag("NTP"),
        timesync.and_then(|text| assigned(text, "ServerName")),
    ) {
        (Some(false), _) => facts.push(seen.one(What::TimeSource, text("none: it is switched off"))),
        (_, Some(server)) => {
            facts.push(seen.one(What::TimeSource, text("systemd-timesyncd")));
            facts.push(seen.one(What::TimeServer, text(server)));
        }
        (Some(true), None) => facts.push(seen.one(What::TimeSource, text("another service"))),
        (None, None) => facts.push(seen.unknown(What::TimeSource, Why::Failed)),
    }
    let synced = flag("NTPSynchronized").map_or(Value::Unknown(Why::Failed), Value::Flag);
    facts.push(seen.one(What::TimeSynced, synced));
    facts.extend(
        timesync
            .and_then(offset)
            .map(|ms| seen.one(What::TimeOffset, Value::Millis(ms))),
    );
    facts
}

/// `NTPMessage={ Leap=0, …, OriginateTimestamp=…, … }`: the message holds four moments, of which systemd prints none as a
/// plain number; its `Jitter` is what it makes of their scatter.
fn offset(timesync: &str) -> Option<i64> {
    let message = assigned_line(timesync, "NTPMessage")?;
    let jitter = message
        .split(['{', ',', '}'])
        .find_map(|part| part.trim().strip_prefix("Jitter="))?;
    span(jitter.trim())
}

fn assigned_line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// A span as systemd prints it: `3.412ms`, `512us`, `1s`.
fn span(text: &str) -> Option<i64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.trim().parse().ok()?;
    let ms = match unit {
        "us" => number / 1000.0,
        "ms" => number,
        "s" => number * 1000.0,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and such a span is far off anyway"
    )]
    Some(ms.round() as i64)
}

/// What `chronyc -c tracking` prints: one line, comma separated. Fields: reference id, name, stratum, reference time,
/// system time (seconds that the clock is off), …, leap status last.
pub fn chrony(seen: &Seen, tracking: &str) -> Vec<Fact> {
    let fields: Vec<&str> = tracking.trim().split(',').collect();
    let source = seen.one(What::TimeSource, text("chrony"));
    let [_, name, _, _, off, .., leap] = fields.as_slice() else {
        return vec![source, seen.unknown(What::TimeSynced, Why::Failed)];
    };
    let mut facts = vec![
        source,
        seen.one(What::TimeSynced, Value::Flag(*leap != "Not synchronised")),
    ];
    if !name.is_empty() {
        facts.push(seen.one(What::TimeServer, text(name)));
    }
    if let Some(ms) = off.parse::<f64>().ok().filter(|off| off.is_finite()) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` saturates, and such a clock is far off anyway"
        )]
        let ms = (ms * 1000.0).round() as i64;
        facts.push(seen.one(What::TimeOffset, Value::Millis(ms)));
    }
    facts
}

/// The time zone: what `/etc/localtime` points to, below the folder of zones.
pub fn zone(seen: &Seen, link: Option<&str>) -> Fact {
    let named = link
        .and_then(|link| link.split_once("zoneinfo/"))
        .map(|(_, zone)| zone);
    seen.one(What::TimeZone, named.map_or(Value::Unknown(Why::NotThere), text))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn said(facts: &[Fact]) -> Vec<String> {
        facts.iter().map(|f| format!("{} {}", f.id, f.value)).collect()
    }

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    #[test]
    fn timesyncd_is_told_with_its_server() {
        let show = "Timezone=Europe/Berlin\nLocalRTC=no\nCanNTP=yes\nNTP=yes\nNTPSynchronized=yes\n";
        let timesync = "SystemNTPServers=\nServerName=0.debian.pool.ntp.org\nServerAddress=192.0.2.1\n\
            NTPMessage={ Leap=0, Version=4, Mode=4, Stratum=2, Precision=-25, RootDelay=7.461ms, \
            RootDispersion=24.078ms, Reference=C0000201, Ignored=no, PacketCount=3, Jitter=2.612ms }\n";
        assert_eq!(
            said(&systemd(&seen(), show, Some(timesync))),
            [
                "time.source systemd-timesyncd",
                "time.server 0.debian.pool.ntp.org",
                "time.synchronised yes",
                "time.offset 3 ms"
            ]
        );
        assert_eq!(
            said(&systemd(&seen(), "NTP=no\nNTPSynchronized=no\n", None))[0],
            "time.source none: it is switched off"
        );
        assert!(
            systemd(&seen(), "", None)
                .iter()
                .all(|f| matches!(f.value, Value::Unknown(_)))
        );
    }

    #[test]
    fn chrony_is_told_with_its_distance() {
        let tracking = "C0000201,ntp.example.net,3,1795000000.123,-0.004512,0.0001,0.0002,1.2,0.01,0.3,0.02,0.001,64.2,Normal\n";
        let facts = said(&chrony(&seen(), tracking));
        assert_eq!(
            facts[1..],
            [
                "time.synchronised yes",
                "time.server ntp.example.net",
                "time.offset -5 ms"
            ]
        );
        let lost = chrony(&seen(), "00000000,,0,0.0,NaN,0,0,0,0,0,1,1,0,Not synchronised");
        assert_eq!(said(&lost)[1..], ["time.synchronised no"]);
        assert!(matches!(
            chrony(&seen(), "506 Cannot talk to daemon")[1].value,
            Value::Unknown(_)
        ));
        assert_eq!(
            zone(&seen(), Some("/usr/share/zoneinfo/Etc/UTC"))
                .value
                .to_string(),
            "Etc/UTC"
        );
    }
}
