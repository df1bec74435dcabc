//! Shell: `update releases`: what is published, and how far each release has come; and the reading of it for the console.

use std::path::Path;
use std::sync::Arc;

use homeward_protocol::release::notes::{Notes, Reader};
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, Said, told};
use crate::direct::shelf::read::Read;
use crate::direct::shelf::{FORWARD_ONLY, Item, Shelf, Spread, Words, spread};
use crate::release::check;
use crate::release::folder::Folder;
use crate::store::campaigns::fleet;
use crate::store::{Store, updates};

/// What a release folder has published; nothing where there is none.
///
/// # Errors
/// Why no box would believe it.
pub fn published(folder: &Path, now: Timestamp) -> Read {
    let files = Folder::at(folder).published().map_err(|why| told(&why))?;
    if files.is_empty() {
        return Ok(None);
    }
    let client = check(&files, now).map_err(|why| told(&why))?;
    Ok(Some(Arc::new(Shelf::of(&client))))
}

/// Lists them.
pub async fn run(folder: &Path, store: &Store, now: Timestamp) -> Result<Said, AdminError> {
    let Some(shelf) = published(folder, now).map_err(AdminError::Found)? else {
        let text = "Nothing is published: homeward-fleet release --help";
        return Ok(Said::new(text, &json!({ "releases": [] })));
    };
    let (homes, words) = store
        .read(|tx| Ok((fleet::homes(tx)?, updates::told(tx)?)))
        .await?;
    let all: Vec<(&Item, Spread)> = shelf
        .items
        .iter()
        .map(|item| (item, spread(item, &homes, &words)))
        .collect();
    let mut text = format!("Targets {}", shelf.targets);
    if let Some(until) = shelf.until {
        text.push_str(&format!(", believed until {until}"));
    }
    for (item, spread) in &all {
        text.push_str(&format!("\n\n{}", said(item, *spread)));
    }
    let releases: Vec<Value> = all.iter().map(|(item, spread)| row(item, *spread)).collect();
    let until = shelf.until.map(|until| until.to_string());
    Ok(Said::new(
        text,
        &json!({ "targets": shelf.targets, "believed_until": until, "releases": releases }),
    ))
}

fn said(item: &Item, spread: Spread) -> String {
    let custom = &item.custom;
    let back = if item.is_forward_only() {
        FORWARD_ONLY.to_uppercase()
    } else {
        item.way_back().to_owned()
    };
    let mut text = format!(
        "{}  {} {} for {}\n  {back}\n  it {} (for how long: {})\n  gateways that run it: {}; that are to get it: {}",
        item.path.escape_debug(),
        custom.installer.name(),
        custom.version,
        custom.hw.join(", "),
        custom.disruption.words(),
        custom.disruption.lasts(),
        spread.runs,
        spread.told,
    );
    match &item.words {
        Words::None => text.push_str("\n  it says nothing in plain words"),
        Words::Unreadable => text.push_str("\n  its notes cannot be read"),
        Words::Notes(notes) => {
            for reader in Reader::ALL {
                if let Some((_, note)) = notes.text(reader, &[]) {
                    text.push_str(&format!("\n  {}: {note}", reader.name()));
                }
            }
        }
    }
    text
}

fn row(item: &Item, spread: Spread) -> Value {
    let custom = &item.custom;
    json!({
        "path": item.path, "version": custom.version, "installer": custom.installer, "hardware": custom.hw,
        "disruption": custom.disruption, "forward_only": item.is_forward_only(), "runs": spread.runs, "told": spread.told,
        "notes": item.notes().map(Notes::to_json),
    })
}
