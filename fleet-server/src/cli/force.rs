//! What `homeward-fleet update force` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use homeward_protocol::id::GatewayId;
use homeward_protocol::release::force::Overrule;

/// Forcing: two people of the policies' keyring let the update that waits in one home begin although something stands
/// against it. Never while a device is being used.
#[derive(Debug, Subcommand)]
pub enum ForceCommand {
    /// Write the document of an order for the update that waits at a gateway, to be read and signed.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update force draft --gateway gw-7f3k --overrule hold --hours 4 \
                      --reason \"the hole in 1.3.0 is being used\" --out force.toml\n\nNothing is ordered by it yet: an \
                      author signs it, a reviewer signs that, and `send` brings it."
    )]
    Draft(ForceDraft),
    /// Sign the document as its author. Needs no data folder and no network.
    #[command(
        after_help = "Example:\n  homeward-fleet update force sign force.toml --key ann.key --keyring keyring.txt --out \
                      force-4.txt"
    )]
    Sign(ForceSign),
    /// Sign as the second person that you read exactly this order. Needs no data folder and no network.
    #[command(
        after_help = "Example:\n  homeward-fleet update force review force-4.txt --key ben.key --digest 4f0a19c2 --out \
                      force-4-reviewed.txt\n\nWithout --digest it only shows what is ordered, and the digest to give."
    )]
    Review(ForceReview),
    /// Show an order, or its document: what it overrules, what it never does, and who stands behind it. Needs no data folder.
    #[command(
        after_help = "Example:\n  homeward-fleet update force check force-4-reviewed.txt --roots fleet-roots.pem"
    )]
    Check {
        /// The document, or what was signed.
        file: PathBuf,
        /// The fleet's roots (PEM), from a source that you trust. Without them nobody vouches for the keyring.
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
    },
    /// Bring an order that two people signed. Its gateway is sent it as soon as it is connected and has the update.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR update force send force-4-reviewed.txt --dry-run\n  \
                      homeward-fleet --data DIR update force send force-4-reviewed.txt\n\nTo take an order back, assign \
                      another release: an order is for one assignment alone."
    )]
    Send {
        /// What was signed.
        file: PathBuf,
        /// Say what it overrules and whether it would be taken, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Say how orders stand, as the boxes tell.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR update force status --gateway gw-7f3k")]
    Status {
        /// Only this gateway.
        #[arg(long, value_name = "ID")]
        gateway: Option<GatewayId>,
    },
}

/// What may be overruled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverruleArg {
    /// That somebody asked for quiet.
    Hold,
    /// That a device has said nothing for an hour, or that wishes for quiet cannot be read.
    Unknown,
    /// That an alarm sounded a short while ago.
    Alarm,
    /// That the box runs from its battery.
    Battery,
    /// That its policy's window for work is not open.
    Maintenance,
}

impl From<OverruleArg> for Overrule {
    fn from(arg: OverruleArg) -> Overrule {
        match arg {
            OverruleArg::Hold => Overrule::Hold,
            OverruleArg::Unknown => Overrule::Unknown,
            OverruleArg::Alarm => Overrule::Alarm,
            OverruleArg::Battery => Overrule::Battery,
            OverruleArg::Maintenance => Overrule::Maintenance,
        }
    }
}

/// A document to write.
#[derive(Debug, Args)]
pub struct ForceDraft {
    /// The gateway at which an update waits.
    #[arg(long, value_name = "ID")]
    pub gateway: GatewayId,
    /// What is overruled; may repeat. A session is not among it.
    #[arg(long = "overrule", value_name = "WHAT", required = true)]
    pub overrules: Vec<OverruleArg>,
    /// Why, in one line that a clinician can read.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how many hours it stands, from now on.
    #[arg(long, value_name = "HOURS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=24))]
    pub hours: u8,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What an author signs.
#[derive(Debug, Args)]
pub struct ForceSign {
    /// The document, TOML.
    pub file: PathBuf,
    /// The author's key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The file with the passphrase that opens it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The keyring that names the author.
    #[arg(long, value_name = "FILE")]
    pub keyring: PathBuf,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What a reviewer signs.
#[derive(Debug, Args)]
pub struct ForceReview {
    /// What the author signed.
    pub file: PathBuf,
    /// The reviewer's key.
    #[arg(long, value_name = "FILE", requires_all = ["digest", "out"])]
    pub key: Option<PathBuf>,
    /// The file with the passphrase that opens it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The first 8 or more digits of the digest of what was read: nothing else is signed.
    #[arg(long, value_name = "HEX", requires = "key")]
    pub digest: Option<String>,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub out: Option<PathBuf>,
}
