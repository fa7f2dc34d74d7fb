//! Both kinds of volunteer with a scripted driver: in memory, and over the real server.

#![expect(clippy::single_range_in_vec_init, reason = "ranges of units, not the units in them")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use model::{Arithmetic, Network, NetworkSpec};
use protocol::frame::encode_round;
use protocol::message::{Farewell, Welcome};
use protocol::plan::{Assignment, Part, RoundPlan, Set, Work};
use protocol::scales::Scales;
use protocol::shard::Shard;
use support::world;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit};

use super::{Options, RESTARTS_MAX, run, spawn_local};
use crate::data::ShardStore;
use crate::data::{Dataset, prepare};
use crate::driver::exchange::{DriverHandle, FromSession, Joined, Letter, OpenRound, ToSession};
use crate::report::status::Status;
use crate::server::{ServerConfig, Site, bind, serve};
use engine::decoder::Message;

const RUN: u64 = 5;
const SEED: u64 = 6;
const MINIBATCH: u32 = 10;
/// Only turns a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

/// A run, and the driver's side of it.
struct Stage {
    network: Network,
    welcome: Welcome,
    shards: Arc<ShardStore>,
    handle: DriverHandle,
    inbox: mpsc::Receiver<Letter>,
    round: watch::Sender<Option<Arc<OpenRound>>>,
}

impl Stage {
    fn new() -> Stage {
        let (examples, width) = (400, 30);
        let features: Vec<u8> = (0..width * examples).map(|index| (index * index % 251) as u8).collect();
        let ids = (0..examples).map(|index| index as u16 % 3).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let dataset = Dataset::of_bytes(width, &features, ids, names);
        let data = Arc::new(prepare(dataset, None, 0.25, 1).unwrap());
        let (shards, sets) = ShardStore::cut(data.clone(), 10);
        let spec = NetworkSpec::from_shorthand("mlp:700").unwrap();
        let network = Network::new(&spec, width, data.task()).unwrap();
        let welcome = Welcome {
            run: RUN,
            session: 0,
            preprocessing: data.preprocessing.clone(),
            seed: SEED,
            minibatch: MINIBATCH,
            ..world::welcome(&network, sets)
        };
        let (round, seen) = watch::channel(None);
        let (handle, inbox) = DriverHandle::new(seen);
        Stage { network, welcome, shards: Arc::new(shards), handle, inbox, round }
    }

    /// Opens a gradient round and answers with what its first `units` units come to.
    fn open_round(&self, round: u64, units: u32) -> UnitSums {
        let training = &self.welcome.sets.training;
        let work = Work::Gradient;
        let part = Part::in_turn(work.clone(), Set::Training, training.units());
        let plan = RoundPlan {
            round,
            version: 3,
            scales: Scales::uniform(24),
            parts: vec![part],
            ..RoundPlan::default()
        };
        let weights = self.network.initialize(round);
        let mut sums = UnitSums::zero(&work, self.network.parameters());
        let mut buffers = Buffers::default();
        for unit in 0..units {
            let index = training.shard_of_example(training.examples_of(unit).start);
            let bytes = self.shards.encoded(&training.shards[index as usize].hash).unwrap();
            let shard = Shard::decode(&bytes, self.network.features(), self.network.task()).unwrap();
            let first = training.examples_in_shard(index).start;
            let range = training.examples_of(unit);
            let range = (range.start - first) as usize..(range.end - first) as usize;
            let input = Unit {
                network: &self.network,
                arithmetic: Arithmetic::Portable,
                seed: SEED,
                minibatch: MINIBATCH,
                plan: &plan,
                work: &work,
                number: unit,
                examples: &[shard.slice(range, &self.welcome.preprocessing).unwrap()],
                first_example: training.examples_of(unit).start,
                weights: &weights,
                direction: &[],
            };
            assert_eq!(evaluate_unit(&input, &mut buffers, &mut sums), UnitOutcome::Added);
        }
        let frame = Bytes::from(encode_round(&plan, &[&weights]));
        self.round.send_replace(Some(Arc::new(OpenRound { plan, frame })));
        sums
    }

    /// Opens a round that does not suit the network and has a volunteer see it.
    async fn open_unsuitable_round(&self, round: u64, outbox: &mpsc::Sender<ToSession>) {
        self.open_round(round, 1);
        let plan = self.round.borrow().as_ref().expect("just opened").plan.clone();
        let one_too_many = vec![1.0; self.network.parameters() + 1];
        let frame = Bytes::from(encode_round(&plan, &[&one_too_many]));
        self.round.send_replace(Some(Arc::new(OpenRound { plan, frame })));
        let assignment = Assignment { assignment: 80, round, units: vec![0..1] };
        outbox.send(ToSession::Assign(assignment)).await.unwrap();
    }

    async fn hear(&mut self) -> (u64, FromSession) {
        let letter = timeout(HANG, self.inbox.recv()).await.expect("this hangs").expect("a sender is held");
        (letter.session, letter.message)
    }

    async fn joined(&mut self) -> Joined {
        match self.hear().await {
            (_, FromSession::Joined(joined)) => joined,
            other => panic!("expected a volunteer to join, found {other:?}"),
        }
    }

    /// Has the volunteer work through two rounds and compares what it answers.
    async fn work(&mut self, outbox: &mpsc::Sender<ToSession>) {
        for (round, units) in [(1, 7), (2, self.welcome.sets.training.units())] {
            let expected = self.open_round(round, units);
            let over = Assignment { assignment: 90 + round, round: round + 7, units: vec![0..1] };
            let assignment = Assignment { assignment: round, round, units: vec![0..units] };
            for assignment in [over, assignment] {
                outbox.send(ToSession::Assign(assignment)).await.unwrap();
            }
            let (_, FromSession::Said(Message::Result { header, vector })) = self.hear().await else {
                panic!("a result")
            };
            assert_eq!((header.run, header.round, header.version, header.assignment), (RUN, round, 3, round));
            assert_eq!((header.losses, vector), (expected.losses, expected.vector));
        }
    }

    /// Serves the run and answers with its address and what must be kept for it to go on.
    async fn serve(&self, known_answer: [u8; 32]) -> (String, watch::Sender<Arc<Status>>) {
        let (shown, status) = watch::channel(Arc::new(Status::default()));
        let site = Site {
            config: ServerConfig::default(),
            welcome: self.welcome.clone(),
            parameters: self.network.parameters(),
            known_answer,
            shards: Arc::clone(&self.shards),
            status,
            audience: Arc::default(),
            trial: None,
            driver: self.handle.clone(),
            next_session: Arc::new(AtomicU64::new(1)),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(site), std::future::pending()));
        (format!("http://{address}"), shown)
    }
}

#[tokio::test]
async fn the_local_volunteer_works_until_the_training_ends() {
    let mut stage = Stage::new();
    let (welcome, shards) = (stage.welcome.clone(), Arc::clone(&stage.shards));
    let volunteer = spawn_local(2, welcome, shards, stage.handle.clone(), 77);
    let joined = stage.joined().await;
    assert!(joined.local);
    assert_eq!(joined.cores, 2);
    assert_eq!(joined.training_shards.len(), stage.welcome.sets.training.shards.len());
    stage.work(&joined.outbox).await;
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: "Done.".into(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    assert!(matches!(stage.hear().await, (77, FromSession::Left)));
    timeout(HANG, volunteer).await.expect("this hangs").unwrap();
}

#[tokio::test]
async fn the_local_volunteer_joins_again_after_it_has_failed() {
    let mut stage = Stage::new();
    let (welcome, shards) = (stage.welcome.clone(), Arc::clone(&stage.shards));
    let volunteer = spawn_local(2, welcome, shards, stage.handle.clone(), 77);
    let joined = stage.joined().await;
    stage.open_unsuitable_round(50, &joined.outbox).await;
    assert!(matches!(stage.hear().await, (77, FromSession::Left)));
    let joined = stage.joined().await;
    stage.work(&joined.outbox).await;
    // Lagging behind is a failure, too.
    drop(joined);
    assert!(matches!(stage.hear().await, (77, FromSession::Left)));
    let joined = stage.joined().await;
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: "Done.".into(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    assert!(matches!(stage.hear().await, (77, FromSession::Left)));
    timeout(HANG, volunteer).await.expect("this hangs").unwrap();
}

#[tokio::test]
async fn a_local_volunteer_that_fails_again_and_again_is_given_up() {
    let mut stage = Stage::new();
    let (welcome, shards) = (stage.welcome.clone(), Arc::clone(&stage.shards));
    let volunteer = spawn_local(1, welcome, shards, stage.handle.clone(), 77);
    for life in 0..=RESTARTS_MAX {
        let joined = stage.joined().await;
        stage.open_unsuitable_round(50 + u64::from(life), &joined.outbox).await;
        assert!(matches!(stage.hear().await, (77, FromSession::Left)));
    }
    timeout(HANG, volunteer).await.expect("this hangs").unwrap();
}

#[tokio::test]
async fn aborting_the_local_volunteer_ends_it() {
    let mut stage = Stage::new();
    let (welcome, shards) = (stage.welcome.clone(), Arc::clone(&stage.shards));
    let volunteer = spawn_local(1, welcome, shards, stage.handle.clone(), 77);
    let joined = stage.joined().await;
    volunteer.abort();
    timeout(HANG, joined.outbox.closed()).await.expect("this hangs");
}

#[tokio::test]
async fn a_native_volunteer_works_until_the_training_ends() {
    let mut stage = Stage::new();
    let (url, _shown) = stage.serve(model::known_answer::digest(Arithmetic::Portable)).await;
    let options = Options { cores: 2, give_up_after: HANG, ca: None, token: [0; 16], report: None };
    let volunteer = tokio::spawn(async move { run(&url, options, std::future::pending()).await });
    let joined = stage.joined().await;
    assert!(!joined.local && joined.training_shards.is_empty());
    stage.work(&joined.outbox).await;
    joined
        .outbox
        .send(ToSession::Finish(Farewell { text: "All is learned.".into(), ..Farewell::default() }.into()))
        .await
        .unwrap();
    let summary = timeout(HANG, volunteer).await.expect("this hangs").unwrap().unwrap();
    assert!(summary.finished && summary.text.contains("All is learned."), "{}", summary.text);
    assert_eq!((summary.assignments, summary.units), (2, 7 + u64::from(stage.welcome.sets.training.units())));
}

#[tokio::test]
async fn a_native_volunteer_leaves_when_told_to() {
    let mut stage = Stage::new();
    let (url, _shown) = stage.serve(model::known_answer::digest(Arithmetic::Portable)).await;
    let (leave, told) = oneshot::channel::<()>();
    let options = Options { cores: 1, give_up_after: HANG, ca: None, token: [0; 16], report: None };
    let volunteer = tokio::spawn(async move {
        let told = async { drop(told.await) };
        run(&url, options, told).await
    });
    stage.joined().await;
    leave.send(()).unwrap();
    assert!(matches!(stage.hear().await, (_, FromSession::Left)));
    let summary = timeout(HANG, volunteer).await.expect("this hangs").unwrap().unwrap();
    assert!(!summary.finished);
}

#[tokio::test]
async fn a_native_volunteer_that_is_turned_away_says_why() {
    let stage = Stage::new();
    let (url, _shown) = stage.serve([0; 32]).await;
    let options = Options { cores: 1, give_up_after: HANG, ca: None, token: [0; 16], report: None };
    let error = timeout(HANG, run(&url, options, std::future::pending())).await.expect("this hangs");
    let reason = format!("{:#}", error.unwrap_err());
    assert!(reason.contains("does not give the same bits"), "{reason}");
}
