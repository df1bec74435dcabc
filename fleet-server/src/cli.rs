//! What `homeward-fleet` can be asked.

pub mod advisory;
mod attest;
mod ca;
pub mod campaign;
pub mod dossier;
pub mod force;
mod notify;
mod policy;
mod readings;
pub mod release;
mod support;
pub mod update;

use std::path::PathBuf;

pub use attest::{
    AttestAccept, AttestCommand, EvidenceCommand, EvidenceVerify, ReferenceCommand, ReferenceImport,
    ReferenceMake,
};
pub use ca::{CaCommand, RootKey, RotateCommand};
use clap::{Args, Parser, Subcommand, ValueEnum};
use homeward_protocol::id::{GatewayId, PlacementId, TeamId};
use homeward_protocol::posture::fact::What;
pub use notify::NotifyCommand;
pub use policy::{
    Assign, GroupCommand, Keygen, KeyringMake, Person, PolicyCommand, Review as PolicyReview,
    Sign as PolicySign, Status,
};
pub use readings::{ReadingCommand, ReadingExport, ReadingList, ReadingVerify, Span};
pub use support::{SupportCommand, SupportConnect, SupportOpen};

use crate::care::Dependency;

/// The telecare provider's server: enrols home gateways, stores what they report, and shows who needs help.
#[derive(Debug, Parser)]
#[command(name = "homeward-fleet", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Folder with the database, the keys and fleet.toml.
    #[arg(long, env = "HOMEWARD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How the log is written (to standard error).
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Auto)]
    pub log: LogForm,
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  homeward-fleet --data /var/lib/homeward-fleet init --name fleet.example.org
  homeward-fleet --data /var/lib/homeward-fleet serve
  homeward-fleet --data /var/lib/homeward-fleet claim new --placement home-0042 --team north
  homeward-fleet --data /var/lib/homeward-fleet gateway list";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Plain text on a terminal, JSON elsewhere.
    Auto,
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the data folder: the certificate authority, the database and fleet.toml.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR init --name fleet.example.org --name 192.0.2.7\n  \
                            homeward-fleet --data DIR init --name fleet.example.org --postgres - < database-url"
    )]
    Init {
        /// DNS name or address by which gateways and browsers reach this server; the first goes into claims.
        #[arg(long = "name", value_name = "NAME", default_value = "localhost")]
        names: Vec<String>,
        /// The fleet's name in the ids of its members, for example telecare.example.org; it cannot be changed later.
        #[arg(long, value_name = "DOMAIN", default_value = "homeward")]
        trust_domain: String,
        /// Keep the data in this `PostgreSQL` database, which has to be there and empty, instead of a file in the data
        /// folder: `postgresql://USER@HOST/DATABASE`. `-` reads it from standard input: what stands here, other users
        /// can see.
        #[arg(long, value_name = "URL")]
        postgres: Option<String>,
        /// For a trial on this machine: loopback addresses, and ports that are free now.
        #[arg(long)]
        trial: bool,
        /// A mounted medium that takes the keys of the two roots, instead of the data folder. The server needs neither;
        /// `ca rotate` asks for one.
        #[arg(long, value_name = "DIR")]
        offline_root: Option<PathBuf>,
        /// Seal the authority's keys by the passphrase in the first line of this file, 12 characters or more.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Run the server until it is asked to stop.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR serve\n\nThe first start prints a one-time \
                            set-up code for the first operator."
    )]
    Serve {
        /// Only read the configuration and say what is wrong with it.
        #[arg(long)]
        check: bool,
    },
    /// Claims: what a box needs to be let in once.
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Gateways: the boxes in homes.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// The certificate authority: its state, new keys, single certificates, revocation lists.
    #[command(subcommand)]
    Ca(CaCommand),
    /// People who sign in to the console.
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens for programs that use the API.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Readings, and what vouches for them.
    #[command(subcommand)]
    Reading(ReadingCommand),
    /// Whether gateways can be believed: how they stand, and what a person decides.
    #[command(subcommand)]
    Attest(AttestCommand),
    /// What boxes are: their facts, what changed, their software, and which boxes have something.
    #[command(subcommand)]
    Posture(PostureCommand),
    /// Check evidence and logs by themselves. Needs no server and no data folder.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// What releases look like when they are measured: the values that evidence is held against.
    #[command(subcommand)]
    Reference(ReferenceCommand),
    /// Policies: what boxes should be. Written, reviewed and signed by people, away from the server.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Groups of gateways, to which policies go one after another.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Make, sign and publish releases: what software boxes may run. Needs no server, no data folder and no network.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Say which of the released software gateways shall have, and see how they stand with it.
    #[command(subcommand)]
    Update(update::UpdateCommand),
    /// Bring a release to the fleet in waves: those who depend least on their box first, and back by itself when it is bad.
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Security advisories (CSAF) on devices that lie in people or act on them: whom they concern, and what is weighed.
    #[command(subcommand)]
    Advisory(advisory::AdvisoryCommand),
    /// The register of devices that lie in people or act on them, and that no box reads.
    #[command(subcommand)]
    Implant(advisory::ImplantCommand),
    /// Messages to people outside the console, as [notify] in fleet.toml says.
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Check the configuration, the database and the audit trail; change nothing.
    Check,
    /// Write a consistent copy of the database and the keys into a new folder, also while the server runs.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR backup /media/backup/2026-11-25\n\nThe copy holds \
                            the authority's keys: keep it as you keep them."
    )]
    Backup {
        /// A folder that does not exist yet.
        to: PathBuf,
    },
    /// Put a backup into a data folder.
    #[command(
        after_help = "Example:\n  homeward-fleet --data NEWDIR restore /media/backup/2026-11-25\n\nGateways \
                            send again what they still hold; what is gone shows as a gap."
    )]
    Restore {
        /// The folder that `backup` made.
        from: PathBuf,
        /// Put the backup in the place of what is there; refused while a server runs there.
        #[arg(long)]
        replace: bool,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What boxes are.
#[derive(Debug, Subcommand)]
pub enum PostureCommand {
    /// Show what a box is, fact by fact, each with where it was read and since when it is so.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR posture show gw-1")]
    Show {
        /// Which.
        id: GatewayId,
    },
    /// Show what changed on a box, the newest first.
    History {
        /// Which.
        id: GatewayId,
    },
    /// Print the software of a box as an SBOM (CycloneDX 1.6, JSON).
    #[command(after_help = "Example:\n  homeward-fleet --data DIR posture sbom gw-1 > gw-1.cdx.json")]
    Sbom {
        /// Which.
        id: GatewayId,
    },
    /// Ask a connected box to tell all its facts now.
    Ask {
        /// Which.
        id: GatewayId,
    },
    /// Say which boxes have a fact or a package.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR posture find --fact net.listen --subject :22\n  \
                            homeward-fleet --data DIR posture find --fact disk.encryption --value none\n  \
                            homeward-fleet --data DIR posture find --package openssl"
    )]
    Find {
        /// A fact, by its name without a subject.
        #[arg(long, value_name = "NAME", conflicts_with = "package")]
        fact: Option<What>,
        /// A part of the fact's subject.
        #[arg(long, value_name = "TEXT", requires = "fact", default_value = "")]
        subject: String,
        /// A part of what it says.
        #[arg(long, value_name = "TEXT", requires = "fact", default_value = "")]
        value: String,
        /// A package, by its name or its source's.
        #[arg(long, value_name = "NAME")]
        package: Option<String>,
    },
}

/// Claims.
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Make a claim for a new box and print it, with a QR code on a terminal.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR claim new --placement home-0042 --svg claim.svg\n  \
                            homeward-fleet --data DIR claim new --placement home-0043 --team north --dependency high\n  \
                            homeward-fleet --data DIR --json claim new --days 1 | ssh box homeward-agent --data \
                            /var/lib/homeward-agent enrol --claim -"
    )]
    New(ClaimNew),
}

/// SHA-256 over the public key of an endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EkHash(pub [u8; 32]);

/// Reads 64 hex digits.
pub(crate) fn hash(text: &str) -> Result<EkHash, String> {
    let wrong = || "a hash is 64 hex digits".to_owned();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        u8::from_str_radix(pair, 16).map_err(|_| wrong())
    });
    let bytes: Result<Vec<u8>, String> = pairs.collect();
    bytes?.try_into().map(EkHash).map_err(|_| wrong())
}

/// A new claim.
#[derive(Debug, Args)]
pub struct ClaimNew {
    /// A known gateway whose box gets a new certificate: its own is too old, or the box was replaced. It stays where
    /// it is, and the box keeps the records that wait on it.
    #[arg(long, value_name = "ID", conflicts_with_all = ["placement", "team"])]
    pub gateway: Option<GatewayId>,
    /// The placement the box is for.
    #[arg(long, value_name = "ID")]
    pub placement: Option<PlacementId>,
    /// The care team of a placement that does not exist yet: both are made.
    #[arg(long, value_name = "ID", requires = "placement")]
    pub team: Option<TeamId>,
    /// How much somebody there depends on the devices: low, medium (the default) or high; of a placement that does not exist
    /// yet. Campaigns come to those who depend least first.
    #[arg(long, value_name = "HOW", requires = "team")]
    pub dependency: Option<Dependency>,
    /// Days until it expires, 1 to 30.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=30))]
    pub days: u16,
    /// Let the box in without an operator's approval.
    #[arg(long)]
    pub no_approval: bool,
    /// Also expect the box by its TPM: SHA-256 over the public key (DER) of its endorsement key, 64 hex digits, as the
    /// maker lists it or `homeward-agent tpm` prints it. It then comes in without the code.
    #[arg(long, value_name = "HEX", value_parser = crate::cli::hash)]
    pub ek_hash: Option<EkHash>,
    /// Also write the QR code to this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Gateways.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// List gateways.
    List {
        /// Only those in this state: expected, waiting, enrolled or revoked.
        #[arg(long)]
        state: Option<String>,
    },
    /// Show one gateway.
    Show {
        /// Which.
        id: GatewayId,
    },
    /// Say when work on a box suits its home in the next seven days: what its policy lets, and when its devices were used
    /// before. A forecast: the box looks at the moment itself.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR gateway windows gw-7f3k2m9xqa")]
    Windows {
        /// Which.
        id: GatewayId,
    },
    /// Let a waiting box in. Compare the fingerprint with the one the box shows first.
    Approve {
        /// Which.
        id: GatewayId,
        /// The fingerprint that the box shows; without it, it is only printed.
        #[arg(long, value_name = "TEXT")]
        fingerprint: Option<String>,
    },
    /// Shut a gateway out at once: its connection ends and its certificate is refused. It keeps its readings.
    Revoke {
        /// Which.
        id: GatewayId,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Shut a gateway off from all but its vital flows, at once or when it connects: its sensors, its alarms, this
    /// server. `gateway release` undoes it.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR gateway isolate gw-7f3k2m9xqa --reason \"calls an unknown \
                            address\""
    )]
    Isolate {
        /// Which.
        id: GatewayId,
        /// Why, for the audit trail and for whoever stands before the box.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Ask that nothing disturbs the home of a gateway for a while, at once or when it connects: no update, no restart.
    /// Readings and alarms go on. `gateway unquiet` ends it.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR gateway quiet gw-7f3k2m9xqa --hours 4 --reason \"dialysis at \
                      home\"\n  homeward-fleet --data DIR gateway quiet gw-7f3k2m9xqa"
    )]
    Quiet {
        /// Which.
        id: GatewayId,
        /// For so many hours from now on: 1, 4, 12, 24 or 72. Without it: how it stands.
        #[arg(long, value_name = "HOURS", requires = "reason")]
        hours: Option<u32>,
        /// Why, for the audit trail and for whoever stands before the box.
        #[arg(long, value_name = "TEXT", requires = "hours")]
        reason: Option<String>,
    },
    /// End the quiet that was asked for here. What a person asked for at the box itself stays.
    Unquiet {
        /// Which.
        id: GatewayId,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Support sessions: a person of the provider on a box, for a ticket and a time.
    #[command(subcommand)]
    Support(SupportCommand),
    /// Lift an isolation: from then on the box is as its policy says.
    Release {
        /// Which.
        id: GatewayId,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// People.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person; the password is read from standard input (one line).
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR user add anna --role nurse --team north < password.txt"
    )]
    Add {
        /// Name to sign in with.
        name: String,
        /// What the person may do.
        #[arg(long, value_enum)]
        role: RoleArg,
        /// The care team of a nurse; made if it does not exist.
        #[arg(long, required_if_eq("role", "nurse"))]
        team: Option<TeamId>,
    },
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Everything in the console.
    Operator,
    /// The placements of one care team.
    Nurse,
}

/// Tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it once.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR token new reporting --scope fleet:read --days 90"
    )]
    New {
        /// What it is for.
        name: String,
        /// What it may do: fleet:read, fleet:write, policy:write, support:open, care:read.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// Days until it expires, 1 to 366.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
    },
    /// Show the tokens, the newest first: what each may do, until when, and when it was last used.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR token list")]
    List,
    /// Take a token back. It opens nothing any more, and what it holds open of support sessions is cut.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR token revoke k3m9x2qa")]
    Revoke {
        /// Which, as `token list` says; it stands in the audit trail as token:ID.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
