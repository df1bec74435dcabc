//! Shell: what the server says while something else is being done: it waits, but for what closes a support tunnel.

use std::collections::VecDeque;

use homeward_protocol::policy::isolation::Ordered;
use tokio::sync::mpsc;

use crate::policy::Heard;

/// What may wait: an offer or an order comes again, so more would only be older.
const MOST: usize = 16;

/// What was heard, in order.
#[derive(Debug)]
pub(super) struct Inbox {
    heard: mpsc::Receiver<Heard>,
    waiting: VecDeque<Heard>,
}

impl Inbox {
    /// Nothing waits yet.
    pub(super) const fn new(heard: mpsc::Receiver<Heard>) -> Inbox {
        let waiting = VecDeque::new();
        Inbox { heard, waiting }
    }

    /// The next; none when nobody says anything any more.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        match self.waiting.pop_front() {
            Some(heard) => Some(heard),
            None => self.heard.recv().await,
        }
    }

    /// Whether an order waits that shuts the box off.
    pub(super) fn isolates(&self) -> bool {
        self.waiting.iter().any(isolates)
    }

    /// Waits for `work`; `isolated` is called at once for each order that shuts the box off meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>, isolated: impl Fn()) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(heard) = self.heard.recv(), if self.waiting.len() < MOST => {
                    if isolates(&heard) {
                        isolated();
                    }
                    self.waiting.push_back(heard);
                }
            }
        }
    }
}

fn isolates(heard: &Heard) -> bool {
    matches!(heard, Heard::Order(order) if order.ordered == Ordered::Isolate)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_protocol::policy::isolation::IsolationOrder;
    use homeward_protocol::posture::ShortText;
    use homeward_protocol::time::Timestamp;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    fn order(number: u64, ordered: Ordered) -> Heard {
        Heard::Order(IsolationOrder {
            order: number,
            ordered,
            reason: ShortText::cut("strange"),
            at: Timestamp::synced(0),
        })
    }

    #[tokio::test]
    async fn an_order_that_shuts_the_box_off_waits_for_no_look() {
        let (say, heard) = mpsc::channel(4);
        let mut inbox = Inbox::new(heard);
        let (shut, mut is_shut) = watch::channel(false);
        for one in [order(1, Ordered::Lift), order(2, Ordered::Isolate)] {
            say.send(one).await.expect("room");
        }
        // A look that lasts for ever, but for the order.
        let look = async { is_shut.wait_for(|shut| *shut).await.is_ok() };
        let looking = inbox.beside(look, || {
            shut.send_replace(true);
        });
        assert_eq!(timeout(Duration::from_secs(20), looking).await, Ok(true));
        // Both are still to be followed, in their order.
        assert!(inbox.isolates());
        assert_eq!(inbox.next().await, Some(order(1, Ordered::Lift)));
        assert_eq!(inbox.next().await, Some(order(2, Ordered::Isolate)));
        assert!(!inbox.isolates());
    }
}
