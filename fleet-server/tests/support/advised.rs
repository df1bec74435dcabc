//! An advisory on a pacemaker, made for tests, and a home in which one is; for tests of pages.

use homeward_fleet::access::Sight;
use homeward_fleet::advisory::csaf;
use homeward_fleet::advisory::implant::{Implant, Kind};
use homeward_fleet::store::{StoreError, Tx, advisories, implants};
use homeward_protocol::tuf::read::to_hex;
use ring::digest;
use serde_json::{Value, json};

use super::at;

/// Of this revision, saying this.
pub(crate) fn document(version: &str, says: &str) -> Value {
    json!({
        "document": {
            "csaf_version": "2.0", "title": "Pacer 7 answers whoever is near",
            "distribution": { "tlp": { "label": "WHITE" } },
            "publisher": { "category": "vendor", "name": "Acme", "namespace": "https://acme.example" },
            "tracking": {
                "id": "ACME-2026-07", "version": version, "status": "final", "current_release_date": "2026-11-17T00:00:00Z"
            }
        },
        "product_tree": { "branches": [ { "category": "vendor", "name": "Acme Medical", "branches": [
            { "category": "product_name", "name": "Pacer 7", "branches": [
                { "category": "product_version_range", "name": "<2.0", "product": { "name": "Pacer 7: before 2.0", "product_id": "P" } }
            ] } ] } ] },
        "vulnerabilities": [ {
            "cve": "CVE-2026-0007", "notes": [ { "category": "summary", "text": says } ],
            "product_status": { "known_affected": ["P"] },
            "scores": [ { "products": ["P"], "cvss_v3": { "baseScore": 7.5 } } ],
            "remediations": [ { "category": "vendor_fix", "product_ids": ["P"],
                "details": "An update is made at a clinic. For three minutes the device paces at 67 a minute." } ]
        } ]
    })
}

/// Entry 1, in the home of the north, and task 1 for it; entry 2 is of another maker.
pub(crate) fn advise(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for (device, maker, model, kind) in [
        ("pacemaker", "Acme", "Pacer 7", Kind::Implant),
        ("pump", "Fluid & Sons", "Drop 2", Kind::Worn),
    ] {
        let implant = Implant {
            placement: "home-01".parse().expect("an id"),
            device: device.parse().expect("a name"),
            kind,
            maker: maker.parse().expect("a name"),
            model: model.parse().expect("a name"),
            shows: (kind == Kind::Worn).then(|| "3.1".parse().expect("a version")),
        };
        implants::add(tx, &implant, (&Sight::Fleet, "olga"), at(7200))?;
    }
    let bytes = document("1", "It answers whoever is near.")
        .to_string()
        .into_bytes();
    let advisory = csaf::read(&bytes).expect("an advisory");
    let sha256 = to_hex(digest::digest(&digest::SHA256, &bytes).as_ref());
    advisories::take(tx, (&sha256, &bytes), &advisory, "olga", at(3600))?;
    Ok(())
}
