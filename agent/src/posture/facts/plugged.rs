//! What is plugged in: USB devices, serial ports, Bluetooth adapters, and the Modbus buses that the box reads.
//!
//! Sources: kernel, `Documentation/ABI/testing/sysfs-bus-usb`, `stable/sysfs-driver-usb-usbtmc`; `/sys/class/tty/*/device`.

use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};

use super::seen::Seen;

/// The files of one USB device in `/sys/bus/usb/devices`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usb {
    /// Where it is plugged in: `1-1.2`.
    pub port: String,
    /// `idVendor` and `idProduct`.
    pub id: (String, String),
    /// `manufacturer`, `product`.
    pub names: [Option<String>; 2],
    /// `serial`: whether it has one. The number itself is a device's name, and of no use here.
    pub has_serial: bool,
    /// `bInterfaceClass` of each interface, hex.
    pub classes: Vec<String>,
    /// `authorized`.
    pub authorized: Option<String>,
}

/// A USB device. What a device says of itself is cut and cleaned.
pub fn usb(seen: &Seen, device: &Usb) -> Fact {
    let names: Vec<&str> = device.names.iter().flatten().map(|name| name.trim()).collect();
    let id = format!("{}:{}", device.id.0.trim(), device.id.1.trim());
    let mut classes: Vec<&str> = device
        .classes
        .iter()
        .map(|class| class_name(class.trim()))
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let refused = device.authorized.as_deref().map(str::trim) == Some("0");
    let state = if refused { "not allowed in" } else { "in use" };
    let words = [id.as_str(), &names.join(" "), &classes.join("+"), state];
    seen.about(What::Usb, &device.port, Value::list(words))
}

/// Source: USB-IF, "Defined Class Codes".
fn class_name(class: &str) -> &'static str {
    match class {
        "01" => "audio",
        "02" => "communication",
        "03" => "keyboard or mouse",
        "06" => "camera",
        "07" => "printer",
        "08" => "storage",
        "09" => "hub",
        "0a" => "data",
        "0b" => "smart card",
        "0e" => "video",
        "0f" => "health device",
        "e0" => "radio",
        "ff" => "its maker's own",
        _ => "other",
    }
}

/// A serial port with the driver that serves it. Ports that the kernel lists without hardware behind them are no ports.
pub fn serial(seen: &Seen, name: &str, driver: &str) -> Option<Fact> {
    let real = !["port", "serial8250", ""].contains(&driver.trim());
    real.then(|| seen.about(What::Serial, name, text(driver.trim())))
}

/// A Bluetooth adapter and its mode.
pub fn adapter(seen: &Seen, name: &str, mode: Option<&Mode>) -> Fact {
    let value = match mode {
        None => Value::Unknown(Why::NeedsRights),
        Some(mode) => {
            let word = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
            Value::list([
                word(mode.powered, "on", "off"),
                word(mode.discoverable, "shows itself to everybody", "hidden"),
                word(mode.pairable, "takes new bonds", "takes no new bonds"),
            ])
        }
    };
    seen.about(What::BluetoothAdapter, name, value)
}

/// How a bond came about, in words.
pub fn bond(bond: Bond) -> String {
    let class = match bond.class {
        KeyClass::Debug => "the published debug key",
        KeyClass::LegacyUnauthenticated => "old pairing, nothing checked",
        KeyClass::SecureUnauthenticated => "nothing checked",
        KeyClass::LegacyAuthenticated => "old pairing, a number was typed",
        KeyClass::SecureAuthenticated => "a number was compared or typed",
    };
    format!("{class}; key of {} bytes", bond.key_size)
}

/// How an adapter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// It is on.
    pub powered: bool,
    /// Others see it when they look around.
    pub discoverable: bool,
    /// It takes new bonds.
    pub pairable: bool,
}

/// A bus that the box reads: over what, and how many devices it asks there.
pub fn bus(seen: &Seen, at: &str, how: &str, devices: u64) -> Fact {
    let count = if devices == 1 {
        "1 device".to_owned()
    } else {
        format!("{devices} devices")
    };
    seen.about(What::Modbus, at, Value::list([how, &count]))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn what_a_device_says_of_itself_is_words_and_nothing_else() {
        let seen = Seen::new(Timestamp::synced(0), "a test");
        let device = Usb {
            port: "1-1.2".into(),
            id: ("0403\n".into(), "6001\n".into()),
            names: [Some("FTDI\n".into()), Some("FT232R\u{1b}[31m USB UART\n".into())],
            has_serial: true,
            classes: vec!["ff\n".into(), "ff\n".into()],
            authorized: Some("1\n".into()),
        };
        let fact = usb(&seen, &device);
        assert_eq!(fact.id.to_string(), "usb.device[1-1.2]");
        assert_eq!(
            fact.value.to_string(),
            "0403:6001, FTDI FT232R[31m USB UART, its maker's own, in use"
        );
        assert!(serial(&seen, "ttyS3", "serial8250").is_none());
        assert!(serial(&seen, "ttyUSB0", "ftdi_sio").is_some());
        let mode = Mode {
            powered: true,
            discoverable: true,
            pairable: false,
        };
        assert_eq!(
            adapter(&seen, "hci0", Some(&mode)).value.to_string(),
            "on, shows itself to everybody, takes no new bonds"
        );
    }
}
