//! Activations that a file has in parts.

use model::Activation;

use super::super::ImportError;
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::Flow;
use super::NEAR;
use crate::proto::NodeProto;

impl<'a> Walk<'a> {
    /// `x * sigmoid(x)` or `0.5 * x * (1 + erf(x / sqrt 2))`, with the name of its value.
    pub(in super::super) fn activation_in_parts(
        &mut self,
        flow: &Flow<'a>,
        takers: &[usize],
    ) -> Result<Option<(Activation, &'a str)>, ImportError> {
        let &[one, other] = takers else { return Ok(None) };
        let (one, other) = (&self.graph.node[one], &self.graph.node[other]);
        for (gate, product) in [(one, other), (other, one)] {
            if operator(gate) == "Sigmoid" && self.is_product(product, flow.value, output_of(gate)?) {
                self.mark(gate)?;
                self.mark(product)?;
                return Ok(Some((Activation::Silu, output_of(product)?)));
            }
            if let Some((nodes, value)) = self.gelu(flow.value, gate, product)? {
                nodes.into_iter().try_for_each(|node| self.mark(node))?;
                return Ok(Some((Activation::Gelu, value)));
            }
        }
        Ok(None)
    }

    /// The nodes of a gelu of `x`, of which `inner` begins the error function and `outer` the product.
    fn gelu(
        &self,
        x: &str,
        inner: &'a NodeProto,
        outer: &'a NodeProto,
    ) -> Result<Option<(Vec<&'a NodeProto>, &'a str)>, ImportError> {
        const ROOT: f32 = std::f32::consts::SQRT_2;
        let is_scaled = self.is_by(inner, "Div", ROOT) || self.is_by(inner, "Mul", 1.0 / ROOT);
        let is_half = |node: &NodeProto| self.is_by(node, "Mul", 0.5) || self.is_by(node, "Div", 2.0);
        if !is_scaled {
            return Ok(None);
        }
        let Some(erf) = self.only_taker(output_of(inner)?).filter(|node| operator(node) == "Erf") else {
            return Ok(None);
        };
        let Some(sum) = self.only_taker(output_of(erf)?).filter(|node| self.is_by(node, "Add", 1.0)) else {
            return Ok(None);
        };
        let Some(last) = self.only_taker(output_of(sum)?) else { return Ok(None) };
        let mut nodes = vec![inner, erf, sum, outer];
        // (x * e) * 0.5, (x * 0.5) * e, or x * (e * 0.5).
        let value = if self.is_product(outer, x, output_of(sum)?) {
            let Some(half) = self.only_taker(output_of(outer)?).filter(|node| is_half(node)) else {
                return Ok(None);
            };
            nodes.push(half);
            output_of(half)?
        } else if is_half(outer) && self.is_product(last, output_of(outer)?, output_of(sum)?) {
            nodes.push(last);
            output_of(last)?
        } else if is_half(last) && self.is_product(outer, x, output_of(last)?) {
            nodes.push(last);
            output_of(outer)?
        } else {
            return Ok(None);
        };
        Ok(Some((nodes, value)))
    }

    /// Whether a node multiplies these two values.
    fn is_product(&self, node: &NodeProto, one: &str, other: &str) -> bool {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        operator(node) == "Mul" && (inputs == [one, other] || inputs == [other, one])
    }

    /// Whether a node computes with this constant: `x / number`, or `x * number` either way round.
    fn is_by(&self, node: &NodeProto, name: &str, number: f32) -> bool {
        let is_number = |input: &String| {
            self.constants.number(input).is_some_and(|value| (value - number).abs() <= NEAR * number)
        };
        let at = if name == "Div" { 1 } else { 0 };
        operator(node) == name && node.input.iter().skip(at).any(is_number)
    }
}
