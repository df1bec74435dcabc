use homeward_protocol::policy::rules::{Day, Window};
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> Timestamp {
    Timestamp::from_utc(text).expect("a time")
}

/// A Friday.
fn now() -> Timestamp {
    utc("2026-11-27T10:20:00Z")
}

fn heard(name: &str, at: impl IntoIterator<Item = i64>) -> Heard {
    Heard {
        sensor: name.parse().expect("an id"),
        at: at.into_iter().map(Timestamp::synced).collect(),
    }
}

/// A cuff that is used each morning at seven, and on two evenings at nine.
fn cuff() -> Heard {
    let midnight = utc("2026-11-27T00:00:00Z").ms;
    let mornings = (0..28).map(|day| midnight - day * DAY_MS + 7 * HOUR_MS + 600_000);
    let evenings = [3, 9].map(|day| midnight - day * DAY_MS + 21 * HOUR_MS);
    heard("cuff", mornings.chain(evenings))
}

fn thermometer() -> Heard {
    heard("fridge", (0..2_000).map(|n| now().ms - n * 60_000))
}

fn record(all: &[Heard]) -> Record {
    Record::new(all, Some(utc("2026-09-01T00:00:00Z")), now())
}

fn nights() -> Maintenance {
    Maintenance {
        hazard: "h-1".parse().expect("an id"),
        window: vec![Window {
            days: vec![Day::Saturday],
            from_min: 6 * 60 + 30,
            minutes: 60,
        }],
    }
}

fn said(spans: &[Span], day: &str) -> Vec<(String, &'static str, u8)> {
    let of = spans.iter().filter(|span| span.from.to_string().starts_with(day));
    of.map(|span| {
        let clock = |at: Timestamp| at.to_string()[11..16].to_owned();
        let text = format!("{}-{}", clock(span.from), clock(span.until));
        (text, span.suits.name().0, span.used)
    })
    .collect()
}

#[test]
fn hours_of_use_are_learnt_from_devices_that_speak_when_they_are_used() {
    let record = record(&[cuff(), thermometer()]);
    assert_eq!(
        (record.telling.len(), record.steady.len(), record.days),
        (1, 1, 28)
    );
    let week = week(None, &record, now());
    assert_eq!(
        said(&week, "2026-11-28"),
        [
            ("00:00-07:00".into(), "good", 0),
            ("07:00-08:00".into(), "in-use", 28),
            ("08:00-21:00".into(), "good", 0),
            ("21:00-22:00".into(), "possible", 2),
            ("22:00-00:00".into(), "good", 0),
        ]
    );
    assert_eq!(said(&week, "2026-11-27")[0], ("10:20-21:00".into(), "good", 0));
    let best = best(&week, Duration::from_mins(20)).expect("there is one");
    assert_eq!(best.from, now());
}

#[test]
fn what_the_policy_closes_is_closed_to_the_minute() {
    let record = record(&[cuff()]);
    let week = week(Some(&nights()), &record, now());
    assert_eq!(
        said(&week, "2026-11-28"),
        [
            ("00:00-06:30".into(), "closed", 0),
            ("06:30-07:00".into(), "good", 0),
            ("07:00-07:30".into(), "in-use", 28),
            ("07:30-00:00".into(), "closed", 0),
        ]
    );
    assert!(
        best(&week, Duration::from_mins(40)).is_none(),
        "none is long enough"
    );
    assert!(now_words(Some(&nights()), now()).contains("before 2026-11-28T06:30:00Z"));
}

#[test]
fn where_the_record_tells_nothing_no_time_is_called_good() {
    let young = Record::new(&[cuff()], Some(now().plus_ms(-3 * DAY_MS)), now());
    for (record, why) in [
        (record(&[]), "no device gave a reading yet"),
        (record(&[thermometer()]), "read all day"),
        (young, "in service for 3 days"),
        (Record::new(&[cuff()], None, now()), "in service for 0 days"),
    ] {
        let week = week(None, &record, now());
        assert!(week.iter().all(|span| span.suits == Suits::Unknown), "{week:?}");
        assert!(week[0].why(&record).contains(why), "{}", week[0].why(&record));
        assert!(best(&week, Duration::from_mins(1)).is_none());
    }
}

proptest! {
    #[test]
    fn the_week_has_no_gap_and_no_stretch_over_midnight(
        from in 0_u16..1440, minutes in 10_u16..=1440, offset in 0_i64..14 * DAY_MS, uses in proptest::collection::vec(0_i64..28 * DAY_MS, 0..60),
    ) {
        let now = now().plus_ms(offset);
        let rule = Maintenance { window: vec![Window { days: vec![], from_min: from, minutes }], ..nights() };
        let heard = [heard("scale", uses.into_iter().map(|ago| now.ms - ago))];
        let record = Record::new(&heard, Some(now.plus_ms(-40 * DAY_MS)), now);
        let week = week(Some(&rule), &record, now);
        prop_assert_eq!(week[0].from.ms, now.ms);
        prop_assert_eq!(week[week.len() - 1].until.ms, now.ms + 7 * DAY_MS);
        for pair in week.windows(2) {
            prop_assert_eq!(pair[0].until.ms, pair[1].from.ms);
        }
        for span in &week {
            prop_assert!(span.from.ms < span.until.ms);
            prop_assert_eq!(span.from.ms.div_euclid(DAY_MS), (span.until.ms - 1).div_euclid(DAY_MS));
        }
    }
}
