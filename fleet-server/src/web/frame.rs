//! Shell: what all pages have in common: who looks, where they are, and when the server looked.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use homeward_protocol::grade::Grade;
use homeward_protocol::time::Timestamp;

use super::error::Failure;
use super::guard::Visitor;
use super::when::{self, When};
use crate::access::Role;
use crate::care::{State, reading};

/// What every page's template needs.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The page's own name, for the title.
    pub title: &'static str,
    /// The path that the navigation marks as here.
    pub here: &'static str,
    /// Who looks; nobody on pages before sign-in.
    pub visitor: Option<Visitor>,
    /// When the server looked.
    pub now: Timestamp,
}

impl Frame {
    /// The frame of a page that is seen by somebody who has signed in.
    pub fn new(title: &'static str, here: &'static str, visitor: &Visitor, now: Timestamp) -> Frame {
        Frame {
            title,
            here,
            visitor: Some(visitor.clone()),
            now,
        }
    }

    /// The frame of a page before sign-in.
    pub fn outside(title: &'static str, now: Timestamp) -> Frame {
        Frame {
            title,
            here: "",
            visitor: None,
            now,
        }
    }

    /// What every form carries.
    pub fn csrf(&self) -> &str {
        self.visitor.as_ref().map_or("", |v| v.csrf.as_str())
    }

    /// `14:49`.
    pub fn clock(&self) -> String {
        when::clock(self.now, self.now)
    }

    /// Where this visitor may go: path and name.
    pub fn places(&self) -> &'static [(&'static str, &'static str)] {
        match self.visitor.as_ref().map(|v| v.role) {
            None => &[],
            Some(Role::Nurse) => &[
                ("/care", "My people"),
                ("/releases", "Releases"),
                ("/dossiers", "Device updates"),
                ("/advisories", "Advisories"),
                ("/implants", "Implants"),
            ],
            Some(Role::Operator) => &[
                ("/fleet", "Fleet"),
                ("/posture", "Which boxes?"),
                ("/care", "People"),
                ("/claims", "Claims"),
                ("/approvals", "Approvals"),
                ("/policies", "Policies"),
                ("/releases", "Releases"),
                ("/campaigns", "Campaigns"),
                ("/dossiers", "Device updates"),
                ("/advisories", "Advisories"),
                ("/implants", "Implants"),
                ("/incidents", "Incidents"),
                ("/support", "Support"),
                ("/placements", "Homes"),
                ("/users", "Users"),
                ("/audit", "Audit"),
            ],
        }
    }

    /// A moment, seen from when the server looked.
    pub fn when(&self, moment: &Timestamp) -> When {
        When::new(*moment, self.now)
    }
}

/// A state's shape, drawn; its word always stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(pub State);

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = match self.0 {
            State::NeedsAction => {
                r#"<path d="M12 2 23 21H1z"/><path class="ink" d="M11 9h2v6h-2zM11 16.5h2v2h-2z"/>"#
            }
            State::CheckToday => {
                r#"<circle cx="12" cy="12" r="10"/><path class="ink" d="M11 6h2v8h-2zM11 16h2v2h-2z"/>"#
            }
            State::NotHeard => {
                r#"<path d="M3 3h18v18H3z"/><path class="line" d="M3 9l6-6M3 15 15 3M3 21 21 3M9 21 21 9M15 21l6-6"/>"#
            }
            State::AllWorking => r#"<path class="line" d="M4 13l5 5L20 7"/>"#,
        };
        write!(
            f,
            r#"<svg class="shape" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">{lines}</svg>"#
        )
    }
}

/// Made of the constants above only.
impl HtmlSafe for Shape {}

/// How sure we are of a reading's device: a shape and its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sure(pub Grade);

impl fmt::Display for Sure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = reading::grade(self.0);
        let lines = match self.0 {
            Grade::Verified => r#"<circle cx="12" cy="12" r="10"/><path class="line" d="M7 12l4 4 6-8"/>"#,
            Grade::Associated => r#"<circle class="ring" cx="12" cy="12" r="9"/>"#,
            Grade::Unverified => r#"<path class="ring dashed" d="M12 3 21.5 20h-19z"/>"#,
        };
        write!(
            f,
            r#"<span class="grade {word}"><svg class="shape" viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">{lines}</svg><span class="word">{word}</span></span>"#
        )
    }
}

/// Made of the constants above only.
impl HtmlSafe for Sure {}

/// A template as a page.
pub fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A template as a page with this status.
pub fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(source) => Failure::Template(source).into_response(),
    }
}

/// To another page, by GET.
pub fn go(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}
