//! Shell: one admitted gateway's socket. Reads packets, carries out what the session decides, waits.
//!
//! # Design
//! A quiet connection holds no buffer: bytes are read into the stack and copied once, and an empty buffer is given
//! back. The gate stops reading when 64 publishes are not stored, when its answers are not taken, and when the
//! gateway has sent more than its allowance; TCP carries the pressure back, and nothing is dropped.
#![expect(clippy::disallowed_methods, reason = "shell: time")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use homeward_protocol::envelope::Lane;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::{Timestamp, Uptime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::limits::{PACKET_COST, SharedAllowance};
use super::listen::Door;
use super::session::{Effect, Input, Session};
use super::{Passage, Place, Spoken, Testimony, Uplink, Why, codec};

/// Bytes read at a time.
const READ: usize = 4096;
/// Answers that wait to be written; at this many bytes the gate stops reading.
const MAX_OUTBOX: usize = 8 * 1024;
/// A wait for the store longer than this was silence of ours, not of the gateway's.
const OWN_SILENCE: Duration = Duration::from_secs(1);

/// One gateway's socket.
pub(super) struct Socket {
    door: Arc<Door>,
    stream: TlsStream<TcpStream>,
    session: Session,
    /// The key of the gateway's certificate.
    key: PublicKey,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Written, but perhaps not yet taken by the peer's side.
    unflushed: bool,
    /// When the peer counts as stuck, while something is unflushed.
    stuck_at: Option<Uptime>,
    /// Not reading, for a reason of ours.
    paused: bool,
    /// Publishes on their way to the store, in the order they came: PUBACKs leave in the same order.
    storing: VecDeque<(u16, oneshot::Receiver<()>)>,
    allowance: SharedAllowance,
    timer: Pin<Box<Sleep>>,
    timer_at: Uptime,
    announced: bool,
}

/// What the wait ended with.
enum Wake {
    /// More bytes are in the inbox, or the gate may read again.
    Look,
    /// Something for the session.
    Input(Input),
    /// The connection is over.
    End(Why),
}

impl Socket {
    pub(super) fn new(
        door: Arc<Door>,
        stream: TlsStream<TcpStream>,
        (session, key): (Session, PublicKey),
        inbox: BytesMut,
    ) -> Socket {
        let now = door.now();
        Socket {
            allowance: door.allowance(session.gateway()),
            timer: Box::pin(tokio::time::sleep_until(door.instant(now))),
            timer_at: now,
            door,
            stream,
            session,
            key,
            inbox,
            outbox: BytesMut::new(),
            unflushed: false,
            stuck_at: None,
            paused: false,
            storing: VecDeque::new(),
            announced: false,
        }
    }

    /// Whether the store has been told that the gateway connected.
    pub(super) fn announced(&self) -> bool {
        self.announced
    }

    /// Serves the gateway until the connection is over. Being told to end cuts everything short, also a write that
    /// the peer does not take and a wait for the store.
    pub(super) async fn run(&mut self, place: &Place, address: SocketAddr, at: Timestamp) -> Why {
        let mut work = pin!(self.work(place, address, at));
        poll_fn(|cx| match place.poll_ended(cx) {
            Poll::Ready(why) => Poll::Ready(why),
            Poll::Pending => work.as_mut().poll(cx),
        })
        .await
    }

    /// Writes what is still to be written, if it was the gateway that ended it, and closes.
    pub(super) async fn close(mut self, why: Why, patience: Duration) {
        let cut = [
            Why::Lost,
            Why::Stuck,
            Why::Silent,
            Why::Kicked,
            Why::Replaced,
            Why::Stopping,
        ];
        if !cut.contains(&why) {
            let goodbye = async {
                self.stream.write_all(&self.outbox).await?;
                self.stream.shutdown().await
            };
            let _ = timeout(patience, goodbye).await;
        }
    }

    async fn work(&mut self, place: &Place, address: SocketAddr, at: Timestamp) -> Why {
        let connected = Passage::Connected {
            gateway: self.session.gateway().clone(),
            spare: self.session.is_spare(),
            address: address.to_string(),
            at,
        };
        if self.door.gate.passages.send(connected).await.is_err() {
            return Why::Stopping;
        }
        self.announced = true;
        let mut input = Some(Input::Entered);
        loop {
            if let Some(input) = input.take()
                && let Err(why) = self.step(input).await
            {
                return why;
            }
            if let Err(why) = self.read_packets().await {
                return why;
            }
            match poll_fn(|cx| self.poll(cx, place)).await {
                Wake::Look => {}
                Wake::Input(next) => input = Some(next),
                Wake::End(why) => return why,
            }
        }
    }

    /// Handles the packets that have come whole, as far as the gate reads.
    async fn read_packets(&mut self) -> Result<(), Why> {
        while self.reads(self.door.now()) {
            let input = match codec::read(&mut self.inbox, codec::MAX_PACKET) {
                Ok(None) => break,
                Ok(Some(packet)) => Input::Packet(packet),
                Err(why) => Input::Unreadable(why),
            };
            self.allowance.spend(PACKET_COST, self.door.now());
            self.step(input).await?;
        }
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        Ok(())
    }

    async fn step(&mut self, input: Input) -> Result<(), Why> {
        for effect in self.session.handle(input, self.door.now()) {
            match effect {
                Effect::Send(packet) => codec::write(&packet, &mut self.outbox)?,
                Effect::Deliver { lane, payload, id } => self.deliver(lane, payload, id).await?,
                Effect::Testify { spoken, id } => self.testify(spoken, id).await?,
                Effect::Close(why) => return Err(why),
                // Done before this socket was made.
                Effect::Enter => {}
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, lane: Lane, payload: Bytes, id: Option<u16>) -> Result<(), Why> {
        let meters = &self.door.meters;
        meters.publishes.increment(1);
        meters.publish_bytes.increment(payload.len() as u64);
        let asked_at = self.door.now();
        let payload = self.in_room(payload).await?;
        let (done, stored) = oneshot::channel();
        let uplink = Uplink {
            gateway: self.session.gateway().clone(),
            lane,
            payload,
            done,
        };
        let sent = self.door.gate.uplinks.send(uplink).await;
        sent.map_err(|_| Why::Stopping)?;
        self.handed_on(asked_at, stored, id);
        Ok(())
    }

    async fn testify(&mut self, spoken: Spoken, id: Option<u16>) -> Result<(), Why> {
        let asked_at = self.door.now();
        let spoken = match spoken {
            Spoken::Ask(word) => Spoken::Ask(self.in_room(word).await?),
            Spoken::Still(said) => Spoken::Still(self.in_room(said).await?),
            Spoken::Evidence(bundle) => Spoken::Evidence(self.in_room(bundle).await?),
        };
        let (done, stored) = oneshot::channel();
        let testimony = Testimony {
            gateway: self.session.gateway().clone(),
            key: self.key.clone(),
            spoken,
            done,
        };
        let sent = self.door.gate.testimonies.send(testimony).await;
        sent.map_err(|_| Why::Stopping)?;
        self.handed_on(asked_at, stored, id);
        Ok(())
    }

    /// Waits for room in memory; the payload takes it up until nobody holds it any more.
    async fn in_room(&self, payload: Bytes) -> Result<Bytes, Why> {
        // Never more than there is in all, or it would wait for ever.
        let cost = (payload.len() + PACKET_COST).min(self.door.gate.limits.in_flight_bytes);
        let room = Arc::clone(&self.door.room).acquire_many_owned(u32::try_from(cost).unwrap_or(u32::MAX));
        let room = room.await.map_err(|_| Why::Stopping)?;
        Ok(Bytes::from_owner(InRoom { payload, _room: room }))
    }

    fn handed_on(&mut self, asked_at: Uptime, stored: oneshot::Receiver<()>, id: Option<u16>) {
        if let Some(id) = id {
            self.storing.push_back((id, stored));
        }
        let now = self.door.now();
        if now.since(asked_at) > OWN_SILENCE {
            self.session.handle(Input::Resumed, now);
        }
    }

    fn reads(&self, now: Uptime) -> bool {
        self.session.takes_packets() && self.outbox.len() < MAX_OUTBOX && self.allowance.ready_at() <= now
    }

    fn poll(&mut self, cx: &mut Context<'_>, place: &Place) -> Poll<Wake> {
        let now = self.door.now();
        // All that is to be said now goes into one write.
        if let Poll::Ready(input) = self.poll_say(cx, place) {
            return Poll::Ready(Wake::Input(input));
        }
        if let Poll::Ready(Err(_)) = self.poll_flush(cx, now) {
            return Poll::Ready(Wake::End(Why::Lost));
        }
        // What waited for room in the outbox.
        if let Poll::Ready(input) = self.poll_say(cx, place) {
            return Poll::Ready(Wake::Input(input));
        }
        let reads = self.reads(now);
        if std::mem::replace(&mut self.paused, !reads) && reads {
            return Poll::Ready(Wake::Input(Input::Resumed));
        }
        if reads && let Poll::Ready(wake) = self.poll_read(cx, now) {
            return Poll::Ready(wake);
        }
        self.poll_timer(cx, now)
    }

    /// The next thing to be said: a publish is stored, or there is mail. Nothing while the outbox is full.
    fn poll_say(&mut self, cx: &mut Context<'_>, place: &Place) -> Poll<Input> {
        if self.outbox.len() >= MAX_OUTBOX {
            return Poll::Pending;
        }
        if let Poll::Ready(input) = self.poll_stored(cx) {
            return Poll::Ready(input);
        }
        if self.session.takes_mail() {
            place.poll_mail(cx).map(Input::Mail)
        } else {
            Poll::Pending
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Uptime) -> Poll<std::io::Result<()>> {
        if self.outbox.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        self.stuck_at.get_or_insert(now.plus(self.door.gate.limits.write));
        while !self.outbox.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outbox))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
        }
        self.outbox = BytesMut::new();
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        self.stuck_at = None;
        Poll::Ready(Ok(()))
    }

    fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        let Some((id, stored)) = self.storing.front_mut() else {
            return Poll::Pending;
        };
        let input = match ready!(Pin::new(stored).poll(cx)) {
            Ok(()) => Input::Stored(*id),
            Err(_) => Input::NotStored,
        };
        self.storing.pop_front();
        if self.storing.is_empty() {
            self.storing = VecDeque::new();
        }
        Poll::Ready(input)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Uptime) -> Poll<Wake> {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut bytes);
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
        let came = read.filled();
        if outcome.is_err() || came.is_empty() {
            return Poll::Ready(Wake::End(Why::Lost));
        }
        self.allowance.spend(came.len(), now);
        self.inbox.extend_from_slice(came);
        Poll::Ready(Wake::Look)
    }

    /// Waits for the nearest deadline. The timer is set anew only when a nearer one appears or it has run out, as a
    /// keep-alive moves with each packet.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Uptime) -> Poll<Wake> {
        if self.stuck_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Wake::End(Why::Stuck));
        }
        let silent_at = self.session.deadline().filter(|_| !self.paused);
        if silent_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Wake::Input(Input::Tick));
        }
        let allowed_at = Some(self.allowance.ready_at()).filter(|at| *at > now);
        let Some(next) = [self.stuck_at, silent_at, allowed_at].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if next < self.timer_at || self.timer_at <= now {
            self.timer_at = next;
            self.timer.as_mut().reset(self.door.instant(next));
        }
        self.timer.as_mut().poll(cx).map(|()| Wake::Look)
    }
}

/// A payload that takes up room until the store has let go of it.
struct InRoom {
    payload: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for InRoom {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}
