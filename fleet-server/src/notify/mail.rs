//! Shell: sends a message as e-mail, over the organisation's own mail server.
#![expect(clippy::disallowed_methods, reason = "shell: connects and waits")]

use std::collections::BTreeMap;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::time::timeout;

use super::Notice;
use crate::config::{Mail, MailSecurity};

/// All of it, from the look-up of the name to the last answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The way to the mail server.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
    people: BTreeMap<String, Address>,
    patience: Duration,
}

/// Why a message did not get out.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The person has no address here any more.
    #[error("`notify.people` has no address of {0}")]
    NoAddress(String),
    /// It cannot be written as a message.
    #[error("it cannot be written as a message")]
    Message(#[source] lettre::error::Error),
    /// TLS could not be set up.
    #[error("TLS to the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// The server did not take it.
    #[error("the mail server did not take it")]
    Smtp(#[source] lettre::transport::smtp::Error),
    /// Nobody answered in time.
    #[error("the mail server did not answer in {} s", .0.as_secs())]
    Silent(Duration),
}

impl Mailer {
    /// By this configuration, with these certificates (DER) as those that are believed, and this password.
    pub fn new(
        config: &Mail,
        people: &BTreeMap<String, Address>,
        roots: &[Vec<u8>],
        password: Option<String>,
    ) -> Result<Mailer, MailError> {
        let host = config.server.host.clone();
        let tls = match config.security {
            MailSecurity::Plain => Tls::None,
            MailSecurity::Tls => Tls::Wrapper(tls(&host, roots)?),
            MailSecurity::StartTls => Tls::Required(tls(&host, roots)?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(config.server.port)
            .timeout(Some(PATIENCE))
            .tls(tls);
        if let (Some(user), Some(password)) = (&config.user, password) {
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Mailer {
            transport: builder.build(),
            from: config.from.clone(),
            people: people.clone(),
            patience: PATIENCE,
        })
    }

    /// The same, less patient.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Mailer {
        Mailer { patience, ..self }
    }

    /// Sends one to its person.
    pub async fn send(&self, notice: &Notice) -> Result<(), MailError> {
        let person = &notice.message.person;
        let to = self.people.get(person);
        let to = to.ok_or_else(|| MailError::NoAddress(person.clone()))?;
        let domain = self.from.domain();
        let message = Message::builder()
            .from(Mailbox::new(Some("Homeward".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, to.clone()))
            .subject(&notice.message.subject)
            .message_id(Some(format!("<{}@{domain}>", notice.about)))
            .header(ContentType::TEXT_PLAIN)
            .body(notice.message.body.clone())
            .map_err(MailError::Message)?;
        let sent = timeout(self.patience, self.transport.send(message)).await;
        sent.map_err(|_| MailError::Silent(self.patience))?
            .map_err(MailError::Smtp)?;
        Ok(())
    }
}

fn tls(host: &str, roots: &[Vec<u8>]) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for root in roots {
        builder = builder.add_root_certificate(Certificate::from_der(root.clone()).map_err(MailError::Tls)?);
    }
    builder.build().map_err(MailError::Tls)
}
