//! Whether a BLE sensor still holds the bond of its association.
//!
//! Found at the connection that shows it. No false alarms by its own doing: it stands only when the link was not
//! encrypted with the bond of the association, or the sensor refused its key. A sensor that was reset by a person
//! looks like an impostor: both need a person. Over at the next connection with the right bond.

use homeward_protocol::bond::Bond;
use homeward_protocol::time::Timestamp;

use super::{Claim, Finds};

#[derive(Debug, Default)]
pub(super) struct BondWatch {
    seen: bool,
    claim: Option<Claim>,
}

impl BondWatch {
    pub(super) fn connected(&mut self, wanted: Option<Bond>, found: Option<Bond>, now: Timestamp) {
        self.seen = true;
        let said = match (wanted, found) {
            (Some(_), None) => Some("it was bonded, and connects without its bond"),
            (Some(wanted), Some(found)) if found.weaker_than(wanted) => {
                Some("its bond is weaker than it was")
            }
            (Some(wanted), Some(found)) if found != wanted => Some("its bond is another one"),
            _ => None,
        };
        match said {
            Some(said) => self.stand(said, now),
            None => self.claim = None,
        }
    }

    pub(super) fn refused(&mut self, now: Timestamp) {
        self.seen = true;
        self.stand("it lost its bond, or is not the sensor", now);
    }

    pub(super) fn finds(&self) -> Finds {
        if self.seen {
            Finds::of(self.claim.as_ref())
        } else {
            Finds::Unknown
        }
    }

    fn stand(&mut self, said: &str, since: Timestamp) {
        self.claim.get_or_insert_with(|| Claim {
            since,
            said: said.to_owned(),
        });
    }
}
