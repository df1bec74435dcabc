//! Shell: what is published, read anew each time that somebody looks.
#![expect(clippy::disallowed_methods, reason = "shell: reads aside")]

use std::fmt;
use std::sync::Arc;

use homeward_protocol::time::Timestamp;

use super::Shelf;

/// What is published: nothing where no repository lies there; else why it cannot be believed, for people.
pub type Read = Result<Option<Arc<Shelf>>, String>;

/// Reads what is published at this moment. Cheap to clone.
#[derive(Clone)]
pub struct Releases(Arc<dyn Fn(Timestamp) -> Read + Send + Sync>);

impl Releases {
    /// By asking `now` each time.
    pub fn from_fn(now: impl Fn(Timestamp) -> Read + Send + Sync + 'static) -> Releases {
        Releases(Arc::new(now))
    }

    /// What is published now.
    pub async fn read(&self, now: Timestamp) -> Read {
        let ask = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || ask(now)).await;
        read.unwrap_or_else(|_| Err("the published repository could not be read".into()))
    }
}

/// Nothing is published.
impl Default for Releases {
    fn default() -> Releases {
        Releases::from_fn(|_| Ok(None))
    }
}

impl fmt::Debug for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Releases")
    }
}
