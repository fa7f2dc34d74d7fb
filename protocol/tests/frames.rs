//! The bytes of one frame of each kind, pinned to the protocol's version.
//!
//! A volunteer may run an older or newer build than the coordinator's. The version in its hello shows this,
//! but only if it is raised whenever bytes change. `tests/data/frames.txt` holds the version and its bytes.

use model::{Arithmetic, Preprocessing, Rows, Targets, Task};
use ndarray::array;
use protocol::PROTOCOL_VERSION;
use protocol::frame::{
    DownwardFrame, RoundFrame, UpwardFrame, VectorChunks, decode_downward, decode_upward, encode_round,
    hello_version,
};
use protocol::message::{
    Credit, Farewell, FinalFigures, FromCoordinator, FromVolunteer, Hello, LocalBounds, Ready, Refusal,
    ResultHeader, Unfit, Welcome,
};
use protocol::pack::unpack;
use protocol::plan::{Assignment, Part, RoundPlan, Selection, Set, SetPlan, SetPlans, ShardRef, Work};
use protocol::scales::Scales;
use protocol::shard::{self, Shard};

const PINNED: &str = include_str!("../../tests/data/frames.txt");

#[test]
fn frames_have_the_bytes_of_their_protocol_version() {
    let present = render();
    assert!(
        present == PINNED,
        "Frames differ from the ones pinned in tests/data/frames.txt. If their bytes have changed, \
         raise PROTOCOL_VERSION; the file must then hold:\n\n{present}\nThese entries differ: {:?}",
        differences(&present)
    );
}

#[test]
fn the_pinned_bytes_are_read_as_the_messages_they_were_made_of() {
    let pinned = entries(PINNED);
    let bytes = |name: &str| {
        let entry = pinned.iter().find(|(found, _)| found == name);
        &entry.unwrap_or_else(|| panic!("tests/data/frames.txt has no {name:?}")).1
    };
    for (name, message) in from_volunteer() {
        assert_eq!(decode_upward(bytes(name)), Ok(UpwardFrame::Message(message)), "{name}");
    }
    assert_eq!(hello_version(bytes("from the volunteer: hello")), Some(PROTOCOL_VERSION));
    for (name, message) in from_coordinator() {
        assert_eq!(decode_downward(bytes(name)), Ok(DownwardFrame::Message(message)), "{name}");
    }
    for (name, plan, vectors) in rounds() {
        let raw: Vec<u8> = vectors.concat().iter().flat_map(|value| value.to_le_bytes()).collect();
        let frame = RoundFrame { plan, vectors: &raw };
        assert_eq!(decode_downward(bytes(name)), Ok(DownwardFrame::Round(frame)), "{name}");
    }
    let Ok(UpwardFrame::Chunk(packed)) = decode_upward(bytes(CHUNK)) else { panic!("not a chunk") };
    assert_eq!(unpack(packed, sums().len()), Ok(sums()));
    for (name, _) in shards() {
        let (features, task) = if name == BYTE_SHARD { (3, Task::Classes(5)) } else { (2, Task::Numbers(2)) };
        let shard = Shard::decode(bytes(name), features, task);
        assert_eq!(shard.map(|shard| shard.examples()), Ok(2), "{name}");
    }
}

const CHUNK: &str = "from the volunteer: chunk of a packed vector";
const BYTE_SHARD: &str = "shard: bytes, classes";

fn from_volunteer() -> Vec<(&'static str, FromVolunteer)> {
    vec![
        (
            "from the volunteer: hello",
            FromVolunteer::Hello(Hello {
                protocol: PROTOCOL_VERSION,
                arithmetic: Arithmetic::Fused,
                known_answer: [0xa5; 32],
                cores: 3,
                fused_capable: true,
                agent: "a browser".into(),
                token: [0xb6; 16],
            }),
        ),
        ("from the volunteer: ready", FromVolunteer::Ready(Ready { training_shards: vec![0, 5, 70_000] })),
        ("from the volunteer: cores", FromVolunteer::Cores(250)),
        (
            "from the volunteer: result",
            FromVolunteer::Result(ResultHeader {
                run: u64::MAX,
                round: 300,
                version: 2,
                assignment: 9,
                losses: vec![i64::MIN, -1, 0, 1, i64::MAX],
                unfit_steps: 0x8000_0001,
                correct: 77,
                vector_bytes: 4096,
            }),
        ),
        (
            "from the volunteer: unfit",
            FromVolunteer::Unfit(Unfit { assignment: 1, round: 200, unit: 70_000 }),
        ),
        (
            "from the volunteer: decline",
            FromVolunteer::Decline { assignment: 4, reason: "a shard is missing".into() },
        ),
    ]
}

const CREDIT: Credit = Credit { examples: 1000, examples_of_all: 70_000, late: 2 };

fn from_coordinator() -> Vec<(&'static str, FromCoordinator)> {
    let refused = |reason| FromCoordinator::Refused { reason, text: "come back later".into() };
    vec![
        ("from the coordinator: welcome, classes and local steps", welcome_with_local_steps()),
        ("from the coordinator: welcome, numbers", welcome_to_numbers()),
        ("from the coordinator: refused, another version", refused(Refusal::OtherVersion)),
        ("from the coordinator: refused, the other arithmetic", refused(Refusal::OtherArithmetic)),
        ("from the coordinator: refused, other bits", refused(Refusal::OtherBits)),
        ("from the coordinator: refused, full", refused(Refusal::Full)),
        ("from the coordinator: refused, misbehaved", refused(Refusal::Misbehaved)),
        ("from the coordinator: refused, wait", refused(Refusal::Wait { seconds: 300 })),
        ("from the coordinator: refused, replaced", refused(Refusal::Replaced)),
        (
            "from the coordinator: assign",
            FromCoordinator::Assign(Assignment { assignment: 1, round: 200, units: vec![0..3, 7..70_000] }),
        ),
        (
            "from the coordinator: finished",
            FromCoordinator::Finished(Farewell {
                text: "the training has ended".into(),
                figures: FinalFigures { iteration: 300, accuracy: Some(0.75), loss: None },
                credit: CREDIT,
            }),
        ),
        ("from the coordinator: credit", FromCoordinator::Credit(CREDIT)),
        ("from the coordinator: heartbeat", FromCoordinator::Heartbeat),
    ]
}

fn welcome_with_local_steps() -> FromCoordinator {
    let shard = |byte| ShardRef { hash: [byte; 32], bytes: 300 };
    FromCoordinator::Welcome(Box::new(Welcome {
        run: 0x0123_4567_89ab_cdef,
        session: 12,
        arithmetic: Arithmetic::Portable,
        network: r#"{"layers":[{"kind":"dense","units":8}]}"#.into(),
        features: 2,
        task: Task::Classes(3),
        preprocessing: Preprocessing { offset: vec![0.5, -1.0], scale: vec![2.0, 0.25] },
        seed: 7,
        minibatch: 10,
        local: Some(LocalBounds { replicas: 4, steps: 200 }),
        sets: SetPlans {
            training: SetPlan {
                examples: 100,
                examples_per_unit: 30,
                units_per_shard: 2,
                shards: vec![shard(1), shard(2)],
            },
            validation: SetPlan {
                examples: 20,
                examples_per_unit: 30,
                units_per_shard: 2,
                shards: vec![shard(3)],
            },
            test: SetPlan { examples: 31, examples_per_unit: 30, units_per_shard: 2, shards: vec![shard(4)] },
        },
    }))
}

fn welcome_to_numbers() -> FromCoordinator {
    let none = SetPlan { examples: 0, examples_per_unit: 1, units_per_shard: 1, shards: Vec::new() };
    FromCoordinator::Welcome(Box::new(Welcome {
        run: 1,
        session: 2,
        arithmetic: Arithmetic::Fused,
        network: "{}".into(),
        features: 1,
        task: Task::Numbers(300),
        preprocessing: Preprocessing { offset: vec![0.0], scale: vec![1.0] },
        seed: i64::MAX as u64,
        minibatch: 1,
        local: None,
        sets: SetPlans {
            training: SetPlan {
                examples: 1,
                shards: vec![ShardRef { hash: [9; 32], bytes: 24 }],
                ..none.clone()
            },
            validation: none.clone(),
            test: none,
        },
    }))
}

/// Rounds of every kind of work, with their vectors.
fn rounds() -> Vec<(&'static str, RoundPlan, Vec<Vec<f32>>)> {
    let weights = vec![1.5, -0.0, f32::MIN_POSITIVE / 2.0];
    let direction = vec![0.25, 3.0, -1.0];
    let plan = |parts| RoundPlan {
        round: 300,
        version: 299,
        scales: Scales {
            vector_exponent: -3,
            statistics_exponent: 4,
            loss_exponent: 30,
            evaluation_exponent: 29,
        },
        mask_epoch: 5,
        parts,
    };
    let evaluation = |set, units| Part::in_turn(Work::Evaluation, set, units);
    let drawn = Part {
        selection: Selection::Drawn { first: 1000 },
        ..Part::in_turn(Work::Gradient, Set::Training, 4)
    };
    let losses = Work::Losses { steps: vec![0.5, 0.25] };
    let local = Work::Local { steps: 200, learning_rate: 0.1, draw: 6 };
    vec![
        (
            "round: gradients and evaluations",
            plan(vec![
                Part::in_turn(Work::Gradient, Set::Training, 64),
                evaluation(Set::Validation, 7),
                evaluation(Set::Test, 16),
            ]),
            vec![weights.clone()],
        ),
        ("round: gradients of drawn units", plan(vec![drawn]), vec![weights.clone()]),
        (
            "round: losses along a direction",
            plan(vec![Part::in_turn(losses, Set::Training, 64)]),
            vec![weights.clone(), direction],
        ),
        (
            "round: local steps and an evaluation of the training set",
            plan(vec![Part::in_turn(local, Set::Training, 8), evaluation(Set::Training, 64)]),
            vec![weights.clone()],
        ),
        ("round: an examination", plan(vec![Part::in_turn(Work::Examination, Set::Test, 16)]), vec![weights]),
    ]
}

/// A vector's sums: blocks of several widths, including the narrowest and the widest.
fn sums() -> Vec<i64> {
    let block = |value: fn(i64) -> i64| (0..128).map(value);
    let narrow = block(|_| 0).chain(block(|index| index % 3 - 1)).chain(block(|index| index * 7919));
    narrow.chain([i64::MIN, -2, i64::MAX]).collect()
}

fn shards() -> [(&'static str, Vec<u8>); 2] {
    let (bytes, floats) = (array![[1u8, 2, 3], [250, 0, 7]], array![[0.5f32, -1.0], [3.0, 1e-40]]);
    let numbers = array![[1.0f32, 2.0], [-0.0, 4.5]];
    [
        (BYTE_SHARD, shard::encode(&Rows::U8(bytes.view()), &Targets::Classes(&[4, 0]))),
        (
            "shard: floats, numbers",
            shard::encode(&Rows::F32(floats.view()), &Targets::Numbers(numbers.view())),
        ),
    ]
}

/// The content that the pinned file should have.
fn render() -> String {
    let volunteer = from_volunteer().into_iter().map(|(name, message)| (name, message.encode()));
    let coordinator = from_coordinator().into_iter().map(|(name, message)| (name, message.encode()));
    let rounds = rounds().into_iter().map(|(name, plan, vectors)| {
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        (name, encode_round(&plan, &vectors))
    });
    let chunks = VectorChunks::new(sums()).map(|chunk| (CHUNK, chunk));
    let mut text = format!("protocol version {PROTOCOL_VERSION}\n");
    for (name, bytes) in volunteer.chain(chunks).chain(coordinator).chain(rounds).chain(shards()) {
        text += &format!("{name}\n");
        for line in bytes.chunks(BYTES_IN_LINE) {
            let line: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("  {line}\n");
        }
    }
    text
}

const BYTES_IN_LINE: usize = 48;

/// The names of a file's entries, with their bytes. The line with the version is an entry without bytes.
fn entries(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("  "), entries.last_mut()) {
            (Some(line), Some((_, bytes))) => {
                let digits = line.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
                bytes.extend(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
            }
            _ => entries.push((line.to_owned(), Vec::new())),
        }
    }
    entries
}

/// The names of entries that are missing from one side or differ.
fn differences(present: &str) -> Vec<String> {
    let (present, pinned) = (entries(present), entries(PINNED));
    let only = |some: &[(String, Vec<u8>)], others: &[(String, Vec<u8>)]| -> Vec<String> {
        some.iter().filter(|entry| !others.contains(entry)).map(|(name, _)| name.clone()).collect()
    };
    let mut names = only(&pinned, &present);
    names
        .extend(only(&present, &pinned).into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    names
}
