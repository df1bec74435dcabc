//! What `homeward-fleet update dossier` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::{GatewayId, SensorId};
use homeward_protocol::release::dossier::Firmware;

use crate::access::UserName;
use crate::dossier::{Day, Reason, TaskId};

/// Firmware of devices: what people have to bring to which device. Nothing of it is pushed.
#[derive(Debug, Subcommand)]
pub enum DossierCommand {
    /// List the dossiers that are published, and the tasks that they made.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR update dossier list --open")]
    List {
        /// Only tasks that somebody has to do something about.
        #[arg(long)]
        open: bool,
        /// The release folder with the published repository; else `release` in the data folder.
        #[arg(long, value_name = "DIR")]
        release: Option<PathBuf>,
    },
    /// Show a task by its number, or a published dossier by its path: what is at stake, each step, how to see that it
    /// worked.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR update dossier show 12\n  homeward-fleet --data DIR update \
                      dossier show dossier/cuff-2026-leak/1.0.0"
    )]
    Show {
        /// The number of a task, or the path of a dossier.
        which: String,
        /// The release folder with the published repository; else `release` in the data folder.
        #[arg(long, value_name = "DIR")]
        release: Option<PathBuf>,
    },
    /// Open a task for each device of the fleet that a published dossier is for, or for one that no box reads.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR update dossier open dossier/cuff-2026-leak/1.0.0 --dry-run\n  \
                      homeward-fleet --data DIR update dossier open dossier/pacer-7/1.0.0 --gateway gw-7f3k --device \
                      pacemaker\n\nA device is for it when its box reads it by a profile that the dossier names, and it does \
                      not show the new version already. Opening again opens what is missing; what was refused is opened by `reopen`. The tasks of older instructions for the same devices end by it."
    )]
    Open(DossierOpen),
    /// Say who carries it out, and on which day.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update dossier plan 12 --on 2026-12-01 --person nora"
    )]
    Plan {
        /// The task.
        task: TaskId,
        /// The day, in UTC.
        #[arg(long, value_name = "YYYY-MM-DD")]
        on: Day,
        /// Who sees to it: a person of the console.
        #[arg(long, value_name = "NAME")]
        person: UserName,
    },
    /// Say that it worked, with the version that the device shows. What acts on a person or lies in a body has to be seen
    /// by two people, each of whom signs in to the console for that.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update dossier confirm 12 --shows 2.2 --person nora"
    )]
    Confirm {
        /// The task.
        task: TaskId,
        /// The version, read off the device itself.
        #[arg(long, value_name = "VERSION")]
        shows: Firmware,
        /// Who read it: a person of the console.
        #[arg(long, value_name = "NAME")]
        person: UserName,
    },
    /// Say that it is not done, and why.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update dossier refuse 12 --person nora --reason \"the risk of the \
                      visit is higher\""
    )]
    Refuse(DossierEnd),
    /// Say that nobody is asked any more, and why.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update dossier withdraw 12 --person olga --reason \"the device \
                      was replaced\""
    )]
    Withdraw(DossierEnd),
    /// Ask for it again, for the home in which its box stands now: what was refused, or what was opened for another home.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR update dossier reopen 12 --person olga --reason \"the patient is \
                      back home\""
    )]
    Reopen(DossierEnd),
}

/// What to open.
#[derive(Debug, Args)]
pub struct DossierOpen {
    /// The dossier's path in the repository.
    pub path: String,
    /// The box at the home of a device that no box reads.
    #[arg(long, value_name = "ID", requires = "device")]
    pub gateway: Option<GatewayId>,
    /// What that device is called here: a kind or a number, never a person.
    #[arg(long, value_name = "NAME", requires = "gateway")]
    pub device: Option<SensorId>,
    /// The release folder with the published repository; else `release` in the data folder.
    #[arg(long, value_name = "DIR")]
    pub release: Option<PathBuf>,
    /// Only say for which devices.
    #[arg(long)]
    pub dry_run: bool,
}

/// Which to end.
#[derive(Debug, Args)]
pub struct DossierEnd {
    /// The task.
    pub task: TaskId,
    /// Who decided: a person of the console.
    #[arg(long, value_name = "NAME")]
    pub person: UserName,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Reason,
}
