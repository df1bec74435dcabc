//! What `homeward-fleet` can be asked.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use homeward_protocol::id::{GatewayId, PlacementId, SensorId, TeamId};

use crate::ca::Serial;

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
    /// Check evidence and logs by themselves. Needs no server and no data folder.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// What releases look like when they are measured: the values that evidence is held against.
    #[command(subcommand)]
    Reference(ReferenceCommand),
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

/// Claims.
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Make a claim for a new box and print it, with a QR code on a terminal.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR claim new --placement home-0042 --svg claim.svg\n  \
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
}

/// The certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Show its certificates, how long they last, who holds today's roots, and what should be done.
    Status,
    /// Let new keys follow the old ones.
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Refuse one certificate from now on. To shut a gateway out, revoke the gateway.
    Revoke {
        /// Its number, 32 hex digits; `gateway show ID --json` lists those of a gateway.
        serial: Serial,
        /// Why, for the audit trail.
        #[arg(long)]
        reason: String,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the revocation lists (PEM), for an MQTT broker that admits the same gateways.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR ca crl --out /etc/mosquitto/gateways.crl\n\nA list is \
                            good for seven days: write it daily. It is also served at /crl where boxes enrol."
    )]
    Crl {
        /// Write them to this file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Seal the keys that issue by a passphrase.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR ca seal --passphrase-file /media/key/passphrase\n\nThe \
                            server then needs it at each start: as the systemd credential `ca-passphrase`, or in the \
                            file that HOMEWARD_CA_PASSPHRASE_FILE names. So does this command when it is to change."
    )]
    Seal {
        /// The file whose first line is the passphrase, 12 characters or more.
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
    },
    /// Keep the keys that issue in the clear again.
    Unseal,
}

/// New keys.
#[derive(Debug, Subcommand)]
pub enum RotateCommand {
    /// New intermediates for gateways and servers under the active root: once a year.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR ca rotate issuing --root-key /media/key/root-1.key"
    )]
    Issuing {
        /// Which keys.
        #[command(flatten)]
        keys: RootKey,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// The next root becomes the active one: the first step, when the key of the active one is lost, too old or known
    /// to others.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR ca rotate root --root-key /media/key/root-2.key --new-key-to \
                            /media/key2 --dry-run\n\nIt is refused while a gateway has not said that it holds \
                            today's roots. The last step is `ca rotate drop-old`."
    )]
    Root {
        /// Which keys: that of the next root.
        #[command(flatten)]
        keys: RootKey,
        /// The mounted medium that takes the key of the new next root.
        #[arg(long, value_name = "DIR")]
        new_key_to: PathBuf,
        /// Go on although some gateways have not said that they hold today's roots: they may need a new claim.
        #[arg(long)]
        leave_behind: bool,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// End the trust in roots that are on their way out: the last step.
    DropOld {
        /// Go on although some gateways have not said that they hold today's roots.
        #[arg(long)]
        leave_behind: bool,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// A root's key.
#[derive(Debug, Args)]
pub struct RootKey {
    /// The file with the root's key.
    #[arg(long, value_name = "FILE")]
    pub root_key: PathBuf,
    /// The file with the passphrase that opens it and seals the new keys; else the one that the server is given.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Whether gateways can be believed.
#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Show how a gateway stands, why, until when, and its newest judgements.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR attest show gw-7f3k2m9xqa --save evidence.cbor"
    )]
    Show {
        /// Which.
        id: GatewayId,
        /// Write its newest evidence, as it came, to a file that does not exist yet.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Ask a gateway to prove itself as soon as it is connected.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR attest challenge gw-7f3k2m9xqa")]
    Challenge {
        /// Which.
        id: GatewayId,
    },
    /// Accept what a gateway's evidence left open. It is asked again then: only its evidence makes it trusted.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR attest accept gw-7f3k2m9xqa --lift --reason \"board \
                            replaced on site\"\n  homeward-fleet --data DIR attest accept gw-7f3k2m9xqa --firmware \
                            --reason \"firmware 1.8 by the maker\""
    )]
    Accept(AttestAccept),
}

/// What is accepted.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["lift", "firmware", "tier"]).required(true).multiple(true))]
pub struct AttestAccept {
    /// Which.
    pub id: GatewayId,
    /// Lift the quarantine.
    #[arg(long)]
    pub lift: bool,
    /// Accept the firmware values that were last seen.
    #[arg(long)]
    pub firmware: bool,
    /// Expect this tier from now on: software, tpm-key, tpm-chip or measured-boot.
    #[arg(long, value_name = "TIER")]
    pub tier: Option<String>,
    /// Why, for the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Evidence and logs.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Check a gateway's evidence: its signature, and what it claims. Says what a file alone cannot show.
    #[command(
        after_help = "Examples:\n  homeward-fleet evidence verify evidence.cbor --roots fleet-roots.pem --certificates \
                            certificates.pem\n  homeward-fleet evidence verify evidence.cbor --key box.pem --reference \
                            0.1.0.rim --signer maker.pem\n\nExit code: 0 when it holds, 1 when anything speaks \
                            against it, 2 when the command is wrong."
    )]
    Verify(EvidenceVerify),
    /// Print the registers that a firmware's event log replays to, by bank, and what it cannot vouch for.
    #[command(after_help = "Example:\n  homeward-fleet --json evidence replay \
                            /sys/kernel/security/tpm0/binary_bios_measurements\n\nExit code: 0 when it replays, 1 \
                            when it is no such log, 2 when the command is wrong.")]
    Replay {
        /// The log, as the firmware wrote it.
        file: PathBuf,
    },
}

/// What to check, and against what.
#[derive(Debug, Args)]
pub struct EvidenceVerify {
    /// The evidence, as `attest show --save` writes it.
    pub file: PathBuf,
    /// The fleet's roots (PEM), from a source that you trust.
    #[arg(long, value_name = "FILE", requires = "certificates")]
    pub roots: Option<PathBuf>,
    /// Certificates of gateways and their issuers (PEM).
    #[arg(long, value_name = "FILE", requires = "roots")]
    pub certificates: Vec<PathBuf>,
    /// The key that should have signed it (PEM), when you trust it by itself.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The challenge that it should answer, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<String>,
    /// Signed reference values that it is held against.
    #[arg(long = "reference", value_name = "FILE", requires = "signer")]
    pub references: Vec<PathBuf>,
    /// The key that signed them (PEM).
    #[arg(long, value_name = "FILE")]
    pub signer: Option<PathBuf>,
}

/// Reference values.
#[derive(Debug, Subcommand)]
pub enum ReferenceCommand {
    /// Measure the files of a release and sign the values, where releases are made. Needs no data folder.
    ///
    /// The file is a signed reference integrity manifest: the protocol's module `reference` shows every field.
    #[command(
        after_help = "Example:\n  homeward-fleet reference make --release 0.1.0 --agent homeward-agent --kernel \
                            6.1.0-28-amd64=/boot/vmlinuz-6.1.0-28-amd64 --key maker.key --out 0.1.0.rim"
    )]
    Make(ReferenceMake),
    /// Load signed values: from now on evidence is held against them too.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR reference load 0.1.0.rim --signer maker.pem"
    )]
    Load {
        /// The signed values.
        file: PathBuf,
        /// The key that signed them (PEM), from a source that you trust.
        #[arg(long, value_name = "FILE")]
        signer: PathBuf,
    },
    /// List what is loaded.
    List,
    /// Take the values of a release out.
    Remove {
        /// The release.
        name: String,
    },
}

/// What a release is made of.
#[derive(Debug, Args)]
pub struct ReferenceMake {
    /// The release's name, for example its version.
    #[arg(long, value_name = "NAME")]
    pub release: String,
    /// The agent's program; `VERSION=FILE` when its version is another than the release's name.
    #[arg(long, value_name = "FILE")]
    pub agent: Vec<String>,
    /// The launcher's program, likewise.
    #[arg(long, value_name = "FILE")]
    pub launcher: Vec<String>,
    /// A kernel, as `uname -r`=FILE.
    #[arg(long, value_name = "RELEASE=FILE")]
    pub kernel: Vec<String>,
    /// A configuration, as `agent.toml`=FILE.
    #[arg(long, value_name = "NAME=FILE")]
    pub policy: Vec<String>,
    /// The digest of a set of packages, as `homeward-agent evidence` shows it.
    #[arg(long, value_name = "SHA256")]
    pub packages: Vec<String>,
    /// A value that a register of the TPM may hold, as NUMBER=SHA256.
    #[arg(long, value_name = "NUMBER=SHA256")]
    pub register: Vec<String>,
    /// The private key that signs: P-256, PKCS#8, PEM.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

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
    /// The fleet's revocation list (PEM or DER): what a revoked certificate signed is refused.
    #[arg(long, value_name = "FILE")]
    pub crl: Option<PathBuf>,
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
        /// What it may do: fleet:read, fleet:write, care:read.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// Days until it expires, 1 to 366.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
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
