//! Shell: a box's identity in other hands: connects to the gate with its certificate, hears challenges, and answers
//! what the test wants it to answer.
#![expect(clippy::disallowed_methods, reason = "shell: the network and time limits")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_agent::clock::Clock;
use homeward_agent::identity::keys::{DeviceKey, Folder};
use homeward_agent::identity::tls::verified;
use homeward_agent::vault;
use homeward_protocol::attest::{Challenge, Notice};
use homeward_protocol::evidence::bundle::Bundle;
use homeward_protocol::evidence::{Component, Evidence, Measured, Profile};
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::Signer;
use homeward_protocol::signed::tagged::thumbprint;
use homeward_protocol::topic::{Filter, Topic};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use tokio::time::timeout;

/// Something that takes a second takes at most this on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The claims of a box with a key in a file, as an honest agent makes them, over a number.
///
/// # Panics
/// When the key has no public half.
pub fn honest(key: &DeviceKey, nonce: [u8; 32], box_id: [u8; 16]) -> Evidence {
    Evidence {
        issued_at_s: 0,
        key: thumbprint(&key.public().expect("a key")),
        nonce,
        box_id,
        uptime_s: 60,
        boot_count: 1,
        boot_seed: [8; 32],
        profile: Profile::Software,
        software: (ShortText::cut("homeward-agent"), ShortText::cut("0.1.0")),
        measured: vec![Measured {
            component: Component::Agent,
            version: Some(ShortText::cut("0.1.0")),
            sha256: [9; 32],
        }],
        postures: None,
    }
}

/// Who speaks as a box.
pub struct Witness {
    gateway: GatewayId,
    /// The box's key.
    pub key: DeviceKey,
    client: AsyncClient,
    events: EventLoop,
}

impl Witness {
    /// Connects with the identity in the agent's folder `data` to the gate on this port of this machine, and asks for
    /// what is sent down.
    ///
    /// # Panics
    /// When the folder holds no identity, or the gate does not let it in.
    pub async fn connect(data: &Path, port: u16) -> Witness {
        let vault = vault::disk::at(data).expect("the box's vault");
        let folder = Folder::within(data).sealed_by(&vault);
        let identity = folder.load().expect("an identity");
        let clock = Arc::new(Clock::with_floor(0));
        let credentials = Some((identity.chain, identity.key.for_tls().expect("a key")));
        let tls = verified(&identity.trust, credentials, &clock).expect("a configuration");
        let gateway = identity.server.gateway;
        let mut options = MqttOptions::new(gateway.as_str(), "localhost", port);
        options
            .set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls))))
            .set_keep_alive(Duration::from_secs(20));
        let (client, events) = AsyncClient::new(options, 16);
        let mut witness = Witness {
            gateway,
            key: identity.key,
            client,
            events,
        };
        let filter = Filter::Down(witness.gateway.clone()).to_string();
        witness
            .client
            .subscribe(filter, QoS::AtLeastOnce)
            .await
            .expect("queued");
        witness
            .until(|packet| matches!(packet, Packet::SubAck(_)).then_some(()))
            .await;
        witness
    }

    /// The next challenge.
    ///
    /// # Panics
    /// When none comes.
    pub async fn challenge(&mut self) -> Challenge {
        let topic = Topic::Challenge(self.gateway.clone()).to_string();
        self.until(move |packet| match packet {
            Packet::Publish(publish) if publish.topic == topic => {
                Some(Challenge::decode(&publish.payload).expect("a challenge"))
            }
            _ => None,
        })
        .await
    }

    /// The next judgement.
    ///
    /// # Panics
    /// When none comes.
    pub async fn notice(&mut self) -> Notice {
        let topic = Topic::Verdict(self.gateway.clone()).to_string();
        self.until(move |packet| match packet {
            Packet::Publish(publish) if publish.topic == topic => {
                Some(Notice::decode(&publish.payload).expect("a judgement"))
            }
            _ => None,
        })
        .await
    }

    /// Claims of this box over a number, as an honest agent makes them but for what `change` does; signed by `signer`.
    ///
    /// # Panics
    /// When they cannot be signed.
    pub fn bundle(
        &self,
        nonce: [u8; 32],
        signer: &dyn Signer,
        change: impl FnOnce(&mut Evidence),
    ) -> Vec<u8> {
        let mut evidence = honest(&self.key, nonce, [7; 16]);
        change(&mut evidence);
        let token = evidence.seal(signer).expect("seals");
        Bundle { token, tpm: None }.encode().expect("fits")
    }

    /// Sends an answer.
    ///
    /// # Panics
    /// When it cannot be queued.
    pub async fn send(&mut self, bundle: Vec<u8>) {
        let topic = Topic::Evidence(self.gateway.clone()).to_string();
        let sent = self.client.publish(topic, QoS::AtLeastOnce, false, bundle);
        sent.await.expect("queued");
    }

    async fn until<T>(&mut self, mut found: impl FnMut(&Packet) -> Option<T>) -> T {
        let look = async {
            loop {
                let event = self
                    .events
                    .poll()
                    .await
                    .expect("the gate lets it in and keeps it");
                if let Event::Incoming(packet) = event
                    && let Some(found) = found(&packet)
                {
                    return found;
                }
            }
        };
        timeout(SOON, look).await.expect("the gate says it in time")
    }
}
