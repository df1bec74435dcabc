//! Shell: `release dossier`: checks what a release desk wrote about the firmware of a device, and makes what is signed.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use homeward_protocol::release::Custom;
use homeward_protocol::release::dossier::{self, Dossier, MAX_DOSSIER};
use serde_json::json;

use crate::admin::{AdminError, Said};
use crate::dossier::words;
use crate::release::dossiers;

/// Reads the document, and writes the dossier when that was asked for; says it as people will read it.
pub fn make(from: &Path, out: Option<&Path>) -> Result<Said, AdminError> {
    let text = String::from_utf8(read(from)?);
    let text = text.map_err(|_| AdminError::Found(format!("{} is no text", from.display())))?;
    let wrong = |why: dossier::DossierError| AdminError::Found(format!("{}: {why}", from.display()));
    let made = dossier::read(&text).map_err(wrong)?;
    let bytes = made.to_bytes().map_err(wrong)?;
    let mut said = words::page(&made);
    if let Some(out) = out {
        fs::write(out, &bytes).map_err(|why| AdminError::Found(format!("{}: {why}", out.display())))?;
        said.push_str(&format!(
            "\n\nWrote {} ({} bytes). Put it into the draft: homeward-fleet release add REL {} --dossier",
            out.display(),
            bytes.len(),
            out.display()
        ));
    }
    let json = json!({ "path": made.path(), "class": made.class, "after": made.after, "by": made.by, "bytes": bytes.len() });
    Ok(Said::new(said, &json))
}

/// Where a dossier goes in a draft, and what the draft says of it.
pub fn target(file: &Path) -> Result<(String, Custom), AdminError> {
    let made = Dossier::decode(&read(file)?);
    let made = made.map_err(|why| AdminError::Asked(format!("{}: {why}", file.display())))?;
    Ok((made.path(), dossiers::custom(&made)))
}

fn read(path: &Path) -> Result<Vec<u8>, AdminError> {
    let odd = |why: std::io::Error| AdminError::Found(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(odd)?;
    file.take(MAX_DOSSIER as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(odd)?;
    Ok(bytes)
}
