//! The patient's button: what the kernel says of it, and the wish for quiet that a press makes.
//!
//! Any device that the kernel reads as keys will do: a switch at a pin of the box (`gpio-keys`), a key by USB or radio.
//!
//! # Design
//! - One press is one hold, which ends by itself; another press before that makes it last from then on. It is placed as any other:
//!   it stands over restarts, people see it, and whoever is at the box may lift it.
//! - It only ever holds back. A button that is stuck says one press, as the kernel's repeats are none.

pub mod follow;

use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};

use super::hold::{Hold, HoldId};

/// One event of an input device, bytes: two words of time, then kind, code and value. Source: Linux, `struct input_event` of
/// linux/input.h.
pub const EVENT: usize = 2 * size_of::<usize>() + 8;
/// Kind: a key. Source: Linux, linux/input-event-codes.h, `EV_KEY`.
const KEY: u16 = 1;
/// Value of a key that goes down; 0 is up, and 2 a repeat.
const DOWN: i32 = 1;

/// A press counts once in this time.
const ONCE_IN: Duration = Duration::from_secs(10);

/// The presses of one button: a key that chatters is pressed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presses {
    last: Option<Uptime>,
}

impl Presses {
    /// Whether somebody pressed it, by these whole events that came `now`.
    pub fn hears(&mut self, events: &[u8], now: Uptime) -> bool {
        let is_new = self.last.is_none_or(|last| now.since(last) >= ONCE_IN);
        let pressed = is_new && presses(events) > 0;
        if pressed {
            self.last = Some(now);
        }
        pressed
    }
}

/// How many keys went down in these whole events. What is left over of `bytes` is none.
pub fn presses(bytes: &[u8]) -> usize {
    bytes.chunks_exact(EVENT).filter(|event| is_press(event)).count()
}

fn is_press(event: &[u8]) -> bool {
    let Some(&[k0, k1, _, _, v0, v1, v2, v3]) = event.last_chunk::<8>() else {
        return false;
    };
    u16::from_ne_bytes([k0, k1]) == KEY && i32::from_ne_bytes([v0, v1, v2, v3]) == DOWN
}

/// The wish of somebody who pressed it `now`.
pub fn wish(now: Timestamp, length: Duration) -> (HoldId, Hold) {
    let hold = Hold {
        by: ShortText::cut("the patient's button"),
        reason: ShortText::cut("it was pressed"),
        placed: now,
        until: now.plus_ms(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
    };
    (HoldId::button(), hold)
}

/// What is to be placed of it where this hold of the button stands already. None where that one lasts longer: a press never
/// shortens one.
pub fn placed(wish: Hold, stands: Option<&Hold>) -> Option<Hold> {
    let longer = stands.is_some_and(|stands| stands.until.ms >= wish.until.ms);
    (!longer).then_some(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0xA5; EVENT - 8];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0x100_u16.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_key_that_goes_down_is_a_press_and_nothing_else_is() {
        let all = [
            event(KEY, 1),
            event(0, 0),
            event(KEY, 2),
            event(KEY, 0),
            event(4, 1),
            event(KEY, 1),
        ]
        .concat();
        assert_eq!(presses(&all), 2);
        assert_eq!(presses(&all[..all.len() - 1]), 1, "half an event is none");
        assert_eq!(presses(&[]), 0);
    }

    #[test]
    fn a_key_that_chatters_is_pressed_once_and_again_after_a_while() {
        let mut button = Presses::default();
        let (down, up) = (event(KEY, 1), event(KEY, 0));
        let mut hears = |s: u64, events: &[u8]| button.hears(events, Uptime(s * 1_000));
        assert!(!hears(0, &up), "it was let go");
        assert!(hears(1, &[down.clone(), up.clone(), down.clone()].concat()));
        assert!(!hears(2, &down));
        // What does not count does not make it longer.
        assert!(!hears(10, &down));
        assert!(hears(11, &down));
        assert!(!hears(12, &up));
    }

    #[test]
    fn a_press_never_shortens_a_hold() {
        let now = Timestamp::synced(1_795_000_000_000);
        let (_, short) = wish(now, Duration::from_mins(5));
        let (_, long) = wish(now, Duration::from_mins(90));
        assert_eq!(placed(long.clone(), None), Some(long.clone()));
        assert_eq!(placed(long.clone(), Some(&short)), Some(long.clone()));
        assert_eq!(placed(short, Some(&long)), None);
        assert_eq!(placed(long.clone(), Some(&long)), None, "it stands as it is");
    }

    #[test]
    fn a_press_asks_for_quiet_from_now_on_and_for_a_time() {
        let now = Timestamp::synced(1_795_000_000_000);
        let (id, hold) = wish(now, Duration::from_mins(90));
        assert_eq!((id.as_str(), hold.placed), ("button", now));
        assert_eq!(hold.until, now.plus_ms(90 * 60_000));
    }
}
