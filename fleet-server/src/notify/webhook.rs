//! Shell: sends a message to a service that passes it on: one JSON object by POST, signed.
#![expect(clippy::disallowed_methods, reason = "shell: connects and waits")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{NAME, Notice, SIGNATURE, payload, signature};

/// All of it, from the look-up of the name to the head of the answer. What comes behind that is not read.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A service that takes messages.
#[derive(Clone)]
pub struct Webhook {
    uri: Uri,
    secret: Arc<[u8]>,
    tls: Arc<ClientConfig>,
    patience: Duration,
}

/// Why one was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The address names no host, or no certificate could name it.
    #[error("its address names no host")]
    Host,
    /// Nobody answered in time.
    #[error("no answer in {} s", .0.as_secs())]
    Silent(Duration),
    /// It could not be spoken to.
    #[error("{step}: {why}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        why: String,
    },
    /// It said no.
    #[error("it answered {0}")]
    Refused(StatusCode),
}

fn failed(step: &'static str) -> impl Fn(&dyn std::fmt::Display) -> WebhookError {
    move |why| WebhookError::Step {
        step,
        why: why.to_string(),
    }
}

impl Webhook {
    /// The one at this address, which shares this secret with us.
    pub fn new(uri: Uri, secret: Arc<[u8]>, tls: Arc<ClientConfig>) -> Webhook {
        Webhook {
            uri,
            secret,
            tls,
            patience: PATIENCE,
        }
    }

    /// The same, less patient.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Webhook {
        Webhook { patience, ..self }
    }

    /// Sends one. It is taken when the answer is one of success; redirections are not followed.
    pub async fn send(&self, notice: &Notice) -> Result<(), WebhookError> {
        let done = timeout(self.patience, self.converse(notice)).await;
        done.map_err(|_| WebhookError::Silent(self.patience))?
    }

    async fn converse(&self, notice: &Notice) -> Result<(), WebhookError> {
        let host = self.uri.host().ok_or(WebhookError::Host)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = self.uri.scheme_str() == Some("http");
        let port = self.uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.map_err(|e| failed("it cannot be reached")(&e))?;
        if is_plain {
            return self.exchange(tcp, notice).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| WebhookError::Host)?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        self.exchange(tls.map_err(|e| failed("TLS")(&e))?, notice).await
    }

    async fn exchange<S>(&self, stream: S, notice: &Notice) -> Result<(), WebhookError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let http = |e: hyper::Error| failed("HTTP")(&e);
        let request = self.request(notice)?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(http)?;
        let talk = async {
            let response = send.send_request(request).await.map_err(http)?;
            match response.status() {
                status if status.is_success() => Ok(()),
                status => Err(WebhookError::Refused(status)),
            }
        };
        // The connection has to be driven while the exchange waits; it may end first, when the server closes.
        let mut connection = std::pin::pin!(connection);
        let mut talk = std::pin::pin!(talk);
        tokio::select! {
            done = &mut talk => return done,
            _ = &mut connection => {}
        }
        talk.await
    }

    fn request(&self, notice: &Notice) -> Result<Request<Full<Bytes>>, WebhookError> {
        let body = payload(notice);
        let host = self.uri.authority().ok_or(WebhookError::Host)?.as_str();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("homeward-fleet/", env!("CARGO_PKG_VERSION")),
            )
            .header(NAME, &notice.about)
            .header(SIGNATURE, signature(&self.secret, &body))
            .body(Full::new(Bytes::from(body)));
        request.map_err(|e| failed("no such request")(&e))
    }
}
