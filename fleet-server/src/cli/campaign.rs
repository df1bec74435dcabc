//! What `homeward-fleet campaign` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::GatewayId;

use super::update::TermsAsked;
use crate::campaign::kept::Name;

/// Campaigns: a release on its way to the fleet, in waves.
#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Say what would be done: who comes in which wave, who takes no part, who could not go back. Changes nothing.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR campaign plan agent-1.4.0 --target agent/1.4.0/x86_64 --target \
                      agent/1.4.0/aarch64\n  homeward-fleet --data DIR campaign plan agent-1.4.1 --target agent/1.4.1/x86_64 --due 7 \
                      --reason \"a stranger could read measurements\" --person nora --compensate 8 --afterwards 9\n\nWith a \
                      reason and a person, the deadline of each home is kept: see `update assign --help`.\n\nWaves: lab, own, canary (1 %), tenth (10 %), half, rest, and named: homes of \
                      high dependency, each opened by a person. A home is lab or own by its group of that name. The code \
                      at the end is what `campaign start` asks for."
    )]
    Plan(CampaignPlan),
    /// Begin it, by the code of the plan that was read. Campaigns that have the same homes end.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR campaign start agent-1.4.0 --target agent/1.4.0/x86_64 \
                      --dry-run\n  homeward-fleet --data DIR campaign start agent-1.4.0 --target agent/1.4.0/x86_64 \
                      --plan 4f0a19c2"
    )]
    Start(CampaignStart),
    /// List campaigns, or show one: each wave in numbers, and why each home is waited for.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR campaign status\n  homeward-fleet --data DIR campaign status \
                      agent-1.4.0"
    )]
    Status {
        /// Which; without it all are listed.
        name: Option<Name>,
        /// Most homes that are shown.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        homes: u16,
    },
    /// Stop it: no further home begins, homes that wait keep what they run, what is installed stays. `resume` lets it go
    /// on, `abort` takes back.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR campaign halt agent-1.4.0 --reason \"a holiday\""
    )]
    Halt(CampaignOrder),
    /// Let one that a person stopped go on. One that halted by itself took the release back: plan a new one.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR campaign resume agent-1.4.0 --reason \"all are back\""
    )]
    Resume(CampaignOrder),
    /// End it, and take back what is installed: boxes are told the release that ran before, and go when their home is quiet.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR campaign abort agent-1.4.0 --reason \"1.4.1 is better\" --dry-run"
    )]
    Abort(CampaignOrder),
    /// Open a home of high dependency, after all other waves opened. Whoever opens it is on record.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR campaign open agent-1.4.0 gw-7f3k --by \"Dr. Novak\" --reason \
                      \"his daughter is with him until six\""
    )]
    Open(CampaignOpen),
}

/// What is brought, and by which rules.
#[derive(Debug, Clone, Args)]
pub struct CampaignPlan {
    /// The campaign's name: a-z, 0-9, dot, hyphen, underscore.
    pub name: Name,
    /// A release, by its path in the repository; one for each hardware.
    #[arg(long = "target", value_name = "PATH", required = true)]
    pub targets: Vec<String>,
    /// A wave is watched so long after its last home confirmed, minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 1_440, value_parser = clap::value_parser!(u32).range(0..=43_200))]
    pub soak: u32,
    /// Of the homes of a wave that acted, so many per cent must be well before the next opens.
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub confirmed: u8,
    /// More failures than so many per cent of a wave halt, and take back.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub failed: u8,
    /// A box that began has failed when it has not shown within so many minutes that it is well.
    #[arg(long, value_name = "MINUTES", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    pub act_within: u32,
    /// The whole ends after so many days; passing that never overrides a therapy.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub within: u16,
    /// At most so many homes fetch at the same time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub at_once: u16,
    /// With --reason: each home should have it within so many days after it is told.
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub due: u16,
    /// What goes with it.
    #[command(flatten)]
    pub terms: TermsAsked,
    /// The release folder with the published repository; else `release` in the data folder, from which gateways are served.
    #[arg(long, value_name = "DIR")]
    pub release: Option<PathBuf>,
}

/// The same, to begin.
#[derive(Debug, Args)]
pub struct CampaignStart {
    /// What and how.
    #[command(flatten)]
    pub asked: CampaignPlan,
    /// The code of the plan that was read, as `campaign plan` with the same words printed it.
    #[arg(long, value_name = "CODE", required_unless_present = "dry_run")]
    pub plan: Option<String>,
    /// Begin although some homes could not go back: the plan names them.
    #[arg(long)]
    pub without_return: bool,
    /// Begin although the reference values of the release are not loaded: homes that take it are not believed before they are.
    #[arg(long)]
    pub without_reference: bool,
    /// Only say what would be done, as `campaign plan`.
    #[arg(long)]
    pub dry_run: bool,
}

/// One campaign, and why.
#[derive(Debug, Args)]
pub struct CampaignOrder {
    /// Which.
    pub name: Name,
    /// Why, for the audit trail and for whoever looks.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// One home of high dependency.
#[derive(Debug, Args)]
pub struct CampaignOpen {
    /// Which campaign.
    pub name: Name,
    /// Which home, by its box.
    pub gateway: GatewayId,
    /// Who opens it: a person's name.
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why now.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}
