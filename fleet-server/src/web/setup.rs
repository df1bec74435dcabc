//! Shell: the first operator, made with the one-time code that the first start prints.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::claim::Code;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page_with};
use super::guard::{FORM, address, set_cookie};
use super::sign_in::{enter, is_own_form, with_cookie};
use crate::access::token::{self, Secret};
use crate::access::{Role, SETUP_MS, UserName, check_password};
use crate::https::Peer;
use crate::store::users;

/// What makes the first operator.
#[derive(Deserialize)]
pub struct First {
    csrf: String,
    code: String,
    name: String,
    password: String,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct Page {
    frame: Frame,
    csrf: String,
    name: String,
    wrong: Option<String>,
}

/// The form; only while there is nobody.
pub async fn get(State(desk): State<Desk>) -> Result<Response, Failure> {
    if desk.store.read(|tx| users::none(tx)).await? {
        form(&desk, String::new(), None)
    } else {
        Ok(go("/sign-in"))
    }
}

fn form(desk: &Desk, name: String, wrong: Option<String>) -> Result<Response, Failure> {
    let csrf = Secret::new()?.reveal().to_owned();
    let status = if wrong.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let page = Page {
        frame: Frame::outside("Set up", desk.clock.now()),
        csrf: csrf.clone(),
        name,
        wrong,
    };
    Ok(with_cookie(
        page_with(status, &page),
        &set_cookie(FORM, &csrf, SETUP_MS),
    ))
}

/// Burns the code and makes the first operator, who is signed in at once.
pub async fn post(
    State(desk): State<Desk>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<First>,
) -> Result<Response, Failure> {
    if !is_own_form(&headers, &given.csrf) {
        return Err(Failure::Forged);
    }
    if !desk.store.read(|tx| users::none(tx)).await? {
        return Ok(go("/sign-in"));
    }
    let (now, from) = (desk.clock.now(), address(peer.as_deref()));
    let name = match given.name.trim().to_lowercase().parse::<UserName>() {
        Ok(name) => name,
        Err(why) => return form(&desk, given.name, Some(format!("The name is not taken: {why}."))),
    };
    if let Err(why) = check_password(&name, &given.password) {
        return form(
            &desk,
            given.name,
            Some(format!("The password is not taken: {why}.")),
        );
    }
    let wrong = "The code is not the one that was printed, or it is too old. A restart prints a new one.";
    let code = given.code.parse::<Code>();
    let (Ok(code), false) = (code, desk.tries.must_wait(from, now)) else {
        return form(&desk, given.name, Some(wrong.to_owned()));
    };
    let hash = desk.passwords.hash(given.password).await?;
    let (code, first) = (token::kept(code.plain()), name.clone());
    let made = desk
        .store
        .write(move |tx| users::first_operator(tx, &code, &first, &hash, now))
        .await?;
    if made {
        desk.tries.note_success(from);
        enter(&desk, name, Role::Operator).await
    } else {
        desk.tries.note_failure(from, now);
        form(&desk, given.name, Some(wrong.to_owned()))
    }
}
