//! What `homeward-fleet release` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::release::{Disruption, Installer, Version};

use crate::release::Pin;

/// Making and signing releases. Needs no server, no data folder and no network.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Make a key: sealed by a passphrase in one file, its public half beside it.
    #[command(
        after_help = "Example:\n  homeward-fleet release keygen --out /media/stick/alice.key --passphrase-file \
                            /media/stick/passphrase\n\nThe public half, alice.key.pub, goes to whoever makes the root."
    )]
    Keygen {
        /// The file of the key; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The file whose first line is the passphrase, 12 characters or more.
        #[arg(long, value_name = "FILE")]
        passphrase_file: PathBuf,
    },
    /// Draft the next root: whose keys count. The holders sign it then.
    #[command(
        after_help = "Example:\n  homeward-fleet release root REL --root alice.pub --root bob.pub --root carol.pub \
                      --targets dave.pub --targets erin.pub --online server.pub\n\nA new root needs as many signatures of \
                      the old keys as the old root demands, and of the new ones as it demands itself."
    )]
    Root(RootDraft),
    /// Put a file into the draft of the targets.
    #[command(
        after_help = "Examples:\n  homeward-fleet release add REL homeward-agent --path agent/1.4.0/x86_64 --installer \
                      agent-slot --hw x86_64 --version 1.4.0 --disruption agent-restart --security-floor 1.3.0 --notes notes.toml\n  \
                      homeward-fleet release add REL director.pem --director\n  homeward-fleet release add REL maker.pem \
                      --reference-key\n  homeward-fleet release add REL 1.4.0.rim --reference\n  homeward-fleet release add \
                      REL cuff.hwd --dossier"
    )]
    Add(Add),
    /// Make a bundle: a pinned set of Debian packages in one file, for `release add --installer apt`. Says what is in it.
    #[command(
        after_help = "Examples:\n  homeward-fleet release bundle --out set.hwb libssl3_3.0.20_amd64.deb openssl_3.0.20_amd64.deb\n  \
                      homeward-fleet release add REL set.hwb --path packages/2026.7.1/x86_64 --installer apt --hw x86_64 \
                      --version 2026.7.1 --disruption service-restart\n\nBoxes install exactly these packages, offline, and \
                      only where nothing else has to come or go. There is no way back."
    )]
    Bundle {
        /// The file of the bundle.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The only version that a package may come after; may repeat.
        #[arg(long = "from", value_name = "NAME=VERSION")]
        from: Vec<Pin>,
        /// The packages' files.
        #[arg(required = true, value_name = "DEB")]
        packages: Vec<PathBuf>,
    },
    /// Check what is written about the firmware of a device (TOML), say it as people will read it, and make the dossier
    /// that is signed. A person carries it out: nothing of it is ever pushed.
    #[command(
        after_help = "Examples:\n  homeward-fleet release dossier cuff.toml\n  homeward-fleet release dossier cuff.toml \
                      --out cuff.hwd && homeward-fleet release add REL cuff.hwd --dossier\n\nIn the document: form, name, \
                      version, maker, model, profiles (how boxes call such a device), class (sensor, alarm, actuator, \
                      implant), before and after (firmware versions as the device shows them), by (nurse-at-home, \
                      clinic-visit, manufacturer), steps, worked, [risk] without and with, [file] name, bytes and \
                      sha256. Each text is one line. A whole one lies beside fleet.toml among \
                      the package's examples."
    )]
    Dossier {
        /// The document.
        document: PathBuf,
        /// Write the dossier to this file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make what boxes with an older build fetch instead of all of a newer one, and put it into the draft of the targets.
    ///
    /// The newer build has to be in the draft already. What does not save three quarters is refused: a box writes both.
    #[command(
        after_help = "Example:\n  homeward-fleet release delta REL --from homeward-agent-1.3.0 --to homeward-agent-1.4.0\n\nIt \
                      takes seconds, and some 150 MB of memory. A box takes it when the build that it really runs has the \
                      bytes of --from; what comes of it is held against the newer build, and a box on which it does not do \
                      fetches that whole."
    )]
    Delta {
        /// The release folder.
        folder: PathBuf,
        /// The build that runs on boxes, as it was released.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The build that is to run.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Only say what it would save.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a file out of the draft of the targets.
    Remove {
        /// The release folder.
        folder: PathBuf,
        /// The target's path.
        #[arg(long, value_name = "PATH")]
        path: String,
    },
    /// Hand a part of the targets to somebody else's key, for example to the maker of a device.
    #[command(
        after_help = "Example:\n  homeward-fleet release delegate REL --name pump-maker --key maker.pub --pattern \
                            'pump-maker/*'"
    )]
    Delegate {
        /// The release folder.
        folder: PathBuf,
        /// The name of the role.
        #[arg(long)]
        name: String,
        /// A public key of its holders; may repeat.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// How many of them must sign; all, when it is not said.
        #[arg(long)]
        threshold: Option<usize>,
        /// Paths that it may speak of, with `*` and `?`; may repeat.
        #[arg(long = "pattern", value_name = "PATTERN", required = true)]
        patterns: Vec<String>,
    },
    /// Say what the drafts change, in plain words, and who has signed. Changes nothing.
    Show {
        /// The release folder.
        folder: PathBuf,
    },
    /// Sign the drafts that a key may sign. Says what they change first.
    #[command(
        after_help = "Example:\n  homeward-fleet release sign REL --key /media/stick/alice.key --passphrase-file \
                      /media/stick/passphrase\n\nEach holder signs alone, on a copy of the folder if need be: `release \
                      merge` puts the signatures together."
    )]
    Sign {
        /// The release folder.
        folder: PathBuf,
        /// The key and what opens it.
        #[command(flatten)]
        key: HolderKey,
        /// Only say what would be signed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take over signatures from copies of the folder that others signed.
    Merge {
        /// The release folder.
        folder: PathBuf,
        /// A copy with the same drafts.
        #[arg(required = true)]
        copies: Vec<PathBuf>,
    },
    /// Make the drafts the repository that boxes fetch: signs snapshot and timestamp with the online key, and checks
    /// everything as a box would. Without drafts it renews the timestamp: do that daily.
    #[command(
        after_help = "Example:\n  homeward-fleet release publish REL --key /etc/homeward/online.key --passphrase-file \
                      /etc/homeward/online.pass\n\nServe REL/repository by any HTTP server, mirror or stick. A timestamp is \
                      good for 7 days."
    )]
    Publish {
        /// The release folder.
        folder: PathBuf,
        /// The online key and what opens it.
        #[command(flatten)]
        key: HolderKey,
    },
}

/// A key and what opens it.
#[derive(Debug, Args)]
pub struct HolderKey {
    /// The file of the key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The file with its passphrase.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: PathBuf,
}

/// Whose keys count.
#[derive(Debug, Args)]
pub struct RootDraft {
    /// The release folder; made if need be.
    pub folder: PathBuf,
    /// A public key of root; three, held in different places.
    #[arg(long = "root", value_name = "FILE", required = true)]
    pub root: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 2)]
    pub root_threshold: usize,
    /// A public key of targets; two.
    #[arg(long = "targets", value_name = "FILE", required = true)]
    pub targets: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 2)]
    pub targets_threshold: usize,
    /// The public key of the server, which signs timestamp and snapshot daily.
    #[arg(long, value_name = "FILE")]
    pub online: PathBuf,
}

/// A file of a release.
#[derive(Debug, Args)]
pub struct Add {
    /// The release folder.
    pub folder: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// The file is the public key (P-256, PEM) of the director: whoever holds it says which box gets what.
    #[arg(long, group = "own", conflicts_with_all = ["path", "installer", "hw", "version", "disruption"])]
    pub director: bool,
    /// The file is the public key (P-256, PEM) that signs reference values.
    #[arg(long, group = "own", conflicts_with_all = ["path", "installer", "hw", "version", "disruption"])]
    pub reference_key: bool,
    /// The file holds reference values, as `reference make` signed them: servers hold evidence against them.
    #[arg(long, group = "own", conflicts_with_all = ["path", "installer", "hw", "version", "disruption"])]
    pub reference: bool,
    /// The file is a dossier, as `release dossier` made it: firmware of a device, which a person brings there.
    #[arg(long, group = "own", conflicts_with_all = ["path", "installer", "hw", "version", "disruption"])]
    pub dossier: bool,
    /// The target's path: what it is, for people.
    #[arg(long, value_name = "PATH", required_unless_present = "own")]
    pub path: Option<String>,
    /// What puts it in place: agent-slot, apt or rauc.
    #[arg(long, required_unless_present = "own")]
    pub installer: Option<Installer>,
    /// Hardware that it is for, for example `x86_64` or `aarch64`; may repeat.
    #[arg(long, required_unless_present = "own")]
    pub hw: Vec<String>,
    /// What it is then, for example 1.4.0.
    #[arg(long, required_unless_present = "own")]
    pub version: Option<Version>,
    /// What must run before.
    #[arg(long)]
    pub min_version: Option<Version>,
    /// What it interrupts: none, agent-restart, service-restart or reboot.
    #[arg(long, required_unless_present = "own")]
    pub disruption: Option<Disruption>,
    /// Once it ran, nothing below this version is installed any more.
    #[arg(long, default_value = "0.0.0")]
    pub security_floor: Version,
    /// What it means for nurses and for the people at home, in plain words (TOML): tables `staff` and `patient`, a text for
    /// each language. A whole one lies beside fleet.toml among the package's examples.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["director", "reference_key", "reference"])]
    pub notes: Option<PathBuf>,
}
