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
