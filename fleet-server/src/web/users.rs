//! Shell: who may sign in.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::TeamId;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::placements::not_taken;
use crate::access::setup::check_team;
use crate::access::{Role, UserName, check_password};
use crate::store::care::{Team, teams};
use crate::store::users::{self, User};

/// A new person.
#[derive(Deserialize)]
pub struct New {
    name: String,
    role: String,
    #[serde(default)]
    team: String,
    password: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct Page {
    frame: Frame,
    users: Vec<User>,
    teams: Vec<Team>,
}

impl Page {
    fn is_me(&self, user: &User) -> bool {
        self.frame.visitor.as_ref().is_some_and(|me| me.user == user.name)
    }
}

/// The list and the form.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let (users, teams) = desk.store.read(|tx| Ok((users::list(tx)?, teams(tx)?))).await?;
    Ok(page(&Page {
        frame: Frame::new("Users", "/users", &visitor, desk.clock.now()),
        users,
        teams,
    }))
}

/// Adds a person.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<New>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let name: UserName = given
        .name
        .trim()
        .to_lowercase()
        .parse()
        .map_err(not_taken("name"))?;
    let role: Role = given.role.parse().map_err(not_taken("role"))?;
    let team: Option<TeamId> = match given.team.as_str() {
        "" => None,
        text => Some(text.parse().map_err(not_taken("care team"))?),
    };
    check_team(role, team.as_ref()).map_err(|e| Failure::Form(format!("The person was not added: {e}.")))?;
    check_password(&name, &given.password).map_err(not_taken("password"))?;
    let hash = desk.passwords.hash(given.password).await?;
    let by = visitor.user;
    let added = desk
        .store
        .write(move |tx| users::add(tx, &name, role, team.as_ref(), &hash, by.as_str(), now));
    added.await?;
    Ok(go("/users"))
}

/// Shuts a person out. Nobody shuts out themselves: somebody has to be left to open the door.
pub async fn disable(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(user): Path<String>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let name: UserName = user.parse().map_err(|_| Failure::NothingHere)?;
    if name == visitor.user {
        return Err(Failure::Form(
            "You cannot shut yourself out; another operator can.".into(),
        ));
    }
    let done = desk
        .store
        .write(move |tx| users::disable(tx, &name, visitor.user.as_str(), now))
        .await?;
    if done {
        Ok(go("/users"))
    } else {
        Err(Failure::NothingHere)
    }
}
