//! A continuous glucose sensor whose session ran out: from what it says when it connects and with each value, to the
//! suspicion.

use homeward_protocol::watch::Suspicion;

use super::*;
use crate::sense::Pace;
use crate::watch::{Event, Listed, Saved, Session, Watch};

pub(super) const fn cgm(characteristic: u16) -> At {
    At {
        service: 0x181F,
        characteristic,
    }
}

pub(super) const CGM: [At; 5] = [cgm(0x2AA7), cgm(0x2AA9), cgm(0x2AAA), cgm(0x2AAB), cgm(0x2A52)];
const HOUR: u64 = 3_600_000;

/// A value of 2AA7 that was just measured.
pub(super) fn glucose(mg_dl: u8, minutes: u16) -> Notice {
    let [low, high] = minutes.to_le_bytes();
    Notice {
        at: cgm(0x2AA7),
        value: vec![6, 0, mg_dl, 0, low, high],
    }
}

/// It has nothing (more) in its memory.
pub(super) fn no_records(device: &mut Device, up: Uptime) {
    let notice = Notice {
        at: cgm(0x2A52),
        value: vec![6, 0, 1, 6],
    };
    device.handle(Input::Value(notice), stamp(up), up);
}

/// Connects to a sensor made for `hours`, whose session is `minutes` old.
fn worn(hours: u16, minutes: u16, status: u8, up: Uptime) -> (Device, Vec<Session>) {
    let mut device = device("cgm", Some(association(Some(GOOD))), None, up);
    let [low, high] = minutes.to_le_bytes();
    let value = |at: At| match at.characteristic {
        0x2AA9 => vec![low, high, status, 0, 0],
        0x2AAB => hours.to_le_bytes().to_vec(),
        // Set by nobody.
        _ => vec![0; 9],
    };
    let effects = settle_with(&mut device, Input::Tick, &CGM, BondState::Held(GOOD), up, value);
    assert!(
        matches!(device.state(), State::Listening { .. }),
        "{:?}",
        device.state()
    );
    (device, sessions(&effects))
}

fn sessions(effects: &[Effect]) -> Vec<Session> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Tell(Noticed::Session(session)) => Some(*session),
        _ => None,
    });
    told.collect()
}

/// A watch over it, and whether it suspects the session by now.
struct Desk(Watch, Vec<Suspicion>);

impl Desk {
    fn new(up: Uptime) -> Desk {
        let listed = Listed {
            sensor: "worn".parse().expect("an id"),
            pace: Pace {
                interval: Duration::ZERO,
                silent_after: Duration::from_hours(24 * 30),
            },
            ble: None,
        };
        Desk(
            Watch::resume(vec![listed], Saved::default(), stamp(up), up).0,
            Vec::new(),
        )
    }

    fn tell(&mut self, event: Event, up: Uptime) {
        if let Some(report) = self.0.handle(event, stamp(up), up) {
            self.1 = report.findings.iter().map(|f| f.suspicion).collect();
        }
    }

    fn hear(&mut self, told: &[Session], up: Uptime) {
        for session in told {
            let sensor = "worn".parse().expect("an id");
            self.tell(
                Event::Session {
                    sensor,
                    session: *session,
                },
                up,
            );
        }
    }

    fn expired(&self) -> bool {
        self.1 == [Suspicion::SessionExpired]
    }
}

#[test]
fn a_session_that_ran_out_while_nobody_listened_is_told_at_the_connection() {
    let up = Uptime(1000);
    for (hours, minutes, status, expired) in [
        (240, 240 * 60 - 1, 0, false),
        (240, 240 * 60, 0, true),
        (240, 5, 1, true),
        // How long it lasts was not said.
        (0, u16::MAX, 0, false),
    ] {
        let (_, told) = worn(hours, minutes, status, up);
        assert_eq!(told.len(), 1);
        let mut desk = Desk::new(up);
        desk.hear(&told, up);
        assert_eq!(
            desk.expired(),
            expired,
            "{minutes} min of {hours} h, status {status}"
        );
    }
}

#[test]
fn it_ends_at_a_value_after_its_life_or_in_silence_after_it_and_a_new_sensor_begins_anew() {
    let up = Uptime(1000);
    let (mut device, told) = worn(240, 239 * 60, 0, up);
    let mut desk = Desk::new(up);
    desk.hear(&told, up);
    // What comes out of its memory is old, and no news of the session.
    let stored = device.handle(Input::Value(glucose(99, 60)), stamp(up), up);
    assert_eq!((readings(&stored).len(), sessions(&stored)), (1, Vec::new()));
    no_records(&mut device, up);
    let live = device.handle(Input::Value(glucose(101, 239 * 60 + 5)), stamp(up), up);
    desk.hear(&sessions(&live), up);
    assert!(!desk.expired());
    let later = Uptime(up.0 + HOUR);
    let over = device.handle(Input::Value(glucose(103, 240 * 60 + 5)), stamp(later), later);
    assert_eq!(sessions(&over)[0].life, Some(Duration::from_hours(240)));
    desk.hear(&sessions(&over), later);
    assert!(desk.expired());

    // The next one is put on.
    let next = Uptime(later.0 + HOUR);
    let (_, told) = worn(240, 70, 0, next);
    desk.hear(&told, next);
    desk.tell(Event::Tick, Uptime(next.0 + 120_000));
    assert!(!desk.expired());
    // And is never heard again: its session ends without a word.
    let end = Uptime(next.0 + 240 * HOUR);
    desk.tell(Event::Tick, end);
    assert!(!desk.expired(), "there is time to change it");
    desk.tell(Event::Tick, Uptime(end.0 + 6 * HOUR));
    assert!(desk.expired());
}
