//! Tensors of a safetensors file that PyTorch wrote, matched with the layers of a network.
//!
//! Modules are matched by name if any of the network's names is there. Otherwise by the shapes of their tensors.
//! Modules of equal shapes are taken in the order of the numbers in their names, if there are as many as layers of
//! that kind and if their names differ in numbers alone: `encoder` and `decoder` have no order.

use std::collections::BTreeMap;

use half::{bf16, f16};
use model::Network;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

use super::named::Named;
use crate::export::torch::{METADATA_KEY, Tensor, tensors, transposed};

/// Tensors of a file at most: a network of the most layers has fewer.
const TENSORS_MAX: usize = 1 << 14;

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// The tensors of floats in a file. Others, such as `num_batches_tracked`, are left out.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Found>, String> {
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("it is not a complete safetensors file ({error}); save it again"))?;
    if tensors.len() > TENSORS_MAX {
        return Err(format!("it has {} tensors, more than the largest network", tensors.len()));
    }
    let found = |(name, view): (&str, TensorView<'_>)| {
        let values = values(view.dtype(), view.data())?;
        Some(Found { name: name.to_owned(), shape: view.shape().to_vec(), values })
    };
    Ok(tensors.iter().filter_map(found).collect())
}

/// The names of classes in a file that Shoal exported.
pub(super) fn classes(bytes: &[u8]) -> Option<Vec<String>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let described: Described = serde_json::from_str(metadata.metadata().as_ref()?.get(METADATA_KEY)?).ok()?;
    serde_json::from_str(&described.classes).ok()
}

/// What Shoal says of a file that it exported, as far as it matters here.
#[derive(Deserialize)]
struct Described {
    classes: String,
}

fn values(kind: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        _ => return None,
    })
}

/// The tensors of one module by the part of their names that is its own: `weight`, `bias`.
type Module<'a, T> = BTreeMap<&'a str, &'a T>;

/// A file's tensors under the names of the network's layout, and a sentence about how they were matched.
pub(super) fn matched<'a>(found: &[Found], network: &Network) -> Result<(Named<'a>, Option<String>), String> {
    let wanted = tensors(network);
    let ours = modules(&wanted, |tensor| &tensor.name);
    let theirs = modules(found, |tensor| &tensor.name);
    let by_name = ours.iter().any(|(name, _)| theirs.iter().any(|(other, _)| name == other));
    let pairs = if by_name { pair_by_name(&ours, &theirs) } else { pair_by_shape(&ours, &theirs)? };

    let mut taken = Vec::new();
    let mut renamed = Vec::new();
    let mut used = Vec::new();
    for (our, their) in pairs {
        let ((our_name, our_parts), (their_name, their_parts)) = (&ours[our], &theirs[their]);
        if our_name != their_name {
            renamed.push(format!("{their_name} as {our_name}"));
        }
        for (part, tensor) in our_parts {
            let Some(found) = their_parts.get(part).filter(|found| found.shape == tensor.shape) else {
                continue;
            };
            let at = wanted.iter().position(|other| std::ptr::eq(other, *tensor)).expect("it is one of them");
            let block = &network.layout()[at];
            let values = match tensor.is_transposed {
                true => transposed(&found.values, tensor.shape[1]),
                false => found.values.clone(),
            };
            taken.push((block.name.clone(), block.shape.clone(), values));
            used.push(found.name.as_str());
        }
    }
    let unused = found.iter().filter(|found| !used.contains(&found.name.as_str()));
    let unused = unused.map(|found| format!("{} {:?}", found.name, found.shape)).collect();
    let turned = wanted.iter().any(|tensor| tensor.is_transposed);
    let note = (!taken.is_empty()).then(|| {
        let names = if renamed.is_empty() { String::new() } else { format!("took {}; ", renamed.join(", ")) };
        let turned =
            if turned { "the weights of dense layers were transposed" } else { "nothing was transposed" };
        format!("{names}{turned}")
    });
    Ok((Named::of_tensors(taken, unused), note))
}

/// The modules of tensors, in the order in which they first occur.
fn modules<'a, T>(tensors: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<(&'a str, Module<'a, T>)> {
    let mut modules: Vec<(&str, Module<'_, T>)> = Vec::new();
    for tensor in tensors {
        let name = name(tensor).as_str();
        let (module, part) = name.rsplit_once('.').unwrap_or(("", name));
        match modules.iter_mut().find(|(other, _)| *other == module) {
            Some((_, parts)) => {
                parts.insert(part, tensor);
            }
            None => modules.push((module, BTreeMap::from([(part, tensor)]))),
        }
    }
    modules
}

fn pair_by_name(
    ours: &[(&str, Module<'_, Tensor>)],
    theirs: &[(&str, Module<'_, Found>)],
) -> Vec<(usize, usize)> {
    let named =
        |(i, (name, _)): (usize, &(&str, _))| Some((i, theirs.iter().position(|(other, _)| other == name)?));
    ours.iter().enumerate().filter_map(named).collect()
}

fn pair_by_shape(
    ours: &[(&str, Module<'_, Tensor>)],
    theirs: &[(&str, Module<'_, Found>)],
) -> Result<Vec<(usize, usize)>, String> {
    let fits = |our: &Module<'_, Tensor>, their: &Module<'_, Found>| {
        // A bias may be missing; then it starts at 0.
        their.iter().all(|(part, found)| our.get(part).is_some_and(|tensor| tensor.shape == found.shape))
            && their.contains_key("weight")
    };
    let mut order: Vec<usize> = (0..theirs.len()).collect();
    order.sort_by(|&a, &b| natural(theirs[a].0).cmp(&natural(theirs[b].0)));
    let mut pairs = Vec::new();
    let mut done = vec![false; ours.len()];
    for i in 0..ours.len() {
        if done[i] {
            continue;
        }
        // All layers of this kind, and all modules that could be one of them.
        let alike: Vec<usize> = (i..ours.len()).filter(|&j| same_shapes(&ours[i].1, &ours[j].1)).collect();
        let mut could: Vec<usize> =
            order.iter().copied().filter(|&j| fits(&ours[i].1, &theirs[j].1)).collect();
        // A layer normalization fits a batch normalization, but lacks its statistics.
        let has_all = |&j: &usize| theirs[j].1.len() == ours[i].1.len();
        if could.iter().any(has_all) {
            could.retain(has_all);
        }
        alike.iter().for_each(|&j| done[j] = true);
        let skeleton = |&j: &usize| without_numbers(theirs[j].0);
        let is_ordered = could.iter().all(|j| skeleton(j) == skeleton(&could[0]));
        if !could.is_empty() && (alike.len() != could.len() || !is_ordered) {
            let names = |list: &[usize], of: &dyn Fn(usize) -> String| {
                list.iter().map(|&j| of(j)).collect::<Vec<_>>().join(", ")
            };
            return Err(format!(
                "it cannot be told which of its modules ({}) belong to which of the layers of equal shapes ({}); rename \
                 them in the file as Shoal calls its layers",
                names(&could, &|j| theirs[j].0.to_owned()),
                names(&alike, &|j| ours[j].0.to_owned())
            ));
        }
        pairs.extend(alike.into_iter().zip(could));
    }
    Ok(pairs)
}

fn same_shapes(one: &Module<'_, Tensor>, other: &Module<'_, Tensor>) -> bool {
    one.len() == other.len()
        && one.iter().all(|(part, tensor)| other.get(part).is_some_and(|other| other.shape == tensor.shape))
}

/// A name with its numbers as numbers: `layer2` comes before `layer10`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = vec![(0, String::new())];
    let mut in_number = false;
    for letter in name.chars() {
        match letter.to_digit(10) {
            Some(digit) => {
                if !in_number {
                    parts.push((0, String::new()));
                }
                let number = &mut parts.last_mut().expect("never empty").0;
                *number = number.saturating_mul(10).saturating_add(digit.into());
                in_number = true;
            }
            None => {
                parts.last_mut().expect("never empty").1.push(letter);
                in_number = false;
            }
        }
    }
    parts
}

/// A name with one mark in the place of each number.
fn without_numbers(name: &str) -> Vec<String> {
    natural(name).into_iter().map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use model::{NetworkSpec, Task};
    use proptest::prelude::*;

    use super::*;

    fn network() -> Network {
        let json = r#"{"layers": [{"kind": "dense", "units": 3}, {"kind": "dense", "units": 3}]}"#;
        Network::new(&NetworkSpec::from_json(json).unwrap(), 2, Task::Classes(2)).unwrap()
    }

    fn found(name: &str, shape: &[usize], first: f32) -> Found {
        let count = shape.iter().product::<usize>();
        Found {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: (0..count).map(|i| first + i as f32).collect(),
        }
    }

    fn start(found: &[Found]) -> (Vec<f32>, Vec<String>, Vec<String>) {
        let network = network();
        let mut weights = vec![0.0; network.parameters()];
        let (named, _) = matched(found, &network).unwrap();
        let (_, missing, unused) = named.fill(&network, &mut weights);
        (weights, missing, unused)
    }

    #[test]
    fn modules_of_any_name_are_matched_by_shape_and_order() {
        let (weights, missing, unused) = start(&[
            found("fc10.weight", &[2, 3], 300.0),
            found("fc2.weight", &[3, 3], 200.0),
            found("fc2.bias", &[3], 250.0),
            found("fc1.bias", &[3], 150.0),
            found("fc1.weight", &[3, 2], 100.0),
            found("fc10.bias", &[2], 350.0),
            found("steps", &[1], 0.0),
        ]);
        // [outputs, inputs] became [inputs, outputs].
        assert_eq!(weights[..6], [100.0, 102.0, 104.0, 101.0, 103.0, 105.0]);
        assert_eq!(weights[6..9], [150.0, 151.0, 152.0]);
        assert_eq!(weights[9..12], [200.0, 203.0, 206.0]);
        assert_eq!(weights[21..23], [300.0, 303.0]);
        assert!(missing.is_empty());
        assert_eq!(unused, ["steps [1]"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (_, missing, unused) = start(&[
            found("layers.0.weight", &[3, 2], 1.0),
            found("layers.0.bias", &[3], 1.0),
            found("layers.2.weight", &[10, 3], 1.0),
        ]);
        assert_eq!(missing[0], "layers.1.weight [3, 3]");
        assert_eq!(missing.len(), 4);
        assert_eq!(unused, ["layers.2.weight [10, 3]"]);
        let twice = [found("a.weight", &[3, 3], 0.0), found("b.weight", &[3, 3], 0.0)];
        assert!(matched(&twice, &network()).err().unwrap().contains("a, b"));
    }

    #[test]
    fn modules_of_equal_shapes_need_an_order_and_the_same_parts() {
        let json = r#"{"layers": [{"kind": "layer-norm"}, {"kind": "dense", "units": 2}, {"kind": "batch-norm"},
            {"kind": "dense", "units": 2}]}"#;
        let network = Network::new(&NetworkSpec::from_json(json).unwrap(), 2, Task::Classes(3)).unwrap();
        let norm = |name: &str, statistics: bool| {
            let parts = ["weight", "bias", "running_mean", "running_var"];
            let parts = &parts[..if statistics { 4 } else { 2 }];
            parts.iter().map(|part| found(&format!("{name}.{part}"), &[2], 1.0)).collect::<Vec<_>>()
        };
        let dense = |name: &str| found(&format!("{name}.weight"), &[2, 2], 1.0);
        let file =
            |names: [&str; 2]| [norm("n.0", false), norm("n.2", true), names.map(dense).to_vec()].concat();
        let (_, note) = matched(&file(["n.1", "n.3"]), &network).unwrap();
        assert!(
            note.unwrap()
                .starts_with("took n.0 as layers.0, n.1 as layers.1, n.3 as layers.3, n.2 as layers.2")
        );
        let error = matched(&file(["encoder", "decoder"]), &network).err().unwrap();
        assert!(error.contains("decoder, encoder"), "{error}");
    }

    proptest! {
        /// Bytes changed, cut out and doubled: an error or tensors, and no panic.
        #[test]
        fn a_mutated_file_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
        ) {
            let weights: Vec<u8> = (0..24u8).collect();
            let tensor = |kind, shape: &[usize], bytes: usize| {
                TensorView::new(kind, shape.to_vec(), &weights[..bytes]).unwrap()
            };
            let tensors = [
                ("layers.0.weight", tensor(Dtype::F32, &[3, 2], 24)),
                ("layers.0.bias", tensor(Dtype::F16, &[3], 6)),
                ("steps", tensor(Dtype::I64, &[], 8)),
            ];
            let mut bytes = safetensors::serialize(tensors, None).unwrap();
            for (at, byte, kind) in changes {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << (byte % 8),
                    _ => drop(bytes.drain(at..(at + usize::from(byte) % 40).min(bytes.len()))),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            if let Ok(found) = read(&bytes) {
                let _ = matched(&found, &network());
            }
        }
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        assert!(natural("layer2.conv") < natural("layer10.conv"));
        assert!(natural("block1.2") < natural("block1.10"));
    }
}
