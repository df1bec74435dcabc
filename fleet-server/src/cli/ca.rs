//! What the certificate authority can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ca::Serial;

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
