//! Shell: `sensor scan`, `pair`, `list` and `forget`, for the person who installs a home.
//!
//! # Design
//! Pairing is what a person does with both devices in sight, so the two numbers that must be compared, or the one
//! that must be typed, are asked for on the terminal and nowhere else. The bond is made first and written down
//! second; when it cannot be written down, it is removed again, so that no bond exists that nobody knows of.
#![expect(clippy::disallowed_methods, reason = "shell: a terminal, and waiting")]

use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Duration;

use homeward_devices::bluez::pair::{PairError, Question, Window};
use homeward_devices::bluez::{Bluez, keys::Keys};
use homeward_devices::link::ble::{Advert, BleError, BondState, Central as _, Peripheral as _};
use homeward_devices::profile::Profile;
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::file::{self, FileError};
use super::{Association, Declared};

/// How long a sensor that was just switched on is listened for at a time before the window opens, and how often.
const HEAR: Duration = Duration::from_secs(2);
const TIMES: u32 = 6;
/// For the link on which the new sensor is asked who it is.
const CONNECT: Duration = Duration::from_secs(30);

/// Why a command about Bluetooth sensors failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bluetooth failed.
    #[error(transparent)]
    Ble(#[from] BleError),
    /// There is no bond.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The association could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No such sensor is paired.
    #[error("no sensor {sensor} is paired here; paired are: {known}")]
    Unknown {
        /// The name that was asked for.
        sensor: SensorId,
        /// All names.
        known: String,
    },
}

/// What a command has to say: for people, and for programs.
pub struct Said {
    /// Lines of text.
    pub text: String,
    /// The same as JSON.
    pub json: Value,
}

/// Listens for `window` and lists every sensor heard.
pub async fn scan(window: Duration) -> Result<Said, Failure> {
    let heard = bluez(Keys::of_this_box()).scan(window, &[]).await?;
    let mut text = String::new();
    for advert in &heard {
        let _ = writeln!(text, "{}", line(advert));
    }
    if heard.is_empty() {
        text.push_str("Nothing was heard: is the sensor on, and not connected to something else?\n");
    }
    let list: Vec<Value> = heard
        .iter()
        .map(|a| {
            json!({"address": a.address, "name": a.name, "services": hex(&a.services),
                "kind": format!("{:?}", a.kind).to_lowercase(), "rssi_dbm": a.rssi})
        })
        .collect();
    Ok(Said {
        text,
        json: json!({"heard": list}),
    })
}

/// What `sensor pair` was told.
pub struct Wish {
    /// Which sensor of this home the device becomes.
    pub sensor: SensorId,
    /// Which device.
    pub address: BleAddress,
    /// Who pairs it.
    pub by: ShortText,
    /// Its profile, whose demand on the bond is held.
    pub profile: Profile,
    /// How long the window stays open.
    pub window: Duration,
}

/// Pairs one device, checks its key, and writes down which sensor it is.
pub async fn pair(data: &Path, keys: Keys, wish: Wish, now: Timestamp) -> Result<Said, Failure> {
    let bluez = bluez(keys);
    let address = wish.address;
    hear(&bluez, address).await?;
    let demand = wish
        .profile
        .session
        .as_ref()
        .and_then(|session| session.least_bond);
    eprintln!(
        "The window is open for {} s, for {address} only.",
        wish.window.as_secs()
    );
    let (questions, asked) = mpsc::channel(1);
    let window = Window {
        address,
        demand,
        limit: wish.window,
    };
    let bond = tokio::select! {
        paired = bluez.pair(window, questions) => paired?,
        () = answer(asked) => return Err(PairError::Failed("nobody was there".into()).into()),
    };
    let declared = declared(&bluez, address).await;
    let association = Association {
        sensor: wish.sensor,
        address,
        bond,
        by: wish.by,
        since: now,
        ended: None,
        declared,
    };
    let noted = association.clone();
    if let Err(error) = file::change(data, |all| all.pair(association)) {
        bluez.forget(address).await?;
        return Err(error.into());
    }
    let text = format!(
        "{address} is now the sensor {}, with {}.\n",
        noted.sensor,
        told(bond)
    );
    Ok(Said {
        text,
        json: json!({"paired": noted}),
    })
}

/// Lists the paired sensors and how their bonds stand now.
pub async fn list(data: &Path, keys: Keys) -> Result<Said, Failure> {
    let all = file::load(data)?;
    let bluez = bluez(keys);
    let (mut text, mut rows) = (String::new(), Vec::new());
    for one in all.standing() {
        let state = match bluez.bond(one.address).await {
            Ok(state) => bond_state(state),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(
            text,
            "{:<20} {}  {state}; paired by {}",
            one.sensor,
            one.address,
            one.by.as_str()
        );
        rows.push(json!({"association": one, "bond_now": state}));
    }
    if rows.is_empty() {
        text.push_str("No Bluetooth sensor is paired.\n");
    }
    Ok(Said {
        text,
        json: json!({"sensors": rows}),
    })
}

/// Ends the association of `sensor` and removes its bond.
pub async fn forget(data: &Path, sensor: &SensorId, now: Timestamp) -> Result<Said, Failure> {
    // First the association: without it nothing of the device counts, even if Bluetooth is down.
    let ended = file::change(data, |all| Ok(all.forget(sensor, now)))?;
    let Some(ended) = ended else {
        let known: Vec<String> = file::load(data)?
            .standing()
            .map(|a| a.sensor.to_string())
            .collect();
        return Err(Failure::Unknown {
            sensor: sensor.clone(),
            known: known.join(", "),
        });
    };
    let removed = bluez(Keys::of_this_box()).forget(ended.address).await?;
    let bond = if removed {
        "its bond was removed"
    } else {
        "there was no bond"
    };
    Ok(Said {
        text: format!("{} is no sensor of this home any more; {bond}.\n", ended.address),
        json: json!({"ended": ended, "bond_removed": removed}),
    })
}

/// A command asks and is done: nobody has to watch over the stack's life.
fn bluez(keys: Keys) -> Bluez {
    Bluez::new(keys).0
}

async fn hear(bluez: &Bluez, address: BleAddress) -> Result<(), BleError> {
    eprintln!("Listening for {address} …");
    for _ in 0..TIMES {
        let heard = bluez.scan(HEAR, &[]).await?;
        if heard.iter().any(|advert| advert.address == address) {
            return Ok(());
        }
    }
    Err(BleError::Unheard { address })
}

/// What the sensor says of itself; what it does not tell stays open.
async fn declared(bluez: &Bluez, address: BleAddress) -> Declared {
    let mut declared = Declared::default();
    match bluez.connect(address, CONNECT).await {
        Ok(link) => {
            for at in Declared::WHERE {
                if link.served().contains(&at)
                    && let Ok(value) = link.read(at).await
                {
                    declared.learn(at, &value);
                }
            }
            link.disconnect().await;
        }
        Err(error) => tracing::warn!("the new sensor could not be asked who it is: {error}"),
    }
    declared
}

/// Puts the stack's questions to the person at the terminal; ends when standard input does.
async fn answer(mut asked: mpsc::Receiver<Question>) {
    while let Some(question) = asked.recv().await {
        match question {
            Question::Show { passkey } => eprintln!("Type {passkey:06} on the sensor."),
            Question::Compare { number, answer } => {
                let text = format!("Does the sensor show {number:06}? Type yes or no: ");
                let Some(line) = typed(text).await else { return };
                answer.send(matches!(line.as_str(), "yes" | "y")).ok();
            }
            Question::Passkey(answer) => {
                let Some(line) = typed("Type the six digits that the sensor shows: ".into()).await else {
                    return;
                };
                answer.send(digits(&line)).ok();
            }
        }
    }
    // The window closed by itself: its result says how.
    std::future::pending::<()>().await;
}

/// Exactly six digits.
fn digits(line: &str) -> Option<u32> {
    let right = line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
    line.parse().ok().filter(|_| right)
}

async fn typed(prompt: String) -> Option<String> {
    let reading = tokio::task::spawn_blocking(move || {
        eprint!("{prompt}");
        std::io::stderr().flush().ok()?;
        let mut line = String::new();
        let length = std::io::stdin().lock().read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim().to_lowercase())
    });
    reading.await.ok().flatten()
}

fn line(advert: &Advert) -> String {
    let name = advert.name.as_deref().unwrap_or("(no name)");
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    let rssi = advert.rssi.map_or(String::new(), |dbm| format!("  {dbm} dBm"));
    format!(
        "{}  {plain:<24} {}{rssi}",
        advert.address,
        hex(&advert.services).join(" ")
    )
}

fn hex(services: &[u16]) -> Vec<String> {
    services.iter().map(|s| format!("{s:04X}")).collect()
}

fn told(bond: Option<Bond>) -> String {
    bond.map_or_else(
        || "a bond whose key class could not be learnt".to_owned(),
        |bond| format!("a bond by {} ({} octets)", class(bond.class), bond.key_size),
    )
}

fn bond_state(state: BondState) -> String {
    match state {
        BondState::None => "has no bond".to_owned(),
        BondState::Unread => told(None),
        BondState::Held(bond) => told(Some(bond)),
    }
}

const fn class(class: KeyClass) -> &'static str {
    match class {
        KeyClass::Debug => "the published debug key, which protects nothing",
        KeyClass::LegacyUnauthenticated => "legacy pairing without a check",
        KeyClass::SecureUnauthenticated => "secure pairing without a check (Just Works)",
        KeyClass::LegacyAuthenticated => "legacy pairing with a passkey",
        KeyClass::SecureAuthenticated => "secure pairing that a person checked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_has_six_digits_and_nothing_else() {
        assert_eq!(digits("012345"), Some(12345));
        for bad in ["", "12345", "1234567", "+12345", "12 345", "abcdef"] {
            assert_eq!(digits(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sensors_name_cannot_draw_on_the_terminal() {
        let advert = Advert {
            address: BleAddress([0xC1, 0, 0, 0, 0, 1]),
            kind: homeward_devices::link::ble::AddressKind::Public,
            name: Some("\u{1b}[2Jcuff".into()),
            services: vec![0x1810],
            rssi: Some(-50),
        };
        let line = line(&advert);
        assert!(!line.contains('\u{1b}') && line.contains("1810"), "{line}");
    }
}
