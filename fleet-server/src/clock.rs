//! Shell: the one place in the server that reads the wall clock.
#![expect(clippy::disallowed_methods, reason = "shell: the clock")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use homeward_protocol::time::Timestamp;

/// Tells what time it is. The server's clock counts as synced: its host is administered.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The host's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::synced(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        }))
    }

    /// A clock that a test moves.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let secs = u64::try_from(self.now().secs()).ok()?;
        let since = std::time::Duration::from_secs(secs);
        Some(rustls::pki_types::UnixTime::since_unix_epoch(since))
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
