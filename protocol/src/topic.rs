//! MQTT topics: one closed type both ways.
//!
//! | topic | who publishes | what |
//! |---|---|---|
//! | `hw1/GATEWAY/up/LANE` | the gateway | a signed [`crate::envelope::Envelope`], `QoS` 1 |
//! | `hw1/GATEWAY/up/evidence` | the gateway | a [`crate::evidence::bundle::Bundle`], `QoS` 1 |
//! | `hw1/GATEWAY/up/ask` | the gateway | the word of a [`crate::attest::Ask`], `QoS` 1 |
//! | `hw1/GATEWAY/up/still` | the gateway | a [`crate::posture::facts::Still`], `QoS` 1 |
//! | `hw1/GATEWAY/down/ack` | the server | an [`crate::ack::Ack`], `QoS` 1 |
//! | `hw1/GATEWAY/down/challenge` | the server | a [`crate::attest::Challenge`], `QoS` 1 |
//! | `hw1/GATEWAY/down/verdict` | the server | a [`crate::attest::Notice`], `QoS` 1 |
//! | `hw1/GATEWAY/down/policy` | the server | a [`crate::policy::sign::Offer`], `QoS` 1 |
//! | `hw1/GATEWAY/down/isolation` | the server | a [`crate::policy::isolation::IsolationOrder`], `QoS` 1 |
//! | `hw1/GATEWAY/down/assignment` | the server | a signed [`crate::release::assignment::Assignment`], `QoS` 1 |
//! | `hw1/GATEWAY/down/force` | the server | a [`crate::release::force::Offer`], `QoS` 1 |
//! | `hw1/GATEWAY/down/quiet` | the server | a [`crate::quiet::QuietOrder`], `QoS` 1 |
//! | `hw1/GATEWAY/down/support` | the server | a [`crate::support::SupportOrder`], `QoS` 1 |
//! | `hw1/GATEWAY/down/hint` | the server | "look now": a short word, `QoS` 0 |
//! | `hw1/fleet/notice` | the server | the same for every gateway |
//!
//! A gateway subscribes to `hw1/GATEWAY/down/#` and `hw1/fleet/#`, and to nothing else; with its spare key, to
//! `hw1/GATEWAY/down/ack` alone.

use std::fmt;
use std::str::FromStr;

use crate::envelope::Lane;
use crate::id::GatewayId;

/// Longest topic or filter, bytes. Ours are shorter; what is longer is nobody's.
pub const MAX_TOPIC: usize = 128;

/// A topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Records from a gateway.
    Up(GatewayId, Lane),
    /// What a gateway answers to a challenge.
    Evidence(GatewayId),
    /// A gateway's wish to be challenged.
    Ask(GatewayId),
    /// "What I told you of myself still holds".
    Still(GatewayId),
    /// Acknowledgements to a gateway.
    Ack(GatewayId),
    /// A challenge to a gateway.
    Challenge(GatewayId),
    /// A gateway's judgement.
    Verdict(GatewayId),
    /// A policy for a gateway.
    Policy(GatewayId),
    /// An order to shut a gateway off, or to lift that.
    Isolation(GatewayId),
    /// The director's word on which software a gateway shall have.
    Assignment(GatewayId),
    /// Two people's order to let an update begin although something stands against it.
    Force(GatewayId),
    /// A person's wish that the home is not disturbed.
    Quiet(GatewayId),
    /// An order to open a support session, or to end it.
    Support(GatewayId),
    /// "Look now" to a gateway.
    Hint(GatewayId),
    /// "Look now" to all.
    FleetNotice,
}

/// A subscription that a gateway may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All that is sent down to this gateway.
    Down(GatewayId),
    /// Acknowledgements to this gateway alone: all that one with its spare key may hear.
    Acks(GatewayId),
    /// All that is sent to the whole fleet.
    Fleet,
}

/// Not a topic or filter of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a topic of this service")]
pub struct TopicError;

impl FromStr for Topic {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text.len() > MAX_TOPIC {
            return Err(TopicError);
        }
        if text == "hw1/fleet/notice" {
            return Ok(Topic::FleetNotice);
        }
        let mut levels = text.strip_prefix("hw1/").ok_or(TopicError)?.split('/');
        let gateway: GatewayId = levels.next().and_then(|id| id.parse().ok()).ok_or(TopicError)?;
        let topic = match (levels.next(), levels.next()) {
            (Some("up"), Some("evidence")) => Topic::Evidence(gateway),
            (Some("up"), Some("ask")) => Topic::Ask(gateway),
            (Some("up"), Some("still")) => Topic::Still(gateway),
            (Some("up"), Some(lane)) => Topic::Up(gateway, Lane::from_name(lane).ok_or(TopicError)?),
            (Some("down"), Some("ack")) => Topic::Ack(gateway),
            (Some("down"), Some("challenge")) => Topic::Challenge(gateway),
            (Some("down"), Some("verdict")) => Topic::Verdict(gateway),
            (Some("down"), Some("policy")) => Topic::Policy(gateway),
            (Some("down"), Some("isolation")) => Topic::Isolation(gateway),
            (Some("down"), Some("assignment")) => Topic::Assignment(gateway),
            (Some("down"), Some("force")) => Topic::Force(gateway),
            (Some("down"), Some("quiet")) => Topic::Quiet(gateway),
            (Some("down"), Some("support")) => Topic::Support(gateway),
            (Some("down"), Some("hint")) => Topic::Hint(gateway),
            _ => return Err(TopicError),
        };
        if levels.next().is_some() {
            Err(TopicError)
        } else {
            Ok(topic)
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Up(gateway, lane) => write!(f, "hw1/{gateway}/up/{lane}"),
            Topic::Evidence(gateway) => write!(f, "hw1/{gateway}/up/evidence"),
            Topic::Ask(gateway) => write!(f, "hw1/{gateway}/up/ask"),
            Topic::Still(gateway) => write!(f, "hw1/{gateway}/up/still"),
            Topic::Ack(gateway) => write!(f, "hw1/{gateway}/down/ack"),
            Topic::Challenge(gateway) => write!(f, "hw1/{gateway}/down/challenge"),
            Topic::Verdict(gateway) => write!(f, "hw1/{gateway}/down/verdict"),
            Topic::Policy(gateway) => write!(f, "hw1/{gateway}/down/policy"),
            Topic::Isolation(gateway) => write!(f, "hw1/{gateway}/down/isolation"),
            Topic::Assignment(gateway) => write!(f, "hw1/{gateway}/down/assignment"),
            Topic::Force(gateway) => write!(f, "hw1/{gateway}/down/force"),
            Topic::Quiet(gateway) => write!(f, "hw1/{gateway}/down/quiet"),
            Topic::Support(gateway) => write!(f, "hw1/{gateway}/down/support"),
            Topic::Hint(gateway) => write!(f, "hw1/{gateway}/down/hint"),
            Topic::FleetNotice => f.write_str("hw1/fleet/notice"),
        }
    }
}

impl FromStr for Filter {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text == "hw1/fleet/#" {
            return Ok(Filter::Fleet);
        }
        let rest = text.strip_prefix("hw1/").ok_or(TopicError)?;
        let (id, filter): (_, fn(GatewayId) -> Filter) = match rest.strip_suffix("/down/#") {
            Some(id) => (id, Filter::Down),
            None => (rest.strip_suffix("/down/ack").ok_or(TopicError)?, Filter::Acks),
        };
        id.parse().map(filter).map_err(|_| TopicError)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Down(gateway) => write!(f, "hw1/{gateway}/down/#"),
            Filter::Acks(gateway) => write!(f, "hw1/{gateway}/down/ack"),
            Filter::Fleet => f.write_str("hw1/fleet/#"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_reads_back() {
        let gw: GatewayId = "gw-1".parse().expect("an id");
        let mut all = vec![
            Topic::Evidence(gw.clone()),
            Topic::Ask(gw.clone()),
            Topic::Still(gw.clone()),
            Topic::Ack(gw.clone()),
            Topic::Challenge(gw.clone()),
            Topic::Verdict(gw.clone()),
            Topic::Policy(gw.clone()),
            Topic::Isolation(gw.clone()),
            Topic::Assignment(gw.clone()),
            Topic::Force(gw.clone()),
            Topic::Quiet(gw.clone()),
            Topic::Support(gw.clone()),
            Topic::Hint(gw.clone()),
            Topic::FleetNotice,
        ];
        all.extend(Lane::ALL.map(|lane| Topic::Up(gw.clone(), lane)));
        for topic in all {
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        for filter in [Filter::Down(gw.clone()), Filter::Acks(gw), Filter::Fleet] {
            assert_eq!(filter.to_string().parse(), Ok(filter));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for bad in [
            "",
            "/",
            "é",
            "$SYS/x",
            "$share/g/hw1/gw-1/down/#",
            "hw1/gw-1/up/vital/x",
            "hw1//up/vital",
            "hw1/gw-1/up/#",
            "hw1/+/up/vital",
            "hw1/gw-1/../gw-2/up/vital",
            "hw1/gw-1/up/vital\0",
            "hw1/gw-1/up/",
            "hw1/fleet/#",
        ] {
            assert!(bad.parse::<Topic>().is_err(), "{bad:?} was accepted");
        }
        for bad in [
            "#",
            "hw1/#",
            "hw1/+/down/#",
            "$share/g/hw1/gw-1/down/#",
            "hw1/gw-1/down/+",
            "hw1/gw-1/#",
        ] {
            assert!(bad.parse::<Filter>().is_err(), "{bad:?} was accepted");
        }
    }
}
