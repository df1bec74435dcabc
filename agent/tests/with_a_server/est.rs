//! Just enough EST.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::claim::{Endpoint, ServerInfo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;

pub(crate) struct Est {
    state: Arc<State>,
    endpoint: Endpoint,
}

struct State {
    authority: Arc<Authority>,
    life: Duration,
    statuses: Mutex<VecDeque<u16>>,
    shown: Mutex<Vec<Vec<u8>>>,
    gate: Mutex<Endpoint>,
    requests: AtomicUsize,
}

impl Est {
    pub(crate) async fn start(authority: Arc<Authority>, life: Duration) -> Est {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint: Endpoint = listener
            .local_addr()
            .expect("bound")
            .to_string()
            .parse()
            .expect("an endpoint");
        let state = Arc::new(State {
            shown: Mutex::new(vec![authority.root()]),
            life,
            statuses: Mutex::default(),
            gate: Mutex::new("127.0.0.1:1".parse().expect("an endpoint")),
            requests: AtomicUsize::new(0),
            authority,
        });
        let acceptor = TlsAcceptor::from(state.authority.listener(false));
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move { serve(tcp, acceptor, &state).await });
            }
        });
        Est { state, endpoint }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(crate) fn gate_at(&self, gate: Endpoint) {
        *self.state.gate.lock().expect("not poisoned") = gate;
    }

    /// How the next requests for a certificate are answered; 200 afterwards.
    pub(crate) fn script(&self, statuses: &[u16]) {
        *self.state.statuses.lock().expect("not poisoned") = statuses.iter().copied().collect();
    }

    /// What `/cacerts` shows.
    pub(crate) fn show(&self, certificates: Vec<Vec<u8>>) {
        *self.state.shown.lock().expect("not poisoned") = certificates;
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, state: &State) {
    let Ok(mut tls) = acceptor.accept(tcp).await else {
        return;
    };
    let mut text = Vec::new();
    let (head, length) = loop {
        let mut chunk = [0; 4096];
        match tls.read(&mut chunk).await {
            Ok(n) if n > 0 => text.extend_from_slice(&chunk[..n]),
            _ => return,
        }
        if let Some(at) = text.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&text[..at]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if text.len() >= at + 4 + length {
                break (head, (at + 4, length));
            }
        }
    };
    state.requests.fetch_add(1, Ordering::SeqCst);
    let body = &text[length.0..length.0 + length.1];
    let (status, answer) = answer(&head, body, state);
    let answer = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    let _gone = tls.write_all(answer.as_bytes()).await;
    let _gone = tls.shutdown().await;
}

fn answer(head: &str, body: &[u8], state: &State) -> (u16, String) {
    if head.starts_with("GET /.well-known/est/cacerts ") {
        return (200, certs_only(&state.shown.lock().expect("not poisoned")));
    }
    if head.starts_with("GET /.well-known/homeward ") {
        let gate = state.gate.lock().expect("not poisoned").clone();
        let info = ServerInfo {
            renewal: gate.clone(),
            gate,
        };
        return (200, serde_json::to_string(&info).expect("encodes"));
    }
    let status = state
        .statuses
        .lock()
        .expect("not poisoned")
        .pop_front()
        .unwrap_or(200);
    if status != 200 {
        return (status, "the reason".to_owned());
    }
    let csr = STANDARD.decode(body).expect("base64");
    let leaf = state.authority.issue(&csr, "gw-test", state.life);
    (200, certs_only(&[state.authority.root(), leaf]))
}

fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&[tag, 0x82, len[0], len[1]], body].concat()
}

fn certs_only(certificates: &[Vec<u8>]) -> String {
    let signed = [
        tlv(2, &[1]),
        tlv(0x31, &[]),
        tlv(0x30, &[]),
        tlv(0xa0, &certificates.concat()),
    ]
    .concat();
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let inner = [tlv(6, &oid), tlv(0xa0, &tlv(0x30, &signed))].concat();
    STANDARD.encode(tlv(0x30, &inner))
}
