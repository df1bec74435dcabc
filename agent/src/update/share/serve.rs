//! Shell: gives neighbours in the home's network what an update brought here, on an address that the box's owner named.
//!
//! Only builds that lie in a slot, and the one that is staged there: each came as a target that verified metadata named.
//! Read and nothing else, a few connections at once, all of them together at one pace.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: sockets, files, one task a connection, limits of waits"
)]

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::release::Installer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Asked, MAX_HEAD, Refused, asked, head};
use crate::slot::Digest;
use crate::slot::file::Folder;
use crate::update::rate::Pacer;
use crate::update::saved::file::load;
use crate::update::tuf::aside;

/// Neighbours that are served at once; more are turned away, and ask the server.
const OPEN: usize = 4;
/// How long a request may take to come.
const HEAD: Duration = Duration::from_secs(5);
/// How long a neighbour may take none of the bytes.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a file may take beside its size, and the slowest that it is given.
const GRACE: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 64 * 1024;
/// Bytes a second for all neighbours together.
pub const RATE: u64 = 2 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// The pause before an address that could not be listened on is tried again.
const RETRY: Duration = Duration::from_mins(1);

/// A box that shares.
#[derive(Debug, Clone)]
pub struct Share {
    /// The data folder.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
}

struct Desk {
    data: PathBuf,
    begun: Instant,
    pacer: Mutex<Pacer>,
}

impl Share {
    /// Listens until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = false;
        while !stop.is_cancelled() {
            match TcpListener::bind(self.listen).await {
                Ok(listener) => {
                    tracing::info!(share.listen = %self.listen, "what updates bring is shared on {}", self.listen);
                    return serve(listener, self.data, stop).await;
                }
                Err(error) if !told => {
                    tracing::warn!(error = %error, "nothing is shared: {} cannot be listened on", self.listen);
                    told = true;
                }
                Err(_) => {}
            }
            stop.run_until_cancelled(sleep(RETRY)).await;
        }
    }
}

/// The same on a socket that listens already.
pub async fn serve(listener: TcpListener, data: PathBuf, stop: CancellationToken) {
    let desk = Arc::new(Desk {
        data,
        begun: Instant::now(),
        pacer: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    while let Some(came) = stop.run_until_cancelled(listener.accept()).await {
        while tasks.try_join_next().is_some() {}
        match came {
            Ok((stream, _)) if tasks.len() < OPEN => {
                tasks.spawn(attend(Arc::clone(&desk), stream));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = %error, "a neighbour's connection did not come about");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn attend(desk: Arc<Desk>, mut stream: TcpStream) {
    let answered = match timeout(HEAD, request(&mut stream)).await {
        Ok(Ok(question)) => desk.answer(&mut stream, question).await,
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(error) = answered {
        tracing::debug!(error = %error, "a neighbour was not served");
    }
}

async fn request(stream: &mut TcpStream) -> io::Result<Result<Asked, Refused>> {
    let mut bytes = Vec::with_capacity(256);
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= MAX_HEAD {
            return Ok(Err(Refused::Odd));
        }
        // To the end of the head and no further: nothing follows it.
        bytes.push(stream.read_u8().await?);
    }
    Ok(asked(&bytes))
}

impl Desk {
    async fn answer(&self, stream: &mut TcpStream, question: Result<Asked, Refused>) -> io::Result<()> {
        match self.given(question).await? {
            Ok((head, file, rest)) => {
                let whole = GRACE.saturating_add(Duration::from_secs(rest / SLOWEST));
                let sent = timeout(whole, self.send(stream, &head, file, rest));
                sent.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            Err(refused) => write(stream, refused.answer().as_bytes()).await,
        }
    }

    async fn given(
        &self,
        question: Result<Asked, Refused>,
    ) -> io::Result<Result<(String, fs::File, u64), Refused>> {
        let asked = match question {
            Ok(asked) => asked,
            Err(refused) => return Ok(Err(refused)),
        };
        let data = self.data.clone();
        aside(move || {
            let Some(mut file) = held(&data, &asked.sha256)? else {
                return Ok(Err(Refused::Absent));
            };
            let length = file.metadata()?.len();
            file.seek(io::SeekFrom::Start(asked.from))?;
            Ok(head(asked.from, length).map(|head| (head, file, length - asked.from)))
        })
        .await
    }

    async fn send(
        &self,
        stream: &mut TcpStream,
        head: &str,
        mut file: fs::File,
        rest: u64,
    ) -> io::Result<()> {
        write(stream, head.as_bytes()).await?;
        let mut left = rest;
        while left > 0 {
            let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let piece;
            (file, piece) = aside(move || {
                let mut piece = vec![0; most];
                file.read_exact(&mut piece)?;
                Ok((file, piece))
            })
            .await?;
            write(stream, &piece).await?;
            left -= piece.len() as u64;
            sleep(self.pause(piece.len())).await;
        }
        stream.shutdown().await
    }

    fn pause(&self, bytes: usize) -> Duration {
        let mut pacer = self.pacer.lock().unwrap_or_else(PoisonError::into_inner);
        pacer.after(bytes, Some(RATE), self.begun.elapsed())
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let written = timeout(SILENCE, stream.write_all(bytes)).await;
    written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The build with these bytes that an update brought here; nothing else is given away.
fn held(data: &Path, wanted: &Digest) -> io::Result<Option<fs::File>> {
    let folder = Folder::within(data);
    let slots = folder.load()?.unwrap_or_default();
    let put = slots.builds.iter().find(|(_, build)| build.sha256 == *wanted);
    let staged = || {
        let saved = load(data).ok().flatten().filter(|saved| saved.staged)?;
        let job = saved.job?;
        (job.sha256 == *wanted && job.custom.installer == Installer::AgentSlot).then(|| slots.free())
    };
    let Some(slot) = put.map(|(slot, _)| *slot).or_else(staged) else {
        return Ok(None);
    };
    match fs::File::open(folder.program(slot)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
