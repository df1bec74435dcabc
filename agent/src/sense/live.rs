//! What is shown of the sensors as it comes: each reading, and each change of what goes wrong with one.
//!
//! A running agent tells it to whoever asks on its own machine ([`tap`]); without one, `sensor watch` reads by itself.

pub mod look;
pub mod tap;

use std::collections::BTreeMap;

use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{SensorHeard, ShortText};
use homeward_protocol::reading::Reading;
use serde::{Deserialize, Serialize};

/// Something to show. As JSON one line: `{"reading": …}`, `{"trouble": …}` or `{"missed": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// A reading came.
    Reading(Box<Reading>),
    /// What goes wrong with a sensor changed.
    Trouble {
        /// Which sensor.
        sensor: SensorId,
        /// What goes wrong; nothing any more without it.
        said: Option<ShortText>,
    },
    /// So many readings came faster than they were shown.
    Missed(u64),
}

impl Live {
    /// Whether it is about `sensor`; what is about none is about all.
    pub fn concerns(&self, sensor: &SensorId) -> bool {
        match self {
            Live::Reading(reading) => reading.sensor == *sensor,
            Live::Trouble { sensor: whose, .. } => whose == sensor,
            Live::Missed(_) => true,
        }
    }
}

/// What goes wrong with the sensors, as it was last told.
#[derive(Debug, Default)]
pub struct Troubles(BTreeMap<SensorId, ShortText>);

impl Troubles {
    /// What is to be told of `all` that was not.
    pub fn news(&mut self, all: &[SensorHeard]) -> Vec<Live> {
        all.iter().filter_map(|one| self.one(one)).collect()
    }

    fn one(&mut self, heard: &SensorHeard) -> Option<Live> {
        let known = self.0.get(&heard.sensor);
        if known == heard.last_error.as_ref() {
            return None;
        }
        match &heard.last_error {
            Some(said) => drop(self.0.insert(heard.sensor.clone(), said.clone())),
            None => drop(self.0.remove(&heard.sensor)),
        }
        Some(Live::Trouble {
            sensor: heard.sensor.clone(),
            said: heard.last_error.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sensor: &str, said: Option<&str>) -> SensorHeard {
        SensorHeard {
            sensor: sensor.parse().expect("an id"),
            profile: ShortText::cut("any"),
            last_heard: None,
            interval_s: 1,
            failures: 0,
            last_error: said.map(ShortText::cut),
        }
    }

    #[test]
    fn a_trouble_is_told_when_it_begins_changes_and_ends_and_not_in_between() {
        let mut troubles = Troubles::default();
        let mut told = |all: &[SensorHeard]| -> Vec<Option<String>> {
            let news = troubles.news(all).into_iter();
            news.map(|live| match live {
                Live::Trouble { said, .. } => said.map(|s| s.as_str().to_owned()),
                other => panic!("{other:?}"),
            })
            .collect()
        };
        assert_eq!(told(&[heard("a", None), heard("b", None)]), []);
        assert_eq!(
            told(&[heard("a", Some("off")), heard("b", None)]),
            [Some("off".into())]
        );
        assert_eq!(told(&[heard("a", Some("off"))]), []);
        assert_eq!(told(&[heard("a", Some("lost"))]), [Some("lost".into())]);
        assert_eq!(told(&[heard("a", None)]), [None]);
    }

    #[test]
    fn a_line_is_one_object_and_reads_back() {
        let trouble = Live::Trouble {
            sensor: "clip".parse().expect("an id"),
            said: Some(ShortText::cut("off")),
        };
        let line = serde_json::to_string(&trouble).expect("JSON");
        assert_eq!(line, r#"{"trouble":{"sensor":"clip","said":"off"}}"#);
        assert_eq!(serde_json::from_str::<Live>(&line).expect("reads"), trouble);
        assert!(trouble.concerns(&"clip".parse().expect("an id")));
        assert!(!trouble.concerns(&"cuff".parse().expect("an id")));
    }
}
