//! Shell: asks the sensors of one line, for ever, each when it is due.
#![expect(clippy::disallowed_methods, reason = "shell: waits for the next turn")]

use std::sync::Arc;

use homeward_devices::link::{LinkError, Registers};
use homeward_devices::modbus::bus::Bus;
use homeward_devices::modbus::{self, Answer, Ask, Identity, Request};
use homeward_protocol::time::{Timestamp, Uptime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::care::Judged;
use crate::outbox::Progress;
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;
use crate::sense::{Heard, Line, Outcome, Said, Sensor};

/// Parts in which a device may say who it is: there are three objects.
const PARTS: usize = 3;

/// Both clocks of the box.
pub type Clock = Arc<dyn Fn() -> (Timestamp, Uptime) + Send + Sync>;

/// One poll of one sensor over its line, for the command line.
pub async fn once<R: Registers>(sensor: &Sensor, mut registers: R) -> Outcome {
    let questions = modbus::requests(&sensor.profile);
    ask(&mut registers, sensor, &questions, false).await
}

/// Polls `line` over its shared `registers` until `stop`, or until nobody takes what is heard. Who its devices say
/// they are is kept in `memory`; without one it is known until the end only.
pub async fn run<R: Registers>(
    mut registers: Bus<R>,
    mut line: Line,
    (clock, judged, mut habits): (Clock, watch::Receiver<Judged>, Now),
    out: mpsc::Sender<Heard>,
    memory: Option<Outbox>,
    stop: CancellationToken,
) {
    loop {
        let (now, asked) = clock();
        line.follow(&habits.borrow_and_update(), asked);
        let mut heard = line.tick(now, asked);
        if let Some(which) = line.due(asked)
            && let Some((sensor, questions)) = line.questions(which)
        {
            let turn = ask(&mut registers, sensor, questions, line.identifies(which, asked));
            let Some(outcome) = stop.run_until_cancelled(turn).await else {
                return;
            };
            let (now, up) = clock();
            line.judge(*judged.borrow());
            let failed_before = line.failures(which);
            if let Some(one) = line.handle(which, &outcome, asked, (now, up)) {
                tell(failed_before, &one, &outcome);
                heard.push(one);
            }
            if let (Some(learnt), Some(memory)) = (line.learnt(which), &memory) {
                keep(memory, learnt, now).await;
            }
        } else if heard.is_empty() {
            let wait = line.deadline().map(|at| at.since(asked));
            let Some(wait) = wait else { return };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                Ok(()) = habits.changed() => {}
            }
        }
        for one in heard {
            if out.send(one).await.is_err() {
                return;
            }
        }
    }
}

/// Puts the questions of one turn. A line that broke is not asked again in this turn.
async fn ask<R: Registers>(
    registers: &mut R,
    sensor: &Sensor,
    questions: &[Request],
    identify: bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    if identify {
        match who(registers, sensor.unit).await {
            Ok(said) => outcome.said = said,
            Err(error) => {
                outcome.error = Some(format!("who it is: {error}"));
                return outcome;
            }
        }
    }
    for request in questions {
        let answer = registers.read(sensor.unit, *request).await;
        match answer.and_then(|words| modbus::samples(&sensor.profile, *request, &words)) {
            Ok(decoded) => outcome.answers.push(decoded),
            Err(error) => {
                let names = modbus::names(&sensor.profile, *request);
                debug!(sensor.id = %sensor.id, %error, "sensor {} did not give {names}", sensor.id);
                outcome.error.get_or_insert(format!("{names}: {error}"));
                if !error.answered() {
                    break;
                }
            }
        }
    }
    outcome
}

/// Who the device says it is; none when it cannot say it now. Fails when the line broke.
async fn who<R: Registers>(registers: &mut R, unit: u8) -> Result<Option<Said>, LinkError> {
    /// A device that does not know the function.
    const UNKNOWN: u8 = 1;
    let mut whole = Identity::default();
    let mut next = 0;
    for _ in 0..PARTS {
        match registers.call(unit, Ask::Identify(next)).await {
            Ok(Answer::Identity(part)) => whole.join(part),
            Ok(Answer::Words(_) | Answer::Written) => return Err(LinkError::Mismatch),
            Err(LinkError::Exception { code: UNKNOWN }) => return Ok(Some(Said::Nothing)),
            Err(error) if error.answered() => return Ok(None),
            Err(error) => return Err(error),
        }
        match whole.next() {
            Some(more) => next = more,
            None => break,
        }
    }
    let model = whole.model();
    Ok(Some(if model.trim().is_empty() {
        Said::Nothing
    } else {
        Said::Model(model)
    }))
}

async fn keep(memory: &Outbox, learnt: Progress, now: Timestamp) {
    info!(
        sensor.id = learnt.stream,
        "sensor {} said for the first time who it is", learnt.stream
    );
    if let Err(error) = memory.keep(Vec::new(), Some(learnt), now).await {
        warn!(%error, "who a device says it is could not be kept: it is learnt again after a restart");
    }
}

/// Logs what changed, never a value.
fn tell(failed_before: u32, heard: &Heard, outcome: &Outcome) {
    let id = &heard.state.sensor;
    match (failed_before, heard.state.failures, &outcome.error) {
        (0, 1.., Some(error)) => warn!(sensor.id = %id, "sensor {id} does not answer: {error}"),
        (1.., 0, _) => info!(sensor.id = %id, "sensor {id} answers again"),
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests: a simulated device on a socket")]
mod tests;
