//! One repository and one box that updates from it.

use std::collections::BTreeMap;

use homeward_agent::update::tuf::{UpdateError, download, find, refresh, trust};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Client;
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::role::quote;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::disk::Disk;
use super::forge::{By, Forge};
use super::shelf::Shelf;

/// When tests begin.
pub const START: Timestamp = Timestamp::synced(1_800_000_000_000);
/// A day, milliseconds.
pub const DAY: i64 = 86_400_000;
/// The four roles, in the order in which they are published.
pub const TOP: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// A repository, a box, and the day.
pub struct House {
    forge: Box<dyn Forge>,
    /// What each role says now; published or not.
    pub docs: BTreeMap<String, Value>,
    /// Who signs for each role.
    pub signers: BTreeMap<String, Vec<By>>,
    /// The last version of each role that was published.
    published: BTreeMap<String, u64>,
    next_key: u8,
    /// Whether lengths and hashes of metadata are promised.
    pub promises: bool,
    /// The server's folder of metadata.
    pub metadata: Shelf,
    /// The server's folder of targets.
    pub targets: Shelf,
    /// The box's store.
    pub disk: Disk,
    /// The box's folder of targets.
    pub folder: tempfile::TempDir,
    /// The box's day.
    pub now: Timestamp,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House")
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

impl House {
    /// A fresh repository of four roles with a key each, and a box that trusts its first root.
    ///
    /// # Panics
    /// When the box does not take the root.
    pub fn new(forge: Box<dyn Forge>) -> House {
        let mut house = House::bare(forge);
        for role in TOP {
            house.publish(role);
        }
        house.init();
        house
    }

    /// The same, with nothing published yet.
    pub fn bare(mut forge: Box<dyn Forge>) -> House {
        let docs = TOP.map(|role| (role.to_owned(), forge.blank(role, START.plus_ms(30 * DAY))));
        let mut house = House {
            forge,
            docs: docs.into(),
            signers: BTreeMap::new(),
            published: BTreeMap::new(),
            next_key: 100,
            promises: false,
            metadata: Shelf::default(),
            targets: Shelf::default(),
            disk: Disk::default(),
            folder: tempfile::tempdir().expect("a folder"),
            now: START,
        };
        for role in TOP {
            house.new_keys(role, 1, 1);
        }
        house
    }

    /// The box trusts the first root.
    pub fn init(&mut self) {
        self.try_init().expect("the first root vouches for itself");
    }

    /// The same, where it may fail.
    pub fn try_init(&mut self) -> Result<(), UpdateError> {
        let root = self.metadata.get("1.root.json").expect("a root was published");
        trust(&self.disk, &root, self.now)
    }

    /// Who makes the files.
    pub fn forge(&mut self) -> &mut dyn Forge {
        &mut *self.forge
    }

    /// A key of the test by its number.
    pub fn by(&mut self, number: u8, kind: &str) -> By {
        let (id, _) = self.forge.key(number, kind);
        By {
            number,
            kind: kind.to_owned(),
            id,
        }
    }

    /// Lets the root say that these keys sign for a role, so many of them; who does sign stays.
    pub fn name_keys(&mut self, role: &str, numbers: &[u8], threshold: usize) {
        let mut ids = Vec::new();
        for number in numbers {
            let (id, key) = self.forge.key(*number, "ed25519");
            self.docs.get_mut("root").expect("a root")["keys"][&id] = key;
            ids.push(id);
        }
        self.docs.get_mut("root").expect("a root")["roles"][role] =
            json!({ "keyids": ids, "threshold": threshold });
    }

    /// Lets these keys sign for a role from now on.
    pub fn let_sign(&mut self, role: &str, numbers: &[u8]) {
        let by = numbers.iter().map(|number| self.by(*number, "ed25519")).collect();
        self.signers.insert(role.to_owned(), by);
    }

    /// New keys for one of the four roles; all of them sign.
    pub fn new_keys(&mut self, role: &str, count: u8, threshold: usize) -> Vec<u8> {
        let numbers: Vec<u8> = (self.next_key..self.next_key + count).collect();
        self.next_key += count;
        self.name_keys(role, &numbers, threshold);
        self.let_sign(role, &numbers);
        numbers
    }

    /// What a role says.
    pub fn doc(&mut self, role: &str) -> &mut Value {
        self.docs.get_mut(role).expect("a role of this repository")
    }

    /// Its version now.
    pub fn version(&self, role: &str) -> u64 {
        self.docs[role]["version"].as_u64().expect("a version")
    }

    /// Publishes the next version of a role, and writes it into what lists it; gives the file.
    pub fn publish(&mut self, role: &str) -> Vec<u8> {
        if self.published.contains_key(role) {
            let next = self.version(role) + 1;
            self.doc(role)["version"] = next.into();
        }
        self.publish_as_it_is(role)
    }

    /// Publishes a role without a new version.
    pub fn publish_as_it_is(&mut self, role: &str) -> Vec<u8> {
        let bytes = self.signed(role);
        let version = self.version(role);
        self.published.insert(role.to_owned(), version);
        self.offer(role, version, bytes.clone());
        let mut meta = json!({ "version": version });
        if self.promises {
            meta["length"] = bytes.len().into();
            meta["hashes"] = json!({ "sha256": to_hex(digest(&SHA256, &bytes).as_ref()) });
        }
        match role {
            "root" | "timestamp" => {}
            "snapshot" => self.doc("timestamp")["meta"]["snapshot.json"] = meta,
            _ => self.doc("snapshot")["meta"][format!("{role}.json")] = meta,
        }
        bytes
    }

    /// Signs what a role says.
    pub fn signed(&mut self, role: &str) -> Vec<u8> {
        let by = self.signers.get(role).cloned().unwrap_or_default();
        self.forge.sign(&self.docs[role], &by)
    }

    /// Puts a file of a role on the server under the name of a version.
    pub fn offer(&self, role: &str, version: u64, bytes: Vec<u8>) {
        let quoted = quote(role, "");
        let consistent = self.docs["root"]["consistent_snapshot"] == true;
        let name = match role {
            "timestamp" => "timestamp.json".to_owned(),
            "root" => format!("{version}.root.json"),
            _ if consistent => format!("{version}.{quoted}.json"),
            _ => format!("{quoted}.json"),
        };
        self.metadata.put(name, bytes);
    }

    /// Publishes several roles.
    pub fn publish_all(&mut self, roles: &[&str]) {
        for role in roles {
            self.publish(role);
        }
    }

    /// The usual end of a change: the next snapshot and timestamp.
    pub fn publish_rest(&mut self) {
        self.publish_all(&["snapshot", "timestamp"]);
    }

    /// Adds or changes a file in what `role` says; not published yet.
    pub fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        let hash = to_hex(digest(&SHA256, content).as_ref());
        self.doc(role)["targets"][path] = json!({ "length": content.len(), "hashes": { "sha256": hash } });
        self.offer_target(path, &hash, content);
    }

    /// Puts a target on the server under the name with this hash.
    pub fn offer_target(&self, path: &str, hash: &str, content: &[u8]) {
        let name = match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{hash}.{name}"),
            None => format!("{hash}.{path}"),
        };
        self.targets.put(name, content.to_vec());
    }

    /// Hands `paths` to a role with a key of its own; its first version is published, the delegator not yet.
    pub fn delegate(&mut self, by: &str, name: &str, paths: &[&str], terminating: bool) {
        let number = self.next_key;
        self.next_key += 1;
        self.delegate_to(by, name, paths, terminating, &[number]);
        if !self.docs.contains_key(name) {
            let doc = self.forge.blank("targets", START.plus_ms(30 * DAY));
            self.docs.insert(name.to_owned(), doc);
        }
    }

    /// Writes a delegation to these keys, who sign for it from now on beside those who did.
    pub fn delegate_to(&mut self, by: &str, name: &str, paths: &[&str], terminating: bool, numbers: &[u8]) {
        let mut ids = Vec::new();
        for number in numbers {
            let (id, key) = self.forge.key(*number, "ed25519");
            let doc = self.docs.get_mut(by).expect("a delegator");
            if doc.get("delegations").is_none() {
                doc["delegations"] = json!({ "keys": {}, "roles": [] });
            }
            doc["delegations"]["keys"][&id] = key;
            ids.push(id);
        }
        let role = json!({ "name": name, "keyids": ids, "threshold": 1, "terminating": terminating, "paths": paths });
        let roles = self.docs.get_mut(by).expect("a delegator")["delegations"]["roles"].as_array_mut();
        let roles = roles.expect("a list");
        roles.retain(|one| one["name"] != name);
        roles.push(role);
        let added: Vec<By> = numbers.iter().map(|number| self.by(*number, "ed25519")).collect();
        self.signers.entry(name.to_owned()).or_default().extend(added);
    }

    /// The box refreshes.
    pub fn refresh(&self) -> Result<Client, UpdateError> {
        wait(refresh(&&self.metadata, &self.disk, self.now))
    }

    /// The box refreshes and gets a target.
    ///
    /// # Errors
    /// In words, also when nobody speaks of that path.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let said = |error: UpdateError| error.to_string();
        let mut client = self.refresh().map_err(said)?;
        let found = wait(find(&mut client, path.parse()?, &&self.metadata, &self.disk)).map_err(said)?;
        let found = found.ok_or("nobody speaks of it")?;
        let place = self.folder.path().join(quote(path, ""));
        wait(download(&found, &&self.targets, &place)).map_err(said)?;
        self.has(path).ok_or_else(|| "it is not there".to_owned())
    }

    /// The box refreshes once and looks for these, one after the other: whether somebody speaks of each.
    pub fn look(&self, paths: &[&str]) -> Vec<Result<bool, String>> {
        let said = |error: UpdateError| error.to_string();
        let mut client = match self.refresh() {
            Ok(client) => client,
            Err(error) => return vec![Err(said(error))],
        };
        let mut one = |path: &&str| {
            let found = wait(find(&mut client, path.parse()?, &&self.metadata, &self.disk));
            found.map(|found| found.is_some()).map_err(said)
        };
        paths.iter().map(&mut one).collect()
    }

    /// A target that the box has.
    #[expect(clippy::disallowed_methods, reason = "tests: a file")]
    pub fn has(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(quote(path, ""))).ok()
    }

    /// The version that the box believes of a role.
    pub fn believes(&self, role: &str) -> Option<u64> {
        let bytes = self.disk.get(&format!("{}.json", quote(role, "")))?;
        let file: Value = serde_json::from_slice(&bytes).ok()?;
        file["signed"]["version"].as_u64()
    }

    /// What the box believes of the four roles, root first, then timestamp, snapshot, targets; 0 for nothing.
    pub fn all(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"].map(|role| self.believes(role).unwrap_or(0))
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(work)
}
