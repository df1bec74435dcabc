//! Shell: files over HTTP and HTTPS, sized and timed; a server that cannot be trusted costs bytes and minutes at most.
#![expect(clippy::disallowed_methods, reason = "shell: the network, and waiting")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::base::Base;
use super::rate::pace::Pace;
use super::tuf::{Fetch, FetchError};

/// How long a server may be silent: while it is reached, and between two pieces.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a file may take beside its size.
const GRACE: Duration = Duration::from_mins(1);
/// Slowest that a file may come, bytes a second: a server that drips holds nobody for ever.
const SLOWEST: u64 = 4 * 1024;

type Piece<'a> = &'a mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send);

/// A folder on a server.
#[derive(Clone)]
pub struct Http {
    base: Base,
    tls: Option<Arc<ClientConfig>>,
    silence: Duration,
    pace: Option<Pace>,
    /// Ends what comes, in good order.
    until: CancellationToken,
    /// What it says of itself.
    name: Option<&'static str>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// The folder at `base`; by `tls` where the address says https. It may carry the box's own certificate.
    pub fn new(base: Base, tls: Option<Arc<ClientConfig>>) -> Http {
        Http {
            base,
            tls,
            silence: SILENCE,
            pace: None,
            until: CancellationToken::new(),
            name: Some(concat!("homeward-agent/", env!("CARGO_PKG_VERSION"))),
        }
    }

    /// The same at this pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Http {
        let pace = Some(pace);
        Http { pace, ..self }
    }

    /// The same until then: what is under way ends as if the server had gone away, and nothing comes any more.
    #[must_use]
    pub fn until(self, until: CancellationToken) -> Http {
        Http { until, ..self }
    }

    /// The same without a word of who asks.
    #[must_use]
    pub fn nameless(self) -> Http {
        Http { name: None, ..self }
    }

    /// The same with another patience.
    #[must_use]
    pub fn silent_for(self, silence: Duration) -> Http {
        Http { silence, ..self }
    }

    async fn reach(&self) -> Result<TcpStream, FetchError> {
        let reached = timeout(
            self.silence,
            TcpStream::connect((self.base.host.as_str(), self.base.port)),
        );
        let stream = reached
            .await
            .map_err(|_| failed("it cannot be reached in time"))?;
        stream.map_err(|error| failed(format!("it cannot be reached: {error}")))
    }

    async fn converse(&self, file: &str, from: u64, max: u64, take: Piece<'_>) -> Result<(), FetchError> {
        let stream = self.reach().await?;
        if !self.base.secure {
            return self.exchange(stream, file, from, max, take).await;
        }
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| failed("no trust anchors for https"))?;
        let name = ServerName::try_from(self.base.host.clone());
        let name = name.map_err(|_| failed("no certificate can name that host"))?;
        let hand = timeout(
            self.silence,
            TlsConnector::from(Arc::clone(tls)).connect(name, stream),
        );
        let stream = hand.await.map_err(|_| failed("TLS takes too long"))?;
        let stream = stream.map_err(|error| failed(format!("TLS: {error}")))?;
        self.exchange(stream, file, from, max, take).await
    }

    async fn exchange<S>(
        &self,
        stream: S,
        file: &str,
        from: u64,
        max: u64,
        take: Piece<'_>,
    ) -> Result<(), FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let http = |error: hyper::Error| failed(format!("HTTP: {error}"));
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(http)?;
        let mut request = Request::get(format!("{}{file}", self.base.path))
            .header(header::HOST, self.base.host_header())
            .header(header::CONNECTION, "close");
        if let Some(name) = self.name {
            request = request.header(header::USER_AGENT, name);
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| failed(format!("no such request: {error}")))?;
        let talk = async {
            let answered = timeout(self.silence, send.send_request(request)).await;
            let response = answered.map_err(|_| failed("no answer in time"))?.map_err(http)?;
            let at = begins_at(&response, from)?;
            self.receive(response.into_body(), at, max, take).await
        };
        // The connection has to be driven while the exchange waits; it may end first, when the server closes.
        let mut connection = std::pin::pin!(connection);
        let mut talk = std::pin::pin!(talk);
        tokio::select! {
            done = &mut talk => return done,
            // What was wrong with it, the exchange says, once it has taken all that came.
            _ = &mut connection => {}
        }
        talk.await
    }

    async fn receive(
        &self,
        mut body: Incoming,
        at: u64,
        max: u64,
        take: Piece<'_>,
    ) -> Result<(), FetchError> {
        let mut at = at;
        loop {
            let next = timeout(self.silence, body.frame()).await;
            let Some(frame) = next.map_err(|_| failed("it went silent in the middle"))? else {
                return Ok(());
            };
            let frame = frame.map_err(|error| failed(format!("HTTP: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            let end = at.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
            if end > max {
                return Err(FetchError::TooLong(max));
            }
            take(at, &data).map_err(FetchError::Keep)?;
            at = end;
            if let Some(pace) = &self.pace {
                pace.pay(data.len()).await.map_err(FetchError::Held)?;
            }
        }
    }
}

impl Fetch for Http {
    async fn get(&self, file: &str, from: u64, max: u64, take: Piece<'_>) -> Result<(), FetchError> {
        let whole = GRACE
            .saturating_add(Duration::from_secs(max / SLOWEST))
            .min(self.silence.saturating_mul(1000));
        let comes = timeout(whole, self.converse(file, from, max, take));
        let Some(came) = self.until.run_until_cancelled(comes).await else {
            return Err(failed("it is not waited for any more"));
        };
        came.map_err(|_| failed("it takes too long"))?
    }
}

/// Where the body begins: at 0, or where it was asked for. Redirections are not followed.
fn begins_at(response: &Response<Incoming>, from: u64) -> Result<u64, FetchError> {
    let range = || {
        let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (first, _) = value.strip_prefix("bytes ")?.split_once('-')?;
        first.parse::<u64>().ok()
    };
    match response.status() {
        StatusCode::OK => Ok(0),
        StatusCode::PARTIAL_CONTENT if from > 0 && range() == Some(from) => Ok(from),
        StatusCode::NOT_FOUND => Err(FetchError::Absent),
        StatusCode::SERVICE_UNAVAILABLE => Err(failed("it has no room for one more just now")),
        status => Err(failed(format!("it answers {}", status.as_u16()))),
    }
}

fn failed(why: impl Into<String>) -> FetchError {
    FetchError::Failed(why.into())
}
