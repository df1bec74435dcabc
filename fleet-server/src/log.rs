//! Shell: how the program says what happened, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogForm;

/// Starts the log: text for people on a terminal, one JSON object a line for journals. `RUST_LOG` filters.
pub fn start(form: LogForm) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,rumqttd=warn,refinery_core=warn"));
    let json = match form {
        LogForm::Json => true,
        LogForm::Text => false,
        LogForm::Auto => !std::io::stderr().is_terminal(),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(json);
    // A second start in one process (tests) keeps the first.
    let _ = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.try_init()
    };
}
