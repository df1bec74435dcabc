//! How many wrong codes one address may send.

use std::collections::HashMap;
use std::net::IpAddr;

use homeward_protocol::time::Timestamp;

/// Wrong codes from one address within [`WINDOW_MS`].
pub const MAX_GUESSES: u32 = 10;
/// How long wrong codes are remembered.
pub const WINDOW_MS: i64 = 600_000;
/// Addresses remembered at once.
const MAX_ADDRESSES: usize = 10_000;

/// The memory of one listener. It is lost at a restart, which is no help to a guesser: a code has 80 bits.
#[derive(Debug, Default)]
pub struct Guesses {
    wrong: HashMap<IpAddr, (u32, Timestamp)>,
}

impl Guesses {
    /// Seconds that this address has to wait before its next try; `None` when it may try now.
    pub fn wait_s(&self, from: IpAddr, now: Timestamp) -> Option<u32> {
        let (count, first) = self.wrong.get(&from)?;
        let left_ms = WINDOW_MS - i64::try_from(first.age(now).as_millis()).unwrap_or(i64::MAX);
        if *count < MAX_GUESSES || left_ms <= 0 {
            return None;
        }
        u32::try_from(left_ms / 1000 + 1).ok()
    }

    /// Notes a wrong code.
    pub fn note(&mut self, from: IpAddr, now: Timestamp) {
        let fresh =
            |first: Timestamp| i64::try_from(first.age(now).as_millis()).unwrap_or(i64::MAX) < WINDOW_MS;
        if self.wrong.len() >= MAX_ADDRESSES {
            self.wrong.retain(|_, (_, first)| fresh(*first));
        }
        // A full memory forgets nobody: who is in it stays limited, who is not is let through unremembered.
        if self.wrong.len() >= MAX_ADDRESSES && !self.wrong.contains_key(&from) {
            return;
        }
        let entry = self.wrong.entry(from).or_insert((0, now));
        if !fresh(entry.1) {
            *entry = (0, now);
        }
        entry.0 = entry.0.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let mut guesses = Guesses::default();
        let (one, two): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..MAX_GUESSES {
            assert_eq!(guesses.wait_s(one, NOW), None);
            guesses.note(one, NOW);
        }
        assert_eq!(guesses.wait_s(one, NOW), Some(601));
        assert_eq!(guesses.wait_s(two, NOW), None);
        assert_eq!(guesses.wait_s(one, NOW.plus_ms(WINDOW_MS)), None);
        guesses.note(one, NOW.plus_ms(WINDOW_MS));
        assert_eq!(guesses.wait_s(one, NOW.plus_ms(WINDOW_MS)), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..20_000u32 {
            guesses.note(IpAddr::V4(n.into()), NOW);
        }
        assert_eq!(guesses.wrong.len(), MAX_ADDRESSES);
    }
}
