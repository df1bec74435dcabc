//! Shell: every command but `serve`: it does one thing on the data folder, prints what came of it, and ends.
//!
//! A running server sees what a command changed within a quarter of a second, through the database.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads standard input and binds trial ports"
)]

pub mod advisory;
pub mod attest;
pub mod ca;
mod ca_status;
mod campaign;
pub mod claims;
pub mod dossier;
pub mod evidence;
pub mod facts;
pub mod force;
pub mod gateways;
mod judged;
pub mod keep;
pub mod keys;
pub mod notify;
pub mod policy;
mod quiet;
pub mod readings;
pub mod reference;
pub mod release;
pub mod releases;
mod support;
mod terms;
mod tokens;
pub mod update;
pub mod verify;

use std::io::{IsTerminal, Read};
use std::path::Path;

use serde::Serialize;

use crate::access::{Role, UserName, setup};
use crate::ca::passphrase::Passphrase;
use crate::ca::signer::Keys;
use crate::ca::{Authority, TrustDomain};
use crate::cli::{
    Cli, Command, GatewayCommand, ReadingCommand, ReferenceCommand, RoleArg, SupportCommand, UserCommand,
};
use crate::clock::Clock;
use crate::config::{Config, Keep};
use crate::notify::serve::Ways;
use crate::place::{Place, PlaceError};
use crate::store::{self, Store, StoreConfig, StoreError, care};

/// In the audit trail, who a person at the command line is.
pub const BY: &str = "command line";
/// Longest password that is read.
const MAX_LINE: u64 = 1024;

/// Why a command failed. What it says tells the person what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The data folder.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] crate::ca::CaError),
    /// A backup or the way back.
    #[error(transparent)]
    Copy(#[from] crate::store::copy::CopyError),
    /// People and tokens.
    #[error(transparent)]
    Access(#[from] setup::SetupError),
    /// Something asked for is not right.
    #[error("{0}")]
    Asked(String),
    /// Something was found wrong.
    #[error("{0}")]
    Found(String),
}

impl AdminError {
    /// The process's exit code: 2 when the command was wrong, else 1.
    pub const fn code(&self) -> u8 {
        match self {
            AdminError::Asked(_) => 2,
            _ => 1,
        }
    }
}

/// What a command prints: text for people, or the same as JSON.
pub struct Said {
    text: String,
    json: serde_json::Value,
    code: u8,
}

impl Said {
    /// Both forms.
    pub fn new(text: impl Into<String>, json: &impl Serialize) -> Said {
        Said {
            text: text.into(),
            json: serde_json::to_value(json).unwrap_or_default(),
            code: 0,
        }
    }

    /// The same, of something that was looked at and does not hold.
    #[must_use]
    pub fn failed(self) -> Said {
        Said { code: 1, ..self }
    }

    /// The same text after other words.
    #[must_use]
    pub fn after(self, words: &str) -> Said {
        let text = format!("{}\n{}", words.trim_end(), self.text);
        Said { text, ..self }
    }

    /// What programs read of it.
    pub const fn json(&self) -> &serde_json::Value {
        &self.json
    }

    /// The process's exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// Prints the form that was asked for.
    pub fn print(&self, as_json: bool) {
        if self.json.is_null() {
            // What a command had to say stands on standard output already.
        } else if as_json {
            println!("{}", self.json);
        } else {
            println!("{}", self.text.trim_end());
        }
    }
}

/// What needs no data folder: it runs wherever papers, evidence or releases are looked at.
fn away(command: &Command, clock: &Clock) -> Option<Result<Said, AdminError>> {
    match command {
        Command::Reading(ReadingCommand::Verify(asked)) => Some(verify::verify(asked)),
        Command::Evidence(asked) => Some(evidence::run(asked)),
        Command::Reference(ReferenceCommand::Make(asked)) => Some(evidence::make(asked)),
        Command::Reference(ReferenceCommand::Show { file, signer }) => Some(evidence::show(file, signer)),
        Command::Release(command) => Some(release::run(command, clock)),
        Command::Policy(asked) => policy::papers::run(asked, clock.now()),
        Command::Update(crate::cli::update::UpdateCommand::Force(asked)) => {
            force::papers::run(asked, clock.now())
        }
        _ => None,
    }
}

/// Runs one command that is not `serve`.
pub async fn run(cli: &Cli, clock: &Clock) -> Result<Said, AdminError> {
    if let Some(said) = away(&cli.command, clock) {
        return said;
    }
    if let Command::Gateway(GatewayCommand::Support(SupportCommand::Connect(asked))) = &cli.command {
        return support::connect(asked).await;
    }
    let place = place(cli)?;
    match &cli.command {
        Command::Attest(command) => attest::run(&open(&place)?.1, command, clock).await,
        Command::Evidence(command) => evidence::run(command),
        Command::Posture(command) => facts::run(&open(&place)?.1, command, clock).await,
        Command::Release(command) => release::run(command, clock),
        Command::Reference(command) => reference::run(&open(&place)?.1, command, clock).await,
        Command::Reading(ReadingCommand::List(asked)) => readings::list(&place, asked).await,
        Command::Reading(ReadingCommand::Export(asked)) => readings::export(&place, asked, clock).await,
        Command::Reading(ReadingCommand::Verify(asked)) => verify::verify(asked),
        Command::Init {
            names,
            trust_domain,
            trial,
            offline_root,
            passphrase_file,
            postgres,
        } => {
            let with = InitWith {
                trial: *trial,
                postgres: postgres.as_deref().map(database_url).transpose()?,
                offline_root: offline_root.as_deref(),
                passphrase: passphrase_file.as_deref().map(ca::strong).transpose()?,
            };
            init(&place, names, trust_domain, &with, clock).await
        }
        Command::Ca(command) => ca::run(&place, command, clock).await,
        Command::Serve { .. } => checked(&place),
        Command::Claim(command) => claims::run(&place, command, cli.json, clock).await,
        Command::Gateway(command) => gateways::run(&open(&place)?.1, command, clock).await,
        Command::User(UserCommand::Add { name, role, team }) => {
            let name: UserName = asked(name)?;
            let role = match role {
                RoleArg::Operator => Role::Operator,
                RoleArg::Nurse => Role::Nurse,
            };
            let password = line("password")?;
            let store = open(&place)?.1;
            if let Some(team) = team.clone() {
                let now = clock.now();
                store
                    .write(move |tx| care::ensure_team(tx, &team, BY, now))
                    .await?;
            }
            setup::add_user(
                &store,
                name.clone(),
                role,
                team.clone(),
                &password,
                BY,
                clock.now(),
            )
            .await?;
            let text = format!("{} can sign in as {}", name.as_str(), role.name());
            Ok(Said::new(
                text,
                &serde_json::json!({ "name": name.as_str(), "role": role.name() }),
            ))
        }
        Command::Token(command) => tokens::run(&open(&place)?.1, command, clock).await,
        Command::Policy(command) => policy::run(&place, command, clock).await,
        Command::Campaign(command) => campaign::run(&place, command, clock).await,
        Command::Update(command) => update::run(&place, command, clock).await,
        Command::Advisory(command) => advisory::run(&open(&place)?.1, command, clock.now()).await,
        Command::Implant(command) => advisory::register::run(&open(&place)?.1, command, clock.now()).await,
        Command::Notify(command) => notify::run(&place, command, clock).await,
        Command::Group(command) => policy::groups::run(&open(&place)?.1, command, clock).await,
        Command::Check => keep::check(&place).await,
        Command::Backup { to } => keep::backup(&place, to, clock),
        Command::Restore {
            from,
            replace,
            dry_run,
        } => keep::restore(&place, from, *replace, *dry_run),
    }
}

/// The data folder that the command is about.
pub fn place(cli: &Cli) -> Result<Place, AdminError> {
    let folder = cli.data.as_deref();
    let why = "which data folder? Give it before the command: homeward-fleet --data DIR ...";
    folder.map(Place::at).ok_or_else(|| AdminError::Asked(why.into()))
}

/// The configuration and the open store of a folder that is set up.
pub fn open(place: &Place) -> Result<(Config, Store), AdminError> {
    let config = place.config()?;
    let store = store::open(&store_config(place, &config))?;
    Ok((config, store))
}

/// Where the configuration says that the data are.
pub fn store_config(place: &Place, config: &Config) -> StoreConfig {
    match &config.keep {
        Keep::Embedded => StoreConfig::Sqlite(place.database()),
        Keep::Postgres(url) => StoreConfig::Postgres(url.0.clone()),
    }
}

/// Parses what was given on the command line.
fn asked<T>(text: impl AsRef<str>) -> Result<T, AdminError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = text.as_ref();
    text.parse()
        .map_err(|e| AdminError::Asked(format!("`{text}`: {e}")))
}

/// What `init` makes, and where it puts it.
struct InitWith<'a> {
    trial: bool,
    postgres: Option<String>,
    offline_root: Option<&'a Path>,
    passphrase: Option<Passphrase>,
}

async fn init(
    place: &Place,
    names: &[String],
    trust_domain: &str,
    with: &InitWith<'_>,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let domain: TrustDomain = asked(trust_domain)?;
    let text = first_config(names, with)?;
    let config = Config::parse(&text, place.folder()).map_err(|e| AdminError::Asked(e.to_string()))?;
    if let Some(media) = with.offline_root.filter(|media| !media.is_dir()) {
        let why = format!(
            "{} is no folder: mount the medium for the roots' keys first",
            media.display()
        );
        return Err(AdminError::Asked(why));
    }
    place.is_free()?;
    if config.keep != Keep::Embedded {
        // Before anything is made: it may be away, or another fleet's.
        prepare_database(&store_config(place, &config)).await?;
    }
    place.make(&text)?;
    let keys = Keys {
        roots_to: with.offline_root,
        passphrase: with.passphrase.as_ref(),
    };
    let authority = Authority::init_with(&place.authority(), domain, keys, clock.now())?;
    open(place)?;
    Ok(Said::new(
        made(place, &config, &authority, with),
        &serde_json::json!({ "data": place.folder(), "names": names }),
    ))
}

fn first_config(names: &[String], with: &InitWith<'_>) -> Result<String, AdminError> {
    let quoted: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
    let mut text = format!(
        "# homeward-fleet. Every key is optional but names; see fleet.toml in the packaging for all of them.\n\
         names = [{}]\n",
        quoted.join(", ")
    );
    if let Some(url) = &with.postgres {
        // A text of JSON is one of TOML.
        let url = serde_json::to_string(url).unwrap_or_default();
        text.push_str(&format!("[store]\npostgres = {url}\n"));
    }
    if with.trial {
        text.push_str(&trial_listeners().map_err(|e| AdminError::Found(format!("no free port: {e}")))?);
    }
    Ok(text)
}

/// The address of a database as `--postgres` gives it.
fn database_url(given: &str) -> Result<String, AdminError> {
    if given == "-" {
        line("database address")
    } else {
        Ok(given.to_owned())
    }
}

/// Makes the tables of a database that belongs to no fleet yet.
async fn prepare_database(config: &StoreConfig) -> Result<(), AdminError> {
    let store = store::open(config)?;
    let used = store.read(|tx| Ok(store::audit::head(tx)?.last() > 0)).await?;
    if used {
        return Err(AdminError::Found(
            "the database holds a fleet already, and a new authority would not be that fleet's: name an empty one, or \
             restore that fleet's data folder from its backup"
                .into(),
        ));
    }
    Ok(())
}

/// What `init` says at its end.
fn made(place: &Place, config: &Config, authority: &Authority, with: &InitWith<'_>) -> String {
    let folder = place.folder().display();
    let database = match config.keep {
        Keep::Embedded => "fleet.db    the database",
        Keep::Postgres(_) => "            (the data go to PostgreSQL, where the tables are made)",
    };
    let keys = match with.offline_root {
        Some(media) => format!(
            "The keys of the two roots are in {}: keep it away from this machine; `ca rotate` asks for them.",
            media.display()
        ),
        None => format!(
            "Move {folder}/ca/root-1.key and root-2.key to a safe place away from this machine: they are the keys of \
             the roots, and the server needs neither."
        ),
    };
    format!(
        "Made {folder}\n  fleet.toml  the configuration\n  {database}\n  ca/         the certificate authority of \
         {}\n\n{keys}\n\nStart the server:  homeward-fleet --data {folder} serve",
        authority.trust_domain(),
    )
}

/// Loopback addresses with ports that are free now, as the `listen` table of a configuration.
fn trial_listeners() -> std::io::Result<String> {
    let doors = ["gate", "enrol", "renewal", "console", "local"];
    let held: Vec<std::net::TcpListener> = doors
        .iter()
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let mut text = String::from("[listen]\n");
    for (door, listener) in doors.iter().zip(&held) {
        text.push_str(&format!("{door} = \"{}\"\n", listener.local_addr()?));
    }
    Ok(text)
}

fn checked(place: &Place) -> Result<Said, AdminError> {
    let config = place.config()?;
    Ways::open(&config.notify).map_err(|why| AdminError::Found(told(&why)))?;
    let text = format!("{} is right", place.folder().join("fleet.toml").display());
    Ok(Said::new(
        text,
        &serde_json::json!({ "ok": true, "names": config.names }),
    ))
}

/// One line from standard input; asked for when a person sits there. `what` is a secret, by its name.
fn line(what: &'static str) -> Result<String, AdminError> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("The {what} (it will be seen; or give it by < FILE), then Enter:");
        let mut line = String::new();
        input
            .read_line(&mut line)
            .map_err(|e| AdminError::Asked(format!("no {what}: {e}")))?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut text = String::new();
    let read = input.take(MAX_LINE).read_to_string(&mut text);
    read.map_err(|e| AdminError::Asked(format!("no {what} on standard input: {e}")))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// An error and what caused it, in one line a step, without saying a cause twice.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str("\n  because: ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
