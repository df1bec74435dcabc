//! Shell: wishes for quiet that come from the console: kept as a hold like any other, and their number beside it.
//!
//! # Design
//! - The hold has a name of its own, so that nobody at the server lifts one that a person placed at the box.
//! - The hold is written before its number: after a crash between the two the server says it again, and it is written again.
//! - What is left of a wish counts from when it was first heard; the same number again changes nothing.
#![expect(clippy::disallowed_methods, reason = "shell: a file")]

use std::fs;
use std::path::{Path, PathBuf};

use homeward_protocol::quiet::QuietOrder;
use homeward_protocol::time::Timestamp;

use super::file::{self, HoldError};
use super::hold::{Hold, HoldId};
use crate::disk::replace;

fn number(data: &Path) -> PathBuf {
    data.join("quiet-order")
}

/// The number of the newest wish that was heard; none before one was.
pub fn heard(data: &Path) -> Option<u64> {
    fs::read_to_string(number(data)).ok()?.trim().parse().ok()
}

/// Takes a wish; gives the number of the newest. One that is not newer changes nothing.
///
/// # Errors
/// When it could not be kept: then nothing is said of it, and the server says it again.
pub fn take(data: &Path, order: &QuietOrder, now: Timestamp) -> Result<u64, HoldError> {
    if let Some(known) = heard(data).filter(|known| *known >= order.order) {
        return Ok(known);
    }
    let name = HoldId::console();
    let left = i64::try_from(order.left().as_millis()).unwrap_or(i64::MAX);
    if left == 0 {
        match file::lift(data, &name) {
            Ok(()) | Err(HoldError::None(_)) => {}
            Err(error) => return Err(error),
        }
    } else {
        let hold = Hold {
            by: order.by.clone(),
            reason: order.reason.clone(),
            placed: now,
            until: now.plus_ms(left),
        };
        file::place(data, &name, &hold, now)?;
    }
    let path = number(data);
    replace(&path, order.order.to_string().as_bytes()).map_err(|source| HoldError::Io { path, source })?;
    Ok(order.order)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::ShortText;

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn order(order: u64, left_s: u32) -> QuietOrder {
        QuietOrder {
            order,
            left_s,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        }
    }

    #[test]
    fn the_newest_wish_stands_an_older_one_changes_nothing_and_only_its_own_hold_is_lifted() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path();
        let until = |name: &str| {
            let holds = file::all(data, NOW).expect("reads");
            holds
                .get(&name.parse::<HoldId>().expect("a name"))
                .map(|hold| hold.until.ms - NOW.ms)
        };
        let own = Hold {
            by: ShortText::cut("nurse"),
            reason: ShortText::cut("a visit"),
            placed: NOW,
            until: NOW.plus_ms(1),
        };
        file::place(data, &"nurse".parse().expect("a name"), &own, NOW).expect("placed");
        assert_eq!(heard(data), None);
        assert_eq!(take(data, &order(7, 60), NOW).expect("kept"), 7);
        assert_eq!(until("console-order"), Some(60_000));
        // Said again later, with less left, or replayed: it ends as it was first heard.
        assert_eq!(take(data, &order(7, 50), NOW.plus_ms(20_000)).expect("kept"), 7);
        assert_eq!(take(data, &order(6, u32::MAX), NOW).expect("kept"), 7);
        assert_eq!((heard(data), until("console-order")), (Some(7), Some(60_000)));
        // A longer one has a bound, and one that ends it lifts the console's alone.
        assert_eq!(take(data, &order(8, u32::MAX), NOW).expect("kept"), 8);
        assert_eq!(until("console-order"), Some(72 * 3_600_000));
        assert_eq!(take(data, &order(9, 0), NOW).expect("kept"), 9);
        assert_eq!((until("console-order"), until("nurse")), (None, Some(1)));
        // Nobody at the box takes its name: what the console says of it is so.
        assert!(file::is_own(&HoldId::console()).is_err());
        assert!(file::is_own(&"nurse".parse().expect("a name")).is_ok());
        assert_eq!(take(data, &order(10, 0), NOW).expect("kept"), 10);
        assert_eq!(heard(data), Some(10));
    }
}
