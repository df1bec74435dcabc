//! Shell: policies: what is loaded, who shall have which, how far each has come, and which rules do not hold.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use homeward_protocol::policy::check::{Severity, check};
use homeward_protocol::policy::diff::Change;
use homeward_protocol::policy::points::PointId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::fleet::body;
use super::guard::Caller;
use super::problem::Problem;
use super::shape::moment;
use crate::policy::book::{Target, audience};
use crate::policy::paper::Papers;
use crate::policy::rollout::{Counts, Plan};
use crate::policy::take::{Taken, Unassignable, give, planned, take};
use crate::store::policies::states::{self, Offender, Unmet};
use crate::store::policies::{self, Loaded, Loading, overview};
use crate::store::{StoreError, Tx};

/// Most characters of a reason.
const MAX_REASON: usize = 200;
/// Most targets of one assignment.
const MAX_TARGETS: usize = 1000;

/// A policy's roll-out in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsOfPolicy {
    /// Gateways that shall have it.
    wanted: usize,
    /// That say it is applied.
    applied: usize,
    /// Of these, that are connected, and every rule holds.
    in_line: usize,
    /// That are connected, and every rule holds that can be enforced there: some cannot.
    in_part: usize,
    /// Where every rule held that can hold there, and that are not connected now.
    unheard: usize,
    /// That have it, while the strict rules hold in its place.
    strict: usize,
    /// That are applying it, or making sure of the server.
    under_way: usize,
    /// That were sent it and said nothing yet.
    on_its_way: usize,
    /// That have not been told, as they are not connected.
    away: usize,
    /// In quarantine.
    quarantined: usize,
    /// That refused it.
    refused: usize,
    /// That went back from it.
    returned: usize,
    /// That it cannot be sent to.
    unfit: usize,
}

impl From<Counts> for CountsOfPolicy {
    fn from(counts: Counts) -> CountsOfPolicy {
        CountsOfPolicy {
            wanted: counts.wanted,
            applied: counts.applied,
            in_line: counts.in_line,
            in_part: counts.in_part,
            unheard: counts.unheard,
            strict: counts.strict,
            under_way: counts.under_way,
            on_its_way: counts.on_its_way,
            away: counts.away,
            quarantined: counts.held,
            refused: counts.refused,
            returned: counts.returned,
            unfit: counts.unfit,
        }
    }
}

/// A loaded policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyShape {
    /// Its number; a box never goes back to a lower one.
    #[schema(example = 7)]
    version: u64,
    /// What people call it.
    name: String,
    /// SHA-256 over what its author signed, hex.
    digest: String,
    /// Who wrote it.
    author: String,
    /// Who reviewed it; null where none is asked for.
    reviewer: Option<String>,
    /// Whom it is for.
    audience: String,
    /// When its time is over.
    expires_at: String,
    /// `fit`, `expired` or `signers-gone`: whether boxes would take it now.
    fit: &'static str,
    /// Why it was taken back; null while it is offered.
    withdrawn: Option<String>,
    /// To whom it is assigned: `all`, `group:ID`, `gateway:ID`.
    assigned_to: Vec<String>,
    /// How far it has come.
    counts: CountsOfPolicy,
}

/// Loaded policies.
#[derive(Debug, Serialize, ToSchema)]
pub struct Policies {
    /// The newest first.
    policies: Vec<PolicyShape>,
    /// The number of the newest keyring.
    keyring: Option<u64>,
}

fn target(target: &Target) -> String {
    match target.columns() {
        (kind, "") => kind.to_owned(),
        (kind, name) => format!("{kind}:{name}"),
    }
}

/// Loaded policies, and how far each has come.
#[utoipa::path(get, path = "/api/v1/policies", security(("token" = ["fleet:read"])),
    responses((status = 200, body = Policies), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<Policies>, Problem> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let book = policies::book(tx, &roots)?;
        let lines = overview::lines(tx, &book, now)?;
        let orders = policies::orders(tx)?;
        let shape = |loaded: Loaded| {
            let version = loaded.entry.mark.version.0;
            let own = orders.iter().filter(|order| order.version == version);
            PolicyShape {
                version,
                name: loaded.entry.policy.name.as_str().to_owned(),
                digest: loaded.entry.mark.digest.to_string(),
                audience: audience(&loaded.entry.policy.audience),
                expires_at: loaded.entry.policy.expires.to_string(),
                fit: book.fit(&loaded.entry, now).name(),
                author: loaded.author,
                reviewer: loaded.reviewer,
                withdrawn: loaded.withdrawn.map(|(_, _, why)| why),
                assigned_to: own.map(|order| target(&order.target)).collect(),
                counts: Counts::of(&lines, version).into(),
            }
        };
        Ok(Policies {
            policies: policies::list(tx)?.into_iter().map(shape).collect(),
            keyring: policies::keyring(tx)?.map(|(number, _, _)| number),
        })
    };
    Ok(Json(desk.store.read(work).await?))
}

/// A document.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DocumentShape {
    /// TOML, at most 32 KiB.
    text: String,
}

/// What was found in a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckedShape {
    /// Whether it can be signed.
    ok: bool,
    /// In the order of the document.
    findings: Vec<FindingShape>,
}

/// Something that a person should look at.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingShape {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// Where in the document; empty when it cannot be told.
    path: String,
    /// `error` or `warning`.
    severity: &'static str,
    /// What is wrong, and what would be right.
    said: String,
}

/// Checks a document. Nothing is kept of it.
#[utoipa::path(post, path = "/api/v1/policies/check", request_body = DocumentShape,
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = CheckedShape), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn checked(
    given: Result<Json<DocumentShape>, JsonRejection>,
) -> Result<Json<CheckedShape>, Problem> {
    let (ok, findings) = findings(&body(given)?.text);
    Ok(Json(CheckedShape { ok, findings }))
}

/// Whether a document can be signed, and what was found in it.
pub(super) fn findings(text: &str) -> (bool, Vec<FindingShape>) {
    let found = check(text);
    let finding = |f: homeward_protocol::policy::check::Finding| FindingShape {
        line: f.line,
        column: f.column,
        path: f.path,
        severity: match f.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        said: f.said,
    };
    let findings = found.findings.into_iter().map(finding).collect();
    (found.policy.is_some(), findings)
}

/// What was signed.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PapersShape {
    /// The text that `homeward-fleet policy review` or `keyring` wrote.
    papers: String,
}

/// What was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoadedShape {
    /// The policy's number; null when only a keyring came.
    version: Option<u64>,
    /// The keyring's number, when only that came.
    keyring: Option<u64>,
    /// Whether it is new here.
    new: bool,
}

/// Takes in a signed and reviewed policy, or a keyring. Nobody gets it yet.
#[utoipa::path(post, path = "/api/v1/policies", request_body = PapersShape, security(("token" = ["policy:write"])),
    responses((status = 200, body = LoadedShape), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub async fn load(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    given: Result<Json<PapersShape>, JsonRejection>,
) -> Result<Json<LoadedShape>, Problem> {
    let papers = Papers::parse(&body(given)?.papers).map_err(|why| Problem::wrong(why.to_string()))?;
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    match desk
        .store
        .write(move |tx| take(tx, &papers, &roots, &by, now))
        .await?
    {
        Taken::Keyring { number, new } => Ok(Json(LoadedShape {
            version: None,
            keyring: Some(number),
            new,
        })),
        Taken::Policy {
            version,
            loading: Loading::OtherContent,
        } => Err(Problem::conflict(format!(
            "another policy has the number {version}"
        ))),
        Taken::Policy { version, loading } => Ok(Json(LoadedShape {
            version: Some(version),
            keyring: None,
            new: loading == Loading::New,
        })),
        Taken::Refused(why) => Err(Problem::wrong(format!("no box would take it: {why}"))),
    }
}

/// Who gets it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Assignment {
    /// `all`, `group:ID` or `gateway:ID`; at most 1000.
    to: Vec<String>,
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// What changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanShape {
    /// By what boxes have now.
    steps: Vec<StepShape>,
    /// Those that have it already.
    already: usize,
    /// Those that have a newer one, or are to have one.
    newer: usize,
    /// Those that are not in its audience.
    outside: usize,
}

/// Boxes on which the same changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepShape {
    /// The policy that they have now; null for none.
    from: Option<u64>,
    /// How many they are.
    boxes: usize,
    /// What changes.
    changes: Vec<ChangeShape>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeShape {
    /// The point, or a part of the policy's head.
    what: String,
    /// What was wanted before.
    before: Option<String>,
    /// What is wanted now.
    after: Option<String>,
}

impl From<Change> for ChangeShape {
    fn from(change: Change) -> ChangeShape {
        ChangeShape {
            what: change.what,
            before: change.before,
            after: change.after,
        }
    }
}

impl From<Plan> for PlanShape {
    fn from(plan: Plan) -> PlanShape {
        let step = |step: crate::policy::rollout::Step| StepShape {
            from: step.from,
            boxes: step.gateways.len(),
            changes: step.changes.into_iter().map(ChangeShape::from).collect(),
        };
        PlanShape {
            steps: plan.steps.into_iter().map(step).collect(),
            already: plan.already,
            newer: plan.newer,
            outside: plan.outside,
        }
    }
}

/// Gives a policy to gateways, or says what that would change.
#[utoipa::path(post, path = "/api/v1/policies/{version}/assign", params(("version" = u64, Path)),
    request_body = Assignment, security(("token" = ["policy:write"])),
    responses((status = 200, body = PlanShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn assign(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(version): Path<u64>,
    given: Result<Json<Assignment>, JsonRejection>,
) -> Result<Json<PlanShape>, Problem> {
    let given = body(given)?;
    if given.to.is_empty() || given.to.len() > MAX_TARGETS {
        return Err(Problem::wrong(format!("name 1 to {MAX_TARGETS} targets")));
    }
    let targets: Result<Vec<Target>, _> = given.to.iter().map(|text| text.parse()).collect();
    let targets = targets.map_err(|why: &str| Problem::wrong(why))?;
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let to = targets.clone();
    let planned = desk
        .store
        .read(move |tx| planned(tx, (version, &to), &roots, now));
    let plan = planned.await?.map_err(|why| cannot(&why))?;
    if !given.dry_run {
        let done = desk
            .store
            .write(move |tx| give(tx, (version, &targets), &by, now));
        done.await?.map_err(|why| cannot(&why))?;
    }
    Ok(Json(plan.into()))
}

fn cannot(why: &Unassignable) -> Problem {
    match why {
        Unassignable::NotLoaded(_) => Problem::missing(),
        Unassignable::Withdrawn(_) => Problem::conflict("the policy was withdrawn"),
        Unassignable::NoGateway(_) => Problem::wrong(why.to_string()),
    }
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ReasonShape {
    /// Stands in the audit trail; at most 200 characters.
    reason: String,
}

/// The reason, when it is one.
pub(super) fn reason(given: Result<Json<ReasonShape>, JsonRejection>) -> Result<String, Problem> {
    let reason = body(given)?.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::wrong("a reason has 1 to 200 characters"));
    }
    Ok(reason)
}

/// Offers a policy no more. Boxes that took it keep it until they get a newer one.
#[utoipa::path(post, path = "/api/v1/policies/{version}/withdraw", params(("version" = u64, Path)),
    request_body = ReasonShape, security(("token" = ["policy:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn withdraw(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(version): Path<u64>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (why, now) = (reason(given)?, desk.clock.now());
    let done = desk
        .store
        .write(move |tx| policies::withdraw(tx, version, &why, &by, now));
    if done.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::missing())
    }
}

/// Which point.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhichPoint {
    /// The boxes that do not meet this point are listed, too: `sshd/password-login`.
    point: Option<String>,
}

/// Rules that do not hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rules {
    /// The points that some box does not meet.
    unmet: Vec<UnmetShape>,
    /// The boxes that do not meet the point that was asked for, those longest so first; at most 500.
    boxes: Vec<OffenderShape>,
}

/// A point that some box does not meet.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnmetShape {
    /// Which.
    point: String,
    /// Boxes on which somebody changed it.
    drifted: i64,
    /// Boxes on which it could not be set.
    failed: i64,
    /// Boxes that can neither enforce nor observe it.
    not_enforceable: i64,
    /// Since when on the first of those that drifted or failed.
    since: Option<String>,
}

impl From<Unmet> for UnmetShape {
    fn from(unmet: Unmet) -> UnmetShape {
        UnmetShape {
            point: unmet.point.to_string(),
            drifted: unmet.tally.drifted,
            failed: unmet.tally.failed,
            not_enforceable: unmet.tally.not_enforceable,
            since: unmet.since.map(moment),
        }
    }
}

/// A box that does not meet a point.
#[derive(Debug, Serialize, ToSchema)]
pub struct OffenderShape {
    /// Which box.
    gateway: String,
    /// How the point stands there.
    #[serde(flatten)]
    point: super::policy::PointShape,
}

impl From<Offender> for OffenderShape {
    fn from(offender: Offender) -> OffenderShape {
        OffenderShape {
            gateway: offender.gateway.to_string(),
            point: (&offender.state).into(),
        }
    }
}

/// Which rules do not hold on how many boxes, and since when; of one point, which boxes.
#[utoipa::path(get, path = "/api/v1/rules", params(WhichPoint), security(("token" = ["fleet:read"])),
    responses((status = 200, body = Rules), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn rules(
    State(desk): State<Desk>,
    which: Result<Query<WhichPoint>, QueryRejection>,
) -> Result<Json<Rules>, Problem> {
    let Query(which) = which.map_err(|e| Problem::wrong(e.body_text()))?;
    let point: Option<PointId> = which
        .point
        .map(|text| text.parse())
        .transpose()
        .map_err(|why: &str| Problem::wrong(why))?;
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let boxes = point.map(|point| states::offenders(tx, &point)).transpose()?;
        Ok(Rules {
            unmet: states::unmet(tx)?.into_iter().map(UnmetShape::from).collect(),
            boxes: boxes
                .unwrap_or_default()
                .into_iter()
                .map(OffenderShape::from)
                .collect(),
        })
    };
    Ok(Json(desk.store.read(work).await?))
}
