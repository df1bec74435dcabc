use std::sync::Mutex as Plain;

use super::*;
use crate::modbus::Write;
use crate::profile::Function;

/// What reached the line, with its unit.
type Asked = Arc<Plain<Vec<(u8, Ask)>>>;

/// A line whose every question takes `cost`, with one register that keeps what is written unless it is stuck.
struct Slow {
    cost: Duration,
    holds: u16,
    stuck: bool,
    asked: Asked,
}

impl Registers for Slow {
    async fn call(&mut self, unit: u8, ask: Ask) -> Result<Answer, LinkError> {
        tokio::time::sleep(self.cost).await;
        self.asked.lock().expect("unpoisoned").push((unit, ask.clone()));
        match ask {
            Ask::Read(_) => Ok(Answer::Words(vec![self.holds])),
            Ask::Write(write) => {
                self.holds = if self.stuck { self.holds } else { write.words()[0] };
                Ok(Answer::Written)
            }
            Ask::Identify(_) => Err(LinkError::Exception { code: 1 }),
        }
    }

    async fn read(&mut self, unit: u8, request: Request) -> Result<Vec<u16>, LinkError> {
        let answer = self.call(unit, Ask::Read(request)).await?;
        answer.words().ok_or(LinkError::Mismatch)
    }
}

fn bus(cost: u64, stuck: bool) -> (Bus<Slow>, Asked) {
    let asked = Asked::default();
    let line = Slow {
        cost: Duration::from_millis(cost),
        holds: 7,
        stuck,
        asked: Arc::clone(&asked),
    };
    (Bus::new(line), asked)
}

const REGISTER: Request = Request {
    function: Function::HoldingRegisters,
    address: 4,
    count: 1,
};

#[tokio::test(start_paused = true)]
async fn ten_greedy_guests_delay_a_poll_by_one_question_and_get_half_of_the_line() {
    let (mut bus, asked) = bus(100, false);
    for _ in 0..10 {
        let guest = bus.guest(Duration::from_mins(10));
        tokio::spawn(async move { while guest.call(2, Ask::Read(REGISTER)).await.is_ok() {} });
    }
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let start = Instant::now();
        bus.read(1, REGISTER).await.expect("answers");
        longest = longest.max(start.elapsed());
    }
    assert!(longest <= Duration::from_millis(201), "{longest:?}");
    let guests = asked
        .lock()
        .expect("unpoisoned")
        .iter()
        .filter(|(unit, _)| *unit == 2)
        .count();
    let most = begun.elapsed().as_millis() / 200 + 1;
    assert!(
        guests > 20 && guests as u128 <= most,
        "{guests} of at most {most}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_waits_too_long_is_told_that_the_line_is_busy() {
    let (bus, asked) = bus(5_000, false);
    let first = bus.guest(Duration::from_secs(1));
    let second = first.clone();
    tokio::spawn(async move { first.call(1, Ask::Read(REGISTER)).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let refused = second.call(1, Ask::Read(REGISTER)).await;
    assert!(matches!(refused, Err(LinkError::Busy)), "{refused:?}");
    assert!(
        asked.lock().expect("unpoisoned").is_empty(),
        "nothing of the second reached the line"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_confirmed_and_not_taken_is_an_error() {
    let write = Ask::Write(Write::Register { address: 4, value: 9 });
    let guest = bus(1, false).0.guest(Duration::from_secs(1));
    assert_eq!(
        guest.call(1, write.clone()).await.expect("taken"),
        Answer::Written
    );
    let guest = bus(1, true).0.guest(Duration::from_secs(1));
    let refused = guest.call(1, write).await;
    assert!(matches!(refused, Err(LinkError::NotTaken)), "{refused:?}");
}
