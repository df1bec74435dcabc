//! Shell: the demo's live view: one line a home and one for the campaign, until Ctrl-C.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use homeward_devices::simulated::Behaviour;
use homeward_tests::campaign::Board;
use homeward_tests::homes::Home;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::proxy::Link;

use super::{IN_THERAPY, LOSES_LINK, SHUT_OUT, campaign, shut_out};

/// The therapy of Elm Row ends at this second; before that it is waited for.
const THERAPY_ENDS: u64 = 60;
/// Most characters of a line: a longer one would break, and the view with it.
const WIDTH: usize = 118;

/// Mill Road's link comes and goes, Old Quay is shut out once, and the therapy of Elm Row ends after a minute.
pub(crate) async fn live(fleet: &Fleet, homes: &mut [Home]) -> Result<(), String> {
    let redraw = std::io::stdout().is_terminal();
    let mut drawn = false;
    for second in 0u64.. {
        match second % 90 {
            70 => homes[LOSES_LINK].set_link(Link::Down),
            85 => homes[LOSES_LINK].set_link(Link::Clear),
            _ => {}
        }
        match second {
            30 => shut_out(fleet, &homes[SHUT_OUT]),
            THERAPY_ENDS => homes[IN_THERAPY].set_device(Behaviour::Resting),
            _ => {}
        }
        homes.iter_mut().for_each(Home::tend);
        if redraw || second.is_multiple_of(5) {
            let board = campaign::board(fleet);
            if redraw && drawn {
                print!("\x1b[{}A", homes.len() + 1);
            }
            let clear = if redraw { "\x1b[2K" } else { "" };
            for home in homes.iter() {
                println!("{clear}{}", line(home, &board));
            }
            println!("{clear}{}", cut(&format!("  The campaign {}", board.stands())));
            drawn = true;
            std::io::stdout().flush().map_err(|e| e.to_string())?;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    Ok(())
}

fn line(home: &Home, board: &Board) -> String {
    let status = home.agent.status();
    let connected = !status["link"]["connected_since"].is_null();
    let link = if connected {
        "● connected   "
    } else {
        "○ no connection"
    };
    let waiting = home.waiting();
    let kept = if connected || waiting == 0 {
        String::new()
    } else {
        format!(", {waiting} records kept safe")
    };
    let says = board.says(home.gateway.as_str());
    let says = if says.is_empty() {
        String::new()
    } else {
        format!("  {says}")
    };
    cut(&format!(
        "  {:<14} {} {link}{kept}{says}",
        home.placement, home.gateway
    ))
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let first: String = line.chars().take(WIDTH - 1).collect();
    format!("{first}…")
}
