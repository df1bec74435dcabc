//! Shell: homes for stories and the demo: a simulated device on the network, a faulty link, and a real agent.
#![expect(clippy::disallowed_methods, reason = "shell: starts devices and agents")]

pub mod bluetooth;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeward_devices::profile::shipped;
use homeward_devices::simulated::serve::Device;
use homeward_devices::simulated::{Behaviour, Simulated};
use homeward_protocol::claim::Claim;
use homeward_protocol::id::GatewayId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::programs::agent::Agent;
use crate::programs::fleet::Fleet;
use crate::programs::wait_for;
use crate::proxy::{Link, Proxy};

/// One home.
pub struct Home {
    /// Which placement it is.
    pub placement: String,
    /// Its box.
    pub gateway: GatewayId,
    /// The agent on the box.
    pub agent: Agent,
    /// The way from the box to the server.
    pub link: Proxy,
    device: watch::Sender<Behaviour>,
}

/// What a home is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Its placement.
    pub placement: &'a str,
    /// Its care team.
    pub team: &'a str,
    /// How much somebody there depends on the devices: low, medium or high.
    pub dependency: &'a str,
    /// What its device is called.
    pub sensor: &'a str,
    /// The shipped profile of its device.
    pub profile: &'a str,
    /// How often the device is asked, milliseconds.
    pub interval_ms: u32,
    /// What its device's values are made from.
    pub seed: u64,
}

impl Home {
    /// Claims, enrols and configures a box, and starts its device; the agent does not run yet.
    ///
    /// # Panics
    /// When one of the programs refuses: a story cannot begin without its homes.
    pub async fn settle(fleet: &Fleet, folder: &Path, plan: Plan<'_>) -> Home {
        Home::settle_in(fleet, folder, plan, &[]).await
    }

    /// The same, for an agent with an environment of its own, such as another clock.
    ///
    /// # Panics
    /// As [`Home::settle`].
    pub async fn settle_in(
        fleet: &Fleet,
        folder: &Path,
        plan: Plan<'_>,
        surroundings: &[(OsString, OsString)],
    ) -> Home {
        let dir = folder.join(plan.placement);
        fs::create_dir_all(&dir).expect("a folder for the agent");
        let mut agent = Agent::at(&dir);
        agent.surround(surroundings);
        Home::settle_with(fleet, plan, agent).await
    }

    /// The same, by this agent, whose folder is there.
    ///
    /// # Panics
    /// As [`Home::settle`].
    pub async fn settle_with(fleet: &Fleet, plan: Plan<'_>, agent: Agent) -> Home {
        let claim = fleet.json(&[
            "claim",
            "new",
            "--no-approval",
            "--placement",
            plan.placement,
            "--team",
            plan.team,
            "--dependency",
            plan.dependency,
        ]);
        let claim: Claim = serde_json::from_value(claim["claim"].clone()).expect("a claim");
        let (address, device) = device(plan).await;
        let gate = SocketAddr::from(([127, 0, 0, 1], fleet.port("gate")));
        let link = Proxy::start(gate, plan.seed).await;
        agent.enrol(&claim.to_string(), Duration::from_mins(1)).ok();
        fs::write(
            agent.dir().join("agent.toml"),
            configuration(plan, address, link.address()),
        )
        .expect("agent.toml");
        Home {
            placement: plan.placement.to_owned(),
            gateway: claim.gateway,
            agent,
            link,
            device,
        }
    }

    /// Starts the agent and waits until it says how it is.
    pub fn run(&mut self) {
        let nothing: [&str; 0] = [];
        self.agent.run(&nothing);
        let status = self.agent.dir().join("status.json");
        let program = self.agent.program();
        wait_for("the agent's first status", Duration::from_mins(1), || {
            assert!(program.runs(), "the agent ended:\n{}", program.said().join("\n"));
            status.is_file().then_some(())
        });
    }

    /// Starts the agent again where it has ended, as `Restart=always` of its unit does.
    pub fn tend(&mut self) {
        let nothing: [&str; 0] = [];
        if !self.agent.program().runs() {
            self.agent.run(&nothing);
        }
    }

    /// Sets how the way to the server is.
    pub fn set_link(&self, link: Link) {
        self.link.set(link);
    }

    /// Sets how the device behaves.
    pub fn set_device(&self, behaviour: Behaviour) {
        self.device.send_replace(behaviour);
    }

    /// Records that wait in the outbox, as the agent last said.
    pub fn waiting(&self) -> u64 {
        let status = self.agent.status();
        let lanes = status["backlog"].as_array().cloned().unwrap_or_default();
        lanes.iter().filter_map(|lane| lane["records"].as_u64()).sum()
    }
}

fn configuration(plan: Plan<'_>, device: SocketAddr, gate: SocketAddr) -> String {
    format!(
        "[server]\ngate = \"localhost:{}\"\nretry_min_ms = 200\nretry_max_ms = 2000\n\n\
         [[sensor]]\nid = \"{}\"\nprofile = \"{}\"\naddress = \"{device}\"\ninterval_ms = {}\n",
        gate.port(),
        plan.sensor,
        plan.profile,
        plan.interval_ms,
    )
}

/// Starts the simulated device of a home: where it is, and the lever that makes it behave.
///
/// # Panics
/// When loopback has no port left, or no profile has that name.
pub async fn device(plan: Plan<'_>) -> (SocketAddr, watch::Sender<Behaviour>) {
    let profile = shipped(plan.profile).expect("a shipped profile");
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let (behaviour, now) = watch::channel(Behaviour::Well);
    let begun = Instant::now();
    let device = Device {
        simulated: Simulated::new(profile, plan.seed),
        elapsed: Arc::new(move || begun.elapsed()),
        behaviour: now,
    };
    tokio::spawn(device.serve(listener));
    (address, behaviour)
}
