//! Moments as a page says them: "14:49 (2 min ago)", always UTC.

use std::fmt;

use askama::filters::HtmlSafe;
use homeward_protocol::time::{ClockTrust, Timestamp};

/// A moment, ready for a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// For `<time datetime>`: RFC 3339.
    pub machine: String,
    /// `14:49`; with the day when it is another one, and "about" in front when its clock was not trusted.
    pub clock: String,
    /// `2 min ago`, or `in 3 days`.
    pub ago: String,
}

impl When {
    /// `moment`, seen from `now`.
    pub fn new(moment: Timestamp, now: Timestamp) -> When {
        let about = if moment.trust == ClockTrust::Synced {
            ""
        } else {
            "about "
        };
        When {
            machine: Timestamp::synced(moment.ms).to_string(),
            clock: format!("{about}{}", clock(moment, now)),
            ago: ago(moment, now),
        }
    }
}

impl fmt::Display for When {
    /// As HTML: `<time datetime="…">14:49</time> (2 min ago)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let When { machine, clock, ago } = self;
        write!(f, r#"<time datetime="{machine}">{clock}</time> ({ago})"#)
    }
}

/// Made of digits and the words above only.
impl HtmlSafe for When {}

/// `14:49`, `24 Nov 14:49` on another day, `24 Nov 2024` in another year.
pub fn clock(moment: Timestamp, now: Timestamp) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day, hour, minute, _) = moment.civil();
    let (this_year, this_month, today, ..) = now.civil();
    let month_name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    if (year, month, day) == (this_year, this_month, today) {
        format!("{hour:02}:{minute:02}")
    } else if year == this_year {
        format!("{day} {month_name} {hour:02}:{minute:02}")
    } else {
        format!("{day} {month_name} {year}")
    }
}

/// How far away a moment is, in one unit.
pub fn ago(moment: Timestamp, now: Timestamp) -> String {
    let past = moment.ms <= now.ms;
    let seconds = if past { moment.age(now) } else { now.age(moment) }.as_secs();
    let text = lasting(seconds);
    match (seconds, past) {
        (0..=4, _) => "just now".to_owned(),
        (_, true) => format!("{text} ago"),
        (_, false) => format!("in {text}"),
    }
}

/// A length of time in one unit.
pub fn lasting(seconds: u64) -> String {
    let plural = |n: u64, unit: &str| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => plural(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_as_people_say_them() {
        let now = Timestamp::synced(1_795_000_000_000); // 2026-11-18 11:06:40
        let said = |s: i64| {
            let when = When::new(now.plus_ms(-s * 1000), now);
            format!("{} ({})", when.clock, when.ago)
        };
        assert_eq!(said(1), "11:06 (just now)");
        assert_eq!(said(120), "11:04 (2 min ago)");
        assert_eq!(said(3 * 3600), "08:06 (3 h ago)");
        assert_eq!(said(86_400), "17 Nov 11:06 (24 h ago)");
        assert_eq!(said(400 * 86_400), "14 Oct 2025 (400 days ago)");
        assert_eq!(said(-14 * 86_400), "2 Dec 11:06 (in 14 days)");
        let doubtful = Timestamp {
            trust: ClockTrust::Unsynced,
            ..now
        };
        assert_eq!(When::new(doubtful, now).clock, "about 11:06");
    }
}
