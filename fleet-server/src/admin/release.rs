//! Shell: `release …`: drafts, signatures, and the repository that boxes fetch. No server, no data folder, no network.

pub mod dossier;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use homeward_protocol::release::delta::{DELTA_FOLDER, delta_path, is_worth};
use homeward_protocol::release::dossier::DOSSIER_FOLDER;
use homeward_protocol::release::notes::{self, MAX_NOTES, Notes};
use homeward_protocol::release::{
    Custom, DIRECTOR_KEY, Installer, REFERENCE_FOLDER, REFERENCE_KEY, reference_path,
};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::metadata::targets::TargetPath;
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::role::Role;
use homeward_protocol::tuf::sign::{Holders, SigningKey, Unsigned};
use serde_json::{Value, json};

use super::{AdminError, Said, ca, evidence, keys};
use crate::ca::passphrase;
use crate::cli::release::{Add, HolderKey, ReleaseCommand, RootDraft};
use crate::clock::Clock;
use crate::release::folder::{self, Folder, FolderError};
use crate::release::packages::{self, Bundle};
use crate::release::{self, Files, Pin, ReleaseError, words};

impl From<ReleaseError> for AdminError {
    fn from(error: ReleaseError) -> AdminError {
        match error {
            ReleaseError::Asked(why) => AdminError::Asked(why),
            other => AdminError::Found(super::told(&other)),
        }
    }
}

impl From<FolderError> for AdminError {
    fn from(error: FolderError) -> AdminError {
        AdminError::Found(super::told(&error))
    }
}

/// Runs one `release` command.
pub fn run(command: &ReleaseCommand, clock: &Clock) -> Result<Said, AdminError> {
    let now = clock.now();
    match command {
        ReleaseCommand::Keygen { out, passphrase_file } => keygen(out, passphrase_file),
        ReleaseCommand::Root(asked) => root(asked, now),
        ReleaseCommand::Add(asked) => add(asked, now),
        ReleaseCommand::Bundle { out, from, packages } => bundle(out, packages, from),
        ReleaseCommand::Delta {
            folder,
            from,
            to,
            dry_run,
        } => delta(folder, (from, to), *dry_run, now),
        ReleaseCommand::Dossier { document, out } => dossier::make(document, out.as_deref()),
        ReleaseCommand::Remove { folder, path } => remove(folder, path, now),
        ReleaseCommand::Delegate {
            folder,
            name,
            keys,
            threshold,
            patterns,
        } => {
            let holders = holders(keys, threshold.unwrap_or(keys.len()))?;
            edit(folder, now, |draft| {
                Ok(release::delegate(draft, name, &holders, patterns)?)
            })
        }
        ReleaseCommand::Show { folder } => Ok(State::read(folder)?.said()),
        ReleaseCommand::Sign { folder, key, dry_run } => sign(folder, key, *dry_run),
        ReleaseCommand::Merge { folder, copies } => merge(folder, copies),
        ReleaseCommand::Publish { folder, key } => publish(folder, key, now),
    }
}

/// What is published, and what is drafted.
struct State {
    folder: Folder,
    published: Files,
    root: Option<Unsigned>,
    targets: Option<Unsigned>,
    drafts: BTreeMap<String, Unsigned>,
}

impl State {
    fn read(path: &Path) -> Result<State, AdminError> {
        let folder = Folder::at(path);
        let published = folder.published()?;
        let mut drafts = BTreeMap::new();
        for role in folder.drafts()? {
            if let Some(draft) = folder.draft(&role)? {
                release::ids_name_keys(&draft, matches!(role.as_str(), "root" | "targets"))?;
                drafts.insert(role, draft);
            }
        }
        let newest = |role: &Role| newest(&published, role).map(|(_, bytes)| Unsigned::parse(bytes));
        let odd = |_| AdminError::Found("a published file is no metadata".into());
        Ok(State {
            root: newest(&Role::Root).transpose().map_err(odd)?,
            targets: newest(&Role::Targets).transpose().map_err(odd)?,
            folder,
            drafts,
            published,
        })
    }

    fn words(&self) -> Vec<String> {
        let draft = self.drafts.get("root");
        let roots = [self.root.as_ref(), draft];
        let mut said = Vec::new();
        for (role, file) in &self.drafts {
            match role.as_str() {
                "root" => {
                    said.extend(words::root(self.root.as_ref(), file));
                    said.extend(words::signers("root", file, roots));
                }
                "targets" => {
                    said.extend(words::targets(self.targets.as_ref(), file));
                    said.extend(words::signers(
                        "targets",
                        file,
                        [draft.or(self.root.as_ref()), None],
                    ));
                }
                other => {
                    said.extend(words::targets(None, file));
                    said.push(format!("  (by the role {})", words::shown(other)));
                }
            }
        }
        if said.is_empty() {
            said.push("There are no drafts: nothing changes".to_owned());
        }
        said
    }

    fn said(&self) -> Said {
        let words = self.words();
        let signed = |file: &Unsigned| file.signers().map(str::to_owned).collect::<Vec<_>>();
        let drafts: BTreeMap<_, _> = self
            .drafts
            .iter()
            .map(|(role, file)| {
                (
                    role,
                    json!({ "version": release::version(Some(file)), "signed_by": signed(file) }),
                )
            })
            .collect();
        let json = json!({
            "published": {
                "root": release::version(self.root.as_ref()), "targets": release::version(self.targets.as_ref()),
            },
            "drafts": drafts,
            "says": words,
        });
        Said::new(words.join("\n"), &json)
    }
}

/// The newest published file of a role: its version and its bytes.
fn newest<'a>(files: &'a Files, role: &Role) -> Option<(u64, &'a Vec<u8>)> {
    let end = format!(".{}", role.kept_as());
    let versions = files.iter().filter_map(|(name, bytes)| {
        let version = name.strip_suffix(&end)?.parse::<u64>().ok()?;
        Some((version, bytes))
    });
    versions.max_by_key(|(version, _)| *version)
}

fn keygen(out: &Path, passphrase_file: &Path) -> Result<Said, AdminError> {
    let id = folder::keygen(out, &ca::strong(passphrase_file)?)?;
    let public = folder::public_half(out);
    let text = format!(
        "Made the key {}\n  {}  the key, sealed: keep it and its passphrase in different places\n  {}  its public half, \
         for whoever makes the root\n",
        words::short(&id),
        out.display(),
        public.display()
    );
    Ok(Said::new(
        text,
        &json!({ "id": id, "key": out, "public": public }),
    ))
}

fn holders(files: &[PathBuf], threshold: usize) -> Result<Holders, AdminError> {
    let keys = files
        .iter()
        .map(|file| folder::public_key(file))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Holders { keys, threshold })
}

fn root(asked: &RootDraft, now: Timestamp) -> Result<Said, AdminError> {
    let state = State::read(&asked.folder)?;
    let draft = release::draft_root(
        state.root.as_ref(),
        &holders(&asked.root, asked.root_threshold)?,
        &holders(&asked.targets, asked.targets_threshold)?,
        folder::public_key(&asked.online)?,
        now,
    )?;
    state.folder.keep_draft("root", &draft)?;
    Ok(State::read(&asked.folder)?.said())
}

/// Changes the draft of targets; the signatures on it are gone then.
fn edit(
    folder: &Path,
    now: Timestamp,
    change: impl FnOnce(&mut Value) -> Result<(), AdminError>,
) -> Result<Said, AdminError> {
    let mut state = State::read(folder)?;
    let draft = state.drafts.remove("targets");
    let mut signed = release::open_targets(draft, state.targets.as_ref(), now)?;
    change(&mut signed)?;
    state.folder.keep_draft("targets", &Unsigned::new(signed))?;
    Ok(State::read(folder)?.said())
}

fn add(asked: &Add, now: Timestamp) -> Result<Said, AdminError> {
    let wrong = |why: &str| AdminError::Asked(why.to_owned());
    let (path, custom) = if asked.director {
        // Only a key that boxes can use becomes the director's.
        keys::public_key(&asked.file)?;
        (DIRECTOR_KEY.to_owned(), None)
    } else if asked.reference_key {
        keys::public_key(&asked.file)?;
        (REFERENCE_KEY.to_owned(), None)
    } else if asked.reference {
        let signer = measurer(&asked.folder, now)?;
        let (release, _) = evidence::signed_release(&asked.file, &signer)?;
        (reference_path(release.name.as_str()), None)
    } else if asked.dossier {
        let (path, custom) = dossier::target(&asked.file)?;
        (path, Some(custom))
    } else {
        let missing = || wrong("give --path, --installer, --hw, --version and --disruption");
        let custom = Custom {
            installer: asked.installer.ok_or_else(missing)?,
            hw: asked.hw.clone(),
            version: asked.version.ok_or_else(missing)?,
            min_version: asked.min_version,
            disruption: asked.disruption.ok_or_else(missing)?,
            security_floor: asked.security_floor,
        };
        custom.check().map_err(wrong)?;
        (asked.path.clone().ok_or_else(missing)?, Some(custom))
    };
    let path: TargetPath = path.parse().map_err(wrong)?;
    let notes = asked.notes.as_deref().map(notes).transpose()?;
    let is_dossier = custom
        .as_ref()
        .is_some_and(|one| one.installer == Installer::Dossier);
    if (is_dossier || path.as_str().starts_with(DOSSIER_FOLDER)) && !asked.dossier {
        return Err(wrong("that is for dossiers: give --dossier"));
    }
    let ours = asked.director || asked.reference_key || asked.reference;
    if path.as_str() == DIRECTOR_KEY && !ours {
        return Err(wrong("that path is the director's: give --director"));
    }
    if (path.as_str() == REFERENCE_KEY || path.as_str().starts_with(REFERENCE_FOLDER)) && !ours {
        return Err(wrong(
            "that path is for reference values: give --reference-key or --reference",
        ));
    }
    if path.as_str().starts_with(DELTA_FOLDER) {
        return Err(wrong("that path is for deltas: `release delta` makes them"));
    }
    // What no box could install is not signed.
    let apt = custom
        .as_ref()
        .is_some_and(|custom| custom.installer == Installer::Apt);
    let set = apt.then(|| packages::read(&asked.file)).transpose()?;
    let (length, sha256) = Folder::at(&asked.folder).take_in(&asked.file)?;
    if set.as_ref().is_some_and(|set| set.sha256 != sha256) {
        return Err(AdminError::Found("the bundle changed while it was read".into()));
    }
    let said = edit(&asked.folder, now, |draft| {
        Ok(release::put(
            draft,
            path.as_str(),
            length,
            sha256,
            (custom.as_ref(), notes.as_ref()),
        )?)
    })?;
    Ok(match set {
        Some(set) => said.after(&format!("{}: {}", path.as_str().escape_debug(), set.words())),
        None => said,
    })
}

/// What a release means for people, as it was written.
fn notes(from: &Path) -> Result<Notes, AdminError> {
    let text = folder::text(from, MAX_NOTES as u64)?;
    notes::read(&text).map_err(|why| AdminError::Found(format!("{}: {why}", from.display())))
}

fn bundle(out: &Path, files: &[PathBuf], pins: &[Pin]) -> Result<Said, AdminError> {
    let made = packages::make(out, files, pins)?;
    let text = format!("Made {}: {}", out.display(), made.words());
    Ok(Said::new(text, &set(&made)))
}

/// A bundle, for programs.
fn set(bundle: &Bundle) -> Value {
    let one = |one: &homeward_protocol::release::bundle::Package| {
        json!({
            "name": one.name, "version": one.version, "architecture": one.architecture, "from": one.from,
            "bytes": one.length, "sha256": to_hex(&one.sha256()), "scripts": bundle.scripts.get(&one.name),
        })
    };
    let packages: Vec<Value> = bundle.index.packages().iter().map(one).collect();
    json!({
        "bytes": bundle.length, "sha256": to_hex(&bundle.sha256), "forward_only": true, "packages": packages,
    })
}

/// Makes a delta, tries it as a box would, and drafts it.
fn delta(
    folder: &Path,
    (from, to): (&Path, &Path),
    dry_run: bool,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let (old, new) = (folder::build(from)?, folder::build(to)?);
    let path = delta_path(&old.sha256, &new.sha256);
    let mut state = State::read(folder)?;
    let draft = release::open_targets(state.drafts.remove("targets"), state.targets.as_ref(), now)?;
    let Some(version) = release::version_with(&draft, &new.sha256) else {
        let why = format!(
            "the targets hold no release with the bytes of {}: `release add` it first",
            to.display()
        );
        return Err(AdminError::Asked(why));
    };
    let bytes = release::delta(&old.bytes, &new.bytes)?;
    let (saved, whole) = (bytes.len() as u64, new.bytes.len() as u64);
    let says = words::saves(saved, whole);
    if !is_worth(saved, whole) {
        let why = format!("{says}: that is not worth it, and boxes fetch all of {version} as before");
        return Err(AdminError::Found(why));
    }
    let json =
        json!({ "path": path, "version": version, "bytes": saved, "whole_bytes": whole, "dry_run": dry_run });
    if dry_run {
        return Ok(Said::new(
            format!("To {version}: {says}. Nothing is drafted"),
            &json,
        ));
    }
    let (length, sha256) = state.folder.take_in_bytes(&bytes)?;
    edit(folder, now, |draft| {
        Ok(release::put(draft, &path, length, sha256, (None, None))?)
    })?;
    let text =
        format!("To {version}: {says}\nDrafted as {path}; `release show` says all that the drafts change");
    Ok(Said::new(text, &json))
}

/// Whose signature the drafted targets accept on reference values.
fn measurer(folder: &Path, now: Timestamp) -> Result<PublicKey, AdminError> {
    let mut state = State::read(folder)?;
    let draft = state.drafts.remove("targets");
    let signed = release::open_targets(draft, state.targets.as_ref(), now)?;
    let sha256 = release::sha256_of(&signed, REFERENCE_KEY).ok_or_else(|| {
        AdminError::Asked(
            "the targets name nobody who measures: add the key with --reference-key first".into(),
        )
    })?;
    keys::public_key(&state.folder.taken_in(&sha256))
}

fn remove(folder: &Path, path: &str, now: Timestamp) -> Result<Said, AdminError> {
    edit(folder, now, |draft| {
        if release::take(draft, path) {
            return Ok(());
        }
        Err(AdminError::Found(format!("the targets hold no {path}")))
    })
}

fn open(key: &HolderKey) -> Result<SigningKey, AdminError> {
    Ok(folder::open_key(
        &key.key,
        &passphrase::from_file(&key.passphrase_file)?,
    )?)
}

fn sign(folder: &Path, key: &HolderKey, dry_run: bool) -> Result<Said, AdminError> {
    let mut state = State::read(folder)?;
    let key = open(key)?;
    let (published, draft) = (state.root.clone(), state.drafts.get("root").cloned());
    let mut text = state.words();
    let mut signed = Vec::new();
    for (role, file) in &mut state.drafts {
        if !release::may_sign(key.id(), role, published.as_ref(), draft.as_ref()) {
            continue;
        }
        if !dry_run {
            file.sign(&key).map_err(ReleaseError::from)?;
            state.folder.keep_draft(role, file)?;
        }
        signed.push(words::shown(role));
    }
    if signed.is_empty() {
        let why = format!("the key {} may sign none of the drafts", words::short(key.id()));
        return Err(AdminError::Found(why));
    }
    let did = if dry_run { "would sign" } else { "signed" };
    text.push(format!(
        "\nThe key {} {did}: {}",
        words::short(key.id()),
        signed.join(", ")
    ));
    let json = json!({ "key": key.id(), "signed": signed, "dry_run": dry_run, "says": text });
    Ok(Said::new(text.join("\n"), &json))
}

fn merge(folder: &Path, copies: &[PathBuf]) -> Result<Said, AdminError> {
    let mut state = State::read(folder)?;
    for copy in copies {
        for (role, file) in State::read(copy)?.drafts {
            let ours = state.drafts.get_mut(&role);
            let shown = words::shown(&role);
            let ours = ours.ok_or_else(|| AdminError::Found(format!("there is no draft of {shown} here")))?;
            ours.merge(file)
                .map_err(|why| AdminError::Found(format!("{shown} in {}: {why}", copy.display())))?;
            state.folder.keep_draft(&role, ours)?;
        }
    }
    Ok(state.said())
}

fn publish(folder: &Path, key: &HolderKey, now: Timestamp) -> Result<Said, AdminError> {
    let state = State::read(folder)?;
    let online = open(key)?;
    let mut files = state.published.clone();
    let mut new = Files::new();
    let mut drafted = Vec::new();
    for (role, draft) in &state.drafts {
        let (version, role) = (release::version(Some(draft)), role_named(role)?);
        let before = newest(&files, &role).map_or(0, |(version, _)| version);
        if version <= before {
            let why = format!("the draft of {role} is version {version}, and {before} is published");
            return Err(AdminError::Found(why));
        }
        new.insert(role.file(Some(version)), draft.to_bytes());
        drafted.push(role);
    }
    files.extend(new.clone());
    let last = |name: &Role| newest(&state.published, name).map(|(_, bytes)| Unsigned::parse(bytes));
    let odd = |_| AdminError::Found("a published file is no metadata".into());
    let snapshot = last(&Role::Snapshot).transpose().map_err(odd)?;
    // What the snapshot lists: what the last one did, and what is drafted.
    let (mut listed, mut delegated) = (BTreeMap::new(), BTreeMap::new());
    let roles = release::listed_by(snapshot.as_ref());
    for role in roles
        .into_iter()
        .chain(drafted.clone())
        .filter(|role| *role != Role::Root)
    {
        if let Some((version, bytes)) = newest(&files, &role) {
            listed.insert(role.listed(), (version, bytes.clone()));
            delegated.insert(role, bytes.clone());
        }
    }
    drafted.retain(|role| matches!(role, Role::Delegated(_)));
    if !listed.contains_key("targets.json") {
        return Err(AdminError::Found(
            "there are no targets: `release add` puts a file into their draft".into(),
        ));
    }
    let timestamp = state
        .published
        .get("timestamp.json")
        .map(|bytes| Unsigned::parse(bytes));
    let timestamp = timestamp.transpose().map_err(odd)?;
    let finished = release::finish(&listed, (snapshot.as_ref(), timestamp.as_ref()), &online, now)?;
    new.extend(finished);
    files.extend(new.clone());
    // As a box would, before anything is published.
    let client = release::check(&files, now)?;
    release::check_delegated(&client, &delegated, &drafted)?;
    let targets = client
        .trusted()
        .targets()
        .ok_or_else(|| AdminError::Found("no targets are believed".into()))?;
    for (path, target) in &targets.targets {
        let path: TargetPath = path
            .parse()
            .map_err(|why| AdminError::Found(format!("{path}: {why}")))?;
        let sha256 = target.hashes.get_sha256();
        let sha256 = sha256.ok_or_else(|| AdminError::Found(format!("{path} has no SHA-256")))?;
        state.folder.offer(sha256, &target.file(&path, true))?;
    }
    state.folder.publish(&new)?;
    for role in state.drafts.keys() {
        state.folder.drop_draft(role)?;
    }
    let trusted = client.trusted();
    let (root, version) = (trusted.root().head, targets.head);
    let newest = trusted.timestamp().map(|timestamp| timestamp.head);
    let until = newest.map_or(String::new(), |head| {
        format!("; renew the timestamp before {}", head.expires)
    });
    let text = format!(
        "Checked as a box would, and published in {}\n  root {}, good until {}\n  targets {} with {} files, good until {}\n  \
         timestamp {}{until}",
        state.folder.repository().display(),
        root.version,
        root.expires,
        version.version,
        targets.targets.len(),
        version.expires,
        newest.map_or(0, |head| head.version),
    );
    let json = json!({
        "root": root.version, "targets": version.version, "files": targets.targets.len(),
        "timestamp": newest.map(|head| head.version), "expires_ms": newest.map(|head| head.expires.ms),
    });
    Ok(Said::new(text, &json))
}

fn role_named(name: &str) -> Result<Role, AdminError> {
    match name {
        "root" => Ok(Role::Root),
        "targets" => Ok(Role::Targets),
        other => Role::delegated(other)
            .ok_or_else(|| AdminError::Found(format!("`{}` is no role's draft", words::shown(other)))),
    }
}
