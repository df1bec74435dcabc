//! Shell: `ca status`: what the authority is made of, how long it lasts, and what a person should do about it.
#![expect(clippy::disallowed_methods, reason = "shell: reads the authority's files")]

use std::path::Path;

use homeward_protocol::time::Timestamp;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::ca::{named, who_has};
use super::{AdminError, Said};
use crate::ca::{CRL_DAYS, DAY_MS, LATE_DAYS, sealed, signer};
use crate::store::{Store, certificates};

/// An intermediate this old should be followed by another one, days.
const ISSUING_AGE_DAYS: i64 = 366;

/// Tells it.
pub(super) async fn status(dir: &Path, store: &Store, now: Timestamp) -> Result<Said, AdminError> {
    let bundle = signer::published(dir)?;
    let mut rows = vec![
        line("active root", &bundle.active),
        line("next root", &bundle.next),
    ];
    rows.extend(bundle.leaving.iter().map(|root| line("leaving root", root)));
    let mut issuers = signer::gateway_issuers(dir)?.into_iter();
    let issuing = issuers.next();
    rows.extend(issuing.iter().map(|cert| line("issues gateways", cert)));
    rows.extend(issuers.map(|cert| line("issued gateways", &cert)));
    let mut advice = Vec::new();
    if let Some(begun) = issuing.as_ref().and_then(begun_ms)
        && now.ms - begun > ISSUING_AGE_DAYS * DAY_MS
    {
        advice.push("The issuing intermediate is more than a year old: `ca rotate issuing`.".to_owned());
    }
    for key in signer::root_keys_here(dir)? {
        advice.push(format!(
            "{} is a root's key: move it away from this machine.",
            key.display()
        ));
    }
    let key = std::fs::read_to_string(dir.join("gateways.key")).unwrap_or_default();
    let is_sealed = sealed::is_sealed(&key);
    if !is_sealed {
        advice.push("The keys that issue are in the clear: `ca seal`.".to_owned());
    }
    let (with, without) = who_has(store, &bundle, now).await?;
    let late = now.plus_ms(-LATE_DAYS * DAY_MS);
    let revoked = store.read(move |tx| certificates::revoked(tx, late)).await?.len();
    let mark = bundle.mark()?.to_string();
    let mut text: String = rows.iter().map(Line::text).collect();
    text.push_str(&format!(
        "{:<16} {}\n{:<16} {revoked} certificates; a list is good for {CRL_DAYS} days\n{:<16} {mark}: {with} of {} \
         gateways that may come back hold these roots\n",
        "keys",
        if is_sealed { "sealed by a passphrase" } else { "in the clear" },
        "revoked",
        "bundle",
        with + without.len(),
    ));
    if !without.is_empty() {
        text.push_str(&format!("{:<16} {}\n", "not yet", named(&without)));
    }
    for what in &advice {
        text.push_str(&format!("! {what}\n"));
    }
    let json = json!({
        "certificates": rows.iter().map(Line::json).collect::<Vec<_>>(),
        "sealed": is_sealed,
        "revoked": revoked,
        "bundle": mark,
        "holders": with,
        "not_yet": without.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "advice": advice,
    });
    Ok(Said::new(text, &json))
}

/// One certificate of the authority.
struct Line {
    what: &'static str,
    name: String,
    from: Timestamp,
    until: Timestamp,
}

impl Line {
    fn text(&self) -> String {
        format!(
            "{:<16} {:<44} {} to {}\n",
            self.what, self.name, self.from, self.until
        )
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what,
            "name": self.name,
            "not_before_ms": self.from.ms,
            "not_after_ms": self.until.ms,
        })
    }
}

fn line(what: &'static str, der: &CertificateDer<'_>) -> Line {
    let parsed = x509_parser::parse_x509_certificate(der).ok();
    let at = |secs: i64| Timestamp::synced(secs.saturating_mul(1000));
    let (name, from, until) = parsed.map_or((String::from("unreadable"), 0, 0), |(_, cert)| {
        let validity = cert.validity();
        let name = cert.subject().to_string();
        (
            name,
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        )
    });
    Line {
        what,
        name,
        from: at(from),
        until: at(until),
    }
}

fn begun_ms(der: &CertificateDer<'_>) -> Option<i64> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(cert.validity().not_before.timestamp().saturating_mul(1000))
}
