//! The box's Bluetooth radio: what a policy wants of it, and what is to be changed.
//!
//! # Design
//! - A sensor that is read by Bluetooth goes before the rule: a box that has one is never switched off, and says that it
//!   is not.
//! - While an installer pairs a device the stack takes bonds, for as long as a pairing may last: that is no drift.
//! - What this box switched off it switches on again when the policy does not want it off any more.

use std::time::Duration;

use homeward_protocol::policy::rules::{Bluetooth, OnDrift, RadioMode};
use homeward_protocol::time::Uptime;

/// Longer than an installer's window for one device, and the look that sees its end.
pub const PAIRS_FOR: Duration = Duration::from_mins(6);

/// An adapter, as the stack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its name, as `/org/bluez/hci0`.
    pub path: String,
    /// Whether it is on.
    pub powered: bool,
    /// Whether everybody near can see it.
    pub discoverable: bool,
    /// Whether it takes new bonds.
    pub pairable: bool,
}

/// What of an adapter is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The whole of it.
    Powered,
    /// Whether it can be seen.
    Discoverable,
    /// Whether it takes bonds.
    Pairable,
}

/// Switches one thing of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which adapter.
    pub path: String,
    /// What.
    pub switch: Switch,
    /// On or off.
    pub on: bool,
}

/// What is remembered of the radio between looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Radio {
    /// The mode that was set last in this run.
    set: Option<RadioMode>,
    /// Since when some adapter takes bonds.
    pairable_since: Option<Uptime>,
}

/// The mode that holds on a box: one that reads sensors by Bluetooth is not switched off.
pub fn mode(rule: Option<&Bluetooth>, reads_sensors: bool) -> RadioMode {
    match rule.map_or(RadioMode::Open, |rule| rule.mode) {
        RadioMode::Off if reads_sensors => RadioMode::BondedOnly,
        mode => mode,
    }
}

impl Radio {
    /// What is to be switched at a look. `off_by_us`: this box switched its radio off, and nobody on again since.
    pub fn look(
        &mut self,
        rule: Option<&Bluetooth>,
        reads_sensors: bool,
        off_by_us: bool,
        adapters: &[Adapter],
        now: Uptime,
    ) -> Vec<Order> {
        let takes_bonds = adapters.iter().any(|adapter| adapter.powered && adapter.pairable);
        self.pairable_since = takes_bonds.then(|| self.pairable_since.unwrap_or(now));
        let mode = mode(rule, reads_sensors);
        let puts_back = rule.is_some_and(|rule| rule.on_drift == OnDrift::PutBack);
        if self.set == Some(mode) && !puts_back {
            return Vec::new();
        }
        if !adapters.is_empty() {
            self.set = Some(mode);
        }
        let pairs_long = self.pairs_long(now);
        let order = |adapter: &Adapter, switch, on| Order {
            path: adapter.path.clone(),
            switch,
            on,
        };
        let wrong = |adapter: &Adapter| -> Vec<Order> {
            let switches = match mode {
                RadioMode::Off => vec![(adapter.powered, Switch::Powered, false)],
                RadioMode::BondedOnly => vec![
                    (off_by_us && !adapter.powered, Switch::Powered, true),
                    (adapter.discoverable, Switch::Discoverable, false),
                    (adapter.pairable && pairs_long, Switch::Pairable, false),
                ],
                RadioMode::Open => vec![(off_by_us && !adapter.powered, Switch::Powered, true)],
            };
            let due = switches.into_iter().filter(|(due, ..)| *due);
            due.map(|(_, switch, on)| order(adapter, switch, on)).collect()
        };
        adapters.iter().flat_map(wrong).collect()
    }

    /// Whether the mode that was set last is that of `other`.
    pub fn is_set_as(&self, other: &Radio) -> bool {
        self.set == other.set
    }

    /// Whether bonds are taken for longer than an installer needs.
    pub fn pairs_long(&self, now: Uptime) -> bool {
        self.pairable_since
            .is_some_and(|since| now.since(since) >= PAIRS_FOR)
    }
}

/// How the adapters are, in words, and whether that is the mode. `pairs_long`: bonds are taken for longer than an
/// installer needs.
pub fn observed(mode: RadioMode, adapters: &[Adapter], pairs_long: bool) -> (String, bool) {
    let on: Vec<&Adapter> = adapters.iter().filter(|adapter| adapter.powered).collect();
    if on.is_empty() {
        let said = if adapters.is_empty() { "no adapter" } else { "off" };
        return (said.to_owned(), true);
    }
    let seen = on.iter().any(|adapter| adapter.discoverable);
    let takes_bonds = on.iter().any(|adapter| adapter.pairable);
    let said = match (seen, takes_bonds) {
        (false, false) => "on, not to be seen, takes no bonds",
        (false, true) => "on, not to be seen, takes bonds",
        (true, false) => "on, to be seen by all, takes no bonds",
        (true, true) => "on, to be seen by all, takes bonds",
    };
    let holds = match mode {
        RadioMode::Off => false,
        RadioMode::BondedOnly => !(seen || takes_bonds && pairs_long),
        RadioMode::Open => true,
    };
    (said.to_owned(), holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(powered: bool, discoverable: bool, pairable: bool) -> Adapter {
        Adapter {
            path: "/org/bluez/hci0".into(),
            powered,
            discoverable,
            pairable,
        }
    }

    fn rule(mode: RadioMode, on_drift: OnDrift) -> Bluetooth {
        Bluetooth {
            hazard: "h-1".parse().expect("an id"),
            mode,
            on_drift,
        }
    }

    /// As the stack does it.
    fn obey(adapters: &mut [Adapter], orders: &[Order]) {
        for order in orders {
            for adapter in adapters.iter_mut().filter(|adapter| adapter.path == order.path) {
                match order.switch {
                    Switch::Powered => adapter.powered = order.on,
                    Switch::Discoverable => adapter.discoverable = order.on,
                    Switch::Pairable => adapter.pairable = order.on,
                }
            }
        }
    }

    #[test]
    fn a_radio_is_set_once_and_put_back_only_where_the_rule_says_so() {
        for (on_drift, back) in [(OnDrift::PutBack, true), (OnDrift::Report, false)] {
            let rule = rule(RadioMode::BondedOnly, on_drift);
            let (mut radio, mut all) = (Radio::default(), [adapter(true, true, false)]);
            let orders = radio.look(Some(&rule), false, false, &all, Uptime(0));
            obey(&mut all, &orders);
            assert!(observed(RadioMode::BondedOnly, &all, false).1, "set");
            all[0].discoverable = true;
            assert!(!observed(RadioMode::BondedOnly, &all, false).1, "found");
            let orders = radio.look(Some(&rule), false, false, &all, Uptime(30_000));
            obey(&mut all, &orders);
            assert_eq!(observed(RadioMode::BondedOnly, &all, false).1, back);
        }
    }

    #[test]
    fn an_installer_may_pair_and_a_radio_that_takes_bonds_for_longer_is_drift() {
        let rule = rule(RadioMode::BondedOnly, OnDrift::PutBack);
        let mut radio = Radio::default();
        let open = [adapter(true, false, true)];
        let end = u64::try_from(PAIRS_FOR.as_millis()).expect("short");
        for (at, due) in [(0, false), (end - 1, false), (end, true)] {
            let orders = radio.look(Some(&rule), true, false, &open, Uptime(at));
            assert_eq!(orders.len(), usize::from(due), "at {at}");
            let long = radio.pairs_long(Uptime(at));
            assert_eq!(observed(RadioMode::BondedOnly, &open, long).1, !due);
        }
        radio.look(
            Some(&rule),
            true,
            false,
            &[adapter(true, false, false)],
            Uptime(end + 1),
        );
        assert!(
            !radio.pairs_long(Uptime(end + 2)),
            "a new window has its own time"
        );
    }

    #[test]
    fn a_radio_goes_off_and_on_again_and_never_off_where_a_sensor_needs_it() {
        let off = rule(RadioMode::Off, OnDrift::PutBack);
        let (mut radio, mut all) = (Radio::default(), [adapter(true, false, false)]);
        assert_eq!(
            radio.look(Some(&off), true, false, &all, Uptime(0)),
            [],
            "it reads sensors"
        );
        assert_eq!(mode(Some(&off), true), RadioMode::BondedOnly);
        let orders = radio.look(Some(&off), false, false, &all, Uptime(0));
        obey(&mut all, &orders);
        assert_eq!(observed(RadioMode::Off, &all, false), ("off".to_owned(), true));
        let orders = radio.look(None, false, true, &all, Uptime(1));
        obey(&mut all, &orders);
        assert!(all[0].powered, "as it was");
        let mut other = [adapter(false, false, false)];
        let orders = Radio::default().look(None, false, false, &other, Uptime(1));
        obey(&mut other, &orders);
        assert!(!other[0].powered, "what somebody else switched off stays off");
    }
}
