//! Shell: what a server offers: in memory, where it writes down who asked for what, or a folder.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use homeward_agent::update::tuf::{Fetch, FetchError};

/// Files by their name on the server.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    broken: BTreeMap<String, String>,
    asked: Vec<String>,
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a file.
    pub fn put(&self, name: impl Into<String>, bytes: Vec<u8>) {
        self.state().files.insert(name.into(), bytes);
    }

    /// Offers it no more.
    pub fn take(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.remove(name)
    }

    /// The file.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).cloned()
    }

    /// All files.
    pub fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }

    /// Answers questions for a file by this failure.
    pub fn fail(&self, name: &str, why: &str) {
        self.state().broken.insert(name.to_owned(), why.to_owned());
    }

    /// What was asked for since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }
}

impl Fetch for &Shelf {
    async fn get(
        &self,
        file: &str,
        from: u64,
        max: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> Result<(), FetchError> {
        let found = {
            let mut state = self.state();
            state.asked.push(file.to_owned());
            if let Some(why) = state.broken.get(file) {
                return Err(FetchError::Failed(why.clone()));
            }
            state.files.get(file).cloned().ok_or(FetchError::Absent)?
        };
        let whole = u64::try_from(found.len()).unwrap_or(u64::MAX);
        // In small pieces, as a network brings it.
        let start = usize::try_from(from.min(whole)).unwrap_or(0);
        let mut at = from.min(whole);
        for piece in found.get(start..).unwrap_or_default().chunks(1000) {
            let end = at + u64::try_from(piece.len()).unwrap_or(0);
            if end > max {
                return Err(FetchError::TooLong(max));
            }
            take(at, piece).map_err(FetchError::Keep)?;
            at = end;
        }
        Ok(())
    }
}

/// A folder as a server would offer it.
#[derive(Debug, Clone)]
pub struct Served(pub PathBuf);

impl Fetch for Served {
    async fn get(
        &self,
        file: &str,
        _: u64,
        _: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> Result<(), FetchError> {
        let bytes = std::fs::read(self.0.join(file)).map_err(|_| FetchError::Absent)?;
        take(0, &bytes).map_err(FetchError::Keep)
    }
}
