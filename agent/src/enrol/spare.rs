//! Shell: has the spare key certified, by the key in the TPM.

use std::sync::Arc;

use homeward_protocol::tpm::enrol::SPARE_PATH;
use hyper::Method;
use rustls::pki_types::CertificateDer;

use super::est::{EstError, Sent, ask};
use super::{Answer, Refusal, leaf_first, read_answer, request_body};
use crate::clock::Clock;
use crate::identity::keys::{DeviceKey, Folder, Server};
use crate::identity::read_leaf;
use crate::identity::spare;
use crate::identity::tls::verified;
use crate::vault::disk::DiskError;

/// Why there is no certificate for the spare key.
#[derive(Debug, thiserror::Error)]
pub enum SpareError {
    /// What seals it.
    #[error("the spare key cannot be sealed")]
    Vault(#[from] DiskError),
    /// The server, or the files.
    #[error(transparent)]
    Est(#[from] EstError),
}

/// By whom it is certified.
pub(super) struct By<'a> {
    /// Our name and the doors.
    pub server: &'a Server,
    /// The key in the TPM.
    pub key: &'a DeviceKey,
    /// Its certificate, and the intermediates.
    pub chain: &'a [CertificateDer<'static>],
    /// The anchors that are held.
    pub trust: &'a [CertificateDer<'static>],
}

/// Makes the spare key of `folder` where there is none, and gets a new certificate for it.
pub(super) async fn certify(by: &By<'_>, folder: &Folder, clock: &Arc<Clock>) -> Result<(), SpareError> {
    let vault = spare::vault(folder.data())?;
    Ok(certified(by, folder, &vault, clock).await?)
}

async fn certified(
    by: &By<'_>,
    folder: &Folder,
    vault: &crate::vault::Vault,
    clock: &Arc<Clock>,
) -> Result<(), EstError> {
    let spare = folder.spare_key_or_new(vault)?;
    let credentials = Some((by.chain.to_vec(), by.key.for_tls()?));
    let tls = Arc::new(verified(by.trust, credentials, clock)?);
    let (gateway, public) = (&by.server.gateway, spare.public()?);
    let csr = Sent::Csr(request_body(&spare.request(gateway)?));
    let door = &by.server.enrolment;
    let response = ask(door, &tls, Method::POST, SPARE_PATH, None, Some(csr)).await?;
    let answer = read_answer(response.status, response.retry_after.as_deref(), &response.body)?;
    let Answer::Issued(chain) = answer else {
        return Err(Refusal::Malformed("it asks to wait for a spare certificate").into());
    };
    let chain: Vec<_> = leaf_first(chain, &public.spki())?
        .into_iter()
        .map(CertificateDer::from)
        .collect();
    let leaf = chain
        .first()
        .ok_or(Refusal::Malformed("its list of certificates is empty"))?;
    read_leaf(leaf, gateway, &public).map_err(EstError::Leaf)?;
    folder.keep_spare_chain(&chain)?;
    tracing::info!("the spare key has a certificate: it is for the time when the TPM does not answer");
    Ok(())
}
