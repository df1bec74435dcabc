//! Shell: what the policies of a box start with, as it starts and for the command line.
#![expect(clippy::disallowed_methods, reason = "shell: a file")]

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_protocol::policy::{MAX_POLICY, Policy};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::wards::{Task, task};
use super::{WISHES, looking};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::load::Guarding;
use crate::identity::keys::{Folder, Identity, KeyError, Server};
use crate::outbox::keeper::Outbox;
use crate::policy::habits::{Habits, Now, vital};
use crate::policy::helper::{Helper, SOCKET};
use crate::policy::keep::{Keeping, Own, load, roots};
use crate::policy::look::resolvers;
use crate::policy::rules::{Needs, Vital};
use crate::policy::{Effect, Heard, Me, Moment, Policies};
use crate::sense::Sensor;
use crate::status::LinkStatus;
use crate::support::InForce;
use crate::trials::Trials;

/// What the policies of a box start with.
pub struct Start {
    /// What was decided before, and what is to be done first.
    pub policies: (Policies, Vec<Effect>),
    /// What the agent has of its own.
    pub own: Own,
    /// Where the habits that a policy wants are told.
    pub habits: watch::Sender<Arc<Habits>>,
    /// The socket of the helper with rights.
    pub helper: PathBuf,
    /// Whether something else is on trial.
    pub trials: Trials,
}

/// The ends of the task that keeps the policies.
pub struct Ends {
    /// Where offers and orders go.
    pub heard: mpsc::Sender<Heard>,
    /// Told when the link is to connect anew.
    pub again: watch::Receiver<u64>,
    /// What rules the box about support tunnels.
    pub support: watch::Receiver<InForce>,
    /// The task; none for a box that takes no policies.
    pub task: Option<Task>,
}

impl Start {
    /// The habits of now.
    pub fn habits(start: Option<&Start>) -> Now {
        start.map_or_else(
            || watch::channel(Arc::default()).1,
            |start| start.habits.subscribe(),
        )
    }
}

/// The task that keeps the policies in a data folder, and its ends.
pub fn keep(
    start: Option<(Start, PathBuf)>,
    outbox: &Outbox,
    clock: &Arc<Clock>,
    (link, trust): (
        &watch::Receiver<LinkStatus>,
        &watch::Receiver<Vec<CertificateDer<'static>>>,
    ),
    stop: &CancellationToken,
) -> Ends {
    let (heard_tx, heard) = mpsc::channel(WISHES);
    let (reconnect, again) = watch::channel(0);
    let (support_tx, support) = watch::channel(InForce::default());
    let keeping = start.map(|(start, data)| Keeping {
        data,
        start: start.policies,
        own: start.own,
        habits: start.habits,
        eyes: |want| Box::pin(looking::seen(want)),
        radio: |orders| Box::pin(looking::switch(orders)),
        helper: Helper { socket: start.helper },
        outbox: outbox.clone(),
        clock: Arc::clone(clock),
        heard,
        link: link.clone(),
        trust: trust.clone(),
        reconnect,
        support: support_tx,
        trials: start.trials,
    });
    Ends {
        heard: heard_tx,
        again,
        support,
        task: keeping.map(|keeping| task("policy", keeping.run(stop.clone()))),
    }
}

/// Goes on with what is kept; the habits that it wants hold from the start.
pub fn resume(
    data: &Path,
    identity: &Identity,
    (config, sensors, guards): (&Config, &[Sensor], &[Guarding]),
    (clock, trials): (&Clock, Trials),
) -> Start {
    let me = me(&identity.server, &identity.trust, config, sensors);
    let policies = Policies::resume(load(data), me, moment(clock));
    let habits = Habits::of(policies.0.effective(clock.now()).1.as_ref());
    let behind = guards
        .iter()
        .flat_map(|guarding| guarding.plan.rules.units.values());
    let helper = config.policy_helper.clone().unwrap_or_else(|| SOCKET.into());
    Start {
        policies,
        own: Own {
            config: config.clone(),
            sensors: sensors.to_vec(),
            guarded: behind.map(|guarded| guarded.sensor.clone()).collect(),
        },
        habits: watch::Sender::new(Arc::new(habits)),
        helper,
        trials,
    }
}

fn me(server: &Server, trust: &[CertificateDer<'_>], config: &Config, sensors: &[Sensor]) -> Me {
    let doors = &server.doors;
    let mut ports = vec![doors.gate.port, doors.renewal.port, server.enrolment.port];
    ports.extend(config.gate.as_ref().map(|gate| gate.port));
    ports.sort_unstable();
    ports.dedup();
    let mut needs = Needs {
        agent: rustix::process::getuid().as_raw(),
        server_ports: ports,
        vital: vital(sensors),
        resolvers: Vec::new(),
    };
    // Whatever a policy says of the fleet's networks: each door that the box knows is a way to be mended by.
    let gate = config.gate.as_ref().unwrap_or(&doors.gate);
    let known = [gate, &doors.renewal, &server.enrolment];
    needs
        .vital
        .extend(known.map(|door| Vital::to(&door.host, door.port)));
    needs.vital.sort_unstable();
    needs.vital.dedup();
    if needs.by_name() {
        needs.resolvers = resolvers();
    }
    Me {
        gateway: server.gateway.clone(),
        roots: roots(trust),
        needs,
        reads_bluetooth: sensors.iter().any(|sensor| sensor.ble_address().is_some()),
    }
}

fn moment(clock: &Clock) -> Moment {
    Moment {
        uptime: clock.uptime(),
        at: clock.now(),
    }
}

/// The policy that rules the box of a data folder now, isolation and its end considered; none for none.
pub fn now(data: &Path, clock: &Clock) -> Result<Option<Policy>, KeyError> {
    let folder = Folder::within(data);
    let config = Config::parse("").map_err(|_| KeyError::NotEnrolled(data.to_owned()))?;
    let me = me(&folder.server()?, &folder.trust()?, &config, &[]);
    let (policies, _) = Policies::resume(load(data), me, moment(clock));
    Ok(policies.effective(clock.now()).1)
}

/// The text of a policy document.
pub fn document(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(MAX_POLICY).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(file)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}
