use homeward_protocol::policy::rules::{May, Support};
use homeward_protocol::posture::ShortText;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::outbox::keeper::{Keeper, Place};

const LIMIT: Duration = Duration::from_secs(20);

/// A box that keeps support sessions, without anybody who carries them.
struct Home {
    data: TempDir,
    orders: mpsc::Sender<SupportOrder>,
    in_force: watch::Sender<InForce>,
    grant: watch::Receiver<Option<Grant>>,
    moved: watch::Sender<(SessionNumber, Moved)>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Home {
    async fn new() -> Home {
        let data = TempDir::new().expect("a folder");
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
            outbox,
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

    async fn ends(self) {
        self.stop.cancel();
        timeout(LIMIT, self.task).await.expect("in time").expect("well");
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
        isolated: false,
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
