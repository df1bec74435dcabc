//! Shell: counts wrong guesses by address, in memory, bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeward_protocol::time::Timestamp;

use crate::access::locked_until;

/// Addresses that are remembered; the oldest is forgotten first.
const ADDRESSES: usize = 4096;
/// Wrong guesses are forgotten after this long without another, milliseconds.
const FORGET_MS: i64 = 15 * 60_000;

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: i64,
    last: Timestamp,
}

/// Wrong guesses by address. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tries(Arc<Mutex<HashMap<IpAddr, Wrong>>>);

impl Tries {
    /// Whether this address has to wait before it may guess again.
    pub fn must_wait(&self, from: IpAddr, now: Timestamp) -> bool {
        let wrong = self.lock().get(&from).copied();
        let until = wrong.and_then(|w| locked_until(w.times, w.last));
        until.is_some_and(|until| now.ms < until.ms)
    }

    /// Notes a wrong guess.
    pub fn note_failure(&self, from: IpAddr, now: Timestamp) {
        let mut all = self.lock();
        all.retain(|_, w| now.ms - w.last.ms < FORGET_MS);
        if all.len() >= ADDRESSES && !all.contains_key(&from) {
            let oldest = all
                .iter()
                .min_by_key(|(_, w)| w.last.ms)
                .map(|(address, _)| *address);
            oldest.and_then(|address| all.remove(&address));
        }
        let wrong = all.entry(from).or_insert(Wrong { times: 0, last: now });
        *wrong = Wrong {
            times: wrong.times + 1,
            last: now,
        };
    }

    /// Forgets the wrong guesses of an address that has guessed right.
    pub fn note_success(&self, from: IpAddr) {
        self.lock().remove(&from);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Wrong>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_waits_after_five_and_the_memory_is_bounded() {
        let tries = Tries::default();
        let at = |s: i64| Timestamp::synced(s * 1000);
        let guesser = IpAddr::from(Ipv4Addr::LOCALHOST);
        for n in 0..5 {
            assert!(!tries.must_wait(guesser, at(n)));
            tries.note_failure(guesser, at(n));
        }
        assert!(tries.must_wait(guesser, at(5)));
        assert!(!tries.must_wait(guesser, at(35)));
        for n in 0..10_000u32 {
            tries.note_failure(IpAddr::from(Ipv4Addr::from(n)), at(6));
        }
        assert!(tries.lock().len() <= ADDRESSES);
    }
}
