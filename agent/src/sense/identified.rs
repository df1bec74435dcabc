//! Who a wired device says it is (Modbus function 43/14), held against who it was: a cable that was moved puts another
//! device behind the same address.
//!
//! # Design
//! - What it says proves nothing, anybody can say it; but two devices that are mixed up by accident say two things.
//! - What it said first, as that sensor at that place, is remembered over restarts, unless `agent.toml` says who it
//!   is. Who exchanges a device on purpose writes the new one there: nothing is learnt anew in silence.
//! - Maker and product count; a revision changes with an update.
//! - It is asked after a start, after each turn without an answer (a cable is moved while nothing answers), and now
//!   and then for a cable that was moved between two turns.

use std::time::Duration;

use homeward_protocol::time::Uptime;

use crate::care::Identity;
use crate::sense::Sensor;

/// How often it is asked while all goes well.
const AGAIN: Duration = Duration::from_mins(10);

/// What a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Maker and product.
    Model(String),
    /// That it does not know the question, or no text.
    Nothing,
}

/// What is known of who a device is.
#[derive(Debug)]
pub(super) struct Identified {
    /// When it is asked next; none when its profile says that it does not tell.
    due: Option<Uptime>,
    /// Which sensor at which place it is: what was learnt of another does not count.
    place: String,
    known: Option<String>,
    /// What it says when that is not what is known.
    other: Option<Said>,
    learnt: bool,
}

impl Identified {
    pub(super) fn new(sensor: &Sensor, up: Uptime) -> Identified {
        Identified {
            due: sensor.profile.identifies.then_some(up),
            place: format!("{} {} {}", sensor.profile.id, sensor.way, sensor.unit),
            known: sensor.identity.clone(),
            other: None,
            learnt: false,
        }
    }

    /// Goes on from what was kept; the configuration goes first.
    pub(super) fn recall(&mut self, kept: &[u8]) {
        let text = std::str::from_utf8(kept).ok();
        let known = text
            .and_then(|text| text.strip_prefix(&self.place))
            .and_then(|rest| rest.strip_prefix('\n'));
        if self.known.is_none() {
            self.known = known.map(str::to_owned);
        }
    }

    /// What is to be kept, once after it was learnt.
    pub(super) fn learnt(&mut self) -> Option<Vec<u8>> {
        let known = self.known.as_ref()?;
        std::mem::take(&mut self.learnt).then(|| format!("{}\n{known}", self.place).into_bytes())
    }

    pub(super) fn due(&self, up: Uptime) -> bool {
        self.due.is_some_and(|due| due <= up)
    }

    /// Nothing was answered: who answers next may be another.
    pub(super) const fn silent(&mut self, up: Uptime) {
        if self.due.is_some() {
            self.due = Some(up);
        }
    }

    /// It was asked, and this came; none when it could not answer just then.
    pub(super) fn answered(&mut self, said: Option<&Said>, up: Uptime) {
        self.due = self.due.map(|_| up.plus(AGAIN));
        match (said, &self.known) {
            (Some(Said::Model(model)), None) => {
                self.known = Some(model.clone());
                self.learnt = true;
            }
            (Some(said), Some(known)) => {
                let same = matches!(said, Said::Model(model) if model == known);
                self.other = (!same).then(|| said.clone());
            }
            (Some(Said::Nothing), None) | (None, _) => {}
        }
    }

    pub(super) const fn looks(&self) -> Identity {
        match self.other {
            Some(_) => Identity::Unexpected,
            None => Identity::AsExpected,
        }
    }

    /// What is wrong, and what to do about it.
    pub(super) fn complaint(&self) -> Option<String> {
        let (known, other) = (self.known.as_ref()?, self.other.as_ref()?);
        Some(match other {
            Said::Model(model) => format!(
                "it says that it is {model}, and was {known}: was a cable moved? If it was exchanged, say \
                 identity = \"{model}\""
            ),
            Said::Nothing => format!("it does not say any more that it is {known}: was a cable moved?"),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::sense::SensorConfig;

    use super::*;

    fn identified(profile: &str, identity: Option<&str>) -> Identified {
        let config = SensorConfig {
            id: "air".parse().expect("an id"),
            profile: profile.parse().expect("an id"),
            address: "/dev/ttyUSB0".parse().expect("an address"),
            tls: None,
            baud: None,
            unit: None,
            interval_ms: None,
            identity: identity.map(str::to_owned),
        };
        let sensor = config.resolve(&[]).expect("a sensor");
        Identified::new(&sensor, Uptime(0))
    }

    fn model(text: &str) -> Said {
        Said::Model(text.to_owned())
    }

    #[test]
    fn the_first_is_remembered_and_another_is_told_until_the_first_is_back() {
        let mut probe = identified("vaisala-gmp251", None);
        assert!(probe.due(Uptime(0)));
        probe.answered(Some(&model("Vaisala GMP251")), Uptime(0));
        let kept = probe.learnt().expect("to be kept");
        assert_eq!((probe.learnt(), probe.due(Uptime(1))), (None, false));

        let mut later = identified("vaisala-gmp251", None);
        later.recall(&kept);
        for other in [model("Vaisala GMP343"), Said::Nothing] {
            later.answered(Some(&other), Uptime(0));
            assert_eq!((later.looks(), later.learnt()), (Identity::Unexpected, None));
            assert!(later.complaint().expect("said").contains("Vaisala GMP251"));
        }
        // That it cannot answer just now changes nothing.
        later.answered(None, Uptime(1));
        assert_eq!(later.looks(), Identity::Unexpected);
        later.answered(Some(&model("Vaisala GMP251")), Uptime(2));
        assert_eq!((later.looks(), later.complaint()), (Identity::AsExpected, None));
    }

    #[test]
    fn the_configuration_goes_before_what_was_learnt_and_another_place_is_another_device() {
        let mut stated = identified("vaisala-gmp251", Some("Vaisala GMP252"));
        let place = stated.place.clone();
        stated.recall(format!("{place}\nVaisala GMP251").as_bytes());
        stated.answered(Some(&model("Vaisala GMP252")), Uptime(0));
        assert_eq!((stated.looks(), stated.learnt()), (Identity::AsExpected, None));

        let mut moved = identified("vaisala-gmp251", None);
        for kept in ["elsewhere\nX", "", &place, &format!("{place}X")] {
            moved.recall(kept.as_bytes());
            assert_eq!(moved.known, None, "{kept}");
        }
    }

    #[test]
    fn it_is_asked_again_after_silence_and_now_and_then_and_never_when_its_profile_is_silent() {
        let mut probe = identified("vaisala-gmp251", None);
        probe.answered(Some(&Said::Nothing), Uptime(0));
        assert!(!probe.due(Uptime(599_999)) && probe.due(Uptime(600_000)));
        probe.silent(Uptime(5));
        assert!(probe.due(Uptime(5)));
        let mut mute = identified("senseair-s8", None);
        mute.silent(Uptime(5));
        assert!(!mute.due(Uptime(u64::MAX)));
    }
}
