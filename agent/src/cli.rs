//! What `homeward-agent` can be asked.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::claim::{Endpoint, Pin};
use homeward_protocol::id::SensorId;

use crate::interlock::hold::HoldId;
use crate::tpm::{Address, AddressError};
use crate::update::base::Base;

/// The agent on a home gateway: reads the home's devices, and keeps every value until the server has it.
#[derive(Debug, Parser)]
#[command(name = "homeward-agent", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// Folder with the identity, the outbox, the status and agent.toml. Most commands need it.
    #[arg(long, env = "HOMEWARD_AGENT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How the log is written (to standard error).
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Auto)]
    pub log: LogForm,
    /// The box's TPM: `auto` takes /dev/tpmrm0 when it is there and may be used, `none` takes none, else an address:
    /// `device:/dev/tpmrm0`, or for simulators `swtpm:HOST:PORT` or `swtpm:/PATH`.
    #[arg(
        long,
        global = true,
        env = "HOMEWARD_AGENT_TPM",
        value_name = "ADDRESS",
        default_value = "auto"
    )]
    pub tpm: TpmChoice,
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The data folder; an error of usage when none was given.
    pub fn data(&self) -> Result<&Path, clap::Error> {
        self.data.as_deref().ok_or_else(|| {
            let said = "this command needs the agent's data folder: --data DIR, or HOMEWARD_AGENT_DATA";
            Cli::command().error(ErrorKind::MissingRequiredArgument, said)
        })
    }
}

const EXAMPLES: &str = "\
Examples:
  homeward-agent --data /var/lib/homeward-agent enrol --claim claim.txt
  homeward-agent --data /var/lib/homeward-agent run
  homeward-agent --data /var/lib/homeward-agent status
  homeward-agent --data /var/lib/homeward-agent check";

/// Which TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TpmChoice {
    /// The usual one, when it can be used.
    Auto,
    /// None.
    None,
    /// This one.
    At(Address),
}

impl std::str::FromStr for TpmChoice {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<TpmChoice, AddressError> {
        match text {
            "auto" => Ok(TpmChoice::Auto),
            "none" => Ok(TpmChoice::None),
            address => address.parse().map(TpmChoice::At),
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Plain text on a terminal, JSON elsewhere.
    Auto,
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this box known to its server, by the claim that the operator made for it.
    ///
    /// Safe to run again: it goes on where it stopped. When an operator has to approve, it waits, and shows the
    /// fingerprint that the operator's console shows too.
    #[command(
        after_help = "Examples:\n  homeward-agent --data DIR enrol --claim claim.txt\n  \
                            homeward-agent --data DIR enrol --claim -    (paste the claim, then Ctrl-D)\n  \
                            homeward-agent --data DIR enrol --server fleet.example:8443 --pin PIN"
    )]
    Enrol {
        /// File with the claim (text or JSON); `-` reads it from standard input.
        #[arg(long, value_name = "FILE|-", required_unless_present = "server")]
        claim: Option<PathBuf>,
        /// Enrol by the TPM alone, which the operator has registered, at this server.
        #[arg(long, value_name = "HOST:PORT", conflicts_with = "claim", requires = "pin")]
        server: Option<Endpoint>,
        /// The pin of that server, as `claim new` prints it.
        #[arg(long, value_name = "PIN", requires = "server", allow_hyphen_values = true)]
        pin: Option<Pin>,
    },
    /// Say which TPM this box has, and the hash by which an operator can register it.
    #[command(after_help = "Example:\n  homeward-agent --data DIR tpm --json")]
    Tpm,
    /// Run until asked to stop (SIGTERM or Ctrl-C).
    #[command(after_help = "Example:\n  homeward-agent --data DIR run --log json")]
    Run,
    /// Say how the agent is: the link, what waits, the sensors, the certificate.
    #[command(after_help = "Example:\n  homeward-agent --data DIR --json status")]
    Status,
    /// Say what this box would answer to a challenge now, and how the server judges it.
    ///
    /// Measures the box as the running agent does. Sends nothing, and counts no boot.
    #[command(after_help = "Example:\n  homeward-agent --data DIR --json evidence")]
    Evidence,
    /// Say what this box is: its system, accounts, sockets, firewall, updates, what is plugged in, fact by fact.
    ///
    /// What only root may read is asked of the helper `homeward-look`, unless root runs this. Sends nothing. Needs no
    /// data folder; with one it also tells the buses that agent.toml names.
    #[command(after_help = "Examples:\n  homeward-agent posture\n  homeward-agent --json posture --quick")]
    Posture {
        /// Leave out what takes long: updates, and the walk through all folders.
        #[arg(long)]
        quick: bool,
    },
    /// Print the software of this box as an SBOM (CycloneDX 1.6, JSON).
    #[command(after_help = "Example:\n  homeward-agent sbom > box.cdx.json")]
    Sbom,
    /// Check agent.toml and the profiles, and say everything that is wrong with them.
    #[command(after_help = "Example:\n  homeward-agent --data DIR check")]
    Check,
    /// Say whether this box may be restarted or changed now, ask for quiet, and see what is released.
    #[command(
        subcommand,
        after_help = "Example:\n  homeward-agent --data DIR update status && sudo reboot"
    )]
    Update(UpdateCommand),
    /// Look at the policy of this box.
    #[command(subcommand, after_help = "Example:\n  homeward-agent --data DIR policy show")]
    Policy(PolicyCommand),
    /// See who of the provider is on this box, and end it.
    #[command(
        subcommand,
        after_help = "Example:\n  homeward-agent --data DIR support status"
    )]
    Support(SupportCommand),
    /// Ask sensors.
    #[command(
        subcommand,
        after_help = "Example:\n  homeward-agent --data DIR sensor read ups-bedroom"
    )]
    Sensor(SensorCommand),
    /// Work with device profiles.
    #[command(
        subcommand,
        after_help = "Example:\n  homeward-agent --data DIR profile check my-ups.toml"
    )]
    Profile(ProfileCommand),
}

/// Support sessions.
#[derive(Debug, Subcommand)]
pub enum SupportCommand {
    /// Say whether a support session is open, whose, why, until when, and what became of those before.
    #[command(after_help = "Example:\n  homeward-agent --data DIR --json support status")]
    Status,
    /// End the session that is open. It takes a second; what was carried is reported as ever.
    #[command(after_help = "Example:\n  runuser -u homeward-agent -- homeward-agent --data DIR support end")]
    End,
}

/// Changes of the box, and quiet from them.
#[derive(Debug, Subcommand)]
pub enum UpdateCommand {
    /// Say whether the box may be restarted or changed now, and if not, why. Fails (1) when it may not.
    ///
    /// It may not while a device is being used or alarms, while somebody asked for quiet, and while nobody knows.
    #[command(
        after_help = "Example, before a restart by hand:\n  homeward-agent --data DIR update status && sudo reboot"
    )]
    Status,
    /// Ask for quiet: nothing is changed or restarted until it ends. With --list or --lift, see or end it.
    #[command(
        after_help = "Examples:\n  homeward-agent --data DIR update hold --minutes 90 --by nurse \"dressing change\"\n  \
                            homeward-agent --data DIR update hold --list\n  homeward-agent --data DIR update hold --lift nurse"
    )]
    Hold {
        /// Why, for whoever waits.
        #[arg(required_unless_present_any = ["list", "lift"])]
        reason: Option<String>,
        /// For how long, up to a week.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=10_080))]
        minutes: u32,
        /// Who asks; also its name, under which it is lifted or replaced.
        #[arg(long, default_value = "somebody", value_name = "NAME")]
        by: HoldId,
        /// List those that stand.
        #[arg(long, conflicts_with_all = ["reason", "lift"])]
        list: bool,
        /// End the one of this name.
        #[arg(long, value_name = "NAME", conflicts_with = "reason")]
        lift: Option<HoldId>,
    },
    /// Trust the first root of a repository, brought by hand: who may say what software is. No network.
    #[command(
        after_help = "Example:\n  homeward-agent --data DIR update trust 1.root.json\n\nThe file lies in the repository \
                      that `homeward-fleet release publish` makes. A box that trusts a root keeps it, and follows its \
                      successors by itself."
    )]
    Trust {
        /// The file.
        root: PathBuf,
    },
    /// Fetch what is new and show what is released for this box. Installs nothing.
    #[command(
        after_help = "Example:\n  homeward-agent --data DIR update check --from https://fleet.example/repository/\n\nAny \
                      server, mirror or peer will do: only signatures are believed."
    )]
    Check {
        /// The address of the repository: the folder that holds `metadata` and `targets`.
        #[arg(long, value_name = "URL")]
        from: Base,
    },
}

/// A sensor that agent.toml names, or a Modbus device by a profile file.
#[derive(Debug, Args)]
pub struct Which {
    /// Which sensor, as agent.toml names it.
    #[arg(conflicts_with_all = ["profile", "tcp", "serial", "unit"])]
    pub sensor: Option<SensorId>,
    /// A profile file to try, with --tcp or --serial.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Where the device is on the network.
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "profile",
        conflicts_with = "serial"
    )]
    pub tcp: Option<String>,
    /// The serial port that the device is on; speed and framing are the profile's.
    #[arg(long, value_name = "DEVICE", requires = "profile")]
    pub serial: Option<String>,
    /// The Modbus unit id, when not the profile's.
    #[arg(long, requires = "profile")]
    pub unit: Option<u8>,
}

/// Ask sensors.
#[derive(Debug, Subcommand)]
pub enum SensorCommand {
    /// Ask one sensor now, and show its values. What a device on a wire says is not stored or sent.
    ///
    /// Either one that agent.toml names, or any Modbus device by a profile file: then no data folder is needed. A
    /// Bluetooth sensor cannot be asked: the next that it sends is shown, and kept as ever.
    #[command(
        after_help = "Examples:\n  homeward-agent --data DIR sensor read ups-bedroom\n  homeward-agent sensor \
                            read --profile my-ups.toml --tcp 192.0.2.7:502 --unit 1 --json"
    )]
    Read {
        /// Which sensor.
        #[command(flatten)]
        which: Which,
        /// How long to wait for a Bluetooth sensor.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
        seconds: u16,
    },
    /// Show what sensors bring as it comes, until Ctrl-C. With --json, one object a line.
    ///
    /// Follows the agent when it runs. Where none runs it reads by itself; what a Bluetooth sensor sends is then kept as
    /// the agent would, and sent when it runs. Or any Modbus device by a profile file: then no data folder is needed.
    #[command(
        after_help = "Examples:\n  homeward-agent --data DIR sensor watch\n  homeward-agent --data DIR --json sensor \
                            watch cuff\n  homeward-agent sensor watch --profile my-ups.toml --tcp 192.0.2.7:502"
    )]
    Watch {
        /// Which sensor; without one all.
        #[command(flatten)]
        which: Which,
    },
    /// Decode one value of a Bluetooth sensor from a capture, field by field. Needs no data folder.
    ///
    /// Fails with a reason when the octets are not a value of that characteristic.
    #[command(after_help = "Examples:
  homeward-agent sensor decode --characteristic 2A35 1e8a00580078000000041114293b3c00012700
  \
                            homeward-agent --json sensor decode --characteristic 2A37 00:55")]
    Decode {
        /// The characteristic's 16-bit number, four hexadecimal digits.
        #[arg(long, value_name = "NUMBER")]
        characteristic: String,
        /// The value, two hexadecimal digits an octet.
        hex: String,
    },
    /// Listen for Bluetooth sensors and list them. What they say of themselves proves nothing.
    #[command(after_help = "Example:\n  homeward-agent --data DIR sensor scan --seconds 10")]
    Scan {
        /// How long to listen.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=60))]
        seconds: u16,
    },
    /// Open a window for one Bluetooth sensor and pair it; every other device is refused.
    ///
    /// A passkey or a number to compare is asked for here. A key that is less than the profile demands is refused,
    /// and the bond removed.
    #[command(
        after_help = "Example:\n  homeward-agent --data DIR sensor pair cuff C1:00:00:00:00:02 --profile blood-pressure \\\n      --by \"E. Installer\""
    )]
    Pair {
        /// Which sensor of this home it becomes.
        sensor: SensorId,
        /// Its Bluetooth address, as `sensor scan` shows it.
        address: BleAddress,
        /// Its profile: a shipped one by its name, or a TOML file.
        #[arg(long)]
        profile: String,
        /// Who pairs it; kept with the pairing on this box.
        #[arg(long)]
        by: String,
        /// How long the window stays open.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(10..=600))]
        seconds: u16,
    },
    /// List the paired Bluetooth sensors, and how their bonds stand now.
    #[command(after_help = "Example:\n  homeward-agent --data DIR sensor list")]
    List,
    /// End the pairing of a Bluetooth sensor and remove its bond.
    #[command(after_help = "Example:\n  homeward-agent --data DIR sensor forget cuff")]
    Forget {
        /// Which sensor, as `sensor list` names it.
        sensor: SensorId,
    },
}

/// Look at the policy of this box. Nothing here changes it: policies come signed, from the server.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say which policy holds, and how each point stands: wanted, applied, observed.
    #[command(after_help = "Example:\n  homeward-agent --data DIR --json policy show")]
    Show,
    /// Say what a policy document would change on this box. Changes nothing.
    #[command(after_help = "Example:\n  homeward-agent --data DIR policy plan homes.toml --dry-run")]
    Plan {
        /// The document, a TOML file.
        file: PathBuf,
        /// Accepted for symmetry with the server's command: a plan is always only shown.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Work with device profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Check a profile and describe it in plain words.
    #[command(after_help = "Example:\n  homeward-agent --data DIR profile check my-ups.toml")]
    Check {
        /// The profile, a TOML file.
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("homeward-agent "), "{}", command.get_name());
        }
    }

    #[test]
    fn a_pin_that_begins_with_a_hyphen_is_a_pin() {
        let pin = Pin([0xf8; 32]).to_string();
        assert!(pin.starts_with('-'), "{pin}");
        let args = [
            "homeward-agent",
            "enrol",
            "--server",
            "fleet.example:8443",
            "--pin",
            &pin,
        ];
        let read = Cli::try_parse_from(args).expect("as `claim new` printed it");
        assert!(matches!(read.command, Command::Enrol { pin: Some(Pin(pin)), .. } if pin == [0xf8; 32]));
    }
}
