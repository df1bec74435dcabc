//! What people bring: an order to force that two signed. It is verified as a box does, and held against what waits there.

use homeward_protocol::policy::sign::{Floor, Ground, Refusal as Unsigned};
use homeward_protocol::release::force::{Accepted, ForceNumber, Offer, Refusal, accept, kept};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use crate::device::State;
use crate::store::{StoreError, Tx, forces, gateways, policies, updates};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, and will be sent; `new` unless it was kept before.
    Kept {
        /// The order.
        accepted: Box<Accepted>,
        /// Whether it came for the first time.
        new: bool,
    },
    /// The box would not follow it.
    Refused(Refusal),
    /// There is no such gateway in service.
    NoGateway,
    /// Another order has this number, or a higher one.
    Number(ForceNumber),
}

/// Whether an order would be taken, and whether it is new. Nothing is kept.
///
/// # Errors
/// What the store says.
pub fn look(
    tx: &mut dyn Tx,
    offer: &Offer,
    roots: &[PublicKey],
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let newest = policies::keyring(tx)?.map_or(0, |(number, _, _)| number);
    let gateway = match kept(offer, roots) {
        Ok(accepted) => accepted.order().gateway.clone(),
        Err(why) => return Ok(Taken::Refused(why)),
    };
    let ground = Ground {
        gateway: &gateway,
        roots,
        floor: Floor {
            keyring: newest,
            policy: None,
        },
        now,
    };
    let accepted = match accept(offer, ground) {
        Ok(accepted) => accepted,
        Err(why) => return Ok(Taken::Refused(why)),
    };
    if gateways::get(tx, &gateway)?.is_none_or(|known| known.state != State::Enrolled) {
        return Ok(Taken::NoGateway);
    }
    let order = accepted.order();
    let same = forces::get(tx, &gateway, order.number)?;
    if same.is_some_and(|same| same.digest == accepted.digest().to_string()) {
        let accepted = Box::new(accepted);
        return Ok(Taken::Kept { accepted, new: false });
    }
    let highest = forces::highest(tx, &gateway)?;
    if order.number <= highest {
        return Ok(Taken::Number(highest));
    }
    let word = updates::get(tx, &gateway)?;
    let is_it = word.is_some_and(|word| word.counter == order.assignment && word.path == order.path);
    let said = updates::said(tx, &gateway)?.and_then(|said| said.state.ended);
    let over = said
        .and_then(|ended| ended.counter)
        .is_some_and(|counter| counter >= order.assignment);
    if !is_it || over {
        return Ok(Taken::Refused(Refusal::OtherUpdate));
    }
    let accepted = Box::new(accepted);
    Ok(Taken::Kept { accepted, new: true })
}

/// Keeps an order that a box would follow, with its row in the audit trail.
///
/// # Errors
/// What the store says.
pub fn take(
    tx: &mut dyn Tx,
    offer: &Offer,
    roots: &[PublicKey],
    by: &str,
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let taken = look(tx, offer, roots, now)?;
    if let Taken::Kept { accepted, new: true } = &taken {
        let Ok(bytes) = offer.encode() else {
            return Ok(Taken::Refused(Refusal::Unsigned(Unsigned::Unreadable)));
        };
        forces::put(tx, accepted, &bytes, by, now)?;
    }
    Ok(taken)
}
