//! Shell: signing in and out.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page_with};
use super::guard::{FORM, SESSION, Visitor, address, cookie, set_cookie};
use crate::access::token::{self, Secret};
use crate::access::{MAX_PASSWORD, Role, SESSION_MS, UserName};
use crate::https::Peer;
use crate::store::users;

/// How long a sign-in page may stay open, milliseconds.
const FORM_MS: i64 = 3_600_000;

/// A sign-in.
#[derive(Deserialize)]
pub struct SignIn {
    csrf: String,
    name: String,
    password: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    csrf: String,
    failed: bool,
}

/// To the first page of whoever looks.
pub async fn home(Extension(visitor): Extension<Visitor>) -> Response {
    go(visitor.role.home())
}

/// The form.
pub async fn get(State(desk): State<Desk>) -> Result<Response, Failure> {
    if desk.store.read(|tx| users::none(tx)).await? {
        return Ok(go("/setup"));
    }
    form(&desk, StatusCode::OK, false)
}

fn form(desk: &Desk, status: StatusCode, failed: bool) -> Result<Response, Failure> {
    let csrf = Secret::new()?.reveal().to_owned();
    let page = Page {
        frame: Frame::outside("Sign in", desk.clock.now()),
        csrf: csrf.clone(),
        failed,
    };
    Ok(with_cookie(
        page_with(status, &page),
        &set_cookie(FORM, &csrf, FORM_MS),
    ))
}

/// Puts a cookie on an answer.
pub fn with_cookie(mut response: Response, line: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(line) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Whether a form before sign-in came from the page that this browser was given.
pub fn is_own_form(headers: &HeaderMap, csrf: &str) -> bool {
    cookie(headers, FORM).is_some_and(|given| token::same(given, csrf))
}

/// Checks name and password. Whatever is wrong, the answer is the same and takes as long.
pub async fn post(
    State(desk): State<Desk>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<SignIn>,
) -> Result<Response, Failure> {
    if !is_own_form(&headers, &given.csrf) {
        return Err(Failure::Forged);
    }
    let (now, from) = (desk.clock.now(), address(peer.as_deref()));
    let name = given.name.trim().to_lowercase().parse::<UserName>().ok();
    let possible = given.password.len() <= MAX_PASSWORD && !desk.tries.must_wait(from, now);
    let (Some(name), true) = (name, possible) else {
        desk.passwords.is_right(String::new(), None).await?;
        return form(&desk, StatusCode::UNAUTHORIZED, true);
    };
    let who = name.clone();
    let kept = desk.store.read(move |tx| users::kept(tx, &who)).await?;
    let hash = kept.as_ref().map(|k| k.password.clone());
    let right = desk.passwords.is_right(given.password, hash).await?;
    match kept {
        Some(kept) if kept.locked_until.is_some_and(|until| until.ms > now.ms) => {
            form(&desk, StatusCode::UNAUTHORIZED, true)
        }
        Some(kept) if right => {
            desk.tries.note_success(from);
            enter(&desk, name, kept.role).await
        }
        known => {
            desk.tries.note_failure(from, now);
            if known.is_some() {
                desk.store
                    .write(move |tx| users::note_failure(tx, &name, now))
                    .await?;
            }
            form(&desk, StatusCode::UNAUTHORIZED, true)
        }
    }
}

/// Opens a session and goes to the first page.
pub async fn enter(desk: &Desk, name: UserName, role: Role) -> Result<Response, Failure> {
    let (secret, csrf) = (Secret::new()?, Secret::new()?);
    let (hash, now) = (secret.kept(), desk.clock.now());
    let opened = desk
        .store
        .write(move |tx| users::open_session(tx, &name, &hash, csrf.reveal(), now));
    opened.await?;
    let response = with_cookie(go(role.home()), &set_cookie(SESSION, secret.reveal(), SESSION_MS));
    Ok(with_cookie(response, &set_cookie(FORM, "", 0)))
}

/// Ends the session, and tells the browser to forget everything of it.
pub async fn leave(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let closed = desk
        .store
        .write(move |tx| users::close_session(tx, &visitor.token_hash, &visitor.user, now));
    closed.await?;
    let forget = [("clear-site-data", "\"cache\", \"storage\"")];
    Ok(with_cookie(
        (forget, go("/sign-in")).into_response(),
        &set_cookie(SESSION, "", 0),
    ))
}
