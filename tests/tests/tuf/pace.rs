//! The pace of what is fetched, over real sockets and in real time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeward_agent::clock::Clock;
use homeward_agent::policy::habits::Habits;
use homeward_agent::update::rate::pace::Pace;
use homeward_agent::update::rate::{Held, Link, Setting};
use homeward_agent::update::tuf::{Fetch as _, FetchError};
use homeward_protocol::policy::rules::OnMetered;
use homeward_protocol::time::Timestamp;
use tokio::sync::watch;

use crate::hostile::{Server, wait};

const SIZE: u64 = 1_200_000;

fn server() -> Server {
    Server::start(|_, send| {
        send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        send(&vec![7; 1_200_000]);
    })
}

fn clock() -> Arc<Clock> {
    Arc::new(Clock::with_floor(0))
}

fn habits(fetch_rate: Option<u64>, metered: OnMetered) -> watch::Sender<Arc<Habits>> {
    let mut habits = Habits::default();
    (habits.fetch_rate, habits.metered) = (fetch_rate, metered);
    watch::Sender::new(Arc::new(habits))
}

/// Fetches all; gives how long that took, and which byte came when a half was there.
fn fetch(server: &Server, pace: &Pace, at_half: impl FnOnce() + Send) -> (Duration, (u64, Duration)) {
    let http = server.http().paced(pace.clone());
    let begin = Instant::now();
    let half = Mutex::new((Some(at_half), (0, Duration::ZERO)));
    let mut take = |at: u64, piece: &[u8]| {
        let mut half = half.lock().expect("held by nobody");
        if at + piece.len() as u64 >= SIZE / 2
            && let Some(act) = half.0.take()
        {
            act();
            half.1 = (at, begin.elapsed());
        }
        Ok(())
    };
    wait(http.get("file", 0, SIZE, &mut take)).expect("it comes");
    let half = half.lock().expect("held by nobody").1;
    (begin.elapsed(), half)
}

/// How long so many bytes take at so many a second.
fn seconds(bytes: u64, rate: u32) -> f64 {
    f64::from(u32::try_from(bytes).expect("small")) / f64::from(rate)
}

fn near(is: Duration, wanted: f64) -> bool {
    let is = is.as_secs_f64();
    println!("{is} s, where {wanted} s are wanted");
    // Late only as the machine is busy: what was late is made up for.
    is >= wanted * 0.97 && is <= wanted * 1.05 + 0.3
}

#[test]
fn the_average_is_the_one_that_the_policy_wants_within_a_few_percent_and_follows_it_at_once() {
    let server = server();
    let free = Setting::Fixed(Link::Free);
    let policy = habits(Some(400_000), OnMetered::Never);
    let pace = Pace::new(policy.subscribe(), free, clock());
    let (took, _) = fetch(&server, &pace, || {});
    assert!(near(took, 3.0), "{took:?}");
    // Another policy in the middle of a file.
    let faster = habits(Some(1_200_000), OnMetered::Never).borrow().clone();
    let (took, (at, half)) = fetch(&server, &pace, || drop(policy.send_replace(faster)));
    // What came before is paid for at the old rate, and the piece that brought the half at the new one.
    assert!(near(half, seconds(at, 400_000)), "{at} bytes after {half:?}");
    let rest = took.saturating_sub(half);
    assert!(near(rest, seconds(SIZE - at, 1_200_000)), "the rest in {rest:?}");
    let none = habits(None, OnMetered::Never).borrow().clone();
    policy.send_replace(none);
    let (took, _) = fetch(&server, &pace, || {});
    assert!(took < Duration::from_millis(800), "{took:?}");
}

#[test]
fn over_a_link_that_costs_nothing_comes_before_its_time_and_what_came_stays() {
    let clock = clock();
    let metered = Setting::Fixed(Link::Metered);
    let now = clock.now();
    let time = |before: i64, after: i64| (now.plus_ms(-before * 1_000), now.plus_ms(after * 1_000));
    let begun = |on, time: (Timestamp, Timestamp)| {
        let pace = Pace::new(habits(None, on).subscribe(), metered, Arc::clone(&clock));
        wait(pace.begin(time))
    };
    assert_eq!(begun(OnMetered::Never, time(1_000, 0)), Err(Held::WhileMetered));
    assert_eq!(begun(OnMetered::Always, time(0, 1_000)), Ok(()));
    assert_eq!(begun(OnMetered::FromPercent(50), time(1_000, 900)), Ok(()));
    let waits = begun(OnMetered::FromPercent(50), time(900, 1_000));
    assert!(matches!(waits, Err(Held::Until(_))), "{waits:?}");
    assert!(
        FetchError::Held(Held::WhileMetered)
            .to_string()
            .contains("costs by the byte")
    );
}
