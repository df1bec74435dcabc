//! Continuous glucose sensors whose session is over.
//!
//! Found at the first word of the sensor after the end (or that it was stopped); without any word [`GRACE`] after the
//! end that it announced, because a sensor that is changed in time also falls silent while the next one warms up. No
//! false alarms by its own doing: the sensor itself says how old its session is and how long it lasts. Over when a
//! younger session begins.

use std::time::Duration;

use homeward_protocol::time::{Timestamp, Uptime};

use super::silence::minutes;
use super::{Claim, Finds};

/// To change a sensor and to warm it up.
const GRACE: Duration = Duration::from_hours(6);

/// What a sensor says of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// How long it has run: the time offset of the newest value. Source: CGM Measurement, Time Offset.
    pub age: Duration,
    /// How long it runs in all, as the sensor or its profile says. Source: CGM Session Run Time.
    pub life: Option<Duration>,
    /// The sensor says that it was stopped. Source: CGM sensor status annunciation, session stopped.
    pub stopped: bool,
}

#[derive(Debug, Default)]
pub(super) struct Watched {
    last: Option<(Session, Uptime)>,
    claim: Option<Claim>,
}

impl Watched {
    pub(super) fn see(&mut self, session: Session, now: Timestamp, up: Uptime) {
        let younger = self.last.is_some_and(|(last, _)| session.age < last.age);
        if younger && !session.stopped && session.life.is_none_or(|life| session.age < life) {
            self.claim = None;
        }
        self.last = Some((session, up));
        if session.stopped {
            self.stand(now, "the sensor says that its session was stopped".to_owned());
        } else if let Some(life) = session.life.filter(|life| session.age >= *life) {
            self.stand(ended(now, session.age, life), lasted(life));
        }
    }

    pub(super) fn finds(&self, now: Timestamp, up: Uptime) -> Finds {
        if let Some(claim) = &self.claim {
            return Finds::Stands(claim.clone());
        }
        let Some((session, at)) = self.last else {
            return Finds::Unknown;
        };
        let age = session.age.saturating_add(up.since(at));
        match session.life.filter(|life| age >= life.saturating_add(GRACE)) {
            Some(life) => Finds::Stands(Claim {
                since: ended(now, age, life),
                said: lasted(life),
            }),
            None => Finds::Fine,
        }
    }

    fn stand(&mut self, since: Timestamp, said: String) {
        self.claim.get_or_insert(Claim { since, said });
    }
}

fn ended(now: Timestamp, age: Duration, life: Duration) -> Timestamp {
    let over = i64::try_from(age.saturating_sub(life).as_millis()).unwrap_or(i64::MAX);
    now.plus_ms(-over)
}

fn lasted(life: Duration) -> String {
    format!("its session of {} is over", minutes(life))
}
