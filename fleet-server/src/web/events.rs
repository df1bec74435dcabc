//! Shell: "look now" for open pages, as server-sent events. A hint says nothing but that something has changed.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, sleep, timeout_at};

use super::Desk;
use super::error::Failure;
use crate::bus;

/// A page is told at most this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(3);
/// A stream ends after this long; the page comes back, and the guard asks again who it is.
const LASTS: Duration = Duration::from_mins(10);
/// A word now and then keeps proxies from cutting a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Listener {
    events: broadcast::Receiver<bus::Event>,
    ends: Instant,
    told: bool,
    _place: OwnedSemaphorePermit,
}

/// A stream of hints.
pub async fn get(State(desk): State<Desk>) -> Result<Response, Failure> {
    let place = desk
        .listeners
        .clone()
        .try_acquire_owned()
        .map_err(|_| Failure::Busy)?;
    let listener = Listener {
        events: desk.bus.subscribe(),
        ends: Instant::now() + LASTS,
        told: false,
        _place: place,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(stream::unfold(listener, next))
        .keep_alive(keep_alive)
        .into_response())
}

/// Waits for a change, and lets more of them come together into one hint.
async fn next(mut listener: Listener) -> Option<(Result<Event, Infallible>, Listener)> {
    if listener.told {
        sleep(AT_MOST_EVERY).await;
    }
    listener.told = true;
    let heard = timeout_at(listener.ends, listener.events.recv()).await;
    match heard {
        Ok(Ok(_) | Err(RecvError::Lagged(_))) => {
            listener.events = listener.events.resubscribe();
            Some((Ok(Event::default().event("look").data("now")), listener))
        }
        Ok(Err(RecvError::Closed)) | Err(_) => None,
    }
}
