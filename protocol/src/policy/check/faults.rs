//! What is wrong with a policy that reads well, and what a reviewer should look at twice.

use super::each_once;
use crate::id::HazardId;
use crate::policy::network::{Devices, Flow};
use crate::policy::rules::{May, ModbusWrites, OnDrift, OnMetered, RadioMode, Sshd, Support, Window};
use crate::policy::{Audience, MAX_GATEWAYS, MAX_LIST, OnExpiry, Policy};

/// Whether a document can be used in spite of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No.
    Error,
    /// Yes.
    Warning,
}

/// Something about one place of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, such as `outbound.flow[2].ports`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub said: String,
}

/// Longest lifetime without a remark.
const LONG_DAYS: i64 = 400;

/// All that keeps a policy from being used. Empty for a good one.
pub fn faults(policy: &Policy) -> Vec<Fault> {
    let mut look = Look::default();
    look.head(policy);
    look.hazards(policy);
    look.network(policy);
    look.sensors(policy);
    look.the_box(policy);
    look.habits(policy);
    look.found
}

/// What is allowed, and should be meant.
pub fn hints(policy: &Policy) -> Vec<Fault> {
    let mut look = Look::default();
    let days = (policy.expires.secs() - policy.issued.secs()) / 86_400;
    look.want(days <= LONG_DAYS, "expires", || {
        format!("it holds for {days} days")
    });
    let named: Vec<HazardId> = policy.points().into_iter().map(|point| point.hazard).collect();
    for hazard in policy.hazards.keys() {
        look.want(named.contains(hazard), &format!("hazards.{hazard}"), || {
            "no rule names it".into()
        });
    }
    let keeps =
        policy.on_expiry == OnExpiry::Keep && policy.support.as_ref().is_some_and(|s| s.tunnel == May::Yes);
    look.want(!keeps, "on_expiry", || {
        "support tunnels stay allowed after the policy's end".into()
    });
    if let Some(rule) = &policy.outbound {
        look.wide(&rule.flow, "outbound.flow");
    }
    if let Some(rule) = &policy.inbound {
        look.wide(&rule.flow, "inbound.flow");
    }
    let open = policy
        .bluetooth
        .as_ref()
        .is_some_and(|rule| rule.mode == RadioMode::Open);
    look.want(!open, "bluetooth.mode", || {
        "whoever is near may pair with the box".into()
    });
    if let Some(rule) = &policy.sshd {
        let by_password = rule.password_login == Some(May::Yes);
        look.want(!by_password, "sshd.password_login", || {
            "passwords can be guessed".into()
        });
        let reported = rule.on_drift == OnDrift::Report;
        look.want(!reported, "sshd.on_drift", || {
            "a change by hand is reported, and stays".into()
        });
    }
    look.found
}

#[derive(Default)]
struct Look {
    found: Vec<Fault>,
}

impl Look {
    fn want(&mut self, right: bool, path: &str, said: impl FnOnce() -> String) {
        if !right {
            self.found.push(Fault {
                path: path.to_owned(),
                said: said(),
            });
        }
    }

    fn within<T: PartialOrd + Copy + std::fmt::Display>(&mut self, value: T, least: T, most: T, path: &str) {
        let right = least <= value && value <= most;
        self.want(right, path, || format!("from {least} to {most}"));
    }

    fn short(&mut self, length: usize, path: &str) {
        self.want(length <= MAX_LIST, path, || {
            format!("{length} entries, where at most {MAX_LIST} are allowed")
        });
    }

    fn once<T: Ord>(&mut self, items: impl IntoIterator<Item = T>, path: &str) {
        let once = each_once(items);
        self.want(once, path, || "one of its entries stands twice".into());
    }

    fn head(&mut self, policy: &Policy) {
        self.want(!policy.name.as_str().is_empty(), "name", || {
            "it needs a name".into()
        });
        self.within(policy.version.0, 1, i64::MAX.cast_unsigned(), "version");
        self.want(policy.issued < policy.expires, "expires", || {
            "it ends before it begins".into()
        });
        self.within(policy.confirm_s, 30, 3600, "confirm_s");
        let (length, most) = match &policy.audience {
            Audience::All => return,
            Audience::Groups(groups) => (groups.len(), MAX_LIST),
            Audience::Gateways(gateways) => (gateways.len(), MAX_GATEWAYS),
        };
        self.want((1..=most).contains(&length), "audience", || {
            format!("1 to {most} entries")
        });
    }

    fn hazards(&mut self, policy: &Policy) {
        self.short(policy.hazards.len(), "hazards");
        for (hazard, line) in &policy.hazards {
            let path = format!("hazards.{hazard}");
            self.want(!line.as_str().is_empty(), &path, || {
                "it needs one line that says what may happen".into()
            });
        }
        for (table, hazard) in named(policy) {
            let known = policy.hazards.contains_key(hazard);
            self.want(known, &format!("{table}.hazard"), || {
                format!("`{hazard}` is not among the hazards")
            });
        }
    }

    fn flows(&mut self, flows: &[Flow], path: &str) {
        self.short(flows.len(), path);
        self.once(flows.iter().map(|flow| &flow.name), path);
        for (at, flow) in flows.iter().enumerate() {
            let ports = format!("{path}[{at}].ports");
            self.want(!flow.ports.is_empty(), &ports, || "at least one port".into());
            self.short(flow.ports.len(), &ports);
        }
    }

    fn wide(&mut self, flows: &[Flow], path: &str) {
        for (at, flow) in flows.iter().enumerate() {
            let narrow = flow.peer.bits() > 0;
            self.want(narrow, &format!("{path}[{at}].peer"), || {
                "that is the whole internet".into()
            });
        }
    }

    fn network(&mut self, policy: &Policy) {
        if let Some(rule) = &policy.outbound {
            self.short(rule.fleet.len(), "outbound.fleet");
            self.short(rule.resolvers.len(), "outbound.resolvers");
            self.flows(&rule.flow, "outbound.flow");
        }
        if let Some(rule) = &policy.inbound {
            self.flows(&rule.flow, "inbound.flow");
        }
        if let Some(rule) = &policy.devices {
            self.devices(rule);
        }
    }

    fn devices(&mut self, rule: &Devices) {
        self.short(rule.apart_from.len(), "devices.apart_from");
        self.short(rule.device.len(), "devices.device");
        self.once(rule.device.iter().map(|device| &device.name), "devices.device");
        for (at, device) in rule.device.iter().enumerate() {
            let path = format!("devices.device[{at}]");
            self.flows(&device.flow, &format!("{path}.flow"));
            let others = rule.device.iter().take(at);
            let apart = |other: &crate::policy::network::Device| {
                !other.address.covers(device.address) && !device.address.covers(other.address)
            };
            let alone = others.into_iter().all(apart);
            self.want(alone, &format!("{path}.address"), || {
                "a device before it has this address, too".into()
            });
        }
    }

    fn sensors(&mut self, policy: &Policy) {
        if let Some(rule) = &policy.sensors {
            self.short(rule.allow.len(), "sensors.allow");
            self.once(rule.allow.iter().map(|one| &one.sensor), "sensors.allow");
        }
        if let Some(rule) = &policy.modbus_writes {
            self.writes(rule);
        }
        if let Some(rule) = &policy.polling {
            self.short(rule.every.len(), "polling.every");
            self.once(rule.every.iter().map(|one| &one.sensor), "polling.every");
            for (at, one) in rule.every.iter().enumerate() {
                self.within(
                    one.interval_ms,
                    50,
                    86_400_000,
                    &format!("polling.every[{at}].interval_ms"),
                );
            }
        }
        if let Some(rule) = &policy.thresholds {
            self.short(rule.silent.len(), "thresholds.silent");
            self.once(rule.silent.iter().map(|one| &one.sensor), "thresholds.silent");
            for (at, one) in rule.silent.iter().enumerate() {
                self.within(
                    one.minutes,
                    1,
                    10_080,
                    &format!("thresholds.silent[{at}].minutes"),
                );
            }
        }
    }

    fn writes(&mut self, rule: &ModbusWrites) {
        self.short(rule.allow.len(), "modbus_writes.allow");
        for (at, one) in rule.allow.iter().enumerate() {
            let path = format!("modbus_writes.allow[{at}]");
            let writes = |function: &u8| matches!(function, 5 | 6 | 15 | 16);
            let functions = !one.functions.is_empty() && one.functions.iter().all(writes);
            let few = one.functions.len() <= 4;
            self.want(functions && few, &format!("{path}.functions"), || {
                "of 5, 6, 15 and 16".into()
            });
            self.want(one.first <= one.last, &format!("{path}.last"), || {
                "it lies before first".into()
            });
        }
    }

    fn the_box(&mut self, policy: &Policy) {
        if let Some(rule) = &policy.sshd {
            self.sshd(rule);
        }
        if let Some(rule) = &policy.accounts {
            self.short(rule.passwords.len(), "accounts.passwords");
            self.short(rule.keys.len(), "accounts.keys");
            self.short(rule.root.len(), "accounts.root");
        }
        if let Some(rule) = &policy.usb {
            self.short(rule.allow.len(), "usb.allow");
            self.once(&rule.allow, "usb.allow");
        }
        if let Some(rule) = &policy.listening {
            self.short(rule.allow.len(), "listening.allow");
        }
        if let Some(rule) = &policy.time {
            self.short(rule.sources.len(), "time.sources");
            for (at, source) in rule.sources.iter().enumerate() {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
                let good = !source.as_str().is_empty() && source.as_str().chars().all(plain);
                self.want(good, &format!("time.sources[{at}]"), || {
                    "a host name or an address".into()
                });
            }
            self.within(rule.max_error_ms.unwrap_or(1), 1, 60_000, "time.max_error_ms");
        }
    }

    fn sshd(&mut self, rule: &Sshd) {
        self.within(rule.max_auth_tries.unwrap_or(1), 1, 10, "sshd.max_auth_tries");
        self.short(rule.allow_users.len(), "sshd.allow_users");
        self.once(&rule.allow_users, "sshd.allow_users");
    }

    fn habits(&mut self, policy: &Policy) {
        if let Some(rule) = &policy.retention {
            self.within(rule.outbox_kib, 256, 1 << 30, "retention.outbox_kib");
        }
        if let Some(rule) = &policy.intervals {
            self.within(rule.posture_s.unwrap_or(60), 60, 604_800, "intervals.posture_s");
            self.within(
                rule.evidence_s.unwrap_or(600),
                600,
                86_400,
                "intervals.evidence_s",
            );
            self.within(
                rule.certificate_h.unwrap_or(24),
                24,
                336,
                "intervals.certificate_h",
            );
        }
        if let Some(rule) = &policy.maintenance {
            self.short(rule.window.len(), "maintenance.window");
            rule.window
                .iter()
                .enumerate()
                .for_each(|(at, window)| self.window(at, window));
        }
        if let Some(rule) = &policy.support {
            self.support(rule);
        }
        if let Some(rule) = &policy.updates {
            self.within(rule.max_kib_s.unwrap_or(8), 8, 1 << 20, "updates.max_kib_s");
            if let Some(OnMetered::FromPercent(share)) = rule.metered {
                self.within(share, 1, 99, "updates.metered.from-percent");
            }
        }
    }

    fn window(&mut self, at: usize, window: &Window) {
        let path = format!("maintenance.window[{at}]");
        self.once(&window.days, &format!("{path}.days"));
        self.within(window.from_min, 0, 1439, &format!("{path}.from_min"));
        self.within(window.minutes, 10, 1440, &format!("{path}.minutes"));
    }

    fn support(&mut self, rule: &Support) {
        self.within(rule.max_minutes, 1, 480, "support.max_minutes");
        self.short(rule.to.len(), "support.to");
        self.short(rule.ports.len(), "support.ports");
        let leads = rule.tunnel == May::No || !rule.ports.is_empty();
        self.want(leads, "support.ports", || {
            "a tunnel that leads to no port of the box".into()
        });
    }
}

/// Each rule's table with the hazard that it names.
fn named(policy: &Policy) -> Vec<(&'static str, &HazardId)> {
    macro_rules! hazards {
        ($($table:ident),*) => {
            [$((stringify!($table), policy.$table.as_ref().map(|rule| &rule.hazard)),)*]
        };
    }
    let all = hazards!(
        outbound,
        inbound,
        devices,
        sensors,
        bluetooth,
        modbus_writes,
        sshd,
        accounts,
        usb,
        listening,
        time,
        polling,
        retention,
        intervals,
        maintenance,
        support,
        thresholds,
        updates
    );
    all.into_iter()
        .filter_map(|(table, hazard)| Some((table, hazard?)))
        .collect()
}
