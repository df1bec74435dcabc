//! A client that can be as odd as a test needs: packets by rumqttc's codec, or any bytes at all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeFilter};
use rumqttc::mqttbytes::{Error, QoS};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::house::PATIENCE;

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    inbox: BytesMut,
}

impl Client {
    /// TCP and TLS, and not a byte of MQTT. In TLS 1.3 a refused certificate shows at the first read only.
    pub(crate) async fn dial(address: SocketAddr, credentials: Arc<ClientConfig>) -> io::Result<Client> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = timeout(PATIENCE, TlsConnector::from(credentials).connect(name, tcp)).await??;
        Ok(Client {
            stream,
            inbox: BytesMut::new(),
        })
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        self.send_bytes(&bytes_of(packet)).await.expect("sent");
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next packet, or `None` when the gate has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.inbox, usize::MAX) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the gate sent no MQTT: {error}"),
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await;
            match read.expect("the gate says something or closes") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next packet as its bytes, or `None` when the gate has closed the connection.
    pub(crate) async fn receive_bytes(&mut self) -> Option<BytesMut> {
        self.receive().await.map(|packet| bytes_of(&packet))
    }

    /// Says CONNECT and is let in.
    pub(crate) async fn greet(&mut self, gateway: &str) {
        assert_eq!(
            self.connect(Connect::new(gateway)).await,
            Some(ConnectReturnCode::Success)
        );
    }

    /// Says CONNECT; the answer's code, or `None` when the connection was closed without one.
    pub(crate) async fn connect(&mut self, connect: Connect) -> Option<ConnectReturnCode> {
        let _ = self.send_bytes(&bytes_of(&Packet::Connect(connect))).await;
        match self.receive().await {
            Some(Packet::ConnAck(ack)) => {
                assert!(!ack.session_present);
                Some(ack.code)
            }
            None => None,
            other => panic!("no answer to CONNECT: {other:?}"),
        }
    }

    /// Publishes at `QoS` 1.
    pub(crate) async fn publish(&mut self, topic: &str, id: u16, payload: &[u8]) {
        self.send(&publish(topic, id, payload)).await;
    }

    pub(crate) async fn subscribe(&mut self, filters: &[&str]) {
        self.send(&subscribe(filters)).await;
    }

    pub(crate) async fn next_puback(&mut self) -> u16 {
        match self.receive().await {
            Some(Packet::PubAck(ack)) => ack.pkid,
            other => panic!("no PUBACK: {other:?}"),
        }
    }

    /// Whether the gate has closed, after at most `ignored` packets that were on their way.
    pub(crate) async fn closed(&mut self) -> bool {
        while let Some(packet) = self.receive().await {
            assert!(
                matches!(packet, Packet::PubAck(_) | Packet::PingResp | Packet::Publish(_)),
                "an answer instead of a close: {packet:?}"
            );
        }
        true
    }

    pub(crate) async fn goodbye(mut self) {
        self.send(&Packet::Disconnect).await;
        assert!(self.closed().await);
    }
}

pub(crate) fn bytes_of(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, usize::MAX).expect("a packet");
    bytes
}

pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Packet {
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.pkid = id;
    Packet::Publish(publish)
}

pub(crate) fn subscribe(filters: &[&str]) -> Packet {
    let filters = filters
        .iter()
        .map(|filter| SubscribeFilter::new((*filter).to_owned(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = 1;
    Packet::Subscribe(subscribe)
}
