//! Shell: who makes releases of packages for a box, and what its agent has fetched of them.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_agent::clock::Clock;
use homeward_agent::install::act;
use homeward_agent::interlock::{Interlock, Window};
use homeward_agent::slot::Digest;
use homeward_agent::update::saved::Job;
use homeward_fleet::release::packages::make;
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use ring::digest::{SHA256, digest};

use super::Deb;
use crate::tuf::forge::Ours;
use crate::tuf::house::{House, TOP};

/// Whose keys sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Those that boxes are told to believe.
    Makers,
    /// Others.
    Strangers,
}

/// A repository, and a folder in which packages are made.
#[derive(Debug)]
pub struct Shop {
    /// The repository; its first root is what a box is told to believe.
    pub house: House,
    desk: tempfile::TempDir,
}

impl Shop {
    /// With nothing released yet.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn new() -> Shop {
        let shop = Shop {
            house: house(Keys::Makers),
            desk: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(shop.metadata()).expect("our own folder");
        shop.carry();
        shop
    }

    /// Where packages are made.
    pub fn desk(&self) -> &Path {
        self.desk.path()
    }

    /// What the agent has fetched of the repository.
    pub fn metadata(&self) -> PathBuf {
        self.desk().join("metadata")
    }

    /// The first root.
    pub fn root(&self) -> PathBuf {
        self.metadata().join("1.root.json")
    }

    /// Builds a package.
    pub fn build(&self, deb: Deb<'_>) -> PathBuf {
        deb.build(self.desk())
    }

    /// A release of these packages, signed and fetched; gives its job and where its file lies.
    ///
    /// # Panics
    /// When they make no bundle.
    pub fn release(&mut self, version: &str, disruption: Disruption, debs: &[PathBuf]) -> (Job, PathBuf) {
        let bundle = self.desk().join(format!("{version}.hwb"));
        make(&bundle, debs, &[]).expect("a bundle");
        self.sign(version, disruption, Installer::Apt, &bundle)
    }

    /// The same of any file, for any installer.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn sign(
        &mut self,
        version: &str,
        disruption: Disruption,
        installer: Installer,
        file: &Path,
    ) -> (Job, PathBuf) {
        let custom = Custom {
            installer,
            hw: vec![std::env::consts::ARCH.to_owned()],
            version: version.parse().expect("a version"),
            min_version: None,
            disruption,
            security_floor: Version::ZERO,
        };
        let (path, bytes) = (format!("packages/{version}"), fs::read(file).expect("ours"));
        self.house.add_target("targets", &path, &bytes);
        let said = serde_json::to_value(&custom).expect("JSON");
        self.house.doc("targets")["targets"][&path]["custom"] = said;
        self.house.publish("targets");
        self.house.publish_rest();
        self.carry();
        let sha256 = digest(&SHA256, &bytes).as_ref().try_into().expect("32 bytes");
        let job = Job {
            counter: 1,
            file: path.clone(),
            path,
            length: bytes.len() as u64,
            sha256: Digest(sha256),
            custom,
            not_before: clock().now(),
            deadline: clock().now(),
            delta: None,
        };
        (job, file.to_owned())
    }

    /// The agent fetches what the repository says now.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn carry(&self) {
        self.house.refresh().expect("a repository");
        let kept = self.house.disk.names().into_iter();
        let kept = kept.filter_map(|name| Some((name.clone(), self.house.disk.get(&name)?)));
        let roots = self.house.metadata.all().into_iter();
        for (name, bytes) in kept.chain(roots.filter(|(name, _)| name.ends_with(".root.json"))) {
            fs::write(self.metadata().join(name), bytes).expect("our own folder");
        }
    }
}

impl Default for Shop {
    fn default() -> Shop {
        Shop::new()
    }
}

/// The clock of a box.
pub fn clock() -> Arc<Clock> {
    Arc::new(Clock::with_floor(0))
}

/// A repository that is good for longer than any test will be run.
///
/// # Panics
/// Never: its root vouches for itself.
pub fn house(keys: Keys) -> House {
    let mut house = House::bare(Box::new(Ours));
    for role in TOP.into_iter().filter(|_| keys == Keys::Strangers) {
        house.new_keys(role, 1, 1);
    }
    for role in TOP {
        house.doc(role)["expires"] = "2096-01-01T00:00:00Z".into();
        house.publish(role);
    }
    house.init();
    house
}

/// A permission, as the interlock of a quiet home gives it.
///
/// # Panics
/// Never: the home is quiet.
pub fn window(disruption: Disruption) -> Window {
    let clock = clock();
    let now = clock.uptime();
    let mut home = Interlock::new([], Duration::ZERO, now);
    let _effect = home.hold(&BTreeMap::new(), clock.now(), now);
    let _effect = home.windows(None, clock.now(), now);
    let _effect = home.link(Some(now), now);
    home.begin(act(Installer::Apt, disruption), now)
        .expect("a quiet home")
}
