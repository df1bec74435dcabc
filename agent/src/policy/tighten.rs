//! The strict form of a policy: what holds after its end, and while a box is isolated.
//!
//! It only ever takes away: the network is left to vital flows and to what leads to the fleet server. That nobody writes
//! to devices and nobody pairs is asked for, too: what this agent cannot hold of it, it reports so. Everything else stays
//! as it is.

use homeward_protocol::id::HazardId;
use homeward_protocol::policy::network::{Devices, Inbound, Outbound};
use homeward_protocol::policy::rules::{Bluetooth, May, ModbusWrites, OnDrift, RadioMode};
use homeward_protocol::policy::{Audience, OnExpiry, Policy, PolicyVersion, moment::Moment};
use homeward_protocol::posture::ShortText;

/// The hazard of the rules that no policy named.
const HAZARD: &str = "built-in";

/// The strict form of `policy`, or of nothing.
pub fn tightened(policy: Option<&Policy>) -> Policy {
    let mut strict = policy.cloned().unwrap_or_else(built_in);
    let built_in = hazard();
    strict
        .hazards
        .entry(built_in.clone())
        .or_insert_with(|| ShortText::cut("Something uses the box for what it is not for."));
    let named = |of: Option<&HazardId>| of.cloned().unwrap_or_else(|| built_in.clone());
    let before = strict.outbound.take();
    strict.outbound = Some(Outbound {
        hazard: named(before.as_ref().map(|rule| &rule.hazard)),
        fleet: before.as_ref().map(|rule| rule.fleet.clone()).unwrap_or_default(),
        resolvers: before.map(|rule| rule.resolvers).unwrap_or_default(),
        flow: Vec::new(),
    });
    strict.inbound = Some(Inbound {
        hazard: named(strict.inbound.as_ref().map(|rule| &rule.hazard)),
        flow: Vec::new(),
    });
    strict.devices = Some(Devices {
        hazard: named(strict.devices.as_ref().map(|rule| &rule.hazard)),
        apart_from: strict
            .devices
            .as_ref()
            .map(|rule| rule.apart_from.clone())
            .unwrap_or_default(),
        device: Vec::new(),
    });
    strict.modbus_writes = Some(ModbusWrites {
        hazard: named(strict.modbus_writes.as_ref().map(|rule| &rule.hazard)),
        allow: Vec::new(),
    });
    if strict
        .bluetooth
        .as_ref()
        .is_none_or(|rule| rule.mode == RadioMode::Open)
    {
        strict.bluetooth = Some(Bluetooth {
            hazard: named(strict.bluetooth.as_ref().map(|rule| &rule.hazard)),
            mode: RadioMode::BondedOnly,
            on_drift: OnDrift::Report,
        });
    }
    if let Some(support) = &mut strict.support {
        support.tunnel = May::No;
    }
    strict
}

/// The form of `policy` while the box is isolated: the strict one, with its support tunnels where it says so.
pub fn isolated(policy: Option<&Policy>) -> Policy {
    let mut strict = tightened(policy);
    let stays = policy
        .and_then(|policy| policy.support.as_ref())
        .filter(|rule| rule.while_isolated == Some(May::Yes));
    if let Some(rule) = stays {
        strict.support = Some(rule.clone());
    }
    strict
}

fn hazard() -> HazardId {
    HAZARD.parse().expect("a hazard's id")
}

fn built_in() -> Policy {
    Policy {
        name: ShortText::cut("the strict built-in one"),
        version: PolicyVersion(0),
        issued: Moment::from_secs(0),
        expires: Moment::from_secs(i64::MAX),
        on_expiry: OnExpiry::Strict,
        confirm_s: 300,
        audience: Audience::All,
        hazards: std::collections::BTreeMap::new(),
        outbound: None,
        inbound: None,
        devices: None,
        sensors: None,
        bluetooth: None,
        modbus_writes: None,
        sshd: None,
        accounts: None,
        usb: None,
        listening: None,
        time: None,
        polling: None,
        retention: None,
        intervals: None,
        maintenance: None,
        support: None,
        thresholds: None,
        updates: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_protocol::policy::check::check;

    #[test]
    fn the_strict_form_allows_nothing_that_the_policy_did_not() {
        let text = include_str!("../../../protocol/tests/policies/every-rule.toml");
        let policy = check(text).policy.expect("a policy");
        let strict = tightened(Some(&policy));
        let (was, is) = (
            policy.outbound.as_ref().expect("ruled"),
            strict.outbound.as_ref().expect("ruled"),
        );
        assert_eq!(
            (is.fleet.as_slice(), is.flow.len()),
            (was.fleet.as_slice(), 0),
            "the way to the server stays"
        );
        assert!(strict.inbound.is_some_and(|rule| rule.flow.is_empty()));
        assert!(strict.devices.is_some_and(|rule| rule.device.is_empty()));
        assert!(strict.modbus_writes.is_some_and(|rule| rule.allow.is_empty()));
        assert_eq!(strict.support.map(|rule| rule.tunnel), Some(May::No));
        assert_eq!(
            (strict.sshd, strict.polling),
            (policy.sshd, policy.polling),
            "what is no door stays"
        );
        assert_eq!(tightened(Some(&tightened(None))), tightened(None));
    }

    #[test]
    fn isolation_keeps_tunnels_only_where_the_policy_says_so_and_the_end_of_a_policy_never() {
        let text = include_str!("../../../protocol/tests/policies/every-rule.toml");
        let mut policy = check(text).policy.expect("a policy");
        let tunnel = |policy: Policy| policy.support.map(|rule| rule.tunnel);
        for (says, is) in [
            (None, May::No),
            (Some(May::No), May::No),
            (Some(May::Yes), May::Yes),
        ] {
            if let Some(rule) = &mut policy.support {
                rule.while_isolated = says;
            }
            assert_eq!(tunnel(isolated(Some(&policy))), Some(is), "{says:?}");
            assert_eq!(tunnel(tightened(Some(&policy))), Some(May::No));
            let over = tightened(Some(&policy));
            assert_eq!(tunnel(isolated(Some(&over))), Some(May::No), "{says:?}");
        }
    }
}
