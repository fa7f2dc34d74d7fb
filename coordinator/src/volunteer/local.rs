//! The coordinator's own volunteer, inside its process.
//!
//! It is an ordinary session to the driver and runs an ordinary hub, but without a network between them. Its
//! frames are still encoded and decoded, so that there is only one path to trust.
//!
//! When all other volunteers are gone, the training depends on this one, so it restarts after a failure.

use std::sync::Arc;
use std::time::Duration;

use model::{Network, NetworkSpec};
use protocol::message::{Farewell, FromCoordinator, Welcome};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use worker::{HubInput, HubPhase, HubStatus};

use super::runner::{Errand, Runner, settings};
use crate::data::ShardStore;
use crate::driver::exchange::{DriverHandle, FromSession, Joined, OUTBOX_MAX, ToSession};
use engine::Identity;
use engine::decoder::{Misbehavior, Upward, UpwardDecoder};

/// Most restarts after failures. A volunteer that has failed more often will go on failing.
pub const RESTARTS_MAX: u32 = 3;
/// Bytes of shards that it keeps where they come from outside of memory.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Time between two heartbeats to the hub, such as a WebSocket session sends. It is far below the silence
/// that the hub tolerates ([`worker::SILENCE_MS_MAX`]).
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Starts the volunteer with `cores` compute threads and joins it to the driver as `session`. The task ends
/// with the training; aborting it ends the volunteer. If the volunteer fails, it leaves and joins again, at
/// most [`RESTARTS_MAX`] times.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn_local(
    cores: u16,
    welcome: Welcome,
    shards: Arc<ShardStore>,
    driver: DriverHandle,
    session: u64,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut restarts = 0;
        loop {
            let (welcome, shards, to_driver) = (welcome.clone(), Arc::clone(&shards), driver.clone());
            let over = live(move || Local::new(cores, welcome, shards, to_driver, session)).await;
            if driver.tell(session, FromSession::Left).await.is_err() {
                return;
            }
            match over {
                Over::Ended => return,
                Over::Failed(why) if restarts < RESTARTS_MAX => {
                    restarts += 1;
                    tracing::warn!(restarts, "the coordinator's own worker failed and restarts: {why}");
                }
                Over::Failed(why) => {
                    tracing::warn!(
                        "the coordinator's own worker failed too often and does not restart; the training \
                         now depends on volunteers: {why}"
                    );
                    return;
                }
            }
        }
    })
}

/// How one life of the volunteer ends.
enum Over {
    /// It is no longer needed.
    Ended,
    /// It cannot go on, for this reason.
    Failed(String),
}

/// One life of the volunteer. Dropping this ends it.
async fn live(local: impl FnOnce() -> Local + Send + 'static) -> Over {
    // Merging and packing large sums takes too long for an async task, so the hub has a thread, and this task
    // only represents it.
    let (alive, ended) = oneshot::channel::<()>();
    let (done, is_done) = oneshot::channel();
    let runtime = Handle::current();
    let body = move || {
        let local = local();
        let over = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = ended => Over::Ended,
                over = local.run() => over,
            }
        });
        let _ = done.send(over);
    };
    let thread = std::thread::Builder::new().name("local volunteer".into()).spawn(body);
    let over = match thread {
        Ok(_) => is_done.await.unwrap_or_else(|_| Over::Failed("its thread panicked".into())),
        Err(error) => Over::Failed(format!("its thread could not be started: {error}")),
    };
    drop(alive);
    over
}

struct Local {
    runner: Runner,
    stage: Stage,
    decoder: UpwardDecoder,
    shards: Arc<ShardStore>,
    driver: DriverHandle,
    session: u64,
    /// [`protocol::plan::RoundPlan::round`] of the last round sent to the hub.
    shown: Option<u64>,
    outbox: mpsc::Receiver<ToSession>,
}

/// The hub's next frame.
enum Stage {
    /// Its hello; the answer is the welcome.
    Hello { welcome: Box<Welcome>, joined: Joined },
    /// Its answer to the welcome. Then it joins the driver.
    Ready { joined: Joined },
    /// Anything else.
    Open,
}

impl Local {
    fn new(
        cores: u16,
        welcome: Welcome,
        shards: Arc<ShardStore>,
        driver: DriverHandle,
        session: u64,
    ) -> Local {
        let (to_outbox, outbox) = mpsc::channel(OUTBOX_MAX);
        let mut settings = settings(welcome.arithmetic, cores, "the coordinator's own worker".into());
        if shards.is_outside() {
            settings.shard_cache_bytes = KEPT_BYTES_MAX;
        }
        let joined = Joined {
            cores,
            local: true,
            identity: Identity::default(),
            agent: "the coordinator's own worker".into(),
            fused_capable: settings.fused_capable,
            // The worker has all shards, because each is only a function call away.
            training_shards: (0..welcome.sets.training.shards.len() as u32).collect(),
            ..Joined::new(to_outbox)
        };
        let spec = NetworkSpec::from_json(&welcome.network);
        let network = spec.and_then(|spec| Network::new(&spec, welcome.features as usize, welcome.task));
        let parameters = network.expect("the coordinator's own network is valid").parameters();
        Local {
            runner: Runner::new(settings),
            decoder: UpwardDecoder::new(welcome.run, parameters),
            stage: Stage::Hello { welcome: Box::new(welcome), joined },
            shards,
            driver,
            session,
            shown: None,
            outbox,
        }
    }

    async fn run(mut self) -> Over {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = loop {
            if let Err(over) = self.perform().await {
                break over;
            }
            tokio::select! {
                () = self.runner.event() => {}
                message = self.outbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => break Over::Failed("it did not keep up with the training".into()),
                },
                _ = heartbeat.tick() => self.runner.handle(HubInput::Frame(FromCoordinator::Heartbeat.encode().into())),
            }
        };
        tracing::debug!(units = self.runner.status().units_done, "the local volunteer ends");
        over
    }

    /// Does what the hub asks for. An error ends this life.
    async fn perform(&mut self) -> Result<(), Over> {
        while let Some(errand) = self.runner.errand() {
            match errand {
                Errand::Connect => self.runner.handle(HubInput::Connected),
                // The hub goes on in its next life.
                Errand::Close => return Err(self.closed()),
                Errand::Send(frame) => self.pass_on(&frame).await?,
                Errand::Fetch { fetch, shard, path: _, fresh: _ } => {
                    let input = match self.shards.lent(&shard.hash) {
                        Some(shard) => HubInput::ShardLent { fetch, shard },
                        None => {
                            self.read(&shard.hash).await.map_or(HubInput::ShardFailed { fetch }, |bytes| {
                                HubInput::ShardArrived { fetch, bytes }
                            })
                        }
                    };
                    self.runner.handle(input);
                }
            }
        }
        Ok(())
    }

    /// The content of a shard.
    async fn read(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        if !self.shards.is_outside() {
            return self.shards.encoded(hash);
        }
        let (shards, hash) = (Arc::clone(&self.shards), *hash);
        tokio::task::spawn_blocking(move || shards.encoded(&hash)).await.ok()?
    }

    /// Why the hub has ended or hung up.
    fn closed(&self) -> Over {
        let HubStatus { phase, sentence, .. } = self.runner.status();
        if phase == HubPhase::Finished { Over::Ended } else { Over::Failed(sentence) }
    }

    /// Handles the hub's frame as a session handles a volunteer's.
    async fn pass_on(&mut self, frame: &[u8]) -> Result<(), Over> {
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Hello { welcome, joined } => {
                self.stage = Stage::Ready { joined };
                self.runner.handle(HubInput::Frame(FromCoordinator::Welcome(welcome).encode().into()));
                return Ok(());
            }
            Stage::Ready { joined } => return self.tell(FromSession::Joined(joined)).await,
            Stage::Open => {}
        }
        let misbehaves = |error: Misbehavior| Over::Failed(format!("it sent {error}"));
        match self.decoder.take(frame).map_err(misbehaves)? {
            Some(Upward::Message(message)) => self.tell(FromSession::Said(message)).await,
            Some(Upward::Packed(result)) => {
                let room = self.driver.room(result.unpacked_bytes()).await.map_err(|_| Over::Ended)?;
                let message = FromSession::Said(result.unpack().map_err(misbehaves)?);
                self.driver.tell_in(room, self.session, message).await.map_err(|_| Over::Ended)
            }
            Some(Upward::Announced { .. }) | None => Ok(()),
        }
    }

    async fn tell(&self, message: FromSession) -> Result<(), Over> {
        // Without the driver there is no reason to go on.
        self.driver.tell(self.session, message).await.map_err(|_| Over::Ended)
    }

    /// Passes the driver's messages to the hub, as the frames that a session would send.
    fn hear(&mut self, message: ToSession) {
        let message = match message {
            ToSession::Assign(assignment) => {
                let round = self.driver.round.borrow().clone();
                let Some(round) = round.filter(|round| round.plan.round == assignment.round) else { return };
                if self.shown.replace(assignment.round) != Some(assignment.round) {
                    self.runner.handle(HubInput::Frame(round.frame.clone()));
                }
                FromCoordinator::Assign(assignment)
            }
            ToSession::Replace => return,
            ToSession::Dismiss { text } => {
                tracing::error!(text, "the local volunteer is dismissed");
                FromCoordinator::Finished(Farewell { text, ..Farewell::default() })
            }
            ToSession::Finish(farewell) => FromCoordinator::Finished(*farewell),
        };
        self.runner.handle(HubInput::Frame(message.encode().into()));
    }
}
