//! Shell: one link of a box: waits for a person, then carries bytes both ways until either end closes.
//!
//! ```text
//! box: the session's number (8 bytes, big endian)
//! server: `.` every 20 s while nobody is there, then GO; from there on the far ends' own bytes
//! ```
#![expect(clippy::disallowed_methods, reason = "shell: sockets and time limits")]

use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::{GO, SessionNumber};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{sleep, timeout};

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
    let Ok(Ok(number)) = timeout(NAME, link.read_u64()).await else {
        return;
    };
    let session = SessionNumber(number);
    let Some(Seat { mut guest, over }) = hub.seat(&gateway, session) else {
        return;
    };
    let came = tokio::select! {
        () = over.cancelled() => None,
        came = wait(&mut link, &mut guest) => came,
    };
    let Some(Guest { upgrade, by }) = came else {
        return;
    };
    let Ok(Ok(person)) = timeout(ARRIVE, upgrade).await else {
        return;
    };
    let (mut in_bytes, mut out_bytes) = (0, 0);
    {
        let (from_box, mut to_box) = split(link);
        let (from_person, mut to_person) = split(TokioIo::new(person));
        if to_box.write_all(&[GO]).await.is_ok() && to_box.flush().await.is_ok() {
            tokio::select! {
                () = over.cancelled() => {}
                () = copy(from_person, &mut to_box, &mut in_bytes) => {}
                () = copy(from_box, &mut to_person, &mut out_bytes) => {}
            }
        }
        let _gone = timeout(GOODBYE, to_person.shutdown()).await;
        let _gone = timeout(GOODBYE, to_box.shutdown()).await;
    }
    hub.tell(Used {
        gateway,
        session,
        by,
        in_bytes,
        out_bytes,
    });
}

/// Waits for a person; none when the box left, or another link took this one's place.
async fn wait(
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
    guest: &mut tokio::sync::oneshot::Receiver<Guest>,
) -> Option<Guest> {
    loop {
        let mut nothing = [0];
        tokio::select! {
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
