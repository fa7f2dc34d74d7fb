//! What is done with an input of each kind. Each says whether it understood the input.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coordinator::config::ConfigFile;
use coordinator::driver::{Checkpoint, CheckpointError};
use coordinator::scale::{About, News};
use coordinator::start::Source;
use engine::decoder::{UpwardDecoder, read_hello, read_ready};
use engine::ledger::{Ledger, Partial};
use engine::units::Units;
use flate2::Compression;
use flate2::write::GzEncoder;
use gateway::{Answer, Broadcast, Request, decode_partial, encode_partial};
use model::{Network, NetworkSpec, Task};
use protocol::frame::{DownwardFrame, UpwardFrame, decode_downward, decode_upward, hello_version};
use protocol::pack::{pack, unpack};
use protocol::shard::Shard;
use table::{Labels, Preparation, ReadOptions, read, read_matching};
use worker::{Hub, HubInput, Settings};

use crate::corpus::{PACKED_VALUES, PARAMETERS, RUN, frames_of, partial_plan};
use crate::driver::scratch;

/// Frames of one session, one after the other.
pub(crate) fn upward(input: &[u8]) -> bool {
    let mut decoder = UpwardDecoder::new(RUN, PARAMETERS);
    for frame in frames_of(input) {
        let joins = read_hello(frame).is_ok() || read_ready(frame, 3).is_ok();
        let _ = hello_version(frame);
        if let Ok(UpwardFrame::Message(message)) = decode_upward(frame) {
            // What was understood can be said again.
            assert_eq!(decode_upward(&message.encode()), Ok(UpwardFrame::Message(message)));
        }
        if decoder.frame(frame).is_err() && !joins {
            return false;
        }
    }
    true
}

/// The same from a coordinator, to a volunteer that obeys.
pub(crate) fn downward(input: &[u8]) -> bool {
    let settings = Settings {
        arithmetic: model::Arithmetic::Portable,
        known_answer: [1; 32],
        memory_bytes: 1 << 30,
        ..settings()
    };
    let mut hub = Hub::new(settings);
    hub.handle(0, HubInput::Connected);
    let mut is_understood = true;
    for (number, frame) in frames_of(input).enumerate() {
        match decode_downward(frame) {
            Ok(DownwardFrame::Message(message)) => {
                let said = message.encode();
                let Ok(DownwardFrame::Message(again)) = decode_downward(&said) else {
                    panic!("what was understood cannot be said again")
                };
                // Compared as bytes, because what is not a number is not equal to itself.
                assert_eq!(again.encode(), said);
            }
            Ok(DownwardFrame::Round(round)) => {
                let parameters = round.parameters();
                if round.is_whole(parameters) {
                    (0..round.plan.vectors()).for_each(|index| drop(round.vector(index)));
                }
            }
            Err(_) => is_understood = false,
        }
        hub.handle(number as u64, HubInput::Frame(Bytes::copy_from_slice(frame)));
        while hub.poll_output().is_some() {}
        let _ = hub.status();
    }
    is_understood
}

fn settings() -> Settings {
    thread_local! {
        // The known answer takes long to compute.
        static SETTINGS: Settings = Settings::new(model::Arithmetic::Portable, 2, "a test", 1);
    }
    SETTINGS.with(Clone::clone)
}

/// What coordinators and gateways say to each other, as any of it.
pub(crate) fn bus(input: &[u8]) -> bool {
    let (request, answer) = (Request::decode(input), Answer::decode(input));
    let broadcast = Broadcast::decode(input);
    let is_understood = request.is_ok() || answer.is_ok() || broadcast.is_ok();
    if let Ok(request) = request {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Ok(answer) = answer {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(broadcast) = broadcast {
        assert_eq!(Broadcast::decode(&broadcast.encode()), Ok(broadcast));
    }
    is_understood
}

/// A partial sum, to a ledger whose units all are the sender's. It counts, or changes nothing; and added up with another
/// one it stays in range.
pub(crate) fn partial_sum(input: &[u8]) -> bool {
    let plan = partial_plan();
    let Ok((partial, unchecked)) = decode_partial(input, &plan, PARAMETERS) else { return false };
    let again = decode_partial(&encode_partial(&partial, &unchecked), &plan, PARAMETERS);
    assert_eq!(again, Ok((partial.clone(), unchecked)));
    // Where there is room for one, they are added up.
    let mut ledger = Ledger::new(&plan, PARAMETERS).with_room_for(1);
    ledger.lease(1, u32::MAX);
    let number = partial.number;
    let others: Units = (0..plan.units())
        .filter(|unit| !partial.units.iter().any(|range| range.contains(unit)))
        .map(|unit| unit..unit + 1)
        .collect();
    let counts = ledger.add(&plan, PARAMETERS, 1, partial.clone()).is_ok();
    assert!(ledger.is_consistent(&plan));
    assert_eq!(ledger.done() > 0, counts);
    if counts && !others.is_empty() {
        let sums = partial.sums;
        let other = Partial { number: number.wrapping_add(1), units: others.ranges().collect(), sums };
        let _ = ledger.add(&plan, PARAMETERS, 1, other);
        assert!(ledger.is_consistent(&plan));
    }
    ledger.take_out(1, &[number]);
    assert!(ledger.is_consistent(&plan));
    true
}

/// How gateways fare and how the training goes, as bytes and as the text that they pack.
pub(crate) fn news(input: &[u8]) -> bool {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(input).unwrap();
    let mut is_understood = false;
    for bytes in [input, &packed.finish().unwrap()] {
        if let Some(news) = News::decode(bytes) {
            assert!(News::decode(&news.encode()).is_some(), "what was understood can be said again");
            is_understood = true;
        }
    }
    if let Some(about) = About::decode(input) {
        assert!(About::decode(&about.encode()).is_some(), "what was understood can be said again");
        is_understood = true;
    }
    is_understood
}

pub(crate) fn packed(input: &[u8]) -> bool {
    let Ok(values) = unpack(input, PACKED_VALUES) else { return false };
    assert_eq!(unpack(&pack(&values), PACKED_VALUES), Ok(values));
    true
}

pub(crate) fn shard(input: &[u8]) -> bool {
    let mut is_understood = false;
    for (features, task) in [(3, Task::Classes(5)), (2, Task::Numbers(2))] {
        if let Ok(shard) = Shard::decode(input, features, task) {
            assert!(shard.examples() <= input.len());
            is_understood = true;
        }
    }
    is_understood
}

pub(crate) fn checkpoint(input: &[u8]) -> bool {
    let checkpoint = match Checkpoint::from_bytes(input) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return matches!(error, CheckpointError::OtherProtocol(_)),
    };
    let bytes = checkpoint.to_bytes();
    let again = Checkpoint::from_bytes(&bytes).expect("what was written can be read");
    assert_eq!(again.to_bytes(), bytes);
    true
}

pub(crate) fn text(input: &[u8]) -> bool {
    table_file("fuzz.csv", input)
}

pub(crate) fn table(input: &[u8]) -> bool {
    table_file("fuzz", input)
}

/// A directory of IDX files: the length of the images' file as two bytes, that file, and the labels' file. Whether
/// either is compressed follows from its first bytes.
pub(crate) fn idx(input: &[u8]) -> bool {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir_in(scratch()).unwrap();
    }
    let Some((length, files)) = input.split_first_chunk() else { return false };
    let (images, labels) = files.split_at(files.len().min(u16::from_be_bytes(*length).into()));
    FOLDER.with(|folder| {
        let is_compressed = images.starts_with(b"\x1f\x8b");
        let (wanted, other) = if is_compressed { (".gz", "") } else { ("", ".gz") };
        let _ = std::fs::remove_file(folder.path().join(format!("train-images{other}")));
        std::fs::write(folder.path().join(format!("train-images{wanted}")), images).unwrap();
        std::fs::write(folder.path().join("train-labels"), labels).unwrap();
        table_at(folder.path(), input.len())
    })
}

fn table_file(name: &str, input: &[u8]) -> bool {
    table_at(&InFile::new(name, input).path, input.len())
}

/// Reads, prepares and reads again.
fn table_at(path: &Path, length: usize) -> bool {
    let path = path.to_owned();
    let options = ReadOptions { skip_bad_rows: length.is_multiple_of(2), ..ReadOptions::default() };
    let Ok(data) = read(std::slice::from_ref(&path), &options) else { return false };
    let rows: Vec<u32> = (0..data.train.rows as u32).collect();
    let Ok((preparation, _)) = Preparation::fit(&data.train, &rows, &[]) else { return false };
    let stored = preparation.store(data.train).unwrap();
    let bytes = stored.fits_bytes(&preparation);
    let _ = stored.inputs(&preparation, &rows, bytes);
    let _ = read_matching(std::slice::from_ref(&path), &preparation, &options, Labels::Ignored);
    true
}

/// Specifications in their three forms: a shorthand, JSON, and a configuration's table.
pub(crate) fn network(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut is_understood = false;
    for spec in [NetworkSpec::from_shorthand(text), NetworkSpec::from_json(text)].into_iter().flatten() {
        for (features, task) in [(36, Task::Classes(3)), (126, Task::Numbers(2))] {
            if let Ok(network) = Network::new(&spec, features, task) {
                let _ = (network.parameters(), network.spec().to_json());
                is_understood = true;
            }
        }
    }
    is_understood
}

pub(crate) fn configuration(input: &[u8]) -> bool {
    let read = |text: &str| ConfigFile::from_toml(Path::new("/fuzz/run.toml"), text).ok();
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Some(config) = read(text).and_then(|file| file.resolve().ok()) else { return false };
    let again = read(&config.to_toml());
    assert!(again.is_some(), "what was written can be read");
    true
}

pub(crate) fn onnx(input: &[u8]) -> bool {
    onnx::import::read(Bytes::copy_from_slice(input)).is_ok()
}

pub(crate) fn safetensors(input: &[u8]) -> bool {
    let file = InFile::new("fuzz.safetensors", input);
    let Ok(source) = Source::read(&file.path) else { return false };
    let spec = NetworkSpec::from_shorthand("mlp:3").expect("a good one");
    let network = Network::new(&spec, 4, Task::Classes(2)).expect("a good one");
    source.weights(&network, Some(&["a", "b"].map(str::to_owned)), 1).is_ok()
}

/// An input as a file. Each thread has a folder of its own.
struct InFile {
    path: PathBuf,
}

impl InFile {
    fn new(name: &str, input: &[u8]) -> InFile {
        thread_local! {
            static FOLDER: tempfile::TempDir = tempfile::tempdir_in(scratch()).unwrap();
        }
        let path = FOLDER.with(|folder| folder.path().join(name));
        std::fs::write(&path, input).unwrap();
        InFile { path }
    }
}
