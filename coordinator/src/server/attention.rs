//! How a volunteer is listened to.
//!
//! An honest volunteer says little but the answers that it owes. Of anything else, what comes by itself costs a wake-up
//! and a call of the system, many times what it costs to take it in with more. So to whoever says much that nobody
//! asked for, or says it byte by byte, the session listens only now and then, and takes all that has come together.
//! Until then it waits in the buffers of the system, which hold its sender up when they are full.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::intake::Tally;
use super::limits::{LISTEN_PERIOD, SMALL_READS_IN_A_ROW_MAX};

/// The attention that one volunteer gets.
#[derive(Debug)]
pub(super) struct Attention {
    /// A [`LISTEN_PERIOD`] for each small read, less one for each part of an answer, and less the time that has passed.
    spent: Duration,
    noted: Instant,
    /// Nothing is read before this time.
    deaf_until: Option<Instant>,
    tally: Arc<Tally>,
}

impl Attention {
    /// For a channel of which nothing has been read.
    pub(super) fn new(now: Instant, tally: Arc<Tally>) -> Attention {
        Attention { spent: Duration::ZERO, noted: now, deaf_until: None, tally }
    }

    /// Notes a message that the volunteer was asked for, or a part of one.
    pub(super) fn answered(&mut self) {
        self.note_reads();
        self.spent = self.spent.saturating_sub(LISTEN_PERIOD);
    }

    /// The next of its messages. May be canceled.
    pub(super) async fn next<S: Stream + Unpin>(&mut self, messages: &mut S) -> Option<S::Item> {
        let message = loop {
            if self.is_strained() {
                if let Some(until) = self.deaf_until {
                    sleep_until(until).await;
                }
                if let Some(message) = messages.next().now_or_never() {
                    break message;
                }
                self.deaf_until = Some(Instant::now() + LISTEN_PERIOD);
                continue;
            }
            self.deaf_until = None;
            let heard = poll_fn(|context| match messages.poll_next_unpin(context) {
                Poll::Ready(message) => Poll::Ready(Some(message)),
                Poll::Pending if self.is_strained() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(message) = heard.await {
                break message;
            }
        };
        self.tally.message();
        message
    }

    fn is_strained(&mut self) -> bool {
        self.note_reads();
        if self.spent <= SMALL_READS_IN_A_ROW_MAX * LISTEN_PERIOD {
            return false;
        }
        let now = Instant::now();
        self.spent = self.spent.saturating_sub(now.saturating_duration_since(self.noted));
        self.noted = now;
        self.spent > SMALL_READS_IN_A_ROW_MAX * LISTEN_PERIOD
    }

    fn note_reads(&mut self) {
        let reads = self.tally.take_small_reads();
        if reads > 0 {
            let now = Instant::now();
            let rest = self.spent.saturating_sub(now.saturating_duration_since(self.noted));
            // Whoever is quiet for a while is soon listened to as before, however much it said.
            let most = 2 * SMALL_READS_IN_A_ROW_MAX * LISTEN_PERIOD;
            self.spent = LISTEN_PERIOD.saturating_mul(reads).saturating_add(rest).min(most);
            self.noted = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::sleep;

    use super::*;

    /// Listens to so many messages at this distance, each in a small read by itself if it is not read with others. Answers
    /// with how long after the first of them the last was heard, and at how many times any was.
    async fn listen(messages: u32, distance: Duration, are_answers: bool) -> (Duration, usize) {
        let (sender, mut receiver) = unbounded_channel();
        let talk = async move {
            for number in 0..messages {
                let _ = sender.send(number);
                sleep(distance).await;
            }
        };
        let listen = async {
            let tally = Arc::new(Tally::default());
            let mut attention = Attention::new(Instant::now(), Arc::clone(&tally));
            let (mut times, mut next, mut read) = (Vec::new(), 0, None);
            let mut stream = stream::poll_fn(|context| {
                let polled = receiver.poll_recv(context);
                if polled.is_ready() && read.replace(Instant::now()) != Some(Instant::now()) {
                    tally.read(10);
                }
                polled
            });
            while let Some(number) = attention.next(&mut stream).await {
                assert_eq!(number, next, "in order, and none is left out");
                next += 1;
                times.push(Instant::now());
                if are_answers {
                    attention.answered();
                }
            }
            assert_eq!(next, messages);
            let took = *times.last().unwrap() - times[0];
            times.dedup();
            (took, times.len())
        };
        tokio::join!(talk, listen).1
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_little_or_answers_is_heard_at_once() {
        let distance = Duration::from_secs(1);
        assert_eq!(listen(60, distance, false).await, (59 * distance, 60));
        let distance = Duration::from_millis(5);
        assert_eq!(listen(6000, distance, true).await, (5999 * distance, 6000));
        assert_eq!(listen(1000, Duration::ZERO, false).await.0, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_much_is_heard_now_and_then() {
        let (took, times) = listen(3000, Duration::from_millis(20), false).await;
        let most =
            took.as_secs_f64() / LISTEN_PERIOD.as_secs_f64() + f64::from(SMALL_READS_IN_A_ROW_MAX) + 3.0;
        assert!(took <= Duration::from_secs(60) + LISTEN_PERIOD, "{took:?}");
        assert!(times as f64 <= most, "{times} times in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn so_is_whoever_finishes_no_message() {
        let (tally, began) = (Arc::new(Tally::default()), Instant::now());
        let mut attention = Attention::new(began, Arc::clone(&tally));
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut polls = 0;
        let mut stream = stream::poll_fn(|context| -> Poll<Option<()>> {
            polls += 1;
            while ticks.poll_tick(context).is_ready() {}
            tally.read(1);
            Poll::Pending
        });
        let _ = tokio::time::timeout(Duration::from_secs(60), attention.next(&mut stream)).await;
        assert!(polls < 4 * 60 + 3 * SMALL_READS_IN_A_ROW_MAX, "{polls}");
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_for_a_while_and_it_is_heard_at_once_again() {
        let tally = Arc::new(Tally::default());
        let mut attention = Attention::new(Instant::now(), Arc::clone(&tally));
        (0..10_000).for_each(|_| tally.read(1));
        assert!(attention.is_strained());
        sleep(SMALL_READS_IN_A_ROW_MAX * LISTEN_PERIOD).await;
        let (sender, mut receiver) = unbounded_channel();
        let mut stream = stream::poll_fn(|context| receiver.poll_recv(context));
        let now = Instant::now();
        let say = async {
            sleep(LISTEN_PERIOD / 10).await;
            sender.send(()).unwrap();
        };
        tokio::join!(attention.next(&mut stream), say).0.unwrap();
        assert_eq!(now.elapsed(), LISTEN_PERIOD / 10);
    }
}
