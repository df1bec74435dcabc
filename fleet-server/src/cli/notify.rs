//! What `homeward-fleet notify` can be asked.

use clap::Subcommand;

/// Messages to people.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test message now, on each way that is configured, and say what came of each.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR notify test --person nora")]
    Test {
        /// To whom: a name of [notify.people] in fleet.toml. Without mail, any name will do.
        #[arg(long, value_name = "NAME")]
        person: String,
    },
}
