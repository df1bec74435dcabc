//! Shell: what has to be done every now and then while the server runs: certificates, revocation list, retention.
#![expect(clippy::disallowed_methods, reason = "shell: waits between rounds")]

use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::claim::Pin;
use homeward_protocol::time::Timestamp;
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::RunError;
use crate::ca::{self, Authority, Identity, signer};
use crate::clock::Clock;
use crate::config::{Config, Retention};
use crate::place::Place;
use crate::store::{self, Store};
use crate::tls::Trust;
use crate::tls::doors::Doors;

/// How often certificates, the revocation list and old rows are looked at.
const EVERY: Duration = Duration::from_hours(1);

/// Where the certificates of the listeners come from.
pub(super) struct DoorKeys {
    pub(super) place: Place,
    pub(super) config: Config,
}

impl DoorKeys {
    /// What our own listeners show, and what the console shows.
    pub(super) fn identities(
        &self,
        authority: &Authority,
        now: Timestamp,
    ) -> Result<(Identity, Identity), RunError> {
        let names: Result<Vec<ServerName<'static>>, _> = self
            .config
            .names
            .iter()
            .map(|n| ServerName::try_from(n.clone()))
            .collect();
        let names = names.map_err(|e| RunError::Process {
            step: "use a name of `names`",
            why: e.to_string(),
        })?;
        let own = authority
            .server_identity(&self.place.authority(), &names, now)
            .map_err(RunError::Certificate)?;
        let console = match &self.config.own_certificate {
            Some(own) => signer::load_identity(&own.certificate, &own.key).map_err(RunError::Certificate)?,
            None => own.clone(),
        };
        Ok((own, console))
    }
}

/// The authority as it lies in its folder: a command may change it while the server runs.
pub(super) struct Keeper {
    place: Place,
    lists_at: String,
    authority: watch::Sender<Arc<Authority>>,
    pin: watch::Sender<Pin>,
}

impl Keeper {
    /// Opens it. `lists_at` is where others get the revocation lists.
    pub(super) fn open(place: &Place, lists_at: String) -> Result<Keeper, ca::CaError> {
        let authority = Authority::open(&place.authority())?.with_lists_at(&lists_at);
        Ok(Keeper {
            place: place.clone(),
            lists_at,
            pin: watch::Sender::new(authority.pin()?),
            authority: watch::Sender::new(Arc::new(authority)),
        })
    }

    /// As it is now.
    pub(super) fn now(&self) -> Arc<Authority> {
        Arc::clone(&self.authority.borrow())
    }

    /// For those who need it as it is at each moment.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Authority>> {
        self.authority.subscribe()
    }

    /// The pin of claims, as it is at each moment.
    pub(super) fn pin(&self) -> watch::Receiver<Pin> {
        self.pin.subscribe()
    }

    /// Opens it again if its certificates are others. What cannot be opened changes nothing: the server goes on with
    /// what it has.
    fn refresh(&self) -> Result<(), ca::CaError> {
        let (folder, held) = (self.place.authority(), self.now());
        let same = signer::published(&folder)? == *held.bundle()
            && signer::gateway_issuers(&folder)?.first() == Some(held.gateway_issuer());
        if same {
            return Ok(());
        }
        let opened = Authority::open(&folder)?.with_lists_at(&self.lists_at);
        if opened.trust_domain() != held.trust_domain() {
            return Err(ca::CaError::Asked(format!(
                "the authority in {} is that of another fleet: it is not used before a restart",
                folder.display()
            )));
        }
        info!("the authority has new certificates, and they are used from now on");
        self.pin.send_replace(opened.pin()?);
        self.authority.send_replace(Arc::new(opened));
        Ok(())
    }
}

/// Renews what the listeners show and the revocation list, long before either runs out.
pub(super) struct Tend {
    pub(super) store: Store,
    pub(super) keeper: Arc<Keeper>,
    pub(super) doors: Arc<Doors>,
    pub(super) keys: DoorKeys,
    pub(super) clock: Clock,
}

impl Tend {
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            self.now().await;
        }
    }

    /// Does it now: a gateway or the authority changed.
    pub(super) async fn now(&self) {
        if let Err(failed) = self.once().await {
            error!("the certificates of the listeners could not be renewed: {failed}");
        }
    }

    async fn once(&self) -> Result<(), RunError> {
        let now = self.clock.now();
        if let Err(failed) = self.keeper.refresh() {
            error!("the authority's new certificates cannot be used: {failed}");
        }
        let authority = self.keeper.now();
        let trust = trust(&self.store, &authority, now).await?;
        let (own, console) = self.keys.identities(&authority, now)?;
        Ok(self.doors.refresh(&own, &console, &trust)?)
    }
}

/// What clients are held against: the issuer and its newest list of the revoked whose time is not over anyway.
pub(super) async fn trust(store: &Store, authority: &Authority, now: Timestamp) -> Result<Trust, RunError> {
    let late = Timestamp::synced(now.ms.saturating_sub(ca::LATE_DAYS * ca::DAY_MS));
    let revoked = store
        .read(move |tx| store::certificates::revoked(tx, late))
        .await?;
    Ok(Trust::of(authority, &revoked, now)?)
}

/// Deletes what is older than the configuration says, a little at a time.
pub(super) async fn retire(store: Store, keep: Retention, clock: Clock, stop: CancellationToken) {
    loop {
        let now = clock.now();
        let done = store
            .write(move |tx| store::retention::step(tx, keep.readings_days, keep.envelopes_days, now))
            .await;
        let pause = match done {
            Ok(more) if more => Duration::from_secs(1),
            Ok(_) => EVERY,
            Err(failed) => {
                warn!("old rows could not be deleted: {failed}");
                EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
