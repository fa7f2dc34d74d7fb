//! Arithmetic with a constant that is no layer: before the first, after the last, or on the sums of a dense layer,
//! whose weights it then becomes a part of.

use model::{Activation, LayerSpec, Shape};

use super::super::ImportError;
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::Way;
use crate::proto::NodeProto;

/// Nodes that may stand between the last layer and the answer.
const ANSWER_NODES_MAX: usize = 8;

const INPUTS: &str = "the file's standardization of the inputs is left out; the data's own takes its place";
const UNITS: &str = "the file's units of the answers are left out; the data's own take their place";
const NO_LAYER: &str = "it computes with a constant, which is no layer; only before the first layer, after the last, or \
                        on the sums of a dense layer can that be read";

impl<'a> Walk<'a> {
    pub(super) fn arithmetic(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        let constant = node.input.iter().find(|input| self.constants.has(input));
        let constant =
            constant.ok_or_else(|| ImportError::node(node, "it computes with two values of the graph"))?;
        let value = output_of(node)?;
        let note = if way.is_at_the_beginning() {
            Some(INPUTS)
        } else if matches!(way.flow.shape, Shape::Vector(_)) && self.is_at_the_end(value) {
            Some(UNITS)
        } else {
            None
        };
        match note {
            None => self.make_dense(node, way, constant)?,
            Some(note) if !self.notes.iter().any(|other| other == note) => self.notes.push(note.to_owned()),
            Some(_) => {}
        }
        way.go(value);
        Ok(())
    }

    /// Makes it a part of the weights of the dense layer before.
    fn make_dense(&self, node: &NodeProto, way: &mut Way<'a>, constant: &str) -> Result<(), ImportError> {
        let columns = way.flow.shape.len();
        let is_plain = matches!(
            way.layers.last(),
            Some(LayerSpec::Dense(dense)) if dense.activation == Activation::None
        );
        let comes_first = node.input.first().is_some_and(|input| input == constant);
        if !is_plain || comes_first && matches!(operator(node), "Sub" | "Div") {
            return Err(ImportError::node(node, NO_LAYER));
        }
        let row = self.constants.floats(constant)?.values;
        if row.len() != columns && row.len() != 1 {
            return Err(ImportError::node(node, NO_LAYER));
        }
        let (is_factor, is_inverse) = match operator(node) {
            "Mul" => (true, false),
            "Div" => (true, true),
            "Sub" => (false, true),
            _ => (false, false),
        };
        let parts: &[&str] = if is_factor { &["weight", "bias"] } else { &["bias"] };
        for part in parts {
            let Some(parameter) = way.last_parameter(part) else { continue };
            for (i, value) in parameter.values.iter_mut().enumerate() {
                let by = row[i % columns % row.len()];
                *value = match (is_factor, is_inverse) {
                    (true, false) => *value * by,
                    (true, true) => *value / by,
                    (false, true) => *value - by,
                    (false, false) => *value + by,
                };
            }
        }
        Ok(())
    }

    /// Whether nothing but arithmetic with constants follows a value.
    fn is_at_the_end(&self, value: &'a str) -> bool {
        let mut value = value;
        for _ in 0..ANSWER_NODES_MAX {
            let takers = self.takers(value);
            let &[only] = &takers[..] else { return takers.is_empty() };
            let node = &self.graph.node[only];
            let goes_on = matches!(operator(node), "Add" | "Sub" | "Mul" | "Div") && self.has_constant(node)
                || matches!(operator(node), "Identity" | "Cast");
            match node.output.first().filter(|_| goes_on) {
                Some(output) => value = output,
                None => return false,
            }
        }
        false
    }
}
