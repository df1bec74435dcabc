//! Which trust anchors to hold after the server named today's: roots follow one another.
//!
//! # Design
//! The list comes over a connection that an anchor of ours proves, but the server that sends it may be captured, and it
//! has no root's key. So a root that is new here needs a link: its name and key in a certificate that a root we hold
//! has signed. A root that is not named any more is let go, as long as one that we held stays.
//!
//! Source: RFC 4210, section 4.4; RFC 7030, section 4.1.3.

use homeward_protocol::claim::Pin;
use homeward_protocol::time::Timestamp;
use homeward_protocol::trust::TrustMark;
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;

/// Most anchors that are held: two, and a few on their way out.
const MOST: usize = 8;

/// Why the server's list is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfollowed {
    /// It is another fleet's list, or it would cut every tie.
    #[error("none of the anchors that this box holds is in the server's list")]
    NoneKept,
    /// A new root without a link.
    #[error("a root of the server's list is introduced by none that this box holds")]
    NotIntroduced,
    /// Longer than any honest list.
    #[error("the server's list has more than {MOST} roots")]
    TooMany,
}

/// The anchors (DER) to hold from now on, those held before first. `held` and `offered` are DER; `offered` may hold
/// other certificates, which are looked at as links.
pub fn follow<D: AsRef<[u8]>>(
    held: &[D],
    offered: &[Vec<u8>],
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, Unfollowed> {
    let roots: Vec<&Vec<u8>> = offered.iter().filter(|der| is_root(der)).collect();
    if roots.len() > MOST {
        return Err(Unfollowed::TooMany);
    }
    let is_held = |der: &[u8]| held.iter().any(|one| one.as_ref() == der);
    let kept = held
        .iter()
        .map(AsRef::as_ref)
        .filter(|one| roots.iter().any(|der| der.as_slice() == *one));
    let mut anchors: Vec<Vec<u8>> = kept.map(<[u8]>::to_vec).collect();
    if anchors.is_empty() {
        return Err(Unfollowed::NoneKept);
    }
    for root in roots.into_iter().filter(|der| !is_held(der)) {
        if !introduced(root, held, offered, now) {
            return Err(Unfollowed::NotIntroduced);
        }
        anchors.push(root.clone());
    }
    Ok(anchors)
}

/// What tells these anchors from others; `None` when one is no certificate.
pub fn mark<D: AsRef<[u8]>>(anchors: &[D]) -> Option<TrustMark> {
    let pin = |der: &D| {
        let (_, cert) = X509Certificate::from_der(der.as_ref()).ok()?;
        Some(Pin::of_spki(cert.public_key().raw))
    };
    let pins: Option<Vec<Pin>> = anchors.iter().map(pin).collect();
    pins.map(|pins| TrustMark::of(&pins))
}

fn is_root(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, cert)| {
        cert.is_ca() && cert.subject() == cert.issuer() && cert.verify_signature(None).is_ok()
    })
}

/// Whether a root that we hold has signed this one's name and key.
fn introduced<D: AsRef<[u8]>>(root: &[u8], held: &[D], offered: &[Vec<u8>], now: Timestamp) -> bool {
    let Ok((_, root)) = X509Certificate::from_der(root) else {
        return false;
    };
    let links = offered
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok());
    let says_this = |link: &X509Certificate<'_>| {
        let validity = link.validity();
        let current =
            validity.not_before.timestamp() <= now.secs() && now.secs() <= validity.not_after.timestamp();
        link.is_ca()
            && current
            && link.subject() == root.subject()
            && link.public_key().raw == root.public_key().raw
    };
    let mut links = links.map(|(_, link)| link).filter(says_this);
    links.any(|link| held.iter().any(|by| signed_by(&link, by.as_ref())))
}

fn signed_by(link: &X509Certificate<'_>, by: &[u8]) -> bool {
    X509Certificate::from_der(by).is_ok_and(|(_, by)| {
        link.issuer() == by.subject() && link.verify_signature(Some(by.public_key())).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    struct Root {
        key: KeyPair,
        params: CertificateParams,
        der: Vec<u8>,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2046, 1, 1);
        params
    }

    fn root(name: &str) -> Root {
        let (key, params) = (KeyPair::generate().expect("a key"), params(name));
        let der = params.self_signed(&key).expect("signed").der().to_vec();
        Root { key, params, der }
    }

    impl Root {
        fn link(&self, by: &Root) -> Vec<u8> {
            let issuer = Issuer::from_params(&by.params, &by.key);
            self.params
                .signed_by(&self.key, &issuer)
                .expect("signed")
                .der()
                .to_vec()
        }
    }

    #[test]
    fn a_new_root_comes_in_by_a_link_from_one_that_is_held_and_by_nothing_else() {
        let (one, two, three, stranger) = (root("root 1"), root("root 2"), root("root 3"), root("root 9"));
        let held = [one.der.clone(), two.der.clone()];
        let all = [one.der.clone(), two.der.clone(), three.der.clone()];
        let with = |link: Vec<u8>| [&all[..], &[link]].concat();
        assert_eq!(follow(&held, &with(three.link(&two)), NOW), Ok(all.to_vec()));
        assert_eq!(follow(&held, &all, NOW), Err(Unfollowed::NotIntroduced));
        assert_eq!(
            follow(&held, &with(three.link(&stranger)), NOW),
            Err(Unfollowed::NotIntroduced)
        );
        // A link for another key under the same name.
        let other = root("root 3");
        assert_eq!(
            follow(&held, &with(other.link(&two)), NOW),
            Err(Unfollowed::NotIntroduced)
        );
        // A link before and after its time.
        for at in [0, 4_000_000_000_000] {
            let then = follow(&held, &with(three.link(&two)), Timestamp::synced(at));
            assert_eq!(then, Err(Unfollowed::NotIntroduced), "at {at}");
        }
        // Somebody who signs with a held root's name but not its key.
        let impostor = root("root 2");
        assert_eq!(
            follow(&held, &with(three.link(&impostor)), NOW),
            Err(Unfollowed::NotIntroduced)
        );
    }

    #[test]
    fn a_root_that_is_not_named_is_let_go_but_never_the_last_one() {
        let (one, two) = (root("root 1"), root("root 2"));
        let held = [one.der.clone(), two.der.clone()];
        assert_eq!(
            follow(&held, std::slice::from_ref(&two.der), NOW),
            Ok(vec![two.der.clone()])
        );
        assert_eq!(follow(&held, &[], NOW), Err(Unfollowed::NoneKept));
        assert_eq!(
            follow(&held, &[root("root 3").der], NOW),
            Err(Unfollowed::NoneKept)
        );
        let many: Vec<Vec<u8>> = (0..9).map(|n| root(&format!("root {n}")).der).collect();
        assert_eq!(follow(&held, &many, NOW), Err(Unfollowed::TooMany));
    }

    #[test]
    fn a_certificate_that_only_looks_like_a_root_is_none() {
        let (one, two) = (root("root 1"), root("root 2"));
        // Names itself as its issuer, but another key signed it.
        let mut forged = params("root 2");
        forged.distinguished_name = one.params.distinguished_name.clone();
        let issuer = Issuer::from_params(&one.params, &two.key);
        let forged = forged
            .signed_by(&two.key, &issuer)
            .expect("signed")
            .der()
            .to_vec();
        let (_, cert) = X509Certificate::from_der(&forged).expect("a certificate");
        assert_eq!(cert.subject(), cert.issuer());
        // It verifies by its own key, so it counts as a root, and as a new one it needs a link.
        assert_eq!(
            follow(std::slice::from_ref(&one.der), &[one.der.clone(), forged], NOW),
            Err(Unfollowed::NotIntroduced)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_followed_or_refused(
            offered in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), 0..6),
        ) {
            let one = root("root 1");
            let _ = follow(std::slice::from_ref(&one.der), &offered, NOW);
            let _ = mark(&offered);
        }
    }
}
