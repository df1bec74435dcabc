//! Support sessions: what is asked of a box, how that stands, and what it is told.
//!
//! A person asks, bound to a ticket ([`Asked`]); the box is told while it has not said that it heard; what became of it is
//! what the box says in records that it signs. The box is who decides and ends: what stands here follows.
//!
//! # Design
//! - What was asked lapses when the box did not hear of it in [`LAPSE_MS`]: nobody is let in hours later, when nobody waits.
//! - How a session stands is computed from what was asked, what the box said, and the time ([`Kept::stands`]). A server
//!   that lay still finds the same.
//! - What goes through is the far ends' own: ssh is encrypted from end to end, and recorded by its amount.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::support::{
    EndCause, Ended, MAX_LASTS_S, MIN_LASTS_S, Refusal, Session, SessionNumber, SupportOrder,
};
use homeward_protocol::time::Timestamp;

pub mod hub;
pub mod link;
pub mod serve;
pub mod words;

/// The box must have heard of it by then, milliseconds after it was asked for.
pub const LAPSE_MS: i64 = 10 * 60_000;
/// What is not heard is said again after so long, milliseconds.
const AGAIN_MS: i64 = 10_000;
/// How much later than by our clock a box's own may end a session, milliseconds: what an order may have been under way.
const LATE_MS: i64 = 60_000;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The ticket.
    pub ticket: ShortText,
    /// Why.
    pub reason: ShortText,
    /// The port of the box.
    pub port: u16,
    /// How long, seconds.
    pub lasts_s: u32,
}

/// Why it cannot be asked for like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No ticket.
    #[error("a support session is bound to a ticket: say which, in at most 128 bytes")]
    Ticket,
    /// No reason.
    #[error(
        "a reason is needed, in at most 128 bytes: it stands in the audit trail, and is shown at the box"
    )]
    Reason,
    /// Port 0.
    #[error("the port is one of the box, 1 to 65535; ssh has 22")]
    Port,
    /// Too long, or too short.
    #[error("a session lasts 1 to 480 minutes; the box's policy may allow less")]
    Lasts,
}

impl Asked {
    /// Checks what was given.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn new(ticket: &str, reason: &str, port: u16, lasts_s: u32) -> Result<Asked, AskError> {
        let text = |text: &str| {
            let cut = ShortText::cut(text.trim());
            (!cut.as_str().is_empty() && cut.as_str() == text.trim()).then_some(cut)
        };
        if port == 0 {
            return Err(AskError::Port);
        }
        if !(MIN_LASTS_S..=MAX_LASTS_S).contains(&lasts_s) {
            return Err(AskError::Lasts);
        }
        Ok(Asked {
            ticket: text(ticket).ok_or(AskError::Ticket)?,
            reason: text(reason).ok_or(AskError::Reason)?,
            port,
            lasts_s,
        })
    }
}

/// What is kept of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of which box.
    pub gateway: GatewayId,
    /// As it was asked for.
    pub session: Session,
    /// When, by the server's clock.
    pub asked_at: Timestamp,
    /// Only the box told of it: who, why and for which ticket is its word, and nobody here asked.
    pub foreign: bool,
    /// Who wants it ended, and when it was said.
    pub end_asked: Option<(String, Timestamp)>,
    /// When the server heard that the box opened it.
    pub opened_heard: Option<Timestamp>,
    /// Why the box did not open it.
    pub refused: Option<Refusal>,
    /// How it ended, as the box says, and when the server heard so.
    pub ended: Option<(Ended, Timestamp)>,
    /// How often somebody came through this server, and what went through there: from the far end, from the box.
    pub through: (u64, u64, u64),
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// The box has not said that it heard.
    Asked,
    /// It did not hear in time.
    Lapsed,
    /// It refused.
    Refused(Refusal),
    /// It is open, until then at the latest.
    Open(Timestamp),
    /// Its end is ordered; the box has not said that it ended.
    Ending,
    /// Its time is over by the box's own clock; the box's record has not come.
    Over,
    /// It ended.
    Ended(EndCause),
}

impl Stands {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Stands::Asked => "asked",
            Stands::Lapsed => "lapsed",
            Stands::Refused(_) => "refused",
            Stands::Open(_) => "open",
            Stands::Ending => "ending",
            Stands::Over => "over",
            Stands::Ended(_) => "ended",
        }
    }

    /// Whether another one can be asked for.
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Stands::Lapsed | Stands::Refused(_) | Stands::Over | Stands::Ended(_)
        )
    }
}

impl Kept {
    /// How it stands now.
    pub fn stands(&self, now: Timestamp) -> Stands {
        if let Some((ended, _)) = &self.ended {
            return Stands::Ended(ended.cause);
        }
        if let Some(why) = self.refused {
            return Stands::Refused(why);
        }
        // A clock that was set back waits for nobody.
        let heard_by = self.asked_at.plus_ms(LAPSE_MS).ms;
        let in_time = now.ms < heard_by && now.ms >= self.asked_at.plus_ms(-LATE_MS).ms;
        let lasts_ms = i64::from(self.session.lasts_s) * 1000;
        let latest = match self.opened_heard {
            Some(heard) => heard.plus_ms(lasts_ms),
            // Nobody waits for one that was cancelled: that the box opened it would have been heard.
            None if self.end_asked.is_some() => self.asked_at.plus_ms(LAPSE_MS),
            None => self.asked_at.plus_ms(LAPSE_MS + lasts_ms),
        };
        if now.ms >= latest.plus_ms(LATE_MS).ms {
            let opened = self.opened_heard.is_some();
            return if opened { Stands::Over } else { Stands::Lapsed };
        }
        match (self.end_asked.is_some(), self.opened_heard) {
            (true, _) => Stands::Ending,
            (false, Some(_)) => Stands::Open(latest),
            (false, None) if in_time => Stands::Asked,
            (false, None) => Stands::Lapsed,
        }
    }

    /// Whether its links may meet people here. Also while the box has not said that it opened it: a link may come first.
    pub fn may_meet(&self, now: Timestamp) -> bool {
        !self.foreign && matches!(self.stands(now), Stands::Asked | Stands::Open(_))
    }

    /// What the box is told now, if anything; `told_at` is when it was last told something of this session.
    pub fn order(&self, told_at: Option<Timestamp>, now: Timestamp) -> Option<SupportOrder> {
        let lately = told_at.is_some_and(|at| now.ms >= at.ms && now.ms < at.plus_ms(AGAIN_MS).ms);
        match self.stands(now) {
            Stands::Asked if !lately => Some(SupportOrder::Open(self.session.clone())),
            Stands::Ending if !lately => Some(SupportOrder::End(self.session.session)),
            _ => None,
        }
    }
}

/// The number of the next session: above all before it, and above what a server that was restored from a backup may have
/// given.
pub fn next_number(before: Option<SessionNumber>, now: Timestamp) -> SessionNumber {
    let above = before.map_or(1, |number| number.0.saturating_add(1));
    SessionNumber(above.max(u64::try_from(now.ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn kept() -> Kept {
        Kept {
            gateway: "gw-1".parse().expect("an id"),
            session: Session {
                session: SessionNumber(7),
                ticket: ShortText::cut("INC-1"),
                by: ShortText::cut("olga"),
                reason: ShortText::cut("silent"),
                port: 22,
                lasts_s: 60,
            },
            asked_at: NOW,
            foreign: false,
            end_asked: None,
            opened_heard: None,
            refused: None,
            ended: None,
            through: (0, 0, 0),
        }
    }

    fn after(ms: i64) -> Timestamp {
        NOW.plus_ms(ms)
    }

    #[test]
    fn a_session_stands_as_the_box_says_and_by_the_time_where_it_says_nothing() {
        let opened = Kept {
            opened_heard: Some(after(1_000)),
            ..kept()
        };
        let ending = Kept {
            end_asked: Some(("olga".into(), after(2_000))),
            ..opened.clone()
        };
        let ended = Ended {
            cause: EndCause::Expired,
            lasted_s: Some(60),
            moved: None,
        };
        let over = Kept {
            ended: Some((ended, after(62_000))),
            ..ending.clone()
        };
        let cancelled = Kept {
            end_asked: Some(("olga".into(), after(2_000))),
            ..kept()
        };
        let refused = Kept {
            refused: Some(Refusal::Port),
            ..kept()
        };
        for (kept, at, stands) in [
            (kept(), 0, Stands::Asked),
            (kept(), LAPSE_MS - 1, Stands::Asked),
            (kept(), LAPSE_MS, Stands::Lapsed),
            (kept(), -LATE_MS - 1, Stands::Lapsed),
            (cancelled.clone(), LAPSE_MS + LATE_MS - 1, Stands::Ending),
            (cancelled, LAPSE_MS + LATE_MS, Stands::Lapsed),
            (opened.clone(), 5_000, Stands::Open(after(61_000))),
            (opened.clone(), 61_000 + LATE_MS - 1, Stands::Open(after(61_000))),
            (opened, 61_000 + LATE_MS, Stands::Over),
            (ending.clone(), 5_000, Stands::Ending),
            (ending, 61_000 + LATE_MS, Stands::Over),
            (over, 90_000, Stands::Ended(EndCause::Expired)),
            (refused, LAPSE_MS, Stands::Refused(Refusal::Port)),
        ] {
            assert_eq!(kept.stands(after(at)), stands, "{at}");
        }
    }

    #[test]
    fn the_box_is_told_until_it_says_that_it_heard() {
        let asked = kept();
        assert!(matches!(asked.order(None, NOW), Some(SupportOrder::Open(_))));
        assert_eq!(asked.order(Some(NOW), after(1)), None, "it was told just now");
        assert!(asked.order(Some(NOW), after(AGAIN_MS)).is_some());
        assert_eq!(asked.order(None, after(LAPSE_MS)), None, "it lapsed");
        let opened = Kept {
            opened_heard: Some(NOW),
            ..kept()
        };
        assert_eq!(opened.order(None, NOW), None);
        let ending = Kept {
            end_asked: Some(("olga".into(), NOW)),
            ..opened
        };
        let end = Some(SupportOrder::End(SessionNumber(7)));
        assert_eq!(ending.order(None, NOW), end);
        assert!(!ending.may_meet(NOW));
        let foreign = Kept {
            foreign: true,
            ..kept()
        };
        assert!(kept().may_meet(NOW) && !foreign.may_meet(NOW));
    }

    #[test]
    fn what_is_asked_for_names_its_ticket_and_reason_and_ends() {
        assert!(Asked::new("INC-1", "silent", 22, 900).is_ok());
        for (ticket, reason, port, lasts_s, why) in [
            ("  ", "x", 22, 900, AskError::Ticket),
            ("INC-1", "", 22, 900, AskError::Reason),
            ("INC-1", "x", 0, 900, AskError::Port),
            ("INC-1", "x", 22, 0, AskError::Lasts),
            ("INC-1", "x", 22, MAX_LASTS_S + 1, AskError::Lasts),
        ] {
            assert_eq!(Asked::new(ticket, reason, port, lasts_s), Err(why));
        }
        assert!(Asked::new(&"x".repeat(129), "x", 22, 900).is_err());
        let number = next_number(None, NOW);
        assert_eq!(next_number(Some(number), NOW).0, number.0 + 1);
    }
}
