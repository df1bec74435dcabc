//! Bundles are read as they were made, and in no other way.

use proptest::prelude::*;
use ring::digest::digest;

use super::*;

fn package(name: &str, bytes: &[u8]) -> Package {
    let name = name.parse().expect("a name");
    let sha256 = digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes");
    Package::new(
        (name, "all".parse().expect("an architecture")),
        ("1.2-3".parse().expect("a version"), None),
        bytes.len() as u64,
        sha256,
    )
}

/// A bundle of these, whatever their order.
fn bundle(all: &[(&str, &[u8])]) -> Vec<u8> {
    let index = Index::new(all.iter().map(|(name, bytes)| package(name, bytes)).collect()).expect("an index");
    let mut made = index.head().expect("a head");
    for one in index.packages() {
        let (_, bytes) = all
            .iter()
            .find(|(name, _)| *name == one.name.to_string())
            .expect("ours");
        made.extend_from_slice(bytes);
    }
    made
}

fn read(mut bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    unpack(
        &mut bytes,
        |_| Ok(()),
        |package, piece| {
            let file = package.file();
            match all.last_mut().filter(|(name, _)| *name == file) {
                Some((_, bytes)) => bytes.extend_from_slice(piece),
                None => all.push((file, piece.to_vec())),
            }
            Ok(())
        },
    )?;
    Ok(all)
}

#[test]
fn a_set_has_one_bundle_and_comes_out_as_it_went_in() {
    let long = vec![7; 200_000];
    let (one, other) = (("b-tool", b"second".as_slice()), ("a-tool", long.as_slice()));
    let made = bundle(&[one, other]);
    assert_eq!(made, bundle(&[other, one]));
    let all = read(&made).expect("a bundle");
    let expected = [
        ("a-tool_1.2-3_all.deb".to_owned(), long.clone()),
        ("b-tool_1.2-3_all.deb".to_owned(), b"second".to_vec()),
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_is_cut_changed_or_longer_is_no_bundle() {
    let made = bundle(&[("a-tool", b"first"), ("b-tool", b"second")]);
    for upto in 0..made.len() {
        let error = read(&made[..upto]).expect_err("cut");
        assert!(
            matches!(error, BundleError::NoBundle | BundleError::Short),
            "{upto}: {error}"
        );
    }
    let more = [made.as_slice(), b"x"].concat();
    assert!(matches!(read(&more), Err(BundleError::Behind)));
    let mut other = made.clone();
    *other.last_mut().expect("bytes") ^= 1;
    assert!(matches!(read(&other), Err(BundleError::Differs(name)) if name.to_string() == "b-tool"));
    let mut long = made;
    long[MAGIC.len()] = 1;
    assert!(matches!(read(&long), Err(BundleError::Index("it is too long"))));
}

#[test]
fn an_index_that_breaks_a_rule_is_refused_whoever_made_it() {
    let one = package("a-tool", b"first");
    let refused = |packages: Vec<Package>| {
        let made = serde_cbor::to_vec(&Index {
            packages: packages.clone(),
        })
        .expect("CBOR");
        let head = [
            MAGIC.as_slice(),
            &u32::try_from(made.len()).expect("small").to_be_bytes(),
            &made,
        ]
        .concat();
        assert!(
            matches!(Index::read(&mut head.as_slice()), Err(BundleError::Index(_))),
            "{packages:?}"
        );
    };
    refused(Vec::new());
    refused(vec![one.clone(), one.clone()]);
    refused(vec![package("b-tool", b"x"), one.clone()]);
    refused(vec![Package {
        length: 0,
        ..one.clone()
    }]);
    refused(vec![Package {
        length: MAX_BUNDLE + 1,
        ..one.clone()
    }]);
    refused(vec![Package {
        sha256: Bytes(vec![1; 31]),
        ..one.clone()
    }]);
    refused(vec![Package {
        from: Some(one.version.clone()),
        ..one.clone()
    }]);
    refused(vec![
        Package {
            length: u64::MAX,
            ..one.clone()
        },
        Package {
            length: 2,
            ..package("b-tool", b"x")
        },
    ]);
    let many = (0..=MAX_PACKAGES)
        .map(|n| package(&format!("a-{n:04}"), b"x"))
        .collect();
    assert!(Index::new(many).is_err());

    // The same in another way of writing CBOR.
    let index = Index::new(vec![one]).expect("an index");
    let good = serde_cbor::to_vec(&index).expect("CBOR");
    let mut odd = vec![0xbf];
    odd.extend_from_slice(&good[1..]);
    odd.push(0xff);
    let head = [
        MAGIC.as_slice(),
        &u32::try_from(odd.len()).expect("small").to_be_bytes(),
        &odd,
    ]
    .concat();
    assert!(matches!(
        Index::read(&mut head.as_slice()),
        Err(BundleError::Index(_))
    ));
}

#[test]
fn a_disk_that_is_full_and_an_index_that_is_not_wanted_end_it() {
    let made = bundle(&[("a-tool", b"first")]);
    let full = unpack(
        &mut made.as_slice(),
        |_| Ok(()),
        |_, _| Err(io::ErrorKind::StorageFull.into()),
    );
    assert!(matches!(full, Err(BundleError::Keep { .. })));
    let unwanted = unpack(
        &mut made.as_slice(),
        |_| Err(BundleError::Index("not wanted")),
        |_, _| panic!("nothing is handed on"),
    );
    assert!(matches!(unwanted, Err(BundleError::Index("not wanted"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_spoilt_byte_is_never_taken_for_the_same_set(at in 0_usize..400, value in any::<u8>()) {
        let made = bundle(&[("a-tool", b"first"), ("b-tool", b"second")]);
        let mut spoilt = made.clone();
        let at = at % spoilt.len();
        spoilt[at] = value;
        if let Ok(all) = read(&spoilt) {
            // Only a word of the index may differ that no hash covers: the target's own hash covers it.
            let files: Vec<_> = all.iter().map(|(_, bytes)| bytes.as_slice()).collect();
            prop_assert_eq!(files, [b"first".as_slice(), b"second".as_slice()]);
        }
    }

    #[test]
    fn any_bytes_end_without_more_memory_than_an_index(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let framed = [MAGIC.as_slice(), &bytes].concat();
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&framed).is_err());
    }
}
