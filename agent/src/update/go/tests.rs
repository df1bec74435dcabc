#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests open sockets, keep files and look at the time"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use homeward_protocol::id::Epoch;
use homeward_protocol::release::Custom;
use homeward_protocol::time::Uptime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::course::{Limits, Running};
use super::super::rate::{Link, Setting};
use super::super::saved::Saved;
use super::super::saved::file::load;
use super::*;
use crate::install::Standing;
use crate::outbox::keeper::{Keeper, Place as At};
use crate::policy::habits::Habits;
use crate::slot::Place;
use crate::status::LinkStatus;
use crate::strain::Strain;

const LENGTH: u64 = 1_000_000;

/// An installer that takes everything.
struct Slot;

impl Install for Slot {
    fn kind(&self) -> Installer {
        Installer::AgentSlot
    }
    fn probe(&self) -> Can {
        Can::Yes(Version::ZERO)
    }
    fn is_staged(&self, _: &Job) -> Result<bool, InstallError> {
        Ok(false)
    }
    fn stage(&self, _: &Job, _: &Path) -> Result<(), InstallError> {
        Ok(())
    }
    fn activate(&self, _: &Job, _: Window) -> Result<(), InstallError> {
        Ok(())
    }
    fn standing(&self, _: Option<&Job>) -> Standing {
        Standing::Nothing
    }
    fn confirm(&self) -> Result<(), InstallError> {
        Ok(())
    }
    fn roll_back(&self) -> Result<(), InstallError> {
        Ok(())
    }
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// What was wanted before the start, and has not come.
fn wanted() -> Saved {
    Saved {
        decided: Some(vec![7]),
        job: Some(Job {
            counter: 7,
            path: "agent/x86_64/homeward-agent".to_owned(),
            file: "agent/x86_64/homeward-agent".to_owned(),
            length: LENGTH,
            sha256: Digest([7; 32]),
            custom: Custom {
                installer: Installer::AgentSlot,
                hw: vec!["x86_64".to_owned()],
                version: version("1.1.0"),
                min_version: None,
                disruption: Disruption::AgentRestart,
                security_floor: Version::ZERO,
            },
            not_before: Timestamp::synced(0),
            deadline: Timestamp::synced(i64::MAX),
            delta: None,
        }),
        ..Saved::NEW
    }
}

fn running() -> Running {
    Running {
        place: Place::Package,
        version: version("1.0.0"),
    }
}

const LIMITS: Limits = Limits {
    trial: Duration::from_mins(10),
    spread: 0,
};

/// The updates of a box whose repository is at `port`.
async fn going(data: &Path, port: u16, start: impl Fn(Moment) -> (Course, Vec<Effect>)) -> Going {
    let clock = Arc::new(Clock::with_floor(0));
    let now = Moment {
        uptime: clock.uptime(),
        at: clock.now(),
    };
    let keeper = Keeper::start().expect("a thread");
    let opened = keeper.open(At::Memory, 1 << 20, Epoch(1), clock.now()).await;
    let habits = watch::channel(Arc::new(Habits::default())).1;
    let gateway: GatewayId = "gw-7f3k".parse().expect("an id");
    Going {
        data: data.to_owned(),
        start: start(now),
        own: Own {
            gateway,
            hw: "x86_64".to_owned(),
            installers: Vec::new(),
            bytes: Vec::new(),
            ran: Vec::new(),
        },
        build: None,
        installers: Installers::new(vec![Box::new(Slot)]),
        source: Source::Mirror(format!("http://127.0.0.1:{port}/").parse().expect("an address")),
        peers: Peers::new(Vec::new()),
        pace: Pace::new(habits, Setting::Fixed(Link::Free), Arc::clone(&clock)),
        most: 1 << 30,
        outbox: opened.expect("opens").0,
        heard: Inbox::default(),
        met: watch::channel(None).1,
        people: Box::new(|| People {
            roots: Vec::new(),
            keyring: None,
        }),
        vitals: Vitals {
            link: watch::channel(LinkStatus::default()).1,
            sensors: watch::channel(Vec::new()).1,
            judged: Box::new(|| None),
            strain: Strain::new(Uptime(0)),
            waiting: Box::new(|| 0),
            drain: Mutex::default(),
        },
        home: mpsc::channel(1).0,
        restart: CancellationToken::new(),
        trials: Trials::with(None),
        clock,
    }
}

async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if ready() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {what}");
}

/// A server that gives half of a file, and then says nothing for as long as somebody waits; counts who comes and who goes.
async fn stalls(listener: &TcpListener, came: &AtomicU64, left: &AtomicU64) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let mut bytes = [0; 4096];
        let _request = stream.read(&mut bytes).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&vec![7; 500_000]).await.expect("sent");
        came.fetch_add(1, Ordering::Relaxed);
        while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
        left.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn while_something_is_fetched_a_wish_for_quiet_is_kept_at_once_and_a_newer_word_ends_the_fetch() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (came, left) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = |now| Course::resume(Some(wanted()), Standing::Nothing, running(), LIMITS, now);
    let going = going(data, port, start).await;
    let (inbox, stop) = (going.heard.clone(), CancellationToken::new());
    let counts = || (came.load(Ordering::Relaxed), left.load(Ordering::Relaxed));
    let life = async {
        until("half of it", || counts() == (1, 0)).await;
        inbox.put(Heard::Assigned(vec![7]));
        inbox.put(Heard::Quiet(QuietOrder {
            order: 5,
            left_s: 3_600,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        }));
        until("the wish", || asked::heard(data) == Some(5)).await;
        assert_eq!(
            counts(),
            (1, 0),
            "what is fetched goes on, also when its own word comes again"
        );
        inbox.put(Heard::Assigned(vec![8]));
        until("the end of the fetch", || counts() == (1, 1)).await;
        let undecided = || told(data).and_then(|told| told.undecided);
        until("the newer word", || undecided().is_some()).await;
        let kept = load(data).expect("reads").expect("kept");
        assert_eq!(kept.assigned, Some(vec![8]), "it is kept");
        let have = delta::have(
            &data
                .join(FOLDER)
                .join("incoming")
                .join(Digest([7; 32]).to_string()),
        );
        assert_eq!(have, 500_000, "what came is gone on with, if it is still wanted");
        stop.cancel();
    };
    let server = stop.run_until_cancelled(stalls(&listener, &came, &left));
    tokio::join!(going.run(stop.clone()), server, life);
}

#[tokio::test]
async fn that_what_is_kept_cannot_be_read_is_told_and_nothing_is_written_over_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path();
    let kept = data.join(FOLDER).join("course.cbor");
    fs::create_dir_all(data.join(FOLDER)).expect("made");
    fs::write(&kept, [0; 512]).expect("written");
    assert!(load(data).is_err());
    let start = |now| Course::unread("it cannot be read", Standing::Nothing, running(), LIMITS, now);
    let going = going(data, 9, start).await;
    let (inbox, stop) = (going.heard.clone(), CancellationToken::new());
    let life = async {
        let why = || told(data)?.undecided.map(|lacks| lacks.why);
        until("it is told", || {
            why() == Some(ShortText::cut("it cannot be read"))
        })
        .await;
        inbox.put(Heard::Assigned(vec![8]));
        // What comes after it is heard, so it was.
        inbox.put(Heard::Quiet(QuietOrder {
            order: 5,
            left_s: 3_600,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        }));
        until("the wish", || asked::heard(data) == Some(5)).await;
        until("both", || inbox.take().is_none()).await;
        assert_eq!(fs::read(&kept).expect("there"), [0; 512]);
        stop.cancel();
    };
    tokio::join!(going.run(stop.clone()), life);
}
