//! Flows that were stopped, told once each: what the table remembers for an hour is told when it is new.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use homeward_protocol::policy::network::Devices;
use homeward_protocol::policy::points::{PointId, Rule};
use homeward_protocol::policy::state::{MAX_STOPPED, StoppedFlow, StoppedFlows};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::ask::{Stop, Table, Way};

/// What was told and is still remembered by the table.
#[derive(Debug, Clone, Default)]
pub struct Told {
    flows: BTreeSet<Stop>,
    more: u32,
}

impl Told {
    /// What is new among what the table remembers, in records of at most [`MAX_STOPPED`] flows; devices by their names.
    /// The first says how many more there are beyond what the table tells.
    pub fn news(&mut self, table: &Table, devices: Option<&Devices>, now: Timestamp) -> Vec<StoppedFlows> {
        let new: Vec<&Stop> = table
            .stopped
            .iter()
            .filter(|stop| !self.flows.contains(stop))
            .collect();
        let records = new.chunks(MAX_STOPPED).map(|some| StoppedFlows {
            taken_at: now,
            flows: some.iter().map(|stop| flow(stop, devices)).collect(),
            more: 0,
        });
        let mut records: Vec<StoppedFlows> = records.collect();
        if let Some(first) = records.first_mut() {
            first.more = table.more.saturating_sub(self.more);
            self.more = table.more;
        }
        self.more = self.more.min(table.more);
        self.flows = table.stopped.iter().cloned().collect();
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
        let table = |ports: std::ops::RangeInclusive<u16>, more| Table {
            stopped: ports.map(stop).collect(),
            more,
            ..Table::default()
        };
        let records = told.news(&table(1..=300, 7), None, at);
        assert_eq!(
            records
                .iter()
                .map(|record| record.flows.len())
                .collect::<Vec<_>>(),
            [128, 128, 44]
        );
        assert!(records.iter().all(StoppedFlows::is_within_limits));
        let more = |records: &[StoppedFlows]| records.iter().map(|record| record.more).collect::<Vec<_>>();
        assert_eq!(
            more(&records),
            [7, 0, 0],
            "what an answer had no room for is counted"
        );
        assert!(told.news(&table(1..=300, 7), None, at).is_empty());
        assert_eq!(more(&told.news(&table(1..=301, 9), None, at)), [2], "once");
        assert!(told.news(&Table::default(), None, at).is_empty());
        assert_eq!(more(&told.news(&table(1..=1, 3), None, at)), [3]);
    }
}
