//! A policy taken apart into single points, each of which holds on a box or does not.
//!
//! `sshd/password-login: no` is a point. What a box reports, what a page asks ("which boxes do not meet X, since when")
//! and what a difference between two policies names are points.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Policy;
use super::network::{Devices, Flow, Inbound, Outbound};
use super::rules::{AllowedSensor, AllowedWrite, May, RootLogin, Sshd, Support, UserName, Window};
use crate::grade::Grade;
use crate::id::HazardId;
use crate::posture::ShortText;

/// Most bytes of a point's name.
pub const MAX_POINT: usize = 96;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A rule of a policy: one table of its document.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// As it is written in points.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Rule::$name => $text,)*
                }
            }
        }
    };
}

rules! {
    /// What the box may reach.
    Outbound = "outbound",
    /// Who may reach the box.
    Inbound = "inbound",
    /// What devices behind the box may do.
    Devices = "devices",
    /// Which sensors it reads.
    Sensors = "sensors",
    /// Its radio.
    Bluetooth = "bluetooth",
    /// What may be written on its buses.
    ModbusWrites = "modbus-writes",
    /// Its sshd.
    Sshd = "sshd",
    /// Its users.
    Accounts = "accounts",
    /// What may be plugged in.
    Usb = "usb",
    /// What may listen.
    Listening = "listening",
    /// Its time.
    Time = "time",
    /// How often sensors are asked.
    Polling = "polling",
    /// How much it keeps.
    Retention = "retention",
    /// How often it proves and reports itself.
    Intervals = "intervals",
    /// When work disturbs least.
    Maintenance = "maintenance",
    /// Support tunnels.
    Support = "support",
    /// When findings are raised.
    Thresholds = "thresholds",
    /// How updates come to it.
    Updates = "updates",
}

/// The name of a point: its rule, and which part of it: `sshd/password-login`, `usb`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PointId {
    rule: Rule,
    item: String,
}

impl PointId {
    /// The point `item` of a rule; the rule as a whole for an empty one. Other characters than a-z, 0-9, `-` and `/`
    /// become hyphens, and what is too long is cut.
    pub fn new(rule: Rule, item: &str) -> PointId {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '/';
        let item = item.chars().map(|c| if plain(c) { c } else { '-' });
        PointId {
            rule,
            item: item.take(MAX_POINT - rule.name().len() - 1).collect(),
        }
    }

    /// Its rule.
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// Which part of the rule; empty for the whole.
    pub fn item(&self) -> &str {
        &self.item
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.name())?;
        if self.item.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.item)
        }
    }
}

impl FromStr for PointId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rule, item) = text.split_once('/').unwrap_or((text, ""));
        let rule = Rule::ALL
            .iter()
            .find(|one| one.name() == rule)
            .ok_or("not a point of a policy")?;
        let point = PointId::new(*rule, item);
        // What was changed on the way was none.
        if point.to_string() == text {
            Ok(point)
        } else {
            Err("not a point of a policy")
        }
    }
}

impl TryFrom<String> for PointId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PointId> for String {
    fn from(point: PointId) -> String {
        point.to_string()
    }
}

/// One thing that a policy wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Which.
    pub id: PointId,
    /// The hazard that it guards against.
    pub hazard: HazardId,
    /// What is wanted, in plain words; whole, of any length.
    pub wanted: String,
}

impl Point {
    /// What is wanted, cut to what a report carries.
    pub fn shown(&self) -> ShortText {
        ShortText::cut(&self.wanted)
    }
}

impl Policy {
    /// All that it wants, in the order of [`Rule::ALL`] and of its document.
    pub fn points(&self) -> Vec<Point> {
        let mut all = Vec::new();
        self.network_points(&mut all);
        self.sensor_points(&mut all);
        self.box_points(&mut all);
        self.habit_points(&mut all);
        all.sort_by_key(|point| point.id.rule);
        all
    }

    fn network_points(&self, all: &mut Vec<Point>) {
        if let Some(rule) = &self.outbound {
            outbound(rule, all);
        }
        if let Some(rule) = &self.inbound {
            inbound(rule, all);
        }
        if let Some(rule) = &self.devices {
            devices(rule, all);
        }
    }

    fn sensor_points(&self, all: &mut Vec<Point>) {
        if let Some(rule) = &self.sensors {
            let mut of = Of(Rule::Sensors, &rule.hazard, all);
            of.add("others", "shown as unverified, and reported");
            rule.allow
                .iter()
                .for_each(|one| of.add(one.sensor.as_str(), sensor(one)));
        }
        if let Some(rule) = &self.bluetooth {
            Of(Rule::Bluetooth, &rule.hazard, all).add("", rule.mode.name());
        }
        if let Some(rule) = &self.modbus_writes {
            let mut of = Of(Rule::ModbusWrites, &rule.hazard, all);
            of.add("others", "refused");
            for (at, one) in rule.allow.iter().enumerate() {
                // A device may be named more than once.
                let same = rule
                    .allow
                    .iter()
                    .take(at)
                    .filter(|other| other.sensor == one.sensor)
                    .count();
                let item = if same == 0 {
                    one.sensor.to_string()
                } else {
                    format!("{}/{}", one.sensor, same + 1)
                };
                of.add(&item, write(one));
            }
        }
        if let Some(rule) = &self.polling {
            let mut of = Of(Rule::Polling, &rule.hazard, all);
            let every = rule.every.iter();
            every.for_each(|one| of.add(one.sensor.as_str(), format!("every {} ms", one.interval_ms)));
        }
        if let Some(rule) = &self.thresholds {
            let mut of = Of(Rule::Thresholds, &rule.hazard, all);
            let silent = rule.silent.iter();
            silent.for_each(|one| {
                of.add(
                    one.sensor.as_str(),
                    format!("silent after {} minutes", one.minutes),
                );
            });
        }
    }

    fn box_points(&self, all: &mut Vec<Point>) {
        if let Some(rule) = &self.sshd {
            sshd(rule, all);
        }
        if let Some(rule) = &self.accounts {
            let mut of = Of(Rule::Accounts, &rule.hazard, all);
            of.add("passwords", users(&rule.passwords));
            of.add("keys", users(&rule.keys));
            of.add("root", users(&rule.root));
        }
        if let Some(rule) = &self.usb {
            Of(Rule::Usb, &rule.hazard, all)
                .add("", list(rule.allow.iter().map(|class| class.name()), "none"));
        }
        if let Some(rule) = &self.listening {
            let sockets = rule
                .allow
                .iter()
                .map(|one| format!("{} {}", one.protocol.name(), one.ports));
            Of(Rule::Listening, &rule.hazard, all).add("", list(sockets, "nothing"));
        }
        if let Some(rule) = &self.time {
            let mut of = Of(Rule::Time, &rule.hazard, all);
            if !rule.sources.is_empty() {
                of.add(
                    "sources",
                    list(rule.sources.iter().map(ShortText::as_str), "none"),
                );
            }
            if let Some(ms) = rule.max_error_ms {
                of.add("error", format!("at most {ms} ms"));
            }
        }
    }

    fn habit_points(&self, all: &mut Vec<Point>) {
        if let Some(rule) = &self.retention {
            Of(Rule::Retention, &rule.hazard, all).add("outbox", format!("at most {} KiB", rule.outbox_kib));
        }
        if let Some(rule) = &self.intervals {
            let mut of = Of(Rule::Intervals, &rule.hazard, all);
            let every = [("posture", rule.posture_s), ("evidence", rule.evidence_s)];
            for (item, secs) in every.into_iter().filter_map(|(item, secs)| Some((item, secs?))) {
                of.add(item, format!("every {secs} s"));
            }
            if let Some(hours) = rule.certificate_h {
                of.add("certificate", format!("new after {hours} h"));
            }
        }
        if let Some(rule) = &self.maintenance {
            Of(Rule::Maintenance, &rule.hazard, all)
                .add("", list(rule.window.iter().map(window), "no window"));
        }
        if let Some(rule) = &self.support {
            Of(Rule::Support, &rule.hazard, all).add("", support(rule));
        }
        if let Some(rule) = &self.updates {
            let mut of = Of(Rule::Updates, &rule.hazard, all);
            if let Some(kib) = rule.max_kib_s {
                of.add("rate", format!("at most {kib} KiB a second"));
            }
            if let Some(metered) = rule.metered {
                of.add("metered", format!("over a link that costs by the byte {metered}"));
            }
        }
    }
}

/// Points of one rule.
struct Of<'a>(Rule, &'a HazardId, &'a mut Vec<Point>);

impl Of<'_> {
    fn add(&mut self, item: &str, wanted: impl Into<String>) {
        self.2.push(Point {
            id: PointId::new(self.0, item),
            hazard: self.1.clone(),
            wanted: wanted.into(),
        });
    }

    fn flows(&mut self, flows: &[Flow]) {
        for flow in flows {
            self.add(&format!("flow/{}", flow.name), flow.to_string());
        }
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>, none: &str) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if all.is_empty() {
        none.to_owned()
    } else {
        all.join(", ")
    }
}

fn outbound(rule: &Outbound, all: &mut Vec<Point>) {
    let mut of = Of(Rule::Outbound, &rule.hazard, all);
    of.add("others", "stopped, and reported");
    of.add(
        "fleet",
        list(&rule.fleet, "anywhere, by the agent on the server's ports"),
    );
    of.add("resolvers", list(&rule.resolvers, "anybody, on port 53"));
    of.flows(&rule.flow);
}

fn inbound(rule: &Inbound, all: &mut Vec<Point>) {
    let mut of = Of(Rule::Inbound, &rule.hazard, all);
    of.add("others", "stopped, and reported");
    of.flows(&rule.flow);
}

fn devices(rule: &Devices, all: &mut Vec<Point>) {
    let mut of = Of(Rule::Devices, &rule.hazard, all);
    of.add("others", "reach nothing, and are reported");
    of.add("apart-from", list(&rule.apart_from, "nothing"));
    for device in &rule.device {
        let flows = list(&device.flow, "nothing");
        of.add(
            &format!("device/{}", device.name),
            format!("{} reaches {flows}", device.address),
        );
    }
}

fn sensor(one: &AllowedSensor) -> String {
    let at = one
        .address
        .as_ref()
        .map(|address| format!("at {}, ", address.as_str()));
    let grade = match one.least_grade {
        Grade::Unverified => "unverified",
        Grade::Associated => "associated",
        Grade::Verified => "verified",
    };
    format!("{}at least {grade}", at.unwrap_or_default())
}

fn write(one: &AllowedWrite) -> String {
    let by = one
        .from
        .map_or_else(|| "whom the box allows".to_owned(), |net| net.to_string());
    let functions = list(&one.functions, "none");
    format!(
        "by {by}, functions {functions}, addresses {} to {}",
        one.first, one.last
    )
}

fn sshd(rule: &Sshd, all: &mut Vec<Point>) {
    let mut of = Of(Rule::Sshd, &rule.hazard, all);
    let switches = [
        ("password-login", rule.password_login),
        ("tcp-forwarding", rule.tcp_forwarding),
        ("x11-forwarding", rule.x11_forwarding),
        ("agent-forwarding", rule.agent_forwarding),
    ];
    for (item, may) in switches.into_iter().filter_map(|(item, may)| Some((item, may?))) {
        of.add(item, may.name());
    }
    if let Some(root) = rule.root_login {
        let words = match root {
            RootLogin::No => "no",
            RootLogin::KeysOnly => "by a key only",
        };
        of.add("root-login", words);
    }
    if let Some(tries) = rule.max_auth_tries {
        of.add("max-auth-tries", format!("at most {tries}"));
    }
    if !rule.allow_users.is_empty() {
        of.add("allow-users", users(&rule.allow_users));
    }
}

fn users(users: &[UserName]) -> String {
    list(users.iter().map(UserName::as_str), "nobody")
}

fn window(window: &Window) -> String {
    let days = list(window.days.iter().map(|day| format!("{day:?}")), "every day");
    let (hour, minute) = (window.from_min / 60, window.from_min % 60);
    format!("{days} {hour:02}:{minute:02} UTC for {} minutes", window.minutes)
}

fn support(rule: &Support) -> String {
    match rule.tunnel {
        May::No => "no tunnel".to_owned(),
        May::Yes => {
            let to = list(&rule.to, "the fleet server");
            let ports = list(&rule.ports, "no port of the box");
            let also = match rule.while_isolated {
                Some(May::Yes) => ", also while isolated",
                Some(May::No) | None => "",
            };
            format!(
                "at most {} minutes, to {to}, leading to {ports}{also}",
                rule.max_minutes
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_read_back_and_others_are_refused() {
        for rule in Rule::ALL {
            for item in ["", "x", "flow/ntp-1"] {
                let point = PointId::new(*rule, item);
                assert_eq!(point.to_string().parse(), Ok(point));
            }
        }
        for bad in ["", "nothing", "usb/", "usb/A", "usb/a b"] {
            assert!(bad.parse::<PointId>().is_err(), "{bad}");
        }
        let long = PointId::new(Rule::Usb, &"x".repeat(500));
        assert!(long.to_string().len() <= MAX_POINT);
        assert_eq!(long.to_string().parse(), Ok(long));
    }
}
