//! What waits to be written to one gateway.
//!
//! # Design
//! Acknowledgements are cumulative, so a newer one takes the place of the one that waits, and there is never more than
//! one a lane: a gateway that reads slowly hears how far it is stored *now*, however long it did not read. Everything
//! else only says "look now"; what finds no place costs time, never truth.

use std::collections::VecDeque;

use homeward_protocol::ack::{Ack, Next};

use super::connections::Down;

/// Most messages, beside acknowledgements, that wait for one gateway.
pub const MAILBOX: usize = 16;

/// The messages, oldest first.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: VecDeque<Letter>,
    /// How many of them are no acknowledgements.
    others: usize,
}

#[derive(Debug)]
struct Letter {
    ack: Option<Ack>,
    down: Down,
}

/// There is no place left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

impl Mailbox {
    /// Puts a message behind the others.
    pub fn put(&mut self, down: Down) -> Result<(), NoPlace> {
        if self.others >= MAILBOX {
            return Err(NoPlace);
        }
        self.others += 1;
        self.waiting.push_back(Letter { ack: None, down });
        Ok(())
    }

    /// Puts an acknowledgement, written out in `down`, in the place of the one of its lane that waits, or behind the
    /// others. One that says less than the one that waits is not needed.
    pub fn put_ack(&mut self, ack: Ack, down: Down) {
        let letter = Letter { ack: Some(ack), down };
        let same_lane = |waiting: &&mut Letter| waiting.ack.is_some_and(|a| a.lane == ack.lane);
        match self.waiting.iter_mut().find(same_lane) {
            Some(waiting) if waiting.ack.is_some_and(|old| outdoes(&old, &ack)) => {}
            Some(waiting) => *waiting = letter,
            None => self.waiting.push_back(letter),
        }
    }

    /// Takes the oldest one out.
    pub fn take(&mut self) -> Option<Down> {
        let letter = self.waiting.pop_front()?;
        self.others -= usize::from(letter.ack.is_none());
        Some(letter.down)
    }
}

/// Whether `old` still says all that `new` does: a word to take a new epoch is not taken back by what was on its way,
/// and within an epoch the one that reaches further counts. Another epoch is a newer one.
fn outdoes(old: &Ack, new: &Ack) -> bool {
    let goes_on = new.next == Next::Continue;
    old.epoch == new.epoch && goes_on && (old.next == Next::NewEpoch || old.up_to >= new.up_to)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::envelope::Lane;
    use homeward_protocol::id::{Epoch, Seq};
    use homeward_protocol::topic::Topic;

    use super::*;

    fn down(n: u8) -> Down {
        let topic = Topic::FleetNotice;
        let payload = vec![n];
        Down { topic, payload }
    }

    fn ack(epoch: u64, lane: Lane, up_to: u64, next: Next) -> Ack {
        let (epoch, up_to) = (Epoch(epoch), Seq(up_to));
        Ack {
            epoch,
            lane,
            up_to,
            next,
        }
    }

    /// What comes out, by the numbers that were put in.
    fn all(mailbox: &mut Mailbox) -> Vec<u8> {
        std::iter::from_fn(|| mailbox.take())
            .map(|down| down.payload[0])
            .collect()
    }

    #[test]
    fn a_newer_acknowledgement_takes_the_place_of_the_one_that_waits() {
        let mut mailbox = Mailbox::default();
        for n in 1..=200u8 {
            mailbox.put_ack(ack(1, Lane::Vital, n.into(), Next::Continue), down(n));
        }
        mailbox.put(down(201)).expect("a place");
        mailbox.put_ack(ack(1, Lane::Urgent, 1, Next::Continue), down(202));
        mailbox.put_ack(ack(1, Lane::Vital, 300, Next::Continue), down(203));
        assert_eq!(all(&mut mailbox), [203, 201, 202]);
    }

    #[test]
    fn what_says_less_than_the_one_that_waits_is_not_needed() {
        let (go_on, renew) = (Next::Continue, Next::NewEpoch);
        let vital = |epoch, up_to, next| ack(epoch, Lane::Vital, up_to, next);
        for (old, new, stays) in [
            (vital(1, 5, go_on), vital(1, 4, go_on), 1),
            (vital(1, 5, go_on), vital(1, 6, go_on), 2),
            (vital(1, 5, go_on), vital(1, 0, renew), 2),
            (vital(1, 2, renew), vital(1, 9, go_on), 1),
            (vital(1, 2, renew), vital(1, 0, renew), 2),
            (vital(1, 9, renew), vital(2, 1, go_on), 2),
        ] {
            let mut mailbox = Mailbox::default();
            mailbox.put_ack(old, down(1));
            mailbox.put_ack(new, down(2));
            assert_eq!(all(&mut mailbox), [stays], "{old:?} {new:?}");
        }
    }

    #[test]
    fn acknowledgements_find_a_place_also_when_the_rest_is_full() {
        let mut mailbox = Mailbox::default();
        for n in 0..MAILBOX {
            mailbox
                .put(down(u8::try_from(n).expect("small")))
                .expect("a place");
        }
        assert_eq!(mailbox.put(down(99)), Err(NoPlace));
        for lane in Lane::ALL {
            mailbox.put_ack(ack(1, lane, 7, Next::Continue), down(100));
        }
        assert_eq!(all(&mut mailbox).len(), MAILBOX + Lane::ALL.len());
        assert_eq!(mailbox.put(down(1)), Ok(()), "there is room again");
    }
}
