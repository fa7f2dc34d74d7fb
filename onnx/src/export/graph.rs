//! A graph under construction.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::proto::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, ValueInfoProto,
};

/// The name of the length that is not fixed: the number of examples.
const BATCH: &str = "batch";

/// Nodes and constants so far. Every value has a name of its own.
#[derive(Default)]
pub(super) struct Graph {
    proto: GraphProto,
    names: BTreeSet<String>,
}

/// The name of a value.
#[derive(Clone, Debug)]
pub(super) struct Value(String);

/// A setting of an operator.
pub(super) enum Setting {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'static str),
}

impl Graph {
    /// A graph in which nothing but inputs or outputs may have these names.
    pub(super) fn with_reserved(names: &[&str]) -> Graph {
        Graph { names: names.iter().map(|&name| name.to_owned()).collect(), ..Graph::default() }
    }

    /// An input `[batch, lengths...]`. Its name gets a suffix if it is taken.
    pub(super) fn input(&mut self, name: &str, kind: DataType, lengths: &[usize]) -> Value {
        let name = self.free(name);
        self.proto.input.push(value_info(&name, kind, lengths));
        Value(name)
    }

    /// Names a value as an output `[batch, lengths...]`. The name must have been reserved.
    pub(super) fn output(&mut self, value: Value, name: &str, kind: DataType, lengths: &[usize]) {
        self.proto.output.push(value_info(name, kind, lengths));
        let node = NodeProto {
            input: vec![value.0],
            output: vec![name.to_owned()],
            name: Some(format!("{name}.output")),
            op_type: Some("Identity".to_owned()),
            ..NodeProto::default()
        };
        self.proto.node.push(node);
    }

    /// Notes the shape of a value within, `[batch, lengths...]`. Returns its name.
    pub(super) fn describe(&mut self, value: &Value, kind: DataType, lengths: &[usize]) -> String {
        self.proto.value_info.push(value_info(&value.0, kind, lengths));
        value.0.clone()
    }

    /// The value of an operator with one output.
    pub(super) fn node(&mut self, operator: &str, name: &str, inputs: &[&Value]) -> Value {
        self.node_with(operator, name, inputs, Vec::new())
    }

    /// The same with settings.
    pub(super) fn node_with(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&Value],
        settings: Vec<(&'static str, Setting)>,
    ) -> Value {
        let output = self.free(name);
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: vec![output.clone()],
            name: Some(output.clone()),
            op_type: Some(operator.to_owned()),
            attribute: settings.into_iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        Value(output)
    }

    /// A constant of numbers, row-major.
    pub(super) fn floats(&mut self, name: &str, lengths: &[usize], values: &[f32]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let values = TensorProto { raw_data: Some(raw.into()), ..TensorProto::default() };
        self.constant(name, DataType::Float, lengths, values)
    }

    /// A constant of numbers in 64 bits, row-major.
    pub(super) fn doubles(&mut self, name: &str, lengths: &[usize], values: &[f64]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let values = TensorProto { raw_data: Some(raw.into()), ..TensorProto::default() };
        self.constant(name, DataType::Double, lengths, values)
    }

    /// A constant of integers, row-major.
    pub(super) fn integers(&mut self, name: &str, lengths: &[usize], values: &[i64]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let values = TensorProto { raw_data: Some(raw.into()), ..TensorProto::default() };
        self.constant(name, DataType::Int64, lengths, values)
    }

    /// A constant list of texts.
    pub(super) fn texts<'a>(&mut self, name: &str, texts: impl IntoIterator<Item = &'a str>) -> Value {
        let string_data: Vec<Bytes> = texts.into_iter().map(|text| Bytes::from(text.to_owned())).collect();
        let lengths = [string_data.len()];
        self.constant(name, DataType::String, &lengths, TensorProto { string_data, ..TensorProto::default() })
    }

    fn constant(&mut self, name: &str, kind: DataType, lengths: &[usize], values: TensorProto) -> Value {
        let name = self.free(name);
        self.proto.initializer.push(TensorProto {
            dims: lengths.iter().map(|&length| length as i64).collect(),
            data_type: Some(kind as i32),
            name: Some(name.clone()),
            ..values
        });
        Value(name)
    }

    /// The finished graph.
    pub(super) fn finish(mut self, name: &str) -> GraphProto {
        self.proto.name = Some(name.to_owned());
        self.proto
    }

    /// The name, or the name with the first number that makes it new.
    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 1;
        while !self.names.insert(free.clone()) {
            number += 1;
            free = format!("{name}.{number}");
        }
        free
    }
}

fn attribute((name, setting): (&'static str, Setting)) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match setting {
        Setting::Int(value) => {
            proto.i = Some(value);
            AttributeType::Int
        }
        Setting::Float(value) => {
            proto.f = Some(value);
            AttributeType::Float
        }
        Setting::Ints(values) => {
            proto.ints = values;
            AttributeType::Ints
        }
        Setting::Text(text) => {
            proto.s = Some(Bytes::from_static(text.as_bytes()));
            AttributeType::String
        }
    };
    proto.r#type = Some(kind as i32);
    proto
}

fn value_info(name: &str, kind: DataType, lengths: &[usize]) -> ValueInfoProto {
    let batch = Dimension { dim_param: Some(BATCH.to_owned()), ..Dimension::default() };
    let fixed =
        lengths.iter().map(|&length| Dimension { dim_value: Some(length as i64), ..Dimension::default() });
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(fixed).collect() };
    let tensor = TensorType { elem_type: Some(kind as i32), shape: Some(shape) };
    let kind = TypeProto { tensor_type: Some(tensor) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(kind) }
}
