//! Shell: `check`, `backup` and `restore`.

use std::path::Path;

use serde_json::json;

use super::{AdminError, Said};
use crate::clock::Clock;
use crate::config::Keep;
use crate::place::Place;
use crate::store::check::{self, Report};
use crate::store::copy::{self, Existing, Manifest};

/// What a backup holds beside the database.
const ALSO: &[&str] = &["fleet.toml", "ca", "director.key"];
/// The embedded database's name in the data folder.
const DATABASE: &str = "fleet.db";

/// Looks at everything and changes nothing.
pub async fn check(place: &Place) -> Result<Said, AdminError> {
    let (config, store) = super::open(place)?;
    if config.keep == Keep::Embedded {
        copy::quick_check(&place.database())?;
    }
    let report = store.read(check::check).await?;
    let text = summary(&report);
    if !report.faults.is_empty() {
        return Err(AdminError::Found(text));
    }
    let json = json!({
        "ok": true,
        "audit_rows": report.audit_rows,
        "audit_head": report.audit_head,
        "streams": report.streams,
        "envelopes": report.envelopes,
    });
    Ok(Said::new(text, &json))
}

fn summary(report: &Report) -> String {
    if report.faults.is_empty() {
        return format!(
            "All is well.\n  audit trail  {} rows, unbroken; its head is {}\n  streams      {} of gateways, {} \
             signed envelopes, every chain holds",
            report.audit_rows, report.audit_head, report.streams, report.envelopes,
        );
    }
    let faults: Vec<String> = report.faults.iter().map(|fault| format!("  - {fault}")).collect();
    format!("{} things are wrong:\n{}", report.faults.len(), faults.join("\n"))
}

/// Copies everything into a new folder.
pub fn backup(place: &Place, to: &Path, clock: &Clock) -> Result<Said, AdminError> {
    let config = place.config()?;
    let embedded = config.keep == Keep::Embedded;
    let database = embedded.then_some(DATABASE);
    let manifest = copy::backup(place.folder(), database, ALSO, to, clock.now())?;
    let mut text = format!(
        "{} files, {} bytes in {}",
        manifest.files.len(),
        size(&manifest),
        to.display()
    );
    if !embedded {
        text.push_str("\nThe database is in PostgreSQL: back it up with pg_dump at the same time.");
    }
    text.push_str("\nIt holds the authority's keys: keep it as you keep them.");
    Ok(Said::new(text, &manifest))
}

/// Puts a backup in place.
pub fn restore(place: &Place, from: &Path, replace: bool, dry_run: bool) -> Result<Said, AdminError> {
    if dry_run {
        let manifest = copy::verify(from)?;
        let text = format!(
            "The backup is whole: {} files, {} bytes. They would go to {}. Nothing was changed.",
            manifest.files.len(),
            size(&manifest),
            place.folder().display(),
        );
        return Ok(Said::new(text, &manifest));
    }
    let _lock = place.folder().exists().then(|| place.lock()).transpose()?;
    let existing = if replace {
        Existing::Replace
    } else {
        Existing::Refuse
    };
    let manifest = copy::restore(from, place.folder(), existing)?;
    let text = format!(
        "{} files are back in {}. Start the server; gateways send again what they still hold, and what they no \
         longer hold shows as a gap.",
        manifest.files.len(),
        place.folder().display(),
    );
    Ok(Said::new(text, &manifest))
}

fn size(manifest: &Manifest) -> u64 {
    manifest.files.iter().map(|file| file.bytes).sum()
}
