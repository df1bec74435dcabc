//! Campaigns as text: a script goes in, and what an operator would have seen comes out.
//!
//! ```text
//! home gw-1 low [lab|own]     a home, connected, that runs 1.3.0 and has a sensor that is heard
//! published 1.3.0 [floor F | packages]   a release that lies in the repository
//! withdrawn 1.4.0             it does not lie there any more
//! plan NAME 1.4.0 [key=N …]   what would be done; start the same, and begins it
//! gw-1 fetches|waits WHY|acts|confirms|bad WHY|not-proven WHY|refuses WHY|stays WHY|goes|comes|silences|judged STATUS|depends HOW
//! gw-1 directed VERSION       by hand, with a word of its own
//! gw-1 holds|acts-by WORD     it names its newest word, which is not to begin; it acts by an older one
//! around HOMES DARK           homes without the release, and how many of them are not heard any more
//! pass MINUTES · halt WHY · resume WHY · abort WHY · open GATEWAY BY · board · restart
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::{Ended, Outcome, Progress, UpdateMark, UpdateState};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use homeward_protocol::time::Timestamp;

use crate::attest::Status;
use crate::campaign::around::Around;
use crate::campaign::board::{self, Board, Seen};
use crate::campaign::draft::{Draft, Home, Release, Wish};
use crate::campaign::kept::{Head, Kept, Order};
use crate::campaign::plan::Ring;
use crate::campaign::signs::{Heard, Note, Said, Signs, Way};
use crate::campaign::step::Effect;
use crate::campaign::{Saved, SavedHome};
use crate::care::Dependency;
use crate::direct::never;
use crate::store::updates::Assigned;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
const MINUTE: i64 = 60_000;

/// One box as the server sees it.
struct Box {
    home: Home,
    signs: Signs,
    /// Whether its sensor gives readings.
    speaks: bool,
    assigned: Option<Assigned>,
}

impl Box {
    /// What comes of it now is stored.
    fn hear(&mut self, now: Timestamp) {
        if self.signs.connected {
            self.signs.heard = Some(now);
            if self.speaks {
                self.signs.sensors[0].last = Some(now);
            }
        }
    }
}

/// What is played, and what was seen of it.
pub(super) struct Show {
    now: Timestamp,
    boxes: BTreeMap<GatewayId, Box>,
    published: Vec<Release>,
    kept: Option<Kept>,
    /// What a crash leaves.
    rows: Option<Rows>,
    counter: u64,
    around: Around,
    /// Each look is thrown away once before it is kept, and everything is read from rows each time.
    crashes: bool,
    seen: String,
}

type Rows = (Head, Saved, BTreeMap<GatewayId, (SavedHome, Note)>);

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

impl Show {
    pub(super) fn new(crashes: bool) -> Show {
        Show {
            now: NOW,
            boxes: BTreeMap::new(),
            published: Vec::new(),
            kept: None,
            rows: None,
            counter: 0,
            around: Around::default(),
            crashes,
            seen: String::new(),
        }
    }

    /// Plays a script; gives the transcript.
    pub(super) fn play(mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                let _ = writeln!(self.seen, "{line}");
                continue;
            }
            self.line(line);
        }
        self.seen
    }

    pub(super) fn line(&mut self, line: &str) {
        let minutes = (self.now.ms - NOW.ms) / MINUTE;
        let _ = writeln!(self.seen, "\n{:>3}:{:02} > {line}", minutes / 60, minutes % 60);
        let words: Vec<&str> = line.split(' ').collect();
        let rest = |n: usize| words.get(n..).unwrap_or_default().join(" ");
        match words[0] {
            "home" => self.home(words[1], &words[2..]),
            "published" => self.publish(words[1], &words[2..]),
            "withdrawn" => self
                .published
                .retain(|release| release.custom.version != version(words[1])),
            "plan" => {
                let draft = self.draft(&words[1..]);
                self.show_plan(&draft);
            }
            "start" => {
                let draft = self.draft(&words[1..]);
                self.start(&draft);
            }
            "around" => {
                let number = |n: usize| words[n].parse().expect("a number");
                self.around = Around {
                    homes: number(1),
                    dark: number(2),
                };
            }
            "pass" => self.pass(words[1].parse().expect("minutes")),
            "halt" => self.order(&Order::Halt, &rest(1), "olivia"),
            "resume" => self.order(&Order::Resume, &rest(1), "olivia"),
            "abort" => self.order(&Order::Abort, &rest(1), "olivia"),
            "open" => {
                let order = Order::Open(words[1].parse().expect("an id"));
                self.order(&order, "she is with him", &rest(2));
            }
            "board" => self.show_board(),
            "restart" => self.restart(),
            gateway if words[1] == "directed" => self.direct(gateway, words[2]),
            gateway => self.says(gateway, words[1], &rest(2)),
        }
        self.settle();
    }

    fn home(&mut self, id: &str, words: &[&str]) {
        let gateway: GatewayId = id.parse().expect("an id");
        let dependency = words.first().and_then(|word| word.parse().ok());
        let home = Home {
            gateway: gateway.clone(),
            ring: match words.get(1) {
                Some(&"lab") => Ring::Lab,
                Some(&"own") => Ring::Own,
                _ => Ring::Patient,
            },
            dependency,
            hardware: Some("x86_64".into()),
            runs: Some(version("1.3.0")),
            build: None,
            installers: Vec::new(),
        };
        let state = UpdateState {
            runs: version("1.3.0"),
            packaged: false,
            build: None,
            installers: Vec::new(),
            undecided: None,
            met: None,
            quiet: None,
            beside: Vec::new(),
            forces: Vec::new(),
            now: None,
            ended: None,
            taken_at: self.now,
        };
        let signs = Signs {
            in_service: true,
            connected: true,
            heard: Some(self.now),
            depended_on: dependency == Some(Dependency::High),
            word: None,
            said: Some(Said { state, at: self.now }),
            judged: None,
            sensors: vec![Heard {
                sensor: "cuff".parse().expect("an id"),
                interval_s: 60,
                last: Some(self.now),
            }],
            awake: None,
            suffers: Vec::new(),
        };
        let one = Box {
            home,
            signs,
            speaks: true,
            assigned: None,
        };
        self.boxes.insert(gateway, one);
    }

    fn publish(&mut self, text: &str, words: &[&str]) {
        let floor = match words {
            ["floor", floor] => version(floor),
            _ => Version::ZERO,
        };
        self.published.push(Release {
            path: format!("agent/{text}"),
            sha256: [7; 32],
            custom: Custom {
                installer: match words {
                    ["packages"] => Installer::Apt,
                    _ => Installer::AgentSlot,
                },
                hw: vec!["x86_64".into()],
                version: version(text),
                min_version: None,
                disruption: Disruption::AgentRestart,
                security_floor: floor,
            },
            notes: None,
        });
    }

    fn draft(&self, words: &[&str]) -> Draft {
        let mut wish = Wish {
            name: words[0].parse().expect("a name"),
            paths: vec![format!("agent/{}", words[1])],
            soak: Duration::from_hours(1),
            confirmed_percent: 90,
            failed_percent: 1,
            act_within: Duration::from_mins(30),
            within: Duration::from_hours(48),
            at_once: 50,
            each: None,
        };
        for (key, value) in words[2..].iter().filter_map(|word| word.split_once('=')) {
            let value: u16 = value.parse().expect("a number");
            match key {
                "soak" => wish.soak = Duration::from_mins(value.into()),
                "hours" => wish.within = Duration::from_hours(value.into()),
                "at-once" => wish.at_once = value,
                other => panic!("no such rule: {other}"),
            }
        }
        let homes: Vec<Home> = self.boxes.values().map(|one| one.home.clone()).collect();
        Draft::new(wish, &self.published, &homes).expect("a plan")
    }

    fn show_plan(&mut self, draft: &Draft) {
        for (id, wave) in draft.plan.homes() {
            let _ = writeln!(self.seen, "       {id}: {}", wave.name());
        }
        for (why, who) in &draft.outside {
            let _ = writeln!(self.seen, "       no part: {} {}", who.len(), why.words());
        }
        for (why, who) in draft.without_return() {
            let _ = writeln!(self.seen, "       no way back: {} ({})", who.len(), why.words());
        }
    }

    fn start(&mut self, draft: &Draft) {
        let mut kept = draft.start("olivia", self.now);
        if let Some(mut before) = self.kept.take() {
            let homes = kept.notes().keys().cloned().collect();
            let owed = before.supersede(&draft.wish.name, &homes, self.now);
            let (head, saved) = (before.head.clone(), before.core().saved());
            let _ = writeln!(
                self.seen,
                "       {}: {}",
                head.name,
                board::stands(&head, &saved)
            );
            for (id, _, step) in before.core().steps() {
                let _ = writeln!(self.seen, "       {} left {id} at: {}", head.name, step.name().0);
            }
            kept.owe(owed);
        }
        self.keep(&mut kept, &BTreeMap::new());
        self.kept = Some(kept);
    }

    fn order(&mut self, order: &Order, why: &str, by: &str) {
        let mut kept = self.kept.take().expect("a campaign");
        let before = steps(&kept);
        match kept.order(order, why, by, self.now) {
            Ok(()) => {
                let stands = board::stands(&kept.head, &kept.core().saved());
                let _ = writeln!(self.seen, "       the campaign {stands}");
            }
            Err(refused) => {
                let _ = writeln!(self.seen, "       refused: {refused}");
            }
        }
        self.keep(&mut kept, &before);
        self.kept = Some(kept);
    }

    fn show_board(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let (listed, more) = Board::listed(&kept, 20, self.now);
        let seen = listed.iter().map(|id| (id.clone(), self.seen_of(id))).collect();
        let board = Board::new(&kept, (&listed, more), &seen, self.now);
        let mut text = format!(
            "       the campaign {}\n",
            board::stands(&board.head, &board.saved)
        );
        if let Some(next) = board::next(&board) {
            let _ = writeln!(text, "       {next}");
        }
        for line in &board.waves {
            let counts: Vec<String> = line
                .counts
                .words()
                .iter()
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            let open = if line.is_open { "open" } else { "later" };
            let _ = writeln!(
                text,
                "       {:<7} {open:<5} {}",
                line.wave.name(),
                counts.join(", ")
            );
        }
        for home in &board.homes {
            let _ = writeln!(text, "       {} {}", home.gateway, home.says);
        }
        self.seen.push_str(&text);
        self.kept = Some(kept);
    }

    fn seen_of(&self, id: &GatewayId) -> Seen<'_> {
        let one = self.boxes.get(id);
        Seen {
            signs: one.map(|one| &one.signs),
            assigned: one.and_then(|one| one.assigned.as_ref()),
            placement: None,
        }
    }

    /// A box says something, or something happens to it.
    fn says(&mut self, id: &str, what: &str, why: &str) {
        let one = self
            .boxes
            .get_mut(&id.parse::<GatewayId>().expect("an id"))
            .expect("a home");
        let assigned = one.assigned.clone();
        let said = one.signs.said.as_mut().expect("it spoke");
        let text = ShortText::cut(why);
        let under_way = |progress| {
            let word = assigned.as_ref()?;
            let mark = UpdateMark {
                counter: word.counter,
                installer: Installer::AgentSlot,
                version: word.version,
            };
            Some((mark, progress))
        };
        let ended = |outcome| {
            Some(Ended {
                counter: assigned.as_ref().map(|word| word.counter),
                outcome,
                at: self.now,
            })
        };
        match what {
            "comes" => one.signs.connected = true,
            "goes" => one.signs.connected = false,
            "silences" => one.speaks = false,
            "depends" => one.signs.depended_on = why == "high",
            "judged" => {
                let status = match why {
                    "bad" => Status::Contraindicated,
                    _ => Status::Affirming,
                };
                one.signs.judged = Some((status, self.now));
            }
            "fetches" => {
                said.state.now = under_way(Progress::Fetching {
                    have: 1,
                    of: 2,
                    why: None,
                });
            }
            "waits" => said.state.now = under_way(Progress::Waiting(vec![text])),
            "holds" => said.state.now = under_way(Progress::Waiting(vec![ShortText::cut("not before then")])),
            "acts" => said.state.now = under_way(Progress::Acting),
            "acts-by" => {
                let older = under_way(Progress::Acting).map(|(mark, progress)| {
                    let counter = why.parse().expect("a number");
                    (
                        UpdateMark {
                            counter,
                            version: version("1.4.0"),
                            ..mark
                        },
                        progress,
                    )
                });
                said.state.now = older;
            }
            outcome => {
                if outcome == "confirms"
                    && let Some(word) = &assigned
                {
                    said.state.runs = word.version;
                }
                if matches!(outcome, "bad" | "not-proven") {
                    said.state.runs = one.home.runs.expect("known");
                }
                said.state.now = None;
                said.state.ended = ended(match outcome {
                    "confirms" => Outcome::Confirmed,
                    "bad" => Outcome::Bad(text),
                    "not-proven" => Outcome::NotProven(text),
                    "refuses" => Outcome::Refused(text),
                    "stays" => Outcome::Stays(text),
                    other => panic!("no such word: {other}"),
                });
                said.at = self.now;
            }
        }
        one.hear(self.now);
    }

    /// A person directs one home.
    fn direct(&mut self, id: &str, to: &str) {
        self.counter += 1;
        let gateway: GatewayId = id.parse().expect("an id");
        let one = self.boxes.get_mut(&gateway).expect("a home");
        one.assigned = Some(Assigned {
            gateway,
            counter: self.counter,
            path: format!("agent/{to}"),
            version: version(to),
            not_before: self.now,
            deadline: self.now,
            at: self.now,
            by: "ann".into(),
            word: Vec::new(),
        });
    }

    /// Time passes, a minute at a time, or a sixtieth of it.
    fn pass(&mut self, minutes: i64) {
        let step = (minutes / 60).max(1);
        for _ in 0..minutes / step {
            self.now = self.now.plus_ms(step * MINUTE);
            self.boxes.values_mut().for_each(|one| one.hear(self.now));
            self.settle();
        }
    }

    fn signs(&self) -> BTreeMap<GatewayId, Signs> {
        let signs = self.boxes.iter().map(|(id, one)| {
            let mut signs = one.signs.clone();
            signs.word = one.assigned.as_ref().map(|word| word.counter);
            (id.clone(), signs)
        });
        signs.collect()
    }

    /// The server looks until nothing changes.
    fn settle(&mut self) {
        for _ in 0..100 {
            let Some(mut kept) = self.kept.take() else { return };
            let signs = self.signs();
            if self.crashes {
                // Everything is done, and nothing of it is kept.
                kept.sees(self.around);
                kept.look(&signs, self.now);
                for (n, (id, way)) in kept.due(&signs, self.now).into_iter().enumerate() {
                    kept.told(&id, (self.counter + 1 + n as u64, way), &signs[&id], self.now);
                }
                kept = self.restored();
            }
            let before = steps(&kept);
            kept.sees(self.around);
            kept.look(&signs, self.now);
            let due = kept.due(&signs, self.now);
            let (due, none): (Vec<_>, Vec<_>) = due
                .into_iter()
                .map(|(id, way)| {
                    let has_way = kept.notes()[&id].back.is_some();
                    let said = if way == Way::Keep && has_way {
                        Way::Back
                    } else {
                        way
                    };
                    (id, said)
                })
                .partition(|(id, way)| *way != Way::Back || kept.notes()[id].back.is_some());
            for (id, _) in none {
                kept.cannot(
                    &id,
                    "no published release is 1.3.0, which runs there".into(),
                    self.now,
                );
            }
            for (id, way) in &due {
                self.counter += 1;
                kept.told(id, (self.counter, *way), &signs[id], self.now);
            }
            let changed = kept.has_changed();
            self.keep(&mut kept, &before);
            for (id, way) in due {
                self.tell(&kept, &id, way);
            }
            self.kept = Some(kept);
            if !changed {
                return;
            }
        }
        panic!("it does not come to rest:\n{}", self.seen);
    }

    /// What the transaction does.
    fn keep(&mut self, kept: &mut Kept, before: &BTreeMap<GatewayId, &'static str>) {
        let mut rows = self.rows.take().filter(|rows| rows.0.name == kept.head.name);
        let mut homes = rows.take().map(|rows| rows.2).unwrap_or_default();
        for (home, note) in kept.changes() {
            homes.insert(home.gateway.clone(), (home.clone(), note.clone()));
        }
        self.rows = Some((kept.head.clone(), kept.core().saved(), homes));
        for effect in kept.settled() {
            let line = match effect {
                Effect::Opened(wave) => format!("the wave `{}` opens", wave.name()),
                Effect::Stopped(why) => format!("IT STOPS: {why}"),
                Effect::Halted(why) => format!("IT HALTS: {why}"),
                Effect::Done => "the campaign is over".to_owned(),
                Effect::Assign(_) | Effect::TakeBack(_) | Effect::Keep(_) => continue,
            };
            let _ = writeln!(self.seen, "       {line}");
        }
        let now: Vec<(GatewayId, &'static str, String)> = kept
            .core()
            .steps()
            .filter(|(id, _, step)| before.get(*id) != Some(&step.name().0))
            .filter_map(|(id, _, step)| {
                let note = kept.notes().get(id)?;
                let says = board::says(step, note, self.seen_of(id), 30 * 60_000);
                Some((id.clone(), step.name().0, says))
            })
            .collect();
        for (id, step, says) in now.iter().filter(|(_, step, _)| *step != "not-yet") {
            let _ = writeln!(self.seen, "       {id} {step}: {says}");
        }
    }

    fn tell(&mut self, kept: &Kept, id: &GatewayId, way: Way) {
        let note = kept.notes().get(id).expect("a home");
        let (number, _) = note.word.expect("a word");
        let to = match way {
            Way::On | Way::Keep => kept.head.targets[0].version,
            Way::Back => note.before,
        };
        let begins = if way == Way::Keep {
            never(self.now)
        } else {
            self.now
        };
        let never = if way == Way::Keep { ", never to begin" } else { "" };
        let _ = writeln!(self.seen, "       word {number} to {id}: {to}{never}");
        let one = self.boxes.get_mut(id).expect("a home");
        one.assigned = Some(Assigned {
            gateway: id.clone(),
            counter: number,
            path: format!("agent/{to}"),
            version: to,
            not_before: begins,
            deadline: begins,
            at: self.now,
            by: "olivia".into(),
            word: Vec::new(),
        });
    }

    fn restored(&self) -> Kept {
        let (head, saved, homes) = self.rows.clone().expect("rows");
        Kept::restore(head, saved, homes.into_values().collect())
    }

    fn restart(&mut self) {
        self.kept = Some(self.restored());
    }

    /// How many words were said.
    pub(super) const fn words(&self) -> u64 {
        self.counter
    }

    pub(super) fn transcript(&self) -> &str {
        &self.seen
    }
}

fn steps(kept: &Kept) -> BTreeMap<GatewayId, &'static str> {
    let steps = kept.core().steps();
    steps.map(|(id, _, step)| (id.clone(), step.name().0)).collect()
}
