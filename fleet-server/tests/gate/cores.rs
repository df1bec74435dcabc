//! Handshakes use all cores: as many of them are in hand at once as the gate has threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use homeward_fleet::gate::Limits;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::house::House;

/// How long a handshake waits for the others: on a busy machine one may come late, so there are several rounds.
const WAIT: Duration = Duration::from_secs(2);
/// Tries to meet.
const ROUNDS: usize = 10;

/// Holds each handshake's thread where a computation would, until as many are there as are expected.
#[derive(Debug)]
struct Meeting {
    inner: Arc<dyn ResolvesServerCert>,
    expected: usize,
    there: Mutex<usize>,
    more: Condvar,
    most: AtomicUsize,
}

impl ResolvesServerCert for Meeting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut there = self.there.lock().expect("unpoisoned");
        *there += 1;
        self.most.fetch_max(*there, Ordering::SeqCst);
        self.more.notify_all();
        let fewer = |there: &mut usize| *there < self.expected;
        let (mut there, _) = self
            .more
            .wait_timeout_while(there, WAIT, fewer)
            .expect("unpoisoned");
        *there -= 1;
        drop(there);
        self.inner.resolve(hello)
    }
}

fn threads(count: usize) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

#[test]
fn as_many_handshakes_are_in_hand_at_once_as_there_are_threads() {
    let cores = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    // The gate on threads of its own, so that its peers' work takes none of them.
    let (gate, peers) = (threads(cores), threads(2));
    let house = gate.block_on(House::with(Limits::default(), 100));
    let meeting = house.change_tls(|config| {
        let meeting = Arc::new(Meeting {
            inner: Arc::clone(&config.cert_resolver),
            expected: cores,
            there: Mutex::new(0),
            more: Condvar::new(),
            most: AtomicUsize::new(0),
        });
        config.cert_resolver = meeting.clone();
        meeting
    });
    let met = |_| {
        peers.block_on(async {
            let mut dials = JoinSet::new();
            for n in 0..cores {
                let credentials = house.credentials(&format!("gw-{n}"));
                dials.spawn(Client::dial(house.address, credentials));
            }
            assert!(dials.join_all().await.iter().all(Result::is_ok), "each gets in");
        });
        meeting.most.load(Ordering::SeqCst) == cores
    };
    let met = (0..ROUNDS).any(met);
    let most = meeting.most.load(Ordering::SeqCst);
    assert!(met, "{most} handshakes at once on {cores} threads");
}
