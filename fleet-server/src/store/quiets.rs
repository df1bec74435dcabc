//! Wishes that homes are not disturbed, and the words that end them.

use std::time::Duration;

use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::posture::ShortText;
use homeward_protocol::quiet::{LONGEST, QuietOrder};
use homeward_protocol::time::Timestamp;

use super::care::placements;
use super::{Row, StoreError, Tx, audit, gateways, updates};
use crate::access::Sight;
use crate::audit::Action;
use crate::device::State;
use crate::policy::contain::next_number;
use crate::quiet::{Stands, Wish};

/// Most wishes that are read.
const MOST: i64 = 1_000_000;

/// Wishes quiet for so long; none ends it. The newest wish of a gateway takes the place of the one before. Nothing where there
/// is no such gateway in service, or no quiet to end.
///
/// # Errors
/// When the store fails.
pub fn order(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    length: Option<Duration>,
    (reason, by): (&str, &str),
    now: Timestamp,
) -> Result<Option<Wish>, StoreError> {
    let known = gateways::get(tx, gateway)?;
    if known.is_none_or(|known| known.state == State::Revoked) {
        return Ok(None);
    }
    let before = get(tx, gateway)?;
    let stands = before.as_ref().is_some_and(|wish| wish.until.ms > now.ms);
    if length.is_none() && !stands {
        return Ok(None);
    }
    let said = updates::said(tx, gateway)?.and_then(|said| said.state.quiet);
    let ms = length.map_or(0, |length| length.min(LONGEST).as_millis());
    let wish = Wish {
        number: next_number(before.map(|wish| wish.number), said, now),
        until: now.plus_ms(i64::try_from(ms).unwrap_or(0)),
        reason: reason.to_owned(),
        at: now,
        by: by.to_owned(),
    };
    tx.execute(
        "INSERT INTO quiets (gateway, number, until, reason, ordered_at, ordered_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gateway) DO UPDATE SET number = excluded.number, until = excluded.until,
             reason = excluded.reason, ordered_at = excluded.ordered_at, ordered_by = excluded.ordered_by",
        &[
            gateway.as_str().into(),
            i64::try_from(wish.number).unwrap_or(i64::MAX).into(),
            wish.until.ms.into(),
            reason.into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let action = match length {
        Some(_) => Action::QuietWished,
        None => Action::QuietEnded,
    };
    let words = match length {
        Some(_) => format!("until {}: {reason}", wish.until),
        None => reason.to_owned(),
    };
    audit::record(tx, now, by, action, gateway.as_str(), &words)?;
    Ok(Some(wish))
}

/// The newest about a gateway.
///
/// # Errors
/// When the store fails.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Wish>, StoreError> {
    let sql = "SELECT gateway, number, until, reason, ordered_at, ordered_by FROM quiets WHERE gateway = $1";
    let row = tx.row(sql, &[gateway.as_str().into()])?;
    row.as_ref().map(|row| Ok(wish(row)?.1)).transpose()
}

/// One box of a home, and the newest wish about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boxed {
    /// Which.
    pub gateway: GatewayId,
    /// The newest wish.
    pub wish: Option<Wish>,
    /// The number that the box named last.
    pub named: Option<u64>,
}

/// The boxes in service of a home; none where this person does not see it.
///
/// # Errors
/// When the store fails.
pub fn at(tx: &mut dyn Tx, home: &PlacementId, sight: &Sight) -> Result<Option<Vec<Boxed>>, StoreError> {
    if !placements(tx, sight)?.iter().any(|one| one.id == *home) {
        return Ok(None);
    }
    let sql = "SELECT id FROM gateways WHERE placement = $1 AND state <> 'revoked' ORDER BY id";
    let mut all = Vec::new();
    for row in &tx.rows(sql, &[home.as_str().into()])? {
        all.push(boxed(tx, row.parse(0)?)?);
    }
    Ok(Some(all))
}

/// One box; none where nobody knows it.
///
/// # Errors
/// When the store fails.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Boxed>, StoreError> {
    if gateways::get(tx, gateway)?.is_none() {
        return Ok(None);
    }
    boxed(tx, gateway.clone()).map(Some)
}

fn boxed(tx: &mut dyn Tx, gateway: GatewayId) -> Result<Boxed, StoreError> {
    let named = updates::said(tx, &gateway)?.and_then(|said| said.state.quiet);
    let wish = get(tx, &gateway)?;
    Ok(Boxed { gateway, wish, named })
}

impl Boxed {
    /// How it stands.
    pub fn stands(&self, now: Timestamp) -> Stands {
        let wish = self.wish.as_ref();
        wish.map_or(Stands::None, |wish| wish.stands(self.named, now))
    }

    /// In one sentence for people; nothing where nobody wishes quiet.
    pub fn words(&self, now: Timestamp) -> Option<String> {
        self.wish.as_ref()?.words(self.named, now)
    }
}

/// Those that their gateways have not named, as they are said at `now`. One that ended before it was heard is said as ended; one
/// that ended longer ago than any lasts is over at its box, too, and not read any more.
///
/// # Errors
/// When the store fails.
pub fn waiting(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<(GatewayId, u64, Vec<u8>)>, StoreError> {
    let sql = "SELECT gateway, number, until, reason, ordered_at, ordered_by FROM quiets WHERE until > $1
               ORDER BY gateway LIMIT $2";
    let since = now
        .ms
        .saturating_sub(i64::try_from(LONGEST.as_millis()).unwrap_or(i64::MAX));
    let mut all = Vec::new();
    for row in &tx.rows(sql, &[since.into(), MOST.into()])? {
        let (gateway, wish) = wish(row)?;
        let said = updates::said(tx, &gateway)?.and_then(|said| said.state.quiet);
        if said == Some(wish.number) {
            continue;
        }
        let order = QuietOrder {
            order: wish.number,
            left_s: u32::try_from(now.age(wish.until).as_secs()).unwrap_or(u32::MAX),
            by: ShortText::cut(&wish.by),
            reason: ShortText::cut(&wish.reason),
        };
        // A name and a reason are cut to what fits into it.
        let bytes = order.encode().map_err(|e| row.corrupt(3, e))?;
        all.push((gateway, wish.number, bytes));
    }
    Ok(all)
}

fn wish(row: &Row) -> Result<(GatewayId, Wish), StoreError> {
    let number = row.int(1)?;
    let wish = Wish {
        number: u64::try_from(number).map_err(|e| row.corrupt(1, e))?,
        until: Timestamp::synced(row.int(2)?),
        reason: row.text(3)?.to_owned(),
        at: Timestamp::synced(row.int(4)?),
        by: row.text(5)?.to_owned(),
    };
    Ok((row.parse(0)?, wish))
}
