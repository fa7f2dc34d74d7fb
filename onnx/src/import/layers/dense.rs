//! Dense layers: `Gemm`, or `MatMul` and `Add`.

use model::{Activation, DenseSpec, LayerSpec, Shape, UNITS_MAX};

use super::super::ImportError;
use super::super::constants::{Floats, float, int, transposed};
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::{Affine, Way};
use super::input;
use crate::proto::NodeProto;

impl<'a> Walk<'a> {
    pub(super) fn gemm(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if float(node, "alpha", 1.0) != 1.0 || float(node, "beta", 1.0) != 1.0 || int(node, "transA", 0) != 0
        {
            let problem = "only alpha = 1, beta = 1 and transA = 0 make a dense layer";
            return Err(ImportError::node(node, problem));
        }
        if input(node, 0)? != way.flow.value {
            return Err(ImportError::node(node, "its first input is not the value before it"));
        }
        let mut weight = self.constants.floats(input(node, 1)?)?;
        let &[rows, columns] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its weights are no matrix"));
        };
        if int(node, "transB", 0) != 0 {
            weight = Floats { shape: vec![columns, rows], values: transposed(&weight.values, columns) };
        }
        let bias = match node.input.get(2).filter(|bias| !bias.is_empty()) {
            Some(bias) => Some(self.constants.floats(bias)?),
            None => None,
        };
        self.dense(node, way, weight, bias)?;
        way.go(output_of(node)?);
        Ok(())
    }

    pub(super) fn matmul(&mut self, node: &'a NodeProto, way: &mut Way<'a>) -> Result<(), ImportError> {
        if input(node, 0)? != way.flow.value {
            return Err(ImportError::node(node, "its first input is not the value before it"));
        }
        let weight = self.constants.floats(input(node, 1)?)?;
        let value = output_of(node)?;
        let sum = self.only_taker(value).filter(|node| operator(node) == "Add");
        let bias = sum.and_then(|sum| Some((sum, sum.input.iter().find(|input| self.constants.has(input))?)));
        let (bias, value) = match bias {
            Some((sum, bias)) => {
                self.mark(sum)?;
                (Some(self.constants.floats(bias)?), output_of(sum)?)
            }
            None => (None, value),
        };
        self.dense(node, way, weight, bias)?;
        way.go(value);
        Ok(())
    }

    /// A dense layer with the weights `[inputs, outputs]`.
    pub(super) fn dense(
        &mut self,
        node: &'a NodeProto,
        way: &mut Way<'a>,
        mut weight: Floats,
        bias: Option<Floats>,
    ) -> Result<(), ImportError> {
        let Shape::Vector(values) = way.flow.shape else {
            return Err(ImportError::node(node, "it sees an image; flatten it first"));
        };
        if way.flow.lengths.last() != Some(&values) {
            let problem = "it sees values along more than one axis; flatten them first";
            return Err(ImportError::node(node, problem));
        }
        let &[inputs, outputs] = &weight.shape[..] else {
            return Err(ImportError::node(node, "its weights are no matrix"));
        };
        if inputs != values || outputs == 0 || outputs > UNITS_MAX as usize {
            let problem = format!("its weights are {inputs} by {outputs}, but it sees {values} values");
            return Err(ImportError::node(node, problem));
        }
        weight.values = way.unturned(weight.values, outputs);
        let mut bias = bias_of(node, bias, outputs)?;
        if let Some(affine) = way.pending.take() {
            absorb(&affine, &mut weight.values, &mut bias.values);
        }
        self.keep(way, [("weight", weight), ("bias", bias)])?;
        let spec = DenseSpec { units: outputs as u32, activation: Activation::None, initializer: None };
        self.push(way, LayerSpec::Dense(spec))?;
        way.go_to(way.flow.value, Shape::Vector(outputs));
        Ok(())
    }
}

/// Makes `W (a x + c) + b` of `W x + b`: the weights `[inputs, outputs]` and biases that compute both.
fn absorb(affine: &Affine, weight: &mut [f32], bias: &mut [f32]) {
    let mut sums: Vec<f64> = bias.iter().map(|&value| f64::from(value)).collect();
    let rows = weight.chunks_exact_mut(bias.len());
    for ((row, &factor), &summand) in rows.zip(&affine.factors).zip(&affine.summands) {
        for (value, sum) in row.iter_mut().zip(&mut sums) {
            *sum += f64::from(summand) * f64::from(*value);
            *value *= factor;
        }
    }
    for (value, sum) in bias.iter_mut().zip(sums) {
        *value = sum as f32;
    }
}

/// A bias for each output, which may be written as one row, one number, or not at all.
pub(super) fn bias_of(node: &NodeProto, bias: Option<Floats>, outputs: usize) -> Result<Floats, ImportError> {
    let values = match bias.map(|bias| bias.values) {
        None => vec![0.0; outputs],
        Some(values) if values.len() == outputs => values,
        Some(values) if values.len() == 1 => vec![values[0]; outputs],
        Some(values) => {
            let problem = format!("it has {} biases for {outputs} outputs", values.len());
            return Err(ImportError::node(node, problem));
        }
    };
    Ok(Floats { shape: vec![outputs], values })
}
