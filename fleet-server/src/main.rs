//! `homeward-fleet`: reads its arguments and runs.

use std::process::ExitCode;

use clap::Parser;
use homeward_fleet::cli::{Cli, Command};
use homeward_fleet::clock::Clock;
use homeward_fleet::{admin, log, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.log);
    // The one provider of cryptography; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("could not start: {error}"), 1),
    };
    if let Command::Serve { check: false } = cli.command {
        let place = match admin::place(&cli) {
            Ok(place) => place,
            Err(error) => return fail(&admin::told(&error), error.code()),
        };
        return match runtime.block_on(run::serve(&place, Clock::system())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&admin::told(&error), 1),
        };
    }
    let done = runtime.block_on(admin::run(&cli, &Clock::system()));
    // Standard input may still be waited for.
    runtime.shutdown_background();
    match done {
        Ok(said) => {
            said.print(cli.json);
            ExitCode::from(said.code())
        }
        Err(error) => fail(&admin::told(&error), error.code()),
    }
}

fn fail(why: &str, code: u8) -> ExitCode {
    eprintln!("homeward-fleet: {why}");
    ExitCode::from(code)
}
