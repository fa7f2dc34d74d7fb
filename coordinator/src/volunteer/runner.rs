//! A hub, its compute threads and its clock, which all volunteers outside a browser share.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use model::Arithmetic;
use protocol::frame::VectorChunks;
use protocol::limits::SHARDS_MAX;
use protocol::plan::ShardRef;
use tokio::sync::mpsc::{self, error::TrySendError};
use worker::{Compute, FromCompute, Hub, HubInput, HubOutput, HubStatus, Settings, ToCompute};

/// Answers of compute threads that may wait for the hub. A thread with another answer waits itself.
const ANSWERS_MAX: usize = 64;
/// Messages that may wait for one compute thread: enough to send and to drop every shard of a set. A job has
/// few other messages. A thread that is further behind counts as failed.
const MESSAGES_MAX: usize = 2 * SHARDS_MAX;

/// What depends on the kind of volunteer: its communication with the coordinator.
#[derive(Debug)]
pub(crate) enum Errand {
    /// [`HubOutput::Connect`].
    Connect,
    /// [`HubOutput::Close`].
    Close,
    /// [`HubOutput::Send`].
    Send(Vec<u8>),
    /// [`HubOutput::Fetch`].
    Fetch {
        /// The download's number.
        fetch: u64,
        /// The shard.
        shard: ShardRef,
        /// Its URL path.
        path: String,
        /// Whether an earlier answer was damaged.
        fresh: bool,
    },
}

/// A compute thread's answer; `None` when the thread has died.
type Answer = (u32, Option<FromCompute>);

/// A hub with compute workers. Drain [`Runner::errand`] after every event.
#[derive(Debug)]
pub(crate) struct Runner {
    hub: Hub,
    /// The compute threads' ears. A thread ends when its sender is dropped.
    threads: BTreeMap<u32, mpsc::Sender<ToCompute>>,
    answers: mpsc::Receiver<Answer>,
    answer: mpsc::Sender<Answer>,
    /// The unsent rest of a vector.
    sending: Option<VectorChunks>,
    began: Instant,
    wake_ms: Option<u64>,
}

impl Runner {
    pub(crate) fn new(settings: Settings) -> Runner {
        let (answer, answers) = mpsc::channel(ANSWERS_MAX);
        Runner {
            hub: Hub::new(settings),
            threads: BTreeMap::new(),
            answers,
            answer,
            sending: None,
            began: Instant::now(),
            wake_ms: None,
        }
    }

    /// Tells the hub of an event.
    pub(crate) fn handle(&mut self, input: HubInput) {
        let now_ms = self.now_ms();
        self.hub.handle(now_ms, input);
    }

    /// The hub's next errand for the caller. What concerns the compute threads is done on the way.
    pub(crate) fn errand(&mut self) -> Option<Errand> {
        if let Some(chunk) = self.sending.as_mut().and_then(Iterator::next) {
            return Some(Errand::Send(chunk));
        }
        self.sending = None;
        while let Some(output) = self.hub.poll_output() {
            match output {
                HubOutput::Connect => return Some(Errand::Connect),
                HubOutput::Close => return Some(Errand::Close),
                HubOutput::Send(frame) => return Some(Errand::Send(frame)),
                HubOutput::SendVector(mut chunks) => {
                    if let Some(first) = chunks.next() {
                        self.sending = Some(chunks);
                        return Some(Errand::Send(first));
                    }
                }
                HubOutput::Fetch { fetch, shard, path, fresh } => {
                    return Some(Errand::Fetch { fetch, shard, path, fresh });
                }
                HubOutput::StartCompute { compute } => self.start(compute),
                HubOutput::StopCompute { compute } => {
                    self.threads.remove(&compute);
                }
                HubOutput::Compute { compute, message } => {
                    let sent = self.threads.get(&compute).map(|thread| thread.try_send(message));
                    // A thread that no longer listens has died and reported it.
                    if let Some(Err(TrySendError::Full(_))) = sent {
                        tracing::warn!(compute, "a compute thread is too far behind; going on without it");
                        self.threads.remove(&compute);
                        self.handle(HubInput::ComputeFailed { compute });
                    }
                }
                HubOutput::Wake { at_ms } => self.wake_ms = Some(at_ms),
            }
        }
        None
    }

    /// Waits for the next answer of a compute thread or the next wake-up, and tells the hub. May be
    /// canceled.
    pub(crate) async fn event(&mut self) {
        let wake = self.wake_ms.map(|at_ms| self.began + Duration::from_millis(at_ms));
        let alarm = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(wake.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = self.answers.recv() => match answer {
                Some((compute, Some(message))) => self.handle(HubInput::Compute { compute, message }),
                Some((compute, None)) => {
                    tracing::warn!(compute, "a compute thread failed; going on without it");
                    self.handle(HubInput::ComputeFailed { compute });
                }
                None => unreachable!("the runner holds a sender itself"),
            },
            () = alarm => {
                self.wake_ms = None;
                self.handle(HubInput::Tick);
            }
        }
    }

    pub(crate) fn status(&self) -> HubStatus {
        self.hub.status()
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn start(&mut self, compute: u32) {
        let (sender, mut receiver) = mpsc::channel(MESSAGES_MAX);
        let answer = self.answer.clone();
        let body = move || work(compute, &mut receiver, answer);
        match thread::Builder::new().name(format!("compute {compute}")).spawn(body) {
            Ok(_) => {
                self.threads.insert(compute, sender);
            }
            Err(error) => {
                tracing::warn!(%error, "a compute thread could not be started");
                self.handle(HubInput::ComputeFailed { compute });
            }
        }
    }
}

/// Runs a compute thread until the hub drops it.
fn work(compute: u32, messages: &mut mpsc::Receiver<ToCompute>, answer: mpsc::Sender<Answer>) {
    let obituary = Obituary { compute, answer };
    let mut worker = Compute::new();
    while let Some(message) = messages.blocking_recv() {
        if let Some(message) = worker.handle(message)
            && obituary.answer.blocking_send((compute, Some(message))).is_err()
        {
            return;
        }
    }
}

/// Reports a panic of the thread.
struct Obituary {
    compute: u32,
    answer: mpsc::Sender<Answer>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.answer.blocking_send((self.compute, None));
        }
    }
}

/// Settings of a volunteer on this machine that calls itself `agent` and takes as much memory as it needs.
pub(crate) fn settings(arithmetic: Arithmetic, cores: u16, agent: String) -> Settings {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let seed = now ^ u64::from(std::process::id()).rotate_left(32);
    Settings { fused_capable: fuses_quickly(), ..Settings::new(arithmetic, cores, agent, seed) }
}

/// Whether this machine has an instruction for a fused multiply-add. Without one it would get the same bits,
/// but far too slowly to count as capable.
fn fuses_quickly() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        cfg!(target_arch = "aarch64")
    }
}
