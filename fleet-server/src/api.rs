//! Shell: the API under `/api/v1`: what the pages show, as JSON, for programs with a token.
//!
//! Errors are problem documents (RFC 9457). Numbers are decimals in texts with a UCUM unit, as the device resolved
//! them; moments are RFC 3339 in UTC. The description is `OpenAPI` 3.1, made from the handlers, at `openapi.json`.

pub mod attest;
pub mod care;
pub mod fleet;
pub mod guard;
pub mod problem;
pub mod readings;
pub mod shape;
pub mod spec;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};

use crate::access::{self, Verb};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::device::invite::Invitations;
use crate::store::Store;

/// Most bytes of a request's body: the longest has three short fields.
const MAX_BODY: usize = 16 * 1024;

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
}

/// The API, with the guard that [`crate::access::ROUTES`] names for each route.
pub fn router(desk: Desk) -> Router {
    let mut router = Router::new();
    for (verb, path, handler) in endpoints() {
        let Some(needs) = access::needs(verb, path) else {
            tracing::error!(
                http.route = path,
                "{path} is not in the table of routes and is not served"
            );
            continue;
        };
        let door = guard::Door {
            desk: desk.clone(),
            needs,
        };
        router = router.route(path, handler.route_layer(from_fn_with_state(door, guard::check)));
    }
    router
        .method_not_allowed_fallback(problem::no_such_thing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(guard::headers))
        .with_state(desk)
}

type Endpoint = (Verb, &'static str, MethodRouter<Desk>);

fn look<H: Handler<T, Desk>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    (Verb::Get, path, get(handler))
}

fn change<H: Handler<T, Desk>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    (Verb::Post, path, post(handler))
}

/// Every endpoint and what serves it.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        look("/api/v1/openapi.json", spec::get),
        look("/api/v1/health", fleet::health),
        look("/api/v1/gateways", fleet::list),
        look("/api/v1/gateways/{gateway}", fleet::one),
        look("/api/v1/gateways/{gateway}/latest", readings::latest),
        look("/api/v1/gateways/{gateway}/readings", readings::range),
        change("/api/v1/gateways/{gateway}/approve", fleet::approve),
        change("/api/v1/gateways/{gateway}/revoke", fleet::revoke),
        look("/api/v1/gateways/{gateway}/attestation", attest::one),
        change("/api/v1/gateways/{gateway}/challenge", attest::ask),
        change("/api/v1/gateways/{gateway}/accept", attest::decide),
        change("/api/v1/claims", fleet::claim),
        look("/api/v1/incidents", care::incidents),
        look("/api/v1/placements", care::placements),
    ]
}
