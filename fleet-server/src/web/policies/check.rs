//! Shell: what is wrong with a document, and what it changes. Nothing is kept of it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::policy::check::{Finding, Severity, check};
use homeward_protocol::policy::diff::Change;
use serde::Deserialize;

use crate::policy::rollout::changes;
use crate::store::policies;
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::frame::{Frame, page};
use crate::web::guard::Visitor;

#[derive(Template)]
#[template(path = "policy_check.html")]
struct Page {
    frame: Frame,
    text: String,
    found: Option<Found>,
}

/// What became of a document.
struct Found {
    usable: bool,
    name: String,
    points: usize,
    findings: Vec<Finding>,
    /// The number of the newest loaded policy, and what changes from it.
    before: Option<u64>,
    changes: Vec<Change>,
}

impl Page {
    fn kind(finding: &Finding) -> &'static str {
        match finding.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        }
    }

    fn heading(&self) -> String {
        match &self.found {
            None => "Check a policy".to_owned(),
            Some(found) if found.usable => format!("{} can be signed", found.name),
            Some(_) => "This document cannot be signed".to_owned(),
        }
    }
}

/// The form.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    Ok(page(&Page {
        frame: Frame::new("Check a policy", "/policies", &visitor, desk.clock.now()),
        text: String::new(),
        found: None,
    }))
}

/// A document.
#[derive(Deserialize)]
pub struct Document {
    text: String,
}

/// Says what is wrong with it.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<Document>,
) -> Result<Response, Failure> {
    // Browsers send line ends as CR LF.
    let text = given.text.replace("\r\n", "\n");
    let checked = check(&text);
    let newest = desk
        .store
        .read(policies::list)
        .await?
        .into_iter()
        .find(|one| one.withdrawn.is_none());
    let before = newest.as_ref().map(|loaded| &loaded.entry.policy);
    let policy = checked.policy.as_ref();
    let found = Found {
        usable: policy.is_some(),
        name: policy.map_or(String::new(), |p| {
            format!("{}, version {}", p.name.as_str(), p.version)
        }),
        points: policy.map_or(0, |p| p.points().len()),
        before: before.map(|p| p.version.0),
        changes: policy.map_or(Vec::new(), |policy| changes(before, policy)),
        findings: checked.findings,
    };
    Ok(page(&Page {
        frame: Frame::new("Check a policy", "/policies", &visitor, desk.clock.now()),
        text,
        found: Some(found),
    }))
}
