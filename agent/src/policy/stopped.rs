//! Flows that were stopped, told once each: what the table remembers for an hour is told when it is new.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use homeward_protocol::policy::network::Devices;
use homeward_protocol::policy::points::{PointId, Rule};
use homeward_protocol::policy::state::{MAX_STOPPED, StoppedFlow, StoppedFlows};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::ask::{Stop, Way};

/// What was told and is still remembered by the table.
#[derive(Debug, Clone, Default)]
pub struct Told(BTreeSet<Stop>);

impl Told {
    /// What is new among what the table remembers, in records of at most [`MAX_STOPPED`] flows; devices by their names.
    pub fn news(
        &mut self,
        remembered: &[Stop],
        devices: Option<&Devices>,
        now: Timestamp,
    ) -> Vec<StoppedFlows> {
        let new: Vec<&Stop> = remembered.iter().filter(|stop| !self.0.contains(stop)).collect();
        let records = new.chunks(MAX_STOPPED).map(|some| StoppedFlows {
            taken_at: now,
            flows: some.iter().map(|stop| flow(stop, devices)).collect(),
            more: 0,
        });
        let records = records.collect();
        self.0 = remembered.iter().cloned().collect();
        records
    }
}

fn flow(stop: &Stop, devices: Option<&Devices>) -> StoppedFlow {
    let rule = match stop.way {
        Way::Out => Rule::Outbound,
        Way::In => Rule::Inbound,
        Way::Through => Rule::Devices,
    };
    StoppedFlow {
        point: PointId::new(rule, "others"),
        who: ShortText::cut(&who(stop, devices)),
        peer: stop.to.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        protocol: stop.with_ports(),
        port: stop.port,
    }
}

fn who(stop: &Stop, devices: Option<&Devices>) -> String {
    match (stop.user, stop.from) {
        (Some(user), _) => format!("user {user}"),
        (None, Some(from)) => {
            let named = devices.into_iter().flat_map(|rule| &rule.device);
            let mut named = named.filter(|device| device.address.holds(from));
            named
                .next()
                .map_or_else(|| from.to_string(), |device| format!("{} ({from})", device.name))
        }
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flow_is_told_once_while_it_is_remembered_and_again_later() {
        let stop = |port| Stop {
            way: Way::Through,
            user: None,
            from: Some("10.20.0.7".parse().expect("an address")),
            to: Some("198.51.100.7".parse().expect("an address")),
            protocol: Some(6),
            port,
        };
        let mut told = Told::default();
        let at = Timestamp::synced(1);
        let many: Vec<Stop> = (1..=300).map(stop).collect();
        let records = told.news(&many, None, at);
        assert_eq!(
            records
                .iter()
                .map(|record| record.flows.len())
                .collect::<Vec<_>>(),
            [128, 128, 44]
        );
        assert!(records.iter().all(StoppedFlows::is_within_limits));
        assert!(told.news(&many, None, at).is_empty());
        assert!(told.news(&[], None, at).is_empty());
        assert_eq!(told.news(&many[..1], None, at).len(), 1);
    }
}
