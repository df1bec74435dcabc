//! The agent's own program: its version, its fingerprint, and whether it is what its package installed.

use homeward_protocol::posture::fact::{Fact, Value, What, text};
use homeward_protocol::posture::inventory::{Component, Kind};
use homeward_protocol::tuf::read::to_hex;

use super::seen::Seen;
use super::setuid::Origin;

/// Version, fingerprint, and how the file stands to its package. A program that came with no package (built by hand, put
/// there by an update of its own) is held against nothing here: the server knows the fingerprints of releases.
pub fn facts(seen: &Seen, version: &str, sha256: Option<[u8; 32]>, origin: &Origin) -> Vec<Fact> {
    let mut facts = vec![
        seen.one(What::AgentVersion, text(version)),
        seen.one(What::AgentIntegrity, text(&origin.said())),
    ];
    facts.extend(sha256.map(|sha256| seen.one(What::AgentBinary, Value::Text(digest(sha256)))));
    facts
}

fn digest(sha256: [u8; 32]) -> homeward_protocol::posture::ShortText {
    homeward_protocol::posture::ShortText::cut(&to_hex(&sha256))
}

/// The agent as a piece of software; its fingerprint stands in the place of the architecture.
pub fn component(version: &str, sha256: Option<[u8; 32]>) -> Option<Component> {
    Some(Component {
        kind: Kind::Program,
        name: "homeward-agent".parse().ok()?,
        version: version.parse().ok()?,
        arch: sha256.and_then(|sha256| to_hex(&sha256).parse().ok()),
        origin: None,
    })
}
