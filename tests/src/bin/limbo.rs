//! Shell: `homeward-limbo FILE`: the cases of x509-limbo by the way in which a gateway judges its server.
#![expect(clippy::disallowed_methods, reason = "shell: a file, and the time")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use homeward_tests::limbo::{Suite, librarys, ours};
use rustls::pki_types::UnixTime;

/// Prints the result file of C2SP/x509-limbo for a suite file.
#[derive(Debug, Parser)]
#[command(
    name = "homeward-limbo",
    after_help = "Example:\n  homeward-limbo limbo.json > results.json\n\nExit code: 0 when all cases were run, whatever \
                  came of them; 2 when the suite cannot be read."
)]
struct Cli {
    /// The suite: `limbo.json`.
    suite: PathBuf,
    /// Run the library alone, to compare.
    #[arg(long)]
    library: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let read = std::fs::read(&cli.suite).map_err(|e| e.to_string());
    let suite: Result<Suite, String> =
        read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
    let suite = match suite {
        Ok(suite) => suite,
        Err(why) => {
            eprintln!("homeward-limbo: {} cannot be read: {why}", cli.suite.display());
            return ExitCode::from(2);
        }
    };
    let run = if cli.library { librarys } else { ours };
    match serde_json::to_string_pretty(&run(&suite, UnixTime::now())) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("homeward-limbo: {why}");
            ExitCode::from(2)
        }
    }
}
