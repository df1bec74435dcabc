//! Shell: the two tasks of support sessions: one decides and writes down, one carries.

use std::path::Path;
use std::sync::Arc;

use homeward_protocol::support::{Moved, SessionNumber, SupportOrder};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::WISHES;
use super::wards::{Task, task};
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::keys::Server;
use crate::outbox::keeper::Outbox;
use crate::session::mqtt::Credentials;
use crate::support::InForce;
use crate::support::carry::Carrying;
use crate::support::serve::Serving;

/// The tasks, and where the server's orders go. Without a data folder there are none, and no order is taken.
pub fn keep(
    data: Option<&Path>,
    (outbox, clock): (&Outbox, &Arc<Clock>),
    in_force: watch::Receiver<InForce>,
    (server, config, credentials): (&Server, &Config, watch::Receiver<Credentials>),
    stop: &CancellationToken,
) -> (mpsc::Sender<SupportOrder>, Vec<Task>) {
    let (orders_tx, orders) = mpsc::channel(WISHES);
    let Some(data) = data else {
        return (orders_tx, Vec::new());
    };
    let (grant_tx, grant) = watch::channel(None);
    let (moved_tx, moved) = watch::channel((SessionNumber::default(), Moved::default()));
    let serving = Serving {
        data: data.to_owned(),
        outbox: outbox.clone(),
        clock: Arc::clone(clock),
        orders,
        in_force,
        grant: grant_tx,
        moved,
    };
    let gate = config.gate.as_ref().unwrap_or(&server.doors.gate);
    let carrying = Carrying {
        door: (gate.host.clone(), gate.port),
        tls: Box::new(move || Arc::clone(&credentials.borrow().tls)),
        clock: Arc::clone(clock),
        ledger: outbox.ledger(),
        grant,
        moved: moved_tx,
    };
    let tasks = vec![
        task("support", serving.run(stop.clone())),
        task("support links", carrying.run(stop.clone())),
    ];
    (orders_tx, tasks)
}
