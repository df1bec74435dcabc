//! What `homeward-fleet update` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::GatewayId;

use super::dossier::DossierCommand;
use super::force::ForceCommand;

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
                      --within 7\n  homeward-fleet --data DIR update assign agent/1.4.1/x86_64 --gateway gw-7f3k --within 5 \
                      --reason \"a stranger could read measurements\" --person nora --compensate 8 --afterwards 9\n\nWith a \
                      reason and a person, an update has a deadline that is kept: when 80 % of the time is over and the box \
                      has found no quiet moment, the person is asked (in the console, and as [notify] in fleet.toml says); \
                      at the end the compensating policy applies, until the update is in place. Nothing of that interrupts \
                      a therapy.\n\nGoing back is the same: assign the release before. A box takes nothing below its \
                      security floor."
    )]
    Assign(UpdateAssign),
    /// List what is published: what each release interrupts, whether there is a way back, what it means in plain words, and how
    /// far it has come.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR update releases")]
    Releases {
        /// The release folder with the published repository; else `release` in the data folder.
        #[arg(long, value_name = "DIR")]
        release: Option<PathBuf>,
    },
    /// Firmware of devices: what people have to bring to which device, and how far they are. Nothing of it is pushed.
    #[command(subcommand)]
    Dossier(DossierCommand),
    /// Let an update begin although something stands against it: by two people, and never while a device is being used.
    #[command(subcommand)]
    Force(ForceCommand),
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
    /// What goes with it.
    #[command(flatten)]
    pub terms: TermsAsked,
    /// The release folder with the published repository; else `release` in the data folder, from which gateways are served.
    #[arg(long, value_name = "DIR")]
    pub release: Option<PathBuf>,
    /// Only say what would be assigned.
    #[arg(long)]
    pub dry_run: bool,
}

/// What goes with an update that has a deadline that is kept.
#[derive(Debug, Clone, Args)]
pub struct TermsAsked {
    /// Why it matters, in words that a clinician understands: people are shown it.
    #[arg(long, value_name = "TEXT", requires = "person")]
    pub reason: Option<String>,
    /// Who is asked when it waits for too long: a name of [notify.people] in fleet.toml, or of a person of the console.
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub person: Option<String>,
    /// The policy, signed and loaded, that makes up for the update from its deadline on.
    #[arg(long, value_name = "VERSION", requires_all = ["reason", "afterwards"])]
    pub compensate: Option<u64>,
    /// The policy that ends that when the update is in place. Boxes never go back, so it has a higher number: the text of
    /// what they have now, signed under the number behind.
    #[arg(long, value_name = "VERSION", requires = "compensate")]
    pub afterwards: Option<u64>,
}
