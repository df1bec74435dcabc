//! Whether what people signed can be taken in: the same questions as a box asks, for the whole audience.

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::Audience;
use homeward_protocol::policy::sign::{Accepted, Floor, Ground, Keyring, Offer, Refusal, accept, kept};
use homeward_protocol::signed::{PublicKey, Signed, SignedError, Verified};
use homeward_protocol::time::Timestamp;

/// Takes a policy in, or says why boxes would refuse it. `newest` is the number of the newest keyring that is loaded.
///
/// One whose time begins later is taken: it is offered from then on.
pub fn admit(offer: &Offer, roots: &[PublicKey], newest: u64, now: Timestamp) -> Result<Accepted, Refusal> {
    let policy = kept(offer, roots)?.policy;
    let (gateway, groups) = one_of(&policy.get().audience).ok_or(Refusal::WrongAudience)?;
    let asked = Offer {
        groups,
        ..offer.clone()
    };
    let ground = Ground {
        gateway: &gateway,
        roots,
        floor: Floor {
            keyring: newest,
            policy: None,
        },
        now: Timestamp {
            ms: now.ms.max(policy.get().issued.ms()),
            ..now
        },
    };
    accept(&asked, ground)
}

/// Takes a keyring in by itself.
pub fn keyring(
    bytes: &[u8],
    roots: &[PublicKey],
    newest: u64,
    now: Timestamp,
) -> Result<Verified<Keyring>, Refusal> {
    let signed = Signed::<Keyring>::parse(bytes).map_err(|_| Refusal::Unreadable)?;
    let by = |root: &PublicKey| match signed.verify(root) {
        Ok(keyring) => Some(Ok(keyring)),
        Err(SignedError::Signature) => None,
        Err(_) => Some(Err(Refusal::Unreadable)),
    };
    let keyring = roots.iter().find_map(by).unwrap_or(Err(Refusal::UnknownRoot))?;
    if keyring.get().version < newest {
        return Err(Refusal::OlderKeyring);
    }
    if now.ms >= keyring.get().expires.ms() {
        return Err(Refusal::KeyringExpired);
    }
    Ok(keyring)
}

/// A gateway that the audience holds, and the groups that make it so.
fn one_of(audience: &Audience) -> Option<(GatewayId, Vec<GroupId>)> {
    let any = || "gw-any".parse().ok();
    match audience {
        Audience::All => Some((any()?, Vec::new())),
        Audience::Groups(groups) => Some((any()?, vec![groups.first()?.clone()])),
        Audience::Gateways(gateways) => Some((gateways.first()?.clone(), Vec::new())),
    }
}
