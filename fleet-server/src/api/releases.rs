//! Shell: releases: what is published, what each means in plain words, and how far it has come.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use homeward_protocol::release::notes::{Notes, Reader};
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::problem::Problem;
use super::shape::moment;
use crate::direct::shelf::{Item, Spread, spread};
use crate::store::campaigns::{self, Listed, fleet};
use crate::store::updates;

/// What a release means for people, each text by its language (BCP 47).
#[derive(Debug, Serialize, ToSchema)]
pub struct NotesShape {
    /// For nurses and whoever looks after boxes.
    staff: BTreeMap<String, String>,
    /// For the people at home.
    patient: BTreeMap<String, String>,
}

impl NotesShape {
    fn of(notes: &Notes) -> NotesShape {
        let texts = |reader| {
            let all = notes.of(reader).iter();
            all.map(|(language, note)| (language.to_string(), note.to_string()))
                .collect()
        };
        NotesShape {
            staff: texts(Reader::Staff),
            patient: texts(Reader::Patient),
        }
    }
}

/// A release.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseShape {
    /// Its path among the targets.
    #[schema(example = "agent/1.4.0")]
    path: String,
    /// Its version.
    #[schema(example = "1.4.0")]
    version: String,
    /// What puts it in place: `agent-slot`, `apt`, `rauc`, or `dossier` for a person.
    installer: &'static str,
    /// Hardware that it is for.
    hardware: Vec<String>,
    /// What has to run before; null for anything.
    min_version: Option<String>,
    /// What it interrupts: `none`, `agent-restart`, `service-restart` or `reboot`.
    disruption: &'static str,
    /// How long that lasts, in plain English.
    lasts: &'static str,
    /// Whether nothing takes it back.
    forward_only: bool,
    /// How many gateways run it.
    runs: usize,
    /// How many are told to take it, and have not ended with it.
    told: usize,
    /// Campaigns that bring it.
    campaigns: Vec<String>,
    /// What it means in plain words; null when it says nothing.
    notes: Option<NotesShape>,
}

impl ReleaseShape {
    fn of(item: &Item, spread: Spread, campaigns: &[Listed]) -> ReleaseShape {
        let custom = &item.custom;
        let bring = campaigns
            .iter()
            .filter(|one| one.head.targets.iter().any(|target| target.path == item.path));
        ReleaseShape {
            path: item.path.clone(),
            version: custom.version.to_string(),
            installer: custom.installer.name(),
            hardware: custom.hw.clone(),
            min_version: custom.min_version.map(|version| version.to_string()),
            disruption: custom.disruption.name(),
            lasts: custom.disruption.lasts(),
            forward_only: item.is_forward_only(),
            runs: spread.runs,
            told: spread.told,
            campaigns: bring.map(|one| one.head.name.to_string()).collect(),
            notes: item.notes().map(NotesShape::of),
        }
    }
}

/// Releases.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleasesShape {
    /// The version of the targets; null when nothing is published or believed.
    targets: Option<u64>,
    /// Until when boxes believe them, if nobody renews anything.
    believed_until: Option<String>,
    /// Why what is published cannot be believed; null when it can, or when nothing is published.
    trouble: Option<String>,
    /// By installer, the newest first.
    releases: Vec<ReleaseShape>,
}

/// What is published.
#[utoipa::path(get, path = "/api/v1/releases", security(("token" = ["fleet:read"])),
    responses((status = 200, body = ReleasesShape), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<ReleasesShape>, Problem> {
    let none = |trouble| ReleasesShape {
        targets: None,
        believed_until: None,
        trouble,
        releases: Vec::new(),
    };
    let shelf = match desk.releases.read(desk.clock.now()).await {
        Ok(Some(shelf)) => shelf,
        Ok(None) => return Ok(Json(none(None))),
        Err(why) => return Ok(Json(none(Some(why)))),
    };
    let (homes, told, all) = desk
        .store
        .read(|tx| Ok((fleet::homes(tx)?, updates::told(tx)?, campaigns::list(tx)?)))
        .await?;
    let one = |item: &Item| ReleaseShape::of(item, spread(item, &homes, &told), &all);
    Ok(Json(ReleasesShape {
        targets: Some(shelf.targets),
        believed_until: shelf.until.map(moment),
        trouble: None,
        releases: shelf.items.iter().map(one).collect(),
    }))
}
