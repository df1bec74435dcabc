//! Shell: gathers what the box proves itself with, as it starts and for the command line.

use std::path::Path;
use std::sync::Arc;

use homeward_protocol::attest::{Nonce, Notice};
use homeward_protocol::evidence::{Evidence, Profile};
use homeward_protocol::signed::tagged::thumbprint;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::updating::version;
use super::wards::{Task, task};
use super::{RunError, WISHES};
use crate::attest::answer::{Answer, Proof};
use crate::attest::file;
use crate::attest::keep::{End, Keeping};
use crate::attest::measure::measure;
use crate::attest::quote::Quoter;
use crate::attest::{Boots, Heard, Speech, Standing, claims};
use crate::care::Judged;
use crate::clock::Clock;
use crate::identity::keys::{DeviceKey, Folder};
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;
use crate::posture::facts::boot_id;
use crate::status::LinkStatus;

/// Counts this boot, and goes on with the judgement of an earlier run until it ends. An update that `is_on_trial` is judged
/// anew.
pub fn prepare(
    data: &Path,
    key: &Arc<DeviceKey>,
    is_on_trial: bool,
) -> Result<(Proof, watch::Receiver<Judged>), RunError> {
    let (boots, since) = file::boots(data, boot_id(), &version(data).to_string())?;
    let standing = Standing {
        box_id: file::box_id(data)?,
        boots,
        key: thumbprint(&key.public()?),
    };
    let before = file::verdict(data);
    let (judged, graded) = watch::channel(before.as_ref().map_or(Judged::NOT_YET, Judged::of));
    let proof = Proof {
        data: data.to_owned(),
        standing,
        since: since.on(is_on_trial),
        signer: Arc::clone(key) as _,
        tpm: key
            .chip()
            .map(|chip| Arc::new(Quoter::new(chip.tpm().clone(), chip.unique())) as _),
        judged,
    };
    Ok((proof, graded))
}

/// The link's ends of the conversation about trust.
pub struct Ends {
    /// Where challenges and judgements go.
    pub attest: mpsc::Sender<Heard>,
    /// What is to be said.
    pub speech: mpsc::Receiver<Speech>,
    /// Where others put what is to be said.
    pub says: mpsc::Sender<Speech>,
}

/// The tasks that answer for this box and keep its chain of postures, and the link's ends of them. Without a proof there
/// are none.
pub fn converse(
    proof: Option<Proof>,
    outbox: &Outbox,
    (clock, link, habits): (&Arc<Clock>, &watch::Receiver<LinkStatus>, &Now),
    stop: &CancellationToken,
) -> (Ends, Vec<Task>) {
    let (attest, heard) = mpsc::channel(WISHES);
    let (says, speech) = mpsc::channel(WISHES);
    let mut tasks = Vec::new();
    if let Some(proof) = proof {
        let (end, postures) = watch::channel(End::default());
        let keeping = Keeping {
            data: proof.data.clone(),
            standing: proof.standing.clone(),
            signer: Arc::clone(&proof.signer),
            tpm: proof.tpm.clone(),
            outbox: outbox.clone(),
            clock: Arc::clone(clock),
            habits: habits.clone(),
            link: link.clone(),
            end,
        };
        let keeping = keeping.run(stop.clone());
        let task_of = async { ("postures", keeping.await.map_err(RunError::from)) };
        tasks.push(Box::pin(task_of) as Task);
        let answer = Answer {
            proof,
            clock: Arc::clone(clock),
            heard,
            says: says.clone(),
            link: link.clone(),
            postures,
        };
        tasks.push(task("attest", answer.run(stop.clone())));
    }
    (Ends { attest, speech, says }, tasks)
}

/// The evidence of this box as it would be sent now, over a number of zeros, and what the server last said. Counts no
/// boot and changes nothing.
pub fn look(data: &Path, clock: &Clock) -> Result<(Evidence, Option<Notice>), RunError> {
    let key = Folder::within(data).certified()?;
    let boots = file::known_boots(data).filter(|boots| boots.boot == boot_id());
    let standing = Standing {
        box_id: file::box_id(data)?,
        boots: boots.unwrap_or_else(|| Boots::next(None, boot_id(), &version(data).to_string(), [0; 32]).0),
        key: thumbprint(&key),
    };
    let asked = (Nonce([0; 32]), Profile::Software);
    let evidence = claims(&standing, measure(data), None, asked, clock.now(), clock.uptime());
    Ok((evidence, file::verdict(data)))
}
