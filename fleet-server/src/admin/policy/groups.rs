//! Shell: `group list|add|remove`.

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::sign::MAX_GROUPS;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::cli::GroupCommand;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::policies::groups::{self, Joining};

/// Runs one `group` command.
pub async fn run(store: &Store, command: &GroupCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        GroupCommand::List { group: None } => list(store).await,
        GroupCommand::List { group: Some(group) } => members(store, group.clone()).await,
        GroupCommand::Add { group, gateways } => {
            change(store, group, gateways, Change::Add, clock.now()).await
        }
        GroupCommand::Remove { group, gateways } => {
            change(store, group, gateways, Change::Remove, clock.now()).await
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

async fn list(store: &Store) -> Result<Said, AdminError> {
    let found = store.read(groups::list).await?;
    if found.is_empty() {
        let text = "No groups. homeward-fleet --data DIR group add ring-1 GATEWAY makes the first";
        return Ok(Said::new(text, &json!([])));
    }
    let lines: Vec<String> = found
        .iter()
        .map(|(group, count)| format!("{group:<20} {count}"))
        .collect();
    let text = lines.join(
        "
",
    );
    let rows: Vec<Value> = found
        .iter()
        .map(|(group, count)| json!({ "group": group, "gateways": count }))
        .collect();
    Ok(Said::new(text, &rows))
}

async fn members(store: &Store, group: GroupId) -> Result<Said, AdminError> {
    let found = store.read(move |tx| groups::members(tx, &group)).await?;
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    let text = names.join(
        "
",
    );
    Ok(Said::new(text, &found))
}

async fn change(
    store: &Store,
    group: &GroupId,
    gateways: &[GatewayId],
    what: Change,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let (into, who) = (group.clone(), gateways.to_vec());
    let done = store.write(move |tx| {
        let mut count = 0;
        for gateway in &who {
            let joined = match what {
                Change::Add => groups::add(tx, &into, gateway, BY, now)?,
                Change::Remove => groups::remove(tx, &into, gateway, BY, now)?,
            };
            match joined {
                Joining::Done => count += 1,
                Joining::Already => {}
                Joining::Unknown | Joining::Full => return Ok(Err((gateway.clone(), joined, count))),
            }
        }
        Ok(Ok(count))
    });
    match done.await? {
        Ok(count) => {
            let word = if what == Change::Add { "joined" } else { "left" };
            let text = format!("{count} of {} gateways {word} {group}", gateways.len());
            Ok(Said::new(text, &json!({ "group": group, "changed": count })))
        }
        Err((gateway, Joining::Full, count)) => Err(AdminError::Found(format!(
            "{gateway} is in {MAX_GROUPS} groups, which is the most; {count} before it were added"
        ))),
        Err((gateway, _, _)) => Err(crate::admin::gateways::unknown(&gateway)),
    }
}
