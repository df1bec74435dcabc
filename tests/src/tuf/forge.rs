//! Shell: who signs a test's repository: our own signer, or python-tuf in a process of its own.
#![expect(clippy::disallowed_methods, reason = "shell: starts Python")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::sign::{SPEC_VERSION, SigningKey, Unsigned};
use serde_json::{Value, json};

use crate::shared;

/// A signer: which of the test's keys, of which scheme, under which id its signature stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Which key.
    pub number: u8,
    /// Its scheme, as metadata calls it.
    pub kind: String,
    /// Under which id.
    pub id: String,
}

/// Who makes files.
pub trait Forge {
    /// Schemes that it can sign by.
    fn kinds(&self) -> &'static [&'static str];
    /// The id and the object of a key.
    fn key(&mut self, number: u8, kind: &str) -> (String, Value);
    /// What an empty file of this type says.
    fn blank(&mut self, kind: &str, expires: Timestamp) -> Value;
    /// Signs `doc`.
    fn sign(&mut self, doc: &Value, by: &[By]) -> Vec<u8>;
}

/// Our own signer.
#[derive(Debug, Clone, Copy)]
pub struct Ours;

fn ours(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32]).expect("any seed is a key")
}

impl Forge for Ours {
    fn kinds(&self) -> &'static [&'static str] {
        &["ed25519"]
    }

    fn key(&mut self, number: u8, _: &str) -> (String, Value) {
        let key = ours(number).public();
        (key.id().expect("Ed25519"), key.to_json().expect("Ed25519"))
    }

    fn blank(&mut self, kind: &str, expires: Timestamp) -> Value {
        let mut doc = json!({
            "_type": kind, "spec_version": SPEC_VERSION, "version": 1, "expires": expires.to_string(),
        });
        match kind {
            "root" => {
                let role = json!({ "keyids": [], "threshold": 1 });
                doc["consistent_snapshot"] = true.into();
                doc["keys"] = json!({});
                doc["roles"] = json!({ "root": role, "timestamp": role, "snapshot": role, "targets": role });
            }
            "targets" => doc["targets"] = json!({}),
            "timestamp" => doc["meta"] = json!({ "snapshot.json": { "version": 1 } }),
            _ => doc["meta"] = json!({ "targets.json": { "version": 1 } }),
        }
        doc
    }

    fn sign(&mut self, doc: &Value, by: &[By]) -> Vec<u8> {
        let mut file = Unsigned::new(doc.clone());
        for one in by {
            file.sign_as(&ours(one.number), &one.id).expect("signs");
        }
        file.to_bytes()
    }
}

/// python-tuf.
#[derive(Debug)]
pub struct Python {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Files that python-tuf itself read and wrote.
    pub made: u32,
}

impl Python {
    /// Starts it; `None`, said aloud, where it is not installed.
    ///
    /// # Panics
    /// When it is there and does not start.
    pub fn start() -> Option<Python> {
        let python = python()?;
        let mut child = Command::new(python)
            .arg(shared::workspace().join("tests/peers/tuf_forge.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        Some(Python {
            to: child.stdin.take().expect("piped"),
            from: BufReader::new(child.stdout.take().expect("piped")),
            child,
            made: 0,
        })
    }

    fn ask(&mut self, question: &Value) -> Result<Value, String> {
        writeln!(self.to, "{question}").expect("python listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("python answers");
        let answer: Value = serde_json::from_str(&line).expect("python answers in JSON");
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer),
        }
    }

    /// Lets python-tuf's own client refresh from these files and download a target; gives its bytes.
    pub fn check(
        &mut self,
        root: &[u8],
        files: &std::collections::BTreeMap<String, Vec<u8>>,
        target: &str,
    ) -> Result<Vec<u8>, String> {
        let files: serde_json::Map<String, Value> = files
            .iter()
            .map(|(name, bytes)| (name.clone(), STANDARD.encode(bytes).into()))
            .collect();
        let root = STANDARD.encode(root);
        let answer = self.ask(&json!({ "do": "check", "root": root, "files": files, "target": target }))?;
        Ok(decoded(&answer, "content"))
    }
}

fn decoded(answer: &Value, key: &str) -> Vec<u8> {
    let text = answer[key].as_str().unwrap_or_default();
    STANDARD.decode(text).expect("base64")
}

impl Forge for Python {
    fn kinds(&self) -> &'static [&'static str] {
        &[
            "ed25519",
            "ecdsa-sha2-nistp256",
            "rsassa-pss-sha256",
            "rsa-pkcs1v15-sha256",
        ]
    }

    fn key(&mut self, number: u8, kind: &str) -> (String, Value) {
        let answer = self
            .ask(&json!({ "do": "key", "number": number, "kind": kind }))
            .expect("a key");
        (
            answer["id"].as_str().expect("an id").to_owned(),
            answer["key"].clone(),
        )
    }

    fn blank(&mut self, kind: &str, expires: Timestamp) -> Value {
        let asked = json!({ "do": "blank", "kind": kind, "expires_s": expires.secs() });
        self.ask(&asked).expect("a blank")["doc"].take()
    }

    fn sign(&mut self, doc: &Value, by: &[By]) -> Vec<u8> {
        let by: Vec<Value> = by
            .iter()
            .map(|by| json!({ "number": by.number, "kind": by.kind, "id": by.id }))
            .collect();
        let answer = self
            .ask(&json!({ "do": "sign", "doc": doc, "by": by }))
            .expect("signs");
        self.made += u32::from(answer["by_python_tuf"] == true);
        decoded(&answer, "file")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that has python-tuf, or `None`, said aloud.
fn python() -> Option<PathBuf> {
    let ours = shared::tools().join("venv/bin/python3");
    let usable = |python: &PathBuf| {
        let asked = Command::new(python)
            .args(["-c", "import tuf.ngclient, cryptography"])
            .output();
        asked.is_ok_and(|done| done.status.success())
    };
    let found = [Some(ours), shared::program("python3")]
        .into_iter()
        .flatten()
        .find(usable);
    if found.is_none() {
        shared::missing("python-tuf", "run tests/run --install");
    }
    found
}
