//! Shell: people and programs at the console, by curl: TLS against the fleet's own root, cookies, forms.
#![expect(clippy::disallowed_methods, reason = "shell: starts curl")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::finish;
use crate::programs::fleet::Fleet;
use crate::shared;

/// An answer comes within this on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// What curl is told to put between the page and its status.
const MARK: &str = "\n--status--";

/// A page as it came.
#[derive(Debug, Clone)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// Somebody at a browser without scripts.
#[derive(Debug)]
pub struct Person {
    curl: PathBuf,
    root: PathBuf,
    jar: PathBuf,
    base: String,
}

impl Person {
    /// Somebody who has not signed in; cookies are kept in `folder`. `None`, said aloud, where there is no curl.
    pub fn at(fleet: &Fleet, folder: &Path, name: &str) -> Option<Person> {
        Some(Person {
            curl: shared::debian("curl", "curl")?,
            root: fleet.dir().join("ca/root.crt"),
            jar: folder.join(format!("{name}.cookies")),
            base: format!("https://localhost:{}", fleet.port("console")),
        })
    }

    /// Signs in by the form, as a browser does.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn signed_in(self, name: &str, password: &str) -> Person {
        let form = self.get("/sign-in");
        let csrf = csrf(&form.text);
        let answer = self.post(
            "/sign-in",
            &[("csrf", csrf), ("name", name), ("password", password)],
        );
        assert_eq!(answer.status, 303, "{name} could not sign in: {}", answer.text);
        self
    }

    /// The file in which the cookies are kept.
    pub fn jar(&self) -> &Path {
        &self.jar
    }

    /// Fetches a page.
    pub fn get(&self, path: &str) -> Page {
        self.ask(path, &[])
    }

    /// Fetches an answer of the API with a token.
    pub fn api(&self, path: &str, token: &str) -> Page {
        self.ask(path, &["-H", &format!("Authorization: Bearer {token}")])
    }

    /// Sends a form.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        // Browsers say where a form comes from; without that the server refuses.
        let origin = format!("Origin: {}", self.base);
        let mut args = vec!["-H", origin.as_str()];
        for field in &fields {
            args.extend(["--data-urlencode", field]);
        }
        self.ask(path, &args)
    }

    fn ask(&self, path: &str, args: &[&str]) -> Page {
        let mut curl = Command::new(&self.curl);
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(&self.root);
        curl.arg("-b").arg(&self.jar).arg("-c").arg(&self.jar);
        curl.args(["-w", &format!("{MARK}%{{http_code}}")]).args(args);
        let answer = finish(curl.arg(format!("{}{path}", self.base)), b"", LIMIT).ok();
        let (text, status) = answer.rsplit_once(MARK).expect("curl says the status");
        Page {
            status: status.trim().parse().expect("a status is a number"),
            text: text.to_owned(),
        }
    }
}

/// The token of the first form on a page.
///
/// # Panics
/// When there is none.
pub fn csrf(page: &str) -> &str {
    let (_, rest) = page
        .split_once("name=\"csrf\" value=\"")
        .unwrap_or_else(|| panic!("no form with a token on this page:\n{page}"));
    rest.split('"').next().unwrap_or_default()
}
