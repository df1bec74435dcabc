//! Shell: releases: what is published, what each means in plain words, and how far it has come; and the words for one
//! release's patients, to be printed and handed over.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use homeward_protocol::release::Installer;
use homeward_protocol::release::notes::{Language, Reader};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use super::languages;
use super::rules::Mark;
use super::when::When;
use crate::access::Role;
use crate::campaign::kept::Name;
use crate::care::State as Care;
use crate::direct::shelf::read::Read;
use crate::direct::shelf::{FORWARD_ONLY, Item, Shelf, Spread, Words, spread};
use crate::store::campaigns::{self, fleet};
use crate::store::updates;

/// The heading of the paper for patients, in each language.
const PAPER: [(&str, &str); 6] = [
    ("de", "Eine Verbesserung für die Box bei Ihnen zu Hause"),
    ("en", "An improvement for the box in your home"),
    ("es", "Una mejora para la caja de su casa"),
    ("fr", "Une amélioration pour le boîtier chez vous"),
    ("it", "Un miglioramento per la centralina a casa sua"),
    ("nl", "Een verbetering voor het kastje bij u thuis"),
];

/// A text, and the language that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The language's tag.
    pub language: String,
    /// The text.
    pub text: String,
}

/// A release where something is to be decided about it, or waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// What it interrupts; nothing where it is not published any more.
    pub interrupts: Option<&'static str>,
    /// That there is no way back, where there is none.
    pub forward_only: Option<Mark>,
    /// What it means, for staff.
    pub note: Option<Text>,
}

impl Brought {
    /// The release at a path, as far as what is published says.
    pub fn of(path: &str, version: &str, read: &Read, wanted: &[Language]) -> Brought {
        let shelf = read.as_ref().ok().and_then(Option::as_ref);
        let item = shelf.and_then(|shelf| shelf.find(path));
        Brought {
            path: path.to_owned(),
            version: version.to_owned(),
            interrupts: item.map(|item| item.custom.disruption.words()),
            forward_only: item.filter(|item| item.is_forward_only()).map(back),
            note: item.and_then(|item| text(item, Reader::Staff, wanted)),
        }
    }

    /// Whether there is a page with its words.
    pub const fn is_published(&self) -> bool {
        self.interrupts.is_some()
    }
}

/// Whether there is a way back: a shape and its words.
fn back(item: &Item) -> Mark {
    if item.is_forward_only() {
        Mark::new(Care::CheckToday, FORWARD_ONLY)
    } else {
        Mark::new(Care::AllWorking, item.way_back())
    }
}

fn text(item: &Item, reader: Reader, wanted: &[Language]) -> Option<Text> {
    let (language, note) = item.note(reader, wanted)?;
    Some(Text {
        language: language.to_string(),
        text: note.to_string(),
    })
}

/// One release in the list.
struct Row {
    item: Item,
    staff: Option<Text>,
    patient: Option<Text>,
    /// How far it has come, and the campaigns that bring it; only for who sees the whole fleet.
    fleet: Option<(Spread, Vec<Name>)>,
}

impl Row {
    fn back(&self) -> Mark {
        back(&self.item)
    }

    const fn is_dossier(&self) -> bool {
        matches!(self.item.custom.installer, Installer::Dossier)
    }

    const fn is_unreadable(&self) -> bool {
        matches!(self.item.words, Words::Unreadable)
    }

    fn hardware(&self) -> String {
        self.item.custom.hw.join(", ")
    }
}

#[derive(Template)]
#[template(path = "releases.html")]
struct Page {
    frame: Frame,
    /// Why nothing can be believed.
    trouble: Option<String>,
    /// Until when boxes believe what is published.
    until: Option<When>,
    rows: Vec<Row>,
}

impl Page {
    fn heading(&self) -> String {
        match self.rows.len() {
            0 => "No release is published".to_owned(),
            1 => "1 release is published".to_owned(),
            n => format!("{n} releases are published"),
        }
    }

    fn is_operator(&self) -> bool {
        self.frame
            .visitor
            .as_ref()
            .is_some_and(|visitor| visitor.role == Role::Operator)
    }
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (now, wanted) = (desk.clock.now(), languages::wanted(&headers, None));
    let (shelf, trouble) = match desk.releases.read(now).await {
        Ok(shelf) => (shelf, None),
        Err(why) => (None, Some(why)),
    };
    let until = shelf.as_ref().and_then(|shelf| shelf.until);
    Ok(page(&Page {
        trouble,
        until: until.map(|until| When::new(until, now)),
        rows: rows(&desk, &visitor, shelf, &wanted).await?,
        frame: Frame::new("Releases", "/releases", &visitor, now),
    }))
}

async fn rows(
    desk: &Desk,
    visitor: &Visitor,
    shelf: Option<Arc<Shelf>>,
    wanted: &[Language],
) -> Result<Vec<Row>, Failure> {
    let Some(shelf) = shelf else { return Ok(Vec::new()) };
    let fleet = if visitor.role == Role::Operator {
        let read =
            |tx: &mut dyn crate::store::Tx| Ok((fleet::homes(tx)?, updates::told(tx)?, campaigns::list(tx)?));
        Some(desk.store.read(read).await?)
    } else {
        None
    };
    let row = |item: &Item| Row {
        staff: text(item, Reader::Staff, wanted),
        patient: text(item, Reader::Patient, wanted),
        fleet: fleet.as_ref().map(|(homes, told, all)| {
            let bring = all
                .iter()
                .filter(|one| one.head.targets.iter().any(|target| target.path == item.path));
            let names = bring.map(|one| one.head.name.clone()).collect();
            (spread(item, homes, told), names)
        }),
        item: item.clone(),
    };
    Ok(shelf.items.iter().map(row).collect())
}

/// Which release, and in which language.
#[derive(Deserialize)]
pub struct Which {
    path: String,
    lang: Option<String>,
}

#[derive(Template)]
#[template(path = "release_note.html")]
struct Paper {
    frame: Frame,
    item: Item,
    heading: &'static str,
    /// The heading's own language.
    heading_in: &'static str,
    staff: Option<Text>,
    patient: Option<Text>,
    /// The languages that there are texts for patients in: tag and own name.
    languages: Vec<(String, String)>,
}

impl Paper {
    fn back(&self) -> Mark {
        back(&self.item)
    }
}

/// What one release means: for staff on the screen, and for patients on paper.
pub async fn note(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let shelf = desk.releases.read(now).await.map_err(Failure::Refused)?;
    let item = shelf.as_ref().and_then(|shelf| shelf.find(&which.path));
    let item = item.cloned().ok_or(Failure::NothingHere)?;
    let own = languages::wanted(&headers, None);
    let asked = languages::wanted(&headers, which.lang.as_deref());
    let patient = text(&item, Reader::Patient, &asked);
    let tag = patient.as_ref().map_or("en", |text| text.language.as_str());
    let heading = PAPER.iter().find(|(language, _)| *language == tag);
    let (heading_in, heading) = heading.copied().unwrap_or(("en", PAPER[1].1));
    let notes = item.notes().map(|notes| notes.of(Reader::Patient));
    let languages = notes.into_iter().flat_map(|texts| texts.keys());
    let languages = languages.map(|one| (one.to_string(), one.own_name().to_owned()));
    Ok(page(&Paper {
        frame: Frame::new("Release", "/releases", &visitor, now),
        heading,
        heading_in,
        staff: text(&item, Reader::Staff, &own),
        patient,
        languages: languages.collect(),
        item,
    }))
}
