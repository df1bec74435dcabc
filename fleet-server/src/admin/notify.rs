//! Shell: `notify test`: whether messages get out.
#![expect(clippy::disallowed_methods, reason = "shell: the random source")]

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::{AdminError, Said};
use crate::cli::NotifyCommand;
use crate::clock::Clock;
use crate::notify::serve::{Ways, trial};
use crate::place::Place;
use crate::store::hex;

/// Runs one `notify` command.
pub async fn run(place: &Place, command: &NotifyCommand, clock: &Clock) -> Result<Said, AdminError> {
    let NotifyCommand::Test { person } = command;
    let config = place.config()?;
    let ways = Ways::open(&config.notify).map_err(|why| AdminError::Found(super::told(&why)))?;
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| AdminError::Found("the system gave no random number".into()))?;
    let done = trial(&ways, person, &hex(&bytes), clock.now()).await;
    if done.is_empty() {
        return Err(AdminError::Asked(format!(
            "no way leads to {person}: [notify] in fleet.toml has neither a webhook, nor a mail server and their address"
        )));
    }
    let (mut text, mut rows, mut is_bad) = (String::new(), Vec::<Value>::new(), false);
    for (way, sent) in &done {
        let why = sent.as_ref().err().map(|why| super::told(why));
        is_bad |= why.is_some();
        let words = why
            .as_ref()
            .map_or_else(|| "sent".to_owned(), |why| format!("not sent: {why}"));
        text.push_str(&format!("{}: {words}\n", way.name()));
        rows.push(json!({ "way": way.name(), "sent": why.is_none(), "why": why }));
    }
    let said = Said::new(text, &rows);
    Ok(if is_bad { said.failed() } else { said })
}
