//! Networks out of ONNX files: those that Shoal wrote come back to the bit, those of other programs answer as in
//! ONNX Runtime, what cannot be read is refused by name, and nothing panics.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use model::{Arithmetic, Features, Network, NetworkSpec, Preprocessing, Rows, Scratch, Task};
use ndarray::Array2;
use onnx::export::{Answers, Export, Inputs};
use onnx::import::{End, Imported, Parameter, read};
use proptest::prelude::*;
use serde_json::Value;
use support::python;

use crate::layers::{NETWORKS, random_specs, random_weights};

/// A network with the weights of a file, and its answers to rows of inputs.
fn answers(imported: &Imported, rows: &Array2<f32>) -> Vec<f32> {
    let task = match imported.end {
        End::Softmax => Task::Classes(imported.outputs as u32),
        End::Sigmoid | End::Sums => Task::Numbers(imported.outputs as u32),
    };
    let network = Network::new(&imported.spec, imported.features, task).unwrap();
    let weights = weights(&network, &imported.parameters);
    predict(&network, &weights, rows)
}

fn predict(network: &Network, weights: &[f32], rows: &Array2<f32>) -> Vec<f32> {
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
    let (mut all, mut refused) = (0, 0);
    for (i, (spec, features)) in fixed.chain(random).enumerate() {
        all += 1;
        let (network, expected, bytes) = exported(&spec, features, i as u64);
        let imported = match read(bytes) {
            // A block that begins with another block, or with an activation in parts.
            Err(error) if error.to_string().contains("three ways") => {
                refused += 1;
                continue;
            }
            read => read.unwrap_or_else(|error| panic!("{error}: {spec:?}")),
        };
        assert_eq!((imported.features, imported.outputs, imported.end), (features, 3, End::Softmax));
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        let rows = Array2::from_shape_fn((3, features), |(i, j)| match spec.vocabulary() {
            Some(vocabulary) => ((i * 5 + j) % vocabulary as usize) as f32,
            None => ((i * 37 + j * 11) % 101) as f32 / 50.0 - 1.0,
        });
        // Dropout and what else has no trace in inference may be gone, and names with it.
        assert_eq!(answers(&imported, &rows), predict(&network, &expected, &rows), "{spec:?}");
    }
    assert!(refused * 3 < all, "{refused} of {all} are refused");
}

#[test]
fn networks_of_other_programs_answer_as_they_do_there() {
    let folder = tempfile::tempdir().unwrap();
    python::run("foreign.py", &[folder.path()]);
    let (mut read_files, mut refused) = (0, 0);
    for path in files(folder.path(), "onnx") {
        let imported = read(fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"));
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
    assert_eq!((read_files, refused), (9, 11));
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

fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
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
        which in 0..NETWORKS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let (json, features) = NETWORKS[which];
        let (_, _, mut bytes) = exported(&NetworkSpec::from_json(json).unwrap(), features, 1);
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
