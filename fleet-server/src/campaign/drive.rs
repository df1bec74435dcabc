//! Shell: brings campaigns on: looks at what is so, and says the words that follow.
//!
//! # Design
//! A look reads, decides, and writes in one transaction what changed, together with the words that it led to; nothing is
//! written when nothing changed. What is remembered between looks is only a copy of rows: when the transaction fails, or
//! somebody else changed them, they are read again.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits between looks, and reads the repository"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::pushable::Pushable;
use homeward_protocol::signed::Signer;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::draft::way_back;
use super::kept::{Head, Kept, Name};
use super::signs::{Note, Signs, Way, needs_evidence};
use super::step::{Effect, Step};
use super::tell::LASTS;
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::direct::{self, Unassignable};
use crate::notify::Reach;
use crate::store::campaigns::{self, Read};
use crate::store::{Store, StoreError, Tx, attest, deadlines, updates};

/// How often it is looked, at most.
const LOOK: Duration = Duration::from_secs(1);

/// What words are made with: what is published, as boxes would believe it, and the key of this place's director.
#[derive(Clone)]
pub struct Means {
    /// What is published.
    pub client: Arc<Client>,
    /// Who signs.
    pub director: Arc<dyn Signer + Send + Sync>,
}

/// Reads them anew; else why there are none, for people.
pub type Find = Arc<dyn Fn(Timestamp) -> Result<Means, String> + Send + Sync>;

/// What it works with.
pub struct Drive {
    /// What is kept.
    pub store: Store,
    /// What happens.
    pub bus: Bus,
    /// What time it is.
    pub clock: Clock,
    /// Where the means for words come from.
    pub find: Find,
    /// Which ways lead to people.
    pub reach: Reach,
}

/// For so long a box may find that what it confirmed wears a sensor: a day, and some time to say so.
const FINDS: Duration = Duration::from_hours(30);

/// Between two looks, beyond the rest that was meant: from here on nobody looked, for the server stood still, or its clock jumped.
const GAP_MS: i64 = 60_000;

/// After a word could not be made, the repository is looked at again after so long, milliseconds.
const AGAIN_MS: i64 = 30_000;

/// What is remembered between looks: copies of rows, and when words could not be made.
struct Memory {
    /// How long it rests between looks.
    rest: Duration,
    /// When it last looked, and since when without a gap.
    looked: Option<Timestamp>,
    awake: Timestamp,
    read: HashMap<Name, Read>,
    failed: HashMap<Name, Timestamp>,
    trouble: HashMap<Name, Trouble>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            rest: LOOK,
            looked: None,
            awake: Timestamp::synced(i64::MIN),
            read: HashMap::new(),
            failed: HashMap::new(),
            trouble: HashMap::new(),
        }
    }
}

impl Memory {
    /// Looks again at `now`: what passed without a look, after a start, a stand-still or a jump of the clock, is nobody's silence.
    fn wake(&mut self, now: Timestamp) {
        let rest = i64::try_from(self.rest.as_millis()).unwrap_or(i64::MAX);
        let most = rest.saturating_add(GAP_MS);
        let gap = |looked: Timestamp| now.ms.saturating_sub(looked.ms) > most || looked.ms > now.ms;
        if self.looked.is_none_or(gap) {
            self.awake = now;
        }
    }
}

/// What keeps words from being said: what, since when, and whether people were told.
struct Trouble {
    why: String,
    since: Timestamp,
    told: bool,
}

impl Drive {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(memory.rest) => {}
            }
            let begun = tokio::time::Instant::now();
            match self.look(&mut memory).await {
                Ok(changed) => changed
                    .into_iter()
                    .map(Event::Changed)
                    .for_each(|event| self.bus.publish(event)),
                Err(failed) => warn!("campaigns could not be brought on: {failed}"),
            }
            // A large fleet is looked at less often: it costs a tenth of one core at most.
            memory.rest = LOOK.max(begun.elapsed() * 9);
        }
    }

    /// Looks once; gives the homes whose rows changed.
    async fn look(&self, memory: &mut Memory) -> Result<Vec<GatewayId>, StoreError> {
        memory.wake(self.clock.now());
        let live = self.store.read(campaigns::live).await?;
        let is_same =
            |name: &Name, revision: i64| live.iter().any(|(one, at)| one == name && *at == revision);
        memory.read.retain(|name, read| is_same(name, read.revision));
        let mut changed = Vec::new();
        for (name, _) in live {
            // What is wrong with one keeps no other one waiting.
            match self.turn(memory, &name).await {
                Ok(homes) => changed.extend(homes),
                Err(failed) => {
                    warn!(campaign.name = %name, "campaign {name} could not be brought on: {failed}");
                }
            }
        }
        memory.looked = Some(self.clock.now());
        Ok(changed)
    }

    async fn turn(&self, memory: &mut Memory, name: &Name) -> Result<Vec<GatewayId>, StoreError> {
        let read = if let Some(read) = memory.read.remove(name) {
            read
        } else {
            let which = name.clone();
            let read = self.store.read(move |tx| campaigns::get(tx, &which)).await?;
            let Some(read) = read else { return Ok(Vec::new()) };
            read
        };
        let now = self.clock.now();
        let failed = memory.failed.get(name);
        let rests = failed.is_some_and(|at| at.ms <= now.ms && now.ms - at.ms < AGAIN_MS);
        let (read, homes) = self.bring_on(read, (rests, memory.awake), now).await?;
        self.last(memory, &read.kept.head, now).await?;
        if read.kept.head.trouble.is_none() {
            memory.failed.remove(name);
        } else if !rests {
            memory.failed.insert(name.clone(), now);
        }
        memory.read.insert(name.clone(), read);
        Ok(homes)
    }

    /// Trouble that lasts is told to people, once.
    async fn last(&self, memory: &mut Memory, head: &Head, now: Timestamp) -> Result<(), StoreError> {
        let before = memory.trouble.remove(&head.name);
        let same = |before: &Trouble| head.trouble.as_ref() == Some(&before.why);
        if let Some(over) = before.as_ref().filter(|before| before.told && !same(before)) {
            let (head, why) = (head.clone(), over.why.clone());
            let settle = self
                .store
                .write(move |tx| campaigns::out_of_trouble(tx, (&head, &why), now));
            settle.await?;
        }
        let Some(why) = head.trouble.clone() else {
            return Ok(());
        };
        let (since, mut told) = before
            .filter(same)
            .map_or((now, false), |before| (before.since, before.told));
        if !told && since.age(now) >= LASTS {
            let (head, reach, why) = (head.clone(), self.reach.clone(), why.clone());
            let tell = self
                .store
                .write(move |tx| campaigns::in_trouble(tx, (&head, &why), &reach, now));
            tell.await?;
            told = true;
        }
        memory
            .trouble
            .insert(head.name.clone(), Trouble { why, since, told });
        Ok(())
    }

    /// `rests`: words could not be made a moment ago, and it is not tried again yet. `awake`: nobody looked before.
    async fn bring_on(
        &self,
        mut read: Read,
        (rests, awake): (bool, Timestamp),
        now: Timestamp,
    ) -> Result<(Read, Vec<GatewayId>), StoreError> {
        let (name, rules) = (read.kept.head.name.clone(), *read.kept.core().rules());
        let before = |span: Duration| now.plus_ms(-i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        // One that falls silent at the end of its soak is found to be after the time that an act may take.
        let soak = rules.soak + rules.act_within;
        let (watched, lately, silent) = (before(soak.max(FINDS)), before(soak), before(rules.act_within));
        let which = name.clone();
        let mut signs = self
            .store
            .read(move |tx| campaigns::signs::of(tx, &which, watched))
            .await?;
        for signs in signs.values_mut() {
            signs.awake = Some(awake);
        }
        read.kept.awake(awake);
        if read.kept.has_silent(&signs) {
            let around = self
                .store
                .read(move |tx| campaigns::signs::around(tx, &name, (lately, silent)));
            read.kept.sees(around.await?);
        }
        read.kept.look(&signs, now);
        let due = read.kept.due(&signs, now);
        let means = if due.is_empty() || rests {
            None
        } else {
            self.means(&mut read.kept, now).await
        };
        let words = means.map(|means| (means, due));
        let reach = self.reach.clone();
        if !read.kept.has_changed() && words.is_none() {
            return Ok((read, Vec::new()));
        }
        self.store
            .write(move |tx| keep(tx, read, words, (&signs, &reach), now))
            .await
    }

    /// What words are made with; what is in the way of that is kept, and said once.
    async fn means(&self, kept: &mut Kept, now: Timestamp) -> Option<Means> {
        let find = Arc::clone(&self.find);
        let found = tokio::task::spawn_blocking(move || find(now)).await;
        let found = found.unwrap_or_else(|_| Err("the published repository could not be read".into()));
        match found {
            Ok(means) => {
                kept.head.trouble = None;
                Some(means)
            }
            Err(why) => {
                if kept.head.trouble.as_ref() != Some(&why) {
                    warn!(campaign.name = %kept.head.name, "nobody can be told in campaign {}: {why}", kept.head.name);
                }
                kept.head.trouble = Some(why);
                None
            }
        }
    }
}

/// Words to say: what they are made with, to whom, and where they lead.
type Words = (Means, Vec<(GatewayId, Way)>);

/// Writes it down: the words, the rows, and what came of it.
fn keep(
    tx: &mut dyn Tx,
    mut read: Read,
    words: Option<Words>,
    (signs, reach): (&BTreeMap<GatewayId, Signs>, &Reach),
    now: Timestamp,
) -> Result<(Read, Vec<GatewayId>), StoreError> {
    if let Some((means, due)) = words {
        for (gateway, way) in due {
            if let Some(signs) = signs.get(&gateway) {
                say(tx, &mut read.kept, (&gateway, way, signs), &means, now)?;
            }
        }
    }
    wish_for_evidence(tx, &read.kept, signs, now)?;
    let changed = read.kept.changes();
    let changed = changed.into_iter().map(|(home, _)| home.gateway).collect();
    for effect in read.kept.news() {
        tell(&read.kept, effect);
    }
    campaigns::notify(tx, &read, reach, now)?;
    campaigns::save(tx, &mut read, now)?;
    Ok((read, changed))
}

/// Says one word.
fn say(
    tx: &mut dyn Tx,
    kept: &mut Kept,
    (gateway, way, signs): (&GatewayId, Way, &Signs),
    means: &Means,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (made, said) = match word(tx, kept, (gateway, way), means, now)? {
        Ok(made) => made,
        // It may be published in a while; who cannot go back needs a person now.
        Err(why) if way != Way::Back => {
            kept.head.trouble = Some(why);
            return Ok(());
        }
        Err(why) => {
            kept.cannot(gateway, why, now);
            return Ok(());
        }
    };
    if updates::assign(tx, &made)? {
        if let Some(each) = kept.head.each.as_ref().filter(|_| way == Way::On) {
            deadlines::put(tx, &made, &each.terms)?;
        }
        kept.told(gateway, (made.counter, said), signs, now);
    } else {
        kept.cannot(gateway, "its box is out of service".into(), now);
    }
    Ok(())
}

/// A word, and where it leads.
type Made = Result<(updates::Assigned, Way), String>;

fn word(
    tx: &mut dyn Tx,
    kept: &Kept,
    (gateway, way): (&GatewayId, Way),
    means: &Means,
    now: Timestamp,
) -> Result<Made, StoreError> {
    let (Some(note), Some(home)) = (kept.notes().get(gateway), kept.core().home(gateway)) else {
        return Ok(Err("it is no part of the campaign".into()));
    };
    let (released, said) = match target(kept, note, way, means) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let counter = updates::next(tx, gateway)?;
    let by = format!("campaign {}", kept.head.name);
    let by_when = kept.by(gateway, said, now);
    let begins = if said == Way::Keep { by_when } else { now };
    let times = (begins, by_when, home.wave.number());
    let made = direct::assign(gateway, &released, times, counter, (&*means.director, &by, now));
    Ok(made
        .map(|made| (made, said))
        .map_err(|why: Unassignable| why.to_string()))
}

/// What a word is to name, and where it leads then: to keep what runs, it names that where the way back is open, and else the
/// release itself, which is not to begin.
fn target(kept: &Kept, note: &Note, way: Way, means: &Means) -> Result<(Pushable, Way), String> {
    let (path, find) = (&note.target, |path: &str| {
        direct::released(&means.client, path).map_err(|why| why.to_string())
    });
    let known = || {
        let back = note.back.as_ref().and_then(|back| find(back).ok());
        back.filter(|back| back.custom().version == note.before)
    };
    match (way, known()) {
        (Way::Back | Way::Keep, Some(back)) => Ok((back, Way::Back)),
        (Way::On | Way::Keep, _) => {
            let to = find(path)?;
            let fixed = kept.head.targets.iter().find(|target| target.path == *path);
            if fixed.is_none_or(|fixed| fixed.sha256 != to.sha256()) {
                return Err(format!(
                    "the repository names another file as `{path}` than when this began"
                ));
            }
            Ok((to, way))
        }
        (Way::Back, None) => {
            let published = direct::published(&means.client);
            let from = published.iter().find(|release| release.path == *path);
            let from = from.ok_or_else(|| format!("`{path}` is published no more"))?;
            let back = way_back(&published, from, (None, None), note.before).map_err(|why| why.words())?;
            Ok((find(&back)?, Way::Back))
        }
    }
}

/// A box that says it is well, and was not judged since it began, is asked now and not at its next turn.
fn wish_for_evidence(
    tx: &mut dyn Tx,
    kept: &Kept,
    signs: &BTreeMap<GatewayId, Signs>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (home, note) in kept.changes() {
        let Some(signs) = signs.get(&home.gateway) else {
            continue;
        };
        let said = signs.said.as_ref().and_then(|said| said.state.ended.as_ref());
        let is_done = said.is_some_and(|ended| ended.counter == note.word.map(|(number, _)| number));
        if matches!(home.step, Step::Acting { .. }) && is_done && needs_evidence(note, signs) {
            attest::wish(tx, &home.gateway, now)?;
        }
    }
    Ok(())
}

fn tell(kept: &Kept, effect: &Effect) {
    let name = &kept.head.name;
    match effect {
        Effect::Opened(wave) => {
            info!(campaign.name = %name, "campaign {name}: the wave `{}` opens", wave.name());
        }
        Effect::Stopped(why) => warn!(campaign.name = %name, "campaign {name} stops: {why}"),
        Effect::Halted(why) => warn!(campaign.name = %name, "campaign {name} halts: {why}"),
        Effect::Done => info!(campaign.name = %name, "campaign {name} is over"),
        Effect::Assign(_) | Effect::TakeBack(_) | Effect::Keep(_) => {}
    }
}

#[cfg(test)]
mod tests;
