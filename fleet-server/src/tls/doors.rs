//! Shell: what each listener's TLS is at the moment; whoever serves one watches it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use tokio::sync::watch;

use super::known::Proved;
use super::{TlsError, Trust, enrol, gate, renewal, tickets, web};
use crate::ca::{Identity, Listed, Serial};
use crate::clock::Clock;

/// The configurations of all listeners, each behind a `watch`, and what they are remade from.
pub struct Doors {
    gate: watch::Sender<Arc<ServerConfig>>,
    enrol: watch::Sender<Arc<ServerConfig>>,
    renewal: watch::Sender<Arc<ServerConfig>>,
    web: watch::Sender<Arc<ServerConfig>>,
    lists: watch::Sender<Vec<Listed>>,
    gate_tickets: Mutex<GateTickets>,
    proved: Proved,
    web_tickets: Arc<dyn ProducesTickets>,
    clock: Clock,
}

/// The gate's ticket key, and the revocation list that held for every ticket made with it.
struct GateTickets {
    key: Arc<dyn ProducesTickets>,
    revoked: HashSet<Serial>,
}

impl GateTickets {
    /// A new key when the list has grown: old tickets would bring a revoked client in without being verified.
    fn after(&mut self, trust: &Trust) -> Result<Arc<dyn ProducesTickets>, TlsError> {
        if !trust.revoked.is_subset(&self.revoked) {
            self.key = tickets()?;
        }
        self.revoked.clone_from(&trust.revoked);
        Ok(Arc::clone(&self.key))
    }
}

impl Doors {
    /// All four doors. `console` is what the console shows, the same identity unless the operator has one of his own.
    pub fn open(
        identity: &Identity,
        console: &Identity,
        trust: &Trust,
        clock: &Clock,
    ) -> Result<Doors, TlsError> {
        let (gate_tickets, web_tickets) = (tickets()?, tickets()?);
        let proved = Proved::default();
        Ok(Doors {
            gate: watch::Sender::new(gate(identity, trust, &gate_tickets, &proved, clock)?),
            enrol: watch::Sender::new(enrol(identity, trust, clock)?),
            renewal: watch::Sender::new(renewal(identity, trust, clock)?),
            web: watch::Sender::new(web(console, &web_tickets, clock)?),
            lists: watch::Sender::new(trust.lists.clone()),
            gate_tickets: Mutex::new(GateTickets {
                key: gate_tickets,
                revoked: trust.revoked.clone(),
            }),
            proved,
            web_tickets,
            clock: clock.clone(),
        })
    }

    /// Puts new certificates or a new revocation list in force for all connections from now on.
    pub fn refresh(&self, identity: &Identity, console: &Identity, trust: &Trust) -> Result<(), TlsError> {
        let clock = &self.clock;
        let mut tickets = self.gate_tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let new_gate = gate(identity, trust, &tickets.after(trust)?, &self.proved, clock)?;
        let new_enrol = enrol(identity, trust, clock)?;
        let new_renewal = renewal(identity, trust, clock)?;
        let new_web = web(console, &self.web_tickets, clock)?;
        self.gate.send_replace(new_gate);
        self.enrol.send_replace(new_enrol);
        self.renewal.send_replace(new_renewal);
        self.web.send_replace(new_web);
        self.lists.send_replace(trust.lists.clone());
        Ok(())
    }

    /// For the gate.
    pub fn gate(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.gate.subscribe()
    }

    /// For the enrolment listener.
    pub fn enrol(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.enrol.subscribe()
    }

    /// For the renewal listener.
    pub fn renewal(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.renewal.subscribe()
    }

    /// The revocation lists in force, to be served.
    pub fn lists(&self) -> watch::Receiver<Vec<Listed>> {
        self.lists.subscribe()
    }

    /// For the console and the API.
    pub fn web(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.web.subscribe()
    }
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doors")
    }
}
