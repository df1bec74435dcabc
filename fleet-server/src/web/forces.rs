//! Shell: the update of a gateway, and the orders to force it: their part of a gateway's page.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::NEVER;
use homeward_protocol::release::state::{ForceStanding, Progress};
use homeward_protocol::time::Timestamp;

use super::when::When;
use crate::direct::words;
use crate::force::Kept;
use crate::store::{StoreError, Tx, connections, forces, quiets, updates};

/// Orders on the page.
const MOST: i64 = 20;

/// One order, as it is shown.
pub struct Line {
    kept: Kept,
    now: Timestamp,
}

impl Line {
    /// Its number.
    pub const fn number(&self) -> u64 {
        self.kept.number.0
    }

    /// Who signed it, and why.
    pub fn by(&self) -> String {
        format!(
            "{} and {}: {}",
            self.kept.author, self.kept.reviewer, self.kept.reason
        )
    }

    /// What it overrules.
    pub fn overrules(&self) -> &str {
        &self.kept.overrules
    }

    /// How it stands.
    pub fn said(&self) -> String {
        self.kept.words(self.now)
    }

    /// Since when that is known.
    pub fn since(&self) -> When {
        let at = self
            .kept
            .said
            .as_ref()
            .map_or(self.kept.brought_at, |(_, at)| *at);
        When::new(at, self.now)
    }

    /// When it ends.
    pub fn until(&self) -> When {
        When::new(self.kept.until, self.now)
    }

    /// What it overruled when it was used.
    pub fn overruled(&self) -> Vec<&str> {
        match &self.kept.said {
            Some((ForceStanding::Used(what), _)) => what.iter().map(ShortText::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether something may still become of it.
    pub fn is_live(&self) -> bool {
        let over = self
            .kept
            .said
            .as_ref()
            .is_some_and(|(stands, _)| stands.is_over());
        !over && self.now.ms < self.kept.until.ms
    }
}

/// The update of one gateway.
pub struct Forces {
    /// How it stands with what it shall have; none where nothing is assigned.
    pub update: Option<String>,
    /// Why it waits, as the box said.
    pub waits: Vec<String>,
    /// How it stands to a wish for quiet; none where nobody asked.
    pub quiet: Option<String>,
    /// What else on the box restarts things, as the box said.
    pub beside: Vec<String>,
    /// When the box said that.
    pub said_at: Option<When>,
    lines: Vec<Line>,
}

impl Forces {
    /// Orders, the newest first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What no order does.
    pub const fn never() -> &'static str {
        NEVER
    }

    /// Whether an order may still be used.
    pub fn is_live(&self) -> bool {
        self.lines.iter().any(Line::is_live)
    }
}

/// Of this gateway.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId, now: Timestamp) -> Result<Forces, StoreError> {
    let word = updates::get(tx, gateway)?;
    let said = updates::said(tx, gateway)?;
    let newest = connections::history(tx, gateway, 1)?;
    let here = newest.first().is_some_and(|newest| newest.ended.is_none());
    let state = said.as_ref().map(|said| &said.state);
    let waits = match state.and_then(|state| state.now.as_ref()) {
        Some((_, Progress::Waiting(why))) => why.iter().map(|one| one.as_str().to_owned()).collect(),
        _ => Vec::new(),
    };
    let wish = quiets::get(tx, gateway)?;
    let quiet = wish.and_then(|wish| wish.words(state.and_then(|state| state.quiet), now));
    let all = forces::of(tx, gateway, MOST)?;
    Ok(Forces {
        update: word.as_ref().map(|word| words(word, state, Some(here))),
        waits,
        quiet,
        beside: state
            .iter()
            .flat_map(|state| &state.beside)
            .map(|one| one.as_str().to_owned())
            .collect(),
        said_at: said.as_ref().map(|said| When::new(said.received_at, now)),
        lines: all.into_iter().map(|kept| Line { kept, now }).collect(),
    })
}
