//! Shell: `implant …`: the register of devices that lie in people or act on them.

use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::super::{AdminError, BY, Said};
use super::opened;
use crate::access::Sight;
use crate::advisory::implant::{Entry, Implant, ImplantId};
use crate::advisory::words;
use crate::cli::advisory::{ImplantAdd, ImplantCommand};
use crate::store::Store;
use crate::store::implants::{self, Added};

/// Runs one command.
pub async fn run(store: &Store, command: &ImplantCommand, now: Timestamp) -> Result<Said, AdminError> {
    match command {
        ImplantCommand::Add(asked) => add(store, asked, now).await,
        ImplantCommand::List => list(store).await,
        ImplantCommand::Seen { entry, shows } => {
            let (id, shows) = (*entry, shows.clone());
            let work =
                move |tx: &mut dyn crate::store::Tx| implants::seen(tx, (id, &Sight::Fleet), &shows, BY, now);
            let (entry, new) = store.write(work).await?.ok_or_else(|| nobody(id))?;
            let mut text = format!("Entry {id}: {}\n", words::device(&entry.implant));
            let json = json!({ "entry": entry_json(&entry), "tasks": opened(&mut text, &new) });
            Ok(Said::new(text, &json))
        }
        ImplantCommand::End { entry, reason } => {
            let (id, reason) = (*entry, reason.clone());
            let work =
                move |tx: &mut dyn crate::store::Tx| implants::end(tx, (id, &Sight::Fleet), &reason, BY, now);
            let entry = store.write(work).await?.ok_or_else(|| nobody(id))?;
            Ok(Said::new(
                format!("Entry {id} is out of the register; what was weighed for it has ended"),
                &entry_json(&entry),
            ))
        }
    }
}

async fn add(store: &Store, asked: &ImplantAdd, now: Timestamp) -> Result<Said, AdminError> {
    let implant = Implant {
        placement: asked.home.clone(),
        device: asked.device.clone(),
        kind: asked.kind,
        maker: asked.maker.clone(),
        model: asked.model.clone(),
        shows: asked.shows.clone(),
    };
    let work = move |tx: &mut dyn crate::store::Tx| implants::add(tx, &implant, (&Sight::Fleet, BY), now);
    match store.write(work).await? {
        Added::NoHome => Err(AdminError::Asked(format!(
            "there is no home {}: `claim new --placement` makes one, or the page Homes of the console",
            asked.home
        ))),
        Added::Known(id) => Err(AdminError::Found(format!(
            "a device {} of {} is in the register: entry {id}. Another name tells the two apart; `implant end {id}` takes it \
             out",
            asked.device, asked.home
        ))),
        Added::New(entry, new) => {
            let mut text = format!(
                "Entry {}: {} of {}, {}\n",
                entry.id,
                asked.device,
                asked.home,
                words::device(&entry.implant)
            );
            let tasks = opened(&mut text, &new);
            if new.new.is_empty() {
                text.push_str("No advisory that is here is about it.\n");
            }
            Ok(Said::new(
                text,
                &json!({ "entry": entry_json(&entry), "tasks": tasks }),
            ))
        }
    }
}

async fn list(store: &Store) -> Result<Said, AdminError> {
    let all = store.read(|tx| implants::list(tx, &Sight::Fleet)).await?;
    let mut text = String::new();
    for entry in &all.list {
        let implant = &entry.implant;
        text.push_str(&format!(
            "{:>4}  {:<16} {:<16} {}",
            entry.id.0,
            implant.placement.as_str(),
            implant.device.as_str(),
            words::device(implant)
        ));
        if let Some((at, why)) = &entry.ended {
            text.push_str(&format!("; taken out {at}: {why}"));
        }
        text.push('\n');
    }
    if all.list.is_empty() {
        text.push_str(
            "The register is empty: homeward-fleet --data DIR implant add --help. Without it no advisory finds whom it \
             concerns\n",
        );
    }
    if all.more > 0 {
        text.push_str(&format!("and {} more\n", all.more));
    }
    let entries: Vec<Value> = all.list.iter().map(entry_json).collect();
    Ok(Said::new(text, &json!({ "entries": entries, "more": all.more })))
}

pub(super) fn entry_json(entry: &Entry) -> Value {
    let implant = &entry.implant;
    json!({
        "entry": entry.id.0,
        "home": implant.placement,
        "device": implant.device,
        "kind": implant.kind.name(),
        "maker": implant.maker.as_str(),
        "model": implant.model.as_str(),
        "shows": implant.shows,
        "told_at": entry.told_at.to_string(),
        "told_by": entry.told_by,
        "ended_at": entry.ended.as_ref().map(|(at, _)| at.to_string()),
    })
}

fn nobody(id: ImplantId) -> AdminError {
    AdminError::Asked(format!(
        "there is no entry {id}, or it was taken out: `implant list` shows them"
    ))
}
