//! What `homeward-fleet update` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::GatewayId;

/// Directing: which of the released software each gateway shall have.
#[derive(Debug, Subcommand)]
pub enum UpdateCommand {
    /// Make this server's key as the director, once, and print its public half. The holders of targets put that into the
    /// release: without it no box follows this server.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update director > director.pub\n  homeward-fleet release add \
                      REL director.pub --director"
    )]
    Director,
    /// Say which released software a gateway shall have. It fetches it, and takes it when its home may be disturbed.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR update assign agent/1.4.0/x86_64 --gateway gw-7f3k --dry-run\n  \
                      homeward-fleet --data DIR update assign agent/1.4.0/x86_64 --gateway gw-7f3k --gateway gw-9x2m \
                      --within 7\n\nGoing back is the same: assign the release before. A box takes nothing below its \
                      security floor."
    )]
    Assign(UpdateAssign),
    /// Say how gateways stand with what they shall have, and why each one waits.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR update status --gateway gw-7f3k")]
    Status {
        /// Only this gateway.
        #[arg(long, value_name = "ID")]
        gateway: Option<GatewayId>,
    },
}

/// What to assign, to whom, and when.
#[derive(Debug, Args)]
pub struct UpdateAssign {
    /// The target's path in the repository.
    pub path: String,
    /// A gateway; may repeat.
    #[arg(long = "gateway", value_name = "ID", required = true)]
    pub gateways: Vec<GatewayId>,
    /// Not to be put in place before so many hours have passed.
    #[arg(long, value_name = "HOURS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=2_160))]
    pub after: u16,
    /// It should be in place within so many days. Passing that never overrides a therapy.
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub within: u16,
    /// The release folder with the published repository; else `release` in the data folder, from which gateways are served.
    #[arg(long, value_name = "DIR")]
    pub release: Option<PathBuf>,
    /// Only say what would be assigned.
    #[arg(long)]
    pub dry_run: bool,
}
