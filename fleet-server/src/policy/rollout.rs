//! A roll-out at one moment: how far each gateway has come, counted; and what an assignment would change.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::diff::{Change, diff};
use homeward_protocol::policy::sign::PolicyMark;
use homeward_protocol::time::Timestamp;

use super::book::{Book, Target};
use super::progress::Progress;

/// How one gateway stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub gateway: GatewayId,
    /// Whether it is connected by its own key.
    pub connected: bool,
    /// What it shall have.
    pub wanted: Option<u64>,
    /// How far it has come.
    pub progress: Progress,
    /// What it says that it has.
    pub holds: Option<PolicyMark>,
    /// Points that were changed by hand.
    pub drifted: i64,
    /// Points that could not be set.
    pub failed: i64,
    /// Points that cannot be enforced there.
    pub not_enforceable: i64,
    /// When it last said something of it.
    pub heard: Option<Timestamp>,
}

impl Line {
    /// Whether a person should look.
    pub fn is_wrong(&self) -> bool {
        self.progress.is_wrong() || self.drifted > 0 || self.failed > 0
    }
}

/// A policy's roll-out in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Gateways that shall have it.
    pub wanted: usize,
    /// That say it is applied.
    pub applied: usize,
    /// Of these, that are connected, and every point holds.
    pub in_line: usize,
    /// That are connected, and every point holds that can be enforced there: some cannot.
    pub in_part: usize,
    /// Where every point held that can hold there, and that are not connected now.
    pub unheard: usize,
    /// That have it, while the strict rules hold in its place.
    pub strict: usize,
    /// That are applying it, or making sure of the server.
    pub under_way: usize,
    /// That were sent it and said nothing yet.
    pub on_its_way: usize,
    /// That have not been told, as they are not connected.
    pub away: usize,
    /// In quarantine.
    pub held: usize,
    /// That refused it.
    pub refused: usize,
    /// That went back from it.
    pub returned: usize,
    /// That would not take it: its time is over, or its signers are gone.
    pub unfit: usize,
}

impl Counts {
    /// Of one policy.
    pub fn of(lines: &[Line], version: u64) -> Counts {
        let mut counts = Counts::default();
        for line in lines.iter().filter(|line| line.wanted == Some(version)) {
            counts.wanted += 1;
            let place = match line.progress {
                Progress::Applied => &mut counts.applied,
                Progress::Strict => &mut counts.strict,
                Progress::Applying | Progress::Confirming => &mut counts.under_way,
                Progress::OnItsWay => &mut counts.on_its_way,
                Progress::Away => &mut counts.away,
                Progress::Held => &mut counts.held,
                Progress::Refused(_) => &mut counts.refused,
                Progress::Returned => &mut counts.returned,
                Progress::Unfit(_) => &mut counts.unfit,
                // These have something else than what they shall have.
                Progress::Nothing | Progress::Newer => continue,
            };
            *place += 1;
            if line.progress == Progress::Applied && line.drifted == 0 && line.failed == 0 {
                let place = match (line.connected, line.not_enforceable) {
                    (false, _) => &mut counts.unheard,
                    (true, 0) => &mut counts.in_line,
                    (true, _) => &mut counts.in_part,
                };
                *place += 1;
            }
        }
        counts
    }
}

/// One of those that a policy was given to, and how far it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Whom it was given to.
    pub target: Target,
    /// How far it is.
    pub counts: Counts,
}

/// How far a policy is with each of those that it was given to. A box in two of them counts in both.
pub fn waves(book: &Book, lines: &[Line], version: u64, targets: &[Target]) -> Vec<Wave> {
    let wave = |target: &Target| {
        let one = std::slice::from_ref(target);
        let of_it: Vec<Line> = lines
            .iter()
            .filter(|line| is_meant(book, &line.gateway, one))
            .cloned()
            .collect();
        Wave {
            target: target.clone(),
            counts: Counts::of(&of_it, version),
        }
    };
    targets.iter().map(wave).collect()
}

/// Boxes on which the same changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What they have now; none when they have no policy.
    pub from: Option<u64>,
    /// Who.
    pub gateways: Vec<GatewayId>,
    /// What changes.
    pub changes: Vec<Change>,
}

/// What an assignment would change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// By what boxes have now.
    pub steps: Vec<Step>,
    /// Those that have it already.
    pub already: usize,
    /// Those that have a newer one, or are to have one.
    pub newer: usize,
    /// Those that it is not for, by its own audience.
    pub outside: usize,
}

/// What would change if this policy were assigned to these as well.
pub fn plan(book: &Book, lines: &[Line], version: u64, targets: &[Target], now: Timestamp) -> Plan {
    let after = book.if_assigned(version, targets, now);
    let mut plan = Plan::default();
    let Some(to) = book.entry(version) else {
        return plan;
    };
    let mut by_now: BTreeMap<Option<u64>, Vec<GatewayId>> = BTreeMap::new();
    for line in lines.iter().filter(|line| is_meant(book, &line.gateway, targets)) {
        let holds = line.holds.map(|mark| mark.version.0);
        if !to.policy.is_for(&line.gateway, book.groups(&line.gateway)) {
            plan.outside += 1;
        } else if holds == Some(version) {
            plan.already += 1;
        } else if holds > Some(version)
            || after
                .wanted(&line.gateway, now)
                .is_some_and(|wanted| wanted.entry.mark.version.0 > version)
        {
            plan.newer += 1;
        } else {
            by_now.entry(holds).or_default().push(line.gateway.clone());
        }
    }
    plan.steps = by_now
        .into_iter()
        .map(|(from, gateways)| Step {
            changes: changes(
                from.and_then(|from| book.entry(from)).map(|entry| &entry.policy),
                &to.policy,
            ),
            from,
            gateways,
        })
        .collect();
    plan
}

fn is_meant(book: &Book, gateway: &GatewayId, targets: &[Target]) -> bool {
    targets.iter().any(|target| match target {
        Target::All => true,
        Target::Group(group) => book.groups(gateway).contains(group),
        Target::Gateway(one) => one == gateway,
    })
}

/// What changes on a box from a policy to another; from none, all its points. That the number is another goes without
/// saying.
pub fn changes(from: Option<&Policy>, to: &Policy) -> Vec<Change> {
    let mut changes = from.map_or_else(|| diff(&bare(to), to), |from| diff(from, to));
    changes.retain(|change| !matches!(change.what.as_str(), "version" | "issued"));
    changes
}

/// The same head, and no rule.
fn bare(policy: &Policy) -> Policy {
    Policy {
        name: policy.name.clone(),
        version: policy.version,
        issued: policy.issued,
        expires: policy.expires,
        on_expiry: policy.on_expiry,
        confirm_s: policy.confirm_s,
        audience: policy.audience.clone(),
        hazards: BTreeMap::new(),
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
