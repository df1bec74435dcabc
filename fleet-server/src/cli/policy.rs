//! What can be asked about policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use homeward_protocol::id::{GatewayId, GroupId};

/// Policies. The first eight commands need no data folder and no server: they belong on the machines of the people who
/// write, review and vouch.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Make the key of an author or a reviewer, and its public half beside it.
    #[command(
        after_help = "Example:\n  homeward-fleet policy keygen --out ann.key --passphrase-file passphrase.txt"
    )]
    Keygen(Keygen),
    /// Name who may write and review policies; signed by a key of the fleet's roots, away from the server.
    #[command(
        after_help = "Example:\n  homeward-fleet policy keyring --author \"Ann Smith=ann.pub\" --reviewer \"Ben \
                            Okafor=ben.pub\" --days 365 --root-key /media/key/root-1.key --out keyring.txt\n\nBoxes \
                            take no keyring with a lower number than one that they have seen: name everybody again, \
                            and give --after the one before."
    )]
    Keyring(KeyringMake),
    /// Check a document: what is wrong with it, and where.
    #[command(
        after_help = "Example:\n  homeward-fleet policy check homes.toml\n\nExit code: 0 when it can be signed, also \
                            with warnings; 1 when it cannot."
    )]
    Check {
        /// The document, TOML.
        file: PathBuf,
    },
    /// Say in plain words what changes from one policy to another.
    #[command(after_help = "Example:\n  homeward-fleet policy diff homes-6.txt homes.toml")]
    Diff {
        /// The one before: a document or what was signed.
        before: PathBuf,
        /// The one after.
        after: PathBuf,
    },
    /// Show what a signed policy wants, point by point, and who stands behind it.
    #[command(after_help = "Example:\n  homeward-fleet policy show homes-7.txt --roots fleet-roots.pem")]
    Show {
        /// What was signed.
        file: PathBuf,
        /// The fleet's roots (PEM), from a source that you trust. Without them nobody vouches for the keyring.
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
    },
    /// Sign a document as its author.
    #[command(
        after_help = "Examples:\n  homeward-fleet policy sign homes.toml --key ann.key --keyring keyring.txt --out \
                            homes-7.txt\n  homeward-fleet policy sign policy-7.toml --digest 4f0a19c2 --key ann.key \
                            --keyring keyring.txt --out policy-7-signed.txt\n\nA draft that was reviewed on the console \
                            is downloaded there; its page says the digest to give."
    )]
    Sign(Sign),
    /// Sign as the second person that you read exactly this policy.
    #[command(
        after_help = "Example:\n  homeward-fleet policy review homes-7.txt --before homes-6.txt --key ben.key --digest \
                            4f0a19c2 --out homes-7-reviewed.txt\n\nWithout --digest it only shows what changes, and \
                            the digest to give."
    )]
    Review(Review),
    /// Print the JSON Schema of the document, for editors.
    #[command(after_help = "Example:\n  homeward-fleet policy schema > homeward-policy.schema.json")]
    Schema,
    /// Take a signed and reviewed policy, or a newer keyring, into the data folder. Nobody gets it yet.
    #[command(after_help = "Example:\n  homeward-fleet --data DIR policy load homes-7-reviewed.txt")]
    Load {
        /// What was signed.
        file: PathBuf,
    },
    /// List what is loaded.
    List,
    /// Give a policy to a gateway, a group, or all. Connected boxes get it within seconds, others when they come back.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR policy assign 7 --group ring-1 --dry-run\n  \
                            homeward-fleet --data DIR policy assign 7 --group ring-1\n  homeward-fleet --data DIR \
                            policy assign 7 --all\n\nBoxes never go back to a lower number: to undo, sign the text of \
                            before under the next one."
    )]
    Assign(Assign),
    /// Offer a policy no more. Boxes that took it keep it until they get a newer one.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR policy withdraw 7 --reason \"cuts off the time source\""
    )]
    Withdraw {
        /// Its number.
        version: u64,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show how far policies have come: wanted, applied, observed; and which boxes are not in line.
    #[command(
        after_help = "Examples:\n  homeward-fleet --data DIR policy status\n  homeward-fleet --data DIR policy status \
                            --gateway gw-7f3k2m9xqa\n  homeward-fleet --data DIR policy status --point \
                            sshd/password-login"
    )]
    Status(Status),
}

/// A new key.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("seal").args(["passphrase_file", "in_the_clear"]).required(true))]
pub struct Keygen {
    /// A file that does not exist yet; the public half gets the ending `.pub`.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Seal it by the passphrase in the first line of this file, 12 characters or more.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Do not seal it: whoever reads the file can sign.
    #[arg(long)]
    pub in_the_clear: bool,
}

/// A person of a keyring, as `NAME=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose key it is.
    pub name: String,
    /// The public key, PEM.
    pub file: PathBuf,
}

/// Reads `NAME=FILE`.
fn person(text: &str) -> Result<Person, String> {
    let wrong = || "a person is given as NAME=FILE, with the file of the public key".to_owned();
    let (name, file) = text.split_once('=').ok_or_else(wrong)?;
    if name.trim().is_empty() || file.is_empty() {
        return Err(wrong());
    }
    Ok(Person {
        name: name.trim().to_owned(),
        file: PathBuf::from(file),
    })
}

/// A new keyring.
#[derive(Debug, Args)]
pub struct KeyringMake {
    /// Who may write policies.
    #[arg(long = "author", value_name = "NAME=FILE", required = true, value_parser = person)]
    pub authors: Vec<Person>,
    /// Who may review them. Nobody reviews their own.
    #[arg(long = "reviewer", value_name = "NAME=FILE", value_parser = person)]
    pub reviewers: Vec<Person>,
    /// No review is asked for: for a house of one person.
    #[arg(long)]
    pub single_person: bool,
    /// Days until it expires, 1 to 3660. After that boxes take no further policy by it.
    #[arg(long, default_value_t = 366, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub days: u16,
    /// The keyring before; the new one gets the next number. Without it: number 1.
    #[arg(long, value_name = "FILE")]
    pub after: Option<PathBuf>,
    /// The file with the key of a root of the fleet.
    #[arg(long, value_name = "FILE")]
    pub root_key: PathBuf,
    /// The file with the passphrase that opens it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What an author signs.
#[derive(Debug, Args)]
pub struct Sign {
    /// The document, TOML.
    pub file: PathBuf,
    /// The author's key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The file with the passphrase that opens it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The keyring that names the author.
    #[arg(long, value_name = "FILE")]
    pub keyring: PathBuf,
    /// The first 8 or more digits of the SHA-256 of the document that was reviewed: nothing else is signed.
    #[arg(long, value_name = "HEX")]
    pub digest: Option<String>,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What a reviewer signs.
#[derive(Debug, Args)]
pub struct Review {
    /// What the author signed.
    pub file: PathBuf,
    /// The policy that it follows: what changes is shown.
    #[arg(long, value_name = "FILE")]
    pub before: Option<PathBuf>,
    /// The reviewer's key.
    #[arg(long, value_name = "FILE", requires_all = ["digest", "out"])]
    pub key: Option<PathBuf>,
    /// The file with the passphrase that opens it.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The first 8 or more digits of the digest of what was read: nothing else is signed.
    #[arg(long, value_name = "HEX", requires = "key")]
    pub digest: Option<String>,
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub out: Option<PathBuf>,
}

/// Who gets a policy.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("to").args(["all", "groups", "gateways"]).required(true))]
pub struct Assign {
    /// Its number.
    pub version: u64,
    /// Every gateway, also those that are let in later.
    #[arg(long)]
    pub all: bool,
    /// A group or ring, also whoever joins it later; may stand more than once.
    #[arg(long = "group", value_name = "ID")]
    pub groups: Vec<GroupId>,
    /// One gateway; may stand more than once.
    #[arg(long = "gateway", value_name = "ID")]
    pub gateways: Vec<GatewayId>,
    /// Say what would change on how many boxes, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to show.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["gateway", "point"]))]
pub struct Status {
    /// One gateway, rule by rule.
    #[arg(long, value_name = "ID")]
    pub gateway: Option<GatewayId>,
    /// The boxes that do not meet this point, and since when.
    #[arg(long, value_name = "POINT")]
    pub point: Option<String>,
}

/// Groups of gateways: rings of a roll-out, wards, kinds of boxes.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups and how many gateways each has; of one group, its gateways.
    List {
        /// Which.
        group: Option<GroupId>,
    },
    /// Put gateways into a group, which comes to be with the first. The policy that the group has is theirs, too.
    #[command(
        after_help = "Example:\n  homeward-fleet --data DIR group add ring-1 gw-7f3k2m9xqa gw-2c8w5tz0pe"
    )]
    Add {
        /// Which.
        group: GroupId,
        /// Who.
        #[arg(required = true)]
        gateways: Vec<GatewayId>,
    },
    /// Take gateways out of a group. What they have taken they keep.
    Remove {
        /// Which.
        group: GroupId,
        /// Who.
        #[arg(required = true)]
        gateways: Vec<GatewayId>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_a_name_and_a_file() {
        let ann = person("Ann Smith=keys/ann.pub").expect("a person");
        assert_eq!(
            (ann.name.as_str(), ann.file),
            ("Ann Smith", "keys/ann.pub".into())
        );
        for bad in ["", "ann.pub", "=ann.pub", "Ann="] {
            assert!(person(bad).is_err(), "{bad}");
        }
    }
}
