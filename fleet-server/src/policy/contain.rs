//! How a gateway stands to an order that shuts it off from what is not vital, and whether to say the order again.

use homeward_protocol::policy::isolation::{IsolationOrder, Ordered};
use homeward_protocol::policy::state::Isolation;
use homeward_protocol::time::Timestamp;

/// An order that a connected gateway does not report is said again after so long, milliseconds.
const AGAIN_MS: i64 = 20_000;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// Nobody ever shut it off, or that is over and the box says so.
    Open,
    /// Shut off here; the box has not said that it heard.
    Ordered,
    /// The box heard, and its isolation does not hold yet, or cannot.
    Heard,
    /// The box says that it holds, since when by its clock.
    Holds(Timestamp),
    /// Lifted here; the box has not said that it heard.
    Lifting,
    /// The box holds to an order that this server does not know: it was restored from a backup.
    Foreign,
}

impl Containment {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Containment::Open => "open",
            Containment::Ordered => "ordered",
            Containment::Heard => "heard",
            Containment::Holds(_) => "holds",
            Containment::Lifting => "lifting",
            Containment::Foreign => "foreign",
        }
    }

    /// Whether isolating is what a person can do next; else lifting is.
    pub const fn may_isolate(self) -> bool {
        matches!(self, Containment::Open | Containment::Lifting)
    }
}

/// How a gateway stands: what was ordered here, and what it says.
pub fn containment(order: Option<&IsolationOrder>, said: Option<&Isolation>) -> Containment {
    let Some(order) = order else {
        return match said {
            Some(said) if said.ordered == Ordered::Isolate => Containment::Foreign,
            _ => Containment::Open,
        };
    };
    let heard = said.filter(|said| said.order == order.order);
    match (order.ordered, heard) {
        (Ordered::Isolate, None) => Containment::Ordered,
        (Ordered::Isolate, Some(said)) => said.since.map_or(Containment::Heard, Containment::Holds),
        (Ordered::Lift, Some(said)) if said.since.is_none() => Containment::Open,
        (Ordered::Lift, _) => Containment::Lifting,
    }
}

/// The number of the next order: above all that were given here and that the box names, and above what a server that
/// was restored from a backup may have given before.
pub fn next_number(before: Option<u64>, said: Option<u64>, now: Timestamp) -> u64 {
    let above = before.max(said).map_or(1, |number| number.saturating_add(1));
    above.max(u64::try_from(now.ms).unwrap_or(0))
}

/// Whether a connected gateway is told its order now. `told` is the number and the moment on this connection.
pub fn due(
    order: &IsolationOrder,
    said: Option<&Isolation>,
    told: Option<(u64, Timestamp)>,
    now: Timestamp,
) -> bool {
    if said.is_some_and(|said| said.order == order.order) {
        return false;
    }
    told.is_none_or(|(number, at)| {
        number != order.order || now.ms.saturating_sub(at.ms) >= AGAIN_MS || at.ms > now.ms
    })
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::ShortText;

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn order(number: u64, ordered: Ordered) -> IsolationOrder {
        IsolationOrder {
            order: number,
            ordered,
            reason: ShortText::cut("x"),
            at: NOW,
        }
    }

    fn said(number: u64, ordered: Ordered, holds: bool) -> Isolation {
        Isolation {
            order: number,
            ordered,
            since: holds.then_some(NOW),
        }
    }

    #[test]
    fn nothing_counts_as_shut_off_or_open_again_before_the_box_says_so() {
        use Containment::{Foreign, Heard, Holds, Lifting, Open, Ordered as Told};
        const ISOLATE: Ordered = Ordered::Isolate;
        const LIFT: Ordered = Ordered::Lift;
        for (ordered, heard, expected) in [
            (None, None, Open),
            (Some((1, ISOLATE)), None, Told),
            (Some((2, ISOLATE)), Some((1, LIFT, false)), Told),
            (Some((2, ISOLATE)), Some((2, ISOLATE, false)), Heard),
            (Some((2, ISOLATE)), Some((2, ISOLATE, true)), Holds(NOW)),
            (Some((3, LIFT)), Some((2, ISOLATE, true)), Lifting),
            (Some((3, LIFT)), Some((3, LIFT, true)), Lifting),
            (Some((3, LIFT)), Some((3, LIFT, false)), Open),
            (None, Some((9, ISOLATE, true)), Foreign),
            (None, Some((9, LIFT, false)), Open),
        ] {
            let order = ordered.map(|(number, what)| order(number, what));
            let said = heard.map(|(number, what, holds)| said(number, what, holds));
            assert_eq!(
                containment(order.as_ref(), said.as_ref()),
                expected,
                "{ordered:?} {heard:?}"
            );
        }
    }

    #[test]
    fn a_number_is_above_all_before_it_also_after_a_restore() {
        let clock = u64::try_from(NOW.ms).expect("positive");
        assert_eq!(next_number(None, None, NOW), clock);
        assert_eq!(next_number(Some(clock), None, NOW), clock + 1);
        assert_eq!(next_number(None, Some(clock + 7), NOW), clock + 8);
        assert_eq!(next_number(Some(4), Some(6), Timestamp::synced(0)), 7);
    }

    #[test]
    fn an_order_is_said_once_a_connection_and_again_after_silence() {
        let one = order(5, Ordered::Isolate);
        assert!(due(&one, None, None, NOW));
        assert!(!due(&one, None, Some((5, NOW)), NOW.plus_ms(1000)));
        assert!(due(&one, None, Some((5, NOW)), NOW.plus_ms(AGAIN_MS)));
        assert!(due(&one, None, Some((4, NOW)), NOW));
        assert!(!due(&one, Some(&said(5, Ordered::Isolate, false)), None, NOW));
    }
}
