//! Shell: sends what is to be told, until it is out or given up.
#![expect(clippy::disallowed_methods, reason = "shell: waits, and reads secrets")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::mail::{MailError, Mailer};
use super::webhook::{Webhook, WebhookError};
use super::{Message, Notice, Reach, TRIES, Way};
use crate::clock::Clock;
use crate::config::Notify;
use crate::store::incidents::{self, Kind};
use crate::store::{Store, StoreError, notices};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that one look sends, one after another on each way.
const ROWS: i64 = 20;
/// Most bytes of a secret, and of the certificates that are believed.
const MAX_SECRET: u64 = 4096;
const MAX_CA: u64 = 4 * 1024 * 1024;

/// Why the ways to people cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A file of the configuration.
    #[error("could not read {} (`notify.{key}`)", path.display())]
    File {
        /// Its key.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A secret is none.
    #[error("{} has no secret in its first line (`notify.{key}`)", path.display())]
    NoSecret {
        /// Its key.
        key: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// No certificate is believed.
    #[error("{} has no certificate (`notify.ca`)", .0.display())]
    NoCertificates(PathBuf),
    /// TLS could not be set up.
    #[error("TLS to the webhook cannot be set up")]
    Tls(#[source] rustls::Error),
    /// Mail could not be set up.
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// Why one message did not get out on one way.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// As mail.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// To the service.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The configuration has this way no more.
    #[error("the configuration has no {} any more", .0.name())]
    NoWay(Way),
}

/// The ways out.
#[derive(Clone, Default)]
pub struct Ways {
    mail: Option<Mailer>,
    webhook: Option<Webhook>,
    reach: Reach,
}

impl Ways {
    /// By the configuration; reads the secrets.
    pub fn open(config: &Notify) -> Result<Ways, NotifyError> {
        if config.mail.is_none() && config.webhook.is_none() {
            return Ok(Ways::default());
        }
        let roots = certificates(&config.ca)?;
        let mail = match &config.mail {
            None => None,
            Some(mail) => {
                let file = mail.password_file.as_deref();
                let password = file.map(|file| secret("mail_password_file", file)).transpose()?;
                let der: Vec<Vec<u8>> = roots.iter().map(|one| one.to_vec()).collect();
                Some(Mailer::new(mail, &config.people, &der, password)?)
            }
        };
        let webhook = match &config.webhook {
            None => None,
            Some(hook) => {
                let secret = secret("webhook_secret_file", &hook.secret_file)?;
                Some(Webhook::new(
                    hook.uri.clone(),
                    secret.into_bytes().into(),
                    Arc::new(client(roots)?),
                ))
            }
        };
        let named = config.people.keys().filter(|_| mail.is_some());
        let reach = Reach {
            mail: named.cloned().collect(),
            webhook: webhook.is_some(),
        };
        Ok(Ways { mail, webhook, reach })
    }

    /// Which of them lead to whom.
    pub fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// The same, less patient.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Ways {
        Ways {
            mail: self.mail.map(|mail| mail.patient_for(patience)),
            webhook: self.webhook.map(|hook| hook.patient_for(patience)),
            ..self
        }
    }

    /// Sends one on its way.
    pub async fn send(&self, notice: &Notice) -> Result<(), SendError> {
        match notice.way {
            Way::Mail => {
                let mail = self.mail.as_ref().ok_or(SendError::NoWay(Way::Mail))?;
                Ok(mail.send(notice).await?)
            }
            Way::Webhook => {
                let webhook = self.webhook.as_ref().ok_or(SendError::NoWay(Way::Webhook))?;
                Ok(webhook.send(notice).await?)
            }
        }
    }
}

/// Sends what the store holds.
pub struct Tell {
    /// What is kept.
    pub store: Store,
    /// The ways out.
    pub ways: Ways,
    /// What time it is.
    pub clock: Clock,
}

impl Tell {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            // A try that is cut off here stands as one in the store, and comes again.
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            if let Err(failed) = looked {
                warn!("messages to people could not be looked after: {failed}");
            }
        }
    }

    /// Tries what is due; a way that hangs holds up no other.
    pub async fn look(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if !self.store.read(move |tx| notices::any_due(tx, now)).await? {
            return Ok(());
        }
        let taken = self.store.write(move |tx| notices::take(tx, ROWS, now)).await?;
        let (mail, webhook): (Vec<Notice>, Vec<Notice>) =
            taken.into_iter().partition(|notice| notice.way == Way::Mail);
        let (mail, webhook) = tokio::join!(self.all(mail), self.all(webhook));
        mail.and(webhook)
    }

    async fn all(&self, taken: Vec<Notice>) -> Result<(), StoreError> {
        for notice in taken {
            match self.ways.send(&notice).await {
                Ok(()) => self.sent(notice).await?,
                Err(failed) => self.failed(notice, &failed).await?,
            }
        }
        Ok(())
    }

    async fn sent(&self, notice: Notice) -> Result<(), StoreError> {
        metrics::counter!("homeward_notices_sent_total", "way" => notice.way.name()).increment(1);
        info!(
            notice.id = %notice.id, notice.way = notice.way.name(),
            "{} is told of: {}", notice.message.person, notice.message.subject
        );
        let now = self.clock.now();
        self.store
            .write(move |tx| notices::sent(tx, &notice.id, now))
            .await
    }

    async fn failed(&self, notice: Notice, why: &SendError) -> Result<(), StoreError> {
        metrics::counter!("homeward_notices_failed_total", "way" => notice.way.name()).increment(1);
        // Peers can write long answers.
        let why = ShortText::cut(&chain(why));
        warn!(
            notice.id = %notice.id, notice.way = notice.way.name(), notice.tries = notice.tries,
            "{} could not be told by {} (try {} of {TRIES}): {}",
            notice.message.person, notice.way.name(), notice.tries, why.as_str()
        );
        if notice.tries < TRIES {
            return Ok(());
        }
        let now = self.clock.now();
        let text = format!(
            "{} could not be told by mail or webhook, and it is not tried any more: \"{}\". The last failure, of {}: {}. Tell \
             them yourself, and look at [notify] in fleet.toml: homeward-fleet --data DIR notify test",
            notice.message.person,
            notice.message.subject,
            notice.way.name(),
            why.as_str()
        );
        let said = text.clone();
        let nobody = self
            .store
            .write(move |tx| {
                let nobody = notices::give_up(tx, &notice)?;
                if nobody {
                    let id = format!("{}-{}", notice.id, Kind::NoticesFailed.name());
                    incidents::raise_own(tx, &id, Kind::NoticesFailed, &said, now)?;
                }
                Ok(nobody)
            })
            .await?;
        if nobody {
            error!("{text}");
        }
        Ok(())
    }
}

/// Sends a message to this person on each way that is configured; what came of each.
pub async fn trial(ways: &Ways, person: &str, id: &str, now: Timestamp) -> Vec<(Way, Result<(), SendError>)> {
    let mut all = Vec::new();
    for way in ways.reach().ways(person) {
        let notice = Notice {
            id: format!("{id}-{}", way.name()),
            about: id.to_owned(),
            way,
            message: Message {
                gateway: None,
                person: person.to_owned(),
                subject: "A test of Homeward's messages".to_owned(),
                body: format!("{person}: this is a test. Nothing has to be done."),
            },
            made_at: now,
            tries: 1,
        };
        let sent = ways.send(&notice).await;
        all.push((way, sent));
    }
    all
}

/// An error with what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn read(key: &'static str, path: &Path, max: u64) -> Result<String, NotifyError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(max).read_to_string(&mut text))
        .map_err(|source| NotifyError::File {
            key,
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

fn secret(key: &'static str, path: &Path) -> Result<String, NotifyError> {
    let text = read(key, path, MAX_SECRET)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(NotifyError::NoSecret {
            key,
            path: path.to_owned(),
        });
    }
    Ok(line.to_owned())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NotifyError> {
    let text = read("ca", path, MAX_CA)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .filter_map(Result::ok)
        .collect();
    if found.is_empty() {
        return Err(NotifyError::NoCertificates(path.to_owned()));
    }
    Ok(found)
}

fn client(roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, NotifyError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(NotifyError::Tls)?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}
