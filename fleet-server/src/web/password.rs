//! Shell: a person chooses another password.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page_with};
use super::guard::{Visitor, address};
use crate::access::{MAX_PASSWORD, PasswordRule, check_password};
use crate::https::Peer;
use crate::store::users;

/// What is said when the old password is not right. The same with too many tries: it tells a stranger at an open
/// console nothing.
pub(super) const WRONG: &str = "The password that you have now is not right, or there were too many tries. Wait a little, then try \
                     again.";

/// The old password and the new one.
#[derive(Deserialize)]
pub struct Change {
    current: String,
    new: String,
}

/// What stands behind the `?`: whether it was changed just now.
#[derive(Deserialize)]
pub struct Asked {
    changed: Option<String>,
}

#[derive(Template)]
#[template(path = "password.html")]
struct Page {
    frame: Frame,
    changed: bool,
    wrong: Option<String>,
}

/// The form.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    form(&desk, &visitor, asked.changed.is_some(), None)
}

fn form(desk: &Desk, visitor: &Visitor, changed: bool, wrong: Option<String>) -> Response {
    let status = match wrong {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let page = Page {
        frame: Frame::new("Password", "/password", visitor, desk.clock.now()),
        changed,
        wrong,
    };
    page_with(status, &page)
}

/// Changes it, and ends the person's other sessions.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    peer: Option<Extension<Peer>>,
    Form(given): Form<Change>,
) -> Result<Response, Failure> {
    if let Err(rule) = allowed(&visitor, &given) {
        return Ok(form(
            &desk,
            &visitor,
            false,
            Some(format!("Nothing was changed: {rule}.")),
        ));
    }
    if !is_own(&desk, &visitor, given.current, peer.as_deref()).await? {
        return Ok(form(&desk, &visitor, false, Some(WRONG.into())));
    }
    let hash = desk.passwords.hash(given.new).await?;
    let now = desk.clock.now();
    let changed = desk
        .store
        .write(move |tx| users::change_password(tx, &visitor.user, &hash, &visitor.token_hash, now));
    if changed.await? {
        Ok(go("/password?changed=1"))
    } else {
        Err(Failure::Ended) // the person was shut out meanwhile
    }
}

fn allowed(visitor: &Visitor, given: &Change) -> Result<(), PasswordRule> {
    check_password(&visitor.user, &given.new)?;
    if given.new == given.current {
        return Err(PasswordRule::Same);
    }
    Ok(())
}

/// Whether `password` is the visitor's. Wrong ones count as they do at signing in: an open console is no way to guess.
pub(super) async fn is_own(
    desk: &Desk,
    visitor: &Visitor,
    password: String,
    peer: Option<&Peer>,
) -> Result<bool, Failure> {
    let (now, from, who) = (desk.clock.now(), address(peer), visitor.user.clone());
    let kept = desk.store.read(move |tx| users::kept(tx, &who)).await?;
    let locked = |kept: &users::Kept| kept.locked_until.is_some_and(|until| until.ms > now.ms);
    let must_wait = kept.as_ref().is_none_or(locked) || desk.tries.must_wait(from, now);
    let possible = password.len() <= MAX_PASSWORD && !must_wait;
    let given = if possible { password } else { String::new() };
    let right = desk.passwords.is_right(given, kept.map(|k| k.password)).await?;
    if right && possible {
        return Ok(true);
    }
    if !must_wait {
        desk.tries.note_failure(from, now);
        let who = visitor.user.clone();
        desk.store
            .write(move |tx| users::note_failure(tx, &who, now))
            .await?;
    }
    Ok(false)
}
