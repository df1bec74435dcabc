//! Shell: time limits on a peer that reads or writes slowly.
#![expect(clippy::disallowed_methods, reason = "shell: waiting")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and for how many bytes, we go on reading what nobody wants, after our last word.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 512 * 1024;

/// A stream whose writes fail when the peer takes nothing for too long.
///
/// When it is shut down it reads on for a moment: closing a socket with unread bytes resets it, and a peer that is
/// still sending would then never see the answer that says why its request is too long.
pub struct Patient<S> {
    stream: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    last_words: Option<LastWords>,
}

struct LastWords {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Patient<S> {
    /// Lets the peer refuse to read for at most `limit`.
    pub fn new(stream: S, limit: Duration) -> Self {
        Patient {
            stream,
            limit,
            waiting: None,
            last_words: None,
        }
    }

    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not read",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.last_words.is_none() {
            let done = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.bounded(cx, done))?;
        }
        let Patient {
            stream, last_words, ..
        } = &mut *self;
        let last_words = last_words.get_or_insert_with(|| LastWords {
            until: Box::pin(tokio::time::sleep(LINGER)),
            bytes_left: LINGER_BYTES,
        });
        let mut scratch = [0; 4096];
        while last_words.bytes_left > 0 && last_words.until.as_mut().poll(cx).is_pending() {
            let mut unwanted = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut unwanted));
            let got = unwanted.filled().len();
            if read.is_err() || got == 0 {
                break;
            }
            last_words.bytes_left = last_words.bytes_left.saturating_sub(got);
        }
        Poll::Ready(Ok(()))
    }
}

/// A request body that ends with an error when it is too long or takes too long.
pub struct Bounded {
    body: Limited<Incoming>,
    until: Pin<Box<Sleep>>,
}

impl Bounded {
    /// At most `bytes` within `time` from now.
    pub fn new(body: Incoming, bytes: usize, time: Duration) -> Self {
        Bounded {
            body: Limited::new(body, bytes),
            until: Box::pin(tokio::time::sleep(time)),
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.until.as_mut().poll(cx));
        Poll::Ready(Some(Err("the request's body took too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
