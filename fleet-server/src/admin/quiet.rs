//! Shell: `gateway quiet|unquiet`.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde_json::json;

use super::{AdminError, BY, Said};
use crate::clock::Clock;
use crate::quiet::{MAX_REASON, chosen};
use crate::store::{Store, gateways, quiets};

/// Asks for quiet, or ends it.
pub(super) async fn order(
    store: &Store,
    id: &GatewayId,
    hours: Option<u32>,
    reason: &str,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let asked = |why: &str| AdminError::Asked(why.into());
    let why: String = reason.trim().chars().take(MAX_REASON).collect();
    if why.is_empty() {
        return Err(asked(
            "a reason is needed: it is shown at the box, and stands in the audit trail",
        ));
    }
    let length = match hours {
        None => None,
        Some(hours) => Some(chosen(hours).ok_or_else(|| asked("--hours is one of 1, 4, 12, 24, 72"))?),
    };
    let (which, now) = (id.clone(), clock.now());
    let given = store.write(move |tx| {
        if gateways::get(tx, &which)?.is_none() {
            return Ok(None);
        }
        Ok(Some(quiets::order(tx, &which, length, (&why, BY), now)?))
    });
    let wish = given.await?.ok_or_else(|| super::gateways::unknown(id))?;
    let text = match (&wish, length) {
        (None, Some(_)) => return Err(asked("it is out of service")),
        (None, None) => format!("nobody asked here for quiet at {id}"),
        (Some(wish), Some(_)) => format!(
            "{id} is to keep quiet until {}: it is told at once when it is connected, else when it comes back. Whether it \
             heard: homeward-fleet --data DIR gateway quiet {id}. To end it: gateway unquiet",
            wish.until
        ),
        (Some(_), None) => format!("{id} is told that the quiet is over"),
    };
    let (number, until) = (
        wish.as_ref().map(|wish| wish.number),
        wish.map(|wish| wish.until.to_string()),
    );
    Ok(Said::new(
        text,
        &json!({ "id": id, "order": number, "until": until }),
    ))
}

/// How it stands.
pub(super) async fn show(store: &Store, id: &GatewayId, now: Timestamp) -> Result<Said, AdminError> {
    let which = id.clone();
    let found = store.read(move |tx| quiets::of(tx, &which));
    let found = found.await?.ok_or_else(|| super::gateways::unknown(id))?;
    let stands = found.stands(now);
    let said = found.words(now);
    let said = said.unwrap_or_else(|| format!("Nobody asked here for quiet at {id}"));
    Ok(Said::new(
        said.clone(),
        &json!({ "id": id, "stands": stands.name(), "said": said }),
    ))
}
