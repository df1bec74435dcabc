//! Shell: what goes with an update that has a deadline that is kept, by what was asked.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::AdminError;
use crate::access::UserName;
use crate::ca::signer::published;
use crate::cli::update::TermsAsked;
use crate::config::Config;
use crate::direct::deadline::{Rule, Terms, escalate};
use crate::place::Place;
use crate::policy::roots::keys_of;
use crate::store::{Store, users};

/// What goes with it, by what was asked.
pub(super) async fn read(
    (config, store): (&Config, &Store),
    asked: &TermsAsked,
) -> Result<Option<Terms>, AdminError> {
    let (Some(reason), Some(person)) = (&asked.reason, &asked.person) else {
        return Ok(None);
    };
    let rule = asked
        .compensate
        .zip(asked.afterwards)
        .map(|(compensate, afterwards)| Rule {
            compensate,
            afterwards,
        });
    let terms = Terms::new(reason, person, rule).map_err(|why| AdminError::Asked(why.to_string()))?;
    let mut known = config.notify.people.contains_key(terms.person());
    if let Ok(name) = terms.person().parse::<UserName>() {
        known |= store
            .read(move |tx| Ok(users::kept(tx, &name)?.is_some()))
            .await?;
    }
    if !known {
        return Err(AdminError::Asked(format!(
            "{} is nobody who can be asked: neither a name of [notify.people] in fleet.toml nor a person of the console \
             (homeward-fleet --data DIR user list)",
            terms.person()
        )));
    }
    Ok(Some(terms))
}

/// Whether the policies that make up for an update can, at each of these.
pub(super) async fn fit(
    (place, store): (&Place, &Store),
    rule: Rule,
    gateways: &[GatewayId],
    times: (Timestamp, Timestamp),
) -> Result<(), AdminError> {
    let roots = keys_of(&published(&place.authority())?.roots());
    let gateways = gateways.to_vec();
    let misfit = store
        .read(move |tx| {
            for gateway in &gateways {
                if let Some(why) = escalate::misfit(tx, &roots, (rule, gateway), times)? {
                    return Ok(Some(why));
                }
            }
            Ok(None)
        })
        .await?;
    misfit.map_or(Ok(()), |why| Err(AdminError::Asked(why)))
}

/// In words.
pub(super) fn words(terms: &Terms) -> String {
    let rule = terms.rule.map_or_else(
        || "no policy makes up for it at the deadline".to_owned(),
        |rule| {
            format!(
                "policy {} makes up for it from the deadline on, and policy {} ends that",
                rule.compensate, rule.afterwards
            )
        },
    );
    format!(
        "Why: {}\n{} is asked when 80 % of the time is over; {rule}\n",
        terms.reason(),
        terms.person()
    )
}
