//! `gateway support`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::claim::Endpoint;
use homeward_protocol::id::GatewayId;

/// Support sessions.
#[derive(Debug, Subcommand)]
pub enum SupportCommand {
    /// Ask a box for a session. Its policy decides; the box ends it by its own clock.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR gateway support open gw-7f3k2m9xqa --ticket INC-4711 \
                            --minutes 15 --reason \"the scale reports nothing\""
    )]
    Open(SupportOpen),
    /// End the session of a box.
    End {
        /// Which box.
        id: GatewayId,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show the sessions of a box, the newest first.
    List {
        /// Which box.
        id: GatewayId,
    },
    /// Come through the open session: standard input and output become a connection to the port of the box.
    ///
    /// Needs no data folder: it runs where the person is, with a token of the scope support:open. Ssh stays encrypted
    /// from end to end: compare the host key.
    #[command(
        after_help = "Example:\n  ssh -o ProxyCommand='homeward-fleet gateway support connect gw-7f3k2m9xqa --server \
                            fleet.example:9443 --roots roots.pem --token-file token' root@gw-7f3k2m9xqa"
    )]
    Connect(SupportConnect),
}

/// A session to ask for.
#[derive(Debug, Args)]
pub struct SupportOpen {
    /// Which box.
    pub id: GatewayId,
    /// The ticket that it is bound to.
    #[arg(long)]
    pub ticket: String,
    /// How long, 1 to 480; the box's policy may allow less.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=480))]
    pub minutes: u32,
    /// Why: in the audit trail, and at the box.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The port of the box that it leads to.
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// Where to come through.
#[derive(Debug, Args)]
pub struct SupportConnect {
    /// Which box.
    pub id: GatewayId,
    /// The fleet server's console.
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Endpoint,
    /// The certificates that the console's is trusted by (PEM).
    #[arg(long, value_name = "FILE")]
    pub roots: PathBuf,
    /// File with a token of the scope support:open.
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
}
