//! Shell: whether the way to the server costs by the byte: as agent.toml says, else as `NetworkManager` does.
//!
//! Where neither says anything it does not: a box on a cable has no `NetworkManager`, and updates must reach it.
//! Source: `NetworkManager` D-Bus API, `org.freedesktop.NetworkManager`, property `Metered` (`NMMetered`).
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a message bus, and a limit of waiting"
)]

use std::time::Duration;

use tokio::time::timeout;
use zbus::{Connection, OwnedVariant};

use super::{Link, Setting};

/// How long the bus may take for all of it.
const PATIENCE: Duration = Duration::from_secs(5);
const SERVICE: &str = "org.freedesktop.NetworkManager";
const PLACE: &str = "/org/freedesktop/NetworkManager";
/// `NM_METERED_YES`, and `NM_METERED_GUESS_YES`: by what the other end said, such as a telephone that shares its link.
const METERED: [u32; 2] = [1, 3];

/// What the link is now.
pub async fn link(setting: Setting) -> Link {
    match setting {
        Setting::Fixed(link) => link,
        Setting::Auto => match timeout(PATIENCE, system()).await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "nobody says whether the link costs by the byte");
                Link::Free
            }
            Err(_) => Link::Free,
        },
    }
}

async fn system() -> zbus::Result<Link> {
    ask(&Connection::system().await?).await
}

/// Asks `NetworkManager` on this bus, if it runs: it is not started for it.
///
/// # Errors
/// When the bus does not work, or something else answers.
pub async fn ask(bus: &Connection) -> zbus::Result<Link> {
    let (daemon, place) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
    let owner = bus
        .call_method(Some(daemon), place, Some(daemon), "NameHasOwner", &SERVICE)
        .await?;
    if !owner.body().deserialize::<bool>()? {
        return Ok(Link::Free);
    }
    let properties = Some("org.freedesktop.DBus.Properties");
    let question = (SERVICE, "Metered");
    let answer = bus
        .call_method(Some(SERVICE), PLACE, properties, "Get", &question)
        .await?;
    let said = u32::try_from(answer.body().deserialize::<OwnedVariant>()?).ok();
    Ok(match said {
        Some(said) if METERED.contains(&said) => Link::Metered,
        _ => Link::Free,
    })
}
