//! What the server said of updates, and nobody has looked at yet: the newest of each kind.
//!
//! # Design
//! What is said again takes no further place, so nothing new is ever left out for what is old, however long nobody looks.
//! Wishes for quiet have numbers: an older one takes no newer one's place. The words of the director and orders to force are
//! numbered under signatures that are not checked here; of those the last that came stays.

use std::sync::Arc;

use homeward_protocol::quiet::QuietOrder;
use tokio::sync::watch;

/// What the server sends about updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The director's word, as it was signed.
    Assigned(Vec<u8>),
    /// An order to force, with all that makes it believable.
    Force(Vec<u8>),
    /// A person's wish, from the console, that the home is not disturbed.
    Quiet(QuietOrder),
}

/// The newest of each kind.
#[derive(Debug, Default)]
pub struct Newest {
    quiet: Option<QuietOrder>,
    assigned: Option<Vec<u8>>,
    force: Option<Vec<u8>>,
}

impl Newest {
    fn put(&mut self, heard: Heard) {
        match heard {
            Heard::Assigned(word) => self.assigned = Some(word),
            Heard::Force(offer) => self.force = Some(offer),
            Heard::Quiet(order) => {
                let newer = |kept: &QuietOrder| kept.order <= order.order;
                if self.quiet.as_ref().is_none_or(newer) {
                    self.quiet = Some(order);
                }
            }
        }
    }

    /// What keeps a home from being disturbed goes first, then what may end an update.
    fn take(&mut self) -> Option<Heard> {
        let quiet = self.quiet.take().map(Heard::Quiet);
        let assigned = || self.assigned.take().map(Heard::Assigned);
        let next = quiet.or_else(assigned);
        next.or_else(|| self.force.take().map(Heard::Force))
    }
}

/// Takes it in and gives it out, for the link and for who carries updates out.
#[derive(Debug, Clone, Default)]
pub struct Inbox(Arc<watch::Sender<Newest>>);

impl Inbox {
    /// Something came.
    pub fn put(&self, heard: Heard) {
        self.0.send_modify(|newest| newest.put(heard));
    }

    /// The next to be looked at; none when nothing came.
    pub fn take(&self) -> Option<Heard> {
        let mut next = None;
        self.0.send_if_modified(|newest| {
            next = newest.take();
            false
        });
        next
    }

    /// Changes when something came, for who waits for that.
    pub fn news(&self) -> watch::Receiver<Newest> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::ShortText;

    use super::*;

    fn quiet(order: u64, left_s: u32) -> QuietOrder {
        QuietOrder {
            order,
            left_s,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        }
    }

    #[test]
    fn what_is_said_again_takes_no_place_of_what_is_new() {
        let inbox = Inbox::default();
        let news = inbox.news();
        for _ in 0..100 {
            inbox.put(Heard::Quiet(quiet(4, 0)));
            inbox.put(Heard::Assigned(vec![1]));
            inbox.put(Heard::Force(vec![2]));
        }
        inbox.put(Heard::Quiet(quiet(5, 3_600)));
        // One of before that was under way.
        inbox.put(Heard::Quiet(quiet(4, 0)));
        inbox.put(Heard::Assigned(vec![3]));
        assert!(news.has_changed().is_ok_and(|changed| changed));
        let taken: Vec<Heard> = std::iter::from_fn(|| inbox.take()).collect();
        let newest = [
            Heard::Quiet(quiet(5, 3_600)),
            Heard::Assigned(vec![3]),
            Heard::Force(vec![2]),
        ];
        assert_eq!(taken, newest);
    }

    #[test]
    fn whoever_takes_is_not_woken_by_it_and_misses_nothing_that_comes_afterwards() {
        let inbox = Inbox::default();
        inbox.put(Heard::Assigned(vec![1]));
        let news = inbox.news();
        assert_eq!(inbox.take(), Some(Heard::Assigned(vec![1])));
        assert!(news.has_changed().is_ok_and(|changed| !changed));
        inbox.put(Heard::Assigned(vec![1]));
        assert!(news.has_changed().is_ok_and(|changed| changed));
    }
}
