//! Shell: enrolment over HTTPS as RFC 7030 says it.
//!
//! | path | what | who |
//! |---|---|---|
//! | `GET /.well-known/est/cacerts` | the roots, their links and the issuer of gateways' certificates | anybody |
//! | `POST /.well-known/est/simpleenroll` | a first certificate | HTTP Basic `GATEWAY-ID:CODE`, or a key that an expected TPM proved |
//! | `POST /.well-known/est/simplereenroll` | the next one | the client certificate |
//! | `GET /.well-known/homeward` | where the other doors are (JSON) | anybody |
//! | `POST /.well-known/homeward/tpm` | a challenge that only one TPM opens (CBOR) | anybody |
//! | `POST /.well-known/homeward/tpm/proof` | that it was opened (CBOR) | HTTP Basic, or a TPM that is expected |
//! | `POST /.well-known/homeward/spare` | a certificate over a spare key (as `simplereenroll`) | the client certificate of a key in a TPM |
//! | `GET /crl` | the revocation list of the issuer of gateways' certificates (DER) | anybody |
//! | `GET /crl/NAME` | the same of the issuer with this name: those before it have lists too | anybody |
//!
//! Of the certificates in `cacerts` the self-signed ones are the trust anchors; the other completes the chain that
//! a gateway shows. Errors are plain text that says what to do, as RFC 7030, section 4.2.3 allows.
#![expect(clippy::disallowed_methods, reason = "shell: random serial numbers")]

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::claim::{Code, ServerInfo};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::tpm;
use homeward_protocol::tpm::enrol::{
    CHALLENGE_PATH, Challenge, Hello, MAX_MESSAGE, PROOF_PATH, Proof, SPARE_PATH,
};
use homeward_protocol::wire::{self, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tracing::{debug, error, info};

use super::chip::{self, ChipError, Shown};
use super::credential;
use super::csr::{self, MAX_BODY};
use super::desk::{Answer, Desk};
use super::guesses::Guesses;
use super::makers::Makers;
use super::{Door, Refusal, hash_of, pkcs7};
use crate::ca::{Authority, Leaf, Listed, Serial};
use crate::clock::Clock;
use crate::https::{Peer, origin};
use crate::store::{Store, StoreError};

const BASIC: &str = "Basic realm=\"homeward enrolment\", charset=\"UTF-8\"";

/// What the enrolment listeners work with; cheap to clone.
#[derive(Clone)]
pub struct EstState {
    /// Where claims and certificates are kept.
    pub store: Store,
    /// Who issues.
    pub authority: watch::Receiver<Arc<Authority>>,
    /// What time it is.
    pub clock: Clock,
    /// Where the other doors are.
    pub info: ServerInfo,
    /// The newest revocation lists.
    pub lists: watch::Receiver<Vec<Listed>>,
    /// Who guessed how often. One for all listeners of a server.
    pub guesses: Arc<Mutex<Guesses>>,
    /// Makers of TPMs whose word counts.
    pub makers: Arc<Makers>,
}

/// The enrolment listener's routes.
pub fn router(state: EstState) -> Router {
    Router::new()
        .route("/.well-known/est/cacerts", get(cacerts))
        .route("/.well-known/est/simpleenroll", post(simpleenroll))
        .route("/.well-known/est/simplereenroll", post(reenroll_here))
        .route("/.well-known/homeward", get(homeward))
        .route(CHALLENGE_PATH, post(challenge))
        .route(PROOF_PATH, post(proof))
        .route(SPARE_PATH, post(spare))
        .route("/crl", get(crl))
        .route("/crl/{name}", get(crl_of))
        .fallback(nothing_here)
        .with_state(state)
}

/// The renewal listener's one route.
pub fn renewal_router(state: EstState) -> Router {
    Router::new()
        .route("/.well-known/est/simplereenroll", post(reenroll_late))
        .fallback(nothing_here)
        .with_state(state)
}

async fn cacerts(State(state): State<EstState>) -> Response {
    let authority = Arc::clone(&state.authority.borrow());
    let (roots, links) = (authority.trust_bundle(), &authority.bundle().links);
    let all = roots.iter().chain(links).chain([authority.gateway_issuer()]);
    certificates(
        "application/pkcs7-mime",
        &all.map(AsRef::as_ref).collect::<Vec<_>>(),
    )
}

async fn homeward(State(state): State<EstState>) -> Json<ServerInfo> {
    Json(state.info)
}

async fn crl(State(state): State<EstState>) -> Response {
    let list = state.lists.borrow().first().map(|list| list.crl.to_vec());
    serve_list(list)
}

async fn crl_of(State(state): State<EstState>, Path(name): Path<String>) -> Response {
    let lists = state.lists.borrow();
    let list = lists.iter().find(|list| list.name == name);
    serve_list(list.map(|list| list.crl.to_vec()))
}

fn serve_list(list: Option<Vec<u8>>) -> Response {
    match list {
        Some(list) => ([(CONTENT_TYPE, "application/pkix-crl")], list).into_response(),
        None => Failure::new(StatusCode::NOT_FOUND, "no issuer has a list of this name").into_response(),
    }
}

async fn nothing_here() -> Failure {
    let says = "nothing is here: enrolment is under /.well-known/est/, the console has an address of its own";
    Failure::new(StatusCode::NOT_FOUND, says)
}

async fn simpleenroll(
    State(state): State<EstState>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    ensure_patient(&state, &peer)?;
    let key = read_key(body).await?;
    if !headers.contains_key(AUTHORIZATION) {
        let named = key.fingerprint();
        let answer = at_desk(&state, move |desk, tx| desk.enrol_chip(tx, &key)).await?;
        return match answer {
            // Whoever has neither code nor TPM is told what RFC 7030 tells everybody.
            Answer::Refused(Refusal::UnknownChip) => {
                credentials(&headers).and(Err(refused(Refusal::UnknownChip)))
            }
            answer => respond(&named, "enrolled by its TPM", answer),
        };
    }
    let (id, code) = credentials(&headers)?;
    let hash = hash_of(&code);
    let named = id.clone();
    let answer = at_desk(&state, move |desk, tx| desk.enrol(tx, &named, &hash, &key)).await?;
    if answer == Answer::Refused(Refusal::WrongCode) {
        note_guess(&state, &peer);
    }
    respond(id.as_str(), "enrolled", answer)
}

/// Turns away whoever guessed too often.
fn ensure_patient(state: &EstState, peer: &Peer) -> Result<(), Failure> {
    let guesses = state.guesses.lock().unwrap_or_else(PoisonError::into_inner);
    match guesses.wait_s(origin(peer.address.ip()), state.clock.now()) {
        None => Ok(()),
        Some(seconds) => {
            let says = "too many wrong codes from this address: wait, then check the claim";
            Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, says).after(seconds))
        }
    }
}

fn note_guess(state: &EstState, peer: &Peer) {
    let mut guesses = state.guesses.lock().unwrap_or_else(PoisonError::into_inner);
    guesses.note(origin(peer.address.ip()), state.clock.now());
}

async fn challenge(
    State(state): State<EstState>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, Failure> {
    ensure_patient(&state, &peer)?;
    let hello: Hello = read_cbor(body).await?;
    let shown = Shown::read(&hello).map_err(|why| unproved(&why))?;
    let authority = Arc::clone(&state.authority.borrow());
    let (chips, made_ms) = (authority.chips(), state.clock.now().ms);
    let secret = chips.secret(&shown, made_ms);
    let name = shown.attestation.public().name();
    let made = credential::make(&shown.endorsement, &name, &secret);
    let made = made.map_err(|why| Failure::new(StatusCode::BAD_REQUEST, &why.to_string()))?;
    cbor(&Challenge {
        made_ms,
        object: Bytes(made.object),
        secret: Bytes(made.secret),
        extra: Bytes(chips.extra(&shown, made_ms).to_vec()),
    })
}

async fn proof(
    State(state): State<EstState>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    ensure_patient(&state, &peer)?;
    let proof: Proof = read_cbor(body).await?;
    let claimed = if headers.contains_key(AUTHORIZATION) {
        Some(credentials(&headers)?)
    } else {
        None
    };
    let now = state.clock.now();
    let authority = Arc::clone(&state.authority.borrow());
    let proved = chip::prove(authority.chips(), &proof, now).map_err(|why| unproved(&why))?;
    let vouched = proof.hello.certificate.as_ref().is_some_and(|certificate| {
        let vouched = state.makers.vouch(&certificate.0, now);
        if let Err(why) = &vouched {
            info!(error = %why, "no known maker vouches for a TPM");
        }
        vouched.is_ok()
    });
    let welcome = at_desk(&state, move |desk, tx| {
        let hash = claimed.as_ref().map(|(id, code)| (id, hash_of(code)));
        let claimed = hash.as_ref().map(|(id, hash)| (*id, hash));
        desk.prove(tx, claimed, &proved, vouched)
    });
    match welcome.await? {
        Ok(welcome) => {
            info!(gateway.id = %welcome.gateway, gateway.tier = %welcome.tier,
                "the TPM of {} proved itself", welcome.gateway);
            cbor(&welcome)
        }
        Err(why) => {
            if why == Refusal::WrongCode {
                note_guess(&state, &peer);
            }
            info!(error = %why, "a TPM was not let in");
            Err(refused(why))
        }
    }
}

fn unproved(why: &ChipError) -> Failure {
    info!(error = %why, "a TPM did not prove itself");
    Failure::new(StatusCode::BAD_REQUEST, &why.to_string())
}

fn cbor(message: &impl serde::Serialize) -> Result<Response, Failure> {
    let bytes = wire::encode(message, MAX_MESSAGE).map_err(|why| Failure::ours(&why.to_string()))?;
    Ok(([(CONTENT_TYPE, tpm::enrol::CONTENT_TYPE)], bytes).into_response())
}

async fn read_cbor<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Failure> {
    let bytes = read(body, MAX_MESSAGE).await?;
    wire::decode(&bytes, MAX_MESSAGE).map_err(|_| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            "the body is not the CBOR of this request",
        )
    })
}

async fn reenroll_here(
    state: State<EstState>,
    peer: Extension<Peer>,
    body: Body,
) -> Result<Response, Failure> {
    reenroll(state.0, peer.0, Door::Enrolment, body).await
}

async fn reenroll_late(
    state: State<EstState>,
    peer: Extension<Peer>,
    body: Body,
) -> Result<Response, Failure> {
    reenroll(state.0, peer.0, Door::Renewal, body).await
}

async fn reenroll(state: EstState, peer: Peer, door: Door, body: Body) -> Result<Response, Failure> {
    let leaf = shown_leaf(&state, &peer)?;
    let key = read_key(body).await?;
    let id = leaf.gateway.clone();
    let answer = at_desk(&state, move |desk, tx| desk.renew(tx, &leaf, &key, door)).await?;
    respond(id.as_str(), "renewed", answer)
}

async fn spare(
    State(state): State<EstState>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, Failure> {
    let leaf = shown_leaf(&state, &peer)?;
    let key = read_key(body).await?;
    let id = leaf.gateway.clone();
    let answer = at_desk(&state, move |desk, tx| desk.spare(tx, &leaf, &key)).await?;
    respond(id.as_str(), "given a spare certificate", answer)
}

/// The certificate that the peer showed, taken apart.
fn shown_leaf(state: &EstState, peer: &Peer) -> Result<Leaf, Failure> {
    let Some(shown) = peer.certificates.first() else {
        let says = "show the gateway's certificate in the TLS handshake; a first one comes from simpleenroll";
        return Err(
            Failure::new(StatusCode::UNAUTHORIZED, says).challenge("ClientCertificate realm=\"homeward\"")
        );
    };
    Leaf::read(shown, state.authority.borrow().trust_domain())
        .map_err(|why| Failure::new(StatusCode::FORBIDDEN, &why.to_string()))
}

async fn read_key(body: Body) -> Result<PublicKey, Failure> {
    let body = read(body, MAX_BODY).await?;
    csr::key_of(&body).map_err(|why| Failure::new(StatusCode::BAD_REQUEST, &why.to_string()))
}

async fn read(body: Body, most: usize) -> Result<bytes::Bytes, Failure> {
    match Limited::new(body, most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(why) if too_long(why.as_ref()) => {
            let says = format!("the body is longer than {most} bytes: send the request alone");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, &says))
        }
        Err(_) => {
            let says = "the body ended early or came too slowly: send it again";
            Err(Failure::new(StatusCode::BAD_REQUEST, says))
        }
    }
}

/// Whether a body was refused for its length, by us or by the listener.
fn too_long(why: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(why), |why| why.source()).any(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Does one piece of a desk's work in one transaction.
async fn at_desk<T: Send + 'static>(
    state: &EstState,
    work: impl FnOnce(&Desk<'_>, &mut dyn crate::store::Tx) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let mut random = [0; 16];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Failure::ours("no random bytes for a serial number"))?;
    let (authority, now) = (Arc::clone(&state.authority.borrow()), state.clock.now());
    let done = state.store.write(move |tx| {
        let desk = Desk {
            authority: &authority,
            serial: Serial::from_random(random),
            now,
        };
        work(&desk, tx)
    });
    done.await.map_err(|why| Failure::ours(&why.to_string()))
}

/// Takes HTTP Basic apart (RFC 7617).
fn credentials(headers: &HeaderMap) -> Result<(GatewayId, Code), Failure> {
    let wrong = |says: &str| Failure::new(StatusCode::UNAUTHORIZED, says).challenge(BASIC);
    let given = headers
        .get(AUTHORIZATION)
        .ok_or_else(|| wrong("send the gateway id and the claim's code by HTTP Basic"))?;
    let text = given.to_str().ok().and_then(|value| {
        let (scheme, packed) = value.split_once(' ')?;
        let packed = scheme.eq_ignore_ascii_case("basic").then(|| packed.trim())?;
        String::from_utf8(STANDARD.decode(packed).ok()?).ok()
    });
    let parsed = text.as_deref().and_then(|text| {
        let (id, code) = text.split_once(':')?;
        Some((id.parse().ok()?, code.parse().ok()?))
    });
    parsed.ok_or_else(|| wrong(&Refusal::WrongCode.to_string()))
}

fn respond(id: &str, what: &str, answer: Answer) -> Result<Response, Failure> {
    match answer {
        Answer::Certificate(der) => {
            info!(gateway.id = %id, "gateway {id} {what}");
            Ok(certificates(
                "application/pkcs7-mime; smime-type=certs-only",
                &[&der],
            ))
        }
        Answer::Wait(seconds) => {
            debug!(gateway.id = %id, "gateway {id} waits for an operator");
            let says = "an operator has to approve this box: compare the fingerprint, then wait\n";
            Ok((StatusCode::ACCEPTED, [(RETRY_AFTER, seconds.to_string())], says).into_response())
        }
        Answer::Refused(why) => {
            info!(gateway.id = %id, error = %why, "gateway {id} was not {what}");
            Err(refused(why))
        }
    }
}

fn refused(why: Refusal) -> Failure {
    let says = why.to_string();
    match why {
        Refusal::WrongCode => Failure::new(StatusCode::UNAUTHORIZED, &says).challenge(BASIC),
        Refusal::TooMany => Failure::new(StatusCode::TOO_MANY_REQUESTS, &says).after(86_400),
        Refusal::OtherKey => Failure::new(StatusCode::CONFLICT, &says),
        Refusal::Locked
        | Refusal::Expired
        | Refusal::Revoked
        | Refusal::Unknown
        | Refusal::NotCurrent
        | Refusal::Unproved
        | Refusal::Spare
        | Refusal::NoSpare
        | Refusal::UnknownChip => Failure::new(StatusCode::FORBIDDEN, &says),
    }
}

/// Base64 in one line, as RFC 8951 wants it, of a PKCS #7 with these certificates.
fn certificates(kind: &'static str, certs: &[&[u8]]) -> Response {
    const ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
    let body = STANDARD.encode(pkcs7::certs_only(certs.iter().copied()));
    ([(CONTENT_TYPE, kind), (ENCODING, "base64")], body).into_response()
}

/// An answer that says what went wrong and what to do.
struct Failure {
    status: StatusCode,
    says: String,
    retry_after_s: Option<u32>,
    challenge: Option<&'static str>,
}

impl Failure {
    fn new(status: StatusCode, says: &str) -> Failure {
        Failure {
            status,
            says: says.to_owned(),
            retry_after_s: None,
            challenge: None,
        }
    }

    /// A fault of ours, not of the one who asked.
    fn ours(why: &str) -> Failure {
        error!(error = %why, "a request for a certificate could not be answered");
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server cannot answer now: try again later",
        )
        .after(30)
    }

    fn after(self, seconds: u32) -> Failure {
        Failure {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    fn challenge(self, scheme: &'static str) -> Failure {
        Failure {
            challenge: Some(scheme),
            ..self
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.says)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Some(scheme) = self.challenge {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}
