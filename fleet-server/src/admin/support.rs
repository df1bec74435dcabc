//! Shell: `gateway support open|end|list|connect`.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a connection, files, standard input"
)]

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{AdminError, BY, Said};
use crate::api::support::PROTOCOL;
use crate::cli::{SupportCommand, SupportConnect, SupportOpen};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::support::{self, Asking};
use crate::support::{Asked, Kept, words};

/// Sessions in a listing.
const MOST: i64 = 50;
/// How long the server may take: it waits 15 s for the box's link.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer before the connection is ours, and longest file, bytes.
const MAX: u64 = 64 * 1024;

/// Runs one `gateway support` command on a data folder.
pub(super) async fn run(store: &Store, command: &SupportCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        SupportCommand::Open(asked) => open(store, asked, clock).await,
        SupportCommand::End { id, reason } => end(store, id, reason, clock).await,
        SupportCommand::List { id } => list(store, id, clock).await,
        SupportCommand::Connect(asked) => connect(asked).await,
    }
}

async fn open(store: &Store, asked: &SupportOpen, clock: &Clock) -> Result<Said, AdminError> {
    let (id, now) = (asked.id.clone(), clock.now());
    let asked = Asked::new(&asked.ticket, &asked.reason, asked.port, asked.minutes * 60);
    let asked = asked.map_err(|why| AdminError::Asked(why.to_string()))?;
    let which = id.clone();
    let asking = store.write(move |tx| support::ask(tx, &which, &asked, BY, now));
    match asking.await? {
        Asking::Asked(session) => {
            let text = format!(
                "Session {} is asked for. The box decides by its policy: homeward-fleet --data DIR gateway support list {id}\n\
                 Come through: homeward-fleet gateway support connect {id} --server HOST:PORT --roots FILE --token-file FILE",
                session.session
            );
            Ok(Said::new(text, &json!({ "session": session.session })))
        }
        Asking::Busy(number) => Err(AdminError::Found(format!(
            "session {number} of {id} is not over yet: end it first"
        ))),
        Asking::Unknown => Err(super::gateways::unknown(&id)),
    }
}

async fn end(store: &Store, id: &GatewayId, reason: &str, clock: &Clock) -> Result<Said, AdminError> {
    let (which, why, now) = (id.clone(), reason.trim().to_owned(), clock.now());
    if why.is_empty() {
        return Err(AdminError::Asked(
            "a reason is needed: it stands in the audit trail".into(),
        ));
    }
    if store
        .write(move |tx| support::end(tx, &which, &why, BY, now))
        .await?
    {
        Ok(Said::new(
            format!("The session of {id} is cut here, and the box is told to end it"),
            &json!({ "id": id }),
        ))
    } else {
        Err(AdminError::Found(format!(
            "no support session of {id} is under way"
        )))
    }
}

async fn list(store: &Store, id: &GatewayId, clock: &Clock) -> Result<Said, AdminError> {
    let (which, now) = (id.clone(), clock.now());
    let all = store.read(move |tx| support::of(tx, &which, MOST)).await?;
    if all.is_empty() {
        return Ok(Said::new(
            format!("No support session of {id} was asked for"),
            &json!([]),
        ));
    }
    let mut text = String::new();
    for kept in &all {
        let session = &kept.session;
        text.push_str(&format!(
            "{} at {} by {} for ticket {} ({}), port {}, {} s\n  {}; {}\n",
            session.session,
            kept.asked_at,
            words::by(kept),
            session.ticket.as_str(),
            session.reason.as_str(),
            session.port,
            session.lasts_s,
            words::stands(kept.stands(now)),
            words::moved(kept),
        ));
    }
    let row = |kept: &Kept| {
        json!({
            "session": kept.session.session, "ticket": kept.session.ticket, "by": kept.session.by,
            "only_the_box_told": kept.foreign, "reason": kept.session.reason, "port": kept.session.port, "lasts_s": kept.session.lasts_s,
            "asked_at": kept.asked_at.ms, "stands": kept.stands(now).name(), "said": words::stands(kept.stands(now)),
            "ended": kept.ended.as_ref().map(|(ended, _)| ended),
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    Ok(Said::new(text, &rows))
}

/// Joins standard input and output to the port of the box, through the server, until either end closes.
pub(super) async fn connect(asked: &SupportConnect) -> Result<Said, AdminError> {
    let token = text(&asked.token_file)?;
    let stream = dial(asked).await?;
    let (mut from, mut to) = split(stream);
    let head = format!(
        "GET /api/v1/gateways/{}/support/connect HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Connection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n",
        asked.id,
        asked.server,
        token.trim()
    );
    let asking = async {
        to.write_all(head.as_bytes()).await?;
        to.flush().await?;
        answer(&mut from).await
    };
    let failed = |error: std::io::Error| AdminError::Found(format!("{}: {error}", asked.server));
    let answer = timeout(PATIENCE, asking).await;
    let answer = answer.map_err(|e| failed(e.into()))?.map_err(failed)?;
    if !answer.starts_with("HTTP/1.1 101 ") {
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let told: Option<Value> = serde_json::from_str(body).ok();
        let detail = told.as_ref().and_then(|told| told["detail"].as_str());
        let line = answer.lines().next().unwrap_or_default();
        return Err(AdminError::Found(
            detail
                .unwrap_or(line)
                .chars()
                .filter(|c| !c.is_control())
                .collect(),
        ));
    }
    let mut out = tokio::io::stdout();
    tokio::select! {
        () = pass(tokio::io::stdin(), &mut to) => {}
        () = pass(from, &mut out) => {}
    }
    let _gone = timeout(Duration::from_secs(2), to.shutdown()).await;
    Ok(Said::new("", &Value::Null))
}

async fn dial(asked: &SupportConnect) -> Result<tokio_rustls::client::TlsStream<TcpStream>, AdminError> {
    let wrong = |why: String| AdminError::Asked(format!("{}: {why}", asked.roots.display()));
    let mut roots = RootCertStore::empty();
    let pem = text(&asked.roots)?;
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let root = root.map_err(|e| wrong(e.to_string()))?;
        roots.add(root).map_err(|e| wrong(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate (PEM)".into()));
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = &asked.server;
    let failed = |error: std::io::Error| AdminError::Found(format!("could not reach {server}: {error}"));
    let name = ServerName::try_from(server.host.clone()).map_err(|e| AdminError::Asked(e.to_string()))?;
    let dialing = async {
        let tcp = TcpStream::connect((server.host.as_str(), server.port)).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    let dialed = timeout(PATIENCE, dialing).await;
    dialed.map_err(|e| failed(e.into()))?.map_err(failed)
}

/// The head of the answer, and of one that is no switch of protocols also its body.
async fn answer(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the head of a 101 is the box's.
        head.push(from.read_u8().await?);
        if head.len() as u64 > MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    let mut text = String::from_utf8_lossy(&head).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<u64>().ok())?
    });
    if !text.starts_with("HTTP/1.1 101 ") {
        let mut body = String::new();
        from.take(length.unwrap_or(0).min(MAX))
            .read_to_string(&mut body)
            .await?;
        text.push_str(&body);
    }
    Ok(text)
}

async fn pass(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if to.write_all(&piece[..read]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

fn text(path: &Path) -> Result<String, AdminError> {
    let failed = |error: std::io::Error| AdminError::Asked(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
