//! Shell: the console's URL map. Each handler gets the guard that [`crate::access::ROUTES`] names for it.
//!
//! A page is one file: its forms, its typed template, `get` and `post`. A handler reads, calls a decision, commits
//! one transaction with its audit row, and redirects. Every page works without scripts; `assets/live.js` only
//! fetches a part of the page anew when the server says that something changed.

pub mod advisories;
pub mod approvals;
pub mod assets;
pub mod attest;
pub mod audit;
pub mod calendar;
pub mod campaigns;
pub mod care;
pub mod changes;
pub mod claims;
pub mod dossiers;
pub mod drafts;
pub mod error;
pub mod events;
pub mod facts;
pub mod fleet;
pub mod forces;
pub mod frame;
pub mod gateway;
pub mod guard;
pub mod implants;
pub mod incidents;
pub mod languages;
pub mod password;
pub mod placements;
pub mod policies;
pub mod quiet;
pub mod releases;
pub mod rules;
pub mod setup;
pub mod sign_in;
pub mod support;
pub mod tries;
pub mod users;
pub mod when;
pub mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use tokio::sync::Semaphore;

use crate::access::password::Passwords;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::device::invite::Invitations;
use crate::direct::shelf::read::Releases;
use crate::policy::roots::Roots;
use crate::routes::{self, Endpoint, change, look};
use crate::store::Store;

/// Most bytes of a form: the longest has a handful of short fields.
const MAX_FORM: usize = 16 * 1024;
/// Most bytes of a form that holds a policy: its characters travel as up to three bytes each.
const MAX_LONG_FORM: usize = 160 * 1024;
/// Where forms hold one: routes.
const LONG_FORMS: [&str; 4] = [
    "/policies",
    "/policies/check",
    "/drafts/{draft}",
    "/drafts/{draft}/signed",
];
/// Pages that may listen for events at once; beyond this a page refreshes by itself every minute.
const LISTENERS: usize = 1024;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// What is kept.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// What happens.
    pub bus: Bus,
    /// What a claim is made of.
    pub invitations: Invitations,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Who guessed wrongly, by address.
    pub tries: tries::Tries,
    /// How far the audit trail was found whole.
    pub trail: audit::Trail,
    /// Whose signatures count under a keyring of policies; nobody's until it is set.
    pub roots: Roots,
    /// What is published; nothing until it is set.
    pub releases: Releases,
    /// Places for pages that listen.
    pub listeners: Arc<Semaphore>,
}

impl Desk {
    /// A desk over these.
    pub fn new(store: Store, clock: Clock, bus: Bus, invitations: Invitations, passwords: Passwords) -> Desk {
        Desk {
            store,
            clock,
            bus,
            invitations,
            passwords,
            tries: tries::Tries::default(),
            trail: audit::Trail::default(),
            roots: Roots::default(),
            releases: Releases::default(),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

/// The console: every page, its assets and its errors.
pub fn router(desk: Desk) -> Router {
    let guard =
        |handler: MethodRouter<Desk>, door| handler.route_layer(from_fn_with_state(door, guard::check));
    let pages = pages().into_iter().map(roomy).collect();
    routes::guarded(&desk, pages, guard)
        .fallback(error::nothing_here)
        .method_not_allowed_fallback(error::nothing_here)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn(guard::headers))
        .with_state(desk)
}

/// Every page and what serves it.
pub fn pages() -> Vec<Endpoint<Desk>> {
    vec![
        look("/", sign_in::home),
        look("/assets/{file}", assets::get),
        look("/sign-in", sign_in::get),
        change("/sign-in", sign_in::post),
        change("/sign-out", sign_in::leave),
        look("/password", password::get),
        change("/password", password::post),
        look("/setup", setup::get),
        change("/setup", setup::post),
        look("/events", events::get),
        look("/care", care::get),
        look("/care/rows", care::rows),
        look("/care/quiet", quiet::get),
        change("/care/quiet", quiet::post),
        look("/fleet", fleet::get),
        look("/fleet/rows", fleet::rows),
        look("/gateways/{gateway}", gateway::get),
        look("/gateways/{gateway}/windows", calendar::get),
        look("/gateways/{gateway}/approve", gateway::confirm_approval),
        change("/gateways/{gateway}/approve", gateway::approve),
        look("/gateways/{gateway}/revoke", gateway::confirm_revocation),
        change("/gateways/{gateway}/revoke", gateway::revoke),
        change("/gateways/{gateway}/place", gateway::place),
        change("/gateways/{gateway}/challenge", attest::ask),
        change("/gateways/{gateway}/accept", attest::decide),
        change("/gateways/{gateway}/isolate", rules::isolate),
        change("/gateways/{gateway}/release", rules::release),
        change("/gateways/{gateway}/group", rules::group),
        look("/policies", policies::get),
        change("/policies", policies::load),
        look("/policies/rows", policies::rows),
        look("/policies/check", policies::check::get),
        change("/policies/check", policies::check::post),
        look("/policies/{version}", policies::one::get),
        look("/policies/{version}/rows", policies::one::rows),
        change("/policies/{version}/assign", policies::one::assign),
        change("/policies/{version}/withdraw", policies::one::withdraw),
        look("/policies/{version}/papers", drafts::sign::papers),
        look("/policies/keyring", drafts::sign::keyring),
        look("/drafts", drafts::get),
        change("/drafts", drafts::post),
        look("/drafts/{draft}", drafts::edit::get),
        change("/drafts/{draft}", drafts::edit::post),
        look("/drafts/{draft}/revisions/{revision}", drafts::edit::revision),
        look("/drafts/{draft}/document", drafts::sign::document),
        change("/drafts/{draft}/ask", drafts::edit::ask),
        look("/drafts/{draft}/review", drafts::review::get),
        change("/drafts/{draft}/review", drafts::review::post),
        change("/drafts/{draft}/signed", drafts::sign::bring),
        change("/drafts/{draft}/drop", drafts::edit::drop),
        look("/campaigns", campaigns::get),
        look("/campaigns/rows", campaigns::rows),
        look("/campaigns/{campaign}", campaigns::one),
        look("/campaigns/{campaign}/rows", campaigns::waves),
        change("/campaigns/{campaign}/order", campaigns::order),
        look("/releases", releases::get),
        look("/releases/note", releases::note),
        look("/dossiers", dossiers::get),
        look("/dossiers/{task}", dossiers::one),
        change("/dossiers/{task}", dossiers::order),
        change("/dossiers/{task}/withdraw", dossiers::withdraw),
        change("/dossiers/{task}/reopen", dossiers::reopen),
        look("/advisories", advisories::get),
        look("/advisories/{task}", advisories::one),
        change("/advisories/{task}", advisories::order),
        change("/advisories/{task}/withdraw", advisories::withdraw),
        change("/advisories/{task}/reopen", advisories::reopen),
        look("/implants", implants::get),
        change("/implants", implants::post),
        change("/implants/{entry}/seen", implants::seen),
        change("/implants/{entry}/end", implants::end),
        look("/rules", policies::unmet::get),
        change("/gateways/{gateway}/facts", facts::ask),
        look("/posture", facts::find),
        look("/claims", claims::get),
        change("/claims", claims::post),
        look("/approvals", approvals::get),
        look("/support", support::get),
        change("/gateways/{gateway}/support/open", support::open),
        change("/gateways/{gateway}/support/end", support::end),
        look("/incidents", incidents::get),
        change("/incidents/{incident}/close", incidents::close),
        look("/placements", placements::get),
        change("/placements", placements::post),
        change("/teams", placements::add_team),
        look("/users", users::get),
        change("/users", users::post),
        change("/users/{user}/disable", users::disable),
        look("/audit", audit::get),
    ]
}

/// With room for a policy where a form brings one.
fn roomy((verb, path, handler): Endpoint<Desk>) -> Endpoint<Desk> {
    if LONG_FORMS.contains(&path) {
        (verb, path, handler.layer(DefaultBodyLimit::max(MAX_LONG_FORM)))
    } else {
        (verb, path, handler)
    }
}
