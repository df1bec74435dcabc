//! The JSON Schema of the policy document, for editors. Made from the types; the published file is compared with it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Policy;
use super::moment::Moment;
use super::net::{Net, Ports};
use super::rules::UserName;
use crate::id::{EntryName, GatewayId, GroupId, HazardId, SensorId};
use crate::posture::{MAX_TEXT, ShortText};

/// The schema as JSON text, with a newline at its end.
pub fn document() -> String {
    let mut schema = schemars::schema_for!(Policy);
    schema.insert("title".to_owned(), "A Homeward policy".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// What is a text with a form of its own.
macro_rules! text {
    ($($type:ty, $name:literal, $pattern:expr, $said:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $said })
            }
        }
    )*};
}

const ID: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

text! {
    Moment, "Moment", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", "UTC: 2026-11-26T08:00:00Z";
    Net, "Net", r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "an address, or a network such as 192.0.2.0/28";
    Ports, "Ports", r"^[0-9]{1,5}(-[0-9]{1,5})?$", "a port, or a run such as 5000-5100";
    UserName, "UserName", r"^[a-z_][a-z0-9_-]{0,31}$", "a user of the box";
    EntryName, "EntryName", ID, "a name within its list, at most 24 characters";
    HazardId, "HazardId", ID, "a hazard of the organisation's list, at most 24 characters";
    GroupId, "GroupId", ID, "a group of gateways";
    GatewayId, "GatewayId", ID, "a gateway";
    SensorId, "SensorId", ID, "a sensor as the box calls it";
    ShortText, "ShortText", format!("^[^\\u0000-\\u001f\\u007f]{{0,{MAX_TEXT}}}$"), "one line of at most 128 bytes";
}
