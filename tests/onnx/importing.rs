//! Networks out of ONNX files: those that Shoal wrote come back to the bit, those of other programs answer as in
//! ONNX Runtime, what cannot be read is refused by name, and nothing panics.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::{Arithmetic, Features, Network, NetworkSpec, Preprocessing, Rows, Scratch, Task};
use ndarray::Array2;
use onnx::export::{Answers, Export, Inputs};
use onnx::import::{End, External, File, ImportError, Imported, Parameter, read};
use proptest::prelude::*;
use serde_json::Value;
use support::python;

use crate::layers::{NETWORKS, random_specs, random_weights};

/// A network with the weights of a file, and its answers to rows of inputs.
pub(crate) fn answers(imported: &Imported, rows: &Array2<f32>) -> Vec<f32> {
    let task = match imported.end {
        End::Softmax => Task::Classes(imported.outputs as u32),
        End::Sigmoid | End::Sums => Task::Numbers(imported.outputs as u32),
    };
    let network = Network::new(&imported.spec, imported.features, task).unwrap();
    let weights = weights(&network, &imported.parameters);
    predict(&network, &weights, rows)
}

pub(crate) fn predict(network: &Network, weights: &[f32], rows: &Array2<f32>) -> Vec<f32> {
    let preprocessing = Preprocessing::identity(network.features());
    let mut answers = vec![0.0; rows.nrows() * network.outputs()];
    let features = Features::new(Rows::F32(rows.view()), &preprocessing);
    network.predict(Arithmetic::Portable, &mut Scratch::new(), weights, &features, &mut answers);
    answers
}

/// The parameter vector, of which every block must be there with its shape.
fn weights(network: &Network, parameters: &BTreeMap<String, Parameter>) -> Vec<f32> {
    assert_eq!(network.layout().len(), parameters.len());
    let block = |block: &model::ParameterBlock| {
        let parameter = &parameters[&block.name];
        assert_eq!(parameter.shape, block.shape, "{}", block.name);
        parameter.values.clone()
    };
    network.layout().iter().flat_map(block).collect()
}

fn exported(spec: &NetworkSpec, features: usize, seed: u64) -> (Network, Vec<f32>, Vec<u8>) {
    let network = Network::new(spec, features, Task::Classes(3)).unwrap();
    let weights = random_weights(&network, seed);
    let names = ["a", "b", "c"].map(str::to_owned);
    let export = Export {
        network: &network,
        weights: &weights,
        inputs: Inputs::Prepared,
        answers: Answers::Classes(&names),
        metadata: vec![("classes".to_owned(), "[]".to_owned())],
    };
    let bytes = export.to_bytes().unwrap();
    (network, weights, bytes)
}

#[test]
fn what_shoal_wrote_comes_back_to_the_bit() {
    let fixed =
        NETWORKS.into_iter().map(|(json, features)| (NetworkSpec::from_json(json).unwrap(), features));
    let random = random_specs().into_iter().map(|spec| (spec, 84));
    for (i, (spec, features)) in fixed.chain(random).enumerate() {
        let (network, expected, bytes) = exported(&spec, features, i as u64);
        let imported = read(bytes).unwrap_or_else(|error| panic!("{error}: {spec:?}"));
        assert_eq!((imported.features, imported.outputs, imported.end), (features, 3, End::Softmax));
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        let rows = Array2::from_shape_fn((3, features), |(i, j)| match spec.vocabulary() {
            Some(vocabulary) => ((i * 5 + j) % vocabulary as usize) as f32,
            None => ((i * 37 + j * 11) % 101) as f32 / 50.0 - 1.0,
        });
        // Dropout and what else has no trace in inference may be gone, and names with it.
        assert_eq!(answers(&imported, &rows), predict(&network, &expected, &rows), "{spec:?}");
    }
}

#[test]
fn networks_of_other_programs_answer_as_they_do_there() {
    let folder = tempfile::tempdir().unwrap();
    python::run("foreign.py", &[folder.path()]);
    let (mut read_files, mut refused) = (0, 0);
    for path in files(folder.path(), "onnx") {
        let imported = with_files_beside(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let case: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
        let numbers = |name: &str| -> Vec<Vec<f32>> { serde_json::from_value(case[name].clone()).unwrap() };
        let (rows, expected) = (numbers("inputs"), numbers("answers"));
        let rows = Array2::from_shape_vec((rows.len(), imported.features), rows.concat()).unwrap();
        let found = answers(&imported, &rows);
        for (found, expected) in found.iter().zip(expected.concat()) {
            let off = (found - expected).abs();
            assert!(off <= 1e-5 * expected.abs().max(1.0), "{path:?}: {found} and not {expected}");
        }
        read_files += 1;
    }
    for path in files(&folder.path().join("refused"), "onnx") {
        let error = read(fs::read(&path).unwrap()).expect_err("it cannot be read").to_string();
        let words = fs::read_to_string(path.with_extension("txt")).unwrap();
        for words in words.lines() {
            assert!(error.contains(words), "{path:?}: {error:?} without {words:?}");
        }
        refused += 1;
    }
    assert_eq!((read_files, refused), (34, 45));
}

/// What PyTorch itself exported; `tests/data/pytorch/generate.py` made it.
const PYTORCH: [&str; 3] = ["residual.onnx", "convolutions.onnx", "dense.onnx"];

fn of_pytorch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pytorch").join(name)
}

#[test]
fn networks_that_pytorch_exported_answer_as_they_do_there() {
    let given: Value = serde_json::from_slice(&fs::read(of_pytorch("answers.json")).unwrap()).unwrap();
    let numbers = |name: &str| -> Vec<f32> { serde_json::from_value(given[name].clone()).unwrap() };
    let inputs = numbers("inputs");
    let rows = Array2::from_shape_vec((inputs.len() / 36, 36), inputs).unwrap();
    for name in PYTORCH {
        let imported = read(fs::read(of_pytorch(name)).unwrap()).unwrap();
        let expected = numbers(name.trim_end_matches(".onnx"));
        for (found, expected) in answers(&imported, &rows).into_iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{name}: {found} {expected}");
        }
    }
}

fn with_files_beside(path: &Path) -> Result<Imported, ImportError> {
    let file = File::parse(fs::read(path).unwrap())?;
    let content = |name: &str| fs::read(path.with_file_name(name)).unwrap().into();
    let external = file.external_files()?.into_iter().map(|name| (name.to_owned(), content(name)));
    file.network(&external.collect())
}

#[test]
fn values_in_another_file_are_within_it_and_in_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    python::run("foreign.py", &[folder.path()]);
    let path = folder.path().join("values_beside_the_graph.onnx");
    let bytes = fs::read(&path).unwrap();
    let file = File::parse(bytes.clone()).unwrap();
    let name = "values_beside_the_graph.onnx.data";
    assert_eq!(file.external_files().unwrap().into_iter().collect::<Vec<_>>(), [name]);
    let values = fs::read(path.with_file_name(name)).unwrap();
    let with = |content: &[u8]| {
        let external = External::from([(name.to_owned(), content.to_vec().into())]);
        file.network(&external).map_err(|error| error.to_string())
    };
    with(&values).unwrap();
    assert!(with(&values[..values.len() - 1]).unwrap_err().contains("beyond the end of the file"));
    assert!(read(bytes.clone()).unwrap_err().to_string().contains("which is not there"));
    // As long as the file's own name, so that the message around it stays as it is.
    for other in [
        "../../../../../../../etc/passwords",
        "/ues_beside_the_graph.onnx.data.x",
        "C:ues_beside_the_graph.onnx.dataa",
    ] {
        let other = &other[..name.len()];
        let changed = replaced(&bytes, name.as_bytes(), other.as_bytes());
        let error = File::parse(changed).unwrap().external_files().map(drop).unwrap_err().to_string();
        assert!(error.contains("no file in the same folder"), "{error}");
    }
}

/// The bytes with others of the same length in the place of some.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn few_bytes_cannot_ask_for_much_memory() {
    // A graph (field 7) of nodes (field 1) without content: 2 bytes each.
    let nodes = [0x0a, 0x00].repeat(1 << 20);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(nodes.len() as u64, &mut bytes);
    bytes.extend(nodes);
    assert!(read(bytes).unwrap_err().to_string().contains("more nodes"));
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|of| of == ending)).collect();
    files.sort();
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes changed, cut out and doubled: an error or a network that can be computed with, and no panic.
    #[test]
    fn a_mutated_file_never_panics(
        which in 0..NETWORKS.len() + PYTORCH.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let mut bytes = match NETWORKS.get(which) {
            Some((json, features)) => exported(&NetworkSpec::from_json(json).unwrap(), *features, 1).2,
            None => fs::read(of_pytorch(PYTORCH[which - NETWORKS.len()])).unwrap(),
        };
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => { bytes.drain(at..(at + usize::from(byte) % 40).min(bytes.len())); }
                _ => {
                    let part = bytes[at..(at + usize::from(byte)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Ok(imported) = read(bytes) {
            // Whether the layers fit together, the network itself says.
            let _ = Network::new(&imported.spec, imported.features, Task::Classes(2));
        }
    }
}
