//! A gateway's life as the server sees it: expected, waiting, enrolled, revoked.
//!
//! Decides only. [`register`] writes the rows, with their audit rows and signals, in one transaction.
//!
//! # Design
//! Revoked is an end: a box that comes back gets a new id and a new claim, so that nothing said about the old id
//! has to be reinterpreted. A gateway that is not revoked may be claimed anew (a replaced disk, a box that slept
//! longer than its renewal grace); its old certificates hold until the new claim's first certificate is issued.

pub mod attempt;
pub mod invite;
pub mod register;
pub mod view;

use std::fmt;
use std::str::FromStr;

use homeward_protocol::claim::CODE_ALPHABET;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

/// Where a gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Claimed; nobody has come with the code yet.
    Expected,
    /// The code was used; an operator is to approve.
    Waiting,
    /// It has, or had, a certificate.
    Enrolled,
    /// Shut out for good.
    Revoked,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [State; 4] = [State::Expected, State::Waiting, State::Enrolled, State::Revoked];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            State::Expected => "expected",
            State::Waiting => "waiting",
            State::Enrolled => "enrolled",
            State::Revoked => "revoked",
        }
    }

    /// The state after something happened; `None` when that cannot happen in this one.
    pub const fn after(self, event: Event) -> Option<State> {
        match (self, event) {
            (State::Revoked, _) => None,
            (_, Event::Revoked) => Some(State::Revoked),
            (_, Event::Issued) | (State::Enrolled, Event::CodeUsed) => Some(State::Enrolled),
            (State::Expected | State::Waiting, Event::CodeUsed) => Some(State::Waiting),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = State::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or("a gateway is expected, waiting, enrolled or revoked")
    }
}

/// What happens to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody came with its one-time code, and an operator has not approved yet.
    CodeUsed,
    /// A certificate was issued.
    Issued,
    /// A person shut it out.
    Revoked,
}

/// Who lets a box in that knows its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// The code is enough.
    Automatic,
    /// A person compares the fingerprint first.
    Operator,
}

impl Approval {
    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Approval::Automatic => "automatic",
            Approval::Operator => "operator",
        }
    }
}

impl FromStr for Approval {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let both = [Approval::Automatic, Approval::Operator];
        let found = both.into_iter().find(|approval| approval.name() == text);
        found.ok_or("approval is automatic or operator")
    }
}

/// What the server keeps of a claim. The code itself is not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// For which gateway.
    pub gateway: GatewayId,
    /// SHA-256 of the plain code.
    pub code_hash: [u8; 32],
    /// Who lets the box in.
    pub approval: Approval,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Until when the code can be used for the first time.
    pub expires_at: Timestamp,
    /// Wrong codes so far.
    pub failed_tries: i64,
    /// The key that used the code, and the only one that may again.
    pub key: Option<PublicKey>,
    /// When that was.
    pub used_at: Option<Timestamp>,
    /// When an operator approved.
    pub approved_at: Option<Timestamp>,
    /// Who did.
    pub approved_by: Option<String>,
}

impl Claimed {
    /// Whether a person has to approve now.
    pub fn needs_approval(&self) -> bool {
        self.approval == Approval::Operator && self.key.is_some() && self.approved_at.is_none()
    }
}

/// A gateway id from random bytes: `gw-` and ten characters of Crockford's base32 in lower case, 50 bits.
pub fn gateway_id(random: [u8; 10]) -> GatewayId {
    let tail: String = random
        .iter()
        .map(|byte| char::from(CODE_ALPHABET[usize::from(byte & 31)]).to_ascii_lowercase())
        .collect();
    format!("gw-{tail}")
        .parse()
        .expect("13 characters of a-z, 0-9 and an inner hyphen")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_leads_out_of_revoked() {
        for event in [Event::CodeUsed, Event::Issued, Event::Revoked] {
            assert_eq!(State::Revoked.after(event), None);
        }
    }

    #[test]
    fn an_enrolled_gateway_that_is_claimed_anew_stays_enrolled_while_it_waits() {
        assert_eq!(State::Enrolled.after(Event::CodeUsed), Some(State::Enrolled));
        assert_eq!(State::Expected.after(Event::CodeUsed), Some(State::Waiting));
        assert_eq!(State::Waiting.after(Event::Issued), Some(State::Enrolled));
    }

    #[test]
    fn names_read_back() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
    }

    proptest! {
        #[test]
        fn any_random_bytes_make_an_id(bytes in any::<[u8; 10]>()) {
            prop_assert_eq!(gateway_id(bytes).as_str().len(), 13);
        }
    }
}
