//! A graph's constants: initializers, `Constant` nodes, and copies of these under another name.

use std::collections::BTreeMap;

use super::ImportError;
use super::error::operator;
use crate::proto::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto};

/// Copies of copies that are followed.
const COPIES_MAX: usize = 16;

/// The constants by name.
pub(super) struct Constants<'a> {
    tensors: BTreeMap<&'a str, &'a TensorProto>,
    /// Nodes that only rename or turn a constant, by their output.
    copies: BTreeMap<&'a str, &'a NodeProto>,
}

/// A constant of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Floats {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl<'a> Constants<'a> {
    pub(super) fn of(graph: &'a GraphProto) -> Constants<'a> {
        let named = |tensor: &'a TensorProto| Some((tensor.name.as_deref()?, tensor));
        let mut tensors: BTreeMap<&str, &TensorProto> = graph.initializer.iter().filter_map(named).collect();
        let mut copies = BTreeMap::new();
        for node in &graph.node {
            let Some(output) = node.output.first() else { continue };
            match operator(node) {
                "Constant" => {
                    let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
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
        Constants { copies: copies.collect(), tensors }
    }

    /// Whether there is a constant of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.copies.contains_key(name)
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
        let values: Vec<f32> = match (kind, &tensor.raw_data) {
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
        let values: Vec<i64> = match (tensor.data_type, &tensor.raw_data) {
            (Some(kind), Some(raw)) if kind == DataType::Int64 as i32 => {
                raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
            }
            (Some(kind), None) if kind == DataType::Int64 as i32 => tensor.int64_data.clone(),
            _ => return Err(ImportError::constant(name, "its elements are not 64-bit integers")),
        };
        check_length(name, &shape, values.len())?;
        Ok(values)
    }

    fn tensor(&self, name: &str) -> Result<&'a TensorProto, ImportError> {
        let tensor = self.tensors.get(name).copied();
        let tensor = tensor.ok_or_else(|| ImportError::constant(name, "it is not in the file"))?;
        if !tensor.external_data.is_empty() {
            let problem = "its values are in another file; export the network into one";
            return Err(ImportError::constant(name, problem));
        }
        Ok(tensor)
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
