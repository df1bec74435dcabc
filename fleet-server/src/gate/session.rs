//! What one gateway may say and what it is answered: the MQTT session as a state machine.
//!
//! [`Session::handle`] is the only way it moves; it touches no socket. The shell carries out the effects in order.

use std::time::Duration;

use bytes::Bytes;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Uptime;
use homeward_protocol::topic::{Filter, Topic};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
    UnsubAck, Unsubscribe,
};

use super::Spoken;
use super::Why;
use super::connections::Down;
use crate::ca::Rank;

/// Most publishes of a gateway that are not yet stored; at this many the gate stops reading, and TCP carries the
/// pressure back.
pub const MAX_UNACKED: usize = 64;
/// Most acknowledgements sent to a gateway that it has not confirmed; more wait in its mailbox.
pub const MAX_DOWN: usize = 16;
/// The longest silence that a keep-alive can ask for.
const MAX_SILENCE: Duration = Duration::from_mins(20);
/// The silence allowed to a client that asks for no keep-alive.
const DEFAULT_SILENCE: Duration = Duration::from_secs(90);

/// Something that happened to the connection.
#[derive(Debug)]
pub enum Input {
    /// The codec read a packet.
    Packet(Packet),
    /// The codec refused what came.
    Unreadable(Why),
    /// The connection was registered, after [`Effect::Enter`].
    Entered,
    /// It was not: [`Why::Full`] or [`Why::Revoked`].
    Refused(Why),
    /// The publish with this packet id is stored.
    Stored(u16),
    /// A publish could not be stored.
    NotStored,
    /// A message for this gateway; only given while [`Session::takes_mail`].
    Mail(Down),
    /// The gate reads again after it had stopped by itself, so the silence was not the peer's.
    Resumed,
    /// [`Session::deadline`] has come.
    Tick,
}

/// What the shell has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this packet.
    Send(Packet),
    /// Register the connection and say [`Input::Entered`] or [`Input::Refused`].
    Enter,
    /// Hand records to the store. With a packet id, say [`Input::Stored`] once they are.
    Deliver {
        /// The outbox lane.
        lane: Lane,
        /// A signed envelope, not looked at.
        payload: Bytes,
        /// The packet id to acknowledge, at `QoS` 1.
        id: Option<u16>,
    },
    /// Hand what the gateway says of itself to be judged; otherwise as [`Effect::Deliver`].
    Testify {
        /// What it says.
        spoken: Spoken,
        /// The packet id to acknowledge, at `QoS` 1.
        id: Option<u16>,
    },
    /// Write what is to be written, and close.
    Close(Why),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For CONNECT.
    Greeting {
        until: Uptime,
    },
    /// For the answer to [`Effect::Enter`].
    Entering,
    /// For packets; silent since `heard`.
    Online {
        heard: Uptime,
    },
    Ended,
}

/// One connection of one gateway.
#[derive(Debug)]
pub struct Session {
    gateway: GatewayId,
    state: State,
    silence: Duration,
    unacked: usize,
    down: Option<QoS>,
    fleet: bool,
    /// It came in with its spare key: records up and acknowledgements down, and nothing else.
    spare: bool,
    last_id: u16,
    /// Packet ids of downlinks that are not confirmed; at most [`MAX_DOWN`].
    sent: Vec<u16>,
}

impl Session {
    /// A gateway that has proved its name by certificate and has until `until` to send CONNECT.
    pub fn new(gateway: GatewayId, until: Uptime) -> Session {
        Session {
            gateway,
            state: State::Greeting { until },
            silence: DEFAULT_SILENCE,
            unacked: 0,
            down: None,
            fleet: false,
            spare: false,
            last_id: 0,
            sent: Vec::new(),
        }
    }

    /// The same for one whose certificate says this of its key.
    #[must_use]
    pub fn ranked(self, rank: Rank) -> Session {
        Session {
            spare: rank == Rank::Spare,
            ..self
        }
    }

    /// Whether it came in with its spare key.
    pub fn is_spare(&self) -> bool {
        self.spare
    }

    /// Whose it is.
    pub fn gateway(&self) -> &GatewayId {
        &self.gateway
    }

    /// Whether more packets may be read now.
    pub fn takes_packets(&self) -> bool {
        self.unacked < MAX_UNACKED && matches!(self.state, State::Greeting { .. } | State::Online { .. })
    }

    /// Whether a message may be sent to the gateway now: it has subscribed, and confirms what it gets.
    pub fn takes_mail(&self) -> bool {
        self.down.is_some() && self.sent.len() < MAX_DOWN && matches!(self.state, State::Online { .. })
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Option<Uptime> {
        match self.state {
            State::Greeting { until } => Some(until),
            State::Online { heard } => Some(heard.plus(self.silence)),
            State::Entering | State::Ended => None,
        }
    }

    /// The only way the state moves. After [`Effect::Close`] nothing has an effect any more.
    pub fn handle(&mut self, input: Input, now: Uptime) -> Vec<Effect> {
        match (self.state, input) {
            (State::Ended, _) => Vec::new(),
            (State::Greeting { .. }, Input::Packet(Packet::Connect(connect))) => self.connect(&connect),
            (State::Greeting { .. }, Input::Packet(_)) => self.close(Why::Malformed),
            (State::Greeting { .. }, Input::Unreadable(Why::Version)) => {
                self.refuse(ConnectReturnCode::RefusedProtocolVersion, Why::Version)
            }
            (State::Greeting { until }, Input::Tick) if now >= until => self.close(Why::Slow),
            (State::Entering, Input::Entered) => {
                self.state = State::Online { heard: now };
                vec![connack(ConnectReturnCode::Success)]
            }
            (State::Entering, Input::Refused(Why::Full)) => {
                self.refuse(ConnectReturnCode::ServiceUnavailable, Why::Full)
            }
            (State::Entering, Input::Refused(why)) => self.refuse(ConnectReturnCode::NotAuthorized, why),
            (State::Online { .. }, Input::Packet(packet)) => {
                self.state = State::Online { heard: now };
                self.packet(packet)
            }
            (State::Online { .. }, Input::Resumed) => {
                self.state = State::Online { heard: now };
                Vec::new()
            }
            (State::Online { .. }, Input::Stored(id)) => {
                self.unacked = self.unacked.saturating_sub(1);
                vec![Effect::Send(Packet::PubAck(PubAck::new(id)))]
            }
            (State::Online { .. }, Input::NotStored) => self.close(Why::NotStored),
            (State::Online { .. }, Input::Mail(down)) => self.mail(down),
            (State::Online { heard }, Input::Tick) if now >= heard.plus(self.silence) => {
                self.close(Why::Silent)
            }
            (_, Input::Unreadable(why)) => self.close(why),
            (_, _) => Vec::new(),
        }
    }

    fn connect(&mut self, connect: &Connect) -> Vec<Effect> {
        if connect.client_id != self.gateway.as_str() {
            return self.refuse(ConnectReturnCode::BadClientId, Why::ClientId);
        }
        if connect.last_will.is_some() {
            return self.refuse(ConnectReturnCode::NotAuthorized, Why::Feature);
        }
        self.silence = match connect.keep_alive {
            0 => DEFAULT_SILENCE,
            seconds => (Duration::from_secs(seconds.into()) * 3 / 2).min(MAX_SILENCE),
        };
        self.state = State::Entering;
        vec![Effect::Enter]
    }

    fn packet(&mut self, packet: Packet) -> Vec<Effect> {
        match packet {
            Packet::Publish(publish) => self.publish(publish),
            Packet::PubAck(ack) => {
                // A confirmation of nothing we sent is harmless, and so is any order.
                self.sent.retain(|&id| id != ack.pkid);
                Vec::new()
            }
            Packet::Subscribe(subscribe) => vec![self.subscribe(&subscribe)],
            Packet::Unsubscribe(unsubscribe) => vec![self.unsubscribe(&unsubscribe)],
            Packet::PingReq => vec![Effect::Send(Packet::PingResp)],
            Packet::Disconnect => self.close(Why::Disconnected),
            // Parts of QoS 2, which nobody may use here.
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => self.close(Why::Feature),
            // A second CONNECT, or what only a server sends.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => self.close(Why::Malformed),
        }
    }

    fn publish(&mut self, publish: Publish) -> Vec<Effect> {
        if publish.retain || publish.qos == QoS::ExactlyOnce {
            return self.close(Why::Feature);
        }
        let (topic, payload) = (publish.topic.parse(), publish.payload);
        let id = (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid);
        let effect = match topic {
            Ok(Topic::Up(gateway, lane)) if gateway == self.gateway => Effect::Deliver { lane, payload, id },
            Ok(Topic::Evidence(gateway)) if gateway == self.gateway && !self.spare => Effect::Testify {
                spoken: Spoken::Evidence(payload),
                id,
            },
            Ok(Topic::Still(gateway)) if gateway == self.gateway && !self.spare => Effect::Testify {
                spoken: Spoken::Still(payload),
                id,
            },
            Ok(Topic::Ask(gateway)) if gateway == self.gateway && !self.spare => Effect::Testify {
                spoken: Spoken::Ask(payload),
                id,
            },
            _ => return self.close(Why::Topic),
        };
        self.unacked += usize::from(id.is_some());
        vec![effect]
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Effect {
        let grant = |(path, qos): (&str, QoS)| match path.parse() {
            Ok(Filter::Down(gateway)) if gateway == self.gateway && !self.spare => self.grant(qos),
            Ok(Filter::Acks(gateway)) if gateway == self.gateway && self.spare => self.grant(qos),
            Ok(Filter::Fleet) if !self.spare => {
                self.fleet = true;
                SubscribeReasonCode::Success(QoS::AtMostOnce)
            }
            _ => SubscribeReasonCode::Failure,
        };
        let asked = subscribe
            .filters
            .iter()
            .map(|filter| (filter.path.as_str(), filter.qos));
        let codes = asked.map(grant).collect();
        Effect::Send(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
    }

    fn grant(&mut self, asked: QoS) -> SubscribeReasonCode {
        let qos = if asked == QoS::AtMostOnce {
            asked
        } else {
            QoS::AtLeastOnce
        };
        self.down = Some(qos);
        SubscribeReasonCode::Success(qos)
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Effect {
        for topic in &unsubscribe.topics {
            match topic.parse() {
                Ok(Filter::Down(gateway) | Filter::Acks(gateway)) if gateway == self.gateway => {
                    self.down = None;
                }
                Ok(Filter::Fleet) => self.fleet = false,
                _ => {}
            }
        }
        Effect::Send(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))
    }

    fn mail(&mut self, down: Down) -> Vec<Effect> {
        let hears_acks_only = self.spare && !matches!(down.topic, Topic::Ack(_));
        if hears_acks_only || down.topic == Topic::FleetNotice && !self.fleet {
            return Vec::new();
        }
        let confirmed = is_confirmed(&down.topic) && self.down == Some(QoS::AtLeastOnce);
        let qos = if confirmed {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        };
        let mut publish = Publish::new(down.topic.to_string(), qos, down.payload);
        if confirmed {
            publish.pkid = self.next_id();
            self.sent.push(publish.pkid);
        }
        vec![Effect::Send(Packet::Publish(publish))]
    }

    /// An id from 1 that is not in use; there is always one, as at most [`MAX_DOWN`] are.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.sent.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn refuse(&mut self, code: ConnectReturnCode, why: Why) -> Vec<Effect> {
        self.state = State::Ended;
        vec![connack(code), Effect::Close(why)]
    }

    fn close(&mut self, why: Why) -> Vec<Effect> {
        self.state = State::Ended;
        vec![Effect::Close(why)]
    }
}

/// Whether it is sent until it is confirmed: a lost challenge, judgement, policy, order or word on software would cost
/// hours.
const fn is_confirmed(topic: &Topic) -> bool {
    matches!(
        topic,
        Topic::Ack(_)
            | Topic::Challenge(_)
            | Topic::Verdict(_)
            | Topic::Policy(_)
            | Topic::Isolation(_)
            | Topic::Assignment(_)
            | Topic::Force(_)
            | Topic::Quiet(_)
            | Topic::Support(_)
    )
}

/// Session present is always 0: what is unsent lives in the outbox and in the store, not here.
fn connack(code: ConnectReturnCode) -> Effect {
    Effect::Send(Packet::ConnAck(ConnAck::new(code, false)))
}

#[cfg(test)]
mod tests;
