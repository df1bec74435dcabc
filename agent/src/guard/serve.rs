//! Shell: takes the connections of other masters, and answers them as the guard decides.
//!
//! # Design
//! Nothing here can end the agent or hold up its polling: connections are bounded, each wait has a limit, a failed
//! handshake is that connection's own affair, and an address that cannot be listened on yet is tried again. Records
//! go to the outbox from one loop, so that a slow disk never keeps a peer from its answer.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: sockets, one task a connection, limits of waits"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeward_devices::link::Registers;
use homeward_devices::modbus::Answer;
use homeward_devices::modbus::bus::Guest;
use homeward_devices::modbus::frame::{self, HEADER, Header, Question};
use homeward_devices::modbus::role::Role;
use homeward_protocol::envelope::Item;
use homeward_protocol::guard::Outcome;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::guard::seats::{Seat, room};
use crate::guard::{Guard, NO_ANSWER, Verdict, Who};
use crate::policy::habits::Now;

/// How long a handshake may take: small displays compute seconds for one.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be without a question: displays ask every few seconds, some every minute.
const IDLE: Duration = Duration::from_mins(5);
/// How long the rest of a frame, or taking an answer, may last.
const REST: Duration = Duration::from_secs(5);
/// The pause before an address that could not be listened on is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The longest sleep of the loop when nothing is due.
const LONGEST: Duration = Duration::from_mins(1);

/// One guard at its post.
pub struct Post<R> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// TLS, when peers have to prove their roles.
    pub tls: Option<Arc<ServerConfig>>,
    /// The guests' end of the line.
    pub guest: Guest<R>,
    /// What decides.
    pub guard: Guard,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the policy wants.
    pub habits: Now,
    /// Where records go.
    pub records: mpsc::Sender<Vec<Item>>,
}

/// What connections share.
struct Desk<R> {
    guard: Mutex<Guard>,
    guest: Guest<R>,
    clock: Arc<Clock>,
    habits: Now,
    /// Something is to be told.
    news: Notify,
}

enum Step {
    Came(io::Result<(TcpStream, SocketAddr)>),
    Tell,
    Stop,
}

impl<R: Registers + 'static> Post<R> {
    /// Listens until `stop`, or until nobody takes records.
    pub async fn run(self, stop: CancellationToken) {
        let Some(listener) = stop.run_until_cancelled(listen(self.listen)).await else {
            return;
        };
        self.serve(listener, stop).await;
    }

    /// The same on a socket that listens already.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let acceptor = self.tls.map(TlsAcceptor::from);
        let desk = Arc::new(Desk {
            guard: Mutex::new(self.guard),
            guest: self.guest,
            clock: self.clock,
            habits: self.habits,
            news: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        let mut open: Vec<(Seat, AbortHandle)> = Vec::new();
        loop {
            if !desk.tell(&self.records).await {
                return;
            }
            let happened = tokio::select! {
                biased;
                () = stop.cancelled() => Step::Stop,
                () = desk.news.notified() => Step::Tell,
                came = listener.accept() => Step::Came(came),
                () = sleep(desk.wait()) => Step::Tell,
            };
            match happened {
                Step::Tell => {}
                Step::Stop => break,
                Step::Came(Err(error)) => {
                    debug!(%error, "a connection to the guard did not come about");
                    sleep(Duration::from_millis(100)).await;
                }
                Step::Came(Ok((stream, from))) => {
                    while tasks.try_join_next().is_some() {}
                    open.retain(|(_, task)| !task.is_finished());
                    let seat = desk.seat(from.ip());
                    let taken: Vec<Seat> = open.iter().map(|(seat, _)| *seat).collect();
                    if room(&taken, seat) {
                        let task =
                            tasks.spawn(attend(Arc::clone(&desk), stream, from.ip(), acceptor.clone()));
                        open.push((seat, task));
                    } else {
                        debug!(peer.address = %from, "the guard has no room for {from}");
                    }
                }
            }
        }
        // Connections end with the set; what they brought until now is kept.
        drop(tasks);
        desk.tell(&self.records).await;
    }
}

async fn listen(at: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(at).await {
            Ok(listener) => {
                info!(guard.listen = %at, "the guard listens on {at}");
                return listener;
            }
            Err(error) if !told => {
                warn!(guard.listen = %at, %error, "the guard cannot listen on {at}: {error}. It is tried again");
                told = true;
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

impl<R: Registers> Desk<R> {
    /// Nothing that is done under this lock waits or can panic half way.
    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, from: IpAddr) -> Seat {
        if self.lock().rules().knows(from) {
            Seat::Known(from)
        } else {
            Seat::Stranger(from)
        }
    }

    /// How long nothing is due.
    fn wait(&self) -> Duration {
        let up = self.clock.uptime();
        let due = self.lock().deadline().map(|at| at.since(up));
        due.unwrap_or(LONGEST).min(LONGEST)
    }

    /// Sends what is to be told; whether somebody takes it.
    async fn tell(&self, records: &mpsc::Sender<Vec<Item>>) -> bool {
        let items = self.lock().take(self.clock.now(), self.clock.uptime());
        for item in &items {
            log(item);
        }
        items.is_empty() || records.send(items).await.is_ok()
    }

    /// The answer to one question.
    async fn ask(&self, who: &Who, unit: u8, question: &Question) -> Vec<u8> {
        let verdict = {
            let (now, up) = (self.clock.now(), self.clock.uptime());
            let mut guard = self.lock();
            guard.allow(self.habits.borrow().writes.as_ref());
            guard.judge(who, unit, question, now, up)
        };
        let function = question.function();
        let ask = match verdict {
            Verdict::Forward(ask) => ask,
            Verdict::Refuse { exception, .. } => {
                if question.writes() {
                    self.news.notify_one();
                }
                return frame::exception(function, exception);
            }
            Verdict::Spare => return frame::exception(function, NO_ANSWER),
        };
        let result = self.guest.call(unit, ask).await;
        let exception = {
            let (now, up) = (self.clock.now(), self.clock.uptime());
            self.lock()
                .came(who, unit, question, result.as_ref().err(), now, up)
        };
        if question.writes() {
            self.news.notify_one();
        }
        match (exception, result, question) {
            (None, Ok(Answer::Words(words)), Question::Read(request)) => frame::read_answer(*request, &words),
            (None, Ok(Answer::Written), Question::Write(write)) => frame::write_answer(write),
            (None, Ok(Answer::Identity(identity)), _) => frame::identity_answer(&identity),
            (exception, ..) => frame::exception(function, exception.unwrap_or(NO_ANSWER)),
        }
    }
}

/// Says what a record says; never what was to be written.
fn log(item: &Item) {
    if let Item::Write(attempt) = item {
        let (peer, sensor, times) = (attempt.peer.as_str(), &attempt.sensor, attempt.times);
        match attempt.outcome {
            Outcome::Refused(why) => {
                let why = why.words();
                warn!(sensor.id = %sensor, peer.name = peer, times, "refused {peer} to write to {sensor}: {why}");
            }
            Outcome::Written => {
                info!(sensor.id = %sensor, peer.name = peer, times, "{peer} wrote to {sensor}");
            }
            Outcome::Failed => {
                warn!(sensor.id = %sensor, peer.name = peer, times, "{sensor} did not take a write by {peer}");
            }
        }
    }
}

async fn attend<R: Registers>(
    desk: Arc<Desk<R>>,
    stream: TcpStream,
    from: IpAddr,
    acceptor: Option<TlsAcceptor>,
) {
    let from = from.to_canonical();
    // Small frames that wait for each other; without it they only come later.
    let _slower = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return talk(&desk, stream, Who { from, role: None }).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let role = certificates.and_then(|all| Role::of(all.first()?));
            talk(&desk, stream, Who { from, role }).await;
        }
        Ok(Err(error)) => debug!(peer.address = %from, %error, "a master proved nothing to the guard"),
        Err(_) => debug!(peer.address = %from, "a master did not end its handshake"),
    }
}

async fn talk<R: Registers, S: AsyncRead + AsyncWrite + Unpin>(desk: &Desk<R>, mut stream: S, who: Who) {
    while let Some((header, pdu)) = next(&mut stream).await {
        let answer = desk.ask(&who, header.unit, &Question::read(&pdu)).await;
        let frame = header.answer(&answer);
        let sent = timeout(REST, async {
            stream.write_all(&frame).await?;
            stream.flush().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next frame; none when the peer is gone, too slow, or does not speak Modbus.
async fn next<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(Header, Vec<u8>)> {
    let first = timeout(IDLE, stream.read_u8()).await.ok()?.ok()?;
    timeout(REST, async {
        let mut head = [first; HEADER];
        stream.read_exact(head.get_mut(1..)?).await.ok()?;
        let header = Header::read(head)?;
        let mut pdu = vec![0; header.length];
        stream.read_exact(&mut pdu).await.ok()?;
        Some((header, pdu))
    })
    .await
    .ok()?
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests: masters on sockets, and how long they wait"
)]
mod tests;
