//! What `homeward-fleet advisory` and `homeward-fleet implant` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::{PlacementId, SensorId};
use homeward_protocol::release::dossier::Firmware;

use crate::access::UserName;
use crate::advisory::WeighId;
use crate::advisory::implant::{ImplantId, Kind, Name};
use crate::dossier::Reason;

/// Advisories, and what is weighed.
#[derive(Debug, Subcommand)]
pub enum AdvisoryCommand {
    /// Take in advisories (CSAF 2.0, JSON): for each device of the register that one is about, a clinician is asked to weigh it.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR advisory take icsma-17-241-01.json --dry-run\n  homeward-fleet \
                      --data DIR advisory take /media/csaf/2026\n\nA folder is read with all below it. A document that is here \
                      already changes nothing. Its signature is not looked at: get documents from their publisher, over TLS."
    )]
    Take(AdvisoryTake),
    /// List the newest revisions that were taken in.
    List,
    /// Show an advisory, and which devices it is about.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR advisory show ICSMA-17-241-01")]
    Show {
        /// Its own id.
        id: String,
    },
    /// Take a revision out that should not have come in: what it asked for ends, and what an earlier one asked for is asked again.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR advisory remove 02a06168…bce2f2a --reason \"it is not the \
                      maker's\"\n\nTaking the same file in again brings it back."
    )]
    Remove {
        /// Its SHA-256, hex, as `advisory show` prints it.
        sha256: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
    },
    /// List what is weighed: the tasks that advisories made.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR advisory tasks --open")]
    Tasks {
        /// Only those that somebody has to do something about.
        #[arg(long)]
        open: bool,
    },
    /// Show one task: what is at stake, what is advised, and what was decided. A clinician decides in the console.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR advisory task 7")]
    Task {
        /// The task.
        task: WeighId,
    },
    /// Say that nobody is asked any more, and why.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR advisory withdraw 7 --person olga --reason \"taken in by \
                      mistake\""
    )]
    Withdraw(WeighEnd),
    /// Ask for it to be weighed again, and say why.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR advisory reopen 7 --person olga --reason \"the maker says more \
                      now\""
    )]
    Reopen(WeighEnd),
}

/// What to take in.
#[derive(Debug, Args)]
pub struct AdvisoryTake {
    /// Documents, or folders with documents (`*.json`).
    #[arg(required = true)]
    pub from: Vec<PathBuf>,
    /// Only say what would come of it.
    #[arg(long)]
    pub dry_run: bool,
}

/// Which task to move.
#[derive(Debug, Args)]
pub struct WeighEnd {
    /// The task.
    pub task: WeighId,
    /// Who decided: a person of the console.
    #[arg(long, value_name = "NAME")]
    pub person: UserName,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}

/// The register.
#[derive(Debug, Subcommand)]
pub enum ImplantCommand {
    /// Write a device down, by the home's pseudonym: no name of a person, no serial number.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR implant add --home home-0042 --device pacemaker --maker Abbott \
                      --model \"Accent MRI\"\n  homeward-fleet --data DIR implant add --home home-0043 --device pump --kind \
                      worn --maker Medtronic --model \"MiniMed 508\" --shows 2.6A"
    )]
    Add(ImplantAdd),
    /// List the register.
    List,
    /// Note the version that somebody read off a device.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR implant seen 3 --shows F0B.0E.7E")]
    Seen {
        /// The entry.
        entry: ImplantId,
        /// The version, read off the device itself.
        #[arg(long, value_name = "VERSION")]
        shows: Firmware,
    },
    /// Take a device out: what is weighed for it ends.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR implant end 3 --reason \"it was replaced\""
    )]
    End {
        /// The entry.
        entry: ImplantId,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
    },
}

/// A device.
#[derive(Debug, Args)]
pub struct ImplantAdd {
    /// The home, by its pseudonym.
    #[arg(long, value_name = "ID")]
    pub home: PlacementId,
    /// What the device is called here: a kind or a number, never a person.
    #[arg(long, value_name = "NAME")]
    pub device: SensorId,
    /// What it is to the person: `implant` or `worn`.
    #[arg(long, default_value = "implant")]
    pub kind: Kind,
    /// Who makes it, as it stands on the device or its card.
    #[arg(long, value_name = "NAME")]
    pub maker: Name,
    /// Which model, likewise.
    #[arg(long, value_name = "NAME")]
    pub model: Name,
    /// The version that it shows, where somebody looked.
    #[arg(long, value_name = "VERSION")]
    pub shows: Option<Firmware>,
}
