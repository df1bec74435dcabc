//! Our nftables table as JSON, and what a listing of it says.
//!
//! One table, `inet homeward`. It is replaced in one transaction, and no other table is named anywhere: what the box's
//! own firewall drops stays dropped, and what it accepts is still judged here. Each rule carries the name of its point
//! as its comment, so that a listing tells which point a change by hand is about.
//!
//! Flows that fall through are put into a set for an hour with who, whom and port, and stopped: the first packet is
//! what puts them there. That is how they are reported without a log daemon.
//!
//! # Design
//! - A flow is judged at each packet, not at its first: its own direction by the rule that allows it, its answers by
//!   the same rule turned round. What tighter rules do not allow ends at once, also when it was open before, and what
//!   they do allow lives on. Turned down: accepting what is `established`, which keeps open what was open.
//! - Of a flow that is the agent's the kernel sends the last packets when its process has closed the socket: they have
//!   no owner any more. They pass where the agent may go, and are never told as stopped.
//!
//! Source: libnftables-json(5).

use std::collections::BTreeMap;
use std::net::IpAddr;

use homeward_protocol::policy::net::{Net, Ports};
use homeward_protocol::policy::network::{Devices, Flow, Inbound, Outbound, Protocol};
use homeward_protocol::policy::points::{PointId, Rule};
use homeward_protocol::tuf::read::to_hex;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::ask::{Stop, Table, Way};
use super::rules::{Needs, Network};

/// The name of our table.
pub const TABLE: &str = "homeward";
/// How long a stopped flow is remembered, seconds.
const REMEMBERED_S: u32 = 3600;
/// Most flows that one set remembers; further ones are stopped all the same.
const MOST_STOPPED: u32 = 1024;
/// Most remembered flows that an answer tells, so that it stays far below [`MAX_LINE`](super::ask::MAX_LINE).
const MOST_TOLD: usize = 4096;
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
        let outbound = rules.outbound.as_ref().map(|rule| from_box(rule, &rules.needs));
        let inbound = rules.inbound.as_ref().map(to_box);
        let devices = rules.devices.as_ref().map(through_box);
        if let Some(allowed) = &outbound {
            to.judge(Way::Out, allowed, inbound.as_deref());
        }
        if let Some(allowed) = &inbound {
            to.judge(Way::In, allowed, outbound.as_deref());
        }
        if let Some(allowed) = &devices {
            to.judge(Way::Through, allowed, Some(allowed));
        }
    }
    json!({ "nftables": all })
}

/// The name of the empty set that marks a table as made from these rules.
pub fn mark_of(rules: &Network) -> String {
    let text = serde_json::to_string(rules).unwrap_or_default();
    format!("{MARK}{}", short(&text))
}

/// A flow that is allowed: under which point, and what its packets are in its own direction.
struct Allowed {
    point: String,
    /// The user whose process sends them.
    user: Option<u32>,
    when: Vec<Value>,
}

struct Commands<'a>(&'a mut Vec<Value>);

impl Commands<'_> {
    /// The chain of a way: what is `allowed` there, and the answers to what is allowed the other way; to anything there
    /// where that way is not ruled.
    fn judge(&mut self, way: Way, allowed: &[Allowed], answered: Option<&[Allowed]>) {
        let others = format!("{}/others", rule_of(way).name());
        self.0.push(json!({ "add": { "chain": {
            "family": "inet", "table": TABLE, "name": way.chain(), "type": "filter", "hook": hook(way), "prio": 0,
            "policy": "drop",
        } } }));
        self.basics(way, &others);
        for one in allowed {
            let mut when = one.when.clone();
            when.extend(one.user.map(|user| matches(&meta("skuid"), &json!(user))));
            self.accept(way, &one.point, when);
        }
        let answer = || {
            vec![
                matches(&ct("state"), &json!("established")),
                matches(&ct("direction"), &json!("reply")),
            ]
        };
        match answered {
            None => self.accept(way, &others, answer()),
            Some(flows) => {
                for one in flows {
                    let turned = one.when.iter().map(turned_round);
                    self.accept(way, &one.point, answer().into_iter().chain(turned).collect());
                }
                if way == Way::Out {
                    let icmp = matches(&meta("l4proto"), &icmp());
                    self.accept(way, &others, answer().into_iter().chain([icmp]).collect());
                }
            }
        }
        self.tell(way, &others);
        if way == Way::Out {
            // What has an owner ends here; what has none is the end of a flow whose process closed it.
            let owned = json!({ "match": { "op": ">=", "left": meta("skuid"), "right": 0 } });
            self.stop(way, &others, vec![owned]);
            for one in allowed.iter().filter(|one| one.user.is_some()) {
                let open = matches(&ct("state"), &json!("established"));
                self.accept(way, &one.point, [&one.when[..], &[open]].concat());
            }
        }
        self.stop(way, &others, Vec::new());
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

    /// What everybody needs: errors of the network about a flow, and what an interface needs to have addresses at all.
    fn basics(&mut self, way: Way, point: &str) {
        let related = matches(&ct("state"), &json!("related"));
        self.accept(way, point, vec![related, matches(&meta("l4proto"), &icmp())]);
        let port = |field: &str, port: u16| matches(&payload("udp", field), &json!(port));
        // DHCP over either IP: the client's port, and the server's.
        let dhcp = [(68, 67), (546, 547)];
        match way {
            Way::Out => {
                self.accept(way, point, vec![matches(&meta("oifname"), &json!("lo"))]);
                let solicits = json!({ "set": [
                    "nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert", "mld2-listener-report",
                    "mld-listener-report",
                ] });
                self.accept(way, point, vec![matches(&payload("icmpv6", "type"), &solicits)]);
                for (client, server) in dhcp {
                    self.accept(way, point, vec![port("sport", client), port("dport", server)]);
                }
            }
            Way::In => {
                self.accept(way, point, vec![matches(&meta("iifname"), &json!("lo"))]);
                self.accept(way, point, vec![matches(&meta("l4proto"), &icmp())]);
                for (client, server) in dhcp {
                    self.accept(way, point, vec![port("sport", server), port("dport", client)]);
                }
            }
            Way::Through => {}
        }
    }

    /// Remembers what fell through. A packet from the box without an owner begins no flow, and is not remembered.
    fn tell(&mut self, way: Way, point: &str) {
        for family in [4, 6] {
            for ports in [true, false] {
                self.set(way, family, ports);
                let (when, element) = remembered(way, family, ports);
                let add = json!({ "set": { "op": "add", "elem": { "elem": { "val": element, "timeout": REMEMBERED_S } },
                    "set": format!("@{}", set_name(way, family, ports)) } });
                self.rule(way, point, when, add);
            }
        }
    }

    fn stop(&mut self, way: Way, point: &str, mut when: Vec<Value>) {
        let stop = match way {
            // A program of the box is told at once; a stranger is told nothing.
            Way::Out => json!({ "reject": { "type": "icmpx", "expr": "admin-prohibited" } }),
            Way::In | Way::Through => json!({ "drop": null }),
        };
        when.push(json!({ "counter": null }));
        self.rule(way, point, when, stop);
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

fn ct(key: &str) -> Value {
    json!({ "ct": { "key": key } })
}

fn icmp() -> Value {
    json!({ "set": ["icmp", "ipv6-icmp"] })
}

/// What a packet of the answer is, for what one of the flow itself is.
fn turned_round(part: &Value) -> Value {
    let mut part = part.clone();
    if let Some(field) = part.pointer_mut("/match/left/payload/field") {
        let other = match field.as_str() {
            Some("saddr") => "daddr",
            Some("daddr") => "saddr",
            Some("sport") => "dport",
            Some("dport") => "sport",
            _ => return part,
        };
        *field = json!(other);
    }
    part
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

/// What the box may reach.
fn from_box(rule: &Outbound, needs: &Needs) -> Vec<Allowed> {
    let mut all = Vec::new();
    let mut allow = |point: &str, user: Option<u32>, when: Vec<Value>| {
        all.push(Allowed {
            point: point.to_owned(),
            user,
            when,
        });
    };
    let agent = Some(needs.agent);
    let ports = matches(&payload("tcp", "dport"), &json!({ "set": needs.server_ports }));
    if rule.fleet.is_empty() {
        allow("outbound/fleet", agent, vec![ports.clone()]);
    }
    for net in &rule.fleet {
        allow("outbound/fleet", agent, vec![at("daddr", *net), ports.clone()]);
    }
    for vital in &needs.vital {
        let mut when: Vec<Value> = vital.peer.map(|net| at("daddr", net)).into_iter().collect();
        when.push(matches(&payload("tcp", "dport"), &json!(vital.port)));
        allow("outbound/others", agent, when);
    }
    for protocol in ["udp", "tcp"] {
        let asks = || matches(&payload(protocol, "dport"), &json!(53));
        if rule.resolvers.is_empty() {
            allow("outbound/resolvers", None, vec![asks()]);
        }
        for net in &rule.resolvers {
            allow("outbound/resolvers", None, vec![at("daddr", *net), asks()]);
        }
        for net in &needs.resolvers {
            allow("outbound/others", None, vec![at("daddr", *net), asks()]);
        }
    }
    for flow in &rule.flow {
        let when = vec![at("daddr", flow.peer), to_ports(flow.protocol, &flow.ports)];
        allow(&format!("outbound/flow/{}", flow.name), None, when);
    }
    all
}

/// Who may reach the box.
fn to_box(rule: &Inbound) -> Vec<Allowed> {
    let allowed = |flow: &Flow| Allowed {
        point: format!("inbound/flow/{}", flow.name),
        user: None,
        when: vec![at("saddr", flow.peer), to_ports(flow.protocol, &flow.ports)],
    };
    rule.flow.iter().map(allowed).collect()
}

/// What devices behind the box may reach.
fn through_box(rule: &Devices) -> Vec<Allowed> {
    let mut all = Vec::new();
    let apart = |net: &Net, flow: &Flow| net.covers(flow.peer) || flow.peer.covers(*net);
    for device in &rule.device {
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
            all.push(Allowed {
                point: format!("devices/device/{}", device.name),
                user: None,
                when,
            });
        }
    }
    all
}

const fn rule_of(way: Way) -> Rule {
    match way {
        Way::Out => Rule::Outbound,
        Way::In => Rule::Inbound,
        Way::Through => Rule::Devices,
    }
}

const fn hook(way: Way) -> &'static str {
    match way {
        Way::Out => "output",
        Way::In => "input",
        Way::Through => "forward",
    }
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
            let named = rule["comment"]
                .as_str()
                .and_then(|text| text.parse::<PointId>().ok());
            let ours = named.filter(|point| Way::ALL.into_iter().any(|way| rule_of(way) == point.rule()));
            let point = ours.map_or_else(|| others_of(&rule["chain"]), |point| point.to_string());
            let text = format!("{} {}\n", rule["chain"], without_counts(&rule["expr"]));
            rules.entry(point).or_default().push_str(&text);
        } else if let Some(chain) = part.get("chain") {
            let text = format!(
                "{} {} {} {}\n",
                chain["name"], chain["hook"], chain["policy"], chain["prio"]
            );
            rules
                .entry(others_of(&chain["name"]))
                .or_default()
                .push_str(&text);
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
    let more = stopped.len().saturating_sub(MOST_TOLD);
    stopped.truncate(MOST_TOLD);
    Ok(Table {
        mark,
        kept: false,
        points,
        stopped,
        more: u32::try_from(more).unwrap_or(u32::MAX),
    })
}

/// The point of what is in a chain and is nobody's.
fn others_of(chain: &Value) -> String {
    let way = Way::ALL
        .into_iter()
        .find(|way| chain.as_str() == Some(way.chain()))
        .unwrap_or(Way::Through);
    PointId::new(rule_of(way), "others").to_string()
}

fn short(text: &str) -> String {
    to_hex(&digest(&SHA256, text.as_bytes()).as_ref()[..8])
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
