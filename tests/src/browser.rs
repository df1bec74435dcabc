//! Shell: looks at pages with a real browser (Debian's Chromium, driven by playwright-core, checked by axe-core).
#![expect(clippy::disallowed_methods, reason = "shell: starts the browser's driver")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::programs::finish;
use crate::shared;

/// A browser and a page on a busy machine.
const LIMIT: Duration = Duration::from_secs(150);

/// What to look at, in one browser session.
#[derive(Debug, Clone, Serialize)]
pub struct Visit {
    /// Where to sign in first: the form's address, and what goes in by field name.
    pub sign_in: Option<SignIn>,
    /// Runs scripts on the pages.
    pub scripts: bool,
    /// The pages.
    pub pages: Vec<Page>,
}

/// A form that lets in.
#[derive(Debug, Clone, Serialize)]
pub struct SignIn {
    /// The form's address.
    pub url: String,
    /// Values by the name of their field.
    pub fields: BTreeMap<String, String>,
}

/// One page to look at.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// Width of the window, CSS pixels.
    pub width: u32,
    /// Laid out as for a printer.
    pub print: bool,
    /// Fills in the first form and sends it, to look at what it answers: values by the name of their field.
    pub form: Option<BTreeMap<String, String>>,
    /// Where to put a picture of the whole page.
    pub picture: Option<PathBuf>,
}

impl Page {
    /// A page at this width on a screen.
    pub fn new(url: impl Into<String>, width: u32) -> Page {
        Page {
            url: url.into(),
            width,
            print: false,
            form: None,
            picture: None,
        }
    }
}

/// What was seen on one page.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// Its address after redirects.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The first heading.
    pub heading: String,
    /// The text a person sees.
    pub text: String,
    /// What axe-core finds against WCAG 2.0 to 2.2 A and AA and its best practices: rule and element.
    /// Empty when the visit ran no scripts: axe is one.
    pub violations: Vec<String>,
    /// What the browser complained of: scripts, content security, missing files.
    pub complaints: Vec<String>,
    /// True when the page is wider than the window.
    pub overflows: bool,
}

/// Looks at the pages, or `None` when there is no browser, said aloud.
///
/// # Panics
/// When the browser is there and fails.
pub fn visit(visit: &Visit) -> Option<Vec<Seen>> {
    let chromium = shared::debian("chromium", "chromium")?;
    let node = shared::debian("node", "nodejs")?;
    let modules = shared::tools().join("node/node_modules");
    if !modules.join("playwright-core").is_dir() || !modules.join("axe-core").is_dir() {
        shared::missing("playwright-core and axe-core", "run tests/run --install");
        return None;
    }
    let mut command = Command::new(node);
    command
        .arg(shared::workspace().join("tests/browser/visit.cjs"))
        .env("NODE_PATH", modules);
    command.env("HOMEWARD_CHROMIUM", chromium);
    let order = serde_json::to_vec(visit).expect("an order is JSON");
    let answer = finish(&mut command, &order, LIMIT).ok();
    Some(serde_json::from_str(&answer).unwrap_or_else(|e| panic!("the browser's answer: {e}\n{answer}")))
}

/// A browser that is led line by line.
#[derive(Debug)]
pub struct Led {
    child: Child,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Led {
    /// Starts a script of `tests/browser`, or `None` when there is no browser, said aloud.
    ///
    /// # Panics
    /// When the browser is there and does not start.
    pub fn start(script: &str) -> Option<Led> {
        let chromium = shared::debian("chromium", "chromium")?;
        let node = shared::debian("node", "nodejs")?;
        let modules = shared::tools().join("node/node_modules");
        if !modules.join("playwright-core").is_dir() {
            shared::missing("playwright-core", "run tests/run --install");
            return None;
        }
        let mut command = Command::new(node);
        command.arg(shared::workspace().join("tests/browser").join(script));
        command
            .env("NODE_PATH", modules)
            .env("HOMEWARD_CHROMIUM", chromium);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Some(Led { child, answers })
    }

    /// Tells it one line.
    ///
    /// # Panics
    /// When the browser has ended.
    pub fn tell(&mut self, line: &str) {
        let pipe = self.child.stdin.as_mut().expect("a pipe");
        writeln!(pipe, "{line}").expect("the browser listens");
    }

    /// Waits for its next word.
    ///
    /// # Panics
    /// When the browser has ended.
    pub fn hear(&mut self) -> String {
        let line = self
            .answers
            .next()
            .expect("the browser ended; see above")
            .expect("a line");
        serde_json::from_str(&line).expect("a text")
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
