//! Good inputs of each kind, to be changed.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use coordinator::driver::Checkpoint;
use coordinator::report::status::{CurvePoint, Status};
use coordinator::scale::{About, News};
use engine::aggregator::Sums;
use engine::ledger::Partial;
use engine::optimizers::{Lbfgs, LbfgsSettings, Optimizer};
use engine::{Counters, Course, KnownScales, Past, Snapshot, Statistics};
use flate2::Compression;
use flate2::write::GzEncoder;
use gateway::{
    Answer, Ban, Broadcast, NoResult, Notice, Opening, Order, Reply, Request, Says, Strike, Term,
    encode_partial,
};
use model::{Arithmetic, Network, NetworkSpec, Rows, Targets, Task};
use ndarray::array;
use onnx::export::{Answers, Export, Inputs};
use protocol::PROTOCOL_VERSION;
use protocol::frame::{encode_chunks, encode_round};
use protocol::message::{
    Credit, Farewell, FromCoordinator, FromVolunteer, Hello, LocalBounds, Ready, Refusal, ResultHeader,
    Unfit, Welcome,
};
use protocol::pack::pack;
use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, SetPlans, ShardRef, Work};
use support::world;

/// The run of the frames.
pub(crate) const RUN: u64 = 1;
/// `mlp:5` of 4 inputs and 3 classes.
pub(crate) const PARAMETERS: usize = 4 * 5 + 5 + 5 * 3 + 3;
/// Values of a packed vector.
pub(crate) const PACKED_VALUES: usize = 300;

/// Frames as one input: two bytes of length before each.
fn joined(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend((frame.len() as u16).to_le_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// The frames of an input; the last may be short.
pub(crate) fn frames_of(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (frame, after) = after.split_at(after.len().min(u16::from_le_bytes(*length).into()));
        rest = after;
        Some(frame)
    })
}

fn network() -> Network {
    Network::new(&NetworkSpec::from_shorthand("mlp:5").unwrap(), 4, Task::Classes(3)).unwrap()
}

fn sets() -> SetPlans {
    let shard = |number| ShardRef { hash: [number; 32], bytes: 40 };
    let training = SetPlan {
        examples: 60,
        examples_per_unit: 10,
        units_per_shard: 2,
        shards: (0..3).map(shard).collect(),
    };
    let none = SetPlan { examples: 0, shards: Vec::new(), ..training.clone() };
    SetPlans { validation: none.clone(), test: none, training }
}

pub(crate) fn upward() -> Vec<Vec<u8>> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        arithmetic: Arithmetic::Portable,
        known_answer: [1; 32],
        cores: 3,
        fused_capable: true,
        agent: "a browser".into(),
        token: [9; 16],
    };
    let packed = pack(&(0..PARAMETERS as i64).map(|value| value * value - 700).collect::<Vec<_>>());
    let header = ResultHeader {
        run: RUN,
        round: 3,
        version: 2,
        assignment: 9,
        losses: vec![5, -6],
        unfit_steps: 1,
        correct: 7,
        vector_bytes: packed.len() as u32,
    };
    let plain = ResultHeader { vector_bytes: 0, ..header.clone() };
    let result = |header| FromVolunteer::Result(header).encode();
    vec![
        joined([FromVolunteer::Hello(hello).encode()]),
        joined([FromVolunteer::Ready(Ready { training_shards: vec![0, 2] }).encode()]),
        joined([result(header.clone())].into_iter().chain(encode_chunks(&packed)).chain([result(plain)])),
        joined([
            FromVolunteer::Cores(2).encode(),
            FromVolunteer::Unfit(Unfit { assignment: 1, round: 2, unit: 3 }).encode(),
            FromVolunteer::Decline { assignment: 4, reason: "a shard is missing".into() }.encode(),
        ]),
    ]
}

pub(crate) fn downward() -> Vec<Vec<u8>> {
    let message = |message: FromCoordinator| message.encode();
    let welcome = Welcome {
        local: Some(LocalBounds { replicas: 4, steps: 20 }),
        minibatch: 5,
        ..world::welcome(&network(), sets())
    };
    let welcome = message(FromCoordinator::Welcome(Box::new(welcome)));
    let plan = RoundPlan {
        round: 1,
        version: 1,
        parts: vec![Part::in_turn(Work::Gradient, Set::Training, 6)],
        ..RoundPlan::default()
    };
    let local = RoundPlan {
        parts: vec![Part::in_turn(Work::Local { steps: 3, learning_rate: 0.1, draw: 2 }, Set::Training, 4)],
        ..plan.clone()
    };
    let losses = RoundPlan {
        parts: vec![Part::in_turn(Work::Losses { steps: vec![0.5, 0.25] }, Set::Training, 6)],
        ..plan.clone()
    };
    let weights = vec![0.25_f32; PARAMETERS];
    let one: [&[f32]; 1] = [&weights];
    let two: [&[f32]; 2] = [&weights, &weights];
    let assign = |assignment, units: Vec<std::ops::Range<u32>>| {
        message(FromCoordinator::Assign(Assignment { assignment, round: 1, units }))
    };
    let refused = |reason| message(FromCoordinator::Refused { reason, text: "later".into() });
    vec![
        joined([
            welcome.clone(),
            encode_round(&plan, &one),
            assign(1, vec![0..2, 5..6]),
            assign(2, vec![3..4]),
        ]),
        joined([welcome.clone(), encode_round(&local, &one), assign(1, vec![0..4])]),
        joined([welcome.clone(), encode_round(&losses, &two), assign(1, vec![0..6])]),
        joined([
            welcome,
            message(FromCoordinator::Credit(Credit { examples: 5, examples_of_all: 70_000, late: 1 })),
            message(FromCoordinator::Heartbeat),
            message(FromCoordinator::Finished(Farewell { text: "over".into(), ..Farewell::default() })),
        ]),
        joined([refused(Refusal::Full)]),
        joined([refused(Refusal::Wait { seconds: 30 })]),
        joined([refused(Refusal::Replaced)]),
    ]
}

/// One of each kind of message.
pub(crate) fn bus() -> Vec<Vec<u8>> {
    let term = Term { number: 3, nonce: 1 << 60 };
    let opening = Opening {
        term,
        round: 7,
        rounds: 5,
        is_wary: true,
        irrevocable: 4,
        frame: [9; 32],
        unfit: Some(NoResult { round: 6, unit: 2 }),
    };
    let broadcasts = [Broadcast::Leads { term }, Broadcast::Finished { term }, Broadcast::Open(opening)]
        .map(|said| said.encode());
    let strike = Strike {
        id: (4, 5),
        token: 1 << 100,
        network: 77,
        offense: "a lie".to_owned(),
        is_lie: true,
        unchecked_since: Some(3),
        ago_ms: 250,
    };
    let ban = Ban { id: (1, 2), token: 5, is_banned: true };
    let says = [
        Says::Asks { cores: 8, speed: 1.5, undone: 3, least: 40 },
        Says::HandsIn { blob: [3; 32] },
        Says::GivesBack { units: vec![1..4, 9..300] },
        Says::Tainted { partials: vec![1, 500] },
        Says::Reports { unit: 6 },
        Says::Confirms { parts: vec![0, 1] },
        Says::Strikes { strikes: vec![strike.clone()] },
        Says::Bans { bans: vec![ban] },
        Says::Pulse,
        Says::Leaves,
    ];
    let requests =
        says.map(|says| Request { term, round: 7, gateway: 1 << 50, number: 12, read: 1, says }.encode());
    let replies = [
        Reply::Leased { units: vec![0..50, 60..61] },
        Reply::Taken,
        Reply::Refused,
        Reply::Noted,
        Reply::RoundIsOver,
        Reply::Expelled,
        Reply::Speak,
    ];
    let orders = vec![
        Order::Recall { most: 9 },
        Order::Confirm { parts: vec![1] },
        Order::Ruled { unit: 4, fits: false },
    ];
    let notices = vec![Notice::Strike(strike), Notice::Ban(ban)];
    let answers = replies.map(|reply| {
        let (orders, notices) = (orders.clone(), notices.clone());
        Answer { term, round: 7, gateway: 1 << 50, number: 12, reply, orders, notices, read: 3 }.encode()
    });
    broadcasts.into_iter().chain(requests).chain(answers).collect()
}

/// The round of the partial sums.
pub(crate) fn partial_plan() -> RoundPlan {
    let parts =
        vec![Part::in_turn(Work::Gradient, Set::Training, 6), Part::in_turn(Work::Evaluation, Set::Test, 2)];
    RoundPlan { round: 1, version: 1, parts, ..RoundPlan::default() }
}

pub(crate) fn partial_sums() -> Vec<Vec<u8>> {
    let sums = |value: i64| {
        let mut sums = Sums::new(&partial_plan(), PARAMETERS);
        sums.parts[0].losses = vec![value];
        sums.parts[0].vector = (0..PARAMETERS as i64).map(|index| value * index).collect();
        sums.parts[1].correct = 3;
        sums
    };
    let partial = |units: Vec<std::ops::Range<u32>>, value| Partial { number: 4, units, sums: sums(value) };
    let partials = [partial(vec![0..6, 7..8], 1 << 40), partial(vec![1..2], -3), partial(vec![0..8], 0)];
    partials.iter().map(|partial| encode_partial(partial, &[5, 1 << 90])).collect()
}

pub(crate) const NEWS_WORDS: &[&[u8]] = &[
    b"\"history\":",
    b"\"volunteers\":",
    b"\"name\":",
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"[",
    b"{",
];

/// Texts of news, news as they are said, and what a gateway tells of itself.
pub(crate) fn news() -> Vec<Vec<u8>> {
    let history =
        (1..4).map(|iteration| CurvePoint { iteration, test_loss: Some(0.5), ..CurvePoint::default() });
    let status = Status { sentence: "Training.".to_owned(), volunteers: 7, ..Status::default() };
    let history = history.collect::<Vec<_>>().into();
    let news = News { status, history, examples: 9, ..News::default() };
    let about = About {
        process: 1 << 60,
        name: "one".to_owned(),
        links: vec!["http://127.0.0.1:1".to_owned()],
        volunteers: 2,
        cores: 3,
        fused_capable: 1,
        examples: 4,
        bytes: 5,
        seconds: 6.5,
    };
    vec![serde_json::to_vec(&news).unwrap(), news.encode(), about.encode()]
}

pub(crate) fn packed() -> Vec<Vec<u8>> {
    let values =
        |scale: i64| pack(&(0..PACKED_VALUES as i64).map(|value| (value - 150) * scale).collect::<Vec<_>>());
    vec![values(0), values(1), values(1 << 20), values(1 << 50)]
}

pub(crate) fn shards() -> Vec<Vec<u8>> {
    let bytes = array![[1_u8, 2, 3], [4, 5, 6], [7, 8, 9]];
    let numbers = array![[1.5_f32, 2.5], [3.5, -4.5]];
    let targets = array![[0.5_f32, 1.0], [2.0, -3.0]];
    vec![
        protocol::shard::encode(&Rows::U8(bytes.view()), &Targets::Classes(&[1, 4, 0])),
        protocol::shard::encode(&Rows::F32(numbers.view()), &Targets::Numbers(targets.view())),
    ]
}

pub(crate) fn checkpoints() -> Vec<Vec<u8>> {
    let lbfgs = || Lbfgs::new(vec![0.5; 7], LbfgsSettings { memory: 3, gradient_tolerance: Some(1e-6) });
    let checkpoint = |optimizer| Checkpoint {
        protocol: PROTOCOL_VERSION,
        run: RUN,
        snapshot: Snapshot {
            optimizer,
            scales: KnownScales::default(),
            statistics: Statistics::new(Arc::from([])),
            counters: Counters { rounds: 7, ..Counters::default() },
            accepted: None,
            course: Course::default(),
        },
        seconds: 2.5,
        volunteers: 3,
        past: Past { unchecked: vec![(7, 3), (8, 5)], forgotten_since: Some(2), wary_until: 9 },
    };
    let states = kept("checkpoint").into_iter().map(|file| file[CHECKPOINT_HEADER_BYTES..].to_vec());
    states.chain([checkpoint(Optimizer::Lbfgs(lbfgs())).to_bytes()]).collect()
}

/// Bytes of a checkpoint's file before the state (`run_directory::checkpoint`).
const CHECKPOINT_HEADER_BYTES: usize = 8 + 4 + 8 + 32;

/// Files of that name of all kept runs.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/runs");
    let folders = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let kept = folders(&runs).into_iter().flat_map(|versions| folders(&versions)).map(|run| run.join(name));
    kept.map(|path| std::fs::read(path).unwrap()).collect()
}

pub(crate) const TABLE_WORDS: &[&[u8]] = &[
    b",",
    b";",
    b"\t",
    b"|",
    b"\n",
    b"\r\n",
    b"\"",
    b"\"\"",
    b"1e999",
    b"-0",
    b"NaN",
    b"NA",
    b"?",
    b"TRUE",
    b"no",
    b"2024-02-30",
    b"31.12.2024",
    b"12:30:99",
    b"1,234",
    b"1.234,5",
    b"50%",
    b"$1,200",
    b"sep=;",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xe9",
    b"\0",
    b"label",
    b"1:2",
    b"999999999999999999999",
    b"007",
    b"\xc3\xa4",
    b"3,2,a,b",
    b"#",
];

pub(crate) fn texts() -> Vec<Vec<u8>> {
    let table = |separator: &str, quote: &str| {
        let mut text = ["when", "size", "color", "ok", "kind"].join(separator);
        for row in 0..12 {
            text += &format!(
                "\n2024-01-{:02}{separator}{}.5{separator}{quote}{}{quote}{separator}{}{separator}k{}",
                row + 1,
                row * 3,
                ["red", "blue", ""][row % 3],
                row % 3 == 0,
                row % 2
            );
        }
        text.into_bytes()
    };
    vec![
        table(",", "\""),
        table(";", ""),
        table("\t", "\""),
        b"1,2,0\n3,4,1\n5,6,0\n7,8,1\n".to_vec(),
        b"1 1:0.5 3:2\n0 2:1.5\n1 1:1 2:2 3:3\n".to_vec(),
        b"4,2,no,yes\n1.0,2.0,0\n3.0,4.0,1\n1.5,2.5,0\n3.5,4.5,1\n".to_vec(),
    ]
}

pub(crate) const BINARY_WORDS: &[&[u8]] = &[
    b"PAR1",
    b"\x93NUMPY\x01\x00",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"\x00\x00\x08\x02",
    b"'descr': '<f8'",
    b"'shape': (2, 3), ",
    b"'fortran_order': True",
];

pub(crate) fn binary_tables() -> Vec<Vec<u8>> {
    let mut npy =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4, 3), }".to_vec();
    npy.resize(127, b' ');
    npy.push(b'\n');
    npy.extend((0..12).flat_map(|value| f64::from(value).to_le_bytes()));
    vec![npy]
}

/// Images and labels of two examples, plain and with the images compressed.
pub(crate) fn idx() -> Vec<Vec<u8>> {
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3];
    images.extend(0..18);
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(&images).unwrap();
    let together = |images: &[u8]| {
        let length = u16::try_from(images.len()).unwrap().to_be_bytes();
        [&length[..], images, &[0, 0, 8, 1, 0, 0, 0, 2, 7, 3]].concat()
    };
    vec![together(&images), together(&compressed.finish().unwrap())]
}

pub(crate) const IDX_WORDS: &[&[u8]] = &[
    b"\x00\x00\x08\x01",
    b"\x00\x00\x08\x03",
    b"\x00\x00\x0d\x03",
    b"\x00\x00\x00\x02",
    b"\x1f\x8b\x08",
    b"\xff\xff\xff\xff",
];

pub(crate) const NETWORK_WORDS: &[&[u8]] = &[
    b"\"kind\":",
    b"\"dense\"",
    b"\"conv2d\"",
    b"\"residual\"",
    b"\"embedding\"",
    b"\"layers\": []",
    b"\"units\": ",
    b"\"kernel\": ",
    b"\"stride\": ",
    b"\"groups\": ",
    b"\"padding\": \"same\"",
    b"4294967295",
    b"65536",
    b"-1",
    b"0",
    b"1e40",
    b"null",
    b"{",
    b"}",
    b"[",
    b"]",
    b"mlp:",
    b"cnn:",
    b",",
    b":tanh",
    b"lenet",
    b"\"freeze\": [\"1\"]",
];

const NETWORKS: [&str; 6] = [
    "mlp:8,4:tanh",
    "cnn:4,6",
    r#"{"input": [1, 6, 6], "l2": 1e-5, "layers": [{"kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same",
      "groups": 1, "activation": "none"}, {"kind": "batch-norm"}, {"kind": "activation", "function": "relu"},
      {"kind": "max-pool", "size": 2, "stride": 2}, {"kind": "flatten"}, {"kind": "dense", "units": 6}]}"#,
    r#"{"layers": [{"kind": "embedding", "vocabulary": 9, "width": 5}, {"kind": "dropout", "rate": 0.3},
      {"kind": "dense", "units": 7, "activation": "gelu"}, {"kind": "layer-norm"}], "freeze": ["1"]}"#,
    r#"{"input": [2, 9, 7], "layers": [{"kind": "residual", "shortcut": "projection", "activation": "relu",
      "layers": [{"kind": "conv2d", "channels": 5, "kernel": 3, "padding": "same", "stride": 2},
      {"kind": "batch-norm"}]}, {"kind": "global-average-pool"}]}"#,
    r#"{"layers": [{"kind": "dense", "units": 9}], "loss": "huber", "huber_delta": 0.5}"#,
];

pub(crate) fn networks() -> Vec<Vec<u8>> {
    NETWORKS.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) const CONFIGURATION_WORDS: &[&[u8]] = &[
    b"\n",
    b" = ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"'",
    b"[model]",
    b"layers = [",
    b"kind = \"dense\"",
    b"units = ",
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"true",
    b"18446744073709551616",
    b"minibatch = ",
    b"iterations = ",
    b"seed = ",
    b"optimizer = \"adam\"",
    b"learning-rate = ",
    b"audit = \"sample:0.5\"",
    b"validation-fraction = ",
    b"#",
];

pub(crate) fn configurations() -> Vec<Vec<u8>> {
    let short = b"data = \"flowers.csv\"\nlabel = \"species\"\nmodel = \"mlp:8\"\niterations = 20\n".to_vec();
    kept("run.toml").into_iter().chain([short]).collect()
}

pub(crate) fn onnx() -> Vec<Vec<u8>> {
    let classes: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
    let write = |text: &str, features| {
        let spec = NetworkSpec::from_shorthand(text).or_else(|_| NetworkSpec::from_json(text)).unwrap();
        let network = Network::new(&spec, features, Task::Classes(3)).unwrap();
        let export = Export {
            network: &network,
            weights: &network.initialize(1),
            inputs: Inputs::Prepared,
            answers: Answers::Classes(&classes),
            metadata: vec![("columns".into(), "x, y".into())],
        };
        export.to_bytes().unwrap()
    };
    vec![write("mlp:3", 4), write("cnn:2", 36), write(NETWORKS[2], 36), write(NETWORKS[4], 126)]
}

pub(crate) const SAFETENSORS_WORDS: &[&[u8]] = &[
    b"\"dtype\":\"F32\"",
    b"\"dtype\":\"BF16\"",
    b"\"shape\":[",
    b"\"data_offsets\":[",
    b"__metadata__",
    b"\"shoal\"",
    b"4294967295",
    b"18446744073709551615",
    b"-1",
    b"]",
    b"}",
    b"weight",
    b"bias",
];

pub(crate) fn safetensors() -> Vec<Vec<u8>> {
    let values: Vec<u8> = (0..23).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let tensor = |shape: Vec<usize>, range: std::ops::Range<usize>| {
        safetensors::tensor::TensorView::new(
            safetensors::Dtype::F32,
            shape,
            &values[4 * range.start..4 * range.end],
        )
        .unwrap()
    };
    let tensors = [
        ("0.weight", tensor(vec![3, 4], 0..12)),
        ("0.bias", tensor(vec![3], 12..15)),
        ("2.weight", tensor(vec![2, 3], 15..21)),
        ("2.bias", tensor(vec![2], 21..23)),
    ];
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    vec![safetensors::serialize(tensors, Some(metadata)).unwrap()]
}
