//! Shell: what went wrong, as a problem document (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Scope;
use crate::device::invite::InviteError;
use crate::store::StoreError;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind: `about:blank`, the status says all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status, in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is this time, and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem under this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// Something in the request cannot be.
    pub fn wrong(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// There is no such thing.
    pub fn missing() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "there is nothing under this address")
    }

    /// No token, or not one that is valid now.
    pub fn no_token() -> Problem {
        let detail = "send a token that has not expired as `Authorization: Bearer hw_…`";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// A token without the scope.
    pub fn no_scope(needed: Scope) -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            format!("this needs a token with the scope {}", needed.name()),
        )
    }

    /// Somebody was faster, or it cannot be done to this one.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(source: StoreError) -> Problem {
        match source {
            StoreError::Conflict(_) => Problem::conflict("it exists already, or what it refers to does not"),
            other => {
                tracing::error!(error = %other, "the API could not use the store: {other}");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the store could not be used; try again later",
                )
            }
        }
    }
}

impl From<InviteError> for Problem {
    fn from(source: InviteError) -> Problem {
        match source {
            InviteError::Store(source) => source.into(),
            InviteError::Random => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, source.to_string()),
            InviteError::Revoked => Problem::conflict(source.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What is said where nothing is.
pub async fn no_such_thing() -> Problem {
    Problem::missing()
}
