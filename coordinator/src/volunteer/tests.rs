//! Both kinds of volunteer with a scripted driver: in memory, and over the real server.

#![expect(clippy::single_range_in_vec_init, reason = "ranges of units, not the units in them")]

use std::io::Read as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use model::{Arithmetic, Network, NetworkSpec};
use protocol::frame::encode_round;
use protocol::message::{Farewell, Welcome};
use protocol::plan::{Assignment, Part, RoundPlan, Set, Work};
use protocol::scales::Scales;
use protocol::shard::Shard;
use support::world;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use worker::unit::{Buffers, Unit, UnitOutcome, UnitSums, evaluate_unit};

use super::mirror::probe;
use super::{Options, RESTARTS_MAX, run, spawn_local};
use crate::config::ShardUrl;
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
    /// The shards that the server has.
    served: Arc<ShardStore>,
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
        let shards = Arc::new(shards);
        Stage { network, welcome, served: Arc::clone(&shards), shards, handle, inbox, round }
    }

    /// From now on, servers have none of the run's shards.
    fn loses_its_shards(&mut self) {
        let names = ["a", "b"].map(String::from).to_vec();
        let other = Dataset::of_bytes(1, &[1, 2, 3, 4], vec![0, 1, 0, 1], names);
        self.served = Arc::new(ShardStore::cut(Arc::new(prepare(other, None, 0.25, 1).unwrap()), 10).0);
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
        self.serve_with(known_answer, None).await
    }

    /// The same, with another address for the shards.
    async fn serve_with(
        &self,
        known_answer: [u8; 32],
        shard_url: Option<ShardUrl>,
    ) -> (String, watch::Sender<Arc<Status>>) {
        let (shown, status) = watch::channel(Arc::new(Status::default()));
        let site = Site {
            config: ServerConfig { shard_url, ..ServerConfig::default() },
            welcome: self.welcome.clone(),
            parameters: self.network.parameters(),
            known_answer,
            shards: Arc::clone(&self.served),
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

/// What a mirror answers to a request for a shard.
type Answers = fn(Bytes) -> Option<Vec<u8>>;

/// A mirror, which answers with what `answers` makes of a shard as it is kept; with `None` it hangs up. Also gives the
/// requests so far.
async fn mirror(shards: Arc<ShardStore>, answers: Answers) -> (ShardUrl, Arc<Mutex<Vec<String>>>) {
    mirror_with(shards, answers, "").await
}

/// The same with more headers, each after a line end.
async fn mirror_with(
    shards: Arc<ShardStore>,
    answers: Answers,
    headers: &'static str,
) -> (ShardUrl, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/houses/", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let hash = blake3::Hash::from_hex(path.strip_prefix("/houses/shards/").unwrap()).unwrap();
            noted.lock().unwrap().push(path);
            assert!(
                !request.to_lowercase().contains("cookie"),
                "an invitation is the coordinator's business"
            );
            let Some(body) = answers(shards.compressed(hash.as_bytes()).unwrap()) else { continue };
            // As a bucket answers, which does not know that the object is compressed.
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}{headers}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    (url, asked)
}

/// A native volunteer works with that address for shards.
async fn works_with(stage: &mut Stage, shard_url: ShardUrl) {
    let known_answer = model::known_answer::digest(Arithmetic::Portable);
    let (url, _shown) = stage.serve_with(known_answer, Some(shard_url)).await;
    let options = Options { cores: 2, give_up_after: HANG, ca: None, token: [0; 16], report: None };
    let volunteer = tokio::spawn(async move { run(&url, options, std::future::pending()).await });
    let joined = stage.joined().await;
    // This compares what the volunteer computes with the same units in this process.
    stage.work(&joined.outbox).await;
    let farewell = Farewell { text: "All is learned.".into(), ..Farewell::default() };
    joined.outbox.send(ToSession::Finish(farewell.into())).await.unwrap();
    let summary = timeout(HANG, volunteer).await.expect("this hangs").unwrap().unwrap();
    assert!(summary.finished, "{}", summary.text);
}

#[tokio::test]
async fn a_native_volunteer_takes_shards_from_another_address() {
    let mut stage = Stage::new();
    stage.loses_its_shards();
    let count = stage.welcome.sets.training.shards.len();
    let as_they_are: Answers = |kept| {
        let mut shard = Vec::new();
        GzDecoder::new(&kept[..]).read_to_end(&mut shard).unwrap();
        Some(shard)
    };
    for answers in [(|kept| Some(kept.to_vec())) as Answers, as_they_are] {
        let (url, asked) = mirror(Arc::clone(&stage.shards), answers).await;
        works_with(&mut stage, url).await;
        assert!(matches!(stage.hear().await, (_, FromSession::Left)));
        assert_eq!(asked.lock().unwrap().len(), count, "every shard, once");
    }
}

#[tokio::test]
async fn what_another_address_does_not_give_comes_from_the_coordinator() {
    let mut stage = Stage::new();
    let other: Answers = |kept| Some(kept.iter().map(|_| 7).collect());
    let cut_off: Answers = |kept| Some(kept[..kept.len() / 2].to_vec());
    let longer: Answers = |_| Some(vec![0; 10 << 20]);
    let empty: Answers = |_| Some(Vec::new());
    let hangs_up: Answers = |_| None;
    for answers in [other, cut_off, longer, empty, hangs_up] {
        let (url, asked) = mirror(Arc::clone(&stage.shards), answers).await;
        works_with(&mut stage, url).await;
        assert!(matches!(stage.hear().await, (_, FromSession::Left)));
        // Downloads that began before the first had ended.
        assert!((1..=worker::FETCHES_MAX).contains(&asked.lock().unwrap().len()), "it is left alone then");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    works_with(&mut stage, format!("http://{nobody}").parse().unwrap()).await;
}

#[tokio::test]
async fn the_coordinator_looks_whether_the_address_has_its_shards() {
    let stage = Stage::new();
    let shard = stage.welcome.sets.training.shards[0];
    const PAGE: &str = "http://shoal.example:8080";
    let problem = async |answers: Answers| {
        let (url, _) = mirror(Arc::clone(&stage.shards), answers).await;
        format!("{:#}", probe(&url, &shard, PAGE).await.unwrap_err())
    };
    let without_header = problem(|kept| Some(kept.to_vec())).await;
    assert!(without_header.contains("Access-Control-Allow-Origin"), "{without_header}");
    let other = problem(|_| Some(b"SHRD".to_vec())).await;
    assert!(other.contains("another file"), "{other}");
    let allow = "\r\naccess-control-allow-origin: *";
    let (url, _) = mirror_with(Arc::clone(&stage.shards), |kept| Some(kept.to_vec()), allow).await;
    probe(&url, &shard, PAGE).await.unwrap();
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
