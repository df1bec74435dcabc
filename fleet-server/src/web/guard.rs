//! Shell: who is let through to a page, where forms may come from, and what every answer says of itself.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Failure;
use super::frame::go;
use super::{Desk, LONG_FORMS, MAX_FORM, MAX_LONG_FORM};
use crate::access::{Needs, Role, Sight, UserName, token};
use crate::https::Peer;
use crate::routes::Door;
use crate::store::{StoreError, users};

/// The session's cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub const SESSION: &str = "__Host-hw";
/// The cookie that ties the forms before sign-in to the browser that asked for them.
pub const FORM: &str = "__Host-hw-form";

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who.
    pub user: UserName,
    /// What the person may do.
    pub role: Role,
    /// Which homes the person sees.
    pub sight: Sight,
    /// What the person's forms carry.
    pub csrf: String,
    /// The session.
    pub token_hash: Vec<u8>,
}

/// Lets a request through to its handler, or answers why not.
pub async fn check(State(door): State<Door<Desk>>, request: Request, next: Next) -> Response {
    let changes = request.method() == Method::POST;
    if changes && !is_same_origin(request.headers()) {
        return Failure::Forged.into_response();
    }
    let roles = match door.needs {
        Needs::Nothing => return next.run(request).await,
        Needs::Token(_) => return Failure::NothingHere.into_response(),
        Needs::Person(roles) => roles,
    };
    match admit(&door.desk, roles, request).await {
        Ok(request) => next.run(request).await,
        Err(answer) => answer,
    }
}

async fn admit(desk: &Desk, roles: &[Role], mut request: Request) -> Result<Request, Response> {
    let fragment = request.headers().contains_key("hx-request");
    let passive = fragment || request.uri().path() == "/events";
    let visitor = visitor(desk, request.headers(), passive).await;
    let visitor = visitor.map_err(|e| Failure::from(e).into_response())?;
    let Some(visitor) = visitor else {
        let page = request.method() == Method::GET && !passive;
        return Err(if page {
            go("/sign-in")
        } else {
            Failure::Ended.into_response()
        });
    };
    if !roles.contains(&visitor.role) {
        return Err(Failure::Forbidden.into_response());
    }
    if request.method() == Method::POST {
        request = check_form(request, &visitor.csrf)
            .await
            .map_err(IntoResponse::into_response)?;
    }
    request.extensions_mut().insert(visitor);
    Ok(request)
}

/// Who is behind the session cookie. What a page does by itself does not make a session last longer.
async fn visitor(desk: &Desk, headers: &HeaderMap, passive: bool) -> Result<Option<Visitor>, StoreError> {
    let Some(text) = cookie(headers, SESSION) else {
        return Ok(None);
    };
    let now = desk.clock.now();
    let token_hash = token::kept(text);
    let hash = token_hash.clone();
    let found = desk.store.read(move |tx| users::session(tx, &hash, now)).await?;
    let Some((session, touch)) = found else {
        return Ok(None);
    };
    if touch && !passive {
        let hash = token_hash.clone();
        desk.store
            .write(move |tx| users::touch_session(tx, &hash, now))
            .await?;
    }
    Ok(Some(Visitor {
        user: session.user,
        role: session.role,
        sight: Sight::of(session.role, session.team),
        csrf: session.csrf,
        token_hash,
    }))
}

/// Reads the form, insists on its token, and puts the form back for the handler.
async fn check_form(request: Request, csrf: &str) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>();
    let is_long = route.is_some_and(|route| LONG_FORMS.contains(&route.as_str()));
    let most = if is_long { MAX_LONG_FORM } else { MAX_FORM };
    let bytes = to_bytes(body, most)
        .await
        .map_err(|_| Failure::Form("The form is too long.".into()))?;
    let given = field(&bytes, "csrf").ok_or(Failure::Forged)?;
    if !token::same(&given, csrf) {
        return Err(Failure::Forged);
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A field of a form that holds letters and digits only; `None` when it is missing.
pub fn field(form: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(form).ok()?;
    let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

/// Whether a form came from a page of ours: browsers say so in `Origin` and `Sec-Fetch-Site`. A program that sends
/// neither has no cookie that a stranger's page could use.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let said = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let site_fits = said("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let host = said("host").unwrap_or_default();
    let origin_fits = said("origin").is_none_or(|origin| {
        let authority = origin.strip_prefix("https://").unwrap_or_default();
        !authority.is_empty() && authority == host
    });
    site_fits && origin_fits
}

/// A cookie's value.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A `Set-Cookie` line: for this host only, over TLS only, out of reach of scripts, never sent from other sites.
pub fn set_cookie(name: &str, value: &str, lasts_ms: i64) -> String {
    format!(
        "{name}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict",
        lasts_ms / 1000
    )
}

/// From which address a request came; the connection knows.
pub fn address(request_peer: Option<&Peer>) -> IpAddr {
    request_peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip())
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Puts on every answer what browsers should insist on. Nothing but assets is kept by a browser: an old page must
/// not come back looking fine.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        ("content-security-policy", POLICY),
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
