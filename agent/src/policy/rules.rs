//! What this box enforces of a policy: its network and its sshd, as data that the privileged helper is given.

use std::net::IpAddr;

use homeward_protocol::policy::Policy;
use homeward_protocol::policy::net::Net;
use homeward_protocol::policy::network::{Devices, Inbound, Outbound};
use homeward_protocol::policy::rules::Sshd;
use serde::{Deserialize, Serialize};

/// A flow that readings need: to a sensor on the network, or to a door of the fleet server, by the agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vital {
    /// Where it is; none when it is known by a name only: then any address, on its port.
    pub peer: Option<Net>,
    /// Its TCP port.
    pub port: u16,
}

impl Vital {
    /// From `host:port`.
    pub fn of(host_and_port: &str) -> Option<Vital> {
        let (host, port) = host_and_port.rsplit_once(':')?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        Some(Vital::to(bare, port.parse().ok().filter(|port| *port != 0)?))
    }

    /// To a port of a host, which is an address or a name.
    pub fn to(host: &str, port: u16) -> Vital {
        Vital {
            peer: host.parse::<IpAddr>().ok().map(Net::host),
            port,
        }
    }
}

/// What the box itself needs, whatever a policy says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The user that the agent runs as.
    pub agent: u32,
    /// TCP ports of the fleet server: gate, renewal, enrolment.
    pub server_ports: Vec<u16>,
    /// Its sensors on the network, and the doors of its server that it knows.
    pub vital: Vec<Vital>,
    /// The resolvers that the box is set to ask, when something vital is known by its name.
    pub resolvers: Vec<Net>,
}

impl Needs {
    /// Whether something vital is known by its name only.
    pub fn by_name(&self) -> bool {
        self.vital.iter().any(|vital| vital.peer.is_none())
    }
}

/// The network rules of a box, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What the box needs.
    pub needs: Needs,
    /// What it may reach; none: it is not ruled.
    pub outbound: Option<Outbound>,
    /// Who may reach it; none: it is not ruled.
    pub inbound: Option<Inbound>,
    /// What devices behind it may do; none: it is not ruled.
    pub devices: Option<Devices>,
}

impl Network {
    /// Those of a policy; none when it rules no network.
    pub fn of(policy: &Policy, needs: &Needs) -> Option<Network> {
        let rules = Network {
            needs: needs.clone(),
            outbound: policy.outbound.clone(),
            inbound: policy.inbound.clone(),
            devices: policy.devices.clone(),
        };
        let any = rules.outbound.is_some() || rules.inbound.is_some() || rules.devices.is_some();
        any.then_some(rules)
    }
}

/// All that is enforced by the helper.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The network; none: our table is taken away.
    pub network: Option<Network>,
    /// The sshd; none: our file is taken away.
    pub sshd: Option<Sshd>,
}

impl Target {
    /// Of a policy; nothing for none.
    pub fn of(policy: Option<&Policy>, needs: &Needs) -> Target {
        Target {
            network: policy.and_then(|policy| Network::of(policy, needs)),
            sshd: policy.and_then(|policy| policy.sshd.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_by_name_is_reached_by_its_port_and_one_by_address_there_only() {
        let of = |text| Vital::of(text).expect("a sensor");
        assert_eq!(
            of("ups.local:502"),
            Vital {
                peer: None,
                port: 502
            }
        );
        assert_eq!(
            of("192.0.2.7:502").peer,
            Some("192.0.2.7".parse().expect("a network"))
        );
        assert_eq!(
            of("[2001:db8::7]:502").peer,
            Some("2001:db8::7".parse().expect("a network"))
        );
        assert_eq!(Vital::of("/dev/ttyUSB0"), None);
    }
}
