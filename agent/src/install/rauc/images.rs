//! Shell: whole images, by RAUC.
//!
//! | file | holds |
//! |---|---|
//! | `rauc/bundle.raucb` | the bundle that is staged, until it is confirmed or taken back |
//! | `rauc/record.json` | [`Record`] |
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, and waiting for a service"
)]

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::id::BootId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Can;
use homeward_protocol::release::{Installer as Kind, Version};
use homeward_protocol::time::ClockTrust;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::bus::{Fault, Place, Rauc};
use super::{Phase, Record, Seen, SlotName, TRIES};
use crate::clock::Clock;
use crate::disk::{put, replace};
use crate::install::{InstallError, Installer, Standing};
use crate::interlock::Window;
use crate::slot::file::digest_of;
use crate::update::saved::Job;

const FOLDER: &str = "rauc";
const BUNDLE: &str = "bundle.raucb";
const RECORD: &str = "record.json";
/// Longest record that is read, bytes.
const MAX_RECORD: u64 = 16 * 1024;
/// How often RAUC is asked at a start how the box stands, and the pause between: it may start beside the agent.
const ASKS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Images of one box.
pub struct Images {
    folder: PathBuf,
    bus: Place,
    clock: Arc<Clock>,
    boot: BootId,
    runtime: Handle,
    /// What ran when RAUC was last free to say so.
    ran: Mutex<Option<Version>>,
}

impl From<Fault> for InstallError {
    fn from(fault: Fault) -> InstallError {
        InstallError::Later(fault.to_string())
    }
}

/// Whether an image may be on trial in the boot `boot`: for who has to know before RAUC can be asked.
pub fn may_be_on_trial(data: &Path, boot: &BootId) -> bool {
    let record = load(&data.join(FOLDER)).ok().flatten();
    record
        .is_some_and(|record| matches!(record.phase, Phase::Begun | Phase::Installed) && record.boot != *boot)
}

fn load(folder: &Path) -> io::Result<Option<Record>> {
    let file = match fs::File::open(folder.join(RECORD)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

impl Images {
    /// Those of a box in its boot `boot`, kept below `data`, by the RAUC on `bus`. Calls to it wait on `runtime`: they
    /// are made on threads that may block, never on one that the runtime needs.
    pub fn new(data: &Path, bus: Place, (boot, clock): (BootId, Arc<Clock>), runtime: Handle) -> Images {
        Images {
            folder: data.join(FOLDER),
            bus,
            clock,
            boot,
            runtime,
            ran: Mutex::new(None),
        }
    }

    fn bundle(&self) -> PathBuf {
        self.folder.join(BUNDLE)
    }

    /// One that cannot be read counts as none: RAUC still says what the slots hold, and a trial that nobody knows of is
    /// ended by nobody.
    fn record(&self) -> Option<Record> {
        load(&self.folder).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the record of the newest image cannot be read: it counts as none");
            None
        })
    }

    fn save(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        replace(&self.folder.join(RECORD), &serde_json::to_vec(record)?)
    }

    /// The bundle is of no more use.
    fn clear(&self) {
        if let Err(error) = fs::remove_file(self.bundle())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, "a bundle that is of no more use stays on the disk");
        }
    }

    fn path(path: &Path) -> Result<&str, InstallError> {
        let said = || InstallError::Later("the data folder has a name that RAUC cannot be told".to_owned());
        path.to_str().ok_or_else(said)
    }

    /// RAUC, with nothing to do, and what it says of its slots.
    async fn look(&self) -> Result<(Rauc, Seen), Fault> {
        let rauc = self.bus.rauc().await?;
        rauc.idle().await?;
        let seen = rauc.seen().await?;
        Ok((rauc, seen))
    }

    async fn can(&self) -> Result<Version, Fault> {
        let (rauc, seen) = self.look().await?;
        if rauc.compatible().await?.is_empty() {
            return Err(Fault::Said(ShortText::cut("RAUC does not say what this box is")));
        }
        let may = self.bus.can_reboot().await;
        let may = may.unwrap_or_else(|fault| fault.to_string());
        if may != "yes" {
            let why = format!("logind does not let the agent reboot the box: {may}");
            return Err(Fault::Said(ShortText::cut(&why)));
        }
        Ok(seen.runs())
    }

    /// Whether RAUC takes the bundle at `path`, and it is what its release says.
    async fn inspect(&self, job: &Job, path: &str) -> Result<(), InstallError> {
        let refused = |why: String| Err(InstallError::Refused(why));
        let rauc = self.bus.rauc().await?;
        rauc.idle().await?;
        let own = rauc.compatible().await?;
        let (compatible, version) = match rauc.info(path).await {
            Ok(said) => said,
            Err(Fault::Said(why)) => {
                // It says no more of it than that: one that began to work meanwhile fails in the same way.
                rauc.idle().await?;
                let why = format!(
                    "RAUC does not take the bundle, by its signature or its form: {}",
                    why.as_str()
                );
                // Certificates are judged by the system's clock, which is known to be wrong here.
                if self.clock.now().trust == ClockTrust::Floor {
                    return Err(InstallError::Later(format!(
                        "{why}; the clock is wrong, which may be why"
                    )));
                }
                return refused(why);
            }
            Err(fault) => return Err(fault.into()),
        };
        if compatible != own {
            let (bundle, own) = (ShortText::cut(&compatible), ShortText::cut(&own));
            return refused(format!(
                "the bundle is for `{}`, and this box is `{}`",
                bundle.as_str(),
                own.as_str()
            ));
        }
        if version != job.custom.version.to_string() {
            let said = ShortText::cut(&version);
            return refused(format!(
                "the bundle calls itself version `{}`, and its release {}",
                said.as_str(),
                job.custom.version
            ));
        }
        Ok(())
    }

    async fn put(&self, job: &Job, window: &Window) -> Result<(), InstallError> {
        let (rauc, seen) = self.look().await?;
        let own = self.record().filter(|record| record.counter == job.counter);
        if let Some(record) = &own {
            match record.standing(Some(job.counter), &seen, &self.boot) {
                // It was written to its end while nobody could see it.
                Standing::Leaving | Standing::OnTrial | Standing::Confirmed => {
                    return self.installed(record.clone(), &seen);
                }
                Standing::Over(_) => {
                    let why = "the boot loader went back from it, or it was taken back";
                    return Err(InstallError::Refused(why.to_owned()));
                }
                Standing::Nothing | Standing::Unwanted(_) | Standing::Unfinished(_) => {}
            }
        }
        if seen.primary != seen.booted {
            let why = format!(
                "slot {} is to start next, which nobody asked for here: an image was put there by hand",
                seen.primary
            );
            return Err(InstallError::Later(why));
        }
        let record = Record {
            counter: job.counter,
            version: job.custom.version,
            from: seen.booted,
            to: None,
            boot: self.boot.clone(),
            phase: Phase::Begun,
            tries: own.map_or(0, |record| record.tries).saturating_add(1),
            reboots: 0,
        };
        self.save(&record)?;
        tracing::info!(
            "RAUC writes version {} beside slot {}",
            record.version,
            record.from
        );
        let bundle = self.bundle();
        let work = match rauc.begin(Self::path(&bundle)?).await {
            Ok(work) => work,
            Err(fault) => {
                // It was not tried.
                let tries = record.tries.saturating_sub(1);
                self.save(&Record { tries, ..record })?;
                return Err(fault.into());
            }
        };
        match work.end(window.until().since(self.clock.uptime())).await {
            Ok(()) => self.written(record, &rauc).await,
            Err(Fault::Time(_)) => Err(InstallError::Later(
                "RAUC writes for longer than the home may be disturbed; it is looked at again when it has ended"
                    .to_owned(),
            )),
            Err(fault) => Err(self.failed(&record, &fault).await),
        }
    }

    /// RAUC says that it went well. Who configured it may have left it to others what starts next.
    async fn written(&self, record: Record, rauc: &Rauc) -> Result<(), InstallError> {
        let mut seen = rauc.seen().await?;
        if seen.primary == seen.booted {
            let there = |name: &&SlotName| seen.holds(name, record.version);
            let target = seen.others().find(there).cloned();
            if let Some(target) = target {
                rauc.mark("active", &target).await?;
                seen = rauc.seen().await?;
            }
        }
        if seen.is_in_place(record.version) {
            return self.installed(record, &seen);
        }
        self.keep_old(&record).await;
        Err(InstallError::Refused(format!(
            "RAUC does not say that version {} is in the slot that starts next: the bundle does not write that slot, or \
             RAUC keeps no status of it (`statusfile=`)",
            record.version
        )))
    }

    fn installed(&self, record: Record, seen: &Seen) -> Result<(), InstallError> {
        let to = if seen.primary == record.from {
            seen.booted.clone()
        } else {
            seen.primary.clone()
        };
        tracing::info!("version {} is in slot {to}, which starts next", record.version);
        Ok(self.save(&Record {
            to: Some(to),
            phase: Phase::Installed,
            ..record
        })?)
    }

    /// Flash wears: an image that RAUC could not write is not tried for ever.
    async fn failed(&self, record: &Record, fault: &Fault) -> InstallError {
        self.keep_old(record).await;
        let why = format!("RAUC did not put it in place: {fault}");
        if record.tries >= TRIES {
            InstallError::Refused(format!("{why}; it was tried {TRIES} times"))
        } else {
            InstallError::Later(why)
        }
    }

    /// Sees to it that what ran when an image was begun starts next. Where that fails the slot that starts next is whole,
    /// as RAUC takes another only at the end; it is found at the next start.
    async fn keep_old(&self, record: &Record) {
        let kept = async {
            let (rauc, seen) = self.look().await?;
            if seen.primary != record.from {
                rauc.mark("active", &record.from).await?;
            }
            Ok::<(), Fault>(())
        };
        if let Err(fault) = kept.await {
            tracing::warn!(error = %fault, "it could not be seen which slot starts next");
        }
    }

    /// How the box stands, asked for a while: RAUC may start beside the agent.
    async fn found(&self, record: &Record, wanted: Option<u64>) -> Result<Standing, Fault> {
        let mut asks = 1;
        loop {
            match self.look().await {
                Ok((_, seen)) => return Ok(record.standing(wanted, &seen, &self.boot)),
                Err(fault) if asks >= ASKS => return Err(fault),
                Err(_) => {}
            }
            asks += 1;
            sleep(PAUSE).await;
        }
    }

    async fn stay(&self, record: Record) -> Result<(), InstallError> {
        let (rauc, seen) = self.look().await?;
        if !record.runs(&seen) {
            return Err(InstallError::Refused(format!(
                "the box runs from slot {}, where nothing is on trial",
                seen.booted
            )));
        }
        rauc.mark("good", &seen.booted).await?;
        if seen.primary != seen.booted {
            rauc.mark("active", &seen.booted).await?;
        }
        self.save(&Record {
            to: Some(seen.booted),
            phase: Phase::Confirmed,
            ..record
        })?;
        self.clear();
        Ok(())
    }

    async fn go_back(&self, record: Record) -> Result<(), InstallError> {
        let (rauc, seen) = self.look().await?;
        let tried = record.to.clone().or_else(|| {
            let other = [&seen.booted, &seen.primary]
                .into_iter()
                .find(|name| **name != record.from);
            other.cloned()
        });
        rauc.mark("active", &record.from).await?;
        if let Some(tried) = &tried {
            rauc.mark("bad", tried).await?;
        }
        self.save(&Record {
            to: tried,
            boot: self.boot.clone(),
            phase: Phase::TakenBack,
            ..record
        })?;
        self.clear();
        Ok(())
    }
}

impl Installer for Images {
    fn kind(&self) -> Kind {
        Kind::Rauc
    }

    fn probe(&self) -> Can {
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.runtime.block_on(self.can()), *ran) {
            (Ok(runs), _) => {
                *ran = Some(runs);
                Can::Yes(runs)
            }
            // What it can do does not change while it works.
            (Err(Fault::Busy(_)), Some(ran)) => Can::Yes(ran),
            (Err(fault), _) => Can::No(ShortText::cut(&fault.to_string())),
        }
    }

    fn is_staged(&self, job: &Job) -> Result<bool, InstallError> {
        match digest_of(&self.bundle()) {
            Ok(found) => Ok(found == job.sha256),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn stage(&self, job: &Job, from: &Path) -> Result<(), InstallError> {
        // RAUC takes a bundle for root alone, so that nobody changes it while it reads; we still read it then.
        if let Err(error) = fs::set_permissions(from, fs::Permissions::from_mode(0o644))
            && fs::metadata(from)?.permissions().mode() & 0o444 != 0o444
        {
            return Err(error.into());
        }
        fs::File::open(from)?.sync_all()?;
        self.runtime.block_on(self.inspect(job, Self::path(from)?))?;
        fs::create_dir_all(&self.folder)?;
        Ok(put(from, &self.bundle())?)
    }

    fn activate(&self, job: &Job, window: Window) -> Result<(), InstallError> {
        if !self.is_staged(job)? {
            let why = "the bundle is not the one any more that was staged";
            return Err(InstallError::Refused(why.to_owned()));
        }
        if self.clock.uptime() >= window.until() {
            return Err(InstallError::Later("the disk took too long".to_owned()));
        }
        self.runtime.block_on(self.put(job, &window))
    }

    fn reboot(&self, window: Window) -> Result<(), InstallError> {
        if self.clock.uptime() >= window.until() {
            return Err(InstallError::Later("it was too late".to_owned()));
        }
        if let Some(record) = self.record().filter(|record| record.phase == Phase::Installed) {
            let reboots = record.reboots.saturating_add(1);
            self.save(&Record { reboots, ..record })?;
        }
        Ok(self.runtime.block_on(self.bus.reboot())?)
    }

    fn standing(&self, wanted: Option<&Job>) -> Standing {
        let own = wanted.filter(|job| job.custom.installer == Kind::Rauc);
        let wanted = own.map(|job| job.counter);
        let Some(record) = self.record() else {
            return Standing::Nothing;
        };
        let mine = wanted == Some(record.counter);
        if record.phase == Phase::Confirmed && !mine {
            return Standing::Nothing;
        }
        match self.runtime.block_on(self.found(&record, wanted)) {
            Ok(standing) => standing,
            Err(fault) => {
                tracing::error!(error = %fault, "it is not known which image runs");
                let why = format!("it is not known which image runs: {fault}");
                if mine {
                    Standing::Unfinished(ShortText::cut(&why))
                } else {
                    Standing::Nothing
                }
            }
        }
    }

    fn confirm(&self) -> Result<(), InstallError> {
        let Some(record) = self.record() else {
            return Err(InstallError::Refused("there is no record of an image".to_owned()));
        };
        self.runtime.block_on(self.stay(record))
    }

    fn roll_back(&self) -> Result<(), InstallError> {
        let Some(record) = self.record() else {
            return Ok(());
        };
        if record.phase == Phase::Confirmed {
            return Err(InstallError::Refused("the newest image was confirmed".to_owned()));
        }
        self.runtime.block_on(self.go_back(record))
    }
}
