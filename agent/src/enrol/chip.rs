//! Shell: proves the box's TPM to the server, before a certificate is asked for.

use std::sync::Arc;

use homeward_protocol::claim::Endpoint;
use homeward_protocol::tpm::enrol::{
    CHALLENGE_PATH, Challenge, Hello, MAX_MESSAGE, PROOF_PATH, Proof, Welcome,
};
use homeward_protocol::wire::{self, Bytes};
use hyper::Method;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Refusal;
use super::est::{EstError, Response, Sent, ask};
use crate::identity::keys::ChipKey;

/// Shows the TPM, opens what the server hid for it, and has it certify `key`. Gives what the server makes of it.
pub(super) async fn prove(
    server: &Endpoint,
    tls: &Arc<ClientConfig>,
    key: &ChipKey,
    basic: Option<&str>,
) -> Result<Welcome, EstError> {
    let (tpm, unique) = (key.tpm(), key.unique());
    let (endorsed, attestation) = tpm
        .call(move |chip| Ok((chip.endorsed()?, chip.attestation(&unique)?)))
        .await?;
    let hello = Hello {
        endorsement: Bytes(endorsed.key.public().as_bytes().to_vec()),
        certificate: endorsed.certificate.map(Bytes),
        attestation: Bytes(attestation),
    };
    let body = Sent::Cbor(encode(&hello)?);
    let asked = ask(server, tls, Method::POST, CHALLENGE_PATH, None, Some(body)).await?;
    let challenge: Challenge = decode(&asked)?;
    let extra: [u8; 32] = challenge.extra.0.as_slice().try_into().map_err(|_| odd())?;
    let (kind, wrapped) = (endorsed.kind, key.wrapped().clone());
    let (object, secret) = (challenge.object.0, challenge.secret.0);
    let (opened, stated) = tpm
        .call(move |chip| {
            let opened = chip.activate(kind, &unique, &object, &secret)?;
            Ok((opened, chip.certify(&wrapped, &unique, &extra)?))
        })
        .await?;
    let proof = Proof {
        hello,
        made_ms: challenge.made_ms,
        opened: Bytes(opened),
        key: Bytes(key.wrapped().public.clone()),
        statement: Bytes(stated.statement),
        signature: Bytes(stated.signature),
    };
    let body = Sent::Cbor(encode(&proof)?);
    let answered = ask(server, tls, Method::POST, PROOF_PATH, basic, Some(body)).await?;
    decode(&answered)
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>, EstError> {
    wire::encode(message, MAX_MESSAGE)
        .map_err(|_| EstError::from(Refusal::Malformed("a message became too long")))
}

fn decode<T: DeserializeOwned>(response: &Response) -> Result<T, EstError> {
    if response.status != 200 {
        let refused = super::read_answer(response.status, None, &response.body);
        return Err(refused.err().map_or_else(odd, EstError::from));
    }
    wire::decode(&response.body, MAX_MESSAGE).map_err(|_| odd())
}

fn odd() -> EstError {
    Refusal::Malformed("it does not know what to do with a TPM").into()
}
