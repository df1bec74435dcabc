//! Support sessions: the rows behind [`crate::support`].

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::support::{Became, Ended, Moved, Session, SessionNumber, SupportRecord};
use homeward_protocol::time::Timestamp;

use super::care::named;
use super::policies::{signed_number, unsigned};
use super::records::{Origin, word};
use super::{Row, StoreError, Tx, audit, gateways};
use crate::audit::Action;
use crate::device::State;
use crate::support::hub::Used;
use crate::support::{Asked, Kept, next_number};

/// Sessions that are looked after at a time.
const MOST_LIVE: i64 = 10_000;
/// Sessions of one box that only it told of: they are kept so far, and no further.
const MOST_FOREIGN: i64 = 50;
/// Sessions of one box among which the one under way is looked for: what was asked for and lapsed in a day is fewer.
const MOST_RECENT: i64 = 300;
/// A number is a count or a moment: none that a box tells of is further than this above now, milliseconds.
const FAR_MS: i64 = 24 * 3_600_000;
/// No session is longer, its wait for the box included, milliseconds.
const LONGEST_MS: i64 = 24 * 3_600_000;

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asking {
    /// It is asked for; the box is told when it is connected.
    Asked(Session),
    /// Another one is not over yet.
    Busy(SessionNumber),
    /// There is no such gateway, or it is not in service.
    Unknown,
}

/// Asks for a session.
pub fn ask(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    asked: &Asked,
    by: &str,
    now: Timestamp,
) -> Result<Asking, StoreError> {
    gateways::lock(tx, gateway)?;
    let known = gateways::get(tx, gateway)?;
    if known.is_none_or(|known| known.state != State::Enrolled) {
        return Ok(Asking::Unknown);
    }
    let live = under_way(tx, gateway, now)?;
    if let Some(kept) = live.iter().find(|kept| !kept.foreign) {
        return Ok(Asking::Busy(kept.session.session));
    }
    let session = Session {
        session: next_number(highest(tx, gateway, now)?, now),
        ticket: asked.ticket.clone(),
        by: ShortText::cut(by),
        reason: asked.reason.clone(),
        port: asked.port,
        lasts_s: asked.lasts_s,
    };
    insert(tx, gateway, &session, false, now)?;
    let detail = format!(
        "session {}, ticket {}, port {}, {} s: {}",
        session.session,
        session.ticket.as_str(),
        session.port,
        session.lasts_s,
        session.reason.as_str()
    );
    audit::record(tx, now, by, Action::SupportAsked, gateway.as_str(), &detail)?;
    Ok(Asking::Asked(session))
}

/// The highest number that was given, or that a box can have been given by this fleet.
fn highest(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    now: Timestamp,
) -> Result<Option<SessionNumber>, StoreError> {
    let row = tx.row(
        "SELECT number FROM support_sessions WHERE gateway = $1 AND (foreign_here = 0 OR number <= $2)
         ORDER BY number DESC LIMIT 1",
        &[gateway.as_str().into(), now.plus_ms(FAR_MS).ms.into()],
    )?;
    row.map(|row| Ok(SessionNumber(unsigned(&row, 0)?))).transpose()
}

/// The sessions of a gateway that are not over: what its box says is open first, then the newest; what only the box told
/// of comes last.
pub fn under_way(tx: &mut dyn Tx, gateway: &GatewayId, now: Timestamp) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "SELECT gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, end_by, end_at,
           opened_heard, refused, ended_heard, cause, lasted_s, links, in_bytes, out_bytes, through_links, through_in,
           through_out, foreign_here
         FROM support_sessions WHERE gateway = $1 AND live = 1 AND asked_at > $2
         ORDER BY foreign_here, number DESC LIMIT $3";
    let since = now.plus_ms(-LONGEST_MS).ms;
    let rows = tx.rows(SQL, &[gateway.as_str().into(), since.into(), MOST_RECENT.into()])?;
    let all: Result<Vec<Kept>, StoreError> = rows.iter().map(kept).collect();
    let mut all = all?;
    all.retain(|kept| !kept.stands(now).is_over());
    all.sort_by_key(|kept| (kept.foreign, kept.opened_heard.is_none()));
    Ok(all)
}

fn insert(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    session: &Session,
    foreign: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO support_sessions (gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, foreign_here,
           live)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
        &[
            gateway.as_str().into(),
            signed_number(session.session.0).into(),
            session.ticket.as_str().into(),
            session.reason.as_str().into(),
            session.by.as_str().into(),
            i64::from(session.port).into(),
            i64::from(session.lasts_s).into(),
            now.ms.into(),
            i64::from(foreign).into(),
        ],
    )?;
    Ok(())
}

/// Orders the end of what is under way; false when nothing is.
pub fn end(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    reason: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let live = under_way(tx, gateway, now)?;
    for kept in live.iter().filter(|kept| kept.end_asked.is_none()) {
        let number = kept.session.session;
        tx.execute(
            "UPDATE support_sessions SET end_by = $1, end_at = $2 WHERE gateway = $3 AND number = $4",
            &[
                by.into(),
                now.ms.into(),
                gateway.as_str().into(),
                signed_number(number.0).into(),
            ],
        )?;
        let detail = format!("session {number}, {}: {reason}", ticket(kept));
        audit::record(tx, now, by, Action::SupportEndAsked, gateway.as_str(), &detail)?;
    }
    Ok(!live.is_empty())
}

/// Its ticket, and whose word that is.
fn ticket(kept: &Kept) -> String {
    let ticket = kept.session.ticket.as_str();
    if kept.foreign {
        format!("of which only the box told, for ticket {ticket} as it says")
    } else {
        format!("ticket {ticket}")
    }
}

/// The newest sessions of a gateway.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId, limit: i64) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "SELECT gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, end_by, end_at,
           opened_heard, refused, ended_heard, cause, lasted_s, links, in_bytes, out_bytes, through_links, through_in,
           through_out, foreign_here
         FROM support_sessions WHERE gateway = $1 ORDER BY number DESC LIMIT $2";
    let rows = tx.rows(SQL, &[gateway.as_str().into(), limit.into()])?;
    rows.iter().map(kept).collect()
}

/// The newest sessions of all gateways.
pub fn newest(tx: &mut dyn Tx, limit: i64) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "SELECT gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, end_by, end_at,
           opened_heard, refused, ended_heard, cause, lasted_s, links, in_bytes, out_bytes, through_links, through_in,
           through_out, foreign_here
         FROM support_sessions ORDER BY asked_at DESC, gateway LIMIT $1";
    let rows = tx.rows(SQL, &[limit.into()])?;
    rows.iter().map(kept).collect()
}

/// Those that are not over, of gateways in service.
pub fn live(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Kept>, StoreError> {
    const SQL: &str = "SELECT s.gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, end_by, end_at,
           opened_heard, refused, ended_heard, cause, lasted_s, links, in_bytes, out_bytes, through_links, through_in,
           through_out, foreign_here
         FROM support_sessions s JOIN gateways g ON g.id = s.gateway
         WHERE live = 1 AND asked_at > $1 AND g.state = 'enrolled' ORDER BY asked_at DESC LIMIT $2";
    let since = now.plus_ms(-LONGEST_MS).ms;
    let rows = tx.rows(SQL, &[since.into(), MOST_LIVE.into()])?;
    let all: Result<Vec<Kept>, StoreError> = rows.iter().map(kept).collect();
    Ok(all?
        .into_iter()
        .filter(|kept| !kept.stands(now).is_over())
        .collect())
}

/// Takes a box's word of a session. The first word of each kind counts: it may come again.
pub fn take(tx: &mut dyn Tx, at: &Origin<'_>, record: &SupportRecord) -> Result<(), StoreError> {
    let Ok(gateway) = at.gateway.parse::<GatewayId>() else {
        return Ok(());
    };
    let number = signed_number(record.of.session.0);
    let known = one(tx, &gateway, record.of.session)?;
    if known.is_none() {
        // None that this fleet gave: it would stand above all that it gives from now on.
        if number > at.now.plus_ms(FAR_MS).ms {
            return Ok(());
        }
        let row = tx.row(
            "SELECT COUNT(*) FROM support_sessions WHERE gateway = $1 AND foreign_here = 1",
            &[at.gateway.into()],
        )?;
        if row.map_or(Ok(0), |row| row.int(0))? >= MOST_FOREIGN {
            return Ok(());
        }
        insert(tx, &gateway, &record.of, true, at.now)?;
    }
    let (action, what, new) = match record.became {
        Became::Opened => {
            let new = tx.execute(
                "UPDATE support_sessions SET opened_heard = $1
                 WHERE gateway = $2 AND number = $3 AND opened_heard IS NULL",
                &[at.now.ms.into(), at.gateway.into(), number.into()],
            )?;
            (Action::SupportOpened, "opened".to_owned(), new)
        }
        Became::Refused(why) => {
            let new = tx.execute(
                "UPDATE support_sessions SET refused = $1, live = 0
                 WHERE gateway = $2 AND number = $3 AND refused IS NULL AND ended_heard IS NULL",
                &[(&word(&why)).into(), at.gateway.into(), number.into()],
            )?;
            (Action::SupportRefused, format!("refused: {why}"), new)
        }
        Became::Ended(ended) => {
            let count = |of: fn(Moved) -> u64| ended.moved.map(|moved| signed_number(of(moved)));
            let new = tx.execute(
                "UPDATE support_sessions SET ended_heard = $1, cause = $2, lasted_s = $3, links = $4, in_bytes = $5,
                   out_bytes = $6, live = 0
                 WHERE gateway = $7 AND number = $8 AND ended_heard IS NULL",
                &[
                    at.now.ms.into(),
                    (&word(&ended.cause)).into(),
                    ended.lasted_s.map(i64::from).into(),
                    count(|moved| moved.links.into()).into(),
                    count(|moved| moved.in_bytes).into(),
                    count(|moved| moved.out_bytes).into(),
                    at.gateway.into(),
                    number.into(),
                ],
            )?;
            let moved = ended.moved.map_or("amount unknown".to_owned(), |moved| {
                format!("{} bytes in, {} out", moved.in_bytes, moved.out_bytes)
            });
            (
                Action::SupportEnded,
                format!("ended, because {}; {moved}", ended.cause),
                new,
            )
        }
    };
    if new == 0 {
        return Ok(());
    }
    let Some(kept) = one(tx, &gateway, record.of.session)? else {
        return Ok(());
    };
    let detail = format!("session {}, {}: {what}", kept.session.session, ticket(&kept));
    audit::record(tx, at.now, at.gateway, action, at.gateway, &detail)
}

/// One session.
pub fn one(tx: &mut dyn Tx, gateway: &GatewayId, number: SessionNumber) -> Result<Option<Kept>, StoreError> {
    const SQL: &str = "SELECT gateway, number, ticket, reason, asked_by, port, lasts_s, asked_at, end_by, end_at,
           opened_heard, refused, ended_heard, cause, lasted_s, links, in_bytes, out_bytes, through_links, through_in,
           through_out, foreign_here
         FROM support_sessions WHERE gateway = $1 AND number = $2";
    let row = tx.row(SQL, &[gateway.as_str().into(), signed_number(number.0).into()])?;
    row.as_ref().map(kept).transpose()
}

/// Notes that somebody comes through.
pub fn connected(tx: &mut dyn Tx, kept: &Kept, by: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE support_sessions SET through_links = through_links + 1 WHERE gateway = $1 AND number = $2",
        &[
            kept.gateway.as_str().into(),
            signed_number(kept.session.session.0).into(),
        ],
    )?;
    let (session, ticket) = (kept.session.session, kept.session.ticket.as_str());
    let detail = format!("session {session}, ticket {ticket}, port {}", kept.session.port);
    audit::record(
        tx,
        now,
        by,
        Action::SupportConnected,
        kept.gateway.as_str(),
        &detail,
    )
}

/// Notes what went through a connection that is over.
pub fn used(tx: &mut dyn Tx, used: &Used, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE support_sessions SET through_in = through_in + $1, through_out = through_out + $2
         WHERE gateway = $3 AND number = $4",
        &[
            signed_number(used.in_bytes).into(),
            signed_number(used.out_bytes).into(),
            used.gateway.as_str().into(),
            signed_number(used.session.0).into(),
        ],
    )?;
    let detail = format!(
        "session {}: {} bytes in, {} out",
        used.session, used.in_bytes, used.out_bytes
    );
    audit::record(
        tx,
        now,
        &used.by,
        Action::SupportLeft,
        used.gateway.as_str(),
        &detail,
    )
}

/// Notes, of connections whose end nobody saw, that they are over: a server that was killed told of none.
pub fn left_unseen(tx: &mut dyn Tx, now: Timestamp) -> Result<(), StoreError> {
    let row = tx.row(
        "SELECT MIN(asked_at) FROM support_sessions WHERE through_links > 0",
        &[],
    )?;
    let Some(since) = row.map(|row| row.opt_int(0)).transpose()?.flatten() else {
        return Ok(());
    };
    let rows = tx.rows(
        "SELECT subject, actor, action, detail FROM audit
         WHERE at >= $1 AND action IN ('support-connected', 'support-left')",
        &[since.into()],
    )?;
    let mut here: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    for row in &rows {
        let detail = row.text(3)?;
        let session = detail.split([',', ':']).next().unwrap_or_default();
        let key = (
            row.text(0)?.to_owned(),
            row.text(1)?.to_owned(),
            session.to_owned(),
        );
        let came = row.text(2)? == Action::SupportConnected.name();
        *here.entry(key).or_default() += if came { 1 } else { -1 };
    }
    for ((gateway, by, session), count) in here {
        let detail = format!("{session}: amount unknown, the server ended before they did");
        for _ in 0..count {
            audit::record(tx, now, &by, Action::SupportLeft, &gateway, &detail)?;
        }
    }
    Ok(())
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let small = |column| -> Result<u32, StoreError> {
        u32::try_from(row.int(column)?).map_err(|e| row.corrupt(column, e))
    };
    let count = |column: usize| -> Result<Option<u64>, StoreError> {
        let value = row.opt_int(column)?;
        value
            .map(|value| u64::try_from(value).map_err(|e| row.corrupt(column, e)))
            .transpose()
    };
    let moved = match (count(15)?, count(16)?, count(17)?) {
        (Some(links), Some(in_bytes), Some(out_bytes)) => Some(Moved {
            links: u32::try_from(links).unwrap_or(u32::MAX),
            in_bytes,
            out_bytes,
        }),
        _ => None,
    };
    let ended = match row.opt_int(12)? {
        None => None,
        Some(heard) => {
            let ended = Ended {
                cause: named(row, 13)?,
                lasted_s: count(14)?.map(|s| u32::try_from(s).unwrap_or(u32::MAX)),
                moved,
            };
            Some((ended, Timestamp::synced(heard)))
        }
    };
    Ok(Kept {
        gateway: row.parse(0)?,
        session: Session {
            session: SessionNumber(unsigned(row, 1)?),
            ticket: ShortText::cut(row.text(2)?),
            reason: ShortText::cut(row.text(3)?),
            by: ShortText::cut(row.text(4)?),
            port: u16::try_from(row.int(5)?).map_err(|e| row.corrupt(5, e))?,
            lasts_s: small(6)?,
        },
        asked_at: Timestamp::synced(row.int(7)?),
        end_asked: row
            .opt_text(8)?
            .map(str::to_owned)
            .zip(row.opt_int(9)?.map(Timestamp::synced)),
        opened_heard: row.opt_int(10)?.map(Timestamp::synced),
        refused: row.opt_text(11)?.is_some().then(|| named(row, 11)).transpose()?,
        foreign: row.int(21)? == 1,
        ended,
        through: (unsigned(row, 18)?, unsigned(row, 19)?, unsigned(row, 20)?),
    })
}
