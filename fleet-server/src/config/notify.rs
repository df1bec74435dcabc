//! How people are told outside the console: `[notify]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use homeward_protocol::claim::Endpoint;
use hyper::Uri;
use lettre::Address;
use serde::Deserialize;

/// Certificates that are believed when none are named.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNotify {
    mail_server: Option<String>,
    mail_security: Option<String>,
    mail_from: Option<String>,
    mail_user: Option<String>,
    mail_password_file: Option<PathBuf>,
    webhook: Option<String>,
    webhook_secret_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    people: Option<BTreeMap<String, String>>,
    advisories: Option<String>,
}

/// How people are told outside the console. Without any of it they are told in the console alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The addresses of people, by the names that `update assign --person` takes.
    pub people: BTreeMap<String, Address>,
    /// Who is told that an advisory is to be weighed. Default: nobody outside the console.
    pub advisories: Option<String>,
    /// The mail server.
    pub mail: Option<Mail>,
    /// The service that passes messages on.
    pub webhook: Option<Hook>,
    /// PEM: the certificates that both are checked against. Default: those of the system.
    pub ca: PathBuf,
}

impl Default for Notify {
    fn default() -> Notify {
        Notify {
            people: BTreeMap::new(),
            advisories: None,
            mail: None,
            webhook: None,
            ca: SYSTEM_CA.into(),
        }
    }
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Where.
    pub server: Endpoint,
    /// How the way there is protected.
    pub security: MailSecurity,
    /// Who the messages are from.
    pub from: Address,
    /// Who we are there; its password is in the file.
    pub user: Option<String>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
}

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte: port 465.
    Tls,
    /// TLS that is asked for; without it nothing is sent: port 587.
    StartTls,
    /// Not at all: to this machine only.
    Plain,
}

/// A service that passes messages on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where. `http` is for this machine only.
    pub uri: Uri,
    /// The file whose first line is the secret that both have.
    pub secret_file: PathBuf,
}

pub(super) fn read(raw: RawNotify, folder: &Path, faults: &mut Vec<String>) -> Notify {
    let mail = raw.mail_server.as_deref().and_then(|server| {
        let mail = Mail {
            server: server
                .parse()
                .map_err(|_| faults.push(format!("notify.mail_server: `{server}` is not HOST:PORT")))
                .ok()?,
            security: security(raw.mail_security.as_deref(), faults)?,
            from: from(raw.mail_from.as_deref(), faults)?,
            user: raw.mail_user.clone(),
            password_file: raw.mail_password_file.as_ref().map(|file| folder.join(file)),
        };
        if mail.user.is_some() != mail.password_file.is_some() {
            faults
                .push("notify.mail_user: it and mail_password_file are given together or not at all".into());
        }
        if mail.security == MailSecurity::Plain && !is_here(&mail.server.host) {
            faults.push(
                "notify.mail_security: without TLS only to this machine (127.0.0.1, ::1, localhost)".into(),
            );
        }
        Some(mail)
    });
    let other = raw.mail_from.is_some() || raw.mail_user.is_some() || raw.mail_password_file.is_some();
    if raw.mail_server.is_none() && (other || raw.mail_security.is_some()) {
        faults.push("notify.mail_server: is missing, and other keys of mail are there".into());
    }
    let webhook = match (raw.webhook, raw.webhook_secret_file) {
        (Some(url), Some(file)) => hook(&url, folder.join(file), faults),
        (None, None) => None,
        _ => {
            faults.push("notify.webhook: it and webhook_secret_file are given together or not at all".into());
            None
        }
    };
    let mut people = BTreeMap::new();
    for (name, address) in raw.people.unwrap_or_default() {
        match address.parse::<Address>() {
            Ok(address) => {
                people.insert(name, address);
            }
            Err(_) => faults.push(format!("notify.people: the address of `{name}` is none")),
        }
    }
    if mail.is_none() && raw.mail_server.is_none() && !people.is_empty() {
        faults.push("notify.people: has addresses, and there is no mail_server".into());
    }
    if let Some(person) = &raw.advisories
        && webhook.is_none()
        && !people.contains_key(person)
    {
        faults.push(format!(
            "notify.advisories: no message reaches `{person}`: give an address in notify.people, or a webhook"
        ));
    }
    let ca = raw.ca.map_or_else(|| SYSTEM_CA.into(), |file| folder.join(file));
    Notify {
        people,
        advisories: raw.advisories,
        mail,
        webhook,
        ca,
    }
}

fn security(given: Option<&str>, faults: &mut Vec<String>) -> Option<MailSecurity> {
    match given.unwrap_or("tls") {
        "tls" => Some(MailSecurity::Tls),
        "starttls" => Some(MailSecurity::StartTls),
        "none" => Some(MailSecurity::Plain),
        other => {
            faults.push(format!(
                "notify.mail_security: `{other}` is not tls, starttls or none"
            ));
            None
        }
    }
}

fn from(given: Option<&str>, faults: &mut Vec<String>) -> Option<Address> {
    let address = given.and_then(|text| text.parse().ok());
    if address.is_none() {
        faults.push(
            "notify.mail_from: the address that messages come from, for example homeward@example.org".into(),
        );
    }
    address
}

fn hook(url: &str, secret_file: PathBuf, faults: &mut Vec<String>) -> Option<Hook> {
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
    let fits = uri.filter(|uri| match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri.host().is_some_and(is_here),
        _ => false,
    });
    if fits.is_none() {
        faults.push(
            "notify.webhook: an https address; http only to this machine (127.0.0.1, ::1, localhost)".into(),
        );
    }
    Some(Hook {
        uri: fits?,
        secret_file,
    })
}

fn is_here(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    plain == "localhost" || plain.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
