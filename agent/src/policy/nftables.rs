//! Our nftables table as JSON, and what a listing of it says.
//!
//! One table, `inet homeward`. It is replaced in one transaction, and no other table is named anywhere: what the box's
//! own firewall drops stays dropped, and what it accepts is still judged here. Each rule carries the name of its point
//! as its comment, so that a listing tells which point a change by hand is about.
//!
//! Flows that fall through are put into a set for an hour with who, whom and port, and stopped: the first packet is
//! what puts them there. That is how they are reported without a log daemon.
//!
//! Source: libnftables-json(5).

use std::collections::BTreeMap;
use std::net::IpAddr;

use homeward_protocol::policy::net::{Net, Ports};
use homeward_protocol::policy::network::{Devices, Flow, Inbound, Outbound, Protocol};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::ask::{Stop, Table, Way};
use super::rules::{Needs, Network};

/// The name of our table.
pub const TABLE: &str = "homeward";
/// How long a stopped flow is remembered, seconds.
const REMEMBERED_S: u32 = 3600;
/// Most flows that one set remembers; further ones are stopped all the same.
const MOST_STOPPED: u32 = 4096;
/// What the name of a mark begins with.
const MARK: &str = "rules-";

/// The transaction that makes our table what `rules` say, or takes it away.
pub fn transaction(rules: Option<&Network>) -> Value {
    // A table that is not there cannot be deleted, so it is added first.
    let table = json!({ "family": "inet", "name": TABLE });
    let mut all = vec![
        json!({ "add": { "table": table } }),
        json!({ "delete": { "table": table } }),
    ];
    if let Some(rules) = rules {
        all.push(json!({ "add": { "table": table } }));
        // Tells in a listing that it was this transaction that made it.
        all.push(json!({ "add": { "set": {
            "family": "inet", "table": TABLE, "name": mark_of(rules), "type": "inet_service",
        } } }));
        let mut to = Commands(&mut all);
        if let Some(rule) = &rules.outbound {
            outbound(&mut to, rule, &rules.needs);
        }
        if let Some(rule) = &rules.inbound {
            inbound(&mut to, rule);
        }
        if let Some(rule) = &rules.devices {
            devices(&mut to, rule);
        }
    }
    json!({ "nftables": all })
}

/// The name of the empty set that marks a table as made from these rules.
pub fn mark_of(rules: &Network) -> String {
    let text = serde_json::to_string(rules).unwrap_or_default();
    format!("{MARK}{}", short(&text))
}

/// The points that a table of these rules has rules for.
pub fn points_of(rules: &Network) -> Vec<String> {
    let all = transaction(Some(rules));
    let rules = all["nftables"].as_array().into_iter().flatten();
    let mut points: Vec<String> = rules
        .filter_map(|one| one["add"]["rule"]["comment"].as_str().map(str::to_owned))
        .collect();
    points.sort_unstable();
    points.dedup();
    points
}

struct Commands<'a>(&'a mut Vec<Value>);

impl Commands<'_> {
    fn chain(&mut self, way: Way, hook: &str) {
        self.0.push(json!({ "add": { "chain": {
            "family": "inet", "table": TABLE, "name": way.chain(), "type": "filter", "hook": hook, "prio": 0,
            "policy": "drop",
        } } }));
    }

    fn rule(&mut self, way: Way, point: &str, mut matches: Vec<Value>, verdict: Value) {
        matches.push(verdict);
        self.0.push(json!({ "add": { "rule": {
            "family": "inet", "table": TABLE, "chain": way.chain(), "comment": point, "expr": matches,
        } } }));
    }

    fn accept(&mut self, way: Way, point: &str, matches: Vec<Value>) {
        self.rule(way, point, matches, json!({ "accept": null }));
    }

    /// What everybody needs: answers, and what an interface needs to have addresses at all.
    fn basics(&mut self, way: Way, point: &str) {
        let states = json!({ "set": ["established", "related"] });
        self.accept(
            way,
            point,
            vec![matches(&json!({ "ct": { "key": "state" } }), &states)],
        );
        match way {
            Way::Out => {
                self.accept(way, point, vec![matches(&meta("oifname"), &json!("lo"))]);
                let solicits = json!({ "set": [
                    "nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert", "mld2-listener-report",
                    "mld-listener-report",
                ] });
                self.accept(way, point, vec![matches(&payload("icmpv6", "type"), &solicits)]);
                self.accept(
                    way,
                    point,
                    vec![matches(&payload("udp", "dport"), &json!({ "set": [67, 547] }))],
                );
            }
            Way::In => {
                self.accept(way, point, vec![matches(&meta("iifname"), &json!("lo"))]);
                let icmp = json!({ "set": ["icmp", "ipv6-icmp"] });
                self.accept(way, point, vec![matches(&meta("l4proto"), &icmp)]);
                self.accept(
                    way,
                    point,
                    vec![matches(&payload("udp", "dport"), &json!({ "set": [68, 546] }))],
                );
            }
            Way::Through => {}
        }
    }

    /// Remembers what fell through, and stops it.
    fn others(&mut self, way: Way, point: &str) {
        for family in [4, 6] {
            for ports in [true, false] {
                self.set(way, family, ports);
                let (mut when, element) = remembered(way, family, ports);
                when.push(json!({ "set": { "op": "add", "elem": { "elem": { "val": element, "timeout": REMEMBERED_S } },
                    "set": format!("@{}", set_name(way, family, ports)) } }));
                let last = when.pop().unwrap_or_default();
                self.rule(way, point, when, last);
            }
        }
        let stop = match way {
            // A program of the box is told at once; a stranger is told nothing.
            Way::Out => json!({ "reject": { "type": "icmpx", "expr": "admin-prohibited" } }),
            Way::In | Way::Through => json!({ "drop": null }),
        };
        self.rule(way, point, vec![json!({ "counter": null })], stop);
    }

    fn set(&mut self, way: Way, family: u8, ports: bool) {
        let address = if family == 4 { "ipv4_addr" } else { "ipv6_addr" };
        let mut pieces = match way {
            Way::Out => vec!["uid", address],
            Way::In => vec![address],
            Way::Through => vec![address, address],
        };
        pieces.push("inet_proto");
        if ports {
            pieces.push("inet_service");
        }
        self.0.push(json!({ "add": { "set": {
            "family": "inet", "table": TABLE, "name": set_name(way, family, ports), "type": pieces,
            "flags": ["timeout"], "timeout": REMEMBERED_S, "size": MOST_STOPPED,
        } } }));
    }
}

fn set_name(way: Way, family: u8, ports: bool) -> String {
    format!(
        "stopped-{}-{family}{}",
        way.chain(),
        if ports { "" } else { "-other" }
    )
}

/// What a packet must be to be remembered in such a set, and what is remembered of it.
fn remembered(way: Way, family: u8, ports: bool) -> (Vec<Value>, Value) {
    let ip = if family == 4 { "ip" } else { "ip6" };
    let with_ports = json!({ "set": ["tcp", "udp"] });
    let which = if ports {
        matches(&meta("l4proto"), &with_ports)
    } else {
        differs(&meta("l4proto"), &with_ports)
    };
    let nfproto = if family == 4 { "ipv4" } else { "ipv6" };
    let mut pieces = match way {
        Way::Out => vec![meta("skuid"), payload(ip, "daddr")],
        Way::In => vec![payload(ip, "saddr")],
        Way::Through => vec![payload(ip, "saddr"), payload(ip, "daddr")],
    };
    pieces.push(meta("l4proto"));
    if ports {
        pieces.push(payload("th", "dport"));
    }
    (
        vec![matches(&meta("nfproto"), &json!(nfproto)), which],
        json!({ "concat": pieces }),
    )
}

fn matches(left: &Value, right: &Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

fn differs(left: &Value, right: &Value) -> Value {
    json!({ "match": { "op": "!=", "left": left, "right": right } })
}

fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn network(net: Net) -> Value {
    if net.is_host() {
        json!(net.address().to_string())
    } else {
        json!({ "prefix": { "addr": net.address().to_string(), "len": net.bits() } })
    }
}

/// `field` (`saddr` or `daddr`) lies in `net`; nothing to match for the whole of a family but the family.
fn at(field: &str, net: Net) -> Value {
    if net.bits() == 0 {
        matches(
            &meta("nfproto"),
            &json!(if net.is_v4() { "ipv4" } else { "ipv6" }),
        )
    } else {
        matches(
            &payload(if net.is_v4() { "ip" } else { "ip6" }, field),
            &network(net),
        )
    }
}

fn to_ports(protocol: Protocol, ports: &[Ports]) -> Value {
    let each: Vec<Value> = ports
        .iter()
        .map(|ports| match ports.ends() {
            (first, last) if first == last => json!(first),
            (first, last) => json!({ "range": [first, last] }),
        })
        .collect();
    matches(&payload(protocol.name(), "dport"), &json!({ "set": each }))
}

fn outbound(to: &mut Commands<'_>, rule: &Outbound, needs: &Needs) {
    let way = Way::Out;
    to.chain(way, "output");
    to.basics(way, "outbound/others");
    let agent = || matches(&meta("skuid"), &json!(needs.agent));
    let ports = matches(&payload("tcp", "dport"), &json!({ "set": needs.server_ports }));
    if rule.fleet.is_empty() {
        to.accept(way, "outbound/fleet", vec![agent(), ports]);
    } else {
        for net in &rule.fleet {
            to.accept(
                way,
                "outbound/fleet",
                vec![agent(), at("daddr", *net), ports.clone()],
            );
        }
    }
    for vital in &needs.vital {
        let mut when = vec![agent()];
        when.extend(vital.peer.map(|net| at("daddr", net)));
        when.push(matches(&payload("tcp", "dport"), &json!(vital.port)));
        to.accept(way, "outbound/others", when);
    }
    for protocol in ["udp", "tcp"] {
        let asks = || matches(&payload(protocol, "dport"), &json!(53));
        if rule.resolvers.is_empty() {
            to.accept(way, "outbound/resolvers", vec![asks()]);
        }
        for net in &rule.resolvers {
            to.accept(way, "outbound/resolvers", vec![at("daddr", *net), asks()]);
        }
    }
    for flow in &rule.flow {
        let point = format!("outbound/flow/{}", flow.name);
        to.accept(
            way,
            &point,
            vec![at("daddr", flow.peer), to_ports(flow.protocol, &flow.ports)],
        );
    }
    to.others(way, "outbound/others");
}

fn inbound(to: &mut Commands<'_>, rule: &Inbound) {
    let way = Way::In;
    to.chain(way, "input");
    to.basics(way, "inbound/others");
    for flow in &rule.flow {
        let point = format!("inbound/flow/{}", flow.name);
        to.accept(
            way,
            &point,
            vec![at("saddr", flow.peer), to_ports(flow.protocol, &flow.ports)],
        );
    }
    to.others(way, "inbound/others");
}

fn devices(to: &mut Commands<'_>, rule: &Devices) {
    let way = Way::Through;
    to.chain(way, "forward");
    to.basics(way, "devices/others");
    let apart = |net: &Net, flow: &Flow| net.covers(flow.peer) || flow.peer.covers(*net);
    for device in &rule.device {
        let point = format!("devices/device/{}", device.name);
        for flow in &device.flow {
            let mut when = vec![at("saddr", device.address), at("daddr", flow.peer)];
            // Also where a flow to a larger network would allow it.
            for net in rule
                .apart_from
                .iter()
                .filter(|net| net.is_v4() == flow.peer.is_v4() && apart(net, flow))
            {
                let ip = if net.is_v4() { "ip" } else { "ip6" };
                when.push(differs(&payload(ip, "daddr"), &network(*net)));
            }
            when.push(to_ports(flow.protocol, &flow.ports));
            to.accept(way, &point, when);
        }
    }
    to.others(way, "devices/others");
}

/// What a listing of our table (`nft -j list table inet homeward`) holds. Fails when it is no such listing.
pub fn read(listing: &Value) -> Result<Table, &'static str> {
    let pieces = listing["nftables"]
        .as_array()
        .ok_or("a listing of another shape")?;
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    let mut stopped = Vec::new();
    let mut mark = None;
    for part in pieces {
        if let Some(rule) = part.get("rule") {
            let point = rule["comment"].as_str().unwrap_or("others").to_owned();
            let text = format!("{} {}\n", rule["chain"], without_counts(&rule["expr"]));
            rules.entry(point).or_default().push_str(&text);
        } else if let Some(chain) = part.get("chain") {
            let text = format!(
                "{} {} {} {}\n",
                chain["name"], chain["hook"], chain["policy"], chain["prio"]
            );
            let point = match chain["name"].as_str() {
                Some("out") => "outbound/others",
                Some("in") => "inbound/others",
                _ => "devices/others",
            };
            rules.entry(point.to_owned()).or_default().push_str(&text);
        } else if let Some(set) = part.get("set") {
            stopped.extend(stops(set));
            let name = set["name"].as_str().filter(|name| name.starts_with(MARK));
            mark = mark.or(name.map(str::to_owned));
        }
    }
    let points = rules
        .into_iter()
        .map(|(point, text)| (point, short(&text)))
        .collect();
    stopped.sort_unstable();
    Ok(Table {
        mark,
        points,
        stopped,
    })
}

fn short(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(8).fold(String::new(), |mut hex, byte| {
        hex.push_str(&format!("{byte:02x}"));
        hex
    })
}

/// The expression of a rule without what counts.
fn without_counts(expr: &Value) -> Value {
    let pieces = expr.as_array().into_iter().flatten();
    pieces
        .map(|part| {
            if part.get("counter").is_some() {
                json!("counter")
            } else {
                part.clone()
            }
        })
        .collect()
}

fn stops(set: &Value) -> Vec<Stop> {
    let name = set["name"].as_str().unwrap_or_default();
    let Some(way) = Way::ALL
        .into_iter()
        .find(|way| name.starts_with(&format!("stopped-{}-", way.chain())))
    else {
        return Vec::new();
    };
    let ports = !name.ends_with("-other");
    let elements = set["elem"].as_array().into_iter().flatten();
    elements.filter_map(|element| stop(way, ports, element)).collect()
}

/// One remembered flow; none when it is not of the shape that our sets have.
fn stop(way: Way, ports: bool, element: &Value) -> Option<Stop> {
    let value = element.get("elem").map_or(element, |elem| &elem["val"]);
    let mut pieces = value["concat"].as_array()?.iter();
    let address = |part: Option<&Value>| part?.as_str()?.parse::<IpAddr>().ok();
    let user = match way {
        Way::Out => Some(uid(pieces.next()?)?),
        Way::In | Way::Through => None,
    };
    let from = match way {
        Way::Out => None,
        Way::In | Way::Through => Some(address(pieces.next())?),
    };
    let to = match way {
        Way::In => None,
        Way::Out | Way::Through => Some(address(pieces.next())?),
    };
    let protocol = protocol_number(pieces.next()?);
    let port = if ports {
        pieces
            .next()?
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())?
    } else {
        0
    };
    Some(Stop {
        way,
        user,
        from,
        to,
        protocol,
        port,
    })
}

/// A user as nft lists one: a number, since it is asked for numbers; a name is one that no number is known of.
fn uid(part: &Value) -> Option<u32> {
    let text = || part.as_str().and_then(|text| text.parse().ok());
    part.as_u64()
        .and_then(|uid| u32::try_from(uid).ok())
        .or_else(text)
}

fn protocol_number(part: &Value) -> Option<u8> {
    let by_name = |name: &str| match name {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "ipv6-icmp" | "icmpv6" => Some(58),
        other => other.parse().ok(),
    };
    part.as_u64()
        .and_then(|number| u8::try_from(number).ok())
        .or_else(|| by_name(part.as_str()?))
}
