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

/// The newest instructions of each line for what lies in a body.
type Implants = dyn Fn(Timestamp) -> Result<Vec<Carried>, String> + Send + Sync;

/// What is published, read anew each time. An error says why nothing can be said, for people: that is never taken for a
/// recall. Cheap to clone.
#[derive(Clone)]
pub struct Papers {
    find: Arc<Find>,
    look: Arc<Look>,
    implants: Arc<Implants>,
}

impl Papers {
    /// By asking these each time.
    pub fn new(
        find: impl Fn(Timestamp, &str) -> Result<Carried, String> + Send + Sync + 'static,
        look: impl Fn(Timestamp, &[String]) -> Result<Named, String> + Send + Sync + 'static,
    ) -> Papers {
        Papers {
            find: Arc::new(find),
            look: Arc::new(look),
            implants: Arc::new(|_| Ok(Vec::new())),
        }
    }

    /// The same, and by this what is published for what lies in a body.
    #[must_use]
    pub fn with_implants(
        self,
        implants: impl Fn(Timestamp) -> Result<Vec<Carried>, String> + Send + Sync + 'static,
    ) -> Papers {
        Papers {
            implants: Arc::new(implants),
            ..self
        }
    }

    /// The newest instructions of each line for what lies in a body, of those that the holders of targets name themselves.
    /// Reads files, likewise.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub fn implants(&self, now: Timestamp) -> Result<Vec<Carried>, String> {
        (self.implants)(now)
    }

    /// The dossier at a path. Reads files: not for a task that others wait for.
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
        Papers::new(move |_, _| Err(nothing.into()), move |_, _| Err(nothing.into()))
    }
}

impl fmt::Debug for Papers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Papers")
    }
}
