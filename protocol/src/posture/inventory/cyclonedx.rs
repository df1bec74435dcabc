//! A list of software as an SBOM: CycloneDX 1.6, JSON.
//!
//! Source: CycloneDX 1.6 JSON schema (ECMA-424); package URLs by the purl specification and its types `deb`, `rpm`,
//! `opkg`, `apk`, `cargo`.
//!
//! The same list gives the same document but for the moment: its serial number is made from the list's name. Names of
//! source packages, which Debian's and others' advisories go by, stand as properties `homeward:source` and
//! `homeward:source-version`; purls name the binary package, as the purl type asks.

use serde_json::{Map, Value, json};

use super::{Component, Inventory, Kind, Word};
use crate::posture::facts::Mark;
use crate::time::Timestamp;

/// What the list does not say by itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The list's name: see [`super::name`].
    pub name: Mark,
    /// What the box is called: a gateway's id, never a person's name.
    pub subject: &'a str,
    /// When the list was taken.
    pub taken_at: Timestamp,
    /// The program that writes it, and its version.
    pub tool: (&'a str, &'a str),
}

/// The SBOM.
pub fn document(list: &Inventory, about: &About<'_>) -> Value {
    let components: Vec<Value> = std::iter::once(system(list))
        .chain(list.components.iter().map(|c| component(list, c)))
        .collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(about.name),
        "version": 1,
        "metadata": {
            "timestamp": Timestamp::synced(about.taken_at.ms).to_string(),
            "lifecycles": [{ "phase": "operations" }],
            "tools": { "components": [{
                "type": "application", "name": about.tool.0, "version": about.tool.1,
            }] },
            "component": { "type": "device", "bom-ref": "box", "name": about.subject },
        },
        "components": components,
    })
}

/// A UUID of version 8 (RFC 9562, 5.8: made by rules of one's own) from a list's name.
fn serial(Mark(mut bytes): Mark) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = Mark(bytes).to_string();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

fn system(list: &Inventory) -> Value {
    let mut made = json!({ "type": "operating-system", "bom-ref": "system", "name": list.system.0.as_str() });
    if let Some(version) = &list.system.1 {
        made["version"] = version.as_str().into();
    }
    made
}

fn component(list: &Inventory, c: &Component) -> Value {
    let mut made = Map::new();
    let kind = match c.kind {
        Kind::Program => "application",
        _ => "library",
    };
    made.insert("type".into(), kind.into());
    made.insert("bom-ref".into(), reference(c).into());
    made.insert("name".into(), c.name.as_str().into());
    made.insert("version".into(), c.version.as_str().into());
    if let Some(purl) = purl(list, c) {
        made.insert("purl".into(), purl.into());
    }
    if let (Kind::Program, Some(sha256)) = (c.kind, &c.arch) {
        let hash = json!([{ "alg": "SHA-256", "content": sha256.as_str() }]);
        made.insert("hashes".into(), hash);
    }
    if let Some((name, version)) = &c.origin {
        let property = |name: &str, value: &Word| json!({ "name": name, "value": value.as_str() });
        let properties = [
            property("homeward:source", name),
            property("homeward:source-version", version),
        ];
        made.insert("properties".into(), properties.as_slice().into());
    }
    Value::Object(made)
}

/// Its own name in the document: two versions or architectures of one package may stand side by side.
fn reference(c: &Component) -> String {
    let arch = match (&c.arch, c.kind) {
        (Some(arch), kind) if kind != Kind::Program => arch.as_str(),
        _ => "",
    };
    format!(
        "{}/{}@{}/{arch}",
        c.kind.name(),
        c.name.as_str(),
        c.version.as_str()
    )
}

fn purl(list: &Inventory, c: &Component) -> Option<String> {
    let vendor = escaped(&list.system.0.as_str().to_ascii_lowercase());
    let kind = match c.kind {
        Kind::Deb => format!("deb/{vendor}"),
        Kind::Rpm => format!("rpm/{vendor}"),
        Kind::Ipk => "opkg".to_owned(),
        Kind::Apk => format!("apk/{vendor}"),
        Kind::Crate => "cargo".to_owned(),
        Kind::Program => return None,
    };
    let mut purl = format!(
        "pkg:{kind}/{}@{}",
        escaped(c.name.as_str()),
        escaped(c.version.as_str())
    );
    let mut qualifiers = Vec::new();
    if let Some(arch) = &c.arch {
        qualifiers.push(format!("arch={}", escaped(arch.as_str())));
    }
    if c.kind != Kind::Crate
        && let Some(version) = &list.system.1
    {
        qualifiers.push(format!("distro={vendor}-{}", escaped(version.as_str())));
    }
    if !qualifiers.is_empty() {
        purl.push('?');
        purl.push_str(&qualifiers.join("&"));
    }
    Some(purl)
}

/// Per cent encoding of what may not stand in a part of a purl. The colon may: purl specification, "Character encoding".
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    let one = |b: u8| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Inventory {
        let word = |text: &str| text.parse::<Word>().expect("a word");
        let deb = Component {
            kind: Kind::Deb,
            name: word("libstdc++6"),
            version: word("1:12.2.0-14+deb12u1"),
            arch: Some(word("amd64")),
            origin: Some((word("gcc-12"), word("12.2.0-14+deb12u1"))),
        };
        let own = Component {
            kind: Kind::Program,
            name: word("homeward-agent"),
            version: word("0.1.0"),
            arch: Some(word(&"ab".repeat(32))),
            origin: None,
        };
        Inventory::new((word("debian"), Some(word("12"))), vec![own, deb])
    }

    #[test]
    fn a_package_has_its_purl_and_its_source() {
        let about = About {
            name: Mark([0xff; 16]),
            subject: "gw-1",
            taken_at: Timestamp::synced(0),
            tool: ("homeward-agent", "0.1.0"),
        };
        let made = document(&list(), &about);
        let deb = &made["components"][1];
        assert_eq!(
            deb["purl"],
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        assert_eq!(deb["properties"][0]["value"], "gcc-12");
        assert_eq!(
            made["serialNumber"],
            "urn:uuid:ffffffff-ffff-8fff-bfff-ffffffffffff"
        );
        assert_eq!(made["components"][2]["hashes"][0]["content"], "ab".repeat(32));
        assert_eq!(made["components"][0]["type"], "operating-system");
    }
}
