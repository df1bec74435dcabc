//! Shell: `homeward-agent`. Exit codes: 0 done, 1 failed, 2 asked wrongly.
#![expect(clippy::disallowed_methods, reason = "shell: the program's edge")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser as _;
use homeward_agent::associate::pair;
use homeward_agent::attest::show;
use homeward_agent::care::{Gateway, Identity};
use homeward_agent::cli::{
    Cli, Command, PolicyCommand, ProfileCommand, SensorCommand, SupportCommand, TpmChoice, UpdateCommand,
    Which,
};
use homeward_agent::clock::Clock;
use homeward_agent::config::load;
use homeward_agent::enrol::est::{Progress, enrol, enrol_by_tpm};
use homeward_agent::enrol::read_claim;
use homeward_agent::identity::keys::Folder;
use homeward_agent::interlock::hold::{Hold, HoldId};
use homeward_agent::interlock::{Quiet, file};
use homeward_agent::sense::live::look;
use homeward_agent::sense::{Sensor, SensorConfig};
use homeward_agent::tpm::chip::Chip;
use homeward_agent::tpm::thread::Tpm;
use homeward_agent::tpm::{Address, device};
use homeward_agent::update::go::told;
use homeward_agent::update::{look as releases, words};
use homeward_agent::vault::disk::{self, DiskError};
use homeward_agent::vault::{self, Vault, VaultError};
use homeward_agent::{log, policy, posture, run, sense, status, support};
use homeward_devices::profile::Profile;
use homeward_protocol::claim::{Endpoint, MAX_CLAIM, Pin};
use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::check::check;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a vault seals, beside its own file.
const SEALED_FILES: [&str; 5] = [
    "identity",
    "outbox.db",
    "outbox.db-wal",
    "outbox.db-shm",
    vault::chip::FILE,
];

type Failure = Box<dyn Error>;

/// Lines that wait for a slow terminal.
const LIVE: usize = 64;
/// How long a running agent may take to end a support session.
const END: Duration = Duration::from_secs(10);
/// What a device is called that is asked by a profile file only.
const TRIED: &str = "tried-device";

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(cli.log);
    match act(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is::<NotNow>() {
                return ExitCode::FAILURE;
            }
            if let Some(misuse) = failure.downcast_ref::<clap::Error>() {
                misuse.exit();
            }
            tell(failure.as_ref(), cli.json);
            ExitCode::FAILURE
        }
    }
}

fn act(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Enrol { claim, server, pin } => {
            let by = match (claim, server, pin) {
                (_, Some(server), Some(pin)) => By::Tpm(server, *pin),
                (Some(claim), ..) => By::Claim(claim),
                (None, ..) => return Err("give --claim, or --server and --pin".into()),
            };
            runtime()?.block_on(enrolment(cli, &by))
        }
        Command::Tpm => show_tpm(cli),
        Command::Run => {
            let needed = Folder::within(cli.data()?).needs_tpm();
            let runtime = runtime()?;
            let ran = runtime.block_on(run::run(cli.data()?, tpm(cli, needed)?));
            // Whoever is in the middle of a slow disk is not waited for: what is kept stands any power cut.
            runtime.shutdown_background();
            Ok(ran?)
        }
        Command::Status => show_status(cli),
        Command::Evidence => {
            let clock = clock(cli)?;
            let (evidence, verdict) = run::proving::look(cli.data()?, &clock)?;
            let (verdict, now) = (verdict.as_ref(), clock.now());
            let text = show::text(&evidence, verdict, now);
            print(cli, &text, &show::json(&evidence, verdict, now));
            Ok(())
        }
        Command::Posture { quick } => {
            let facts = run::looking::facts(cli.data.as_deref(), *quick)?;
            print(cli, &posture::show::text(&facts), &posture::show::json(&facts));
            Ok(())
        }
        Command::Sbom => {
            println!("{:#}", run::looking::sbom(cli.data.as_deref()));
            Ok(())
        }
        Command::Check => {
            let count = load::load(cli.data()?, &clock(cli)?)?.sensors.len();
            let text = format!("The configuration is right. Sensors: {count}");
            print(cli, &text, &serde_json::json!({"ok": true, "sensors": count}));
            Ok(())
        }
        Command::Update(command) => update(cli, command),
        Command::Policy(command) => rules(cli, command),
        Command::Support(command) => helped(cli, command),
        Command::Sensor(command) => runtime()?.block_on(sensor(cli, command)),
        Command::Profile(ProfileCommand::Check { file }) => {
            let profile = load::profile(file)?;
            let text = sense::describe(&profile);
            print(
                cli,
                text.trim_end(),
                &serde_json::json!({"ok": true, "profile": profile.id.as_str()}),
            );
            Ok(())
        }
    }
}

fn update(cli: &Cli, command: &UpdateCommand) -> Result<(), Failure> {
    let (data, now) = (cli.data()?, clock(cli)?.now());
    match command {
        UpdateCommand::Status => {
            let quiet = file::quiet(data);
            let (may, said) = Quiet::tell(quiet.as_ref(), now);
            let software = told(data);
            let shown = software.as_ref().map_or_else(String::new, words::said) + &said;
            let json = serde_json::json!({ "may": may, "quiet": quiet, "software": software });
            print(cli, &shown, &json);
            if may { Ok(()) } else { Err(NotNow.into()) }
        }
        UpdateCommand::Trust { root } => {
            let (text, json) = releases::trust(data, root, now)?;
            print(cli, &text, &json);
            Ok(())
        }
        UpdateCommand::Check { from } => {
            let (text, json) = runtime()?.block_on(releases::check(data, from, &clock(cli)?))?;
            print(cli, &text, &json);
            Ok(())
        }
        UpdateCommand::Hold { list: true, .. } => {
            let holds = file::all(data, now)?;
            print(cli, &listed(&holds), &serde_json::json!(holds));
            Ok(())
        }
        UpdateCommand::Hold { lift: Some(id), .. } => {
            file::is_own(id)?;
            file::lift(data, id)?;
            print(
                cli,
                &format!("The quiet of {id} has ended"),
                &serde_json::json!({ "lifted": id }),
            );
            Ok(())
        }
        UpdateCommand::Hold {
            reason, minutes, by, ..
        } => {
            let hold = Hold {
                by: ShortText::cut(by.as_str()),
                reason: ShortText::cut(reason.as_deref().unwrap_or_default()),
                placed: now,
                until: now.plus_ms(i64::from(*minutes) * 60_000),
            };
            file::is_own(by)?;
            file::place(data, by, &hold, now)?;
            let said = format!(
                "Quiet until {}. End it: homeward-agent update hold --lift {by}",
                hold.until
            );
            print(cli, &said, &serde_json::json!(hold));
            Ok(())
        }
    }
}

/// The answer was given; only the exit code is left.
#[derive(Debug, thiserror::Error)]
#[error("not now")]
struct NotNow;

fn listed(holds: &BTreeMap<HoldId, Hold>) -> String {
    if holds.is_empty() {
        return "Nobody asked for quiet".to_owned();
    }
    let line =
        |(id, hold): (&HoldId, &Hold)| format!("{id:<24} until {}: {}", hold.until, hold.reason.as_str());
    holds.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One thread is enough for a home, and the smallest.
fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// What lets the box in.
enum By<'a> {
    Claim(&'a Path),
    Tpm(&'a Endpoint, Pin),
}

/// The box's TPM. One that is `needed` is taken even when it does not answer: then it is what has to be said.
fn tpm(cli: &Cli, needed: bool) -> Result<Option<Tpm>, Failure> {
    let at = match &cli.tpm {
        TpmChoice::None => return Ok(None),
        TpmChoice::At(at) => at.clone(),
        TpmChoice::Auto => {
            let usual = Address::usual();
            if !needed && device::open(&usual).is_err() {
                return Ok(None);
            }
            usual
        }
    };
    Ok(Some(Tpm::start(at)?))
}

/// The TPM that the data folder needs, if it does. That it cannot be used is said by who needs it.
fn chip(cli: &Cli) -> Option<Tpm> {
    let needed = cli.data().is_ok_and(|data| Folder::within(data).needs_tpm());
    tpm(cli, needed).ok().flatten()
}

fn show_tpm(cli: &Cli) -> Result<(), Failure> {
    let tpm = tpm(cli, false)?.ok_or("this box has no TPM that can be used (see --tpm)")?;
    let endorsed = runtime()?.block_on(tpm.call(Chip::endorsed))?;
    let hash = endorsed.key.hash_hex();
    let certified = endorsed.certificate.is_some();
    let text = format!(
        "Endorsement key  {:?}\nHash             {hash}\nCertificate      {}\n\nTo register it:  homeward-fleet --data DIR \
         claim new --ek-hash {hash}",
        endorsed.kind,
        if certified { "of its maker" } else { "none" }
    );
    print(
        cli,
        &text,
        &serde_json::json!({"kind": format!("{:?}", endorsed.kind), "ek_hash": hash, "certificate": certified}),
    );
    Ok(())
}

async fn enrolment(cli: &Cli, by: &By<'_>) -> Result<(), Failure> {
    let claim =
        match by {
            By::Tpm(..) => None,
            By::Claim(file) => {
                let read = read_claim(&claim_text(file)?);
                Some(read.map_err(|error| {
                    format!("this is not a claim: {error}. Copy the whole line, or the JSON")
                })?)
            }
        };
    let data = cli.data()?;
    std::fs::create_dir_all(data)
        .map_err(|error| format!("could not make the data folder {}: {error}", data.display()))?;
    let _lock = run::lock(data)?;
    let folder = Folder::within(data);
    let tpm = tpm(cli, folder.needs_tpm())?;
    let clock = Arc::new(Clock::with_floor(folder.floor()));
    let vault = vault_for(data, tpm.as_ref(), clock.now()).await?;
    let folder = folder.sealed_by(&vault).on(tpm);
    let tell = |progress| match progress {
        Progress::ServerProved => eprintln!("The server is the one that has the pin."),
        Progress::TpmProved(tier) => eprintln!("The TPM of this box proved itself ({tier})."),
        Progress::Waiting { fingerprint, wait_s } => eprintln!(
            "Waiting for an operator to approve the fingerprint {fingerprint}; asking again in {wait_s} s."
        ),
    };
    let server = match (by, &claim) {
        (By::Tpm(server, pin), _) => enrol_by_tpm(server, *pin, &folder, &clock, &tell).await?,
        (By::Claim(_), Some(claim)) => enrol(claim, &folder, &clock, &tell).await?,
        (By::Claim(_), None) => return Err("there is no claim".into()),
    };
    let text = format!(
        "This box is now {}. Start it with `homeward-agent --data {} run`",
        server.gateway,
        data.display()
    );
    print(cli, &text, &serde_json::to_value(&server)?);
    Ok(())
}

/// The vault of the data folder. One that another box sealed is set aside: a new claim begins anew.
async fn vault_for(data: &Path, tpm: Option<&Tpm>, now: Timestamp) -> Result<Vault, Failure> {
    let foreign = match vault::chip::at(data, tpm).await {
        Err(vault::chip::ChipError::Tpm(error)) => error.is_foreign(),
        Err(vault::chip::ChipError::Disk(DiskError::Vault { ref source, .. })) => {
            *source == VaultError::Foreign
        }
        other => return Ok(other?),
    };
    if !foreign {
        return Err(
            "the vault of this data folder does not open: try again, or move `vault.json` away".into(),
        );
    }
    let aside = disk::set_aside(data, &SEALED_FILES, now.ms)?;
    eprintln!(
        "What lay here was sealed by another box, or by a part of this one that is gone. It is in {} now; what waited in it \
         can be read by nobody else.",
        aside.display()
    );
    Ok(vault::chip::at(data, tpm).await?)
}

fn claim_text(from: &Path) -> Result<String, Failure> {
    // The server's JSON holds the claim twice, and a little more.
    let limit = 4 * MAX_CLAIM as u64;
    let mut text = String::new();
    if from == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(from)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|error| format!("could not read the claim at {}: {error}", from.display()))?;
    }
    Ok(text)
}

async fn read_sensor(cli: &Cli, id: &SensorId, limit: Duration) -> Result<(), Failure> {
    let clock = clock(cli)?;
    let sensors = load::load(cli.data()?, &clock)?.sensors;
    let known: Vec<&str> = sensors.iter().map(|sensor| sensor.id.as_str()).collect();
    let found = sensors.iter().find(|sensor| sensor.id == *id);
    let sensor =
        found.ok_or_else(|| format!("agent.toml has no sensor {id}; it has: {}", known.join(", ")))?;
    if sensor.ble_address().is_some() {
        return next_of(cli, id, &clock, limit).await;
    }
    ask_sensor(cli, sensor, cli.data()?, &clock).await
}

/// The next that a Bluetooth sensor sends.
async fn next_of(cli: &Cli, id: &SensorId, clock: &Arc<Clock>, limit: Duration) -> Result<(), Failure> {
    let (to, from) = mpsc::channel(LIVE);
    let stop = CancellationToken::new();
    let showing = run::live::live(cli.data()?, Some(id), (clock, || chip(cli)), to, &stop);
    let next = look::next(showing, from, &stop, limit).await?;
    if next.readings.is_empty() {
        let nothing = || format!("it sent nothing within {} s", limit.as_secs());
        return Err(format!("{id}: {}", next.trouble.unwrap_or_else(nothing)).into());
    }
    let text = sense::values(&next.readings);
    print(cli, text.trim_end(), &serde_json::to_value(&next.readings)?);
    Ok(())
}

/// Shows what comes until Ctrl-C: of the box's sensors, or of a device by a profile file.
async fn watch(cli: &Cli, sensor: Option<&SensorId>, tried: Option<Sensor>) -> Result<(), Failure> {
    let (to, from) = mpsc::channel(LIVE);
    let stop = CancellationToken::new();
    if let Some(sensor) = tried {
        let clock = Arc::new(Clock::with_floor(0));
        let master = load::master(&sensor.way, sensor.profile.time_limit, Path::new("."), &clock)?;
        let showing = run::live::tried(sensor, master, &clock, to, &stop);
        look::watch(showing, from, &stop, cli.json).await?;
    } else {
        let clock = clock(cli)?;
        let showing = run::live::live(cli.data()?, sensor, (&clock, || chip(cli)), to, &stop);
        look::watch(showing, from, &stop, cli.json).await?;
    }
    Ok(())
}

/// The device that a profile file is tried on, if one is named: without a configuration.
fn device(which: &Which) -> Result<Option<Sensor>, Failure> {
    let Some(file) = &which.profile else {
        return Ok(None);
    };
    let at = which.tcp.as_ref().or(which.serial.as_ref());
    let at = at.ok_or("--profile needs --tcp or --serial")?;
    let profile = load::profile(file)?;
    let config = SensorConfig {
        id: TRIED.parse()?,
        profile: profile.id.clone(),
        address: at.parse()?,
        tls: None,
        baud: None,
        unit: which.unit,
        interval_ms: None,
        identity: None,
    };
    Ok(Some(config.resolve(&[profile])?))
}

async fn ask_sensor(cli: &Cli, sensor: &Sensor, data: &Path, clock: &Arc<Clock>) -> Result<(), Failure> {
    let master = load::master(&sensor.way, sensor.profile.time_limit, data, clock)?;
    let outcome = sense::poll::once(sensor, master).await;
    let readings = outcome.readings(
        sensor,
        Identity::AsExpected,
        (Gateway::Unjudged, Some(Grade::Unverified)),
        clock.now(),
    );
    if cli.json || !readings.is_empty() {
        print(
            cli,
            sense::values(&readings).trim_end(),
            &serde_json::to_value(&readings)?,
        );
    }
    match outcome.error {
        Some(error) => Err(format!("{}: {error}", sensor.id).into()),
        None => Ok(()),
    }
}

async fn sensor(cli: &Cli, command: &SensorCommand) -> Result<(), Failure> {
    let said = match command {
        SensorCommand::Scan { seconds } => pair::scan(Duration::from_secs((*seconds).into())).await?,
        SensorCommand::Pair {
            sensor,
            address,
            profile,
            by,
            seconds,
        } => {
            let wish = pair::Wish {
                sensor: sensor.clone(),
                address: *address,
                by: ShortText::cut(by),
                profile: bluetooth_profile(profile)?,
                window: Duration::from_secs((*seconds).into()),
            };
            pair::pair(cli.data()?, load::keys(cli.data()?)?, wish, now(cli)?).await?
        }
        SensorCommand::List => pair::list(cli.data()?, load::keys(cli.data()?)?).await?,
        SensorCommand::Forget { sensor } => pair::forget(cli.data()?, sensor, now(cli)?).await?,
        SensorCommand::Read { which, seconds } => {
            let limit = Duration::from_secs((*seconds).into());
            return match (&which.sensor, device(which)?) {
                (Some(sensor), _) => read_sensor(cli, sensor, limit).await,
                // Without TLS no file of the folder is read.
                (None, Some(device)) => {
                    let clock = Arc::new(Clock::with_floor(0));
                    ask_sensor(cli, &device, Path::new("."), &clock).await
                }
                (None, None) => {
                    Err("name a sensor of agent.toml, or give --profile with --tcp or --serial".into())
                }
            };
        }
        SensorCommand::Watch { which } => {
            return watch(cli, which.sensor.as_ref(), device(which)?).await;
        }
        SensorCommand::Decode { characteristic, hex } => {
            let told = sense::decode::decode(characteristic, hex)?;
            print(cli, told.text().trim_end(), &told.json());
            return Ok(());
        }
    };
    print(cli, said.text.trim_end(), &said.json);
    Ok(())
}

fn now(cli: &Cli) -> Result<Timestamp, Failure> {
    Ok(clock(cli)?.now())
}

/// A shipped profile by its name, else one in a file; it must be for Bluetooth.
fn bluetooth_profile(name: &str) -> Result<Profile, Failure> {
    let profile = match homeward_devices::profile::shipped(name) {
        Some(profile) => profile,
        None => load::profile(Path::new(name))?,
    };
    if profile.session.is_none() {
        return Err(format!("the profile {} is not for a Bluetooth sensor", profile.id).into());
    }
    Ok(profile)
}

/// The clock with the floor of the box's identity.
fn clock(cli: &Cli) -> Result<Arc<Clock>, Failure> {
    let floor = Folder::within(cli.data()?).floor();
    Ok(Arc::new(Clock::with_floor(floor)))
}

fn helped(cli: &Cli, command: &SupportCommand) -> Result<(), Failure> {
    let data = cli.data()?;
    let load = || support::file::load(data).ok_or("what is kept of support sessions cannot be read");
    let mut saved = load()?;
    if matches!(command, SupportCommand::End) {
        let end_by = Instant::now() + END;
        if saved.open.is_some() {
            support::file::wish_end(data)?;
        }
        while saved.open.is_some() {
            if Instant::now() >= end_by {
                return Err(
                    "the agent did not end it: does it run? A session ends with the agent, too".into(),
                );
            }
            std::thread::sleep(Duration::from_millis(100));
            saved = load()?;
        }
    }
    let text = support::show::show(&saved);
    print(cli, text.trim_end(), &serde_json::to_value(&saved)?);
    Ok(())
}

fn rules(cli: &Cli, command: &PolicyCommand) -> Result<(), Failure> {
    let data = cli.data()?;
    let told = policy::keep::told(data);
    match command {
        PolicyCommand::Show => {
            let state =
                told.ok_or("nothing was told of a policy yet: has the agent run with this data folder?")?;
            print(
                cli,
                policy::show::show(&state).trim_end(),
                &serde_json::to_value(&state)?,
            );
        }
        PolicyCommand::Plan { file, .. } => {
            let checked = check(&run::policing::document(file)?);
            let clock = clock(cli)?;
            let now = run::policing::now(data, &clock)?;
            let text = policy::show::plan(now.as_ref(), &checked, told.as_ref());
            let usable = checked.policy.is_some();
            print(
                cli,
                text.trim_end(),
                &serde_json::json!({ "usable": usable, "plan": text }),
            );
            if !usable {
                return Err("the document has errors".into());
            }
        }
    }
    Ok(())
}

fn show_status(cli: &Cli) -> Result<(), Failure> {
    let found = status::file::read(cli.data()?)?;
    let now = Clock::with_floor(Folder::within(cli.data()?).floor()).now();
    let mut json = serde_json::to_value(&found)?;
    let mut text = found.tell(now);
    if let Some((session, _)) = support::file::load(cli.data()?).and_then(|saved| saved.open) {
        json["support"] = serde_json::to_value(&session)?;
        let (by, ticket) = (session.by.as_str(), session.ticket.as_str());
        text = format!(
            "{}\nSupport:     a session is open: {by}, ticket {ticket}",
            text.trim_end()
        );
    }
    if let Some(kind) = disk::kind(cli.data()?) {
        json["sealed_by"] = serde_json::to_value(kind)?;
        text = format!("{}\nData:        {}", text.trim_end(), kind.words());
    }
    print(cli, text.trim_end(), &json);
    Ok(())
}

fn print(cli: &Cli, text: &str, json: &serde_json::Value) {
    if cli.json {
        println!("{json}");
    } else {
        println!("{text}");
    }
}

fn tell(failure: &dyn Error, json: bool) {
    let mut text = failure.to_string();
    let mut next = failure.source();
    while let Some(cause) = next {
        let inner = cause.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = cause.source();
    }
    if json {
        eprintln!("{}", serde_json::json!({"error": text}));
    } else {
        eprintln!("homeward-agent: {text}");
    }
}
