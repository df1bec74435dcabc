//! Shell: lets the interlock follow the home, and tells how it stands.
//!
//! # Design
//! Signs come over a queue that drops when it is full: a sensor that is not heard becomes unknown, which is busy, and
//! no reading ever waits for the interlock.
#![expect(clippy::disallowed_methods, reason = "shell: waits, and a file of the kernel")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::release::state::Met;
use homeward_protocol::time::{ClockTrust, Uptime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::activity::Activities;
use super::hold::HoldId;
use super::{Effect, Interlock, Power, Quiet, Wish, file};
use crate::clock::Clock;
use crate::policy::habits::Now;
use crate::sense::Sign;
use crate::status::LinkStatus;

/// How often the holds and the power are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is told how it stands when nothing changes.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Follows one home.
pub struct Follow {
    /// The data folder.
    pub data: PathBuf,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The sensors.
    pub activities: Activities,
    /// What the policy wants.
    pub habits: Now,
    /// What comes from them.
    pub signs: mpsc::Receiver<(SensorId, Sign)>,
    /// What else it hears and tells.
    pub ties: Ties,
}

/// What it shares with the rest of the agent.
pub struct Ties {
    /// How long nothing disturbs after an alarm, and after the start.
    pub quiet: Duration,
    /// Who would disturb the home.
    pub wishes: mpsc::Receiver<Wish>,
    /// The state of the link.
    pub link: watch::Receiver<LinkStatus>,
    /// The newest use that an act met.
    pub met: watch::Sender<Option<Met>>,
}

impl Follow {
    /// Runs until `stop`. Then nobody knows any more.
    pub async fn run(mut self, stop: CancellationToken) {
        self.follow(stop).await;
        file::silent(&self.data);
    }

    async fn follow(&mut self, stop: CancellationToken) {
        let mut interlock = Interlock::new(self.activities.watched(), self.ties.quiet, self.clock.uptime());
        self.habits.mark_changed();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told: Option<(Quiet, Uptime)> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                sign = self.signs.recv() => match sign {
                    Some((sensor, sign)) => self.hear(&mut interlock, &sensor, &sign),
                    None => return,
                },
                Ok(()) = self.habits.changed() => {
                    self.activities.follow(&self.habits.borrow_and_update());
                    interlock.watch(self.activities.watched(), self.clock.uptime());
                    self.look(&mut interlock);
                }
                Some(wish) = self.ties.wishes.recv() => self.grant(&mut interlock, wish),
                _ = tick.tick() => self.look(&mut interlock),
            }
            self.tell(&interlock, &mut told);
        }
    }

    fn hear(&mut self, interlock: &mut Interlock, sensor: &SensorId, sign: &Sign) {
        let now = self.clock.uptime();
        if sign.alarm == Some(true) {
            interlock.alarm(now);
        }
        if let Some((activity, asked)) = self.activities.hear(sensor, sign, now) {
            for effect in interlock.say(sensor, activity, asked, now) {
                if let Effect::Met(sensor) = effect {
                    warn!(sensor.id = %sensor, "{sensor} is being used, and a change was being made right then");
                    let at = self.clock.now();
                    self.ties.met.send_replace(Some(Met { sensor, at }));
                }
            }
        }
    }

    /// All signs that came before are heard first: none of them may speak of something that has begun.
    fn grant(&mut self, interlock: &mut Interlock, wish: Wish) {
        while let Ok((sensor, sign)) = self.signs.try_recv() {
            self.hear(interlock, &sensor, &sign);
        }
        self.look(interlock);
        let now = self.clock.uptime();
        match wish {
            Wish::Begin(act, force, answer) => {
                let begun = interlock.begin_by(act, force.as_deref(), now);
                // Nobody waits for it any more: nothing is done.
                if let Err(Ok(_)) = answer.send(begun) {
                    interlock.ended();
                }
            }
            Wish::Over => interlock.ended(),
        }
    }

    fn look(&self, interlock: &mut Interlock) {
        let (at, now) = (self.clock.now(), self.clock.uptime());
        interlock.link(self.ties.link.borrow().dialed, now);
        interlock.power(power(Path::new("/sys/class/power_supply")), now);
        interlock.windows(self.habits.borrow().maintenance.as_ref(), at, now);
        match file::all(&self.data, at) {
            Ok(holds) => {
                interlock.hold(&holds, at, now);
                if at.trust == ClockTrust::Synced {
                    // Only what both clocks say is over: one that jumps ahead ends no hold.
                    let over = |id: &&HoldId| holds.get(*id).is_some_and(|hold| hold.until.ms <= at.ms);
                    for id in interlock.over(now).filter(over) {
                        file::swept(&self.data, id);
                    }
                }
            }
            Err(error) => {
                warn!(error = %error, "holds could not be read: {error}");
                interlock.holds_unread(now);
            }
        }
    }

    fn tell(&self, interlock: &Interlock, told: &mut Option<(Quiet, Uptime)>) {
        let (at, now) = (self.clock.now(), self.clock.uptime());
        let quiet = Quiet::of(interlock, at, now);
        let same = |(before, when): &(Quiet, Uptime)| before.says_as(&quiet) && now.since(*when) < TELL_EVERY;
        if told.as_ref().is_some_and(same) {
            return;
        }
        if told
            .as_ref()
            .is_some_and(|(before, _)| before.may() != quiet.may())
        {
            info!(
                "the home {} be disturbed",
                if quiet.may() { "may" } else { "may not" }
            );
        }
        if let Err(error) = file::tell(&self.data, &quiet) {
            warn!(error = %error, "could not say whether the home may be disturbed");
        }
        *told = Some((quiet, now));
    }
}

/// Where the box's power comes from: from its battery when it has one, and says that nothing feeds it. Source: Linux,
/// Documentation/ABI/testing/sysfs-class-power.
fn power(supplies: &Path) -> Power {
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    let (mut battery, mut mains) = (false, None);
    for supply in fs::read_dir(supplies).into_iter().flatten().flatten() {
        let path = supply.path();
        match read(&path, "type").trim() {
            "Battery" | "UPS" => battery |= read(&path, "present").trim() != "0",
            "Mains" | "USB" | "Wireless" => {
                mains = Some(mains.unwrap_or(false) || read(&path, "online").trim() == "1");
            }
            _ => {}
        }
    }
    if battery && mains == Some(false) {
        Power::Battery
    } else {
        Power::Mains
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(folder: &Path, name: &str, kind: &str, online: &str) {
        let path = folder.join(name);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("type"), format!("{kind}\n")).expect("written");
        fs::write(path.join("online"), format!("{online}\n")).expect("written");
    }

    #[test]
    fn a_box_runs_from_its_battery_when_no_mains_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(power(&dir.path().join("none")), Power::Mains);
        supply(dir.path(), "ucsi-source-psy-1", "USB", "0");
        assert_eq!(power(dir.path()), Power::Mains, "an empty socket, and no battery");
        supply(dir.path(), "BAT0", "Battery", "1");
        assert_eq!(power(dir.path()), Power::Battery);
        supply(dir.path(), "usb", "USB", "1");
        assert_eq!(power(dir.path()), Power::Mains);
    }
}
