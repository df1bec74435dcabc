//! Shell: the EST client: HTTPS requests with limits, and the steps of an enrolment.
#![expect(clippy::disallowed_methods, reason = "shell: the network, and waiting")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use homeward_protocol::attest::Tier;
use homeward_protocol::claim::{Claim, Endpoint, Pin, ServerInfo};
use homeward_protocol::id::GatewayId;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{
    Answer, Refusal, anchors, basic, certs_only, check_age, chip, leaf_first, mark, pinned, read_answer,
    request_body, spare,
};
use crate::clock::Clock;
use crate::identity::keys::{Folder, KeyError, Server};
use crate::identity::tls::{TlsError, unverified, verified};
use crate::identity::{Door, LeafError, read_leaf};
use crate::tpm::TpmError;

/// How long one request may take, from the first packet to the last.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, bytes: a list of a handful of certificates in base64 is below it.
const MAX_BODY: usize = 64 * 1024;
/// Tries of an unreachable server while it is waited for an approval.
const TRIES: u32 = 20;
/// The wait between those.
const TRY_WAIT: Duration = Duration::from_secs(15);

pub(super) const CACERTS: &str = "/.well-known/est/cacerts";
const ENROLL: &str = "/.well-known/est/simpleenroll";
pub(super) const INFO: &str = "/.well-known/homeward";
pub(super) const REENROLL: &str = "/.well-known/est/simplereenroll";

/// Why an enrolment or a renewal did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// Nobody answers there.
    #[error("{server} cannot be reached. Check the address and the network; it is safe to try again")]
    Unreachable {
        /// Where.
        server: Endpoint,
        /// What the network said.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("{0} does not answer in time. It is safe to try again")]
    Late(Endpoint),
    /// The address is not one.
    #[error("{0} is not a host that a certificate can name")]
    Name(Endpoint),
    /// The HTTP conversation failed.
    #[error("the conversation with {server} broke off. It is safe to try again")]
    Http {
        /// Where.
        server: Endpoint,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server said no, or the claim does not hold.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The certificate is not for us.
    #[error("the server issued a certificate that is not for this box")]
    Leaf(#[source] LeafError),
    /// The identity's files.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TPM did not do its part.
    #[error("the TPM of this box could not prove itself")]
    Tpm(#[from] TpmError),
    /// There is no TPM, and nothing else to enrol by.
    #[error("enrolling without a claim needs a TPM, and this box has none that can be used (see --tpm)")]
    NoTpm,
    /// The box is another gateway already.
    #[error(
        "this box is enrolled as {0} already. To make it another gateway, remove its data folder first: what waits \
         in it belongs to {0}"
    )]
    OtherGateway(homeward_protocol::id::GatewayId),
}

/// What an enrolment tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The server proved that it is the one of the claim.
    ServerProved,
    /// The box's TPM proved itself; the certificate will say this.
    TpmProved(Tier),
    /// An operator has to approve; the key's fingerprint is what to compare.
    Waiting {
        /// Eight bytes of the SHA-256 over the public key, in hex.
        fingerprint: String,
        /// Seconds until the next question.
        wait_s: u64,
    },
}

/// A body.
pub(super) enum Sent {
    /// A certificate request in base64.
    Csr(String),
    /// A message of ours.
    Cbor(Vec<u8>),
}

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) body: Bytes,
}

/// Where to go, and what lets the box in there.
struct Way {
    server: Endpoint,
    pin: Pin,
    /// The name and the code, for HTTP Basic; without them the TPM has to do.
    basic: Option<String>,
    /// The name, when it is known before.
    gateway: Option<GatewayId>,
    /// Tells this way from others, without the code.
    mark: String,
}

impl Way {
    fn of(claim: &Claim) -> Way {
        Way {
            server: claim.server.clone(),
            pin: claim.pin,
            basic: Some(basic(claim)),
            gateway: Some(claim.gateway.clone()),
            mark: mark(claim),
        }
    }
}

/// Enrols by the box's TPM, which the operator has registered beforehand, or which was enrolled before: no claim, no
/// visit. A box whose certificate is still valid keeps it.
pub async fn enrol_by_tpm(
    server: &Endpoint,
    pin: Pin,
    folder: &Folder,
    clock: &Arc<Clock>,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Server, EstError> {
    if folder.tpm().is_none() {
        return Err(EstError::NoTpm);
    }
    let way = Way {
        server: server.clone(),
        pin,
        basic: None,
        gateway: None,
        mark: format!("tpm {pin}"),
    };
    if !folder.is_enrolled() {
        return enrol_into(folder, &way, clock, tell).await;
    }
    // The key need not be usable to look at the certificate beside it.
    if let Some(life) = folder.life()
        && life.door(clock.now()) == Door::Usual
    {
        return Ok(folder.server()?);
    }
    let known = folder.server()?.gateway;
    let next = folder.next();
    let way = Way {
        gateway: Some(known),
        ..way
    };
    let server = enrol_into(&next, &way, clock, tell).await?;
    next.take_the_place_of(folder)?;
    Ok(server)
}

/// Enrols by `claim`, or goes on where an earlier try stopped. Gives the server's doors.
///
/// A box that is enrolled already and gets a new claim for the same gateway gets a new key too; what it has stays
/// in use until everything new is there.
pub async fn enrol(
    claim: &Claim,
    folder: &Folder,
    clock: &Arc<Clock>,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Server, EstError> {
    check_age(claim, clock.now()).or_else(|error| if folder.is_enrolled() { Ok(()) } else { Err(error) })?;
    let way = Way::of(claim);
    if !folder.is_enrolled() {
        return enrol_into(folder, &way, clock, tell).await;
    }
    let known = folder.server()?;
    if known.gateway != claim.gateway {
        return Err(EstError::OtherGateway(known.gateway));
    }
    if folder.enrolled_by(&way.mark)? {
        return Ok(known);
    }
    check_age(claim, clock.now())?;
    let next = folder.next();
    let server = enrol_into(&next, &way, clock, tell).await?;
    next.take_the_place_of(folder)?;
    Ok(server)
}

async fn enrol_into(
    folder: &Folder,
    way: &Way,
    clock: &Arc<Clock>,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Server, EstError> {
    if folder.is_enrolled() && folder.enrolled_by(&way.mark)? {
        return Ok(folder.server()?);
    }
    // 1. Anchors from a connection that is not believed; only the one that the claim names is kept.
    let blind = Arc::new(unverified(clock)?);
    let found = ask(&way.server, &blind, Method::GET, CACERTS, None, None).await?;
    let root = CertificateDer::from(pinned(&list(&found)?, &way.pin)?);
    // 2. From here on every connection is verified by it.
    let tls = Arc::new(verified(&[root], None, clock)?);
    let found = ask(&way.server, &tls, Method::GET, CACERTS, None, None).await?;
    let trust: Vec<_> = anchors(&list(&found)?, &way.pin)?
        .into_iter()
        .map(CertificateDer::from)
        .collect();
    tell(Progress::ServerProved);
    // 3. The key is kept before the code is bound to it.
    let key = folder.key_or_new()?;
    let public = key.public()?;
    let gateway = match key.chip() {
        // 4. With a TPM the key is proved to be in it before anything is asked for.
        Some(chip) => {
            let welcome = chip::prove(&way.server, &tls, chip, way.basic.as_deref()).await?;
            tell(Progress::TpmProved(welcome.tier));
            welcome.gateway
        }
        None => way.gateway.clone().ok_or(EstError::NoTpm)?,
    };
    if let Some(known) = way.gateway.clone().filter(|known| *known != gateway) {
        return Err(EstError::OtherGateway(known));
    }
    let csr = request_body(&key.request(&gateway)?);
    let chain = enroll(way, &tls, &csr, &public.fingerprint(), tell).await?;
    let chain: Vec<_> = leaf_first(chain, &public.spki())?
        .into_iter()
        .map(CertificateDer::from)
        .collect();
    let leaf = chain
        .first()
        .ok_or(Refusal::Malformed("its list of certificates is empty"))?;
    let life = read_leaf(leaf, &gateway, &public).map_err(EstError::Leaf)?;
    clock.raise_floor(life.not_before_ms);
    // 5. Where the other doors are.
    let info = ask(&way.server, &tls, Method::GET, INFO, None, None).await?;
    let doors: ServerInfo = serde_json::from_slice(&info.body)
        .map_err(|_| Refusal::Malformed("it does not say where the gate is"))?;
    let server = Server {
        gateway,
        enrolment: way.server.clone(),
        doors,
    };
    if key.chip().is_some() {
        // 6. A spare key for the day on which the TPM does not answer. Without one all goes on, and it is tried again.
        let by = spare::By {
            server: &server,
            key: &key,
            chain: &chain,
            trust: &trust,
        };
        if let Err(error) = spare::certify(&by, folder, clock).await {
            tracing::warn!(error = %error, "there is no spare key yet; the agent asks for it again");
        }
    }
    // 7. The name last: with it the enrolment counts as done.
    folder.keep_trust(&trust)?;
    folder.keep_chain(&chain)?;
    folder.keep_floor(clock.floor_ms())?;
    folder.keep_claim(&way.mark)?;
    folder.keep_server(&server)?;
    Ok(server)
}

pub(super) fn list(found: &Response) -> Result<Vec<Vec<u8>>, Refusal> {
    match found.status {
        200 => certs_only(&found.body),
        status => Err(Refusal::Answer {
            status,
            reason: " instead of its certificates: is this the address of a Homeward server?".to_owned(),
        }),
    }
}

/// Asks until there is a certificate. A network that goes away meanwhile is waited for.
async fn enroll(
    way: &Way,
    tls: &Arc<ClientConfig>,
    csr: &str,
    fingerprint: &str,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<Vec<u8>>, EstError> {
    let mut failures = 0;
    let mut waited = false;
    loop {
        let asked = {
            let csr = Sent::Csr(csr.to_owned());
            ask(
                &way.server,
                tls,
                Method::POST,
                ENROLL,
                way.basic.as_deref(),
                Some(csr),
            )
            .await
        };
        let response = match asked {
            Ok(response) => response,
            Err(error) if waited && failures < TRIES => {
                failures += 1;
                tracing::warn!(error = %error, "asking again in {} s", TRY_WAIT.as_secs());
                sleep(TRY_WAIT).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        match read_answer(response.status, response.retry_after.as_deref(), &response.body)? {
            Answer::Issued(chain) => return Ok(chain),
            Answer::Wait(wait_s) => {
                waited = true;
                tell(Progress::Waiting {
                    fingerprint: fingerprint.to_owned(),
                    wait_s,
                });
                sleep(Duration::from_secs(wait_s)).await;
            }
        }
    }
}

/// One request on a connection of its own.
pub(super) async fn ask(
    server: &Endpoint,
    tls: &Arc<ClientConfig>,
    method: Method,
    path: &str,
    authorization: Option<&str>,
    content: Option<Sent>,
) -> Result<Response, EstError> {
    let conversation = converse(server, tls, method, path, authorization, content);
    timeout(PATIENCE, conversation)
        .await
        .map_err(|_| EstError::Late(server.clone()))?
}

async fn converse(
    server: &Endpoint,
    tls: &Arc<ClientConfig>,
    method: Method,
    path: &str,
    authorization: Option<&str>,
    content: Option<Sent>,
) -> Result<Response, EstError> {
    let http = |source: Box<dyn std::error::Error + Send + Sync>| EstError::Http {
        server: server.clone(),
        source,
    };
    let unreachable = |source| EstError::Unreachable {
        server: server.clone(),
        source,
    };
    let name = ServerName::try_from(server.host.clone()).map_err(|_| EstError::Name(server.clone()))?;
    let tcp = TcpStream::connect((server.host.as_str(), server.port))
        .await
        .map_err(unreachable)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, tcp)
        .await
        .map_err(unreachable)?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| http(e.into()))?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, server.to_string());
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let body = match content {
        None => Bytes::new(),
        Some(Sent::Csr(csr)) => {
            request = request
                .header(header::CONTENT_TYPE, "application/pkcs10")
                .header("Content-Transfer-Encoding", "base64");
            csr.into()
        }
        Some(Sent::Cbor(bytes)) => {
            request = request.header(header::CONTENT_TYPE, homeward_protocol::tpm::enrol::CONTENT_TYPE);
            bytes.into()
        }
    };
    let body = Full::new(body);
    let request = request.body(body).map_err(|e| http(e.into()))?;
    let exchange = async {
        let response = send.send_request(request).await.map_err(|e| http(e.into()))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = Limited::new(response.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(http)?
            .to_bytes();
        Ok(Response {
            status,
            retry_after,
            body,
        })
    };
    // The connection has to be driven while the exchange waits; it may end first, when the server closes.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => return answer,
        ended = &mut connection => if let Err(error) = ended {
            return Err(http(error.into()));
        },
    }
    exchange.await
}
