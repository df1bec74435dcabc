//! A call on the bus, read into what it asks for.

use std::collections::HashMap;

use homeward_protocol::time::Timestamp;
use zbus::message::Type;
use zbus::{Message, ObjectPath, OwnedVariant, Variant};

use super::call::{Ask, Call};
use super::say::CallId;

/// Reads a call; none for any other message, and for one without a sender or a path.
pub fn call(message: &Message, id: CallId, now: Timestamp) -> Option<Call> {
    let header = message.header();
    if header.message_type() != Type::MethodCall {
        return None;
    }
    let interface = header.interface().map(ToString::to_string).unwrap_or_default();
    let method = header.member()?.to_string();
    Some(Call {
        id,
        client: header.sender()?.to_string(),
        path: header.path()?.to_string(),
        ask: ask(message, &interface, &method).unwrap_or(Ask::Unknown),
        method,
        now,
    })
}

/// None when the arguments are not what the method takes.
fn ask(message: &Message, interface: &str, method: &str) -> Option<Ask> {
    let body = message.body();
    let path = || -> Option<String> {
        let path: ObjectPath<'_> = body.deserialize().ok()?;
        Some(path.to_string())
    };
    Some(match (interface, method) {
        ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects") => Ask::Objects,
        ("org.freedesktop.DBus.Introspectable", "Introspect") => Ask::Introspect,
        ("org.freedesktop.DBus.Peer", "Ping") => Ask::Ping,
        ("org.freedesktop.DBus.Properties", "Get") => {
            let (interface, name): (String, String) = body.deserialize().ok()?;
            Ask::Get(interface, name)
        }
        ("org.freedesktop.DBus.Properties", "GetAll") => Ask::GetAll(body.deserialize().ok()?),
        ("org.freedesktop.DBus.Properties", "Set") => {
            let (interface, name, value): (String, String, OwnedVariant) = body.deserialize().ok()?;
            Ask::Set(interface, name, value)
        }
        ("org.bluez.Adapter1", "SetDiscoveryFilter") => Ask::Filter,
        ("org.bluez.Adapter1", "StartDiscovery") => Ask::StartScan,
        ("org.bluez.Adapter1", "StopDiscovery") => Ask::StopScan,
        ("org.bluez.Adapter1", "RemoveDevice") => Ask::Remove(path()?),
        ("org.bluez.Device1", "Connect") => Ask::Connect,
        ("org.bluez.Device1", "Disconnect") => Ask::Disconnect,
        ("org.bluez.Device1", "Pair") => Ask::Pair,
        ("org.bluez.Device1", "CancelPairing") => Ask::CancelPairing,
        ("org.bluez.GattCharacteristic1", "ReadValue") => Ask::Read,
        ("org.bluez.GattCharacteristic1", "WriteValue") => {
            let (value, _): (Vec<u8>, HashMap<String, Variant<'_>>) = body.deserialize().ok()?;
            Ask::Write(value)
        }
        ("org.bluez.GattCharacteristic1", "StartNotify") => Ask::StartNotify,
        ("org.bluez.GattCharacteristic1", "StopNotify") => Ask::StopNotify,
        ("org.bluez.AgentManager1", "RegisterAgent") => {
            let (path, _): (ObjectPath<'_>, String) = body.deserialize().ok()?;
            Ask::RegisterAgent(path.to_string())
        }
        ("org.bluez.AgentManager1", "RequestDefaultAgent") => Ask::DefaultAgent,
        ("org.bluez.AgentManager1", "UnregisterAgent") => Ask::UnregisterAgent,
        _ => Ask::Unknown,
    })
}

/// Who left the bus, when a message says that somebody did.
pub fn left(message: &Message) -> Option<String> {
    let header = message.header();
    if header.member()?.as_str() != "NameOwnerChanged" || header.sender()?.as_str() != "org.freedesktop.DBus"
    {
        return None;
    }
    let body = message.body();
    let (name, _, now): (String, String, String) = body.deserialize().ok()?;
    (now.is_empty() && name.starts_with(':')).then_some(name)
}
