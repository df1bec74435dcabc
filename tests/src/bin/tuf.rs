//! Shell: `homeward-tuf`: the product's own TUF client behind the command line that the public conformance suite
//! (theupdateframework/tuf-conformance, CLIENT-CLI.md) drives. Exit codes: 0 it went well, 1 it did not.
#![expect(clippy::disallowed_methods, reason = "shell: the program's edge")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use homeward_agent::clock::Clock;
use homeward_agent::identity::tls::unverified;
use homeward_agent::update::base::Base;
use homeward_agent::update::fetch::Http;
use homeward_agent::update::keep::Folder;
use homeward_agent::update::tuf::{download, find, refresh, trust};
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::role::quote;
use ring::digest::{SHA256, digest};

/// Longest name of a file, bytes, with room for what marks a part of one.
const MAX_NAME: usize = 240;

/// Drives the update client of Homeward by itself, as the TUF conformance suite does.
#[derive(Debug, Parser)]
#[command(
    name = "homeward-tuf",
    after_help = "Examples:\n  homeward-tuf --metadata-dir D init root.json\n  homeward-tuf --metadata-dir D --metadata-url \
                  http://127.0.0.1:8000/metadata/ refresh\n  homeward-tuf --metadata-dir D --metadata-url \
                  http://127.0.0.1:8000/metadata/ --target-name a.txt --target-base-url http://127.0.0.1:8000/targets/ \
                  --target-dir T download\n\nThe suite:  pytest tuf_conformance --entrypoint path/to/homeward-tuf"
)]
struct Cli {
    /// Where what is believed is kept.
    #[arg(long, value_name = "DIR", global = true)]
    metadata_dir: Option<PathBuf>,
    /// The folder of metadata on the server.
    #[arg(long, value_name = "URL", global = true)]
    metadata_url: Option<Base>,
    /// A target; may repeat.
    #[arg(long, value_name = "PATH", global = true)]
    target_name: Vec<String>,
    /// The folder of targets on the server.
    #[arg(long, value_name = "URL", global = true)]
    target_base_url: Option<Base>,
    /// Where targets are put.
    #[arg(long, value_name = "DIR", global = true)]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust a root; no network.
    Init {
        /// The file.
        root: PathBuf,
    },
    /// Bring the metadata up to date.
    Refresh,
    /// Refresh, then get targets.
    Download,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    // The one provider of cryptography; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let wrong = usage.use_stderr();
            // Nobody to tell when that fails.
            let _ = usage.print();
            return if wrong {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match act(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let cause = failure.source().map(|cause| format!(": {cause}"));
            eprintln!("homeward-tuf: {failure}{}", cause.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn act(cli: &Cli) -> Result<(), Failure> {
    let clock = Arc::new(Clock::with_floor(0));
    let now = clock.now();
    let store = Folder::at(cli.metadata_dir.as_ref().ok_or("give --metadata-dir")?);
    if let Command::Init { root } = &cli.command {
        return Ok(trust(&store, &std::fs::read(root)?, now)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Whoever serves is not believed, so any certificate will do here.
    let http = |base: &Option<Base>, what: &str| -> Result<Http, Failure> {
        let base = base.clone().ok_or_else(|| format!("give {what}"))?;
        let tls = if base.is_secure() {
            Some(Arc::new(unverified(&clock)?))
        } else {
            None
        };
        Ok(Http::new(base, tls))
    };
    let metadata = http(&cli.metadata_url, "--metadata-url")?;
    runtime.block_on(async {
        let mut client = refresh(&metadata, &store, now).await?;
        if matches!(cli.command, Command::Refresh) {
            return Ok(());
        }
        if cli.target_name.is_empty() {
            return Err("give --target-name".into());
        }
        let folder = cli.target_dir.as_ref().ok_or("give --target-dir")?;
        let targets = http(&cli.target_base_url, "--target-base-url")?;
        for name in &cli.target_name {
            let found = find(&mut client, name.parse()?, &metadata, &store).await?;
            let found = found.ok_or_else(|| format!("nobody speaks of {name}"))?;
            download(&found, &targets, &folder.join(file_name(name))).await?;
        }
        Ok(())
    })
}

/// The name of a target's file: quoted; a hash of a path that is too long for a file. Only the latter begin with `+`.
fn file_name(path: &str) -> String {
    let quoted = quote(path, "");
    if quoted.len() <= MAX_NAME {
        return quoted;
    }
    format!("+{}", to_hex(digest(&SHA256, path.as_bytes()).as_ref()))
}
