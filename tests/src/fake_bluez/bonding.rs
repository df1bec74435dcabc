//! Pairing: what the stack asks whom, and what key comes of it.

use homeward_protocol::bond::BleAddress;

use super::say::{Body, CallId, Question, Refusal, Say};
use super::sensor::Asks;
use super::world::World;

/// What a pairing agent said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These digits.
    Passkey(u32),
    /// Yes.
    Yes,
    /// No, or nothing.
    No,
}

impl World {
    pub(super) fn pair(&mut self, call: CallId, client: &str, address: BleAddress) {
        if !self.adapter.powered {
            return self.answer(call, Err(Refusal::bluez("NotReady", "Resource Not Ready")));
        }
        let near = self.near.get(&address).filter(|near| near.reachable);
        let asks = near.map(|near| near.sensor.pairing.asks);
        let Some(known) = self.known.get_mut(&address) else {
            return self.answer(call, Err(Refusal::bus("UnknownObject")));
        };
        if known.bond.is_some() {
            return self.answer(call, Err(Refusal::bluez("AlreadyExists", "Already Exists")));
        }
        let Some(asks) = asks else {
            let gone = Refusal::bluez("ConnectionAttemptFailed", "Page Timeout");
            return self.answer(call, Err(gone));
        };
        known.pairing = Some(call);
        if !known.connected {
            self.link(address);
        }
        let question = match asks {
            Asks::Nothing => return self.bond(address),
            Asks::Refuses => return self.no_bond(address, "AuthenticationRejected"),
            Asks::Passkey(_) => Question::Passkey,
            Asks::Typed(digits) => Question::Display(digits),
            Asks::Compare { number, .. } => Question::Confirm(number),
        };
        let agents = &self.agents;
        let own = agents.all.get_key_value(client);
        let first = || agents.all.get_key_value(agents.first.as_ref()?);
        match own.or_else(first) {
            Some((client, path)) => self.said.push(Say::Ask {
                call,
                agent: (client.clone(), path.clone()),
                device: address,
                question,
            }),
            None => self.no_bond(address, "AuthenticationFailed"),
        }
    }

    /// What the agent said to the question of pairing `call`.
    pub fn agent_said(&mut self, call: CallId, address: BleAddress, said: &Said) {
        let goes_on = self.known.get(&address).is_some_and(|k| k.pairing == Some(call));
        let asks = self.near.get(&address).map(|near| near.sensor.pairing.asks);
        let (true, Some(asks)) = (goes_on, asks) else {
            return;
        };
        let agreed = match (asks, said) {
            (Asks::Passkey(shown), Said::Passkey(typed)) => shown == *typed,
            (Asks::Compare { same, .. }, Said::Yes) => same,
            (Asks::Typed(_), Said::Yes) => true,
            _ => false,
        };
        if agreed {
            self.bond(address);
        } else {
            self.no_bond(address, "AuthenticationFailed");
        }
    }

    fn bond(&mut self, address: BleAddress) {
        let Some(near) = self.near.get_mut(&address) else {
            return;
        };
        near.holds_bond = true;
        let bond = near.sensor.pairing.bond;
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        known.bond = Some(bond);
        let call = known.pairing.take();
        self.changed_device(address, &["Paired", "Bonded"]);
        if let Some(call) = call {
            self.answer(call, Ok(Body::Empty));
        }
        // As with bluetoothd, the file comes a moment after the word.
        self.said.push(Say::Key(address, Some(bond)));
    }

    fn no_bond(&mut self, address: BleAddress, why: &str) {
        let call = self.known.get_mut(&address).and_then(|k| k.pairing.take());
        self.lose(address);
        if let Some(call) = call {
            self.answer(call, Err(Refusal::bluez(why, "Authentication Failed")));
        }
    }

    pub(super) fn cancel_pairing(&mut self, call: CallId, address: BleAddress) {
        let goes_on = self.known.get(&address).is_some_and(|k| k.pairing.is_some());
        if !goes_on {
            let none = Refusal::bluez("DoesNotExist", "Does Not Exist");
            return self.answer(call, Err(none));
        }
        self.no_bond(address, "AuthenticationCanceled");
        self.answer(call, Ok(Body::Empty));
    }
}
