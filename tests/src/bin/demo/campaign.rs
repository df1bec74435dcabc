//! Shell: the demo's campaign: a release signed by offline keys goes to the homes, and one in which a therapy runs is waited for.

use std::time::{Duration, Instant};

use homeward_devices::simulated::Behaviour;
use homeward_tests::campaign::{Board, Campaign};
use homeward_tests::homes::Home;
use homeward_tests::programs::binary;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::releases::Releases;
use homeward_tests::tally::number;
use serde::Serialize;

use super::{IN_THERAPY, LOSES_LINK, pause};

const CAMPAIGN: Campaign = Campaign {
    name: "agent-7.1.0",
    target: "agent/7.1.0",
};
/// A wave takes half a minute; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_mins(4);

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// Homes that took part.
    homes: u64,
    /// Homes that run the release and are well.
    well: u64,
    failed: u64,
    /// Why the home in therapy was waited for, as the server said it.
    waited_for: String,
    /// How long it was, from the first look to the end of the therapy.
    waited_s: u64,
    /// Whether its agent was restarted, or the release put in place, before the therapy ended.
    disturbed: bool,
}

impl Figure {
    /// Whether it went as it should.
    pub(crate) fn is_right(&self) -> bool {
        self.well >= 2 && self.failed == 0 && !self.disturbed && !self.waited_for.is_empty()
    }

    /// In plain words.
    pub(crate) fn words(&self) -> String {
        format!(
            "Version 7.1.0: {} of {} homes run it and are well, {} failed. Elm Row was waited for, {} s until its oxygen rested, and was {}disturbed before.",
            self.well,
            self.homes,
            self.failed,
            self.waited_s,
            if self.disturbed { "" } else { "not " }
        )
    }
}

/// Makes and signs two releases with offline keys, and carries them to the server: what runs everywhere, as there must be a way
/// back, and another build of it.
pub(crate) fn publish(fleet: &Fleet) -> Result<Releases, String> {
    let agent = binary("homeward-agent");
    let releases = Releases::new(fleet);
    let mut build = std::fs::read(&agent).map_err(|e| format!("{}: {e}", agent.display()))?;
    build.extend(b"another build");
    let new = releases.write("new", &build);
    // The very build that runs: a box takes nothing older but what ran there.
    releases.add("0.1.0", &releases.shipped, "0.0.0");
    releases.add("7.1.0", &new, "0.0.0");
    releases.publish(fleet);
    Ok(releases)
}

/// Plans it when each box has said what it runs, says the plan in numbers, and starts it; how many homes take part.
pub(crate) async fn begin(fleet: &Fleet, homes: &mut [Home], say: &dyn Fn(&str)) -> Result<u64, String> {
    let own = [LOSES_LINK, IN_THERAPY].map(|n| homes[n].gateway.to_string());
    fleet.run(&["group", "add", "own", &own[0], &own[1]]).ok();
    let until = Instant::now() + LIMIT;
    while said(fleet) < homes.len() {
        if Instant::now() > until {
            return Err("not each box has said what it runs".into());
        }
        homes.iter_mut().for_each(Home::tend);
        pause(1).await;
    }
    let plan = CAMPAIGN.plan(fleet);
    let waves: Vec<String> = plan
        .waves()
        .into_iter()
        .map(|(wave, count)| format!("{count} in the wave `{wave}`"))
        .collect();
    say(&format!(
        "Version 7.1.0 is signed by two people, offline. The plan: {}; nothing has changed yet.",
        waves.join(", ")
    ));
    if !CAMPAIGN.start(fleet, plan.code()) {
        return Err("the campaign could not be started".into());
    }
    say("The campaign is started by the code of that plan.");
    Ok(plan.waves().iter().map(|(_, count)| count).sum())
}

/// How many boxes have said what they run.
fn said(fleet: &Fleet) -> usize {
    let told = number(
        &fleet.dir().join("fleet.db"),
        "SELECT count(*) FROM update_states",
    );
    usize::try_from(told).unwrap_or(0)
}

/// How it stands.
pub(crate) fn board(fleet: &Fleet) -> Board {
    CAMPAIGN.board(fleet)
}

/// Looks until it stands so.
async fn until(
    fleet: &Fleet,
    homes: &mut [Home],
    what: &str,
    is: impl Fn(&Board) -> bool,
) -> Result<Board, String> {
    let end = Instant::now() + LIMIT;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        homes.iter_mut().for_each(Home::tend);
        let board = board(fleet);
        if is(&board) {
            return Ok(board);
        }
        if Instant::now() > end {
            return Err(format!("waited for {what}: {}", board.0));
        }
    }
}

/// What is remembered of the home in therapy while it is waited for.
pub(crate) struct Waiting {
    homes: u64,
    since: Instant,
    said: String,
    pid: u32,
}

/// Until the home in therapy is waited for.
pub(crate) async fn waits(
    fleet: &Fleet,
    homes: &mut [Home],
    count: u64,
    say: &dyn Fn(&str),
) -> Result<Waiting, String> {
    let (therapy, pid) = (
        homes[IN_THERAPY].gateway.to_string(),
        homes[IN_THERAPY].agent.program().pid(),
    );
    let is = |board: &Board| board.says(&therapy).contains("oxygen is being used");
    let board = until(fleet, homes, "Elm Row to be waited for", is).await?;
    let said = board.says(&therapy).to_owned();
    say(&format!(
        "Elm Row is in therapy, and is waited for. The server says why: \"{said}\"."
    ));
    Ok(Waiting {
        homes: count,
        since: Instant::now(),
        said,
        pid,
    })
}

/// Until the other home of the wave tries the release; then the therapy ends.
pub(crate) async fn therapy_ends(
    fleet: &Fleet,
    homes: &mut [Home],
    waiting: Waiting,
    say: &dyn Fn(&str),
) -> Result<Figure, String> {
    let (therapy, other) = (
        homes[IN_THERAPY].gateway.to_string(),
        homes[LOSES_LINK].gateway.to_string(),
    );
    let tries = |board: &Board| board.says(&other).starts_with("tries 7.1.0");
    let board = until(fleet, homes, "Mill Road to try it", tries).await?;
    let waits = board.step(&therapy) == "waiting";
    say("Mill Road had a quiet moment, and tries it. Elm Row is still waited for.");
    let disturbed = !waits || homes[IN_THERAPY].agent.program().pid() != waiting.pid;
    homes[IN_THERAPY].set_device(Behaviour::Resting);
    let waited_s = waiting.since.elapsed().as_secs();
    say("The therapy in Elm Row is over.");
    Ok(Figure {
        homes: waiting.homes,
        well: 0,
        failed: 0,
        waited_for: waiting.said,
        waited_s,
        disturbed,
    })
}

/// Until so many homes of the first wave are well.
pub(crate) async fn are_well(fleet: &Fleet, homes: &mut [Home], count: u64) -> Result<(), String> {
    let is = |board: &Board| board.count("own", "confirmed") >= count;
    until(fleet, homes, "homes to be well", is).await.map(drop)
}

/// With how it stands at the end.
pub(crate) fn ended(fleet: &Fleet, figure: Figure) -> Figure {
    let board = board(fleet);
    Figure {
        well: board.all("confirmed"),
        failed: board.all("failed"),
        ..figure
    }
}
