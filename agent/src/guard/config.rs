//! Which guards a box has, as configured: where each listens, before which device, and who may do what.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use homeward_devices::modbus::role::Role;
use homeward_devices::profile::Profile;
use homeward_protocol::id::SensorId;
use serde::Deserialize;

use crate::guard::{Guarded, Rules, Who};
use crate::sense::{Sensor, TlsFiles, Way};

/// Functions that a rule can allow: reads 1 to 4, writes 5, 6, 15 and 16, and 43, device identification.
const FUNCTIONS: [u8; 9] = [1, 2, 3, 4, 5, 6, 15, 16, 43];
/// Most peers and most rules of a guard: a home has a display and a building's controller.
const MOST: usize = 64;

/// One `[[guard]]` of the agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardConfig {
    /// Where other masters reach the device: an IP address of this box and a port, such as `192.0.2.1:502`.
    pub listen: SocketAddr,
    /// The sensor whose device, with all others on its line, the guard stands before.
    pub before: SensorId,
    /// Certificates for Modbus/TCP Security. Without them, peers are known by their source address only.
    pub tls: Option<TlsFiles>,
    /// Who may do what. Nobody else may do anything.
    #[serde(default)]
    pub peer: Vec<Peer>,
}

/// One `[[guard.peer]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its address, or a network such as `192.0.2.0/28`. Needed without TLS.
    pub from: Option<Network>,
    /// The role of its certificate, whole. Needed with TLS.
    pub role: Option<Role>,
    /// What it may do.
    #[serde(default)]
    pub allow: Vec<Allow>,
}

impl Peer {
    /// Whether this entry is about `who`.
    pub fn is(&self, who: &Who) -> bool {
        self.from.is_none_or(|net| net.holds(who.from)) && self.role == who.role
    }
}

/// What a peer may do: functions of one unit on a run of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Modbus unit id.
    pub unit: u8,
    /// Modbus functions, of 1 to 6, 15, 16 and 43.
    pub functions: Vec<u8>,
    /// The first address, as in the frame.
    #[serde(default)]
    pub first: u16,
    /// The last address.
    #[serde(default = "last")]
    pub last: u16,
}

const fn last() -> u16 {
    u16::MAX
}

impl Allow {
    /// Whether `count` places from `first` on lie within it.
    pub fn covers(&self, first: u16, count: u16) -> bool {
        let end = u32::from(first) + u32::from(count);
        self.first <= first && end <= u32::from(self.last) + 1
    }
}

/// An IP address, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address that came in the form of IPv6 counts as what it is.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(one)) => {
                let shift = 32 - u32::from(self.bits);
                (u64::from(u32::from(net)) >> shift) == (u64::from(u32::from(one)) >> shift)
            }
            (IpAddr::V6(net), IpAddr::V6(one)) => {
                let differ = u128::from(net) ^ u128::from(one);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address: write 192.0.2.20, or a network such as 192.0.2.0/28");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Network {
            address: address.to_canonical(),
            bits,
        })
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What is wrong with a configured guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("guard {listen}: {what}")]
pub struct GuardFault {
    /// Which guard.
    pub listen: SocketAddr,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// A guard to be put up.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The line that it stands before.
    pub way: Way,
    /// Certificates, when it speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Who may do what.
    pub rules: Rules,
}

/// The guards of a box, joined with its sensors. Every fault is listed.
pub fn plans(guards: &[GuardConfig], sensors: &[Sensor]) -> Result<Vec<Plan>, Vec<GuardFault>> {
    let mut faults = Vec::new();
    let mut plans: Vec<Plan> = Vec::new();
    for guard in guards {
        let mut fault = |what: String| {
            faults.push(GuardFault {
                listen: guard.listen,
                what,
            });
        };
        if plans.iter().any(|plan| plan.listen == guard.listen) {
            fault("another guard listens there".to_owned());
        }
        let Some(before) = sensors.iter().find(|sensor| sensor.id == guard.before) else {
            fault(format!("there is no sensor {} to stand before", guard.before));
            continue;
        };
        let rules = rules(guard, before, sensors);
        check(guard, &rules).into_iter().for_each(fault);
        plans.push(Plan {
            listen: guard.listen,
            way: before.way.clone(),
            tls: guard.tls.clone(),
            rules,
        });
    }
    if faults.is_empty() { Ok(plans) } else { Err(faults) }
}

fn rules(guard: &GuardConfig, before: &Sensor, sensors: &[Sensor]) -> Rules {
    let neighbours = sensors.iter().filter(|sensor| sensor.way == before.way);
    let mut units: BTreeMap<u8, Guarded> = BTreeMap::new();
    for sensor in neighbours {
        let guarded = || Guarded {
            sensor: sensor.id.clone(),
            profile: sensor.profile.clone(),
        };
        units.entry(sensor.unit).or_insert_with(guarded);
    }
    Rules {
        units,
        before: before.id.clone(),
        peers: guard.peer.clone(),
        secured: guard.tls.is_some(),
        writes: None,
    }
}

/// What is wrong with the peers of a guard.
fn check(guard: &GuardConfig, rules: &Rules) -> Vec<String> {
    let mut faults = Vec::new();
    if guard.peer.len() > MOST {
        faults.push(format!("it has more than {MOST} peers"));
    }
    for peer in &guard.peer {
        let named = match (&guard.tls, &peer.role, &peer.from) {
            (Some(_), None, _) => Some("with TLS a peer is known by its role: say role"),
            (None, Some(_), _) => Some("a role needs TLS: nobody can prove one without a certificate"),
            (None, None, None) => Some("without TLS a peer is known by its address: say from"),
            _ => None,
        };
        faults.extend(named.map(str::to_owned));
        if peer.allow.len() > MOST {
            faults.push(format!("a peer has more than {MOST} rules"));
        }
        faults.extend(peer.allow.iter().flat_map(|allow| doubts(allow, rules)));
    }
    faults
}

fn doubts(allow: &Allow, rules: &Rules) -> Vec<String> {
    let mut faults = Vec::new();
    if allow.first > allow.last {
        faults.push(format!("first {} lies after last {}", allow.first, allow.last));
    }
    let Some(guarded) = rules.units.get(&allow.unit) else {
        faults.push(format!("no sensor on this line has unit {}", allow.unit));
        return faults;
    };
    for function in &allow.functions {
        if !FUNCTIONS.contains(function) {
            faults.push(format!(
                "function {function} cannot be allowed: {FUNCTIONS:?} can"
            ));
        } else if matches!(function, 5 | 6 | 15 | 16) && !lists(&guarded.profile, *function, allow) {
            let (unit, profile) = (allow.unit, &guarded.profile.id);
            faults.push(format!(
                "unit {unit}: nothing in {profile} may be written by function {function} there; \
                 its profile says so with [[writable]]"
            ));
        }
    }
    faults
}

/// Whether the profile lists anything writable that the rule would allow.
fn lists(profile: &Profile, function: u8, allow: &Allow) -> bool {
    let meets = |first: u16, end: u32| u32::from(allow.first) < end && first <= allow.last;
    let mut of = profile.writable.iter().filter(|w| w.function == function);
    of.any(|w| meets(w.address, w.end()))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
