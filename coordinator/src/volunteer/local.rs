//! The coordinator's own volunteer, in its own process.
//!
//! It is an ordinary session to the driver and runs an ordinary hub; only the wire is missing. Its
//! frames are encoded and decoded all the same, so that there is one path to trust, not two.

use std::sync::Arc;

use model::{Network, NetworkSpec};
use protocol::message::{FromCoordinator, Welcome};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use worker::HubInput;

use super::runner::{Runner, Task, settings};
use crate::exchange::{DriverHandle, FromSession, Joined, OUTBOX_MAX, ToSession};
use crate::session::UpwardDecoder;
use crate::shards::ShardStore;

/// Starts the volunteer with `cores` compute threads and joins it to the driver as `session`. The
/// task ends when the training has; aborting it ends the volunteer.
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
    // Merging and packing large sums takes too long for a task among the server's, so the hub has
    // a thread, and this task only stands for it.
    let (alive, ended) = oneshot::channel::<()>();
    let (done, is_done) = oneshot::channel();
    let runtime = Handle::current();
    let body = move || {
        let local = Local::new(cores, welcome, shards, driver, session);
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = ended => {}
                () = local.run() => {}
            }
        });
        let _ = done.send(());
    };
    let thread = std::thread::Builder::new().name("local volunteer".into()).spawn(body);
    tokio::spawn(async move {
        let _alive = alive;
        match thread {
            Ok(_) => drop(is_done.await),
            Err(error) => tracing::error!(%error, "the local volunteer's thread cannot be started"),
        }
    })
}

struct Local {
    runner: Runner,
    stage: Stage,
    decoder: UpwardDecoder,
    shards: Arc<ShardStore>,
    driver: DriverHandle,
    session: u64,
    /// [`protocol::plan::RoundPlan::round`] of the round the hub was shown last.
    shown: Option<u64>,
    outbox: mpsc::Receiver<ToSession>,
}

/// What the hub's next frame is.
enum Stage {
    /// Its hello, to be answered with the welcome.
    Hello { welcome: Box<Welcome>, joined: Joined },
    /// Its answer to the welcome: it can be joined to the driver.
    Ready { joined: Joined },
    /// Anything else.
    Open,
}

/// The driver is gone, and with it the reason to go on.
struct Gone;

impl Local {
    fn new(
        cores: u16,
        welcome: Welcome,
        shards: Arc<ShardStore>,
        driver: DriverHandle,
        session: u64,
    ) -> Local {
        let (to_outbox, outbox) = mpsc::channel(OUTBOX_MAX);
        let settings = settings(welcome.arithmetic, cores, "the coordinator's own worker".into());
        let joined = Joined {
            outbox: to_outbox,
            cores,
            local: true,
            fused_capable: settings.fused_capable,
            // All are a function call away.
            training_shards: (0..welcome.training.shards.len() as u32).collect(),
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

    async fn run(mut self) {
        while self.perform().await.is_ok() && !self.runner.status().phase.is_last() {
            tokio::select! {
                () = self.runner.event() => {}
                message = self.outbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => break,
                },
            }
        }
        let _ = self.driver.tell(self.session, FromSession::Left).await;
        let status = self.runner.status();
        tracing::debug!(units = status.units_done, why = status.sentence, "the local volunteer ends");
    }

    /// Does what the hub asks for.
    async fn perform(&mut self) -> Result<(), Gone> {
        while let Some(task) = self.runner.task() {
            match task {
                Task::Connect => self.runner.handle(HubInput::Connected),
                Task::Close => {}
                Task::Send(frame) => self.pass_on(&frame).await?,
                Task::Fetch { fetch, shard, path: _ } => {
                    let input = match self.shards.encoded(&shard.hash) {
                        Some(bytes) => HubInput::ShardArrived { fetch, bytes },
                        None => HubInput::ShardFailed { fetch },
                    };
                    self.runner.handle(input);
                }
            }
        }
        Ok(())
    }

    /// Takes the hub's frame as a session takes a volunteer's.
    async fn pass_on(&mut self, frame: &[u8]) -> Result<(), Gone> {
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Hello { welcome, joined } => {
                self.stage = Stage::Ready { joined };
                self.runner.handle(HubInput::Frame(&FromCoordinator::Welcome(welcome).encode()));
                return Ok(());
            }
            Stage::Ready { joined } => return self.tell(FromSession::Joined(joined)).await,
            Stage::Open => {}
        }
        match self.decoder.frame(frame) {
            Ok(Some(message)) => self.tell(message).await,
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the local volunteer misbehaves");
                Err(Gone)
            }
        }
    }

    async fn tell(&self, message: FromSession) -> Result<(), Gone> {
        self.driver.tell(self.session, message).await.map_err(|_| Gone)
    }

    /// Shows the hub what the driver says as the frames a session would send.
    fn hear(&mut self, message: ToSession) {
        let message = match message {
            ToSession::Assign(assignment) => {
                let round = self.driver.round.borrow().clone();
                let Some(round) = round.filter(|round| round.plan.round == assignment.round) else { return };
                if self.shown.replace(assignment.round) != Some(assignment.round) {
                    self.runner.handle(HubInput::Frame(&round.frame));
                }
                FromCoordinator::Assign(assignment)
            }
            ToSession::Dismiss { text } => {
                tracing::error!(text, "the local volunteer is dismissed");
                FromCoordinator::Finished { text }
            }
            ToSession::Finish { text } => FromCoordinator::Finished { text },
        };
        self.runner.handle(HubInput::Frame(&message.encode()));
    }
}
