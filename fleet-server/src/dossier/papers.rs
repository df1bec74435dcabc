//! The dossiers that are published, as those who open tasks and who look after them ask for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use homeward_protocol::time::Timestamp;

use crate::release::dossiers::Carried;

/// For each path that was asked about: the SHA-256 (hex) that is published under it, nothing where there is none.
pub type Named = BTreeMap<String, Option<String>>;
/// Finds one dossier by its path.
type Find = dyn Fn(Timestamp, &str) -> Result<Carried, String> + Send + Sync;
/// Says what is published under these paths.
type Look = dyn Fn(Timestamp, &[String]) -> Result<Named, String> + Send + Sync;
/// Says what is the newest of each line.
type All = dyn Fn(Timestamp) -> Result<Newest, String> + Send + Sync;

/// The newest instructions of each line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newest {
    /// Those that can be read.
    pub whole: Vec<Carried>,
    /// Paths of those that cannot, each with why, for people. Older ones do not stand in for them.
    pub broken: Vec<(String, String)>,
}

/// What is published, read anew each time. An error says why nothing can be said, for people: that is never taken for a
/// recall. Cheap to clone.
#[derive(Clone)]
pub struct Papers {
    find: Arc<Find>,
    look: Arc<Look>,
    all: Arc<All>,
}

impl Papers {
    /// By asking these each time.
    pub fn new(
        find: impl Fn(Timestamp, &str) -> Result<Carried, String> + Send + Sync + 'static,
        look: impl Fn(Timestamp, &[String]) -> Result<Named, String> + Send + Sync + 'static,
        all: impl Fn(Timestamp) -> Result<Newest, String> + Send + Sync + 'static,
    ) -> Papers {
        Papers {
            find: Arc::new(find),
            look: Arc::new(look),
            all: Arc::new(all),
        }
    }

    /// The newest instructions of each line. Reads files: not for a task that others wait for.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub fn newest(&self, now: Timestamp) -> Result<Newest, String> {
        (self.all)(now)
    }

    /// The dossier at a path. Reads files, likewise.
    ///
    /// # Errors
    /// Why it is not there, or cannot be believed.
    pub fn find(&self, path: &str, now: Timestamp) -> Result<Carried, String> {
        (self.find)(now, path)
    }

    /// What is published under these paths. Reads files, likewise.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub fn named(&self, paths: &[String], now: Timestamp) -> Result<Named, String> {
        (self.look)(now, paths)
    }
}

/// Nothing is known of what is published.
impl Default for Papers {
    fn default() -> Papers {
        let nothing = "nothing is published here";
        Papers::new(
            move |_, _| Err(nothing.into()),
            move |_, _| Err(nothing.into()),
            move |_| Err(nothing.into()),
        )
    }
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Papers")
    }
}
