//! Where a person's end and a box's link of one session meet. In memory only: who restarts, dials anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::SessionNumber;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Uses that wait to be written down: boxes have one link each, and a link lasts.
const USES: usize = 1024;
/// Links of one box that have not said which session they are for: it has one that waits, and one that comes after it.
const UNNAMED: u8 = 2;

/// A person's end, on its way to be one.
#[derive(Debug)]
pub struct Guest {
    /// The connection, once the answer that announces it is out.
    pub upgrade: OnUpgrade,
    /// Whose.
    pub by: String,
    /// Whether it stands in the audit trail that they came.
    pub noted: Arc<AtomicBool>,
}

/// What went through one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// To which box.
    pub gateway: GatewayId,
    /// In which session.
    pub session: SessionNumber,
    /// By whom.
    pub by: String,
    /// Bytes to the box.
    pub in_bytes: u64,
    /// Bytes from it.
    pub out_bytes: u64,
}

/// A box's link that waits for a person.
#[derive(Debug)]
pub struct Seat {
    /// Who comes. It ends when another link takes this one's place.
    pub guest: oneshot::Receiver<Guest>,
    /// Fired when the session may meet nobody here any more.
    pub over: CancellationToken,
}

#[derive(Debug)]
struct Permit {
    session: SessionNumber,
    over: CancellationToken,
    seat: Option<oneshot::Sender<Guest>>,
    unnamed: u8,
}

#[derive(Debug, Default)]
struct Room {
    permits: HashMap<GatewayId, Permit>,
    /// The ends in use: whose, and what cuts them.
    ends: HashMap<u64, (String, CancellationToken)>,
    next: u64,
    closed: bool,
}

/// A cheap handle: clones see the same room.
#[derive(Debug, Clone)]
pub struct Hub {
    room: Arc<Mutex<Room>>,
    uses: mpsc::Sender<Used>,
}

/// A link that has not said which session it is for. Its place is free again when this is dropped.
#[derive(Debug)]
pub struct Unnamed {
    /// Fired when its box may meet nobody here any more.
    pub over: CancellationToken,
    hub: Hub,
    gateway: GatewayId,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(permit) = self.hub.room().permits.get_mut(&self.gateway) {
            permit.unnamed = permit.unnamed.saturating_sub(1);
        }
    }
}

/// A person's end that is in use, until this is dropped.
#[derive(Debug)]
pub struct InUse {
    /// Fired when that person may not be here any more.
    pub over: CancellationToken,
    hub: Hub,
    end: u64,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.hub.room().ends.remove(&self.end);
    }
}

impl Hub {
    /// Nobody may meet yet; and where what was used is told.
    pub fn new() -> (Hub, mpsc::Receiver<Used>) {
        let (uses, noted) = mpsc::channel(USES);
        let room = Arc::default();
        (Hub { room, uses }, noted)
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these sessions may meet here, and no others: what is open of those is cut.
    pub fn permit(&self, sessions: &HashMap<GatewayId, SessionNumber>) {
        let mut room = self.room();
        if room.closed {
            return;
        }
        room.permits.retain(|gateway, permit| {
            let stays = sessions.get(gateway) == Some(&permit.session);
            if !stays {
                permit.over.cancel();
            }
            stays
        });
        for (gateway, session) in sessions {
            room.permits.entry(gateway.clone()).or_insert_with(|| Permit {
                session: *session,
                over: CancellationToken::new(),
                seat: None,
                unnamed: 0,
            });
        }
    }

    /// A place for a link that has yet to say which session it is for; none for a box that nothing is expected of.
    pub fn admit(&self, gateway: &GatewayId) -> Option<Unnamed> {
        let mut room = self.room();
        let permit = room
            .permits
            .get_mut(gateway)
            .filter(|permit| permit.unnamed < UNNAMED)?;
        permit.unnamed += 1;
        Some(Unnamed {
            over: permit.over.clone(),
            hub: self.clone(),
            gateway: gateway.clone(),
        })
    }

    /// Ends the links of this box that stand: what proved them proves nothing any more. It may dial anew.
    pub fn cut(&self, gateway: &GatewayId) {
        if let Some(permit) = self.room().permits.get_mut(gateway) {
            permit.over.cancel();
            permit.over = CancellationToken::new();
            permit.seat = None;
        }
    }

    /// A person's end is in use.
    pub fn enter(&self, by: &str) -> InUse {
        let mut room = self.room();
        let over = CancellationToken::new();
        if room.closed {
            over.cancel();
        }
        let end = room.next;
        room.next += 1;
        room.ends.insert(end, (by.to_owned(), over.clone()));
        InUse {
            over,
            hub: self.clone(),
            end,
        }
    }

    /// Whose ends are in use.
    pub fn users(&self) -> BTreeSet<String> {
        self.room().ends.values().map(|(by, _)| by.clone()).collect()
    }

    /// Cuts the ends of somebody who may not be here any more.
    pub fn oust(&self, by: &str) {
        for (whose, over) in self.room().ends.values() {
            if whose == by {
                over.cancel();
            }
        }
    }

    /// The server stops: everybody leaves, and nobody comes.
    pub fn close(&self) {
        let mut room = self.room();
        room.closed = true;
        for (_, permit) in room.permits.drain() {
            permit.over.cancel();
        }
        for (_, over) in room.ends.values() {
            over.cancel();
        }
    }

    /// A seat for a link of this session; none when it may not meet anybody here.
    pub fn seat(&self, gateway: &GatewayId, session: SessionNumber) -> Option<Seat> {
        let mut room = self.room();
        let permit = room
            .permits
            .get_mut(gateway)
            .filter(|permit| permit.session == session)?;
        let (seat, guest) = oneshot::channel();
        permit.seat = Some(seat);
        Some(Seat {
            guest,
            over: permit.over.clone(),
        })
    }

    /// Gives a person's end to the link that waits.
    ///
    /// # Errors
    /// The guest again, when none does.
    pub fn take(&self, gateway: &GatewayId, session: SessionNumber, guest: Guest) -> Result<(), Guest> {
        let mut room = self.room();
        let permit = room
            .permits
            .get_mut(gateway)
            .filter(|permit| permit.session == session);
        match permit.and_then(|permit| permit.seat.take()) {
            Some(seat) => seat.send(guest),
            None => Err(guest),
        }
    }

    /// Where what was used is told.
    pub const fn uses(&self) -> &mpsc::Sender<Used> {
        &self.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> GatewayId {
        "gw-1".parse().expect("an id")
    }

    fn hub() -> Hub {
        let (hub, _) = Hub::new();
        hub.permit(&HashMap::from([(gateway(), SessionNumber(7))]));
        hub
    }

    #[test]
    fn unnamed_links_are_for_boxes_that_are_expected_and_few() {
        let (nobody, _) = Hub::new();
        assert!(nobody.admit(&gateway()).is_none());
        let hub = hub();
        let held: Vec<_> = (0..9).filter_map(|_| hub.admit(&gateway())).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(hub.admit(&gateway()).is_some(), "their places are free again");
    }

    #[test]
    fn what_stands_is_cut_and_what_comes_after_it_is_not() {
        let hub = hub();
        let unnamed = hub.admit(&gateway()).expect("expected");
        let seat = hub.seat(&gateway(), SessionNumber(7)).expect("permitted");
        hub.cut(&gateway());
        assert!(unnamed.over.is_cancelled() && seat.over.is_cancelled());
        let next = hub.seat(&gateway(), SessionNumber(7)).expect("permitted");
        assert!(!next.over.is_cancelled());
    }

    #[test]
    fn the_ends_of_one_person_are_cut_and_those_of_others_stay() {
        let hub = hub();
        let (one, other) = (hub.enter("token:a"), hub.enter("token:b"));
        assert_eq!(hub.users().len(), 2);
        hub.oust("token:a");
        assert!(one.over.is_cancelled() && !other.over.is_cancelled());
        drop(one);
        assert_eq!(hub.users().len(), 1);
        hub.close();
        assert!(other.over.is_cancelled());
        assert!(hub.enter("token:c").over.is_cancelled() && hub.admit(&gateway()).is_none());
    }
}
