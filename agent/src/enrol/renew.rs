//! Shell: renews the certificate when it is time, or when it is asked to.
#![expect(clippy::disallowed_methods, reason = "shell: waits for the time to renew")]

use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::claim::Endpoint;
use homeward_protocol::time::{Timestamp, Uptime};
use hyper::Method;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::est::{EstError, REENROLL, Sent, ask};
use super::{Answer, Refusal, leaf_first, read_answer, request_body, spare};
use crate::causes::says_expired;
use crate::clock::Clock;
use crate::identity::keys::{DeviceKey, Folder, Server};
use crate::identity::tls::verified;
use crate::identity::{Door, Life, Plan, read_leaf};
use crate::policy::habits::Now;

/// Longest sleep: the wall clock may be put right meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_mins(10);
/// By how much the clock's floor rises before it is kept again, milliseconds: a flash is not written to for each minute.
const KEPT_EACH_MS: i64 = 3_600_000;
/// How soon a spare key without a certificate asks again.
const SPARE_RETRY: Duration = Duration::from_hours(1);

/// What renewal needs.
pub struct Renewal {
    /// Our name and the doors.
    pub server: Server,
    /// Our key; renewal keeps it.
    pub key: Arc<DeviceKey>,
    /// The trust anchors that are held.
    pub trust: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// Where the new certificate is kept; nowhere for load generators.
    pub folder: Option<Folder>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the policy wants.
    pub habits: Now,
    /// A random number that spreads a fleet's renewals.
    pub dice: u64,
}

/// A certificate and its intermediates, with its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Our certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// From when until when it is valid.
    pub life: Life,
}

impl Renewal {
    /// Renews for ever: by plan, and at each change of `now`. A new certificate goes to `held`.
    pub async fn run(
        mut self,
        held: watch::Sender<Held>,
        mut now: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        let mut last_try = None;
        let (mut floor, mut spare_try) = (0, None);
        loop {
            self.keep_floor(&mut floor);
            let current = held.borrow().clone();
            if self.spare_is_due(&current, spare_try) {
                spare_try = Some(self.clock.uptime());
                if stop
                    .run_until_cancelled(self.renew_spare(&current))
                    .await
                    .is_none()
                {
                    return;
                }
            }
            let at = self.clock.now();
            let oldest = self.habits.borrow_and_update().certificate;
            if let Plan::Wait(until) = current.life.plan(self.dice, last_try, oldest, at) {
                let wait = Duration::from_millis(u64::try_from(until.saturating_sub(at.ms)).unwrap_or(0));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(wait.min(LONGEST_SLEEP)) => continue,
                    Ok(()) = self.habits.changed() => continue,
                    asked = now.changed() => if asked.is_err() { return },
                }
            }
            last_try = Some(self.clock.now().ms);
            let renewed = stop.run_until_cancelled(self.renew(&current)).await;
            match renewed {
                None => return,
                Some(Ok(new)) => {
                    tracing::info!(
                        certificate.not_after_ms = new.life.not_after_ms,
                        "the certificate was renewed"
                    );
                    held.send_replace(new);
                }
                Some(Err((door, error))) => self.tell_failure(&current, door, &error),
            }
        }
    }

    /// Whether the spare key needs a certificate: it has none, or one from before the newest of the key in the TPM.
    fn spare_is_due(&self, held: &Held, last_try: Option<Uptime>) -> bool {
        let Some(folder) = self.folder.as_ref().filter(|_| self.key.chip().is_some()) else {
            return false;
        };
        let waits = last_try.is_some_and(|at| self.clock.uptime().since(at) < SPARE_RETRY);
        let usable = held.life.door(self.clock.now()) == Door::Usual;
        let has = folder.has_spare().then(|| folder.spare_life()).flatten();
        usable && !waits && has.is_none_or(|spare| spare.not_before_ms < held.life.not_before_ms)
    }

    async fn renew_spare(&self, held: &Held) {
        let Some(folder) = &self.folder else { return };
        let trust = self.trust.borrow().clone();
        let by = spare::By {
            server: &self.server,
            key: &self.key,
            chain: &held.chain,
            trust: &trust,
        };
        if let Err(error) = spare::certify(&by, folder, &self.clock).await {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(error = %error, source = ?source,
                "the spare key got no new certificate; trying again later");
        }
    }

    /// Says why there is no new certificate, and what a person can do when the old one is over.
    fn tell_failure(&self, held: &Held, door: Door, error: &EstError) {
        let source = std::error::Error::source(error).map(ToString::to_string);
        match door {
            Door::Usual => tracing::warn!(error = %error, source = ?source,
                "the certificate could not be renewed; trying again later"),
            Door::Late => tracing::error!(error = %error, source = ?source,
                "the certificate expired {} and could not be renewed; trying again later. If the server is reachable, \
                 the certificate is too old for it: ask the operator for a new claim for {} and run `enrol` with it. \
                 What waits here is kept",
                Timestamp::synced(held.life.not_after_ms), self.server.gateway),
        }
    }

    /// Keeps the clock's floor when it rose: server certificates raise it too, and the time that passes.
    fn keep_floor(&self, kept: &mut i64) {
        let floor = self.clock.floor_ms();
        let rose = floor.saturating_sub(*kept) >= KEPT_EACH_MS;
        let Some(folder) = self.folder.as_ref().filter(|_| rose) else {
            return;
        };
        match folder.keep_floor(floor) {
            Ok(()) => *kept = floor,
            Err(error) => tracing::warn!(error = %error, "could not keep the clock's floor"),
        }
    }

    /// One renewal, at the door that takes the certificate as it is now; or at the other one, where a clock that stood still
    /// does not know yet that it is over.
    async fn renew(&self, held: &Held) -> Result<Held, (Door, EstError)> {
        let door = held.life.door(self.clock.now());
        match self.renew_at(door, held).await {
            Err(error) if door == Door::Usual && says_expired(&error) => {
                tracing::info!(
                    "the server says that the certificate is over; this box's clock does not know that yet"
                );
                let renewed = self.renew_at(Door::Late, held).await;
                renewed.map_err(|error| (Door::Late, error))
            }
            renewed => renewed.map_err(|error| (door, error)),
        }
    }

    async fn renew_at(&self, door: Door, held: &Held) -> Result<Held, EstError> {
        let door: &Endpoint = match door {
            Door::Usual => &self.server.enrolment,
            Door::Late => &self.server.doors.renewal,
        };
        let credentials = Some((held.chain.clone(), self.key.for_tls()?));
        let trust = self.trust.borrow().clone();
        let tls = Arc::new(verified(&trust, credentials, &self.clock)?);
        let csr = request_body(&self.key.request(&self.server.gateway)?);
        let response = ask(door, &tls, Method::POST, REENROLL, None, Some(Sent::Csr(csr))).await?;
        let answer = read_answer(response.status, response.retry_after.as_deref(), &response.body)?;
        let Answer::Issued(chain) = answer else {
            return Err(Refusal::Malformed("it asks to wait for a renewal").into());
        };
        let public = self.key.public()?;
        let chain: Vec<_> = leaf_first(chain, &public.spki())?
            .into_iter()
            .map(CertificateDer::from)
            .collect();
        let leaf = chain
            .first()
            .ok_or(Refusal::Malformed("its list of certificates is empty"))?;
        let life = read_leaf(leaf, &self.server.gateway, &public).map_err(EstError::Leaf)?;
        self.clock.raise_floor(life.not_before_ms);
        if let Some(folder) = &self.folder {
            folder.keep_chain(&chain)?;
            folder.keep_floor(self.clock.floor_ms())?;
        }
        Ok(Held { chain, life })
    }
}
