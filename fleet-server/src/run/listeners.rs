//! Shell: every door bound, and what is said of them at the start.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: binds listeners, speaks on standard output"
)]

use std::net::SocketAddr;

use homeward_protocol::time::Timestamp;
use tokio::net::TcpListener;

use super::RunError;
use crate::config::Config;
use crate::place::Ports;
use crate::store::Store;

/// All listeners, bound.
pub(super) struct Listeners {
    pub(super) gate: TcpListener,
    pub(super) enrol: TcpListener,
    pub(super) renewal: TcpListener,
    pub(super) console: TcpListener,
    pub(super) local: TcpListener,
}

impl Listeners {
    /// Binds them all, or none.
    pub(super) async fn bind(config: &Config) -> Result<Listeners, RunError> {
        async fn one(door: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
            TcpListener::bind(address)
                .await
                .map_err(|source| RunError::Listen {
                    door,
                    address,
                    source,
                })
        }
        Ok(Listeners {
            gate: one("gate", config.listen.gate).await?,
            enrol: one("enrol", config.listen.enrol).await?,
            renewal: one("renewal", config.listen.renewal).await?,
            console: one("console", config.listen.console).await?,
            local: one("local", config.listen.local).await?,
        })
    }

    /// The ports that were chosen.
    pub(super) fn ports(&self) -> Result<Ports, RunError> {
        let port = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map(|a| a.port()).map_err(|e| RunError::Process {
                step: "ask for a port",
                why: e.to_string(),
            })
        };
        Ok(Ports {
            gate: port(&self.gate)?,
            enrol: port(&self.enrol)?,
            renewal: port(&self.renewal)?,
            console: port(&self.console)?,
            local: port(&self.local)?,
        })
    }
}

/// Says on standard output where to look.
pub(super) fn say_where(config: &Config, ports: &Ports) {
    let host = config.names.first().map_or("localhost", String::as_str);
    println!("Console     https://{host}:{}/", ports.console);
    println!("Nurse       https://{host}:{}/care", ports.console);
    println!(
        "Enrolment   {host}:{}   Renewal {host}:{}",
        ports.enrol, ports.renewal
    );
    println!("Gate        {host}:{} (MQTT over TLS 1.3)", ports.gate);
    println!("This host   http://127.0.0.1:{}/readyz and /metrics", ports.local);
}

/// While there is nobody who can sign in, each start prints a new one-time code for the first operator.
pub(super) async fn say_setup_code(
    store: &Store,
    config: &Config,
    ports: &Ports,
    now: Timestamp,
) -> Result<(), RunError> {
    let made = crate::access::setup::setup_code(store, now).await;
    let code = made.map_err(|e| RunError::Process {
        step: "make a set-up code",
        why: e.to_string(),
    })?;
    if let Some(code) = code {
        let host = config.names.first().map_or("localhost", String::as_str);
        println!(
            "\nNobody can sign in yet. Make the first operator at https://{host}:{}/setup",
            ports.console
        );
        println!("Set-up code {code}   (valid for 24 hours, works once)\n");
    }
    Ok(())
}
