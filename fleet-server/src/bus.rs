//! Live events inside the server: "something about this gateway changed, look now".
//!
//! An event is a hint. What is true stands in the store; whoever misses an event (a page that was slow, a bus that
//! was restarted) sees the same thing at its next look.
//!
//! # Design
//! The bus is rumqttd's router in this process, without a listener, so that integrators and a clustered broker can
//! take the same topics later. [`Event::topic`] and [`Event::parse`] are the whole contract.

pub mod embedded;

use homeward_protocol::id::GatewayId;

pub use embedded::{Bus, BusDied, BusError};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Records of this gateway were stored.
    Stored(GatewayId),
    /// It connected.
    Connected(GatewayId),
    /// Its connection ended.
    Left(GatewayId),
    /// Something else about it changed: enrolled, approved, revoked, placed.
    Changed(GatewayId),
}

impl Event {
    /// The gateway it is about.
    pub const fn gateway(&self) -> &GatewayId {
        match self {
            Event::Stored(gateway)
            | Event::Connected(gateway)
            | Event::Left(gateway)
            | Event::Changed(gateway) => gateway,
        }
    }

    /// The kind, as the topic spells it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Event::Stored(_) => "stored",
            Event::Connected(_) => "connected",
            Event::Left(_) => "left",
            Event::Changed(_) => "changed",
        }
    }

    /// `event/KIND/GATEWAY`.
    pub fn topic(&self) -> String {
        format!("event/{}/{}", self.kind(), self.gateway())
    }

    /// Reads a topic back; `None` when it is not an event's.
    pub fn parse(topic: &str) -> Option<Event> {
        let (kind, gateway) = topic.strip_prefix("event/")?.split_once('/')?;
        let gateway = gateway.parse().ok()?;
        match kind {
            "stored" => Some(Event::Stored(gateway)),
            "connected" => Some(Event::Connected(gateway)),
            "left" => Some(Event::Left(gateway)),
            "changed" => Some(Event::Changed(gateway)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_reads_back_and_nothing_else_does() {
        let gateway: GatewayId = "gw-1".parse().expect("an id");
        let make: [fn(GatewayId) -> Event; 4] =
            [Event::Stored, Event::Connected, Event::Left, Event::Changed];
        for event in make.map(|make| make(gateway.clone())) {
            assert_eq!(Event::parse(&event.topic()), Some(event));
        }
        for other in [
            "",
            "event/",
            "event/stored/",
            "event/stored/a/b",
            "event/gone/gw-1",
            "é",
            "event/stored/é",
        ] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }
}
