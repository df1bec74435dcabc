//! Shell: with which key this box speaks, and from which outbox: its own, or, while its TPM does not answer, the spare one.
//!
//! | the TPM | key | outbox |
//! |---|---|---|
//! | answers | its own | the main one; what waited beside it is moved into it first |
//! | died while the agent ran | the spare one | the main one still, which is open; the server has it numbered anew |
//! | did not answer at the start | the spare one | one beside the main one (`spare/outbox.db`), which stays closed and is counted |
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits, and removes an empty outbox"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{KeyFacts, KeyPlace, Sealing};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{RunError, foreign, open_outbox};
use crate::causes::chain;
use crate::clock::Clock;
use crate::identity::keys::{DeviceKey, Folder, Identity, KeyError};
use crate::identity::pulse::{self, Pulse};
use crate::identity::spare;
use crate::outbox::carry::carry;
use crate::outbox::keeper::Outbox;
use crate::outbox::sqlite::waiting;
use crate::status::{KeyStatus, LinkStatus};
use crate::tpm::TpmError;
use crate::vault::chip::ChipError;
use crate::vault::{self, Vault};

/// How long the TPM may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the questions at the start.
const AGAIN: Duration = Duration::from_secs(2);

/// Where a box runs, and what does not change while it does.
pub struct Ground<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// Its identity, with the TPM.
    pub folder: &'a Folder,
    /// The clocks.
    pub clock: &'a Arc<Clock>,
    /// Tells whoever watches over the program that it lives. A TPM that hangs is waited for longer than that one waits.
    pub alive: &'a (dyn Fn() + Sync),
}

/// What is known of the TPM before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// It was found dead just now: one more failure is enough.
    Dead,
}

/// The main outbox, once it was opened.
pub struct Main {
    vault: Vault,
    /// The outbox.
    pub outbox: Outbox,
}

/// As whom the box speaks.
pub struct Voice {
    /// Name, key and certificate.
    pub identity: Identity,
    /// Where records are kept.
    pub outbox: Outbox,
    /// What is said of the key.
    pub status: KeyStatus,
}

impl Voice {
    /// Whether it is the spare key.
    pub fn is_spare(&self) -> bool {
        self.status.facts.place == KeyPlace::Spare
    }
}

/// The box's own voice, or, when its TPM does not answer, its spare one. `main` is the main outbox when it is open
/// already, and afterwards when it was opened. Each question to the TPM is followed by a sign of life.
///
/// # Errors
/// When there is neither; a TPM that is another one is an error, never a reason for the spare key.
pub async fn choose(
    ground: &Ground<'_>,
    quota: u64,
    sensors: &[SensorId],
    known: Known,
    main: &mut Option<Main>,
) -> Result<Voice, RunError> {
    let mut pulse = match known {
        Known::Nothing => Pulse::default(),
        Known::Dead => Pulse::last_try(),
    };
    loop {
        (ground.alive)();
        let tried = own(ground, quota, main).await;
        (ground.alive)();
        let error = match tried {
            Ok(voice) => {
                come_back(ground, quota, sensors, &voice.outbox).await;
                return Ok(voice);
            }
            Err(error) => error,
        };
        match silent(&error).filter(|_| ground.folder.has_spare()) {
            Some(why) if pulse.failed() => return by_spare(ground, quota, main.as_ref(), why).await,
            Some(_) => sleep(AGAIN).await,
            None => return Err(error),
        }
    }
}

/// Why the TPM cannot be used, when it is not because it is another one.
fn silent(error: &RunError) -> Option<String> {
    let (RunError::Vault(ChipError::Tpm(error)) | RunError::Identity(KeyError::Tpm(error))) = error else {
        return None;
    };
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    (!error.is_foreign()).then(|| format!("{error}{cause}"))
}

async fn own(ground: &Ground<'_>, quota: u64, main: &mut Option<Main>) -> Result<Voice, RunError> {
    let vault = match main {
        Some(main) => main.vault.clone(),
        None => open_vault(ground).await?,
    };
    let identity = ground.folder.clone().sealed_by(&vault).load()?;
    let outbox = if let Some(main) = main {
        main.outbox.clone()
    } else {
        tracing::info!(vault.kind = ?vault.kind(), "what lies here is {}", vault.kind().words());
        let outbox = open_outbox(ground.data, &vault, quota, ground.clock).await?;
        main.insert(Main {
            vault: vault.clone(),
            outbox,
        })
        .outbox
        .clone()
    };
    ensure_usable(&identity.key).await?;
    let facts = match identity.key.chip() {
        Some(_) => KeyFacts {
            place: KeyPlace::Tpm,
            sealed: Sealing::Tpm,
        },
        None => KeyFacts {
            place: KeyPlace::File,
            sealed: vault.kind().into(),
        },
    };
    let status = KeyStatus {
        facts,
        why: None,
        locked_in: 0,
    };
    Ok(Voice {
        identity,
        outbox,
        status,
    })
}

async fn open_vault(ground: &Ground<'_>) -> Result<Vault, RunError> {
    let opening = vault::chip::at(ground.data, ground.folder.tpm());
    let opened = timeout(PATIENCE, opening).await;
    opened.unwrap_or(Err(TpmError::Silent.into())).map_err(foreign)
}

/// A key that is in another TPM is said now, not at each connect.
async fn ensure_usable(key: &DeviceKey) -> Result<(), RunError> {
    match answers(key).await {
        Ok(()) => Ok(()),
        Err(error) if error.is_foreign() => Err(RunError::OtherTpm(error)),
        Err(error) => Err(RunError::Identity(error.into())),
    }
}

/// Whether the key can be used now; one in a file always can.
async fn answers(key: &DeviceKey) -> Result<(), TpmError> {
    match key.chip() {
        None => Ok(()),
        Some(chip) => timeout(PATIENCE, chip.check())
            .await
            .unwrap_or(Err(TpmError::Silent)),
    }
}

async fn by_spare(
    ground: &Ground<'_>,
    quota: u64,
    main: Option<&Main>,
    why: String,
) -> Result<Voice, RunError> {
    let vault = spare::vault(ground.data).map_err(ChipError::from)?;
    let identity = ground.folder.load_spare(&vault)?;
    let (outbox, locked_in) = if let Some(main) = main {
        (main.outbox.clone(), 0)
    } else {
        let beside = open_outbox(&spare::folder(ground.data), &vault, quota, ground.clock).await?;
        (beside, waiting(&ground.data.join("outbox.db")).unwrap_or(0))
    };
    tracing::error!(
        outbox.locked_in = locked_in,
        "this box's TPM cannot be used ({why}): it speaks with its spare key, at the lowest grade. {locked_in} records \
         wait in an outbox that only the TPM opens. Have the TPM looked at"
    );
    if spare::in_use_since(ground.data).is_none()
        && let Err(error) = say(ground, &outbox, true).await
    {
        tracing::error!(
            "it is not kept that this box speaks with its spare key: {}",
            chain(&error)
        );
    }
    let status = KeyStatus {
        facts: KeyFacts {
            place: KeyPlace::Spare,
            sealed: vault.kind().into(),
        },
        why: Some(why),
        locked_in,
    };
    Ok(Voice {
        identity,
        outbox,
        status,
    })
}

fn alarm(active: bool, clock: &Clock) -> Item {
    Item::Alarm(Alarm {
        condition: Condition::TpmSilent,
        sensor: None,
        active,
        at: clock.now(),
    })
}

/// Says, and keeps, that the spare key is in use, or that it is not any more.
async fn say(ground: &Ground<'_>, outbox: &Outbox, spare: bool) -> Result<(), RunError> {
    let now = ground.clock.now();
    outbox.push(vec![alarm(spare, ground.clock)], now).await?;
    Ok(spare::mark(ground.data, spare.then_some(now.ms))?)
}

/// The box speaks with its own key: what was kept beside the main outbox meanwhile goes into it. A box that cannot do
/// that is healthy all the same: it goes on, and tries again at its next start.
async fn come_back(ground: &Ground<'_>, quota: u64, sensors: &[SensorId], to: &Outbox) {
    let file = spare::folder(ground.data).join("outbox.db");
    if file.exists()
        && let Err(error) = bring_over(ground, quota, sensors, to, &file).await
    {
        tracing::error!(
            "what was kept while the spare key was in use stays in {} until the next start: {}",
            file.display(),
            chain(&error)
        );
    }
    if spare::in_use_since(ground.data).is_some() {
        match say(ground, to, false).await {
            Ok(()) => tracing::info!("this box's TPM answers again, and it speaks with its own key"),
            Err(error) => tracing::error!("it is not kept that the TPM answers again: {}", chain(&error)),
        }
    }
}

async fn bring_over(
    ground: &Ground<'_>,
    quota: u64,
    sensors: &[SensorId],
    to: &Outbox,
    file: &Path,
) -> Result<(), RunError> {
    let vault = spare::vault(ground.data).map_err(ChipError::from)?;
    let from = open_outbox(&spare::folder(ground.data), &vault, quota, ground.clock).await?;
    let carried = carry(&from, to, sensors, ground.clock.now()).await;
    from.close().await;
    let (moved, lost) = carried?;
    remove(file);
    tracing::info!(
        outbox.items = moved,
        "{moved} records from the time of the spare key are in the outbox now; {lost} had to be given up then"
    );
    Ok(())
}

/// What is left is an empty outbox: no harm when it cannot be removed, it is found empty again.
fn remove(file: &Path) {
    for end in ["db", "db-wal", "db-shm", "reserve"] {
        let _stays = std::fs::remove_file(file.with_extension(end));
    }
}

/// Returns when the box should change the key that it speaks with: its TPM died, or came back. Never for a key in a file.
pub async fn changes(
    ground: &Ground<'_>,
    key: &DeviceKey,
    is_spare: bool,
    link: watch::Receiver<LinkStatus>,
) {
    if is_spare {
        comes_back(ground).await;
    } else if key.chip().is_some() && ground.folder.has_spare() {
        dies(key, link).await;
    } else {
        std::future::pending::<()>().await;
    }
}

async fn dies(key: &DeviceKey, mut link: watch::Receiver<LinkStatus>) {
    let mut pulse = Pulse::default();
    loop {
        let connected = link.borrow_and_update().connected_since.is_some();
        tokio::select! {
            () = sleep(pulse.pause(connected)) => {}
            // A link that went may have gone for want of a signature.
            Ok(()) = link.changed() => if link.borrow().connected_since.is_some() { continue },
        }
        match answers(key).await {
            Err(TpmError::Busy(_)) => {}
            Ok(()) => pulse.answered(),
            Err(error) => {
                tracing::warn!(error = %error, "this box's TPM does not answer");
                if pulse.failed() {
                    return;
                }
            }
        }
    }
}

async fn comes_back(ground: &Ground<'_>) {
    for tries in 0.. {
        sleep(pulse::pause_before(tries)).await;
        let Ok(identity) = ground.folder.load() else {
            continue;
        };
        if answers(&identity.key).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
