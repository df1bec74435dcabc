//! What can be asked about evidence, judgements and reference values.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::GatewayId;

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
    /// Take over the signed values that a repository of releases carries.
    ///
    /// Its metadata is verified as a box verifies it: signed by enough of the offline keys, in force, and not older than
    /// what was seen before. Values that its targets do not name any more are taken out; those that were loaded by hand
    /// stay.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR reference import REL --root 1.root.json --dry-run\n  \
                            homeward-fleet --data DIR reference import /media/stick/repository"
    )]
    Import(ReferenceImport),
    /// Show what signed values say, once their signature holds. Needs no data folder.
    #[command(after_help = "Example:\n  homeward-fleet reference show 0.1.0.rim --signer maker.pem")]
    Show {
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

/// Which repository is imported.
#[derive(Debug, Args)]
pub struct ReferenceImport {
    /// The release folder, or a copy of its `repository`.
    pub folder: PathBuf,
    /// The root to begin with (`1.root.json`), the first time; from a source that you trust.
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Only say what would change.
    #[arg(long)]
    pub dry_run: bool,
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
