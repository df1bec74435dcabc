//! A store in memory whose power can be cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use homeward_agent::update::tuf::Store;

/// What was kept. A save is whole or not at all, as the real one is.
#[derive(Debug, Default)]
pub struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Saves that still succeed before the power fails.
    left: Option<u32>,
    saves: u32,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails after `saves` more saves; `None`: it never does.
    pub fn cut_after(&self, saves: Option<u32>) {
        self.state().left = saves;
    }

    /// How many saves there were.
    pub fn saves(&self) -> u32 {
        self.state().saves
    }

    /// What is kept under a name.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).cloned()
    }

    /// Puts something there, or takes it away, behind the client's back.
    pub fn set(&self, name: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.state().files.insert(name.to_owned(), bytes),
            None => self.state().files.remove(name),
        };
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }
}

impl Store for Disk {
    fn load(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut found = self.get(name);
        if let Some(bytes) = &mut found {
            bytes.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        }
        Ok(found)
    }

    fn save(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        match &mut state.left {
            Some(0) => return Err(io::Error::other("the power failed")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.saves += 1;
        state.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}
