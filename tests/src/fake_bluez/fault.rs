//! What can be made to go wrong with a call.

use std::time::Duration;

use super::say::Refusal;

/// A call that goes wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which method, as `ReadValue`.
    pub method: &'static str,
    /// Of objects whose path holds this; empty: of all.
    pub path: String,
    /// How.
    pub does: Does,
    /// How many more times.
    pub left: u32,
}

/// How a call goes wrong.
#[derive(Debug, Clone)]
pub enum Does {
    /// It is never answered.
    Hang,
    /// It is answered with an error, and nothing is done.
    Fail(Refusal),
    /// It is done and answered after this long.
    Late(Duration),
    /// The sensor's objects vanish before it.
    Vanish,
}

impl Fault {
    /// Every call of `method` to objects with `path` in theirs goes wrong.
    pub fn always(method: &'static str, path: &str, does: Does) -> Fault {
        Fault {
            method,
            path: path.to_owned(),
            does,
            left: u32::MAX,
        }
    }

    /// The next one does.
    pub fn once(method: &'static str, path: &str, does: Does) -> Fault {
        Fault {
            left: 1,
            ..Fault::always(method, path, does)
        }
    }
}
