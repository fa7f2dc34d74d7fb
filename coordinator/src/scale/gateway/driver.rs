//! The one owner of a gateway's floor: an OS thread that feeds events to it and carries out its outputs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::gateway::{Answer, Broadcast, Gateway, GatewayInput, GatewayOutput, SEND_AWAY_MS};
use anyhow::{Context, Result};
use bytes::Bytes;
use engine::floor::{FloorEvent, FloorSettings};
use engine::{Attendance, Secret};
use protocol::message::Farewell;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::GatewayEnd;
use crate::driver::exchange::{DriverHandle, FromSession, Letter, OpenRound, ToSession};
use crate::driver::referee::{self, Request, Requests};
use crate::driver::sessions::Sessions;
use crate::driver::{Order as RefereeOrder, Referee, final_figures};
use crate::report::status::{RunPhase, Status};
use crate::scale::carrier::{Carried, Carrier};
use crate::scale::news::News;
use crate::scale::{Archive, Hearing, Link, Subject, Subjects};

/// Messages from the bus that may wait. More are dropped, as if they were lost.
const EVENTS_MAX: usize = 1024;
/// Orders that may wait.
const ORDERS_MAX: usize = 8;
/// Messages of volunteers that are taken in before work is handed out.
const LETTERS_MAX: usize = 256;
/// Longest time between two renewals of the status.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// Without an answer for so long, the store is asked whether the training has ended.
const LONELY: Duration = Duration::from_secs(5);

/// Everything that a gateway's driver needs.
pub(super) struct Parts {
    pub(super) floor: FloorSettings,
    pub(super) secret: Secret,
    pub(super) incarnation: u64,
    pub(super) referee: Referee,
    /// Until the leader is heard.
    pub(super) status: Status,
    pub(super) archive: Archive,
    pub(super) link: Link,
    pub(super) subjects: Subjects,
}

/// An order to the driver.
#[derive(Debug)]
pub(super) enum Order {
    /// Give everything back and end.
    Stop,
}

/// The volunteers of a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Crowd {
    pub(super) volunteers: usize,
    pub(super) cores: usize,
    pub(super) fused_capable: usize,
    pub(super) examples: u64,
}

/// The channels to a running driver. Its thread ends when `orders` is dropped.
pub(super) struct Running {
    pub(super) sessions: DriverHandle,
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) crowd: watch::Receiver<Crowd>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) ended: oneshot::Receiver<GatewayEnd>,
    pub(super) thread: std::thread::JoinHandle<()>,
}

/// What comes over the bus.
#[derive(Debug)]
enum Event {
    Heard(Broadcast),
    Answered(Answer),
    News(Box<News>),
    /// The store says that the training has ended.
    Over,
}

/// Starts the driver's thread.
pub(super) async fn start(parts: Parts, runtime: Handle) -> Result<Running> {
    let Parts { floor, secret, incarnation, referee, status: first, archive, link, subjects } = parts;
    let (events_sender, events) = mpsc::channel(EVENTS_MAX);
    let own = link.own_subject();
    let hearings = [
        hear(&link, &subjects.all, &events_sender, |bytes| {
            Some(Event::Heard(Broadcast::decode(bytes).ok()?))
        })
        .await?,
        hear(&link, &own, &events_sender, |bytes| Some(Event::Answered(Answer::decode(bytes).ok()?))).await?,
        hear(&link, &subjects.status, &events_sender, |bytes| {
            Some(Event::News(Box::new(News::decode(bytes)?)))
        })
        .await?,
    ];
    let (round_sender, round) = watch::channel(None);
    let (sessions, inbox) = DriverHandle::new(round);
    let (status_sender, status) = watch::channel(Arc::new(first.clone()));
    let (crowd_sender, crowd) = watch::channel(Crowd::default());
    let (orders_sender, orders) = mpsc::channel(ORDERS_MAX);
    let (rulings_sender, rulings) = mpsc::channel(ORDERS_MAX);
    let (ended_sender, ended) = oneshot::channel();
    let (carrier, carried) = Carrier::new(archive.store().clone(), runtime.clone());
    let referee = referee::start(referee, rulings_sender.downgrade(), runtime.clone())
        .context("cannot start the referee's thread")?;
    let driver = Driver {
        gateway: Gateway::new(floor, &secret, incarnation),
        runtime,
        began: Instant::now(),
        present: Sessions::new(sessions.doors.clone(), sessions.lines.clone()),
        inbox,
        events,
        events_sender,
        carried,
        orders,
        rulings,
        _rulings_sender: rulings_sender,
        referee,
        carrier,
        archive,
        link,
        subjects,
        own,
        round: round_sender,
        status: status_sender,
        crowd: crowd_sender,
        news: News { status: first, ..News::default() },
        shown: None,
        asked_store: Instant::now(),
        ended: Some(ended_sender),
        _hearings: hearings,
    };
    let thread = std::thread::Builder::new().name("floor".into()).spawn(move || driver.run())?;
    Ok(Running { sessions, status, crowd, orders: orders_sender, ended, thread })
}

async fn hear(
    link: &Link,
    subject: &Subject,
    events: &mpsc::Sender<Event>,
    read: impl Fn(&[u8]) -> Option<Event> + Send + 'static,
) -> Result<Hearing> {
    let events = events.clone();
    let take = move |bytes: Bytes, _| {
        if let Some(event) = read(&bytes) {
            // One that is dropped counts as lost.
            let _ = events.try_send(event);
        }
    };
    Ok(link.hear(subject, take).await?)
}

struct Driver {
    gateway: Gateway,
    runtime: Handle,
    began: Instant,
    present: Sessions,
    inbox: mpsc::Receiver<Letter>,
    events: mpsc::Receiver<Event>,
    events_sender: mpsc::Sender<Event>,
    carried: mpsc::Receiver<Carried>,
    orders: mpsc::Receiver<Order>,
    rulings: mpsc::Receiver<RefereeOrder>,
    /// The referee ends when this is gone.
    _rulings_sender: mpsc::Sender<RefereeOrder>,
    referee: Requests,
    carrier: Carrier,
    archive: Archive,
    link: Link,
    subjects: Subjects,
    /// Where it hears answers.
    own: Subject,
    round: watch::Sender<Option<Arc<OpenRound>>>,
    status: watch::Sender<Arc<Status>>,
    crowd: watch::Sender<Crowd>,
    news: News,
    shown: Option<Instant>,
    asked_store: Instant,
    ended: Option<oneshot::Sender<GatewayEnd>>,
    _hearings: [Hearing; 3],
}

/// The event that wakes the driver.
enum Wake {
    Letter(Letter),
    Event(Event),
    Carried(Carried),
    Ruling(RefereeOrder),
    Stop,
    Time,
    /// Nobody needs the driver any more.
    End,
}

impl Driver {
    fn run(mut self) {
        loop {
            match self.wait() {
                Wake::Letter(letter) => self.letters(letter),
                Wake::Event(Event::Heard(broadcast)) => self.feed(GatewayInput::Heard(broadcast)),
                Wake::Event(Event::Answered(answer)) => self.feed(GatewayInput::Answered(answer)),
                Wake::Event(Event::News(news)) => {
                    self.news = *news;
                    let own = self.present.credits().of_all();
                    self.present.credits().set_elsewhere(self.news.examples.saturating_sub(own));
                }
                Wake::Event(Event::Over) => self.finished(),
                Wake::Carried(Carried::Stored(place)) => self.feed(GatewayInput::Stored(place)),
                Wake::Carried(Carried::Fetched(place, bytes, _)) => {
                    self.feed(GatewayInput::Fetched(place, bytes))
                }
                Wake::Ruling(RefereeOrder::Recomputed(round, answer)) => {
                    self.feed(GatewayInput::Recomputed { round, answer });
                }
                Wake::Ruling(RefereeOrder::SpotChecked(round, answer)) => {
                    self.feed(GatewayInput::SpotChecked { round, answer });
                }
                Wake::Ruling(RefereeOrder::NotRecomputed(round)) => {
                    self.feed(GatewayInput::NotRecomputed { round });
                }
                Wake::Ruling(RefereeOrder::NotSpotChecked(round)) => {
                    self.feed(GatewayInput::NotSpotChecked { round });
                }
                Wake::Ruling(_) => {}
                Wake::Stop => self.feed(GatewayInput::Stop),
                Wake::Time => self.feed(GatewayInput::Tick),
                Wake::End => return,
            }
            if self.shown.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
                self.show();
            }
        }
    }

    fn wait(&mut self) -> Wake {
        let now_ms = self.now_ms();
        let until_due = self.gateway.wake_ms().map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
        let timeout = until_due.unwrap_or(SHOW_EVERY).min(SHOW_EVERY);
        let (inbox, orders, events) = (&mut self.inbox, &mut self.orders, &mut self.events);
        let (carried, rulings) = (&mut self.carried, &mut self.rulings);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                order = orders.recv() => order.map_or(Wake::End, |Order::Stop| Wake::Stop),
                Some(event) = events.recv() => Wake::Event(event),
                Some(carried) = carried.recv() => Wake::Carried(carried),
                Some(ruling) = rulings.recv() => Wake::Ruling(ruling),
                Some(letter) = inbox.recv() => Wake::Letter(letter),
                () = tokio::time::sleep(timeout) => Wake::Time,
            }
        })
    }

    /// Takes in messages of volunteers, as many as have come; work is handed out once after all of them.
    fn letters(&mut self, first: Letter) {
        self.session(first.session, first.message);
        for _ in 1..LETTERS_MAX {
            let Ok(letter) = self.inbox.try_recv() else { break };
            self.session(letter.session, letter.message);
        }
        self.carry_out_all();
    }

    fn session(&mut self, session: u64, message: FromSession) {
        let now_ms = self.now_ms();
        match message {
            FromSession::Joined(joined) => {
                if self.ended.is_none() {
                    let _ = joined.outbox.try_send(ToSession::Finish(self.farewell().into()));
                    return;
                }
                if let Some(older) = self.present.join(session, &joined) {
                    self.present.send(older, ToSession::Replace);
                    self.leave(older);
                }
                let (cores, local, identity) = (joined.cores, joined.local, joined.identity);
                let training_shards = joined.training_shards;
                let input = GatewayInput::Joined { session, cores, local, identity, training_shards };
                self.gateway.handle(now_ms, input);
            }
            FromSession::Said(message) => {
                self.gateway.handle(now_ms, GatewayInput::Message { session, message });
                if self.gateway.floor().has_helped(session) {
                    self.present.note_help(session);
                }
            }
            FromSession::Misbehaved { offense } => {
                self.gateway.handle(now_ms, GatewayInput::Misbehaved { session, offense });
            }
            FromSession::Left => self.leave(session),
        }
    }

    fn leave(&mut self, session: u64) {
        self.present.forget(session);
        self.gateway.handle(self.now_ms(), GatewayInput::Left { session });
    }

    fn feed(&mut self, input: GatewayInput) {
        self.gateway.handle(self.now_ms(), input);
        self.carry_out_all();
    }

    fn carry_out_all(&mut self) {
        loop {
            while let Some(output) = self.gateway.poll_output() {
                self.carry_out(output);
            }
            let Some(session) = self.present.take_lost() else { return };
            self.gateway.handle(self.now_ms(), GatewayInput::Left { session });
        }
    }

    fn carry_out(&mut self, output: GatewayOutput) {
        match output {
            GatewayOutput::Request(request) => {
                self.link.say(&self.subjects.up, Some(&self.own), request.encode());
            }
            GatewayOutput::Put(place, bytes) => self.carrier.put(place, bytes),
            GatewayOutput::Fetch(place) => self.carrier.fetch(place),
            GatewayOutput::OpenRound { plan, vectors } => {
                self.referee.opened(plan.round);
                self.round.send_replace(Some(Arc::new(OpenRound::new(plan, &vectors))));
            }
            GatewayOutput::Recompute { plan, units, vectors } => {
                self.referee.recompute(Request { plan, units, vectors });
            }
            GatewayOutput::SpotCheck { plan, units, vectors } => {
                self.referee.spot_check(Request { plan, units, vectors });
            }
            GatewayOutput::Floor(event) => self.floor(event),
            GatewayOutput::Struck(strike) => self.present.struck(&strike),
            GatewayOutput::Banned { token, is_banned: true } => self.present.doors().ban(token),
            GatewayOutput::Banned { token, is_banned: false } => self.present.doors().unban(token),
            GatewayOutput::Note(text) => tracing::warn!("{text}"),
            GatewayOutput::SendAway => self.send_away(),
            GatewayOutput::TakeIn => self.present.doors().open(),
            GatewayOutput::Finished => self.finished(),
            GatewayOutput::Stopped => self.end(GatewayEnd::Stopped),
        }
    }

    fn floor(&mut self, event: FloorEvent) {
        match event {
            FloorEvent::Assign { session, assignment } => {
                self.present.send(session, ToSession::Assign(assignment));
            }
            FloorEvent::Dismiss { session, text } => {
                self.present.send(session, ToSession::Dismiss { text });
                self.present.forget(session);
            }
            FloorEvent::Convicted { session, identity, offense, .. } => {
                self.present.convicted(session, identity, &offense);
            }
            FloorEvent::Delivered { session, examples, counted } => {
                self.present.credits().count(session, counted.then_some(examples));
            }
            // The gateway's state machine has dealt with these.
            FloorEvent::Tainted { .. } | FloorEvent::Recompute { .. } | FloorEvent::Unfit { .. } => {}
        }
    }

    /// Whoever is here may find a gateway that hears the coordinator.
    fn send_away(&mut self) {
        let seconds = SEND_AWAY_MS / 1_000;
        tracing::warn!(
            "no message of a coordinator for {seconds} s; sending volunteers away until one comes: check that a \
             coordinator runs with this --link and this --store"
        );
        self.present.doors().close("This server has lost the training's coordinator.");
        for session in self.present.release() {
            self.gateway.handle(self.now_ms(), GatewayInput::Left { session });
        }
    }

    /// The training has ended.
    fn finished(&mut self) {
        let farewell = self.farewell();
        self.present.finish(|credit| ToSession::Finish(Farewell { credit, ..farewell.clone() }.into()));
        self.end(GatewayEnd::Finished);
        self.news.status.phase = RunPhase::Finished;
        self.show();
    }

    fn end(&mut self, end: GatewayEnd) {
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(end);
        }
    }

    fn farewell(&self) -> Farewell {
        let Status { iteration, figures, .. } = self.news.status;
        let figures = figures.map(|figures| final_figures(iteration, &figures)).unwrap_or_default();
        Farewell { text: "The training has ended.".to_owned(), figures, ..Farewell::default() }
    }

    /// Renews what pages and the leader see.
    fn show(&mut self) {
        self.shown = Some(Instant::now());
        self.present.sum_up_lines();
        self.present.credits().show();
        let Attendance { volunteers, cores } = self.gateway.floor().attendance();
        let crowd = Crowd {
            volunteers,
            cores,
            fused_capable: self.present.fused_capable(),
            examples: self.present.credits().of_all(),
        };
        self.crowd.send_replace(crowd);
        let unanswered = Duration::from_millis(self.gateway.unanswered_ms(self.now_ms()));
        let mut status = self.news.status.clone();
        if self.ended.is_some() && unanswered >= LONELY {
            // What the leader said last may be that it saves the results, which another one does then.
            if status.phase == RunPhase::Finished {
                status.phase = RunPhase::Training;
            }
            "The coordinator does not answer; waiting for it.".clone_into(&mut status.sentence);
            self.ask_store();
        }
        self.status.send_replace(Arc::new(status));
    }

    /// The last broadcast may have been lost, and the coordinator gone after it.
    fn ask_store(&mut self) {
        if self.asked_store.elapsed() < LONELY || self.ended.is_none() {
            return;
        }
        self.asked_store = Instant::now();
        let (archive, events) = (self.archive.clone(), self.events_sender.clone());
        self.runtime.spawn(async move {
            if archive.has_finished().await.unwrap_or(false) {
                let _ = events.send(Event::Over).await;
            }
        });
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
