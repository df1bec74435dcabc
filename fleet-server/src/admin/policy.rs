//! Shell: `policy load|list|assign|withdraw|status`: what is done with policies in the data folder.
//!
//! Who writes, reviews and vouches works elsewhere: [`papers`].

pub mod groups;
pub mod papers;

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::points::PointId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::ca::signer::published;
use crate::cli::{Assign, PolicyCommand, Status};
use crate::clock::Clock;
use crate::place::Place;
use crate::policy::book::{Target, audience};
use crate::policy::contain::containment;
use crate::policy::paper::Papers;
use crate::policy::rollout::{Counts, Line, Plan};
use crate::policy::roots::keys_of;
use crate::policy::take::{self, Taken};
use crate::policy::words;
use crate::store::Store;
use crate::store::policies::isolation::Ordering;
use crate::store::policies::states::{Offender, standing};
use crate::store::policies::{self, Loading, isolation, overview, states};

/// Gateways that are named one by one.
const NAMED: usize = 20;

/// Runs a command that needs the data folder.
pub async fn run(place: &Place, command: &PolicyCommand, clock: &Clock) -> Result<Said, AdminError> {
    let (_, store) = super::open(place)?;
    let now = clock.now();
    let roots = keys_of(&published(&place.authority())?.roots());
    match command {
        PolicyCommand::Load { file } => load(&store, papers::papers(file)?, roots, now).await,
        PolicyCommand::List => list(&store, roots, now).await,
        PolicyCommand::Assign(asked) => assign(&store, asked, roots, now).await,
        PolicyCommand::Withdraw { version, reason } => withdraw(&store, *version, reason, now).await,
        PolicyCommand::Status(asked) => status(&store, asked, roots, now).await,
        _ => Err(AdminError::Asked("this needs no data folder".into())),
    }
}

async fn load(
    store: &Store,
    papers: Papers,
    roots: Vec<PublicKey>,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let taken = store
        .write(move |tx| take::take(tx, &papers, &roots, BY, now))
        .await?;
    match taken {
        Taken::Keyring { number, new } => {
            let word = if new {
                "counts from now on"
            } else {
                "was loaded before"
            };
            let text = format!("Keyring {number} {word}");
            Ok(Said::new(text, &json!({ "keyring": number, "new": new })))
        }
        Taken::Policy {
            version,
            loading: Loading::OtherContent,
        } => Err(AdminError::Found(format!(
            "another policy has the number {version}: sign this one under a higher one"
        ))),
        Taken::Policy { version, loading } => {
            let new = loading == Loading::New;
            let text = match loading {
                Loading::New => format!(
                    "Policy {version} is loaded. Nobody gets it yet: homeward-fleet --data DIR policy assign {version} \
                     --all --dry-run"
                ),
                other => format!("Policy {version} {}", words::loaded_again(other)),
            };
            Ok(Said::new(
                text,
                &json!({ "version": version, "new": new, "came": words::loading(loading) }),
            ))
        }
        Taken::Refused(why) => Err(AdminError::Found(format!(
            "not loaded, as no box would take it: {why}"
        ))),
    }
}

async fn list(store: &Store, roots: Vec<PublicKey>, now: Timestamp) -> Result<Said, AdminError> {
    let (loaded, book, lines) = store
        .read(move |tx| {
            let book = policies::book(tx, &roots)?;
            let lines = overview::lines(tx, &book, now)?;
            Ok((policies::list(tx)?, book, lines))
        })
        .await?;
    if loaded.is_empty() {
        let text = "No policy is loaded. How one is made: homeward-fleet policy --help";
        return Ok(Said::new(text, &json!([])));
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for one in &loaded {
        let policy = &one.entry.policy;
        let counts = Counts::of(&lines, policy.version.0);
        let reviewer = one.reviewer.as_deref().unwrap_or("nobody");
        text.push_str(&format!(
            "{:>4} {}\n     by {}, reviewed by {reviewer}; for {}; until {}\n",
            policy.version,
            policy.name.as_str(),
            one.author,
            audience(&policy.audience),
            policy.expires,
        ));
        match &one.withdrawn {
            Some((at, by, why)) => text.push_str(&format!("     withdrawn {at} by {by}: {why}\n")),
            None => text.push_str(&format!("     {}\n", told(&counts))),
        }
        rows.push(json!({
            "version": policy.version, "name": policy.name.as_str(), "digest": one.entry.mark.digest.to_string(),
            "author": one.author, "reviewer": one.reviewer, "expires": policy.expires.to_string(),
            "fit": book.fit(&one.entry, now).name(), "withdrawn": one.withdrawn.is_some(), "counts": counts_json(&counts),
        }));
    }
    Ok(Said::new(text, &rows))
}

fn told(counts: &Counts) -> String {
    if counts.wanted == 0 {
        return "no gateway shall have it".to_owned();
    }
    let mut text = format!(
        "wanted on {}, applied on {}, every rule holds now on {}",
        counts.wanted, counts.applied, counts.in_line
    );
    for (count, what) in words::counts(counts) {
        text.push_str(&format!("; {count} {what}"));
    }
    text
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "wanted": counts.wanted, "applied": counts.applied, "in_line": counts.in_line,
        "in_part": counts.in_part, "unheard": counts.unheard, "strict": counts.strict,
        "under_way": counts.under_way, "on_its_way": counts.on_its_way, "away": counts.away,
        "quarantined": counts.held, "refused": counts.refused, "returned": counts.returned, "unfit": counts.unfit,
    })
}

async fn assign(
    store: &Store,
    asked: &Assign,
    roots: Vec<PublicKey>,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let targets: Vec<Target> = asked
        .all
        .then_some(Target::All)
        .into_iter()
        .chain(asked.groups.iter().cloned().map(Target::Group))
        .chain(asked.gateways.iter().cloned().map(Target::Gateway))
        .collect();
    let (version, to) = (asked.version, targets.clone());
    let cannot = |why: take::Unassignable| AdminError::Asked(why.to_string());
    let planned = store.read(move |tx| take::planned(tx, (version, &to), &roots, now));
    let plan = planned.await?.map_err(cannot)?;
    if !asked.dry_run {
        let to = targets.clone();
        let given = store.write(move |tx| take::give(tx, (version, &to), BY, now));
        given.await?.map_err(cannot)?;
    }
    let mut text = planned_text(version, &targets, &plan);
    text.push_str(if asked.dry_run {
        "Nothing was changed."
    } else {
        "Connected boxes get it now, others when they come back: `policy status` shows how far it is."
    });
    Ok(Said::new(text, &plan_json(version, &plan, asked.dry_run)))
}

fn planned_text(version: u64, targets: &[Target], plan: &Plan) -> String {
    let to: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let mut text = format!("Policy {version} to {}:\n", to.join(", "));
    for step in &plan.steps {
        let (count, changes) = (step.gateways.len(), step.changes.len());
        let boxes = if count == 1 {
            "box that has"
        } else {
            "boxes that have"
        };
        let things = if changes == 1 {
            "thing changes"
        } else {
            "things change"
        };
        let from = step
            .from
            .map_or("no policy".to_owned(), |from| format!("policy {from}"));
        text.push_str(&format!("  {changes} {things} on {count} {boxes} {from}:\n"));
        for change in &step.changes {
            text.push_str(&format!("    {change}\n"));
        }
    }
    for (count, why) in [
        (plan.already, "have it already"),
        (plan.newer, "have a newer one, or are to have one"),
        (plan.outside, "are not in its audience"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} {why}\n"));
        }
    }
    if plan.steps.is_empty() {
        text.push_str("  Nothing changes on any box that is in service now\n");
    }
    text
}

fn plan_json(version: u64, plan: &Plan, dry_run: bool) -> Value {
    let step = |step: &crate::policy::rollout::Step| {
        json!({
            "from": step.from, "count": step.gateways.len(), "changes": papers::changes_json(&step.changes),
        })
    };
    json!({
        "version": version, "dry_run": dry_run, "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "already": plan.already, "newer": plan.newer, "outside": plan.outside,
    })
}

async fn withdraw(store: &Store, version: u64, reason: &str, now: Timestamp) -> Result<Said, AdminError> {
    let reason = reason.trim().to_owned();
    if reason.is_empty() {
        return Err(AdminError::Asked(
            "a reason is needed: it stands in the audit trail".into(),
        ));
    }
    let done = store.write(move |tx| policies::withdraw(tx, version, &reason, BY, now));
    if !done.await? {
        let why = format!("no policy {version} is loaded, or it was withdrawn before");
        return Err(AdminError::Found(why));
    }
    let text =
        format!("Policy {version} is offered no more. Boxes that took it keep it until they get a newer one");
    Ok(Said::new(text, &json!({ "version": version, "withdrawn": true })))
}

async fn status(
    store: &Store,
    asked: &Status,
    roots: Vec<PublicKey>,
    now: Timestamp,
) -> Result<Said, AdminError> {
    if let Some(id) = &asked.gateway {
        return one(store, id.clone(), roots, now).await;
    }
    if let Some(point) = &asked.point {
        let point: PointId = super::asked(point)?;
        let found = store.read(move |tx| states::offenders(tx, &point)).await?;
        return Ok(offenders(&found));
    }
    let (lines, unmet) = store
        .read(move |tx| {
            let book = policies::book(tx, &roots)?;
            Ok((overview::lines(tx, &book, now)?, states::unmet(tx)?))
        })
        .await?;
    let mut versions: Vec<u64> = lines.iter().filter_map(|line| line.wanted).collect();
    versions.sort_unstable();
    versions.dedup();
    let mut text = String::new();
    for version in versions.iter().rev() {
        let counts = Counts::of(&lines, *version);
        text.push_str(&format!("Policy {version}: {}\n", told(&counts)));
    }
    let without = lines.iter().filter(|line| line.wanted.is_none()).count();
    text.push_str(&format!("{without} gateways shall have no policy\n"));
    let wrong: Vec<&Line> = lines.iter().filter(|line| line.is_wrong()).collect();
    for line in wrong.iter().take(NAMED) {
        text.push_str(&format!("  {}\n", of_line(line)));
    }
    if wrong.len() > NAMED {
        text.push_str(&format!(
            "  and {} more (--json names all)\n",
            wrong.len() - NAMED
        ));
    }
    for one in &unmet {
        text.push_str(&format!(
            "Not met: {:<30} changed by hand on {}, not set on {}, not enforceable on {}\n",
            one.point.to_string(),
            one.tally.drifted,
            one.tally.failed,
            one.tally.not_enforceable
        ));
    }
    let json = json!({
        "policies": versions.iter().map(|v| json!({ "version": v, "counts": counts_json(&Counts::of(&lines, *v)) })).collect::<Vec<_>>(),
        "gateways": lines.iter().map(line_json).collect::<Vec<_>>(),
        "unmet": unmet.iter().map(|one| json!({
            "point": one.point.to_string(), "drifted": one.tally.drifted, "failed": one.tally.failed,
            "not_enforceable": one.tally.not_enforceable, "since_ms": one.since.map(|at| at.ms),
        })).collect::<Vec<_>>(),
    });
    Ok(Said::new(text, &json))
}

fn of_line(line: &Line) -> String {
    let mut text = format!("{:<16} {}", line.gateway.as_str(), words::progress(line.progress));
    if line.drifted > 0 {
        text.push_str(&format!("; {} changed by hand", line.drifted));
    }
    if line.failed > 0 {
        text.push_str(&format!("; {} could not be set", line.failed));
    }
    text
}

fn line_json(line: &Line) -> Value {
    json!({
        "id": line.gateway, "connected": line.connected, "wanted": line.wanted, "progress": line.progress.name(),
        "holds": line.holds.map(|mark| mark.version), "drifted": line.drifted, "failed": line.failed,
        "not_enforceable": line.not_enforceable, "heard_ms": line.heard.map(|at| at.ms),
    })
}

fn offenders(found: &[Offender]) -> Said {
    let mut text = String::new();
    for one in found {
        let observed = one
            .state
            .observed
            .as_ref()
            .map_or("not seen", |text| text.as_str());
        text.push_str(&format!(
            "{:<16} {} since {}: wanted {}, observed {observed}\n",
            one.gateway.as_str(),
            words::standing(&one.state.standing),
            one.state.since,
            one.state.wanted.as_str(),
        ));
    }
    if found.is_empty() {
        text.push_str("Every box that was told of it meets it");
    }
    let rows: Vec<Value> = found
        .iter()
        .map(|one| point_json(&one.state, Some(&one.gateway)))
        .collect();
    Said::new(text, &rows)
}

fn point_json(point: &homeward_protocol::policy::state::PointState, gateway: Option<&GatewayId>) -> Value {
    let (name, why) = standing(&point.standing);
    json!({
        "gateway": gateway, "point": point.point.to_string(), "hazard": point.hazard,
        "wanted": point.wanted.as_str(), "applied": point.applied.as_ref().map(ShortText::as_str),
        "observed": point.observed.as_ref().map(ShortText::as_str), "standing": name,
        "why": why.map(ShortText::as_str), "since_ms": point.since.ms,
    })
}

async fn one(
    store: &Store,
    id: GatewayId,
    roots: Vec<PublicKey>,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let wanted = id.clone();
    let found = store
        .read(move |tx| {
            let book = policies::book_of(tx, &roots, &wanted)?;
            let Some(line) = overview::line(tx, &book, &wanted, now)? else {
                return Ok(None);
            };
            let order = isolation::get(tx, &wanted)?;
            let (said, points) = (states::get(tx, &wanted)?, states::points(tx, &wanted)?);
            Ok(Some((line, order, said, points)))
        })
        .await?;
    let Some((line, order, said, points)) = found else {
        return Err(super::gateways::unknown(&id));
    };
    let state = said.as_ref().map(|said| &said.state);
    let how = containment(
        order.as_ref().map(|given| &given.order),
        state.and_then(|state| state.isolation.as_ref()),
    );
    let number = |version: Option<u64>| version.map_or("none".to_owned(), |v| v.to_string());
    let mut text = format!(
        "Gateway      {id}\nWanted       policy {}\nHas          policy {}\nProgress     {}\nIsolation    {}\n",
        number(line.wanted),
        number(line.holds.map(|mark| mark.version.0)),
        words::progress(line.progress),
        words::containment(how),
    );
    if let Some(state) = state {
        text.push_str(&format!("Ruled by     {}\n", words::basis(state.basis)));
        if let Some(refused) = &state.refused {
            let version = refused.mark.map(|mark| mark.version.0);
            text.push_str(&format!(
                "Did not take policy {}: {}\n",
                number(version),
                refused.why
            ));
        }
        if let Some(returned) = &state.returned {
            text.push_str(&format!(
                "Went back    from policy {} at {}: {}\n",
                returned.from.version,
                returned.at,
                words::cause(&returned.cause)
            ));
        }
    }
    for point in &points {
        let text_of = |t: &Option<ShortText>| t.as_ref().map_or("-".to_owned(), |t| t.as_str().to_owned());
        text.push_str(&format!(
            "  {:<28} {:<20} wanted {} | applied {} | observed {}\n",
            point.point.to_string(),
            words::standing(&point.standing),
            point.wanted.as_str(),
            text_of(&point.applied),
            text_of(&point.observed),
        ));
    }
    let mut json = line_json(&line);
    json["isolation"] = json!(how.name());
    json["returned"] = json!(
        state
            .and_then(|s| s.returned.as_ref())
            .map(|r| words::cause(&r.cause))
    );
    json["refused"] = json!(state.and_then(|s| s.refused.as_ref()).map(|r| r.why));
    json["points"] = points.iter().map(|point| point_json(point, None)).collect();
    Ok(Said::new(text, &json))
}

/// Shuts a gateway off from all but its vital flows, or lifts that.
pub(super) async fn isolate(
    store: &Store,
    id: &GatewayId,
    ordered: Ordered,
    reason: &str,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let (which, why, now) = (id.clone(), reason.trim().to_owned(), clock.now());
    if why.is_empty() {
        return Err(AdminError::Asked(
            "a reason is needed: it stands in the audit trail".into(),
        ));
    }
    let given = store.write(move |tx| isolation::order(tx, &which, ordered, &why, BY, now));
    let (word, undo) = match ordered {
        Ordered::Isolate => ("shut off from all but its vital flows", "release"),
        Ordered::Lift => ("to be as its policy says again", "isolate"),
    };
    match given.await? {
        Ordering::Given(order) => {
            let text = format!(
                "{id} is {word}: it is told at once when it is connected, else when it comes back. Whether it holds: \
                 homeward-fleet --data DIR policy status --gateway {id}. To undo: gateway {undo}"
            );
            Ok(Said::new(
                text,
                &json!({ "id": id, "order": order.order, "ordered": order.ordered }),
            ))
        }
        Ordering::Already => Ok(Said::new(
            format!("{id} is {word} already"),
            &json!({ "id": id, "ordered": ordered, "already": true }),
        )),
        Ordering::Unknown => Err(super::gateways::unknown(id)),
    }
}
