//! A graph's constants: initializers, `Constant` nodes, and copies of these under another name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::{operator, shown};
use super::{External, ImportError};
use crate::proto::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto};

/// Copies of copies that are followed.
const COPIES_MAX: usize = 16;

/// The constants by name.
pub(super) struct Constants<'a> {
    tensors: BTreeMap<&'a str, Cow<'a, TensorProto>>,
    /// Nodes that only rename or turn a constant, by their output.
    copies: BTreeMap<&'a str, &'a NodeProto>,
    /// The files with values beside the graph's.
    external: &'a External,
}

/// A constant of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Floats {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl<'a> Constants<'a> {
    pub(super) fn of(graph: &'a GraphProto, external: &'a External) -> Constants<'a> {
        let named = |tensor: &'a TensorProto| Some((tensor.name.as_deref()?, Cow::Borrowed(tensor)));
        let mut tensors: BTreeMap<&str, Cow<'_, TensorProto>> =
            graph.initializer.iter().filter_map(named).collect();
        let mut copies = BTreeMap::new();
        for node in &graph.node {
            let Some(output) = node.output.first() else { continue };
            match operator(node) {
                "Constant" => {
                    let value = node.attribute.iter().find_map(value_of);
                    tensors.extend(value.map(|tensor| (output.as_str(), tensor)));
                }
                "Identity" | "Transpose" => {
                    copies.insert(output.as_str(), node);
                }
                _ => {}
            }
        }
        // A copy of what is no constant is an ordinary node.
        let is_constant = |name: &str| {
            let mut name = name;
            for _ in 0..COPIES_MAX {
                if tensors.contains_key(name) {
                    return true;
                }
                match copies.get(name).and_then(|node: &&NodeProto| node.input.first()) {
                    Some(source) => name = source,
                    None => return false,
                }
            }
            false
        };
        let copies = copies.iter().filter(|(name, _)| is_constant(name)).map(|(name, node)| (*name, *node));
        Constants { copies: copies.collect(), tensors, external }
    }

    /// Whether there is a constant of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.copies.contains_key(name)
    }

    /// The lengths of a constant's axes.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let mut source = name;
        let mut is_turned = false;
        for _ in 0..COPIES_MAX {
            let Some(node) = self.copies.get(source) else { break };
            let changes = |order: &[i64]| !order.iter().copied().eq(0..order.len() as i64);
            is_turned ^= operator(node) == "Transpose" && ints(node, "perm").is_none_or(changes);
            source = node.input.first()?;
        }
        let mut shape = shape_of(source, self.tensors.get(source)?).ok()?;
        match shape.len() {
            2 if is_turned => shape.reverse(),
            0..=2 => {}
            _ if is_turned => return None,
            _ => {}
        }
        Some(shape)
    }

    /// A constant that is one number.
    pub(super) fn number(&self, name: &str) -> Option<f32> {
        let mut source = name;
        for _ in 0..COPIES_MAX {
            match self.copies.get(source) {
                Some(node) => source = node.input.first()?,
                None => break,
            }
        }
        let is_one = self.tensors.get(source)?.dims.iter().all(|&length| length == 1);
        if !is_one {
            return None;
        }
        let integer = || self.integers(source).ok()?.first().map(|&integer| integer as f32);
        self.floats(source).ok().map_or_else(integer, |floats| floats.values.first().copied())
    }

    /// The numbers of a constant.
    pub(super) fn floats(&self, name: &str) -> Result<Floats, ImportError> {
        self.floats_at(name, 0)
    }

    fn floats_at(&self, name: &str, depth: usize) -> Result<Floats, ImportError> {
        if let Some(node) = self.copies.get(name).filter(|_| depth < COPIES_MAX) {
            let source = node.input.first().map_or("", String::as_str);
            let floats = self.floats_at(source, depth + 1)?;
            if operator(node) == "Identity" {
                return Ok(floats);
            }
            let turns = ints(node, "perm").is_none_or(|order| order == [1, 0]);
            let &[rows, columns] = &floats.shape[..] else {
                return Err(ImportError::node(node, "a constant of other than two axes is turned"));
            };
            if !turns {
                return Ok(floats);
            }
            return Ok(Floats { shape: vec![columns, rows], values: transposed(&floats.values, columns) });
        }
        let tensor = self.tensor(name)?;
        let shape = shape_of(name, tensor)?;
        let kind = DataType::try_from(tensor.data_type.unwrap_or(0)).unwrap_or(DataType::Undefined);
        let values: Vec<f32> = match (kind, &self.raw(name, tensor)?) {
            (DataType::Float, Some(raw)) => {
                raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            }
            (DataType::Float, None) => tensor.float_data.clone(),
            (DataType::Double, Some(raw)) => {
                raw.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect()
            }
            (DataType::Double, None) => tensor.double_data.iter().map(|&value| value as f32).collect(),
            _ => {
                let problem = "its elements are not 32-bit or 64-bit floats; export the network in float32";
                return Err(ImportError::constant(name, problem));
            }
        };
        check_length(name, &shape, values.len())?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(ImportError::constant(name, "it has values that are infinite or not numbers"));
        }
        Ok(Floats { shape, values })
    }

    /// The integers of a constant.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, ImportError> {
        let tensor = self.tensor(name)?;
        let shape = shape_of(name, tensor)?;
        let values: Vec<i64> = match (tensor.data_type, &self.raw(name, tensor)?) {
            (Some(kind), Some(raw)) if kind == DataType::Int64 as i32 => {
                raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
            }
            (Some(kind), None) if kind == DataType::Int64 as i32 => tensor.int64_data.clone(),
            // TensorFlow computes shapes in 32 bits.
            (Some(kind), Some(raw)) if kind == DataType::Int32 as i32 => {
                raw.as_chunks().0.iter().map(|&bytes| i64::from(i32::from_le_bytes(bytes))).collect()
            }
            (Some(kind), None) if kind == DataType::Int32 as i32 => {
                tensor.int32_data.iter().map(|&value| i64::from(value)).collect()
            }
            _ => return Err(ImportError::constant(name, "its elements are not integers of 32 or 64 bits")),
        };
        check_length(name, &shape, values.len())?;
        Ok(values)
    }

    fn tensor(&self, name: &str) -> Result<&TensorProto, ImportError> {
        let tensor = self.tensors.get(name);
        tensor.map(Cow::as_ref).ok_or_else(|| ImportError::constant(name, "it is not in the file"))
    }

    /// The bytes of a constant's values, from here or from another file; `None` if they are a list.
    fn raw(&self, name: &str, tensor: &TensorProto) -> Result<Option<Bytes>, ImportError> {
        if tensor.external_data.is_empty() {
            return Ok(tensor.raw_data.clone());
        }
        let location = external_entry(tensor, "location").unwrap_or_default();
        let file = self.external.get(location).ok_or_else(|| {
            let problem = format!("its values are in the file {}, which is not there", shown(location));
            ImportError::constant(name, problem)
        })?;
        let number = |key: &str, default: usize| match external_entry(tensor, key) {
            None => Some(default),
            Some(text) => text.parse().ok(),
        };
        let range = number("offset", 0).and_then(|start| {
            let end = start.checked_add(number("length", file.len().checked_sub(start)?)?)?;
            (end <= file.len()).then_some(start..end)
        });
        let range = range.ok_or_else(|| {
            let problem =
                format!("its values lie beyond the end of the file {}; export both again", shown(location));
            ImportError::constant(name, problem)
        })?;
        Ok(Some(file.slice(range)))
    }
}

/// Where the values of a tensor are that has them in another file.
pub(super) fn external_entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key))?;
    entry.value.as_deref()
}

/// The value of a `Constant` node, which may be a tensor, a number or a list.
fn value_of(attribute: &AttributeProto) -> Option<Cow<'_, TensorProto>> {
    let list = |kind: DataType, dims: Vec<i64>, floats: Vec<f32>, ints: Vec<i64>| {
        let data_type = Some(kind as i32);
        let tensor =
            TensorProto { dims, data_type, float_data: floats, int64_data: ints, ..TensorProto::default() };
        Some(Cow::Owned(tensor))
    };
    let length = |length: usize| vec![length as i64];
    match attribute.name.as_deref()? {
        "value" => attribute.t.as_ref().map(Cow::Borrowed),
        "value_float" => list(DataType::Float, Vec::new(), vec![attribute.f?], Vec::new()),
        "value_floats" => {
            list(DataType::Float, length(attribute.floats.len()), attribute.floats.clone(), Vec::new())
        }
        "value_int" => list(DataType::Int64, Vec::new(), Vec::new(), vec![attribute.i?]),
        "value_ints" => {
            list(DataType::Int64, length(attribute.ints.len()), Vec::new(), attribute.ints.clone())
        }
        _ => None,
    }
}

/// The lengths of a constant's axes.
fn shape_of(name: &str, tensor: &TensorProto) -> Result<Vec<usize>, ImportError> {
    let lengths: Result<Vec<usize>, _> = tensor.dims.iter().map(|&length| usize::try_from(length)).collect();
    lengths.map_err(|_| ImportError::constant(name, "it has an axis of negative length"))
}

/// The values are in memory already, so that a shape of their number is bounded, too.
fn check_length(name: &str, shape: &[usize], values: usize) -> Result<(), ImportError> {
    let product = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    if product == Some(values) {
        Ok(())
    } else {
        Err(ImportError::constant(name, format!("it has {values} values, which is not its shape {shape:?}")))
    }
}

/// The transpose of a matrix of `columns` columns, row-major.
pub(super) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// A setting of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// A setting that is a list of integers.
pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| &attribute.ints[..])
}

/// A setting that is an integer.
pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

/// A setting that is a number.
pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).and_then(|attribute| attribute.f).unwrap_or(default)
}

/// A setting that is a text; empty without one.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> &'a [u8] {
    attribute(node, name).and_then(|attribute| attribute.s.as_deref()).unwrap_or_default()
}
