//! Shell: takes "nothing changed", and asks who says something else than is known. Writes nothing.

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::facts::Still;
use homeward_protocol::topic::Topic;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Wish, answer};
use crate::gate::{Connections, Spoken, Testimony};
use crate::store::{Store, StoreError, Tx, facts};

/// Messages that are compared together.
const TOGETHER: usize = 256;

/// Passes on to those who judge what is evidence, and keeps "nothing changed" for [`serve`]. A full inbox makes the gate
/// wait, as it does without this.
pub async fn sort(
    mut arriving: mpsc::Receiver<Testimony>,
    evidence: mpsc::Sender<Testimony>,
    still: mpsc::Sender<Testimony>,
    stop: CancellationToken,
) {
    while let Some(Some(one)) = stop.run_until_cancelled(arriving.recv()).await {
        let to = match one.spoken {
            Spoken::Still(_) => &still,
            Spoken::Ask(_) | Spoken::Evidence(_) => &evidence,
        };
        if to.send(one).await.is_err() {
            return; // the part behind it has ended, and with it the server
        }
    }
}

/// Runs until `stop`, or until the gate is gone.
pub async fn serve(
    store: Store,
    connections: Connections,
    mut arriving: mpsc::Receiver<Testimony>,
    stop: CancellationToken,
) {
    let mut came = Vec::new();
    while let Some(count) = stop
        .run_until_cancelled(arriving.recv_many(&mut came, TOGETHER))
        .await
    {
        if count == 0 {
            return;
        }
        hear(&store, &connections, std::mem::take(&mut came)).await;
    }
}

async fn hear(store: &Store, connections: &Connections, came: Vec<Testimony>) {
    let mut said = Vec::with_capacity(came.len());
    for one in came {
        if let Spoken::Still(bytes) = &one.spoken {
            match Still::decode(bytes) {
                Ok(still) => said.push((one.gateway.clone(), still)),
                Err(error) => {
                    debug!(gateway.id = %one.gateway, "{} said something unreadable of its facts: {error}", one.gateway);
                }
            }
        }
        // It is a hint: nothing is lost when it is not understood, or the store is away.
        let _gone = one.done.send(());
    }
    metrics::counter!("homeward_facts_still_total").increment(said.len() as u64);
    match store.read(move |tx| wishes(tx, &said)).await {
        Ok(wishes) => {
            for (gateway, wish) in wishes {
                ask(connections, &gateway, wish);
            }
        }
        Err(failed) => warn!("what is known of gateways could not be read: {failed}"),
    }
}

fn wishes(tx: &mut dyn Tx, said: &[(GatewayId, Still)]) -> Result<Vec<(GatewayId, Wish)>, StoreError> {
    let mut wishes = Vec::new();
    for (gateway, still) in said {
        let known = facts::head(tx, gateway)?;
        let has_list = match still.software {
            Some(name) => facts::has_list(tx, name)?,
            None => true,
        };
        wishes.extend(answer(still, known, has_list).map(|wish| (gateway.clone(), wish)));
    }
    Ok(wishes)
}

/// Asks one gateway for something, if it is connected.
pub fn ask(connections: &Connections, gateway: &GatewayId, wish: Wish) {
    let sent = connections.send(gateway, Topic::Hint(gateway.clone()), wish.word().to_vec());
    debug!(gateway.id = %gateway, "asked {gateway} for its {wish:?}: {sent:?}");
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests: a file, and tasks")]
mod tests {
    use homeward_protocol::posture::facts::Mark;
    use homeward_protocol::signed::PublicKey;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::promises::{Home, block};

    /// All bytes of the database's files, but for the shared memory that readers use.
    fn bytes(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(folder)
            .expect("a folder")
            .filter_map(Result::ok);
        let kept = files.filter(|file| !file.file_name().to_string_lossy().ends_with("-shm"));
        let mut all: Vec<_> = kept
            .map(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                (name, std::fs::read(file.path()).expect("reads"))
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_thousand_boxes_that_say_nothing_changed_write_no_byte() {
        let home = Home::embedded();
        let store = home.open();
        let still = Still {
            number: 7,
            mark: Mark([7; 16]),
            software: None,
        };
        let payload = still.encode().expect("it fits");
        let before = bytes(home.folder());
        block(async {
            let (says, heard) = mpsc::channel(16);
            let stop = CancellationToken::new();
            let serving = serve(store.clone(), Connections::new(1), heard, stop.clone());
            let serving = tokio::task::spawn(serving);
            for n in 0..1000 {
                let (done, stored) = oneshot::channel();
                let one = Testimony {
                    gateway: format!("gw-{n}").parse().expect("an id"),
                    key: PublicKey::from_point(&point()).expect("a key"),
                    spoken: Spoken::Still(payload.clone().into()),
                    done,
                };
                says.send(one).await.expect("it is taken");
                stored.await.expect("it is acknowledged");
            }
            stop.cancel();
            serving.await.expect("ends");
        });
        assert_eq!(bytes(home.folder()), before, "the database changed");
    }

    /// The generator of P-256. Source: SEC 2, 2.4.2.
    fn point() -> [u8; 65] {
        let hex = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                   4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        let mut point = [0; 65];
        for (byte, at) in point.iter_mut().zip((0..130).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        }
        point
    }
}
