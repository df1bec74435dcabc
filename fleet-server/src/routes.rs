//! A router whose every route has the guard that [`crate::access::ROUTES`] names for it; a route that is not in the
//! table is not served.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};

use crate::access::{self, Needs, Verb};

/// A route and what serves it; `D` is what the handlers share.
pub type Endpoint<D> = (Verb, &'static str, MethodRouter<D>);

/// What stands before one handler.
#[derive(Debug, Clone)]
pub struct Door<D> {
    /// What the guard looks things up in.
    pub desk: D,
    /// Who is let through.
    pub needs: Needs,
}

/// A route that looks.
pub fn look<D, H, T>(path: &'static str, handler: H) -> Endpoint<D>
where
    D: Clone + Send + Sync + 'static,
    H: Handler<T, D>,
    T: 'static,
{
    (Verb::Get, path, get(handler))
}

/// A route that changes something.
pub fn change<D, H, T>(path: &'static str, handler: H) -> Endpoint<D>
where
    D: Clone + Send + Sync + 'static,
    H: Handler<T, D>,
    T: 'static,
{
    (Verb::Post, path, post(handler))
}

/// The router of these routes; `guard` puts a door before a handler.
pub fn guarded<D: Clone + Send + Sync + 'static>(
    desk: &D,
    endpoints: Vec<Endpoint<D>>,
    guard: impl Fn(MethodRouter<D>, Door<D>) -> MethodRouter<D>,
) -> Router<D> {
    let mut router = Router::new();
    for (verb, path, handler) in endpoints {
        let Some(needs) = access::needs(verb, path) else {
            tracing::error!(
                http.route = path,
                "{path} is not in the table of routes and is not served"
            );
            continue;
        };
        let desk = desk.clone();
        router = router.route(path, guard(handler, Door { desk, needs }));
    }
    router
}
