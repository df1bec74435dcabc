//! Shell: carries out the session's effects over MQTT 3.1.1 and mTLS, and tells it what happened.
//!
//! Each connection gets a client of its own: the client library's list of unacknowledged publishes would
//! otherwise outlive a connection, and the outbox is the only resender.
#![expect(clippy::disallowed_methods, reason = "shell: the network and the clock")]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::ack::{Ack, MAX_ACK};
use homeward_protocol::attest::{Challenge, Notice};
use homeward_protocol::envelope::{Envelope, Item, Lane};
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::link::Cause;
use homeward_protocol::policy::isolation::IsolationOrder;
use homeward_protocol::policy::sign::Offer;
use homeward_protocol::quiet::QuietOrder;
use homeward_protocol::release::assignment::MAX_ASSIGNMENT;
use homeward_protocol::release::force::MAX_OFFER;
use homeward_protocol::signed::{Signed, Signer};
use homeward_protocol::support::SupportOrder;
use homeward_protocol::time::{ClockTrust, Uptime};
use homeward_protocol::topic::{Filter, Topic};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Packet, Publish, QoS,
    SubscribeFilter, TlsConfiguration, Transport,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Effect, Input, Moment, Session, State};
use crate::attest::{Heard, Speech};
use crate::causes::{chain, of_tls, says_expired};
use crate::clock::Clock;
use crate::outbox::Settled;
use crate::outbox::keeper::Outbox;
use crate::policy;
use crate::status::{LinkStatus, words};
use crate::update::inbox as update;

/// Largest packet either way: the gate's limit.
const MAX_PACKET: usize = 64 * 1024;
/// Publishes under way without a PUBACK: the gate stops reading at as many.
const INFLIGHT: u16 = 64;
/// Packets waiting for the wire. More than the session has under way, so that a full queue is a fault.
const QUEUE: usize = 256;
/// A storm of reconnecting gateways makes a server slow to answer; five seconds would make it a bigger storm.
const CONNECT_S: u64 = 30;
/// Longest word of a hint, bytes.
const MAX_HINT: usize = 64;
/// How soon a certificate that is said to be over is renewed again: whoever sits on the way can say so, too, and the worst that comes
/// of it is a renewal.
const RENEW_AGAIN: Duration = Duration::from_hours(1);
/// How often a box that knows the time by its certificates alone asks for a new one, to know it.
const TELL_TIME: Duration = Duration::from_hours(24);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where the gate is, who we are to it, and how often to say that we are alive.
#[derive(Clone)]
pub struct Door {
    /// Host name or address, as the server's certificate names it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Our name.
    pub gateway: GatewayId,
    /// Whether we speak with the spare key: then acknowledgements are all that we may hear.
    pub spare: bool,
    /// Longest silence before a ping.
    pub keep_alive: Duration,
}

/// What proves who we are. Replaced as a whole when the certificate was renewed.
#[derive(Clone)]
pub struct Credentials {
    /// mTLS to the gate, with our certificate.
    pub tls: Arc<rustls::ClientConfig>,
    /// Signs envelopes.
    pub signer: Arc<dyn Signer + Send + Sync>,
}

/// What the session asks of the rest of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Renew the certificate now.
    Renew,
    /// Report the posture now.
    TellPosture,
    /// Fetch the fleet's trust anchors.
    FetchTrust,
    /// Tell all facts.
    TellFacts,
    /// Send the list of software.
    SendSoftware,
}

/// The link to the server.
pub struct Link {
    /// Where to.
    pub door: Door,
    /// As whom.
    pub credentials: watch::Receiver<Credentials>,
    /// What to send.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Where the server's hints go.
    pub wishes: mpsc::Sender<Wish>,
    /// Where challenges and judgements go.
    pub attest: mpsc::Sender<Heard>,
    /// Where policies and orders of isolation go.
    pub policy: mpsc::Sender<policy::Heard>,
    /// Where the director's words go; nowhere for a box that takes no updates.
    pub update: Option<update::Inbox>,
    /// Where orders of support sessions go.
    pub support: mpsc::Sender<SupportOrder>,
    /// What is to be said about trust.
    pub speech: mpsc::Receiver<Speech>,
    /// How many connections there were: an answer belongs to its challenge's.
    pub connection: u64,
    /// When a renewal was last asked for, because the certificate is said to be over or so that the box knows the time.
    pub renewed: Option<Uptime>,
    /// Where the state of the link is told.
    pub status: watch::Sender<LinkStatus>,
    /// Random 64-bit numbers, for new epochs.
    pub random: fn() -> u64,
}

/// One step of a client: it owns the event loop, so that dropping the wait for it does not drop a connection
/// half made.
type Step = Pin<Box<dyn Future<Output = (Box<EventLoop>, Result<Event, ConnectionError>)> + Send>>;

struct Wire {
    client: AsyncClient,
    step: Step,
}

enum Woken {
    Stop,
    Tick,
    Outbox,
    Credentials,
    Speech(Speech),
    Wire(Box<EventLoop>, Result<Event, ConnectionError>),
}

fn step(mut events: Box<EventLoop>) -> Step {
    Box::pin(async move {
        let event = events.poll().await;
        (events, event)
    })
}

impl Link {
    /// Runs `session` until `stop`.
    pub async fn run(mut self, mut session: Session, stop: CancellationToken) {
        let mut ledger = self.outbox.ledger();
        let mut wire: Option<Wire> = None;
        let mut inputs = VecDeque::from([Input::Tick]);
        loop {
            while let Some(input) = inputs.pop_front() {
                for effect in session.handle(input, self.moment()) {
                    self.act(effect, &mut wire, &mut inputs).await;
                }
            }
            self.tell(&session);
            if *session.state() == State::Stopped {
                return;
            }
            let wait = session
                .deadline()
                .map(|at| at.since(self.clock.uptime()).max(Duration::from_millis(1)));
            let woken = tokio::select! {
                () = stop.cancelled() => Woken::Stop,
                () = sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => Woken::Tick,
                changed = ledger.changed() => if changed.is_ok() { Woken::Outbox } else { Woken::Stop },
                Ok(()) = self.credentials.changed() => Woken::Credentials,
                Some(speech) = self.speech.recv() => Woken::Speech(speech),
                (events, event) = next(&mut wire) => Woken::Wire(events, event),
            };
            inputs.push_back(match woken {
                Woken::Stop => Input::Stop,
                Woken::Tick => Input::Tick,
                Woken::Outbox => Input::Outbox(Box::new(*ledger.borrow_and_update())),
                Woken::Credentials => Input::NewCertificate,
                Woken::Speech(speech) => {
                    self.say(speech, wire.as_ref());
                    continue;
                }
                Woken::Wire(events, Ok(event)) => {
                    if let Some(wire) = &mut wire {
                        wire.step = step(events);
                    }
                    let Some(input) = self.heard(event, wire.as_ref()) else {
                        continue;
                    };
                    if matches!(input, Input::Admitted) {
                        self.renew_for_the_time();
                    }
                    input
                }
                Woken::Wire(_, Err(error)) => {
                    wire = None;
                    let cause = cause(&error);
                    tracing::info!(link.cause = ?cause, error = %chain(&error),
                        "no connection to {}:{}: {}; trying again", self.door.host, self.door.port, words(cause));
                    self.renew_expired(&error);
                    Input::Lost(cause)
                }
            });
        }
    }

    /// Our certificate is said to be over, whatever our clock says: it is renewed.
    fn renew_expired(&mut self, error: &ConnectionError) {
        if says_expired(error) {
            self.renew(RENEW_AGAIN);
        }
    }

    /// A box whose clock stood still while it was off knows the time by when a certificate of its was issued.
    fn renew_for_the_time(&mut self) {
        if self.clock.now().trust == ClockTrust::Floor {
            self.renew(TELL_TIME);
        }
    }

    fn renew(&mut self, at_most_each: Duration) {
        let now = self.clock.uptime();
        if self.renewed.is_none_or(|asked| now.since(asked) >= at_most_each) {
            self.renewed = Some(now);
            self.wish(Wish::Renew);
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: self.clock.uptime(),
            at: self.clock.now(),
        }
    }

    async fn act(&mut self, effect: Effect, wire: &mut Option<Wire>, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Dial => {
                self.connection += 1;
                *wire = Some(self.dial());
            }
            Effect::HangUp => {
                if let Some(wire) = wire.take() {
                    goodbye(wire).await;
                }
            }
            Effect::Subscribe => self.subscribe(wire.as_ref(), inputs),
            Effect::Send(lane, from) => {
                let client = wire.as_ref().map(|wire| wire.client.clone());
                inputs.push_back(self.send(lane, from, client).await);
            }
            Effect::Settle(ack) => {
                let epoch = Epoch((self.random)());
                let settled = match self.outbox.settle(ack, epoch, self.clock.now()).await {
                    Ok(settled) => settled,
                    Err(error) => {
                        tracing::error!(error = %chain(&error), "could not act on an acknowledgement");
                        Settled::Later
                    }
                };
                inputs.push_back(Input::Outbox(Box::new(*self.outbox.ledger().borrow())));
                inputs.push_back(Input::Settled(ack, settled));
                // Not news by itself: the status file is not written for each acknowledgement.
                self.status.send_if_modified(|status| {
                    status.last_ack = Some(self.clock.now());
                    false
                });
            }
            Effect::Report(outage) => {
                let item = Item::Outage(outage);
                if let Err(error) = self.outbox.push(vec![item], self.clock.now()).await {
                    tracing::warn!(error = %chain(&error), "could not keep the report of an outage");
                }
            }
            Effect::Renew => self.wish(Wish::Renew),
            Effect::TellPosture => self.wish(Wish::TellPosture),
            Effect::FetchTrust => self.wish(Wish::FetchTrust),
            Effect::TellFacts => self.wish(Wish::TellFacts),
            Effect::SendSoftware => self.wish(Wish::SendSoftware),
        }
    }

    /// A wish that finds the inbox full is dropped: one like it is already waiting.
    fn wish(&self, wish: Wish) {
        let _full = self.wishes.try_send(wish);
    }

    fn dial(&self) -> Wire {
        let Door {
            host,
            port,
            gateway,
            keep_alive,
            ..
        } = &self.door;
        let mut options = MqttOptions::new(gateway.as_str(), host, *port);
        let tls = Arc::clone(&self.credentials.borrow().tls);
        options
            .set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)))
            .set_keep_alive(*keep_alive)
            .set_clean_session(true)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET)
            .set_inflight(INFLIGHT)
            .set_manual_acks(true);
        let (client, mut events) = AsyncClient::new(options, QUEUE);
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(CONNECT_S);
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        tracing::debug!(gate.host = %host, gate.port = port, "dialing {host}:{port}");
        Wire {
            client,
            step: step(Box::new(events)),
        }
    }

    fn subscribe(&self, wire: Option<&Wire>, inputs: &mut VecDeque<Input>) {
        tracing::info!(gateway.id = %self.door.gateway, "connected to {}:{}", self.door.host, self.door.port);
        let gateway = self.door.gateway.clone();
        let filters = if self.door.spare {
            vec![Filter::Acks(gateway)]
        } else {
            vec![Filter::Down(gateway), Filter::Fleet]
        };
        let wanted = |filter: Filter| SubscribeFilter::new(filter.to_string(), QoS::AtLeastOnce);
        let filters = filters.into_iter().map(wanted);
        if wire.is_none_or(|wire| wire.client.try_subscribe_many(filters).is_err()) {
            inputs.push_back(Input::Lost(Cause::Closed));
        }
    }

    async fn send(&self, lane: Lane, from: Seq, client: Option<AsyncClient>) -> Input {
        let now = self.clock.now();
        let batch = match self.outbox.batch(lane, from, now).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Input::NothingToSend(lane),
            Err(error) => {
                tracing::error!(error = %chain(&error), "could not read the outbox");
                return Input::Lost(Cause::Closed);
            }
        };
        let sent = Input::Sent {
            lane,
            epoch: batch.epoch,
            last: batch.last,
        };
        let envelope = Envelope {
            gateway: self.door.gateway.clone(),
            epoch: batch.epoch,
            lane,
            oldest: batch.oldest,
            first: batch.first,
            prev: batch.prev,
            sent_at: now,
            entries: batch.entries,
        };
        let signer = Arc::clone(&self.credentials.borrow().signer);
        let bytes = match Signed::seal(&envelope, signer.as_ref()) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(outbox.lane = %lane, error = %chain(&error), "could not sign an envelope");
                return Input::Lost(Cause::Closed);
            }
        };
        let topic = Topic::Up(self.door.gateway.clone(), lane).to_string();
        let queued =
            client.is_some_and(|client| client.try_publish(topic, QoS::AtLeastOnce, false, bytes).is_ok());
        if queued { sent } else { Input::Lost(Cause::Closed) }
    }

    /// What an event of the client means. A publish is acknowledged once the outbox can have acted on it.
    fn heard(&self, event: Event, wire: Option<&Wire>) -> Option<Input> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => Some(Input::Admitted),
            Event::Incoming(Packet::Publish(publish)) => {
                let input = self.message(&publish);
                if let Some(wire) = wire {
                    let _full = wire.client.try_ack(&publish);
                }
                input
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                let refused = answer
                    .return_codes
                    .iter()
                    .any(|code| matches!(code, rumqttc::SubscribeReasonCode::Failure));
                refused.then(|| {
                    tracing::warn!(
                        "the server refused a subscription of ours: acknowledgements would not arrive"
                    );
                    Input::Lost(Cause::Closed)
                })
            }
            _ => None,
        }
    }

    fn message(&self, publish: &Publish) -> Option<Input> {
        let topic: Topic = publish.topic.parse().ok()?;
        match topic {
            Topic::Ack(gateway) if gateway == self.door.gateway && publish.payload.len() <= MAX_ACK => {
                match Ack::decode(&publish.payload) {
                    Ok(ack) => Some(Input::Ack(ack)),
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "an acknowledgement could not be read");
                        None
                    }
                }
            }
            Topic::Challenge(gateway) if gateway == self.door.gateway => self.challenged(&publish.payload),
            Topic::Verdict(gateway) if gateway == self.door.gateway => self.judged(&publish.payload),
            Topic::Policy(gateway) if gateway == self.door.gateway => self.offered(&publish.payload),
            Topic::Isolation(gateway) if gateway == self.door.gateway => self.ordered(&publish.payload),
            Topic::Assignment(gateway) if gateway == self.door.gateway => self.assigned(&publish.payload),
            Topic::Force(gateway) if gateway == self.door.gateway => self.forced(&publish.payload),
            Topic::Quiet(gateway) if gateway == self.door.gateway => self.hushed(&publish.payload),
            Topic::Support(gateway) if gateway == self.door.gateway => self.supported(&publish.payload),
            Topic::Hint(gateway) if gateway == self.door.gateway => hint(publish),
            Topic::FleetNotice => hint(publish),
            _ => None,
        }
    }

    /// Nothing that the session has to decide: it is passed on. A full inbox drops it, and the server asks again.
    fn challenged(&self, payload: &[u8]) -> Option<Input> {
        match Challenge::decode(payload) {
            Ok(challenge) => {
                let _full = self.attest.try_send(Heard::Challenge(challenge, self.connection));
            }
            Err(error) => tracing::warn!(error = %chain(&error), "a challenge could not be read"),
        }
        None
    }

    fn judged(&self, payload: &[u8]) -> Option<Input> {
        match Notice::decode(payload) {
            Ok(notice) => {
                let _full = self.attest.try_send(Heard::Verdict(notice, payload.to_vec()));
            }
            Err(error) => tracing::warn!(error = %chain(&error), "a judgement could not be read"),
        }
        None
    }

    /// What is no offer is told as one that cannot be read. A full inbox drops it, and the server offers again.
    fn offered(&self, payload: &[u8]) -> Option<Input> {
        let offer = Offer::decode(payload).ok().map(Box::new);
        let _full = self.policy.try_send(policy::Heard::Offer(offer));
        None
    }

    /// The director's signature is checked by who knows its key.
    fn assigned(&self, payload: &[u8]) -> Option<Input> {
        if let Some(update) = self.update.as_ref().filter(|_| payload.len() <= MAX_ASSIGNMENT) {
            update.put(update::Heard::Assigned(payload.to_vec()));
        }
        None
    }

    /// Who signed it is checked by who knows whom to believe.
    fn forced(&self, payload: &[u8]) -> Option<Input> {
        if let Some(update) = self.update.as_ref().filter(|_| payload.len() <= MAX_OFFER) {
            update.put(update::Heard::Force(payload.to_vec()));
        }
        None
    }

    /// It stands at once, whatever the updates of this box are about.
    fn hushed(&self, payload: &[u8]) -> Option<Input> {
        match (QuietOrder::decode(payload), &self.update) {
            (Ok(order), Some(update)) => update.put(update::Heard::Quiet(order)),
            (Ok(_), None) => {}
            (Err(error), _) => tracing::warn!(error = %chain(&error), "a wish for quiet could not be read"),
        }
        None
    }

    fn ordered(&self, payload: &[u8]) -> Option<Input> {
        match IsolationOrder::decode(payload) {
            Ok(order) => {
                let _full = self.policy.try_send(policy::Heard::Order(order));
            }
            Err(error) => tracing::warn!(error = %chain(&error), "an order of isolation could not be read"),
        }
        None
    }

    /// A full inbox drops it, and the server says it again.
    fn supported(&self, payload: &[u8]) -> Option<Input> {
        match SupportOrder::decode(payload) {
            Ok(order) => {
                let _full = self.support.try_send(order);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "an order of support could not be read"),
        }
        None
    }

    /// Says something about trust, when there still is the connection that it is for.
    fn say(&self, speech: Speech, wire: Option<&Wire>) {
        let gateway = self.door.gateway.clone();
        let (topic, payload) = match speech {
            Speech::Ask(word) => (Topic::Ask(gateway), word.as_bytes().to_vec()),
            Speech::Evidence(bytes, over) if over == self.connection => (Topic::Evidence(gateway), bytes),
            Speech::Evidence(..) => return,
            Speech::Still(bytes) => (Topic::Still(gateway), bytes),
        };
        if let Some(wire) = wire {
            let _full = wire
                .client
                .try_publish(topic.to_string(), QoS::AtLeastOnce, false, payload);
        }
    }

    fn tell(&self, session: &Session) {
        let (connected_since, dialed) = match session.state() {
            State::Online(online) => (Some(online.since), Some(online.dialed)),
            _ => (None, None),
        };
        let down = session.down();
        let surprises = session.surprises();
        self.status.send_if_modified(|status| {
            let changed = status.connected_since != connected_since
                || status.dialed != dialed
                || status.down != down
                || status.surprises != surprises;
            status.connected_since = connected_since;
            status.dialed = dialed;
            status.down = down;
            status.surprises = surprises;
            changed
        });
    }
}

fn hint(publish: &Publish) -> Option<Input> {
    (publish.payload.len() <= MAX_HINT).then(|| Input::Hint(publish.payload.to_vec()))
}

async fn next(wire: &mut Option<Wire>) -> (Box<EventLoop>, Result<Event, ConnectionError>) {
    match wire {
        Some(wire) => (&mut wire.step).await,
        None => std::future::pending().await,
    }
}

/// Sends what waits and DISCONNECT, as far as a second allows.
async fn goodbye(wire: Wire) {
    let Wire { client, step: first } = wire;
    if client.try_disconnect().is_err() {
        return;
    }
    let rest = async {
        let (mut events, mut event) = first.await;
        while event.is_ok_and(|event| event != Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
            event = events.poll().await;
        }
    };
    let _late = timeout(GOODBYE, rest).await;
}

fn cause(error: &ConnectionError) -> Cause {
    if of_tls(error).is_some() {
        return Cause::Untrusted;
    }
    match error {
        ConnectionError::MqttState(_)
        | ConnectionError::ConnectionRefused(_)
        | ConnectionError::NotConnAck(_) => Cause::Closed,
        _ => Cause::Unreachable,
    }
}
