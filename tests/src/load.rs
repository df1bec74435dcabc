//! Shell: a small MQTT 3.1.1 client over mTLS that costs little, for loads and comparisons: the same client, bytes
//! and window against whatever listens.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: measures real time against real servers"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use homeward_agent::identity::tls;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, Publish};
use rumqttc::mqttbytes::{QoS, v4};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What went wrong with one connection, in words.
pub type LoadError = String;

/// Longest answer this client takes.
const MAX_PACKET: usize = 64 * 1024;

/// A server to load.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name its certificate must have.
    pub name: ServerName<'static>,
    /// Who must have issued it.
    pub roots: Arc<rustls::RootCertStore>,
}

impl Target {
    /// The TLS 1.3 client configuration of one identity, without resumption: every connect is a full handshake.
    pub fn tls(
        &self,
        chain: &[CertificateDer<'static>],
        key: Arc<dyn SigningKey>,
    ) -> Result<Arc<rustls::ClientConfig>, LoadError> {
        self.config(chain, key, rustls::client::Resumption::disabled())
    }

    /// The same, with room for a few sessions to resume.
    pub fn tls_that_resumes(
        &self,
        chain: &[CertificateDer<'static>],
        key: Arc<dyn SigningKey>,
    ) -> Result<Arc<rustls::ClientConfig>, LoadError> {
        self.config(chain, key, rustls::client::Resumption::in_memory_sessions(4))
    }

    fn config(
        &self,
        chain: &[CertificateDer<'static>],
        key: Arc<dyn SigningKey>,
        resumption: rustls::client::Resumption,
    ) -> Result<Arc<rustls::ClientConfig>, LoadError> {
        // As an agent offers it.
        let mut config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| e.to_string())?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                chain.to_vec(),
                key,
            ))));
        config.resumption = resumption;
        Ok(Arc::new(config))
    }
}

/// A connection that was admitted.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Connection {
    /// Handshake, CONNECT and CONNACK.
    pub async fn open(
        target: &Target,
        tls: Arc<rustls::ClientConfig>,
        client_id: &str,
    ) -> Result<Connection, LoadError> {
        let tcp = TcpStream::connect(target.address)
            .await
            .map_err(|e| format!("connect: {e}"))?;
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        let tls = TlsConnector::from(tls);
        let stream = tls
            .connect(target.name.clone(), tcp)
            .await
            .map_err(|e| format!("handshake: {e}"))?;
        let mut connection = Connection {
            stream,
            buffer: BytesMut::new(),
        };
        let mut hello = Connect::new(client_id);
        hello.clean_session = true;
        hello.keep_alive = 600;
        let mut out = BytesMut::new();
        hello.write(&mut out).map_err(|e| e.to_string())?;
        connection.write(&out).await?;
        match connection.read().await? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => Ok(connection),
            other => Err(format!("instead of an admission: {other:?}")),
        }
    }

    /// Whether its handshake was a full one or resumed an earlier session.
    pub fn handshake(&self) -> Option<rustls::HandshakeKind> {
        self.stream.get_ref().1.handshake_kind()
    }

    /// The curve of its handshake's own keys.
    pub fn curve(&self) -> Option<rustls::NamedGroup> {
        let group = self.stream.get_ref().1.negotiated_key_exchange_group();
        group.map(rustls::crypto::SupportedKxGroup::name)
    }

    /// Writes bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|e| format!("write: {e}"))?;
        self.stream.flush().await.map_err(|e| format!("flush: {e}"))
    }

    /// The next packet.
    pub async fn read(&mut self) -> Result<Packet, LoadError> {
        loop {
            match Packet::read(&mut self.buffer, MAX_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(e) => return Err(format!("read: {e}")),
            }
            let got = self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .map_err(|e| format!("read: {e}"))?;
            if got == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }

    /// Publishes every payload at `QoS` 1 with at most `window` not acknowledged, until `until`; gives how many
    /// were acknowledged and how long each took, in microseconds.
    pub async fn publish(
        &mut self,
        topic: &str,
        payloads: &mut impl Iterator<Item = Vec<u8>>,
        window: u16,
        until: Instant,
    ) -> Result<Vec<u32>, LoadError> {
        let mut sent = vec![Instant::now(); usize::from(window) + 1];
        let mut free: Vec<u16> = (1..=window).collect();
        let mut took = Vec::new();
        let mut ended = false;
        while !ended || free.len() < usize::from(window) {
            let mut out = BytesMut::new();
            ended = ended || Instant::now() >= until;
            while !ended && let Some(id) = free.pop() {
                let Some(payload) = payloads.next() else {
                    free.push(id);
                    ended = true;
                    break;
                };
                let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
                publish.pkid = id;
                publish.write(&mut out).map_err(|e| e.to_string())?;
                sent[usize::from(id)] = Instant::now();
            }
            if !out.is_empty() {
                self.write(&out).await?;
            }
            if free.len() == usize::from(window) {
                break;
            }
            let next = tokio::time::timeout(Duration::from_secs(30), self.read()).await;
            match next.map_err(|_| "no acknowledgement for 30 s".to_owned())?? {
                Packet::PubAck(ack) => {
                    let since = sent
                        .get(usize::from(ack.pkid))
                        .ok_or("an unknown acknowledgement")?
                        .elapsed();
                    took.push(u32::try_from(since.as_micros()).unwrap_or(u32::MAX));
                    free.push(ack.pkid);
                }
                Packet::Publish(down) if down.qos == QoS::AtLeastOnce => {
                    let mut out = BytesMut::new();
                    v4::PubAck::new(down.pkid)
                        .write(&mut out)
                        .map_err(|e| e.to_string())?;
                    self.write(&out).await?;
                }
                _ => {}
            }
        }
        Ok(took)
    }

    /// Ends the connection politely.
    pub async fn close(mut self) {
        let mut out = BytesMut::new();
        if v4::Disconnect.write(&mut out).is_ok() {
            let _ = self.write(&out).await;
        }
        let _ = self.stream.shutdown().await;
    }
}

/// CPU time that a process has used, in seconds: `/proc/PID/stat`, fields 14 and 15.
pub fn cpu_seconds(pid: u32) -> Result<f64, LoadError> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
    let after_name = text.rsplit_once(')').ok_or("no name in stat")?.1;
    let ticks: u32 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u32>().ok())
        .sum();
    Ok(f64::from(ticks) / 100.0)
}

/// Resident memory of a process, in KiB: `VmRSS` of `/proc/PID/status`.
pub fn rss_kib(pid: u32) -> Result<u64, LoadError> {
    status_kib(pid, "VmRSS:")
}

/// The most memory that was ever resident, KiB.
pub fn peak_rss_kib(pid: u32) -> Result<u64, LoadError> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, field: &str) -> Result<u64, LoadError> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.ok_or_else(|| format!("no {field}"))?
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| format!("{field} is not a number"))
}

/// The value below which `share` (0 to 1) of the sorted values lie.
pub fn quantile(sorted: &[u32], share: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}
