//! How each point of a policy stands: what is wanted, against what this box set and what it sees.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::net::Net;
use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::points::{Point, Rule};
use homeward_protocol::policy::rules::{Bluetooth, Maintenance, ModbusWrites, OnMetered, Updates, UsbClass};
use homeward_protocol::policy::state::Standing;
use homeward_protocol::posture::ShortText;

use super::ask::Answer;
use super::radio::{self, Adapter};
use super::sshd;
use people::Sights;

pub mod does;
pub mod people;
#[cfg(test)]
mod tests;

/// A part of the box that the helper rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Part {
    /// Nobody has asked it.
    #[default]
    Unknown,
    /// It answered, or what was answered for it.
    Said(Answer),
}

/// What this box is like where policies rule it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Our nftables table.
    pub network: Part,
    /// Its sshd.
    pub sshd: Part,
    /// What the agent sees by itself.
    pub facts: Facts,
}

/// What the agent sees of its box without rights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Classes of USB interfaces that are plugged in; none when this box has no USB.
    pub usb: Option<Vec<u8>>,
    /// Sockets that listen beyond the loopback; none when it cannot be seen.
    pub listening: Option<Vec<(Protocol, u16)>>,
    /// The resolvers that the box is set to ask.
    pub resolvers: Vec<Net>,
    /// Whether a time source disciplines the clock.
    pub clock_synced: bool,
    /// The sensors that the agent reads: where they are, how often it asks (ms), and after how many minutes without a
    /// value they are silent.
    pub sensors: BTreeMap<SensorId, Read>,
    /// Most that waiting records may take, KiB.
    pub outbox_kib: u64,
    /// How often the box reports itself when nothing changes, seconds.
    pub posture_s: u64,
    /// How often it makes a link of its chain while away, at least, where the policy says so, seconds.
    pub evidence_s: Option<u64>,
    /// How old its certificate gets, where the policy says so, seconds.
    pub certificate_s: Option<u64>,
    /// Most bytes a second at which updates are fetched, where the policy says so.
    pub fetch_rate: Option<u64>,
    /// What is done about them over a link that costs by the byte.
    pub metered: OnMetered,
    /// When work on it may begin, where the policy says so.
    pub maintenance: Option<Maintenance>,
    /// The devices that a guard stands before; others write to no others through this box.
    pub guarded: BTreeSet<SensorId>,
    /// Whether it reads a sensor by Bluetooth.
    pub reads_bluetooth: bool,
    /// Its Bluetooth adapters; none when the stack does not answer.
    pub adapters: Option<Vec<Adapter>>,
    /// Whether they take bonds for longer than an installer needs.
    pub pairs_long: bool,
    /// What was seen with rights.
    pub sights: Sights,
}

/// How a sensor is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Where it is.
    pub address: String,
    /// How often it is asked, milliseconds.
    pub interval_ms: u64,
    /// Without a value for so long it is silent, minutes.
    pub silent_min: u64,
    /// Below this its readings are shown as unverified; none: all of them are.
    pub least_grade: Option<Grade>,
}

/// One point's middle columns and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What this box last set.
    pub applied: Option<ShortText>,
    /// What it sees.
    pub observed: Option<ShortText>,
    /// How that stands.
    pub standing: Standing,
}

impl Found {
    fn seen(observed: &str, holds: bool) -> Found {
        Found {
            applied: None,
            observed: Some(ShortText::cut(observed)),
            standing: if holds { Standing::Holds } else { Standing::Drifted },
        }
    }

    fn set(mut self, point: &Point) -> Found {
        self.applied = Some(point.shown());
        self
    }

    /// What the agent does by itself: set when it is what is wanted.
    fn in_use(observed: &str, holds: bool, point: &Point) -> Found {
        let found = Found::seen(observed, holds);
        if holds { found.set(point) } else { found }
    }

    fn not_here(why: &str) -> Found {
        Found {
            applied: None,
            observed: None,
            standing: Standing::NotEnforceableHere(ShortText::cut(why)),
        }
    }

    fn failed(why: &str) -> Found {
        Found {
            applied: None,
            observed: None,
            standing: Standing::Failed(ShortText::cut(why)),
        }
    }
}

/// How `point` of `policy` stands. `applied` holds what the network's table was when it was set: each point's digest.
pub fn find(
    point: &Point,
    policy: &Policy,
    applied: Option<&BTreeMap<String, String>>,
    observed: &Observed,
) -> Found {
    let facts = &observed.facts;
    match point.id.rule() {
        Rule::Outbound | Rule::Inbound | Rule::Devices => network(point, applied, &observed.network),
        Rule::Sshd => policy.sshd.as_ref().map_or_else(
            || Found::not_here("no rule"),
            |rule| match &observed.sshd {
                Part::Said(Answer::Sshd(seen)) => {
                    let (said, holds) = sshd::observed(rule, point.id.item(), seen);
                    Found::seen(&said, holds).set(point)
                }
                other => without(other),
            },
        ),
        Rule::Usb => usb(policy, facts),
        Rule::Listening => listening(policy, facts),
        Rule::Time => with(policy.time.as_ref(), |rule| people::time(point, rule, facts)),
        Rule::Sensors => sensor(point, policy, facts),
        Rule::Polling => polling(point, policy, facts),
        Rule::Thresholds => threshold(point, policy, facts),
        Rule::Retention => {
            let most = policy.retention.as_ref().map_or(u64::MAX, |rule| rule.outbox_kib);
            let said = format!("at most {} KiB", facts.outbox_kib);
            Found::in_use(&said, facts.outbox_kib <= most, point)
        }
        Rule::Intervals => interval(point, policy, facts),
        Rule::Updates => with(policy.updates.as_ref(), |rule| updates(point, rule, facts)),
        // The agent opens each by the rule, and nobody else does.
        Rule::Support => Found::in_use("sessions are opened by this rule alone", true, point),
        Rule::Maintenance => with(policy.maintenance.as_ref(), |rule| {
            maintenance(point, rule, facts)
        }),
        Rule::Accounts => with(policy.accounts.as_ref(), |rule| {
            people::accounts(point, rule, &facts.sights)
        }),
        Rule::Bluetooth => with(policy.bluetooth.as_ref(), |rule| bluetooth(point, rule, facts)),
        Rule::ModbusWrites => writes(point, policy, facts),
    }
}

fn with<T>(rule: Option<&T>, find: impl FnOnce(&T) -> Found) -> Found {
    rule.map_or_else(|| Found::not_here("no rule"), find)
}

fn without(part: &Part) -> Found {
    match part {
        Part::Said(Answer::NotHere(why)) => Found::not_here(why),
        Part::Said(Answer::Failed(why)) => Found::failed(why),
        Part::Said(_) => Found::failed("the helper answered another question"),
        Part::Unknown => Found::failed("not looked at yet"),
    }
}

fn network(point: &Point, applied: Option<&BTreeMap<String, String>>, part: &Part) -> Found {
    let Part::Said(Answer::Network(table)) = part else {
        return without(part);
    };
    let Some(applied) = applied else {
        return Found::failed("not applied yet");
    };
    let name = point.id.to_string();
    // A point without rules of its own is part of what its rule's others are held against.
    let rules = if applied.contains_key(&name) {
        name
    } else {
        format!("{}/others", point.id.rule().name())
    };
    // Rules under the name of a point that the policy has not are among the others, too.
    let of_rule = format!("{}/", point.id.rule().name());
    let strange = |key: &String| key.starts_with(&of_rule) && !applied.contains_key(key);
    let strange = point.id.item() == "others" && table.points.keys().any(strange);
    let said = match (applied.get(&rules), table.points.get(&rules)) {
        (Some(was), Some(is)) if was == is && !strange && !table.kept => {
            let said = format!("until the box starts again: {}", point.wanted);
            return Found::seen(&said, true).set(point);
        }
        (Some(was), Some(is)) if was == is && !strange => return Found::seen(&point.wanted, true).set(point),
        (_, Some(_)) => "its rules were changed by hand",
        (_, None) if table.points.is_empty() => "the table is gone",
        (_, None) => "its rules are gone",
    };
    Found::seen(said, false).set(point)
}

fn usb(policy: &Policy, facts: &Facts) -> Found {
    let Some(classes) = &facts.usb else {
        return Found::not_here("this box shows no USB devices");
    };
    let allowed = policy
        .usb
        .as_ref()
        .map(|rule| rule.allow.as_slice())
        .unwrap_or_default();
    let others: Vec<String> = classes
        .iter()
        .filter(|code| UsbClass::of(**code).is_none_or(|class| !allowed.contains(&class)))
        .map(|code| {
            UsbClass::of(*code).map_or_else(|| format!("class {code:02x}"), |class| class.name().to_owned())
        })
        .collect();
    let said = if others.is_empty() {
        "nothing else".to_owned()
    } else {
        format!("also {}", others.join(", "))
    };
    Found::seen(&said, others.is_empty())
}

fn listening(policy: &Policy, facts: &Facts) -> Found {
    let Some(sockets) = &facts.listening else {
        return Found::not_here("listening sockets cannot be seen");
    };
    let allowed = policy
        .listening
        .as_ref()
        .map(|rule| rule.allow.as_slice())
        .unwrap_or_default();
    let may = |(protocol, port): &(Protocol, u16)| {
        allowed
            .iter()
            .any(|one| one.protocol == *protocol && one.ports.holds(*port))
    };
    let others: Vec<String> = sockets
        .iter()
        .filter(|socket| !may(socket))
        .map(|(protocol, port)| format!("{} {port}", protocol.name()))
        .collect();
    let said = if others.is_empty() {
        "nothing else".to_owned()
    } else {
        format!("also {}", others.join(", "))
    };
    Found::seen(&said, others.is_empty())
}

fn bluetooth(point: &Point, rule: &Bluetooth, facts: &Facts) -> Found {
    let Some(adapters) = &facts.adapters else {
        return Found::not_here("no Bluetooth stack answers");
    };
    let (said, holds) = radio::observed(rule.mode, adapters, facts.pairs_long);
    if radio::mode(Some(rule), facts.reads_bluetooth) != rule.mode {
        return Found {
            observed: Some(ShortText::cut(&said)),
            ..Found::not_here("this box reads sensors by Bluetooth, and they go first")
        };
    }
    Found::in_use(&said, holds, point)
}

/// Guards ask the policy at each write; where none stands, nobody writes through this box.
fn writes(point: &Point, policy: &Policy, facts: &Facts) -> Found {
    let item = point.id.item();
    if item == "others" {
        let said = match facts.guarded.len() {
            0 => "no guard: nobody writes through this box".to_owned(),
            some => format!("refused by the guards of {some} devices"),
        };
        return Found::in_use(&said, true, point);
    }
    let sensor = item.split('/').next().unwrap_or_default();
    let known = facts.guarded.iter().any(|one| one.as_str() == sensor);
    let named = |rule: &ModbusWrites| rule.allow.iter().any(|one| one.sensor.as_str() == sensor);
    if known && policy.modbus_writes.as_ref().is_some_and(named) {
        Found::in_use("asked at each write", true, point)
    } else {
        Found::not_here("no guard of this box stands before it")
    }
}

fn sensor(point: &Point, policy: &Policy, facts: &Facts) -> Found {
    let allowed = policy
        .sensors
        .as_ref()
        .map(|rule| rule.allow.as_slice())
        .unwrap_or_default();
    if point.id.item() == "others" {
        let named = |sensor: &&SensorId| !allowed.iter().any(|one| one.sensor == **sensor);
        let others: Vec<&str> = facts.sensors.keys().filter(named).map(SensorId::as_str).collect();
        let said = if others.is_empty() {
            "none".to_owned()
        } else {
            format!("also read, as unverified: {}", others.join(", "))
        };
        return Found::in_use(&said, others.is_empty(), point);
    }
    let Some(rule) = allowed.iter().find(|one| one.sensor.as_str() == point.id.item()) else {
        return Found::not_here("no such sensor");
    };
    match facts.sensors.get(&rule.sensor) {
        None => Found::seen("this box has no such sensor", false),
        Some(read) => {
            let there = rule
                .address
                .as_ref()
                .is_none_or(|address| address.as_str() == read.address);
            let below = match read.least_grade {
                Some(Grade::Unverified) => "",
                _ => ", less is shown as unverified",
            };
            let set = read.least_grade == there.then_some(rule.least_grade);
            Found::in_use(&format!("at {}{below}", read.address), there && set, point)
        }
    }
}

fn polling(point: &Point, policy: &Policy, facts: &Facts) -> Found {
    let rule = policy
        .polling
        .as_ref()
        .map(|rule| rule.every.as_slice())
        .unwrap_or_default();
    let found = rule.iter().find_map(|one| {
        let wanted = (one.sensor.as_str() == point.id.item()).then_some(u64::from(one.interval_ms))?;
        Some((wanted, facts.sensors.get(&one.sensor)?.interval_ms))
    });
    match found {
        None => Found::not_here("this box has no such sensor"),
        Some((wanted, is)) => Found::in_use(&format!("every {is} ms"), is == wanted, point),
    }
}

fn threshold(point: &Point, policy: &Policy, facts: &Facts) -> Found {
    let rule = policy
        .thresholds
        .as_ref()
        .map(|rule| rule.silent.as_slice())
        .unwrap_or_default();
    let found = rule.iter().find_map(|one| {
        let wanted = (one.sensor.as_str() == point.id.item()).then_some(u64::from(one.minutes))?;
        Some((wanted, facts.sensors.get(&one.sensor)?.silent_min))
    });
    match found {
        None => Found::not_here("this box has no such sensor"),
        Some((wanted, is)) => Found::in_use(&format!("silent after {is} minutes"), is == wanted, point),
    }
}

/// The interlock lets no update begin at another time; a rule without windows restricts nothing.
fn maintenance(point: &Point, rule: &Maintenance, facts: &Facts) -> Found {
    let said = match &facts.maintenance {
        Some(is) if !is.window.is_empty() => "updates begin in its windows alone",
        _ => "updates begin whenever the home is quiet",
    };
    Found::in_use(said, facts.maintenance.as_ref() == Some(rule), point)
}

fn updates(point: &Point, rule: &Updates, facts: &Facts) -> Found {
    if point.id.item() == "metered" {
        let said = format!("over a link that costs by the byte {}", facts.metered);
        return Found::in_use(&said, Some(facts.metered) == rule.metered, point);
    }
    let most = rule.max_kib_s.map(|kib| u64::from(kib) * 1024);
    match (facts.fetch_rate, most) {
        (Some(is), Some(most)) => {
            Found::in_use(&format!("at most {} KiB a second", is / 1024), is <= most, point)
        }
        _ => Found::seen("as fast as it comes", false),
    }
}

fn interval(point: &Point, policy: &Policy, facts: &Facts) -> Found {
    with(policy.intervals.as_ref(), |rule| {
        let (is, most) = match point.id.item() {
            "posture" => (Some(facts.posture_s), rule.posture_s.map(u64::from)),
            "evidence" => (facts.evidence_s, rule.evidence_s.map(u64::from)),
            _ => (
                facts.certificate_s,
                rule.certificate_h.map(|hours| u64::from(hours) * 3600),
            ),
        };
        match (is, most) {
            (Some(is), Some(most)) => Found::in_use(&format!("every {is} s"), is <= most, point),
            _ => Found::seen("an interval of its own", false),
        }
    })
}
