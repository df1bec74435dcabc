use homeward_protocol::policy::rules::{May, Support};
use homeward_protocol::posture::ShortText;
use homeward_protocol::support::{Became, EndCause, Ended, Session};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::Saved;
use super::*;
use crate::outbox::keeper::{Keeper, Place};

const LIMIT: Duration = Duration::from_secs(20);

/// A box that keeps support sessions, without anybody who carries them.
struct Home {
    data: TempDir,
    outbox: Outbox,
    orders: mpsc::Sender<SupportOrder>,
    in_force: watch::Sender<InForce>,
    grant: watch::Receiver<Option<Grant>>,
    moved: watch::Sender<(SessionNumber, Moved)>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Home {
    async fn new() -> Home {
        Home::within(TempDir::new().expect("a folder")).await
    }

    async fn within(data: TempDir) -> Home {
        let clock = Arc::new(Clock::with_floor(0));
        let keeper = Keeper::start().expect("a thread");
        let epoch = homeward_protocol::id::Epoch(7);
        let opened = keeper.open(Place::Memory, 1 << 20, epoch, clock.now()).await;
        let (outbox, _) = opened.expect("an outbox");
        let (orders, heard) = mpsc::channel(8);
        let (in_force, ruled) = watch::channel(allowing());
        let (granting, grant) = watch::channel(None);
        let (moved, counted) = watch::channel((SessionNumber::default(), Moved::default()));
        let serving = Serving {
            data: data.path().to_owned(),
            outbox: outbox.clone(),
            clock,
            orders: heard,
            in_force: ruled,
            grant: granting,
            moved: counted,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(serving.run(stop.clone()));
        Home {
            data,
            outbox,
            orders,
            in_force,
            grant,
            moved,
            stop,
            task,
        }
    }

    async fn order(&self, number: u64) {
        let session = Session {
            session: SessionNumber(number),
            ticket: ShortText::cut("INC-1"),
            by: ShortText::cut("olga"),
            reason: ShortText::cut("the scale is silent"),
            port: 22,
            lasts_s: 600,
        };
        self.orders
            .send(SupportOrder::Open(session))
            .await
            .expect("it runs");
    }

    async fn is_open(&mut self, open: bool) {
        let waiting = self.grant.wait_for(|grant| grant.is_some() == open);
        let held = timeout(LIMIT, waiting).await;
        assert!(matches!(held, Ok(Ok(_))), "open = {open} in time");
    }

    fn kept(&self) -> Saved {
        file::load(self.data.path()).expect("it can be read")
    }

    async fn ends(self) -> TempDir {
        self.stop.cancel();
        timeout(LIMIT, self.task).await.expect("in time").expect("well");
        self.data
    }
}

fn allowing() -> InForce {
    let rule = Support {
        hazard: "h-1".parse().expect("an id"),
        tunnel: May::Yes,
        max_minutes: 10,
        to: Vec::new(),
        ports: vec!["22".parse().expect("a port")],
        while_isolated: None,
    };
    InForce {
        rule: Some(rule),
        ..InForce::default()
    }
}

#[tokio::test]
async fn whoever_is_at_the_box_ends_a_session_that_is_flooded() {
    let mut home = Home::new().await;
    home.order(7).await;
    home.is_open(true).await;
    let moved = home.moved.clone();
    let flood = tokio::spawn(async move {
        for in_bytes in 1.. {
            let moving = Moved {
                links: 1,
                in_bytes,
                out_bytes: 0,
            };
            moved.send_replace((SessionNumber(7), moving));
            sleep(Duration::from_millis(5)).await;
        }
    });
    file::wish_end(home.data.path()).expect("our own folder");
    home.is_open(false).await;
    assert!(!flood.is_finished(), "it is flooded to its end");
    flood.abort();
    home.ends().await;
}

#[tokio::test]
async fn a_wish_from_before_ends_no_session_that_comes_after_it() {
    let mut home = Home::new().await;
    file::wish_end(home.data.path()).expect("our own folder");
    home.order(7).await;
    home.is_open(true).await;
    let looked = home.grant.wait_for(Option::is_none);
    assert!(timeout(LOOK * 3, looked).await.is_err(), "it was ended");
    home.ends().await;
}

#[tokio::test]
async fn what_went_through_last_is_told_with_the_end() {
    let mut home = Home::new().await;
    for number in 1..12 {
        home.order(number).await;
        home.is_open(true).await;
        let last = Moved {
            links: 1,
            in_bytes: number,
            out_bytes: 1,
        };
        home.moved.send_replace((SessionNumber(number), last));
        let end = SupportOrder::End(SessionNumber(number));
        home.orders.send(end).await.expect("it runs");
        home.is_open(false).await;
        let told = |saved: Saved| saved.past.last().map(|record| record.became);
        let mut became = told(home.kept());
        while became == Some(Became::Opened) {
            sleep(Duration::from_millis(5)).await;
            became = told(home.kept());
        }
        assert!(
            matches!(became, Some(Became::Ended(Ended { cause: EndCause::Ordered, moved: Some(moved), .. })) if moved == last),
            "{became:?}"
        );
    }
    home.ends().await;
}

#[tokio::test]
async fn a_policy_that_leads_elsewhere_ends_what_is_open() {
    let mut home = Home::new().await;
    home.order(7).await;
    home.is_open(true).await;
    home.in_force.send_modify(|in_force| {
        let rule = in_force.rule.as_mut().expect("ruled");
        rule.to = vec!["192.0.2.0/24".parse().expect("a net")];
    });
    home.is_open(false).await;
    home.order(8).await;
    home.is_open(true).await;
    let to = home.grant.borrow().as_ref().map(|grant| grant.to.len());
    assert_eq!(to, Some(1), "it leads there only");
    home.ends().await;
}

#[tokio::test]
async fn an_end_that_no_outbox_takes_shows_as_one_and_is_told_by_the_next_start() {
    let mut home = Home::new().await;
    home.order(7).await;
    home.is_open(true).await;
    home.outbox.clone().close().await;
    file::wish_end(home.data.path()).expect("our own folder");
    home.is_open(false).await;
    while home.kept().open.is_some() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!file::end_is_wished(home.data.path()), "it is fulfilled");
    let data = home.ends().await;
    let home = Home::within(data).await;
    assert_eq!(home.kept().untold.len(), 1);
    let ledger = home.outbox.ledger();
    let told = timeout(LIMIT, async {
        while ledger.borrow().items() == 0 || !home.kept().untold.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    told.await.expect("told in time");
    home.ends().await;
}
