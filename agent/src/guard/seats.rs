//! How many connections a guard holds, and whose.

use std::net::IpAddr;

/// Most connections at a time.
pub(super) const SEATS: usize = 16;
/// Most of one address: a display with its history, and one that is coming back.
pub(super) const SEATS_OF_ONE: usize = 4;
/// Most of all addresses that no rule knows. They get exceptions only, but what they try is worth knowing.
pub(super) const SEATS_OF_STRANGERS: usize = 2;

/// Somebody who holds a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// From an address that a rule knows.
    Known(IpAddr),
    /// From another one.
    Stranger(IpAddr),
}

/// Whether `new` may sit down beside `taken`.
pub(super) fn room(taken: &[Seat], new: Seat) -> bool {
    let from = |seat: &Seat| match *seat {
        Seat::Known(address) | Seat::Stranger(address) => address,
    };
    let strangers = taken.iter().filter(|s| matches!(s, Seat::Stranger(_))).count();
    let same = taken.iter().filter(|seat| from(seat) == from(&new)).count();
    let welcome = matches!(new, Seat::Known(_)) || strangers < SEATS_OF_STRANGERS;
    taken.len() < SEATS && same < SEATS_OF_ONE && welcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_greedy_peers_leave_room_for_others() {
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut taken = vec![Seat::Stranger(address(1)), Seat::Stranger(address(2))];
        assert!(!room(&taken, Seat::Stranger(address(3))));
        assert!(room(&taken, Seat::Known(address(3))));
        taken.extend([Seat::Known(address(4)); SEATS_OF_ONE]);
        assert!(!room(&taken, Seat::Known(address(4))));
        taken.extend((10..20).map(|n| Seat::Known(address(n))));
        assert_eq!(taken.len(), SEATS);
        assert!(!room(&taken, Seat::Known(address(3))));
    }
}
