//! Shell: one link of a box: waits for a person, then carries bytes both ways until either end closes.
//!
//! ```text
//! box: the session's number (8 bytes, big endian)
//! server: `.` every 20 s while nobody is there, then GO; from there on the far ends' own bytes
//! ```
#![expect(clippy::disallowed_methods, reason = "shell: sockets and time limits")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::{GO, SessionNumber};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::hub::{Guest, Hub, Seat, Used};

/// How long a box may take to say which session a link is for.
const NAME: Duration = Duration::from_secs(10);
/// How often the server says that it is there.
const THERE: Duration = Duration::from_secs(20);
/// How long a person's end may take to be one.
const ARRIVE: Duration = Duration::from_secs(10);
/// How long an end may refuse to take what it is given.
const STUCK: Duration = Duration::from_secs(30);
/// How long closing may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// What is copied at once, bytes.
const PIECE: usize = 16 * 1024;

/// Serves one link of this box, whose handshake proved it.
pub async fn serve(mut link: impl AsyncRead + AsyncWrite + Unpin, gateway: GatewayId, hub: Hub) {
    let Some(unnamed) = hub.admit(&gateway) else {
        return;
    };
    let naming = timeout(NAME, link.read_u64());
    let Some(Ok(Ok(number))) = unnamed.over.run_until_cancelled(naming).await else {
        return;
    };
    let session = SessionNumber(number);
    // Cut as it said so: what proved it proves nothing any more.
    let seat = hub
        .seat(&gateway, session)
        .filter(|_| !unnamed.over.is_cancelled());
    drop(unnamed);
    let Some(Seat { mut guest, over }) = seat else {
        return;
    };
    let came = tokio::select! {
        () = over.cancelled() => None,
        came = wait(&mut link, &mut guest) => came,
    };
    let stands = came.is_some();
    guest.close();
    // Who was given this link as it ended came, too.
    let Some(Guest { upgrade, by, noted }) = came.or_else(|| guest.try_recv().ok()) else {
        return;
    };
    let end = hub.enter(&by);
    let person = if stands {
        arrive(upgrade, &over, &end.over).await
    } else {
        None
    };
    let arrived = person.is_some();
    let (mut in_bytes, mut out_bytes) = (0, 0);
    let (from_box, mut to_box) = split(link);
    let mut leaving = None;
    if let Some(person) = person {
        let (from_person, mut to_person) = split(TokioIo::new(person));
        if to_box.write_all(&[GO]).await.is_ok() && to_box.flush().await.is_ok() {
            tokio::select! {
                () = over.cancelled() => {}
                () = end.over.cancelled() => {}
                () = copy(from_person, &mut to_box, &mut in_bytes) => {}
                () = copy(from_box, &mut to_person, &mut out_bytes) => {}
            }
        }
        leaving = Some(to_person);
    }
    // Before the goodbyes, which an end that does not listen makes long.
    if arrived || noted.load(Ordering::Acquire) {
        let used = Used {
            gateway,
            session,
            by,
            in_bytes,
            out_bytes,
        };
        // Nobody hears it any more once the server has stopped.
        let _gone = hub.uses().send(used).await;
    }
    drop(end);
    if let Some(mut to_person) = leaving {
        let _gone = timeout(GOODBYE, to_person.shutdown()).await;
    }
    let _gone = timeout(GOODBYE, to_box.shutdown()).await;
}

/// The person's end, once the answer that announces it is out; none when it does not come.
async fn arrive(
    upgrade: OnUpgrade,
    over: &CancellationToken,
    ousted: &CancellationToken,
) -> Option<Upgraded> {
    tokio::select! {
        () = over.cancelled() => None,
        () = ousted.cancelled() => None,
        arrived = timeout(ARRIVE, upgrade) => arrived.ok()?.ok(),
    }
}

/// Waits for a person; none when the box left, or another link took this one's place.
async fn wait(
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
    guest: &mut tokio::sync::oneshot::Receiver<Guest>,
) -> Option<Guest> {
    loop {
        let mut nothing = [0];
        tokio::select! {
            biased;
            came = &mut *guest => return came.ok(),
            // A box says nothing while it waits; what can be read is its end.
            _ = link.read(&mut nothing) => return None,
            () = sleep(THERE) => {}
        }
        let there = async {
            link.write_all(b".").await?;
            link.flush().await
        };
        if !matches!(timeout(STUCK, there).await, Ok(Ok(()))) {
            return None;
        }
    }
}

/// Copies one way until an end closes, or takes nothing any more.
async fn copy(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin), count: &mut u64) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let writing = async {
            to.write_all(&piece[..read]).await?;
            to.flush().await
        };
        if !matches!(timeout(STUCK, writing).await, Ok(Ok(()))) {
            return;
        }
        *count += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn gateway() -> GatewayId {
        "gw-1".parse().expect("an id")
    }

    fn nobody() -> Guest {
        Guest {
            upgrade: hyper::upgrade::on(hyper::Request::new(())),
            by: "token:a".into(),
            noted: Arc::new(AtomicBool::new(true)),
        }
    }

    #[tokio::test]
    async fn a_link_that_nothing_is_expected_of_is_closed_at_once() {
        let (hub, _) = Hub::new();
        let (_link, door) = tokio::io::duplex(64);
        let closed = timeout(NAME / 2, serve(door, gateway(), hub)).await;
        assert!(closed.is_ok());
    }

    #[tokio::test]
    async fn whoever_was_to_come_and_did_not_is_told_as_gone() {
        let (hub, mut told) = Hub::new();
        hub.permit(&HashMap::from([(gateway(), SessionNumber(7))]));
        let (mut link, door) = tokio::io::duplex(64);
        let serving = tokio::spawn(serve(door, gateway(), hub.clone()));
        link.write_u64(7).await.expect("room");
        let mut guest = nobody();
        while let Err(again) = hub.take(&gateway(), SessionNumber(7), guest) {
            guest = again;
            sleep(Duration::from_millis(5)).await;
        }
        let used = timeout(LIMIT, told.recv()).await.expect("in time").expect("told");
        assert_eq!(
            (used.by.as_str(), used.in_bytes, used.out_bytes),
            ("token:a", 0, 0)
        );
        timeout(LIMIT, serving).await.expect("in time").expect("well");
        assert!(hub.users().is_empty());
    }
}
