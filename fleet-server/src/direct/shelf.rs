//! What is published, as people read it: each release with what it interrupts, whether there is a way back, what it means in
//! plain words, and how far it has come in the fleet.

pub mod read;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::dossier::DOSSIER_FOLDER;
use homeward_protocol::release::notes::{Language, Note, Notes, Reader};
use homeward_protocol::release::state::UpdateState;
use homeward_protocol::release::{Custom, Installer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Client;
use homeward_protocol::tuf::metadata::targets::Target;

use crate::campaign::draft::{Home, runs};

/// What is said wherever a release stands that nothing takes back.
pub const FORWARD_ONLY: &str = "forward only: no automatic return";

/// What a release says to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// Nothing.
    None,
    /// These texts.
    Notes(Notes),
    /// Something that cannot be read.
    Unreadable,
}

/// A release that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its path among the targets.
    pub path: String,
    /// What it is.
    pub custom: Custom,
    /// What it says to people.
    pub words: Words,
}

impl Item {
    /// A target that is software of boxes or a dossier; nothing for keys, deltas and reference values.
    pub fn of(path: &str, target: &Target) -> Option<Item> {
        let custom = Custom::read(target.custom.as_ref()).ok()?;
        // What lies among the dossiers is one, whatever it calls itself.
        let is_dossier = custom.installer == Installer::Dossier;
        if is_dossier != path.starts_with(DOSSIER_FOLDER) {
            return None;
        }
        let words = match Notes::of_target(target.notes.as_ref()) {
            Ok(Some(notes)) => Words::Notes(notes),
            Ok(None) => Words::None,
            Err(_) => Words::Unreadable,
        };
        Some(Item {
            path: path.to_owned(),
            custom,
            words,
        })
    }

    /// The text for a reader in the first of these languages that it has, else in the common one; and its language.
    pub fn note(&self, reader: Reader, wanted: &[Language]) -> Option<(&Language, &Note)> {
        match &self.words {
            Words::Notes(notes) => notes.text(reader, wanted),
            Words::None | Words::Unreadable => None,
        }
    }

    /// All its texts, where it has some.
    pub const fn notes(&self) -> Option<&Notes> {
        match &self.words {
            Words::Notes(notes) => Some(notes),
            Words::None | Words::Unreadable => None,
        }
    }

    /// Whether nothing takes it back.
    pub const fn is_forward_only(&self) -> bool {
        self.custom.installer.is_forward_only()
    }

    /// Whether there is a way back, in a few words.
    pub const fn way_back(&self) -> &'static str {
        match self.custom.installer {
            Installer::AgentSlot | Installer::Rauc => "goes back by itself when it is not well",
            Installer::Apt | Installer::Dossier => FORWARD_ONLY,
        }
    }
}

/// Everything that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// The version of the targets.
    pub targets: u64,
    /// Until when boxes believe them, if nobody renews anything.
    pub until: Option<Timestamp>,
    /// Releases, by installer, the newest first.
    pub items: Vec<Item>,
}

impl Shelf {
    /// What is believed of a repository.
    pub fn of(client: &Client) -> Shelf {
        let trusted = client.trusted();
        let targets = trusted.targets();
        let all = targets.into_iter().flat_map(|targets| targets.targets.iter());
        let mut items: Vec<Item> = all.filter_map(|(path, target)| Item::of(path, target)).collect();
        items.sort_by(|a, b| {
            let by = |item: &Item| (item.custom.installer, std::cmp::Reverse(item.custom.version));
            (by(a), &a.path).cmp(&(by(b), &b.path))
        });
        let heads = [
            Some(trusted.root().head),
            trusted.timestamp().map(|file| file.head),
            targets.map(|targets| targets.head),
        ];
        Shelf {
            targets: targets.map_or(0, |targets| targets.head.version),
            until: heads
                .into_iter()
                .flatten()
                .map(|head| head.expires)
                .min_by_key(|at| at.ms),
            items,
        }
    }

    /// The release at a path.
    pub fn find(&self, path: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.path == path)
    }
}

/// The director's word for a gateway in service, with what the gateway said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which gateway.
    pub gateway: GatewayId,
    /// The path of the release.
    pub path: String,
    /// The number of the word.
    pub counter: u64,
    /// What it said, where it did.
    pub said: Option<UpdateState>,
}

impl Told {
    /// Whether it has not ended yet.
    pub fn is_open(&self) -> bool {
        let ended = self.said.as_ref().and_then(|said| said.ended.as_ref()?.counter);
        ended.is_none_or(|ended| ended < self.counter)
    }
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// So many gateways run it.
    pub runs: usize,
    /// So many were told to take it and have not ended with it.
    pub told: usize,
}

/// How far a release has come. A gateway whose hardware is known counts as running it only when it is for that hardware, and
/// of what is beside the agent only what it told of that installer counts.
pub fn spread(item: &Item, homes: &[Home], told: &[Told]) -> Spread {
    let custom = &item.custom;
    let fits = |home: &Home| home.hardware.as_ref().is_none_or(|hw| custom.hw.contains(hw));
    let tells = |home: &Home| custom.installer == Installer::AgentSlot || !home.installers.is_empty();
    let is_in_place =
        |home: &&Home| fits(home) && tells(home) && runs(home, custom.installer) == Ok(custom.version);
    let is_software = custom.installer != Installer::Dossier;
    let waits = told.iter().filter(|one| one.path == item.path && one.is_open());
    Spread {
        runs: homes.iter().filter(|_| is_software).filter(is_in_place).count(),
        told: waits.count(),
    }
}

#[cfg(test)]
mod tests;
