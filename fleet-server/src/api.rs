//! Shell: the API under `/api/v1`: what the pages show, as JSON, for programs with a token.
//!
//! Errors are problem documents (RFC 9457). Numbers are decimals in texts with a UCUM unit, as the device resolved
//! them; moments are RFC 3339 in UTC. The description is `OpenAPI` 3.1, made from the handlers, at `openapi.json`.

pub mod advisories;
pub mod attest;
pub mod calendar;
pub mod campaigns;
pub mod care;
pub mod dossiers;
pub mod drafts;
pub mod facts;
pub mod fleet;
pub mod forces;
pub mod guard;
pub mod policies;
pub mod policy;
pub mod problem;
pub mod quiet;
pub mod readings;
pub mod releases;
pub mod shape;
pub mod spec;
pub mod support;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;

use crate::advisory::csaf::MAX_DOCUMENT;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::device::invite::Invitations;
use crate::direct::shelf::read::Releases;
use crate::dossier::papers::Papers;
use crate::policy::roots::Roots;
use crate::routes::{self, Endpoint, change, look};
use crate::store::Store;
use crate::support::hub::Hub;

/// Most bytes of a request's body: the longest has three short fields.
const MAX_BODY: usize = 16 * 1024;
/// Most bytes of one that holds a policy.
const MAX_LONG: usize = 160 * 1024;

/// What the handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    /// What is kept.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// What happens.
    pub bus: Bus,
    /// What a claim is made of.
    pub invitations: Invitations,
    /// Whose signatures count under a keyring of policies.
    pub roots: Roots,
    /// What is published.
    pub releases: Releases,
    /// The dossiers among it.
    pub papers: Papers,
    /// Where the ends of support sessions meet.
    pub hub: Hub,
}

/// The API, with the guard that [`crate::access::ROUTES`] names for each route.
pub fn router(desk: Desk) -> Router {
    let guard =
        |handler: MethodRouter<Desk>, door| handler.route_layer(from_fn_with_state(door, guard::check));
    routes::guarded(&desk, endpoints(), guard)
        .method_not_allowed_fallback(problem::no_such_thing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard::headers))
        .with_state(desk)
}

/// Every endpoint and what serves it.
pub fn endpoints() -> Vec<Endpoint<Desk>> {
    vec![
        look("/api/v1/openapi.json", spec::get),
        look("/api/v1/health", fleet::health),
        look("/api/v1/gateways", fleet::list),
        look("/api/v1/gateways/{gateway}", fleet::one),
        look("/api/v1/gateways/{gateway}/windows", calendar::one),
        look("/api/v1/gateways/{gateway}/latest", readings::latest),
        look("/api/v1/gateways/{gateway}/readings", readings::range),
        change("/api/v1/gateways/{gateway}/approve", fleet::approve),
        change("/api/v1/gateways/{gateway}/revoke", fleet::revoke),
        look("/api/v1/gateways/{gateway}/attestation", attest::one),
        change("/api/v1/gateways/{gateway}/challenge", attest::ask),
        change("/api/v1/gateways/{gateway}/accept", attest::decide),
        look("/api/v1/gateways/{gateway}/policy", policy::one),
        change("/api/v1/gateways/{gateway}/isolate", policy::isolate),
        change("/api/v1/gateways/{gateway}/release", policy::release),
        look("/api/v1/gateways/{gateway}/quiet", quiet::one),
        change("/api/v1/gateways/{gateway}/quiet", quiet::ask),
        change("/api/v1/gateways/{gateway}/quiet/end", quiet::end),
        look("/api/v1/gateways/{gateway}/support", support::list),
        look("/api/v1/gateways/{gateway}/support/connect", support::connect),
        change("/api/v1/gateways/{gateway}/support/open", support::open),
        change("/api/v1/gateways/{gateway}/support/end", support::end),
        look("/api/v1/gateways/{gateway}/forces", forces::list),
        long(change("/api/v1/gateways/{gateway}/forces", forces::bring)),
        look("/api/v1/policies", policies::list),
        long(change("/api/v1/policies", policies::load)),
        long(change("/api/v1/policies/check", policies::checked)),
        change("/api/v1/policies/{version}/assign", policies::assign),
        change("/api/v1/policies/{version}/withdraw", policies::withdraw),
        look("/api/v1/drafts", drafts::list),
        look("/api/v1/drafts/{draft}", drafts::one),
        look("/api/v1/campaigns", campaigns::list),
        look("/api/v1/campaigns/{campaign}", campaigns::one),
        change("/api/v1/campaigns/{campaign}/halt", campaigns::halt),
        look("/api/v1/releases", releases::list),
        look("/api/v1/dossiers", dossiers::list),
        change("/api/v1/dossiers", dossiers::open),
        look("/api/v1/dossiers/{task}", dossiers::one),
        change("/api/v1/dossiers/{task}/plan", dossiers::plan),
        change("/api/v1/dossiers/{task}/confirm", dossiers::confirm),
        change("/api/v1/dossiers/{task}/refuse", dossiers::refuse),
        change("/api/v1/dossiers/{task}/withdraw", dossiers::withdraw),
        change("/api/v1/dossiers/{task}/reopen", dossiers::reopen),
        look("/api/v1/advisories", advisories::list),
        document(change("/api/v1/advisories", advisories::take)),
        look("/api/v1/advisories/tasks", advisories::tasks),
        look("/api/v1/implants", advisories::register),
        change("/api/v1/implants", advisories::add),
        change("/api/v1/implants/{entry}/end", advisories::end),
        look("/api/v1/rules", policies::rules),
        look("/api/v1/gateways/{gateway}/facts", facts::one),
        change("/api/v1/gateways/{gateway}/facts", facts::ask),
        look("/api/v1/gateways/{gateway}/sbom", facts::sbom),
        look("/api/v1/facts", facts::find),
        look("/api/v1/software", facts::software),
        change("/api/v1/claims", fleet::claim),
        look("/api/v1/incidents", care::incidents),
        look("/api/v1/placements", care::placements),
    ]
}

/// With room for a policy.
fn long((verb, path, handler): Endpoint<Desk>) -> Endpoint<Desk> {
    (verb, path, handler.layer(DefaultBodyLimit::max(MAX_LONG)))
}

/// With room for an advisory.
fn document((verb, path, handler): Endpoint<Desk>) -> Endpoint<Desk> {
    (verb, path, handler.layer(DefaultBodyLimit::max(MAX_DOCUMENT)))
}
