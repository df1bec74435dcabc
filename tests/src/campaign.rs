//! A campaign as an operator runs one: planned, started by the code of the plan that was read, ordered, and read wave by wave.

use serde_json::Value;

use crate::programs::fleet::Fleet;

/// One release on its way, with times that are short: nothing is watched for longer than it takes.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// Its name.
    pub name: &'static str,
    /// The path of what it brings.
    pub target: &'static str,
}

impl Campaign {
    /// The words of a command about it.
    pub fn words<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["campaign", command, self.name, "--target", self.target];
        words.extend(["--soak", "0", "--act-within", "10"]);
        words.extend(more);
        words
    }

    /// What the plan says; its code starts it.
    ///
    /// # Panics
    /// When there is none.
    pub fn plan(&self, fleet: &Fleet) -> Plan {
        Plan(fleet.json(&self.words("plan", &[])))
    }

    /// Starts it by the code of the plan that was read; false when that is refused.
    pub fn start(&self, fleet: &Fleet, code: &str) -> bool {
        let words = self.words("start", &["--plan", code]);
        fleet.run(&words).status.success()
    }

    /// Gives an order with its reason; what was said to it.
    ///
    /// # Errors
    /// What was said, when it is refused.
    pub fn order(&self, fleet: &Fleet, order: &str, reason: &str) -> Result<String, String> {
        let done = fleet.run(&["campaign", order, self.name, "--reason", reason]);
        if done.status.success() {
            Ok(done.stdout)
        } else {
            Err(done.stderr)
        }
    }

    /// How it stands.
    ///
    /// # Panics
    /// When there is no such campaign.
    pub fn board(&self, fleet: &Fleet) -> Board {
        Board(fleet.json(&["campaign", "status", self.name]))
    }
}

/// A plan, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan(pub Value);

impl Plan {
    /// What is given to start it.
    pub fn code(&self) -> &str {
        self.0["plan"].as_str().unwrap_or_default()
    }

    /// Waves that have homes, and how many, in their order.
    pub fn waves(&self) -> Vec<(&str, u64)> {
        let waves = self.0["waves"].as_array().into_iter().flatten();
        let count = |one: &'_ Value| one["homes"].as_u64().unwrap_or(0);
        let waves = waves.filter(|one| count(one) > 0);
        waves
            .map(|one| (one["wave"].as_str().unwrap_or_default(), count(one)))
            .collect()
    }

    /// The wave of a box; empty where it takes no part.
    pub fn wave(&self, gateway: &str) -> &str {
        of(&self.0["gateways"], gateway)["wave"]
            .as_str()
            .unwrap_or_default()
    }
}

/// A board, as JSON: from the command line and from the API it is the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Board(pub Value);

impl Board {
    /// `running`, `stopped`, `halted`, `done` …
    pub fn state(&self) -> &str {
        self.0["state"].as_str().unwrap_or_default()
    }

    /// The same in one sentence.
    pub fn stands(&self) -> &str {
        self.0["stands"].as_str().unwrap_or_default()
    }

    fn wave(&self, wave: &str) -> &Value {
        let mut waves = self.0["waves"].as_array().into_iter().flatten();
        waves.find(|one| one["wave"] == wave).unwrap_or(&Value::Null)
    }

    /// How many homes of a wave stand there: `confirmed`, `waiting` …
    pub fn count(&self, wave: &str, place: &str) -> u64 {
        self.wave(wave)[place].as_u64().unwrap_or(0)
    }

    /// How many homes of all waves do.
    pub fn all(&self, place: &str) -> u64 {
        let waves = self.0["waves"].as_array().into_iter().flatten();
        waves.filter_map(|one| one[place].as_u64()).sum()
    }

    /// Whether a wave has opened.
    pub fn is_open(&self, wave: &str) -> bool {
        self.wave(wave)["open"] == true
    }

    /// Why a home stands where it does; empty where nothing is awaited of it.
    pub fn says(&self, gateway: &str) -> &str {
        of(&self.0["homes"], gateway)["says"].as_str().unwrap_or_default()
    }

    /// Where it stands, in one word; empty where nothing is awaited of it.
    pub fn step(&self, gateway: &str) -> &str {
        of(&self.0["homes"], gateway)["step"].as_str().unwrap_or_default()
    }
}

fn of<'a>(list: &'a Value, gateway: &str) -> &'a Value {
    let mut all = list.as_array().into_iter().flatten();
    all.find(|one| one["gateway"] == gateway).unwrap_or(&Value::Null)
}
