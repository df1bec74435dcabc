//! Shell: `reading list|export`.
#![expect(clippy::disallowed_methods, reason = "shell: writes the export's folder")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use homeward_protocol::envelope::{Entry, Envelope, Item, Lane};
use homeward_protocol::id::{GatewayId, SensorId, Seq};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{AdminError, BY, Said, judged};
use crate::api::shape::ReadingShape;
use crate::audit::Action;
use crate::ca::signer::{former_roots, gateway_issuers, pem, published};
use crate::care::reading as said;
use crate::cli::{ReadingExport, ReadingList, Span};
use crate::clock::Clock;
use crate::place::Place;
use crate::store::console::{self, Shown};
use crate::store::stamps::{self, Run};
use crate::store::{Store, audit, certificates};

/// The signed envelopes, one after another.
pub const ENVELOPES: &str = "envelopes.cbor";
/// The gateway's certificates and their issuer's.
pub const CERTIFICATES: &str = "certificates.pem";
/// What the issuer's certificate leads to.
pub const ROOTS: &str = "roots.pem";

/// Envelopes that are read from the store at a time.
const PAGE: i64 = 200;
/// Certificates of one gateway: more than twenty years of fortnights.
const MOST_CERTIFICATES: i64 = 1000;

/// The newest of each kind, or one sensor's over a stretch of time.
pub async fn list(place: &Place, asked: &ReadingList) -> Result<Said, AdminError> {
    let store = super::open(place)?.1;
    let (gateway, sensor) = (asked.gateway.clone(), asked.sensor.clone());
    let (stretch, limit) = (stretch(&asked.span)?, i64::from(asked.limit));
    let read = store.read(move |tx| {
        let known = console::gateway(tx, &gateway)?;
        let found = |_| match &sensor {
            Some(sensor) => console::readings(tx, &gateway, sensor, stretch, limit),
            None => console::latest(tx, &gateway),
        };
        known.map(found).transpose()
    });
    let found = read.await?.ok_or_else(|| unknown(&asked.gateway))?;
    let shapes: Vec<ReadingShape> = found.iter().map(ReadingShape::from).collect();
    let text = match found.as_slice() {
        [] => "No readings.".to_owned(),
        some => some.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    Ok(Said::new(text, &shapes))
}

fn line(shown: &Shown) -> String {
    let mut text = format!(
        "{}  {:<20} {:<20} {:<14} {}",
        shown.taken_at,
        shown.sensor.as_str(),
        shown.kind.name(),
        said::value(shown.kind, shown.value),
        said::grade(shown.grade),
    );
    let details = &shown.details;
    let reasons: Vec<&str> = details.reasons.iter().map(|r| said::reason(*r)).collect();
    if !reasons.is_empty() {
        text.push_str(&format!(": {}", reasons.join("; ")));
    }
    let quality = Some(said::quality(shown.quality).to_owned()).filter(|q| !q.is_empty());
    let marks = details.marks.iter().map(|m| said::mark(*m).to_owned());
    let also: Vec<String> = quality
        .into_iter()
        .chain(marks)
        .chain(details.sent.map(said::sent))
        .chain(details.sensor_clock.and_then(said::clock))
        .collect();
    if !also.is_empty() {
        text.push_str(&format!("\n{:>22}{}", "", also.join(", ")));
    }
    text
}

/// Writes what vouches for readings into a new folder, and notes that in the audit trail.
pub async fn export(place: &Place, asked: &ReadingExport, clock: &Clock) -> Result<Said, AdminError> {
    let store = super::open(place)?.1;
    let (gateway, sensor, stretch) = (asked.gateway.clone(), asked.sensor.clone(), stretch(&asked.span)?);
    let of = gateway.clone();
    let read = store.read(move |tx| {
        let known = console::gateway(tx, &of)?;
        known
            .map(|_| stamps::runs(tx, &of, sensor.as_ref(), stretch))
            .transpose()
    });
    let runs = read.await?.ok_or_else(|| unknown(&gateway))?;
    if runs.is_empty() {
        return Err(AdminError::Found(format!(
            "there are no such readings of {gateway}"
        )));
    }
    let made = DirBuilder::new().mode(0o700).create(&asked.to);
    made.map_err(|e| failed("make", &asked.to, &e))?;
    papers(place, &store, &gateway, &asked.to).await?;
    let judged = judged::write(place, &store, &gateway, &asked.to, clock.now()).await?;
    let mut file = BufWriter::new(create(&asked.to.join(ENVELOPES))?);
    let mut envelopes = 0;
    for run in &runs {
        envelopes += write(&store, &gateway, run, &mut file)
            .await?
            .map_err(|e| failed("write", &asked.to, &e))?;
    }
    let written = file.flush().and_then(|()| file.get_ref().sync_all());
    written.map_err(|e| failed("write", &asked.to, &e))?;
    let readings: i64 = runs.iter().map(|run| run.readings).sum();
    note(&store, asked, readings, clock.now()).await?;
    let to = asked.to.display();
    let text = format!(
        "{readings} readings are in {envelopes} signed envelopes in {to}\n\nWhoever is given the folder checks it \
         against the fleet's roots, as they were published to them:\n  homeward-fleet reading verify {to} \
         --roots ROOTS.pem"
    );
    let json = json!({
        "folder": asked.to, "readings": readings, "envelopes": envelopes, "judgements": judged,
    });
    Ok(Said::new(text, &json))
}

/// The reports of bonds before the readings that stand on them.
async fn write(
    store: &Store,
    gateway: &GatewayId,
    run: &Run,
    file: &mut impl Write,
) -> Result<std::io::Result<u64>, AdminError> {
    let mut written = 0;
    let everything = (Seq(1), Seq(u64::MAX));
    for (lane, numbers) in [(Lane::Urgent, everything), (Lane::Vital, (run.from, run.to))] {
        let mut next = numbers.0;
        loop {
            let (of, epoch, to) = (gateway.clone(), run.epoch.clone(), numbers.1);
            let page = store
                .read(move |tx| stamps::envelopes(tx, &of, (&epoch, lane), (next, to), PAGE))
                .await?;
            let Some((last, _)) = page.last() else { break };
            next = last.next();
            for (_, signed) in &page {
                if lane == Lane::Vital || reports_bonds(signed) {
                    if let Err(error) = file.write_all(signed) {
                        return Ok(Err(error));
                    }
                    written += 1;
                }
            }
        }
    }
    Ok(Ok(written))
}

fn reports_bonds(signed: &[u8]) -> bool {
    let envelope = Signed::<Envelope>::parse(signed).and_then(|s| s.unverified());
    let is_report = |entry: &Entry| match entry {
        Entry::Item(body) => matches!(Item::decode(body), Ok(Item::Watch(_))),
        Entry::Lost(_) => false,
    };
    envelope.is_ok_and(|e| e.entries.iter().any(is_report))
}

/// The certificates that say whose key signed, and what they lead to.
async fn papers(place: &Place, store: &Store, gateway: &GatewayId, to: &Path) -> Result<(), AdminError> {
    let folder = place.authority();
    let of = gateway.clone();
    let own = store
        .read(move |tx| {
            let mut all = certificates::of(tx, &of, MOST_CERTIFICATES)?;
            all.extend(certificates::spare_of(tx, &of, MOST_CERTIFICATES)?);
            Ok(all)
        })
        .await?;
    let mut text: String = own.into_iter().map(|c| pem(&c.der.into())).collect();
    text.extend(gateway_issuers(&folder)?.iter().map(pem));
    // Those of before too: a reading of their time leads to one of them.
    let mut roots = published(&folder)?.roots();
    roots.extend(former_roots(&folder)?);
    let roots: String = roots.iter().map(pem).collect();
    for (name, text) in [(CERTIFICATES, text), (ROOTS, roots)] {
        let path = to.join(name);
        let written = create(&path)?.write_all(text.as_bytes());
        written.map_err(|e| failed("write", &path, &e))?;
    }
    Ok(())
}

async fn note(store: &Store, asked: &ReadingExport, readings: i64, now: Timestamp) -> Result<(), AdminError> {
    let (gateway, sensor) = (
        asked.gateway.clone(),
        asked.sensor.as_ref().map(SensorId::to_string),
    );
    let detail = format!(
        "{readings} readings of {}",
        sensor.as_deref().unwrap_or("all sensors")
    );
    let noted = store
        .write(move |tx| audit::record(tx, now, BY, Action::ReadingsExported, gateway.as_str(), &detail));
    Ok(noted.await?)
}

pub(super) fn create(path: &Path) -> Result<File, AdminError> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|e| failed("make", path, &e))
}

pub(super) fn failed(step: &str, path: &Path, error: &std::io::Error) -> AdminError {
    AdminError::Found(format!("could not {step} {}: {error}", path.display()))
}

fn unknown(gateway: &GatewayId) -> AdminError {
    AdminError::Found(format!("there is no gateway {gateway}"))
}

/// From and until, milliseconds since 1970.
fn stretch(span: &Span) -> Result<(i64, i64), AdminError> {
    let moment = |text: &Option<String>, missing| text.as_deref().map_or(Ok(missing), moment);
    Ok((moment(&span.from, i64::MIN)?, moment(&span.until, i64::MAX)?))
}

fn moment(text: &str) -> Result<i64, AdminError> {
    let wrong = || AdminError::Asked(format!("`{text}` is no moment: write 2026-11-18T14:49:00Z"));
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| wrong())
}
