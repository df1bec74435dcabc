//! The products of a document: its tree, read down to each product, and what is one thing with another (CSAF 2.0, 3.2.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CsafError, MAX_PRODUCTS, Product, broken, id, name, raw};

/// Relationships may name what relationships made; no deeper than this.
const MAX_ROUNDS: usize = 4;

/// The products of a document, and its groups of them.
pub(super) struct Tree {
    pub(super) list: Vec<Product>,
    pub(super) groups: BTreeMap<String, Vec<String>>,
}

/// Reads them.
pub(super) fn read(tree: raw::Tree) -> Result<Tree, CsafError> {
    let mut list = Vec::new();
    for one in tree.full_product_names {
        list.push(product(one, &[], "full_product_names")?);
    }
    for branch in tree.branches {
        walk(branch, &mut Vec::new(), &mut list)?;
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = list.iter().find(|one| !seen.insert(one.id.clone())) {
        return Err(broken(&twice.id, "a product is described once (6.1.2)"));
    }
    related(tree.relationships, &mut list)?;
    if list.len() > MAX_PRODUCTS {
        return Err(broken("product_tree", "at most 5000 products"));
    }
    let groups = tree.product_groups.into_iter();
    let groups = groups.map(|group| (group.group_id, group.product_ids)).collect();
    Ok(Tree { list, groups })
}

/// One step down from the root: serde bounds how deep a document goes.
fn walk(
    branch: raw::Branch,
    above: &mut Vec<(String, String)>,
    list: &mut Vec<Product>,
) -> Result<(), CsafError> {
    above.push((
        name("branches.category", &branch.category)?,
        name("branches.name", &branch.name)?,
    ));
    if let Some(one) = branch.product {
        list.push(product(one, above, "branches.product")?);
    }
    for below in branch.branches {
        if list.len() > MAX_PRODUCTS {
            return Err(broken("product_tree", "at most 5000 products"));
        }
        walk(below, above, list)?;
    }
    above.pop();
    Ok(())
}

fn product(one: raw::Item, above: &[(String, String)], place: &str) -> Result<Product, CsafError> {
    let of = |category: &str| {
        let found = above.iter().rev().find(|(is, _)| is == category);
        found.map(|(_, name)| name.clone())
    };
    let full = name(place, &one.name)?;
    // What has a patch or a service pack below its version is not that version as a whole.
    let is_version = above.last().is_some_and(|(is, _)| is == "product_version");
    let exact = of("product_version").filter(|version| is_version && !version.starts_with("vers:"));
    let helper = one.product_identification_helper.unwrap_or_default();
    let models = helper.model_numbers.iter().take(100);
    let models = models.map(|model| name("model_numbers", model));
    Ok(Product {
        id: id(place, &one.product_id)?,
        vendor: of("vendor"),
        name: of("product_name").unwrap_or_else(|| full.clone()),
        is_exact: exact.is_some(),
        version: exact
            .or_else(|| of("product_version"))
            .or_else(|| of("product_version_range")),
        full,
        models: models.collect::<Result<Vec<_>, _>>()?.into(),
    })
}

/// What is one thing with another (3.2.2.3) is known by the names of both.
fn related(relationships: Vec<raw::Relationship>, list: &mut Vec<Product>) -> Result<(), CsafError> {
    if relationships.len() > MAX_PRODUCTS {
        return Err(broken("product_tree.relationships", "at most 5000"));
    }
    let mut by_id: BTreeMap<String, Vec<Product>> = BTreeMap::new();
    for one in list.iter() {
        by_id.entry(one.id.clone()).or_default().push(one.clone());
    }
    let mut waiting = relationships;
    for _ in 0..MAX_ROUNDS {
        let mut later = Vec::new();
        for one in waiting {
            let parts = [&one.product_reference, &one.relates_to_product_reference];
            let parts: Option<Vec<_>> = parts.into_iter().map(|part| by_id.get(part)).collect();
            let Some(parts) = parts else {
                later.push(one);
                continue;
            };
            let (own, full) = (
                id("relationships", &one.full_product_name.product_id)?,
                name("relationships", &one.full_product_name.name)?,
            );
            if by_id.contains_key(&own) {
                return Err(broken(own, "a product is described once (6.1.2)"));
            }
            // Each name that a part of it has, told apart from the part by the id.
            let both = parts.into_iter().flatten().map(|part| Product {
                id: own.clone(),
                vendor: part.vendor.clone(),
                name: part.name.clone(),
                version: part.version.clone(),
                // What is said of both together is not said of the one alone.
                is_exact: false,
                full: full.clone(),
                models: Arc::clone(&part.models),
            });
            let both: Vec<Product> = both.take(8).collect();
            list.extend(both.iter().cloned());
            by_id.insert(own, both);
            if list.len() > MAX_PRODUCTS {
                return Err(broken("product_tree", "at most 5000 products"));
            }
        }
        waiting = later;
    }
    match waiting.first() {
        None => Ok(()),
        Some(_) => Err(broken(
            "product_tree.relationships",
            "a product is described before it is named (6.1.1)",
        )),
    }
}
