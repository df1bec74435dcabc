//! Where a person's end and a box's link of one session meet. In memory only: who restarts, dials anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::SessionNumber;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Uses that wait to be written down: boxes have one link each, and a link lasts.
const USES: usize = 1024;

/// A person's end, on its way to be one.
#[derive(Debug)]
pub struct Guest {
    /// The connection, once the answer that announces it is out.
    pub upgrade: OnUpgrade,
    /// Whose.
    pub by: String,
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
}

/// A cheap handle: clones see the same room.
#[derive(Debug, Clone)]
pub struct Hub {
    permits: Arc<Mutex<HashMap<GatewayId, Permit>>>,
    uses: mpsc::Sender<Used>,
}

impl Hub {
    /// Nobody may meet yet; and where what was used is told.
    pub fn new() -> (Hub, mpsc::Receiver<Used>) {
        let (uses, noted) = mpsc::channel(USES);
        let permits = Arc::default();
        (Hub { permits, uses }, noted)
    }

    fn permits(&self) -> MutexGuard<'_, HashMap<GatewayId, Permit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these sessions may meet here, and no others: what is open of those is cut.
    pub fn permit(&self, sessions: &HashMap<GatewayId, SessionNumber>) {
        let mut permits = self.permits();
        permits.retain(|gateway, permit| {
            let stays = sessions.get(gateway) == Some(&permit.session);
            if !stays {
                permit.over.cancel();
            }
            stays
        });
        for (gateway, session) in sessions {
            permits.entry(gateway.clone()).or_insert_with(|| Permit {
                session: *session,
                over: CancellationToken::new(),
                seat: None,
            });
        }
    }

    /// A seat for a link of this session; none when it may not meet anybody here.
    pub fn seat(&self, gateway: &GatewayId, session: SessionNumber) -> Option<Seat> {
        let mut permits = self.permits();
        let permit = permits
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
        let mut permits = self.permits();
        let permit = permits
            .get_mut(gateway)
            .filter(|permit| permit.session == session);
        match permit.and_then(|permit| permit.seat.take()) {
            Some(seat) => seat.send(guest),
            None => Err(guest),
        }
    }

    /// Tells what was used. What finds no place stands in the box's own record all the same.
    pub fn tell(&self, used: Used) {
        let _full = self.uses.try_send(used);
    }
}
