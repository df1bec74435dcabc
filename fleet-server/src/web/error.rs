//! Shell: the one table from what went wrong to what a person is told.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::access::password::PasswordError;
use crate::access::token;
use crate::device::invite::InviteError;
use crate::store::StoreError;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody is signed in any more.
    #[error("the session has ended")]
    Ended,
    /// This person may not.
    #[error("not allowed")]
    Forbidden,
    /// There is no such thing.
    #[error("there is nothing here")]
    NothingHere,
    /// A form that did not come from our own page.
    #[error("the form did not come from this console's own page")]
    Forged,
    /// A form with something in it that cannot be.
    #[error("{0}")]
    Form(String),
    /// Too many at once.
    #[error("too much at once")]
    Busy,
    /// A change that cannot be made, or that another came before: why.
    #[error("{0}")]
    Refused(String),
    /// The store said no.
    #[error("the store could not be used")]
    Store(#[source] StoreError),
    /// A password could not be hashed, or no random bytes were there.
    #[error("a secret could not be made")]
    Secret,
    /// A template could not be filled.
    #[error("the page could not be written")]
    Template(#[source] askama::Error),
}

impl From<StoreError> for Failure {
    fn from(source: StoreError) -> Failure {
        match source {
            StoreError::Conflict(_) => {
                Failure::Form("This exists already, or what it refers to does not.".into())
            }
            other => Failure::Store(other),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(source: PasswordError) -> Failure {
        match source {
            PasswordError::Busy => Failure::Busy,
            PasswordError::Hash => Failure::Secret,
        }
    }
}

impl From<token::NoRandomness> for Failure {
    fn from(_: token::NoRandomness) -> Failure {
        Failure::Secret
    }
}

impl From<InviteError> for Failure {
    fn from(source: InviteError) -> Failure {
        match source {
            InviteError::Store(source) => Failure::from(source),
            InviteError::Random => Failure::Secret,
            InviteError::Revoked => Failure::Refused(source.to_string()),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    title: &'static str,
    what: String,
    todo: &'static str,
    code: Option<String>,
    sign_in: bool,
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Failure::Ended => StatusCode::UNAUTHORIZED,
            Failure::Forbidden | Failure::Forged => StatusCode::FORBIDDEN,
            Failure::NothingHere => StatusCode::NOT_FOUND,
            Failure::Form(_) | Failure::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Store(_) | Failure::Secret | Failure::Template(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn page(&self) -> ErrorPage {
        let (title, what, todo) = match self {
            Failure::Ended => (
                "Your session has ended",
                "You were signed out because the page was not used for a while, or somebody signed you out."
                    .into(),
                "Sign in again; nothing you saw is lost.",
            ),
            Failure::Forbidden => (
                "You may not see this",
                "This page is for another role or another care team.".into(),
                "If you need it, ask the operators of your organisation: they decide who is in which team.",
            ),
            Failure::NothingHere => (
                "There is nothing here",
                "The address is wrong, or what it named is gone.".into(),
                "Go back to the first page and look for it there.",
            ),
            Failure::Forged => (
                "The form was not taken",
                "It did not come from a page that this console had open for you, or that page was too old."
                    .into(),
                "Open the page again and repeat what you did. Nothing was changed.",
            ),
            Failure::Form(why) => (
                "That did not work",
                why.clone(),
                "Go back, change it, and send it again.",
            ),
            Failure::Refused(why) => (
                "That did not work",
                sentence(why),
                "Look at it again: somebody may have been faster. Nothing was changed.",
            ),
            Failure::Busy => (
                "Too much at once",
                "Many people are signing in at this moment.".into(),
                "Wait a few seconds and try again.",
            ),
            Failure::Store(_) | Failure::Secret | Failure::Template(_) => (
                "Something is wrong on our side",
                "The page could not be made. What gateways send is kept in any case.".into(),
                "Try again in a minute. If it stays so, tell your operator this code.",
            ),
        };
        ErrorPage {
            title,
            what,
            todo,
            code: None,
            sign_in: matches!(self, Failure::Ended),
        }
    }
}

fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut page = self.page();
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            let code = token::random::<5>()
                .map(|bytes| token::public_id(&bytes))
                .unwrap_or_default();
            tracing::error!(
                error.code = code,
                error = chain(&self),
                "a page could not be made ({code})"
            );
            page.code = Some(code);
        }
        match page.render() {
            Ok(text) => (status, Html(text)).into_response(),
            Err(_) => (status, "The page could not be made.").into_response(),
        }
    }
}

/// An error and all its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What is said where nothing is.
pub async fn nothing_here() -> Response {
    Failure::NothingHere.into_response()
}
