//! What the stack's errors mean. They come by name and text over the bus; the texts are the stack's own and matter.

use homeward_protocol::bond::BleAddress;

use crate::link::ble::{At, BleError};

/// What was being done when the error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Connecting; with `bonded`, to a sensor that we hold a bond with.
    Connect {
        /// Whether there is a bond.
        bonded: bool,
    },
    /// Reading, writing or subscribing.
    Value(At),
    /// Anything about the adapter, or about a sensor without talking to it.
    Manage,
}

/// The meaning of error `name` with `message`, while doing something with `address`.
///
/// Source: `BlueZ`, `src/error.c`, `src/gatt-client.c` (`create_gatt_dbus_error`) and `src/device.c`, as met with
/// releases 5.66 and 5.82.
pub fn meaning(name: &str, message: &str, doing: Doing, address: BleAddress) -> BleError {
    let short = name
        .rsplit_once('.')
        .filter(|(family, _)| matches!(*family, "org.bluez.Error" | "org.freedesktop.DBus.Error"))
        .map_or(name, |(_, short)| short);
    match (short, doing) {
        ("UnknownObject" | "UnknownMethod" | "UnknownInterface" | "DoesNotExist", _) => {
            BleError::Unheard { address }
        }
        ("ServiceUnknown" | "NameHasNoOwner" | "Disconnected" | "NoServer", _) => BleError::Down {
            message: text(name, message),
        },
        ("NotReady", _) => BleError::AdapterOff,
        ("InProgress", _) => BleError::Busy,
        ("NotConnected", _) => BleError::LinkLost { address },
        ("NotPermitted", Doing::Value(at)) if message.contains("permitted") => refused(at, message),
        ("NotPermitted" | "NotAuthorized", Doing::Value(at)) => BleError::Protected { at },
        ("Failed", _) if message.contains("already in progress") => BleError::Busy,
        // The link was up, encryption with our key failed, and we ended it: within a second, every time.
        ("Failed", Doing::Connect { bonded: true }) if message.contains("abort-by-local") => {
            BleError::BondRefused { address }
        }
        ("AuthenticationFailed" | "AuthenticationRejected", Doing::Connect { bonded: true }) => {
            BleError::BondRefused { address }
        }
        ("Failed", Doing::Connect { .. }) if message.contains("le-connection") => {
            BleError::LinkLost { address }
        }
        ("Failed", _) if message.contains("Not connected") => BleError::LinkLost { address },
        ("Failed" | "InvalidArguments" | "NotSupported" | "InvalidValueLength", Doing::Value(at)) => {
            refused(at, message)
        }
        _ => BleError::Other {
            name: name.to_owned(),
            message: message.to_owned(),
        },
    }
}

/// Whether the bus itself gave up waiting: the fate of the call is unknown.
pub fn ran_out_of_time(name: &str) -> bool {
    matches!(
        name,
        "org.freedesktop.DBus.Error.NoReply"
            | "org.freedesktop.DBus.Error.Timeout"
            | "org.freedesktop.DBus.Error.TimedOut"
    )
}

fn refused(at: At, message: &str) -> BleError {
    BleError::Refused {
        at,
        message: message.to_owned(),
    }
}

fn text(name: &str, message: &str) -> String {
    let all = if message.is_empty() { name } else { message };
    all.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ble::Remedy;

    const WHO: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 2]);
    const AT: At = At {
        service: 0x1810,
        characteristic: 0x2A35,
    };

    fn means(name: &str, message: &str, doing: Doing) -> BleError {
        meaning(name, message, doing, WHO)
    }

    #[test]
    fn each_error_says_what_helps() {
        let connect = |bonded| Doing::Connect { bonded };
        let value = Doing::Value(AT);
        for (name, message, doing, remedy) in [
            (
                "org.freedesktop.DBus.Error.UnknownObject",
                "",
                value,
                Remedy::Rescan,
            ),
            (
                "org.freedesktop.DBus.Error.UnknownMethod",
                "",
                connect(true),
                Remedy::Rescan,
            ),
            (
                "org.bluez.Error.DoesNotExist",
                "Does Not Exist",
                Doing::Manage,
                Remedy::Rescan,
            ),
            (
                "org.freedesktop.DBus.Error.ServiceUnknown",
                "",
                value,
                Remedy::AwaitStack,
            ),
            (
                "org.bluez.Error.NotReady",
                "Resource Not Ready",
                connect(false),
                Remedy::AwaitStack,
            ),
            (
                "org.bluez.Error.InProgress",
                "In Progress",
                value,
                Remedy::Reconnect,
            ),
            (
                "org.bluez.Error.Failed",
                "Operation already in progress",
                connect(false),
                Remedy::Reconnect,
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                connect(true),
                Remedy::Person,
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                connect(false),
                Remedy::Reconnect,
            ),
            (
                "org.bluez.Error.Failed",
                "Not connected",
                value,
                Remedy::Reconnect,
            ),
            (
                "org.bluez.Error.NotPermitted",
                "Not paired",
                value,
                Remedy::Person,
            ),
            (
                "org.bluez.Error.NotPermitted",
                "Read not permitted",
                value,
                Remedy::Reconnect,
            ),
            (
                "org.bluez.Error.NotAuthorized",
                "Not Authorized",
                value,
                Remedy::Person,
            ),
            (
                "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x0e",
                value,
                Remedy::Reconnect,
            ),
            ("org.example.Error.New", "?", value, Remedy::Reconnect),
        ] {
            let error = means(name, message, doing);
            assert_eq!(error.remedy(), remedy, "{name} {message}: {error}");
        }
    }

    #[test]
    fn a_refused_bond_is_told_from_a_lost_link() {
        let text = "le-connection-abort-by-local";
        let bonded = means("org.bluez.Error.Failed", text, Doing::Connect { bonded: true });
        assert!(
            matches!(bonded, BleError::BondRefused { address: WHO }),
            "{bonded}"
        );
        let stranger = means("org.bluez.Error.Failed", text, Doing::Connect { bonded: false });
        assert!(matches!(stranger, BleError::LinkLost { .. }), "{stranger}");
    }

    #[test]
    fn a_name_of_another_family_keeps_its_whole_name() {
        let error = means("org.example.NotReady", "?", Doing::Manage);
        assert!(matches!(&error, BleError::Other { name, .. } if name == "org.example.NotReady"));
    }
}
