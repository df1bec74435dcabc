//! Shell: which token may use which endpoint.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::problem::Problem;
use crate::access::token::{PREFIX, kept};
use crate::access::{Needs, Scope, caller};
use crate::routes::Door;
use crate::store::tokens;

/// Longest token that is looked at, bytes; ours have 55.
const MAX_TOKEN: usize = 128;

/// The token that made a request, for the audit trail: `token:ID`.
#[derive(Debug, Clone)]
pub struct Caller(pub String);

/// Lets a request through to its handler, or answers why not.
pub async fn check(State(door): State<Door<Desk>>, mut request: Request, next: Next) -> Response {
    let scope = match door.needs {
        Needs::Nothing => return next.run(request).await,
        Needs::Person(_) => return Problem::missing().into_response(),
        Needs::Token(scope) => scope,
    };
    match admit(&door.desk, scope, request.headers()).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(desk: &Desk, scope: Scope, headers: &HeaderMap) -> Result<Caller, Problem> {
    let line = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let text = line
        .and_then(|l| l.strip_prefix("Bearer "))
        .map(str::trim)
        .unwrap_or_default();
    if !text.starts_with(PREFIX) || text.len() > MAX_TOKEN {
        return Err(Problem::no_token());
    }
    let (hash, now) = (kept(text), desk.clock.now());
    let valid = desk
        .store
        .read(move |tx| tokens::valid(tx, &hash, now))
        .await?
        .ok_or_else(Problem::no_token)?;
    if !valid.scopes.contains(&scope) {
        return Err(Problem::no_scope(scope));
    }
    if valid.stale {
        let id = valid.id.clone();
        desk.store.write(move |tx| tokens::touch(tx, &id, now)).await?;
    }
    Ok(Caller(caller(&valid.id)))
}

/// Puts on every answer that it is not to be kept or guessed at.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=31536000"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
