//! Gateways that are shut out, in memory: read at each handshake, written when the store's list changes.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use homeward_protocol::id::GatewayId;

/// The gateways that may not connect. A cheap handle: clones see the same set.
///
/// The store's row is the truth; this is its copy. To shut a gateway out: commit the row, [`Revoked::insert`],
/// then [`super::Connections::kick`], in this order. The gate looks here after each handshake, resumed or not, and
/// again after it has registered the connection, so no order of events lets a revoked gateway stay.
#[derive(Debug, Clone, Default)]
pub struct Revoked(Arc<RwLock<HashSet<GatewayId>>>);

impl Revoked {
    /// The set as the store has it.
    pub fn new(gateways: impl IntoIterator<Item = GatewayId>) -> Revoked {
        Revoked(Arc::new(RwLock::new(gateways.into_iter().collect())))
    }

    /// Shuts a gateway out.
    pub fn insert(&self, gateway: GatewayId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(gateway);
    }

    /// Lets a gateway in again.
    pub fn remove(&self, gateway: &GatewayId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(gateway);
    }

    /// Whether a gateway is shut out.
    pub fn contains(&self, gateway: &GatewayId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(gateway)
    }
}
