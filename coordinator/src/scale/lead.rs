//! A leader with its hands: does what it wants done on the bus and in the store, and leaves the rest to the driver.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ::gateway::{Broadcast, Leader, LeaderInput, LeaderOutput, Request, Strike, Term};
use engine::{Engine, Input, Output, StopReason};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::archive::Archive;
use super::bus::{LinkError, Subject};
use super::carrier::{Carried, Carrier};
use super::link::{Hearing, Link};
use super::news::{About, News};
use super::subjects::Subjects;

/// Messages that may wait for the driver. More are dropped, as if they were lost on the bus.
const EVENTS_MAX: usize = 1024;
/// Gateways whose figures are kept.
const ABOUT_MAX: usize = 4096;
/// Subjects for answers that are kept. A gateway that is forgotten here speaks again.
const REPLIES_MAX: usize = 16_384;
/// A gateway that has told nothing for so long is not shown any more.
const ABOUT_AGE_MAX: Duration = Duration::from_secs(6);
/// How often the news for the pages of gateways go out.
const NEWS_EVERY: Duration = Duration::from_secs(1);

/// What comes from other processes.
#[derive(Debug)]
pub enum LeadEvent {
    /// A gateway speaks; its answer goes to the subject.
    Heard(Request, Option<Subject>),
    /// A leader speaks.
    HeardLeader(Broadcast),
    /// A gateway tells how it fares.
    About(About),
    /// An errand to the store is done.
    Carried(Carried),
}

/// What a leader leaves to the driver.
#[derive(Debug)]
pub enum LeadOutput {
    /// What an engine by itself wants done.
    Engine(Output),
    /// A gateway has dismissed a volunteer.
    Struck(Strike),
    /// The operator has said to an earlier leader that it bans a volunteer, or does not any more.
    Banned {
        /// Its token.
        token: u128,
        /// Whether it is banned.
        is_banned: bool,
    },
    /// Another process leads.
    StepDown(Term),
}

/// See the module's description.
#[derive(Debug)]
pub struct Lead {
    leader: Leader,
    link: Link,
    subjects: Subjects,
    carrier: Carrier,
    carried: mpsc::Receiver<Carried>,
    events: mpsc::Receiver<LeadEvent>,
    /// Where each gateway hears its answers.
    replies: BTreeMap<u64, Subject>,
    /// How the gateways fare, by the number of each process.
    about: BTreeMap<u64, (About, Instant)>,
    news_sent: Option<Instant>,
    has_resigned: bool,
    /// It hears and answers nobody any more.
    has_retired: bool,
    _hearings: [Hearing; 3],
}

impl Lead {
    /// Leads: hears the gateways from now on. The engine must not have begun.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn new(
        term: Term,
        engine: Engine,
        parameters: usize,
        archive: &Archive,
        link: Link,
        subjects: Subjects,
    ) -> Result<Lead, LinkError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let hear = async |subject: &Subject, read: fn(&[u8], Option<Subject>) -> Option<LeadEvent>| {
            let sender = sender.clone();
            let take = move |bytes: bytes::Bytes, reply| {
                if let Some(event) = read(&bytes, reply) {
                    let _ = sender.try_send(event);
                }
            };
            link.hear(subject, take).await
        };
        let hearings = [
            hear(&subjects.up, |bytes, reply| Some(LeadEvent::Heard(Request::decode(bytes).ok()?, reply)))
                .await?,
            hear(&subjects.all, |bytes, _| Some(LeadEvent::HeardLeader(Broadcast::decode(bytes).ok()?)))
                .await?,
            hear(&subjects.about, |bytes, _| Some(LeadEvent::About(About::decode(bytes)?))).await?,
        ];
        let (carrier, carried) = Carrier::new(archive.store().clone(), Handle::current());
        Ok(Lead {
            leader: Leader::new(term, engine, parameters),
            link,
            subjects,
            carrier,
            carried,
            events,
            replies: BTreeMap::new(),
            about: BTreeMap::new(),
            news_sent: None,
            has_resigned: false,
            has_retired: false,
            _hearings: hearings,
        })
    }

    /// Its engine.
    pub fn engine(&self) -> &Engine {
        self.leader.engine()
    }

    /// The term that it leads.
    pub fn term(&self) -> Term {
        self.leader.term()
    }

    /// Waits for something from other processes. May be dropped at any time.
    pub async fn event(&mut self) -> LeadEvent {
        tokio::select! {
            Some(carried) = self.carried.recv() => LeadEvent::Carried(carried),
            Some(event) = self.events.recv() => event,
            // Both senders are kept here.
            else => std::future::pending().await,
        }
    }

    /// Takes in what came from other processes.
    pub fn take(&mut self, now_ms: u64, event: LeadEvent) {
        if self.has_retired {
            return;
        }
        let input = match event {
            LeadEvent::Heard(request, reply) => {
                if let Some(reply) = reply {
                    if self.replies.len() >= REPLIES_MAX {
                        self.replies.clear();
                    }
                    self.replies.insert(request.gateway, reply);
                }
                LeaderInput::Heard(request)
            }
            LeadEvent::HeardLeader(broadcast) => LeaderInput::HeardLeader(broadcast),
            LeadEvent::Carried(Carried::Stored(place)) => LeaderInput::Stored(place),
            LeadEvent::Carried(Carried::Fetched(place, bytes, _)) => LeaderInput::Fetched(place, bytes),
            LeadEvent::About(about) => {
                if self.about.len() < ABOUT_MAX || self.about.contains_key(&about.process) {
                    self.about.insert(about.process, (about, Instant::now()));
                }
                return;
            }
        };
        self.leader.handle(now_ms, input);
    }

    /// The store says that the training has ended: so does this leader from now on.
    pub fn published(&mut self, now_ms: u64) {
        self.leader.handle(now_ms, LeaderInput::Published);
    }

    /// Falls silent: another process is to lead.
    pub fn resign(&mut self) {
        self.has_resigned = true;
    }

    /// Leads no more: from now on nothing changes its state, and what gateways say is for another leader.
    pub fn retire(&mut self) {
        (self.has_resigned, self.has_retired) = (true, true);
    }

    /// Hands an input to the engine.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        if self.has_retired {
            return;
        }
        let input = match input {
            Input::Tick => LeaderInput::Tick,
            input => LeaderInput::Engine(input),
        };
        self.leader.handle(now_ms, input);
    }

    /// The operator bans a volunteer, or does not any more: every gateway is told.
    pub fn ban(&mut self, now_ms: u64, token: u128, is_banned: bool) {
        self.leader.handle(now_ms, LeaderInput::Ban { token, is_banned });
    }

    /// When to hand in [`Input::Tick`] if nothing else happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        self.leader.wake_ms().filter(|_| !self.has_retired)
    }

    /// What is to be done next. What concerns bus and store is done already.
    pub fn poll_output(&mut self) -> Option<LeadOutput> {
        loop {
            if self.has_retired {
                return None;
            }
            match self.leader.poll_output()? {
                LeaderOutput::Engine(output) => return Some(LeadOutput::Engine(output)),
                LeaderOutput::Finished(reason) => return Some(finished(reason)),
                LeaderOutput::StepDown(term) => return Some(LeadOutput::StepDown(term)),
                LeaderOutput::Broadcast(_) if self.has_resigned => {}
                LeaderOutput::Broadcast(broadcast) => {
                    self.link.say(&self.subjects.all, None, broadcast.encode());
                }
                LeaderOutput::Answer(answer) => {
                    if let Some(reply) = self.replies.get(&answer.gateway) {
                        self.link.say(reply, None, answer.encode());
                    }
                }
                LeaderOutput::Put(place, bytes) => self.carrier.put(place, bytes),
                LeaderOutput::Fetch(place) => self.carrier.fetch(place),
                LeaderOutput::Drop(place) => self.carrier.remove(place),
                LeaderOutput::DropBefore(term) => self.carrier.clear_before(term),
                LeaderOutput::Struck(strike) => return Some(LeadOutput::Struck(strike)),
                LeaderOutput::Banned { token, is_banned } => {
                    return Some(LeadOutput::Banned { token, is_banned });
                }
                // The driver saves the state with the checkpoints of the run's directory, at their pace.
                LeaderOutput::Save(_) => {}
            }
        }
    }

    /// The gateways that have told of themselves of late.
    pub fn gateways(&mut self) -> impl Iterator<Item = &About> {
        self.about.retain(|_, (_, told)| told.elapsed() < ABOUT_AGE_MAX);
        self.about.values().map(|(about, _)| about)
    }

    /// Tells the pages of gateways how the training goes, unless that was done a moment ago.
    pub fn tell_news(&mut self, news: impl FnOnce() -> News) {
        if self.news_sent.is_none_or(|sent| sent.elapsed() >= NEWS_EVERY) {
            self.news_sent = Some(Instant::now());
            self.link.say(&self.subjects.status, None, news().encode());
        }
    }
}

fn finished(reason: StopReason) -> LeadOutput {
    LeadOutput::Engine(Output::Finished(reason))
}
