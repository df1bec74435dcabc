//! `cargo demo`: a fleet server and four homes, on this machine, with nothing to set up.
//!
//! North Lane works, and has a cuff and an oximeter by Bluetooth. Mill Road loses its link and comes back. Old Quay is shut
//! out by the operator. In Elm Row a therapy runs, and a campaign that brings a new version waits for it. Without `--once` it
//! runs until Ctrl-C; with it the story is played to its end and every reading is accounted for.
#![expect(clippy::disallowed_methods, reason = "shell: a program that starts programs")]

mod campaign;
mod live;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use homeward_devices::simulated::Behaviour;
use homeward_tests::fake_bluez::bus::Bus;
use homeward_tests::homes::bluetooth::{Near, Played, furnish_real};
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::cargo;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::proxy::Link;
use homeward_tests::shared::program;
use homeward_tests::tally::{Tally, compare, number};
use serde::Serialize;

use campaign::Figure;
use live::live;

/// A fleet server and four homes with simulated devices, on this machine.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  cargo demo\n  cargo demo -- --once --json\n  cargo demo -- --ble")]
struct Cli {
    /// Play the story to its end, account for every reading, and exit with 0 when none is missing.
    #[arg(long)]
    once: bool,
    /// With --once: print only the summary, as JSON.
    #[arg(long, requires = "once")]
    json: bool,
    /// Keep the data in this folder (it must not exist) instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Listen for real sensors by this machine's own Bluetooth, instead of the cuff and the oximeter of a fake stack.
    #[arg(long, conflicts_with = "once")]
    ble: bool,
}

const TEAM: &str = "north";
const PLANS: [Plan<'static>; 4] = [
    Plan {
        placement: "north-lane-4",
        team: TEAM,
        dependency: "low",
        sensor: "tsi-pressura-rpc30",
        profile: "tsi-pressura-rpc30",
        interval_ms: 1000,
        seed: 4,
    },
    Plan {
        placement: "mill-road-12",
        team: TEAM,
        dependency: "medium",
        sensor: "tripp-lite-modbuscard",
        profile: "tripp-lite-modbuscard",
        interval_ms: 1000,
        seed: 12,
    },
    Plan {
        placement: "old-quay-7",
        team: TEAM,
        dependency: "medium",
        sensor: "comet-tx5xx",
        profile: "comet-tx5xx",
        interval_ms: 1000,
        seed: 7,
    },
    Plan {
        placement: "elm-row-9",
        team: TEAM,
        dependency: "medium",
        sensor: "oxygen",
        profile: "parker-db5-20",
        interval_ms: 1000,
        seed: 9,
    },
];
/// Which home has Bluetooth sensors, which loses its link, which is shut out, and in which a therapy runs.
const HAS_BLUETOOTH: usize = 0;
const LOSES_LINK: usize = 1;
const SHUT_OUT: usize = 2;
const IN_THERAPY: usize = 3;

/// What `--once --json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    /// Readings that the gateways committed, without those that the shut-out box keeps.
    produced: u64,
    stored: u64,
    missing: u64,
    duplicates: u64,
    /// Readings that the shut-out box still keeps: they are nobody's loss, and nobody's to send.
    kept_by_shut_out: u64,
    /// Readings that Bluetooth sensors gave over the air; they are among the produced. Null where there is no
    /// `dbus-daemon` to play them over.
    bluetooth: Option<u64>,
    gateways: usize,
    /// What became of the campaign.
    campaign: Option<Figure>,
    duration_ms: u128,
    ok: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return fail(&format!("no runtime: {e}")),
    };
    match runtime.block_on(play(&cli)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("demo: {why}");
    ExitCode::FAILURE
}

async fn play(cli: &Cli) -> Result<bool, String> {
    build(cli.json)?;
    let temporary = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = match &cli.keep {
        Some(folder) => {
            std::fs::create_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            folder.clone()
        }
        None => temporary.path().to_owned(),
    };
    let begun = Instant::now();
    let say = |text: &str| {
        if !cli.json {
            println!("{text}");
        }
    };
    let mut fleet = Fleet::init(&folder.join("fleet"), &["--name", "localhost", "--trial"]);
    let nothing: [&str; 0] = [];
    fleet.serve(&nothing);
    let password = sign_in(&fleet)?;
    say("Four boxes are claimed and enrolled; two people sign version 7.1.0 away from the server …");
    let releases = campaign::publish(&fleet)?;
    let mut homes = Vec::new();
    for plan in PLANS {
        homes.push(Home::settle(&fleet, &folder, plan).await);
    }
    let mut played = furnish(cli, &mut homes[HAS_BLUETOOTH], &say).await?;
    for home in &mut homes {
        releases.launch(home, "");
        home.run();
    }
    if let Some(played) = &mut played {
        played.play();
    }
    if !cli.json {
        where_to_look(&fleet, &password, &folder);
    }
    if cli.once {
        let (bluetooth, campaign) = story(&fleet, &mut homes, played.as_mut(), &say).await?;
        let summary = account(fleet, homes, &folder, begun)?;
        let summary = Summary {
            ok: summary.ok && of_bluetooth(&folder) == bluetooth.unwrap_or(0) && campaign.is_right(),
            bluetooth,
            campaign: Some(campaign),
            ..summary
        };
        print(&summary, cli.json);
        return Ok(summary.ok);
    }
    campaign::begin(&fleet, &mut homes, &say).await?;
    live(&fleet, &mut homes).await?;
    println!("\nStopping …");
    for home in &mut homes {
        home.agent.stop();
    }
    fleet.stop();
    Ok(true)
}

/// Brings Bluetooth into a home, and says what stands for it.
async fn furnish(cli: &Cli, home: &mut Home, say: &dyn Fn(&str)) -> Result<Option<Played>, String> {
    if cli.ble {
        say("Listening for sensors by this machine's Bluetooth …");
        match furnish_real(home) {
            Ok(near) => real(&near, home, say),
            Err(why) => say(&format!("No Bluetooth sensors: {}", why.trim_end())),
        }
        return Ok(None);
    }
    let Some(daemon) = program("dbus-daemon") else {
        say("No Bluetooth sensors: they are played over a message bus, and this machine has no dbus-daemon.");
        return Ok(None);
    };
    say(
        "North Lane pairs a cuff and an oximeter. No Bluetooth of this machine is used: a fake stack stands in for it.",
    );
    Played::furnish(home, Bus::by(&daemon)).await.map(Some)
}

/// Says what was heard, and what is still to be done by hand.
fn real(near: &[Near], home: &Home, say: &dyn Fn(&str)) {
    if near.is_empty() {
        say("No sensor is heard that a shipped profile knows.");
    }
    for Near {
        id,
        address,
        profile,
        demands,
    } in near
    {
        say(&format!("  {id} at {address}, read by the profile {profile}"));
        if demands.is_some() {
            say(&format!(
                "    once it is paired: homeward-agent --data {} sensor pair {id} {address} --profile {profile} --by YOU",
                home.agent.dir().display()
            ));
        }
    }
}

/// Readings of the played Bluetooth sensors in the server's database.
fn of_bluetooth(folder: &Path) -> u64 {
    let question = "SELECT count(*) FROM readings WHERE sensor IN ('cuff', 'oximeter')";
    u64::try_from(number(&folder.join("fleet/fleet.db"), question)).unwrap_or(0)
}

/// Builds the two programs; says nothing when only JSON is wanted.
fn build(quiet: bool) -> Result<(), String> {
    let mut command = cargo();
    // All three, as `cargo run` for this program resolved them: nothing is built twice.
    command.args([
        "build",
        "--bins",
        "-p",
        "homeward-tests",
        "-p",
        "homeward-agent",
        "-p",
        "homeward-fleet",
    ]);
    if quiet {
        command.arg("--quiet");
    } else {
        println!("Building homeward-agent and homeward-fleet …");
    }
    let built = command
        .status()
        .map_err(|e| format!("cargo could not be started: {e}"))?;
    if built.success() {
        Ok(())
    } else {
        Err("the programs do not build".into())
    }
}

/// Makes an operator and a nurse with a password of this run.
fn sign_in(fleet: &Fleet) -> Result<String, String> {
    let random: [u8; 10] = homeward_fleet::ca::signer::random().map_err(|e| e.to_string())?;
    let password = homeward_protocol::claim::Code::from_random(random)
        .to_string()
        .to_lowercase();
    fleet
        .tell(&["user", "add", "olivia", "--role", "operator"], &password)
        .ok();
    fleet
        .tell(
            &["user", "add", "nora", "--role", "nurse", "--team", TEAM],
            &password,
        )
        .ok();
    Ok(password)
}

fn where_to_look(fleet: &Fleet, password: &str, folder: &Path) {
    let port = fleet.port("console");
    println!("\n  Nurse's page    https://localhost:{port}/care    sign in as  nora");
    println!("  Fleet console   https://localhost:{port}/fleet   sign in as  olivia");
    println!("  Campaigns       https://localhost:{port}/campaigns");
    println!("  Password        {password}   (both, made for this run)");
    println!("  The browser warns once: the certificate is from this run's own authority.");
    println!("  Data            {}\n", folder.display());
}

/// The story of `--once`: a new version that waits for a therapy, a box shut out, a link lost and back, then everything has
/// time to arrive. Gives how many readings Bluetooth sensors gave, and what became of the campaign.
async fn story(
    fleet: &Fleet,
    homes: &mut [Home],
    played: Option<&mut Played>,
    say: &dyn Fn(&str),
) -> Result<(Option<u64>, Figure), String> {
    let count = campaign::begin(fleet, homes, say).await?;
    let waiting = campaign::waits(fleet, homes, count, say).await?;
    say("Old Quay is shut out by the operator.");
    shut_out(fleet, &homes[SHUT_OUT]);
    let figure = campaign::therapy_ends(fleet, homes, waiting, say).await?;
    campaign::are_well(fleet, homes, 1).await?;
    say("Mill Road runs 7.1.0 and is well. It loses its link.");
    homes[LOSES_LINK].set_link(Link::Down);
    pause(8).await;
    say("Mill Road's link is back.");
    homes[LOSES_LINK].set_link(Link::Clear);
    campaign::are_well(fleet, homes, 2).await?;
    say("Elm Row runs 7.1.0, too, and is well.");
    let figure = campaign::ended(fleet, figure);
    say("The devices fall silent; what waits has time to arrive.");
    for home in homes.iter() {
        home.set_device(Behaviour::Silent);
    }
    let given = match played {
        Some(played) => Some(played.silence().await),
        None => None,
    };
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        pause(1).await;
        homes.iter_mut().for_each(Home::tend);
        let kept = homes[SHUT_OUT].waiting();
        let waiting: u64 = homes.iter().map(Home::waiting).sum::<u64>().saturating_sub(kept);
        if waiting == 0 {
            return Ok((given, figure));
        }
        if Instant::now() > until {
            return Err(format!("{waiting} records have not arrived after a minute"));
        }
    }
}

fn shut_out(fleet: &Fleet, home: &Home) {
    fleet
        .run(&[
            "gateway",
            "revoke",
            home.gateway.as_str(),
            "--reason",
            "the demo's story",
        ])
        .ok();
}

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Stops everything and compares each outbox with the database.
fn account(mut fleet: Fleet, homes: Vec<Home>, folder: &Path, begun: Instant) -> Result<Summary, String> {
    let (mut all, mut kept) = (Tally::default(), 0);
    let gateways = homes.len();
    let mut outboxes = Vec::new();
    for mut home in homes {
        home.agent.stop();
        outboxes.push((home.agent.dir().join("outbox.db"), home.gateway.clone()));
    }
    fleet.stop();
    for (n, (outbox, gateway)) in outboxes.into_iter().enumerate() {
        let tally = compare(&outbox, &folder.join("fleet/fleet.db"), &gateway)?;
        if n == SHUT_OUT {
            kept = tally.held;
        }
        all = all.plus(tally);
    }
    let produced = all.produced - kept;
    Ok(Summary {
        produced,
        stored: all.stored,
        missing: produced.saturating_sub(all.stored),
        duplicates: all.duplicates,
        kept_by_shut_out: kept,
        bluetooth: None,
        campaign: None,
        gateways,
        duration_ms: begun.elapsed().as_millis(),
        ok: produced > 0 && kept > 0 && produced == all.stored && all.duplicates == 0,
    })
}

fn print(summary: &Summary, as_json: bool) {
    if as_json {
        println!("{}", serde_json::to_string(summary).unwrap_or_default());
        return;
    }
    println!(
        "\n{} readings produced by {} gateways, {} stored, {} missing, {} twice; the shut-out box keeps {}.",
        summary.produced,
        summary.gateways,
        summary.stored,
        summary.missing,
        summary.duplicates,
        summary.kept_by_shut_out,
    );
    if let Some(given) = summary.bluetooth {
        println!("{given} of them came by (fake) Bluetooth.");
    }
    if let Some(figure) = &summary.campaign {
        println!("{}", figure.words());
    }
    println!(
        "{}",
        if summary.ok {
            "Every reading is accounted for, and no therapy was disturbed."
        } else {
            "This is not right."
        }
    );
}
