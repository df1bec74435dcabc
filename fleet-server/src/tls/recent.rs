//! What was worked out of some bytes, remembered by their SHA-256 for as long as they keep coming; bounded.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};

/// Entries of each of the two halves. A fleet of more gateways works things out again for the rest.
const REMEMBERED: usize = 32_768;

/// SHA-256 over the bytes.
pub type Fingerprint = [u8; 32];

/// The fingerprint of these bytes.
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut all = [0; 32];
    all.copy_from_slice(digest(&SHA256, bytes).as_ref());
    all
}

/// The newer half is filled; when it is full it becomes the older one, which is forgotten.
#[derive(Debug)]
pub struct Recent<V> {
    newer: HashMap<Fingerprint, V>,
    older: HashMap<Fingerprint, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Recent<V> {
        Recent {
            newer: HashMap::new(),
            older: HashMap::new(),
        }
    }
}

impl<V: Clone> Recent<V> {
    /// What is remembered of these bytes.
    pub fn get(&mut self, of: &Fingerprint) -> Option<V> {
        if let Some(found) = self.newer.get(of) {
            return Some(found.clone());
        }
        let found = self.older.remove(of)?;
        self.put(*of, found.clone());
        Some(found)
    }

    /// Remembers it.
    pub fn put(&mut self, of: Fingerprint, value: V) {
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(of, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_coming_is_remembered_and_what_does_not_is_forgotten() {
        let of = |n: usize| fingerprint(&n.to_be_bytes());
        let mut recent = Recent::default();
        recent.put(of(0), 0);
        for n in 1..3 * REMEMBERED {
            recent.put(of(n), n);
            assert_eq!(recent.get(&of(0)), Some(0), "asked for all the time");
            assert!(recent.newer.len() + recent.older.len() <= 2 * REMEMBERED);
        }
        assert_eq!(recent.get(&of(1)), None, "nobody asked for it");
    }
}
