//! What can be asked about readings.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::{GatewayId, SensorId};

/// Readings.
#[derive(Debug, Subcommand)]
pub enum ReadingCommand {
    /// Show a gateway's newest readings, or one sensor's over a stretch of time.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR reading list gw-7f3k2m9xqa --sensor cuff --from \
                            2026-11-18T00:00:00Z"
    )]
    List(ReadingList),
    /// Write readings into a new folder, as their gateway signed them, with the certificates that say whose
    /// signature it is.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR reading export gw-7f3k2m9xqa --sensor cuff --to \
                            evidence\n\nThe folder holds the readings themselves: keep it as you keep them."
    )]
    Export(ReadingExport),
    /// Check exported readings by themselves: signature, chain, certificate at that time, and grade. Needs no server
    /// and no data folder.
    #[command(
        after_help = "Example:\n  homeward-fleet reading verify evidence --roots fleet-roots.pem\n\nGet the roots \
                            from the fleet's operator, not from whoever gave you the readings.\nExit code: 0 when \
                            all of it holds, 1 when anything is refused, 2 when the command is wrong."
    )]
    Verify(ReadingVerify),
}

/// A stretch of time.
#[derive(Debug, Args)]
pub struct Span {
    /// Taken at or after this moment, as 2026-11-18T14:49:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Taken before this moment.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Which readings to show.
#[derive(Debug, Args)]
pub struct ReadingList {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// Of which sensor: then all of the stretch of time, not only the newest of each kind.
    #[arg(long, value_name = "ID")]
    pub sensor: Option<SensorId>,
    /// When they were taken.
    #[command(flatten)]
    pub span: Span,
    /// At most so many, the oldest first.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// Which readings to write out.
#[derive(Debug, Args)]
pub struct ReadingExport {
    /// Of which gateway.
    pub gateway: GatewayId,
    /// Of which sensor; without it, of all. An envelope that holds one of them is written whole.
    #[arg(long, value_name = "ID")]
    pub sensor: Option<SensorId>,
    /// When they were taken.
    #[command(flatten)]
    pub span: Span,
    /// A folder that does not exist yet.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// What to check, and against what.
#[derive(Debug, Args)]
pub struct ReadingVerify {
    /// Folders of `reading export`, or files of signed envelopes.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The fleet's roots (PEM), from a source that you trust.
    #[arg(long, value_name = "FILE")]
    pub roots: PathBuf,
    /// Certificates of gateways and their issuers (PEM), beside those in the folders.
    #[arg(long, value_name = "FILE")]
    pub certificates: Vec<PathBuf>,
    /// The fleet's revocation lists, as `ca crl` writes them (PEM), or one (DER): what a revoked certificate signed is
    /// refused.
    #[arg(long, value_name = "FILE")]
    pub crl: Option<PathBuf>,
}
