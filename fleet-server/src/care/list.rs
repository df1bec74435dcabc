//! The fleet in order: worst first, searched, filtered, a page at a time.

use std::fmt;
use std::str::FromStr;

use homeward_protocol::attest::Trust;
use homeward_protocol::id::{GatewayId, PlacementId};

use super::{Counts, Lifecycle, Standing, State, UnknownName};

/// Rows on one page.
pub const PAGE: usize = 50;
/// Most characters of a search that are looked at.
const MAX_SEARCH: usize = 64;

/// One gateway with its judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Which one.
    pub gateway: GatewayId,
    /// Whose home it is in.
    pub placement: Option<PlacementId>,
    /// How far its life has come.
    pub lifecycle: Lifecycle,
    /// Whether it has a connection now.
    pub connected: bool,
    /// The judgement.
    pub standing: Standing,
    /// Suspicions about its sensors that stand.
    pub doubts: usize,
    /// Whether the box itself can be believed.
    pub trust: Trust,
}

/// Where a page begins: after the row with this state and id. `Display` is what stands in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The state of the last row seen.
    pub state: State,
    /// The gateway of the last row seen.
    pub gateway: GatewayId,
}

/// Not the end of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the list")]
pub struct AfterError;

impl FromStr for After {
    type Err = AfterError;
    fn from_str(text: &str) -> Result<Self, AfterError> {
        let (state, gateway) = text.split_once('.').ok_or(AfterError)?;
        Ok(After {
            state: state.parse().map_err(|_| AfterError)?,
            gateway: gateway.parse().map_err(|_| AfterError)?,
        })
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.state, self.gateway)
    }
}

/// Which gateways a list is about. Those out of service would outrank everything for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Among {
    /// Those that serve, or will.
    #[default]
    Serving,
    /// Those out of service.
    Retired,
}

impl Among {
    /// As it stands in addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Among::Serving => "serving",
            Among::Retired => "retired",
        }
    }
}

impl FromStr for Among {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = [Among::Serving, Among::Retired]
            .into_iter()
            .find(|a| a.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "serving, retired",
        })
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Serving or retired.
    pub among: Among,
    /// Part of a gateway's or a placement's id; empty for all.
    pub text: String,
    /// One state only.
    pub state: Option<State>,
    /// Only those that stand so.
    pub trust: Option<Trust>,
    /// Where to go on.
    pub after: Option<After>,
}

/// One page, and how many there are in all that match the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most [`PAGE`] rows, worst first.
    pub rows: Vec<Judged>,
    /// Where the next page begins, when there is one.
    pub next: Option<After>,
    /// Of everything the search finds, before the filter by state.
    pub counts: Counts,
    /// The same by how far the boxes can be believed, in the order of [`Trust::ALL`].
    pub trusts: [usize; 5],
    /// How many gateways are out of service, whatever is asked for.
    pub retired: usize,
}

/// Cuts the page that `filter` asks for.
pub fn page(mut all: Vec<Judged>, filter: &Filter) -> Page {
    let text: String = filter
        .text
        .trim()
        .to_lowercase()
        .chars()
        .take(MAX_SEARCH)
        .collect();
    let matches = |j: &Judged| {
        let placement = j.placement.as_ref().map_or("", PlacementId::as_str);
        text.is_empty() || j.gateway.as_str().contains(&text) || placement.contains(&text)
    };
    let retired = all.iter().filter(|j| j.lifecycle == Lifecycle::Revoked).count();
    all.retain(|j| (j.lifecycle == Lifecycle::Revoked) == (filter.among == Among::Retired));
    all.retain(matches);
    let counts = Counts::of(all.iter().map(|j| j.standing.state));
    let trusts = Trust::ALL.map(|trust| all.iter().filter(|j| j.trust == trust).count());
    all.retain(|j| filter.state.is_none_or(|s| j.standing.state == s));
    all.retain(|j| filter.trust.is_none_or(|t| j.trust == t));
    all.sort_by(|a, b| order(a).cmp(&order(b)));
    let begin = filter.after.as_ref().map_or(0, |after| {
        let place = (std::cmp::Reverse(after.state), after.gateway.as_str());
        all.partition_point(|j| order(j) <= place)
    });
    let more = all.len() > begin + PAGE;
    let rows: Vec<Judged> = all.into_iter().skip(begin).take(PAGE).collect();
    let next = rows.last().filter(|_| more).map(|last| After {
        state: last.standing.state,
        gateway: last.gateway.clone(),
    });
    Page {
        rows,
        next,
        counts,
        trusts,
        retired,
    }
}

fn order(judged: &Judged) -> (std::cmp::Reverse<State>, &str) {
    (std::cmp::Reverse(judged.standing.state), judged.gateway.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::Reason;

    fn judged(n: usize, state: State) -> Judged {
        Judged {
            gateway: format!("gw-{n:04}").parse().expect("an id"),
            placement: format!("home-{}", n % 7).parse().ok(),
            lifecycle: Lifecycle::Enrolled,
            connected: true,
            doubts: 0,
            trust: Trust::ALL[n % 5],
            standing: Standing {
                state,
                reason: Reason::AllHeard,
                since: None,
                as_of: None,
            },
        }
    }

    fn fleet() -> Vec<Judged> {
        (0..173).map(|n| judged(n, State::ALL[n % 4])).collect()
    }

    #[test]
    fn pages_show_everything_once_and_worst_first() {
        let mut filter = Filter::default();
        let mut seen = Vec::new();
        loop {
            let page = page(fleet(), &filter);
            assert_eq!(page.counts.total(), 173);
            seen.extend(page.rows);
            filter.after = page.next;
            if filter.after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 173);
        let states: Vec<State> = seen.iter().map(|j| j.standing.state).collect();
        assert!(states.is_sorted_by(|a, b| a >= b));
        let mut ids: Vec<GatewayId> = seen.into_iter().map(|j| j.gateway).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 173);
    }

    #[test]
    fn a_filter_by_state_leaves_the_counts_alone() {
        let filter = Filter {
            text: " HOME-3".into(),
            state: Some(State::NotHeard),
            ..Filter::default()
        };
        let page = page(fleet(), &filter);
        assert!(page.rows.iter().all(|j| j.standing.state == State::NotHeard));
        assert_eq!(page.counts.in_state(State::NotHeard), page.rows.len());
        assert_eq!(page.counts.total(), 25);
    }

    #[test]
    fn a_filter_by_trust_finds_all_of_them_and_they_sum_to_the_whole() {
        let mut found = 0;
        for (at, trust) in Trust::ALL.into_iter().enumerate() {
            let filter = Filter {
                trust: Some(trust),
                ..Filter::default()
            };
            let page = page(fleet(), &filter);
            assert!(page.rows.iter().all(|j| j.trust == trust));
            assert_eq!(page.rows.len(), page.trusts[at]);
            found += page.trusts[at];
        }
        assert_eq!(found, 173);
    }

    #[test]
    fn what_is_out_of_service_is_a_list_of_its_own() {
        let mut all = fleet();
        all[0].lifecycle = Lifecycle::Revoked;
        let serving = page(all.clone(), &Filter::default());
        assert_eq!((serving.counts.total(), serving.retired), (172, 1));
        let retired = Filter {
            among: Among::Retired,
            ..Filter::default()
        };
        assert_eq!(page(all, &retired).rows.len(), 1);
    }

    #[test]
    fn a_place_in_the_list_reads_back() {
        let after = After {
            state: State::CheckToday,
            gateway: "gw-1".parse().expect("an id"),
        };
        assert_eq!(after.to_string().parse(), Ok(after));
        for bad in ["", ".", "check-today", "green.gw-1", "check-today.GW"] {
            assert_eq!(bad.parse::<After>(), Err(AfterError));
        }
    }
}
