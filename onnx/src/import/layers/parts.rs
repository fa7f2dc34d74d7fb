//! Layers that a file has in parts: `x * sigmoid(x)`, or a layer normalization for an operator set that has none.
//!
//! Each program, and each version of it, writes the parts in another order. So they are told by what they compute: the
//! nodes that begin at one value and come together again are evaluated on a few numbers, and are the layer that
//! answers the same. Of a normalization, the gain and the bias are numbers of the trial, too, so that a match holds for
//! whatever numbers the file has.

use std::collections::{BTreeMap, BTreeSet};

use model::{Activation, NormSpec, Slope, UNITS_MAX};

use super::super::ImportError;
use super::super::constants::{Floats, int};
use super::super::error::operator;
use super::super::walk::{Walk, output_of};
use super::super::way::{Flow, Way};
use super::norms::{IN_PART, norm};
use crate::proto::{DataType, NodeProto};

/// The most nodes of a layer in parts. Keras writes a layer normalization in fourteen.
const NODES_MAX: usize = 24;
/// The operators that parts have.
const OPERATORS: [&str; 26] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Sqrt",
    "Reciprocal",
    "Pow",
    "Exp",
    "Log",
    "Erf",
    "Erfc",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Relu",
    "Max",
    "Min",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "Where",
    "ReduceMean",
    "Identity",
    "Abs",
];
/// The operators of arithmetic with the integers that an embedding looks up.
const INDEX_OPERATORS: [&str; 13] = [
    "Add",
    "Sub",
    "Mul",
    "Max",
    "Min",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "Not",
    "Where",
    "Cast",
    "Identity",
];
/// Integers that are tried at once.
const INTEGERS: usize = 4096;
/// Numbers at which an activation is tried, and below 0, too.
const FAR: [f64; 8] = [5.0, 6.5, 8.0, 12.0, 21.0, 50.0, 300.0, 10_000.0];
/// How far an answer may be off, as a share of it: a file's constants have 32 bits.
const TOLERANCE: f64 = 1e-6;
/// The least answer to which [`TOLERANCE`] applies; smaller ones may be as far off as this one.
const SMALLEST: f64 = 0.01;

/// What nodes in parts were found to be.
enum Found {
    Activation(Activation),
    /// The constants with its gain and bias.
    LayerNorm {
        spec: NormSpec,
        gain: Option<Floats>,
        bias: Option<Floats>,
    },
}

impl<'a> Walk<'a> {
    /// Takes a layer in parts. Returns whether the nodes that take the way's value begin one.
    pub(in super::super) fn in_parts(
        &mut self,
        way: &mut Way<'a>,
        takers: &[usize],
    ) -> Result<bool, ImportError> {
        let mut nodes: Vec<usize> = Vec::new();
        let mut takers = takers.to_vec();
        // From one node that all ways go through to the next, until what lies before it is a layer.
        while let Some(more) = self.together(&takers, NODES_MAX - nodes.len()) {
            nodes.extend(more);
            let Some(value) = nodes.last().map(|&last| output_of(&self.graph.node[last])).transpose()? else {
                break;
            };
            if let Some(found) = self.layer_of(&nodes, &way.flow, value)? {
                for &node in &nodes {
                    self.mark(&self.graph.node[node])?;
                }
                self.push_found(way, found, value)?;
                return Ok(true);
            }
            takers = self.takers(value);
        }
        let of_means = nodes.iter().map(|&node| &self.graph.node[node]);
        match of_means.into_iter().find(|node| operator(node) == "ReduceMean") {
            Some(mean) if !self.is_over_all_axes(mean, &way.flow)? => Err(ImportError::node(mean, IN_PART)),
            _ => Ok(false),
        }
    }

    fn push_found(&mut self, way: &mut Way<'a>, found: Found, value: &'a str) -> Result<(), ImportError> {
        match found {
            Found::Activation(activation) => {
                self.push_activation(way, activation)?;
                way.go(value);
            }
            Found::LayerNorm { spec, gain, bias } => {
                let values = way.flow.shape.len();
                let (mut gain, mut bias, mut value) = (gain, bias, value);
                if gain.is_none() && bias.is_none() {
                    (gain, value) = self.for_each_value("Mul", value, &way.flow)?;
                }
                if bias.is_none() {
                    (bias, value) = self.for_each_value("Add", value, &way.flow)?;
                }
                let gain = gain.map_or_else(|| vec![1.0; values], |gain| gain.values);
                let bias = bias.map_or_else(|| vec![0.0; values], |bias| bias.values);
                self.push_layer_norm(way, spec, gain, bias)?;
                way.go(value);
            }
        }
        Ok(())
    }

    /// The nodes up to the first that all ways from these nodes go through, in their order; `None` if they have no such
    /// node, are no parts, or are more than `most`.
    fn together(&self, takers: &[usize], most: usize) -> Option<Vec<usize>> {
        self.all_of(&OPERATORS, takers, most)
    }

    /// The same for nodes of these operators.
    fn all_of(&self, operators: &[&str], takers: &[usize], most: usize) -> Option<Vec<usize>> {
        let mut open: BTreeSet<usize> = takers.iter().copied().collect();
        let mut nodes = Vec::new();
        while let Some(first) = open.pop_first() {
            let node = &self.graph.node[first];
            let is_part = operators.contains(&operator(node)) && node.output.len() == 1;
            if !is_part || nodes.len() == most {
                return None;
            }
            nodes.push(first);
            if open.is_empty() {
                return Some(nodes);
            }
            let next = self.takers(node.output.first()?);
            // ONNX has each node after those whose values it takes, so that this comes to an end.
            if next.is_empty() || next.iter().any(|&node| node <= first) {
                return None;
            }
            open.extend(next);
        }
        None
    }

    /// The layer that nodes compute of the flow's value, if they are one.
    fn layer_of(&self, nodes: &[usize], flow: &Flow<'a>, value: &str) -> Result<Option<Found>, ImportError> {
        let Some(parts) = self.parts(nodes, flow) else { return Ok(None) };
        let is_same = |x: &[f64], wanted: &[f64]| {
            let answer = parts.answer(flow.value, x, value);
            answer.is_some_and(|answer| {
                answer.len() == wanted.len()
                    && answer.iter().zip(wanted).all(|(answer, wanted)| {
                        (answer - wanted).abs() <= TOLERANCE * wanted.abs().max(SMALLEST)
                    })
            })
        };
        if !parts.has_mean {
            if !parts.vectors.is_empty() {
                return Ok(None);
            }
            // Where the functions bend, and far out, where they may be cut off.
            let near = (-32..=32).map(|i| f64::from(i) / 8.0 + 0.01);
            let far = FAR.into_iter().flat_map(|x| [x, -x]);
            let x: Vec<f64> = near.chain(far).collect();
            // With a slope of 1 it would be no activation.
            let slopes = parts.numbers.iter().filter(|&&number| number != 1.0);
            let slopes = slopes.filter_map(|&number| Slope::new(number));
            let all = [
                Activation::Silu,
                Activation::Gelu,
                Activation::Softplus,
                Activation::Sigmoid,
                Activation::Tanh,
                Activation::Relu,
            ];
            let mut all = all.into_iter().chain(slopes.map(Activation::LeakyRelu));
            let found = all.find(|&activation| {
                is_same(&x, &x.iter().map(|&x| activated(activation, x)).collect::<Vec<f64>>())
            });
            return Ok(found.map(Found::Activation));
        }
        let pairs: &[[Option<usize>; 2]] = match parts.vectors.len() {
            0 => &[[None, None]],
            1 => &[[Some(0), None], [None, Some(0)]],
            2 => &[[Some(0), Some(1)], [Some(1), Some(0)]],
            _ => return Ok(None),
        };
        for &epsilon in &parts.numbers {
            if epsilon.is_nan() || epsilon <= 0.0 {
                continue;
            }
            for &[gain, bias] in pairs {
                // Where the variance is about 1, and where it is about what is added to it.
                let is_norm = [1.0, f64::from(epsilon).sqrt()].into_iter().all(|scale| {
                    let x: Vec<f64> = (0..TRIAL).map(|i| 0.25 + scale * trial_number(2, i)).collect();
                    is_same(&x, &normalized(&x, f64::from(epsilon), gain, bias))
                });
                if is_norm {
                    let floats =
                        |at: Option<usize>| at.map(|at| self.constants.floats(parts.vectors[at])).transpose();
                    let mut all = nodes.iter().map(|&node| &self.graph.node[node]);
                    let is_sum = |node: &&NodeProto| {
                        operator(node) == "Add"
                            && node.input.iter().any(|input| self.constants.number(input) == Some(epsilon))
                    };
                    let spec = norm(all.find(is_sum).unwrap_or(&self.graph.node[nodes[0]]), epsilon)?;
                    return Ok(Some(Found::LayerNorm { spec, gain: floats(gain)?, bias: floats(bias)? }));
                }
            }
        }
        Ok(None)
    }

    /// What is needed to evaluate nodes; `None` if they take anything but the flow's value and constants.
    fn parts(&self, nodes: &[usize], flow: &Flow<'a>) -> Option<Parts<'a>> {
        let nodes: Vec<&NodeProto> = nodes.iter().map(|&node| &self.graph.node[node]).collect();
        let mut parts = Parts {
            nodes: nodes.clone(),
            numbers: Vec::new(),
            vectors: Vec::new(),
            constants: BTreeMap::new(),
            has_mean: false,
        };
        let mut known: BTreeSet<&str> = BTreeSet::from([flow.value]);
        for node in nodes {
            let is_mean = operator(node) == "ReduceMean";
            if is_mean && !self.is_over_all_axes(node, flow).ok()? {
                return None;
            }
            parts.has_mean |= is_mean;
            // The axes of a mean may be its second input.
            for input in node.input.iter().take(if is_mean { 1 } else { usize::MAX }) {
                if known.contains(input.as_str()) || parts.constants.contains_key(input.as_str()) {
                    continue;
                }
                if let Some(number) = self.constants.number(input) {
                    parts.numbers.push(number);
                    parts.constants.insert(input, Constant::Number(number));
                } else if self.is_for_each_value(input, flow) {
                    parts.constants.insert(input, Constant::Vector(parts.vectors.len()));
                    parts.vectors.push(input);
                } else {
                    return None;
                }
            }
            known.insert(node.output.first()?);
        }
        Some(parts)
    }

    /// Whether a constant has a number for each of an example's values, along the same axes.
    fn is_for_each_value(&self, name: &str, flow: &Flow<'a>) -> bool {
        let Some(shape) = self.constants.shape(name) else { return false };
        // The first axis may be that of the examples.
        let own = match &shape[..] {
            [1, own @ ..] if shape.len() > flow.lengths.len() => own,
            own => own,
        };
        own == flow.lengths
    }

    /// Whether a mean goes over all values of an example and keeps their axes.
    fn is_over_all_axes(&self, mean: &NodeProto, flow: &Flow<'_>) -> Result<bool, ImportError> {
        let axes = self.axes_of(mean, flow)?;
        Ok(axes.into_iter().eq(0..flow.lengths.len()) && int(mean, "keepdims", 1) == 1)
    }

    /// The constant that the only taker of a value multiplies or adds, a number for each of an example's values,
    /// and the value behind it; nothing and the value itself if there is none.
    fn for_each_value(
        &mut self,
        name: &str,
        value: &'a str,
        flow: &Flow<'a>,
    ) -> Result<(Option<Floats>, &'a str), ImportError> {
        let Some(node) = self.only_taker(value).filter(|node| operator(node) == name) else {
            return Ok((None, value));
        };
        let Some(constant) = node.input.iter().find(|input| self.is_for_each_value(input, flow)) else {
            return Ok((None, value));
        };
        let floats = self.constants.floats(constant)?;
        self.mark(node)?;
        Ok((Some(floats), output_of(node)?))
    }
}

impl<'a> Walk<'a> {
    /// Takes arithmetic with the integers that an embedding looks up, if it changes none of them: Keras counts negative
    /// ones from the end. Returns whether the nodes that take the way's value begin it.
    pub(in super::super) fn index_in_parts(
        &mut self,
        way: &mut Way<'a>,
        takers: &[usize],
    ) -> Result<bool, ImportError> {
        if !way.is_at_the_beginning() {
            return Ok(false);
        }
        let mut nodes: Vec<usize> = Vec::new();
        let mut takers = takers.to_vec();
        let (value, gather) = loop {
            let Some(more) = self.all_of(&INDEX_OPERATORS, &takers, NODES_MAX - nodes.len()) else {
                return Ok(false);
            };
            nodes.extend(more);
            let Some(&last) = nodes.last() else { return Ok(false) };
            let value = output_of(&self.graph.node[last])?;
            match self.only_taker(value) {
                Some(gather) if operator(gather) == "Gather" => break (value, gather),
                _ => takers = self.takers(value),
            }
        };
        let Some(&[vocabulary, _]) =
            gather.input.first().and_then(|vectors| self.constants.shape(vectors)).as_deref()
        else {
            return Ok(false);
        };
        if vocabulary > UNITS_MAX as usize {
            return Err(ImportError::node(gather, format!("it has more than {UNITS_MAX} vectors")));
        }
        // All integers at once would take memory for each node.
        for first in (0..vocabulary).step_by(INTEGERS) {
            let integers: Vec<f64> =
                (first..vocabulary.min(first + INTEGERS)).map(|integer| integer as f64).collect();
            if self.index(&nodes, way.flow.value, &integers, value).as_ref() != Some(&integers) {
                let problem = "what it looks up is computed of the input, and is not the input itself";
                return Err(ImportError::node(gather, problem));
            }
        }
        for &node in &nodes {
            self.mark(&self.graph.node[node])?;
        }
        way.go(value);
        Ok(true)
    }

    /// What nodes compute of integers; `None` if they take anything but these and single constants.
    fn index(&self, nodes: &[usize], input: &'a str, integers: &[f64], output: &str) -> Option<Vec<f64>> {
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::from([(input, integers.to_vec())]);
        for &node in nodes {
            let node = &self.graph.node[node];
            let of = |at: usize, i: usize| {
                let name = node.input.get(at)?.as_str();
                match values.get(name) {
                    Some(values) => values.get(i).copied(),
                    None => self.constants.number(name).map(f64::from),
                }
            };
            let one = |i: usize| {
                let (x, y) = (of(0, i)?, of(1, i));
                Some(match operator(node) {
                    "Add" => x + y?,
                    "Sub" => x - y?,
                    "Mul" => x * y?,
                    "Max" if node.input.len() == 2 => x.max(y?),
                    "Min" if node.input.len() == 2 => x.min(y?),
                    "Less" => truth(x < y?),
                    "LessOrEqual" => truth(x <= y?),
                    "Greater" => truth(x > y?),
                    "GreaterOrEqual" => truth(x >= y?),
                    "Not" => truth(x == 0.0),
                    "Where" if x != 0.0 => y?,
                    "Where" => of(2, i)?,
                    "Cast" => match i32::try_from(int(node, "to", 0)).ok().map(DataType::try_from)?.ok()? {
                        DataType::Bool => truth(x != 0.0),
                        // These hold the integers of every vocabulary.
                        DataType::Float | DataType::Double | DataType::Int32 | DataType::Int64 => x,
                        _ => return None,
                    },
                    "Identity" => x,
                    _ => return None,
                })
            };
            let value = (0..integers.len()).map(one).collect::<Option<Vec<f64>>>()?;
            values.insert(node.output.first()?, value);
        }
        values.remove(output)
    }
}

/// Nodes with all that they take.
struct Parts<'a> {
    nodes: Vec<&'a NodeProto>,
    /// The constants that are one number.
    numbers: Vec<f32>,
    /// The names of the constants with a number for each value.
    vectors: Vec<&'a str>,
    constants: BTreeMap<&'a str, Constant>,
    has_mean: bool,
}

/// A constant in a trial.
#[derive(Clone, Copy)]
enum Constant {
    Number(f32),
    /// The number of a vector, whose values are those of the trial.
    Vector(usize),
}

impl Parts<'_> {
    /// What the nodes compute of `x`, the value `input`; `None` if an operator has no such inputs.
    fn answer(&self, input: &str, x: &[f64], output: &str) -> Option<Vec<f64>> {
        let constant = |constant: &Constant| match *constant {
            Constant::Number(number) => vec![f64::from(number)],
            Constant::Vector(number) => (0..x.len()).map(|i| trial_number(number, i)).collect(),
        };
        let mut values: BTreeMap<&str, Vec<f64>> =
            self.constants.iter().map(|(&name, value)| (name, constant(value))).collect();
        values.insert(input, x.to_vec());
        for node in &self.nodes {
            let of = |at: usize| values.get(node.input.get(at)?.as_str());
            let each = |function: fn(f64) -> f64| {
                (node.input.len() == 1).then_some(())?;
                Some(of(0)?.iter().map(|&x| function(x)).collect::<Vec<f64>>())
            };
            // One number stands for all values of an example.
            let at = |values: &[f64], i: usize| values.get(if values.len() == 1 { 0 } else { i }).copied();
            let both = |function: fn(f64, f64) -> f64| {
                (node.input.len() == 2).then_some(())?;
                let (one, other) = (of(0)?, of(1)?);
                (0..one.len().max(other.len())).map(|i| Some(function(at(one, i)?, at(other, i)?))).collect()
            };
            let value: Vec<f64> = match operator(node) {
                "Add" => both(|x, y| x + y),
                "Sub" => both(|x, y| x - y),
                "Mul" => both(|x, y| x * y),
                "Div" => both(|x, y| x / y),
                "Max" => both(f64::max),
                "Min" => both(f64::min),
                "Pow" => both(power),
                "Less" => both(|x, y| truth(x < y)),
                "LessOrEqual" => both(|x, y| truth(x <= y)),
                "Greater" => both(|x, y| truth(x > y)),
                "GreaterOrEqual" => both(|x, y| truth(x >= y)),
                "Where" => {
                    let (which, one, other) = (of(0)?, of(1)?, of(2)?);
                    let length = which.len().max(one.len()).max(other.len());
                    let value = |i: usize| match at(which, i)? != 0.0 {
                        true => at(one, i),
                        false => at(other, i),
                    };
                    (0..length).map(value).collect()
                }
                "Neg" => each(|x| -x),
                "Abs" => each(f64::abs),
                "Sqrt" => each(f64::sqrt),
                "Reciprocal" => each(|x| 1.0 / x),
                "Exp" => each(exponential),
                "Log" => each(logarithm),
                "Softplus" => each(|x| activated(Activation::Softplus, x)),
                "Erf" => each(error_function),
                "Erfc" => each(|x| 1.0 - error_function(x)),
                "Sigmoid" => each(|x| activated(Activation::Sigmoid, x)),
                "Tanh" => each(|x| activated(Activation::Tanh, x)),
                "Relu" => each(|x| x.max(0.0)),
                "Identity" => each(|x| x),
                "ReduceMean" => of(0).map(|values| vec![mean(values)]),
                _ => None,
            }?;
            values.insert(node.output.first()?, value);
        }
        values.remove(output)
    }
}

fn truth(is_true: bool) -> f64 {
    f64::from(u8::from(is_true))
}

/// The values of a trial's example.
const TRIAL: usize = 12;

/// Numbers of no pattern, which differ from vector to vector.
fn trial_number(vector: usize, i: usize) -> f64 {
    let mixed = (i + 1) * [7, 19, 11][vector % 3] * (i + 3) % 31;
    mixed as f64 / 16.0 - 0.9
}

/// A layer normalization of a trial's example.
fn normalized(x: &[f64], epsilon: f64, gain: Option<usize>, bias: Option<usize>) -> Vec<f64> {
    let middle = mean(x);
    let squares: Vec<f64> = x.iter().map(|x| (x - middle) * (x - middle)).collect();
    let deviation = (mean(&squares) + epsilon).sqrt();
    let number =
        |vector: Option<usize>, i: usize, default| vector.map_or(default, |vector| trial_number(vector, i));
    let value =
        |(i, x): (usize, &f64)| (x - middle) / deviation * number(gain, i, 1.0) + number(bias, i, 0.0);
    x.iter().enumerate().map(value).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// An activation in 64 bits.
fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu(slope) => x.max(0.0) + f64::from(slope.get()) * x.min(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + exponential(-x)),
        Activation::Tanh => 1.0 - 2.0 / (1.0 + exponential(2.0 * x)),
        Activation::Gelu => 0.5 * x * (1.0 + error_function(x / std::f64::consts::SQRT_2)),
        Activation::Silu => x / (1.0 + exponential(-x)),
        Activation::Softplus => x.max(0.0) + logarithm(1.0 + exponential(-x.abs())),
        Activation::None => x,
    }
}

/// `e^x`, by its series at a 64th of `x`.
fn exponential(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0) / 64.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..40 {
        term *= x / f64::from(n);
        sum += term;
    }
    (0..6).fold(sum, |power, _| power * power)
}

/// The natural logarithm of a number above 0, by the series of the inverse hyperbolic tangent between 1/2 and 2.
fn logarithm(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 || x.is_infinite() {
        return f64::NAN;
    }
    let (mut rest, mut halvings) = (x, 0.0);
    while rest > 2.0 {
        rest /= 2.0;
        halvings += 1.0;
    }
    while rest < 0.5 {
        rest *= 2.0;
        halvings -= 1.0;
    }
    let ratio = (rest - 1.0) / (rest + 1.0);
    let (mut term, mut sum) = (ratio, 0.0);
    for n in 0..40 {
        sum += term / f64::from(2 * n + 1);
        term *= ratio * ratio;
    }
    2.0 * sum + halvings * std::f64::consts::LN_2
}

/// The error function, by its series; ±1 where 64 bits no longer hold its terms.
fn error_function(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// Whole and half powers, which are all that a normalization has.
fn power(x: f64, by: f64) -> f64 {
    match by {
        2.0 => x * x,
        0.5 => x.sqrt(),
        -0.5 => 1.0 / x.sqrt(),
        -1.0 => 1.0 / x,
        -2.0 => 1.0 / (x * x),
        _ => f64::NAN,
    }
}
