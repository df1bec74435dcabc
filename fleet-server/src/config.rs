//! The server's configuration: one TOML file in the data folder, all of it optional.
//!
//! The text becomes a raw shape that refuses unknown keys with their line, then a [`Config`] of parsed types; every
//! fault is listed with its key. Nothing here reads a file.

mod notify;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use homeward_protocol::claim::Endpoint;
pub use notify::{Hook, Mail, MailSecurity, Notify};
use serde::Deserialize;

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or an unknown key: the message has the line.
    #[error("{0}")]
    Shape(#[from] toml::de::Error),
    /// Values that are not what their keys need, one line each.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    names: Option<Vec<String>>,
    listen: RawListen,
    public: RawPublic,
    store: RawStore,
    console: RawConsole,
    retention: RawRetention,
    gate: RawGate,
    tpm: RawTpm,
    notify: notify::RawNotify,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    gate: Option<String>,
    enrol: Option<String>,
    renewal: Option<String>,
    console: Option<String>,
    local: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPublic {
    gate: Option<String>,
    enrol: Option<String>,
    renewal: Option<String>,
    lists: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStore {
    postgres: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConsole {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRetention {
    readings_days: Option<u32>,
    envelopes_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGate {
    connections: Option<usize>,
    per_address: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTpm {
    makers: Option<PathBuf>,
}

/// Where the server listens. Port 0 takes any free port; the chosen ones are printed and kept in `ports.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// MQTT over TLS 1.3 with client certificates. Default `0.0.0.0:8883`.
    pub gate: SocketAddr,
    /// Enrolment (EST over HTTPS). Default `0.0.0.0:8443`.
    pub enrol: SocketAddr,
    /// Renewal of certificates that have expired. Default `0.0.0.0:8444`.
    pub renewal: SocketAddr,
    /// The console and the API (HTTPS). Default `0.0.0.0:9443`.
    pub console: SocketAddr,
    /// `/livez`, `/readyz` and `/metrics`, without TLS: keep it local. Default `127.0.0.1:9464`.
    pub local: SocketAddr,
}

/// Addresses that gateways are told, where they differ from the first name and the listening port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Public {
    /// The gate.
    pub gate: Option<Endpoint>,
    /// Enrolment.
    pub enrol: Option<Endpoint>,
    /// Renewal.
    pub renewal: Option<Endpoint>,
    /// Where others (an MQTT broker) get the revocation lists: an `http://` or `https://` address without a path. It
    /// stands in each certificate.
    pub lists: Option<String>,
}

/// Where the data are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In `fleet.db` in the data folder.
    Embedded,
    /// In `PostgreSQL`, at this address (`postgresql://…`). Its `Debug` is hidden: it may hold a password.
    Postgres(Hidden),
}

/// A text that is not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hidden")
    }
}

/// A certificate of the organisation's own for the console, instead of one from the fleet's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// PEM: the certificate and its intermediates.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// How long things are kept, days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Readings, alarms and outages. Default 400.
    pub readings_days: u32,
    /// Signed envelopes, from which a reading can be proved. Default 30.
    pub envelopes_days: u32,
}

/// What the gate admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Gateways connected at the same time. Default 20,000.
    pub connections: usize,
    /// Sockets from one address at the same time: many homes may stand behind one provider's address. Default 1,024.
    pub per_address: usize,
}

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// DNS names or addresses by which gateways and browsers reach this server; the first is put into claims.
    pub names: Vec<String>,
    /// Where it listens.
    pub listen: Listen,
    /// What gateways are told.
    pub public: Public,
    /// Where the data are kept.
    pub keep: Keep,
    /// The console's own certificate, if it has one.
    pub own_certificate: Option<OwnCertificate>,
    /// How long things are kept.
    pub retention: Retention,
    /// What the gate admits.
    pub gate: GateLimits,
    /// A folder with certificates (PEM or DER) of TPM makers whose word counts: roots, and what lies between them and
    /// chips. Without it a gateway's key is known to be in a TPM, and not in whose.
    pub tpm_makers: Option<PathBuf>,
    /// How people are told outside the console.
    pub notify: Notify,
}

impl Config {
    /// Reads a configuration; an empty text is the default one. Relative paths are taken from `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Config, ConfigError> {
        let raw: Raw = toml::from_str(text)?;
        let mut faults = Vec::new();
        let listen = Listen {
            gate: address("listen.gate", raw.listen.gate, "0.0.0.0:8883", &mut faults),
            enrol: address("listen.enrol", raw.listen.enrol, "0.0.0.0:8443", &mut faults),
            renewal: address("listen.renewal", raw.listen.renewal, "0.0.0.0:8444", &mut faults),
            console: address("listen.console", raw.listen.console, "0.0.0.0:9443", &mut faults),
            local: address("listen.local", raw.listen.local, "127.0.0.1:9464", &mut faults),
        };
        if !listen.local.ip().is_loopback() {
            faults.push("listen.local: must be a loopback address: it has no TLS and no sign-in".into());
        }
        let public = Public {
            gate: endpoint("public.gate", raw.public.gate, &mut faults),
            enrol: endpoint("public.enrol", raw.public.enrol, &mut faults),
            renewal: endpoint("public.renewal", raw.public.renewal, &mut faults),
            lists: lists(raw.public.lists, &mut faults),
        };
        let names = names(raw.names, &mut faults);
        let keep = match raw.store.postgres {
            None => Keep::Embedded,
            Some(url) => {
                if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
                    faults.push("store.postgres: an address like postgresql://user@host/database".into());
                }
                Keep::Postgres(Hidden(url))
            }
        };
        let own_certificate = match (raw.console.certificate, raw.console.key) {
            (Some(certificate), Some(key)) => Some(OwnCertificate {
                certificate: folder.join(certificate),
                key: folder.join(key),
            }),
            (None, None) => None,
            _ => {
                faults.push("console: certificate and key are given together or not at all".into());
                None
            }
        };
        let retention = Retention {
            readings_days: at_least(
                raw.retention.readings_days,
                400,
                1,
                "retention.readings_days",
                &mut faults,
            ),
            envelopes_days: at_least(
                raw.retention.envelopes_days,
                30,
                1,
                "retention.envelopes_days",
                &mut faults,
            ),
        };
        let gate = GateLimits {
            connections: at_least(raw.gate.connections, 20_000, 1, "gate.connections", &mut faults),
            per_address: at_least(raw.gate.per_address, 1024, 1, "gate.per_address", &mut faults),
        };
        let config = Config {
            names,
            listen,
            public,
            keep,
            own_certificate,
            retention,
            gate,
            tpm_makers: raw.tpm.makers.map(|dir| folder.join(dir)),
            notify: notify::read(raw.notify, folder, &mut faults),
        };
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Faults(faults))
        }
    }

    /// What a gateway is told of a door: the configured address, or the first name with the port listened on.
    pub fn door(&self, configured: Option<&Endpoint>, port: u16) -> Endpoint {
        configured.cloned().unwrap_or_else(|| Endpoint {
            host: self
                .names
                .first()
                .cloned()
                .unwrap_or_else(|| "localhost".to_owned()),
            port,
        })
    }
}

fn address(key: &str, given: Option<String>, default: &str, faults: &mut Vec<String>) -> SocketAddr {
    let text = given.unwrap_or_else(|| default.to_owned());
    text.parse().unwrap_or_else(|_| {
        faults.push(format!(
            "{key}: `{text}` is not ADDRESS:PORT (for example 0.0.0.0:8443 or [::]:8443)"
        ));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn endpoint(key: &str, given: Option<String>, faults: &mut Vec<String>) -> Option<Endpoint> {
    let text = given?;
    text.parse()
        .map_err(|_| faults.push(format!("{key}: `{text}` is not HOST:PORT")))
        .ok()
}

fn lists(given: Option<String>, faults: &mut Vec<String>) -> Option<String> {
    let address = given?;
    let host = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if host.is_none_or(|host| host.is_empty() || !host.chars().all(plain)) {
        faults.push("public.lists: an address like http://crl.example.org, without a path".into());
        return None;
    }
    Some(address)
}

fn names(given: Option<Vec<String>>, faults: &mut Vec<String>) -> Vec<String> {
    let names = given.unwrap_or_else(|| vec!["localhost".to_owned()]);
    if names.is_empty() {
        faults.push("names: at least one DNS name or address".into());
    }
    for name in &names {
        if name.parse::<std::net::IpAddr>().is_err() && !domain_name(name) {
            faults.push(format!(
                "names: `{name}` is neither a DNS name in lower case nor an address"
            ));
        }
    }
    names
}

fn domain_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !text.is_empty() && text.len() <= 253 && text.bytes().all(plain) && !text.starts_with('.')
}

fn at_least<T: Copy + PartialOrd + std::fmt::Display>(
    given: Option<T>,
    default: T,
    least: T,
    key: &str,
    faults: &mut Vec<String>,
) -> T {
    let value = given.unwrap_or(default);
    if value < least {
        faults.push(format!("{key}: at least {least}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("data")).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_is_needed() {
        let config = parse("").expect("the default");
        assert_eq!(config.listen.gate.port(), 8883);
        assert_eq!(config.door(None, 8443).to_string(), "localhost:8443");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = parse("names = [\"a\"]\n[listen]\ngates = \"x\"\n").expect_err("a fault");
        assert!(error.contains("line 3") && error.contains("gates"), "{error}");
    }

    #[test]
    fn every_fault_is_listed_with_its_key() {
        let text = "names = [\"A b\"]\n[listen]\ngate = \"x\"\nlocal = \"0.0.0.0:1\"\n[console]\nkey = \"k\"\n\
                    [store]\npostgres = \"mysql://\"\n[gate]\nconnections = 0\n[public]\ngate = \"y\"\n";
        let error = parse(text).expect_err("faults");
        for key in [
            "names:",
            "listen.gate:",
            "listen.local:",
            "console:",
            "store.postgres:",
            "gate.connections:",
            "public.gate:",
        ] {
            assert!(error.contains(key), "{key} is not in\n{error}");
        }
    }

    #[test]
    fn mail_and_webhooks_leave_this_machine_protected_or_not_at_all() {
        let all = "[notify]\nmail_server = \"mail.example.org:465\"\nmail_from = \"homeward@example.org\"\n\
                   mail_user = \"homeward\"\nmail_password_file = \"mail.password\"\n\
                   webhook = \"https://hooks.example.org/a?b=c\"\nwebhook_secret_file = \"hook.secret\"\n\
                   [notify.people]\nnora = \"nora@example.org\"\n";
        let notify = parse(all).expect("a configuration").notify;
        assert_eq!(notify.mail.map(|mail| mail.security), Some(MailSecurity::Tls));
        assert!(notify.people.contains_key("nora"));
        let local = "[notify]\nmail_server = \"127.0.0.1:25\"\nmail_security = \"none\"\nmail_from = \"a@b.example\"\n\
                     webhook = \"http://[::1]:8080/\"\nwebhook_secret_file = \"s\"\n";
        parse(local).expect("a configuration");
        for (text, key) in [
            (
                "mail_server = \"m:25\"\nmail_security = \"none\"\nmail_from = \"a@b.example\"",
                "notify.mail_security:",
            ),
            ("mail_server = \"m:25\"", "notify.mail_from:"),
            ("mail_from = \"a@b.example\"", "notify.mail_server:"),
            (
                "webhook = \"http://hooks.example.org/\"\nwebhook_secret_file = \"s\"",
                "notify.webhook:",
            ),
            ("webhook = \"https://hooks.example.org/\"", "notify.webhook:"),
            ("people = { nora = \"nora@example.org\" }", "notify.people:"),
        ] {
            let error = parse(&format!("[notify]\n{text}\n")).expect_err("a fault");
            assert!(error.contains(key), "{key} is not in\n{error}");
        }
    }

    #[test]
    fn a_password_in_the_database_address_is_not_shown() {
        let config =
            parse("[store]\npostgres = \"postgresql://hw:secret@db/fleet\"").expect("a configuration");
        assert!(!format!("{config:?}").contains("secret"));
    }
}
