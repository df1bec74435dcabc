//! A document as it stands in the file. What is not named here is not looked at.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct File {
    pub document: Document,
    pub product_tree: Option<Tree>,
    #[serde(default)]
    pub vulnerabilities: Vec<Flaw>,
}

#[derive(Deserialize)]
pub(super) struct Document {
    pub csaf_version: String,
    pub title: String,
    pub publisher: Publisher,
    pub tracking: Tracking,
    pub distribution: Option<Distribution>,
}

#[derive(Deserialize)]
pub(super) struct Publisher {
    pub name: String,
    pub namespace: String,
}

#[derive(Deserialize)]
pub(super) struct Tracking {
    pub id: String,
    pub version: String,
    pub status: String,
    pub current_release_date: String,
}

#[derive(Deserialize)]
pub(super) struct Distribution {
    pub tlp: Option<Tlp>,
}

#[derive(Deserialize)]
pub(super) struct Tlp {
    pub label: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Tree {
    #[serde(default)]
    pub branches: Vec<Branch>,
    #[serde(default)]
    pub full_product_names: Vec<Item>,
    #[serde(default)]
    pub relationships: Vec<Relationship>,
    #[serde(default)]
    pub product_groups: Vec<Group>,
}

#[derive(Deserialize)]
pub(super) struct Branch {
    pub category: String,
    pub name: String,
    pub product: Option<Item>,
    #[serde(default)]
    pub branches: Vec<Branch>,
}

#[derive(Deserialize)]
pub(super) struct Item {
    pub name: String,
    pub product_id: String,
    pub product_identification_helper: Option<Helper>,
}

#[derive(Deserialize, Default)]
pub(super) struct Helper {
    #[serde(default)]
    pub model_numbers: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Relationship {
    pub product_reference: String,
    pub relates_to_product_reference: String,
    pub full_product_name: Item,
}

#[derive(Deserialize)]
pub(super) struct Group {
    pub group_id: String,
    #[serde(default)]
    pub product_ids: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Flaw {
    pub cve: Option<String>,
    pub title: Option<String>,
    #[serde(default)]
    pub ids: Vec<Id>,
    #[serde(default)]
    pub notes: Vec<Note>,
    pub product_status: Option<Status>,
    #[serde(default)]
    pub scores: Vec<Score>,
    #[serde(default)]
    pub remediations: Vec<Remedy>,
}

#[derive(Deserialize)]
pub(super) struct Id {
    pub text: String,
}

#[derive(Deserialize)]
pub(super) struct Note {
    pub category: String,
    pub text: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Status {
    pub known_affected: Vec<String>,
    pub first_affected: Vec<String>,
    pub last_affected: Vec<String>,
    pub under_investigation: Vec<String>,
    pub fixed: Vec<String>,
    pub first_fixed: Vec<String>,
    pub known_not_affected: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Score {
    #[serde(default)]
    pub products: Vec<String>,
    pub cvss_v3: Option<Cvss>,
    pub cvss_v2: Option<Cvss>,
}

#[derive(Deserialize)]
pub(super) struct Cvss {
    #[serde(rename = "baseScore")]
    pub base_score: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Remedy {
    pub category: String,
    #[serde(default)]
    pub details: String,
    #[serde(default)]
    pub product_ids: Vec<String>,
    #[serde(default)]
    pub group_ids: Vec<String>,
}
