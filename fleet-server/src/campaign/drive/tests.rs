//! The driver over a store and a repository: what it says is signed, named once, and taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use homeward_protocol::envelope::Lane;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::release::state::{Ended, Outcome, Progress, UpdateMark, UpdateState};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use homeward_protocol::tuf::sign::{Holders, SigningKey, Unsigned};

use super::*;
use crate::campaign::State;
use crate::campaign::draft::{Draft, Wish};
use crate::campaign::kept::Order;
use crate::campaign::plan::Wave;
use crate::direct::deadline::{Case, Each, Stands, Terms};
use crate::policy::tests::Key;
use crate::release::{self, Files};
use crate::store::incidents::{self, Kind};
use crate::store::promises::{Home, block};
use crate::store::records::Origin;
use crate::store::{campaigns::fleet, gateways, notices};

mod ten_thousand;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// What a release folder with these agents would hold.
fn repository(versions: &[&str]) -> Files {
    let key = |n: u8| SigningKey::from_seed(&[n; 32]).expect("a key");
    let (root, targets, online) = (key(1), key(2), key(3));
    let holders = |key: &SigningKey| Holders {
        keys: vec![key.public()],
        threshold: 1,
    };
    let first = release::draft_root(None, &holders(&root), &holders(&targets), online.public(), NOW);
    let mut first = first.expect("a root");
    first.sign(&root).expect("signed");
    let mut signed = release::open_targets(None, None, NOW).expect("targets");
    for (n, text) in (0_u8..).zip(versions) {
        let custom = Custom {
            installer: Installer::AgentSlot,
            hw: vec!["x86_64".into()],
            version: version(text),
            min_version: None,
            disruption: Disruption::AgentRestart,
            security_floor: Version::ZERO,
        };
        release::put(
            &mut signed,
            &format!("agent/{text}"),
            1,
            [n; 32],
            (Some(&custom), None),
        )
        .expect("put");
    }
    let mut second = Unsigned::new(signed);
    second.sign(&targets).expect("signed");
    let listed = BTreeMap::from([("targets.json".to_owned(), (1, second.to_bytes()))]);
    let mut files = release::finish(&listed, (None, None), &online, NOW).expect("finished");
    files.insert("1.root.json".into(), first.to_bytes());
    files.insert("1.targets.json".into(), second.to_bytes());
    files
}

/// A server whose clock and whose repository a test holds.
struct Place {
    store: Store,
    drive: Drive,
    now: Arc<Mutex<Timestamp>>,
    director: Arc<Key>,
    published: Arc<Mutex<Option<Files>>>,
    memory: Memory,
}

impl Place {
    fn new(home: &Home) -> Place {
        let (store, now) = (home.open(), Arc::new(Mutex::new(NOW)));
        let director = Arc::new(Key::new());
        let published = Arc::new(Mutex::new(Some(repository(&["1.3.0", "1.4.0"]))));
        let clock = Arc::clone(&now);
        let (key, files) = (Arc::clone(&director), Arc::clone(&published));
        let find = move |now| {
            let files = files
                .lock()
                .expect("held")
                .clone()
                .ok_or("nothing is published")?;
            Ok(Means {
                client: Arc::new(release::check(&files, now).map_err(|why| why.to_string())?),
                director: key.clone(),
            })
        };
        let drive = Drive {
            store: store.clone(),
            bus: Bus::start().expect("a bus"),
            clock: Clock::from_fn(move || *clock.lock().expect("held")),
            find: Arc::new(find),
            reach: Reach {
                mail: BTreeSet::from(["nora".to_owned()]),
                webhook: false,
            },
        };
        Place {
            store,
            drive,
            now,
            director,
            published,
            // A test looks when it wants to, and not each second.
            memory: Memory {
                rest: Duration::from_hours(24 * 365),
                ..Memory::default()
            },
        }
    }

    fn look(&mut self) -> Vec<GatewayId> {
        block(self.drive.look(&mut self.memory)).expect("looks")
    }

    fn pass(&self, s: i64) {
        let mut now = self.now.lock().expect("held");
        *now = now.plus_ms(s * 1000);
    }

    /// The newest word for a home, as its box would read it.
    fn word(&self, n: usize) -> Option<Assignment> {
        let word = block(self.store.read(move |tx| updates::get(tx, &gw(n)))).expect("read")?;
        let verified = Assignment::verify(&word.word, &self.director.public()).expect("by the director");
        Some(verified.get().clone())
    }

    fn say(&self, n: usize, runs: &'static str, ended: Option<Outcome>) {
        let counter = self.word(n).map(|word| word.counter);
        let now = *self.now.lock().expect("held");
        block(
            self.store
                .write(move |tx| say(tx, n, runs, ended.map(|outcome| (counter, outcome)), now)),
        )
        .expect("said");
    }

    /// It says how far it has come with its newest word.
    fn says_now(&self, n: usize, progress: Progress) {
        let counter = self.word(n).expect("a word").counter;
        self.has(n, (counter, progress));
    }

    /// A box has a word, and what it names, and waits.
    fn waits(&self, n: usize, counter: u64) {
        let why = vec![ShortText::cut("it is not to begin before then")];
        self.has(n, (counter, Progress::Waiting(why)));
    }

    fn has(&self, n: usize, (counter, progress): (u64, Progress)) {
        let now = *self.now.lock().expect("held");
        let waits = move |tx: &mut dyn Tx| {
            let mark = UpdateMark {
                counter,
                installer: Installer::AgentSlot,
                version: version("1.4.0"),
            };
            let gateway = gw(n);
            let mut state = updates::said(tx, &gateway)?.expect("it spoke").state;
            state.now = Some((mark, progress));
            let at = Origin {
                gateway: gateway.as_str(),
                epoch: "01",
                lane: Lane::Urgent,
                spare: false,
                now,
            };
            updates::put(tx, &at, &state)
        };
        block(self.store.write(waits)).expect("said");
    }

    fn order(&self, order: Order) {
        let ordered = move |tx: &mut dyn Tx| {
            let name = "spring".parse().expect("a name");
            campaigns::order(tx, &name, (&order, "a holiday"), "olga", NOW)
        };
        let done = block(self.store.write(ordered)).expect("answers");
        assert_eq!(done, Some(Ok(())));
    }

    /// What goes with a word.
    fn deadline(&self, n: usize, word: u64) -> Option<Case> {
        block(self.store.read(move |tx| deadlines::get(tx, &gw(n), word))).expect("read")
    }

    /// What people are told: kinds of what is open in the console, and what is sent to whom.
    fn told(&self) -> (Vec<Kind>, Vec<(String, String)>) {
        let now = *self.now.lock().expect("held");
        let read = move |tx: &mut dyn Tx| {
            let kinds = incidents::open(tx, 100)?
                .into_iter()
                .map(|one| one.kind)
                .collect();
            let mut sent = Vec::new();
            for one in notices::take(tx, 100, now)? {
                notices::sent(tx, &one.id, now)?;
                sent.push((one.message.person, one.message.subject));
            }
            Ok((kinds, sent))
        };
        block(self.store.write(read)).expect("read")
    }

    fn read(&self) -> Read {
        let name = "spring".parse().expect("a name");
        let read = block(self.store.read(move |tx| campaigns::get(tx, &name))).expect("read");
        read.expect("it is there")
    }
}

fn gw(n: usize) -> GatewayId {
    format!("gw-{n}").parse().expect("an id")
}

fn say(
    tx: &mut dyn Tx,
    n: usize,
    runs: &str,
    ended: Option<(Option<u64>, Outcome)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let gateway = gw(n);
    let at = Origin {
        gateway: gateway.as_str(),
        epoch: "01",
        lane: Lane::Urgent,
        spare: false,
        now,
    };
    let state = UpdateState {
        runs: version(runs),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: None,
        ended: ended.map(|(counter, outcome)| Ended {
            counter,
            outcome,
            at: now,
        }),
        taken_at: now,
    };
    updates::put(tx, &at, &state)
}

/// A placement for each dependency, called by it.
fn placements(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO teams (id, name, created_at) VALUES ('north', 'North', 0)",
        &[],
    )?;
    for sql in [
        "INSERT INTO placements (id, team, dependency, created_at) VALUES ('low', 'north', 'low', 0)",
        "INSERT INTO placements (id, team, dependency, created_at) VALUES ('medium', 'north', 'medium', 0)",
        "INSERT INTO placements (id, team, dependency, created_at) VALUES ('high', 'north', 'high', 0)",
    ] {
        tx.execute(sql, &[])?;
    }
    Ok(())
}

/// Three homes, of which the first is the laboratory's; all are connected.
fn begin(place: &Place) {
    let work = |tx: &mut dyn Tx| {
        for n in 0..3 {
            gateways::add(tx, &gw(n), None, NOW)?;
            say(tx, n, "1.3.0", None, NOW)?;
        }
        placements(tx)?;
        let enrolled = "UPDATE gateways SET state = 'enrolled', connected_at = 1, placement = 'low'";
        tx.execute(enrolled, &[])?;
        let lab =
            "INSERT INTO group_members (group_id, gateway, added_at, added_by) VALUES ('lab', 'gw-0', 0, '')";
        tx.execute(lab, &[])?;
        fleet::homes(tx)
    };
    let homes = block(place.store.write(work)).expect("made");
    start(place, &homes, Duration::ZERO);
}

/// The campaign `spring`, which brings 1.4.0 to these homes.
fn start(place: &Place, homes: &[crate::campaign::draft::Home], soak: Duration) {
    let client = (place.drive.find)(NOW).expect("published").client;
    let wish = Wish {
        name: "spring".parse().expect("a name"),
        paths: vec!["agent/1.4.0".into()],
        soak,
        confirmed_percent: 90,
        failed_percent: 1,
        act_within: Duration::from_hours(1),
        within: Duration::from_hours(48),
        at_once: 50,
        each: Some(Each {
            terms: Terms::new("A stranger could read measurements.", "nora", None).expect("terms"),
            within: Duration::from_hours(24),
        }),
    };
    let kept = Draft::new(wish, &direct::published(&client), homes)
        .expect("a plan")
        .start("olga", NOW);
    let started = place
        .store
        .write(move |tx| campaigns::start(tx, kept, "as read", NOW));
    assert!(block(started).expect("answers"));
}

#[test]
fn words_are_signed_with_their_wave_said_once_and_a_bad_release_is_taken_back() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    assert_eq!(place.look(), [gw(0)]);
    let first = place.word(0).expect("a word");
    let word = first.counter;
    assert_eq!(
        (
            first.path().map(|path| path.to_string()),
            first.sha256(),
            first.wave
        ),
        (Some("agent/1.4.0".into()), [1; 32], Wave::Lab.number())
    );
    let due = place.deadline(0, word).expect("it is kept");
    assert_eq!(
        (due.terms.person(), due.deadline, due.stands),
        ("nora", NOW.plus_ms(24 * 3_600_000), Stands::Newest)
    );
    // Nothing changed: nothing is written, nobody is told again.
    let rested = place.read().revision;
    assert!(place.look().is_empty());
    assert_eq!(place.read().revision, rested);
    assert_eq!(place.word(0), Some(first));
    place.pass(60);
    place.say(0, "1.4.0", Some(Outcome::Confirmed));
    place.look();
    // The canary is told in the same look, or the next.
    place.look();
    let canary = (1..3).find(|n| place.word(*n).is_some()).expect("one is told");
    assert_eq!(place.word(canary).expect("a word").wave, Wave::Canary.number());
    place.pass(60);
    place.say(canary, "1.3.0", Some(Outcome::Bad(ShortText::cut("it crashed"))));
    place.look();
    place.look();
    assert!(matches!(place.read().kept.core().state(), State::Halted(_)));
    let back = place.word(0).expect("a word");
    assert_eq!(
        (back.path().map(|path| path.to_string()), back.sha256()),
        (Some("agent/1.3.0".into()), [0; 32])
    );
    assert_eq!(
        place.deadline(0, back.counter),
        None,
        "nobody is asked about going back"
    );
    let on = place.deadline(0, word).expect("it is kept");
    assert_eq!(on.stands, Stands::Superseded);
    place.pass(60);
    place.say(0, "1.3.0", Some(Outcome::Confirmed));
    place.look();
    let steps: Vec<&str> = place
        .read()
        .kept
        .core()
        .steps()
        .map(|(_, _, step)| step.name().0)
        .collect();
    assert_eq!(steps, ["returned", "failed", "left-out"]);
    assert!(!place.read().kept.is_live(), "nobody looks at it any more");
}

#[test]
fn without_a_repository_nobody_is_told_people_hear_why_and_it_goes_on_when_there_is_one() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    let files = place.published.lock().expect("held").take();
    place.look();
    assert_eq!(
        place.read().kept.head.trouble.as_deref(),
        Some("nothing is published")
    );
    assert_eq!(place.word(0), None);
    // Another file stands under the path than when it began.
    *place.published.lock().expect("held") = Some(repository(&["1.4.0", "1.3.0"]));
    place.pass(31);
    place.look();
    let trouble = place.read().kept.head.trouble.unwrap_or_default();
    assert!(trouble.contains("another file"), "{trouble}");
    assert_eq!(place.word(0), None);
    *place.published.lock().expect("held") = files;
    place.pass(31);
    place.look();
    assert!(place.word(0).is_some());
    assert_eq!(place.read().kept.head.trouble, None);
}

#[test]
fn who_has_no_way_back_keeps_what_runs_by_a_word_that_never_begins_and_is_waited_for_until_it_is_named() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    // What runs there is not published.
    *place.published.lock().expect("held") = Some(repository(&["1.4.0"]));
    begin(&place);
    place.look();
    let first = place.word(0).expect("a word").counter;
    let told = |place: &Place| block(place.store.read(updates::told)).expect("read").len();
    assert_eq!(told(&place), 1);
    let far = NOW.plus_ms(99 * 365 * 86_400_000);
    for is_over in [false, true] {
        let before = place.word(0).expect("a word").counter;
        place.order(if is_over { Order::Abort } else { Order::Halt });
        place.look();
        let held = place.word(0).expect("a word");
        assert!(held.counter > before, "{held:?}");
        assert_eq!(
            held.path().map(|path| path.to_string()),
            Some("agent/1.4.0".into())
        );
        assert!(
            held.not_before.ms > far.ms && held.deadline.ms >= held.not_before.ms,
            "{held:?}"
        );
        assert_eq!(
            place.deadline(0, held.counter),
            None,
            "nothing is due by it, and nothing makes up for it"
        );
        assert_eq!(
            place.deadline(0, before).expect("it is kept").stands,
            Stands::Superseded
        );
        assert_eq!(told(&place), 0, "no update is to come there");
        // Nothing is said twice, and it is watched until the box has named the word, whatever it named before.
        place.waits(0, before);
        place.look();
        assert_eq!(place.word(0), Some(held.clone()));
        let read = place.read();
        assert_eq!(read.kept.notes()[&gw(0)].wants, Some(Way::Keep));
        assert!(read.kept.is_live());
        let name = "spring".parse().expect("a name");
        let signs = block(place.store.read(move |tx| campaigns::signs::of(tx, &name, NOW)));
        assert!(signs.expect("read").contains_key(&gw(0)));
        place.waits(0, held.counter);
        place.look();
        assert_eq!(place.read().kept.notes()[&gw(0)].wants, None);
        if !is_over {
            place.order(Order::Resume);
            place.look();
            let again = place.word(0).expect("a word");
            assert!(
                again.counter > held.counter && again.not_before.ms <= NOW.ms,
                "{again:?}"
            );
            let due = place.deadline(0, again.counter).expect("it is kept").deadline;
            assert_eq!(due, NOW.plus_ms(24 * 3_600_000));
            assert!(again.counter > first + 1);
        }
    }
    assert!(!place.read().kept.is_live());
}

#[test]
fn people_are_told_that_it_halted_that_somebody_has_to_go_there_and_that_nobody_could_be_told() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    // What runs there is not published: nobody can go back.
    *place.published.lock().expect("held") = Some(repository(&["1.4.0"]));
    begin(&place);
    let nora = |subject: &str| ("nora".to_owned(), format!("Campaign spring {subject}"));
    let files = place.published.lock().expect("held").take();
    for minutes in [0, 1, 13, 2, 1, 1] {
        place.pass(minutes * 60);
        place.look();
    }
    assert_eq!(
        place.told(),
        (vec![Kind::CampaignTrouble], vec![nora("can tell nobody")]),
        "once"
    );
    *place.published.lock().expect("held") = files;
    place.pass(31);
    place.look();
    assert_eq!(place.told(), (Vec::new(), Vec::new()), "it is mended");
    place.say(0, "1.4.0", Some(Outcome::Confirmed));
    (0..2).for_each(|_| drop(place.look()));
    let canary = (1..3).find(|n| place.word(*n).is_some()).expect("one is told");
    place.say(canary, "1.4.0", Some(Outcome::Bad(ShortText::cut("it crashed"))));
    (0..3).for_each(|_| drop(place.look()));
    let (mut kinds, sent) = place.told();
    kinds.sort_by_key(|kind| kind.name());
    assert_eq!(kinds, [Kind::CampaignHalted, Kind::CampaignStuck]);
    let stuck = nora("has a home that does not go back: somebody has to go there");
    assert_eq!(sent, [nora("halted by itself"), stuck]);
    let open = block(place.store.read(|tx| incidents::open_of(tx, &gw(0)))).expect("read");
    assert!(
        open[0].said.contains("no published release is 1.3.0"),
        "{}",
        open[0].said
    );
    // It is back after all: nobody has to go there.
    place.say(0, "1.3.0", Some(Outcome::Confirmed));
    (0..3).for_each(|_| drop(place.look()));
    assert_eq!(place.told().1, []);
}

#[test]
fn people_are_told_which_homes_a_campaign_left_out_and_who_started_it_hears_where_nobody_is_named() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    place.drive.reach.webhook = true;
    block(place.store.write(|tx| {
        tx.execute(
            "UPDATE campaigns SET why = NULL, person = NULL, each_ms = NULL",
            &[],
        )
    }))
    .expect("nobody is named");
    place.look();
    place.pass(49 * 3_600);
    place.look();
    let (kinds, sent) = place.told();
    assert_eq!(kinds, [Kind::CampaignLeftOut]);
    assert_eq!(
        sent,
        [(
            "olga".to_owned(),
            "Campaign spring is over, and left homes out".to_owned()
        )]
    );
    place.look();
    assert_eq!(place.told().1, [], "once");
}

#[test]
fn a_server_that_was_out_or_whose_clock_jumps_holds_that_time_against_nobody() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    place.look();
    let acts = |place: &Place, n: usize| place.says_now(n, Progress::Acting);
    acts(&place, 0);
    place.look();
    let step = |place: &Place| {
        place
            .read()
            .kept
            .core()
            .home(&gw(0))
            .expect("a home")
            .step
            .name()
            .0
    };
    assert_eq!(step(&place), "acting");
    for restarts in [true, false] {
        // The server is out for two hours, or its clock jumps by two; an act may take one.
        place.pass(2 * 3_600);
        place.memory = if restarts {
            Memory::default()
        } else {
            Memory {
                rest: LOOK,
                ..std::mem::take(&mut place.memory)
            }
        };
        place.look();
        assert_eq!(
            (step(&place), place.read().kept.core().state()),
            ("acting", &State::Running)
        );
    }
    // From then on its time counts, look by look.
    for _ in 0..59 {
        place.pass(60);
        place.look();
    }
    assert_eq!(step(&place), "acting");
    place.pass(60);
    place.look();
    assert!(matches!(place.read().kept.core().state(), State::Halted(_)));
}

#[test]
fn what_a_box_finds_a_day_later_counts_also_when_the_soak_was_short() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    place.look();
    place.say(0, "1.4.0", Some(Outcome::Confirmed));
    (0..2).for_each(|_| drop(place.look()));
    place.pass(23 * 3_600);
    place.look();
    assert_eq!(*place.read().kept.core().state(), State::Running);
    place.say(
        0,
        "1.4.0",
        Some(Outcome::Stays(ShortText::cut("it empties the battery of cuff"))),
    );
    place.look();
    assert!(matches!(place.read().kept.core().state(), State::Halted(_)));
}

#[test]
fn a_halt_takes_nothing_back_where_a_person_directed_something_since() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    place.look();
    place.say(0, "1.4.0", Some(Outcome::Confirmed));
    (0..2).for_each(|_| drop(place.look()));
    // Long after its soak.
    place.pass(40 * 3_600);
    let now = *place.now.lock().expect("held");
    let by_hand = move |tx: &mut dyn Tx| {
        let word = updates::get(tx, &gw(0))?.expect("a word");
        let counter = updates::next(tx, &gw(0))?;
        let by = "ann".to_owned();
        updates::assign(
            tx,
            &updates::Assigned {
                counter,
                by,
                at: now,
                ..word
            },
        )
    };
    assert!(block(place.store.write(by_hand)).expect("assigned"));
    let word = place.word(0);
    let canary = (1..3).find(|n| place.word(*n).is_some()).expect("one is told");
    place.say(canary, "1.3.0", Some(Outcome::Bad(ShortText::cut("it crashed"))));
    (0..2).for_each(|_| drop(place.look()));
    let read = place.read();
    assert!(matches!(read.kept.core().state(), State::Halted(_)));
    assert_eq!(read.kept.core().home(&gw(0)).expect("a home").step, Step::LeftOut);
    assert_eq!(place.word(0), word, "what the person directed stands");
}

#[test]
fn a_stop_gives_nobody_longer() {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    begin(&place);
    place.look();
    let first = place.word(0).expect("a word").counter;
    place.order(Order::Halt);
    place.look();
    place.pass(3_600);
    place.order(Order::Resume);
    place.look();
    let again = place.word(0).expect("a word");
    assert!(
        again.counter > first,
        "it was told to keep what it runs, and then to go on"
    );
    let due = place.deadline(0, again.counter).expect("it is kept").deadline;
    assert_eq!(due, NOW.plus_ms(24 * 3_600_000), "counted from the first word");
    assert_eq!(again.deadline, due);
}
