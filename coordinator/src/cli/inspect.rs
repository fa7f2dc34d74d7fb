//! `shoal inspect`: the parts of a network and their costs, layer by layer.

use std::io::Write;
use std::path::Path;

use model::{LayerSummary, Network, NetworkSpec, Shape, Task};
use onnx::import::End;
use serde::Serialize;
use worker::{DataFootprint, Footprint};

use super::args::{ImageShape, InspectArgs};
use super::inspect_data;
use super::misuse;
use super::output::results;
use crate::config::{ConfigFile, DataSource, ModelChoice, RunConfig, default_seed, is_graph};
use crate::data::{self, ReadOptions};
use crate::report::words::{bytes, count, large};
use crate::run_directory::{self, RunError};
use crate::{start, training};

/// Approximate bytes of an element in a packed sum: see [`protocol::pack`].
const SUM_BYTES: u64 = 5;
/// A training pass goes forward once and back twice: for the derivatives by weights and by inputs.
const PASSES: u64 = 3;

pub(super) fn run(args: InspectArgs) -> anyhow::Result<()> {
    if let Some(source) = inspect_data::source(&args.model)? {
        return inspect_data::run(&source, args);
    }
    if args.data.is_none() && args.reading.0 != ConfigFile::default() {
        return Err(misuse(format!(
            "{} is no data, and flags about reading apply to data only; leave them out, or give --data",
            args.model
        )));
    }
    let network = network(&args)?;
    network.check_minibatch(args.minibatch as usize).map_err(|error| misuse(format!("model: {error}")))?;
    let inspected = Inspected::new(&network, args.minibatch);
    results(|output| if args.json { inspected.write_json(output) } else { inspected.write_text(output) })
}

fn network(args: &InspectArgs) -> anyhow::Result<Network> {
    if Path::new(&args.model).is_dir() {
        return of_run(args);
    }
    let is_told = args.data.is_some() || args.input.is_some() || args.features.is_some();
    if is_graph(&args.model) && !is_told && args.classes.is_none() && args.numbers.is_none() {
        return of_graph(Path::new(&args.model));
    }
    let mut spec = ModelChoice::Text(args.model.clone()).resolve()?;
    let (features, task) = match &args.data {
        Some(source) => of_data(source, &mut spec, args)?,
        None => (features(&mut spec, args)?, task(args)?),
    };
    Network::new(&spec, features, task).map_err(|error| misuse(format!("model: {error}")))
}

/// The network of a run, whether it has been saved or is still being trained.
fn of_run(args: &InspectArgs) -> anyhow::Result<Network> {
    let run = Path::new(&args.model);
    let told = args.data.is_some() || args.input.is_some() || args.features.is_some();
    if told || args.classes.is_some() || args.numbers.is_some() {
        return Err(misuse(format!(
            "{} is a run, which knows its data; leave out --data, --input, --features, --classes and --numbers",
            run.display()
        )));
    }
    match run_directory::load_model(run) {
        Ok(model) => Ok(model.network),
        Err(RunError::NoModel { .. }) => {
            let text = run_directory::load_config(run)?;
            let config = RunConfig::from_toml(&run.join("run.toml"), &text)?;
            Ok(training::prepare(config)?.network)
        }
        Err(error) => Err(error.into()),
    }
}

/// The network of an ONNX file, with the inputs and outputs that it has there.
fn of_graph(path: &Path) -> anyhow::Result<Network> {
    let imported = start::read_onnx(path)?;
    let outputs = u32::try_from(imported.outputs).unwrap_or(u32::MAX);
    let task = match imported.end {
        End::Sigmoid => Task::Numbers(outputs),
        // A single sum is a number; several may be either, at the same cost.
        End::Sums if outputs == 1 => Task::Numbers(outputs),
        End::Softmax | End::Sums => Task::Classes(outputs),
    };
    Network::new(&imported.spec, imported.features, task).map_err(|error| misuse(format!("model: {error}")))
}

fn of_data(source: &DataSource, spec: &mut NetworkSpec, args: &InspectArgs) -> anyhow::Result<(usize, Task)> {
    let options = ReadOptions { keep_all: spec.fixes_inputs(), ..args.reading.0.clone().read_options() };
    let train = training::load(source, &options)?.train;
    let data = data::prepare(train, None, 0.0, default_seed())?;
    training::take_shape(spec, &data.preparation)?;
    Ok((data.preparation.inputs(), data.task()))
}

fn features(spec: &mut NetworkSpec, args: &InspectArgs) -> anyhow::Result<usize> {
    if let Some(ImageShape(shape)) = args.input {
        spec.input.get_or_insert(shape);
        return Ok(values(shape));
    }
    match (args.features, spec.input) {
        (Some(features), _) => Ok(features as usize),
        (None, Some(shape)) => Ok(values(shape)),
        (None, None) => Err(misuse(
            "the network's inputs are unknown; give --input 1x28x28 for images, --features 4 for columns, \
             or the data with --data",
        )),
    }
}

fn values(shape: [u32; 3]) -> usize {
    shape.iter().fold(1, |values: usize, &size| values.saturating_mul(size as usize))
}

fn task(args: &InspectArgs) -> anyhow::Result<Task> {
    match (args.classes, args.numbers) {
        (Some(classes), _) => Ok(Task::Classes(classes)),
        (None, Some(numbers)) => Ok(Task::Numbers(numbers)),
        (None, None) => Err(misuse(
            "the network's outputs are unknown; give --classes 10 or --numbers 1, or the data with --data",
        )),
    }
}

/// The printed figures. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Inspected {
    layers: Vec<Row>,
    /// All saved parameters, statistics included.
    parameters: usize,
    /// The parameters that are learned.
    trainable: usize,
    /// Floating-point operations of the forward pass over one example.
    flops: u64,
    /// Floating-point operations of a training pass: three times as many.
    training_flops: u64,
    /// Bytes of the values that a training pass keeps for each example, the input included.
    memory_bytes: u64,
    /// Bytes of weights that each volunteer gets in a round.
    weights_bytes: u64,
    /// Approximate bytes of each of its results.
    sums_bytes: u64,
    /// Most bytes that a tab needs for each core it lends, without the data.
    core_bytes: u64,
    /// Most bytes that a tab needs besides its cores, without the data.
    hub_bytes: u64,
    #[serde(skip)]
    input: Shape,
}

#[derive(Debug, Serialize)]
struct Row {
    /// Its position, counted from 1.
    number: String,
    /// The beginning of its parameters' names.
    name: String,
    layer: String,
    /// The number of residual blocks around it.
    #[serde(skip)]
    depth: usize,
    output: Vec<usize>,
    #[serde(skip)]
    shape: Shape,
    parameters: usize,
    flops: u64,
    memory_bytes: u64,
}

impl Inspected {
    fn new(network: &Network, minibatch: u32) -> Self {
        let layers: Vec<Row> = network.layers().iter().map(Row::new).collect();
        let flops = layers.iter().map(|row| row.flops).sum();
        let (parameters, input) = (network.parameters(), network.shapes()[0]);
        let Footprint { core_bytes, hub_bytes } =
            Footprint::new(network, minibatch as usize, DataFootprint::default());
        let memory: u64 = layers.iter().map(|row| row.memory_bytes).sum();
        Self {
            parameters,
            trainable: network.trainable(),
            flops,
            training_flops: PASSES * flops,
            memory_bytes: memory + values_bytes(input.len()),
            weights_bytes: values_bytes(parameters),
            sums_bytes: SUM_BYTES * parameters as u64,
            core_bytes,
            hub_bytes,
            layers,
            input,
        }
    }

    fn write_json(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        Ok(writeln!(output, "{}", serde_json::to_string(self)?)?)
    }

    fn write_text(&self, output: &mut dyn Write) -> anyhow::Result<()> {
        let heading = ["layer", "output", "parameters", "FLOPs", "memory"].map(str::to_owned);
        let input = [
            "input".to_owned(),
            self.input.to_string(),
            String::new(),
            String::new(),
            bytes(values_bytes(self.input.len())),
        ];
        let total = [
            "total".to_owned(),
            String::new(),
            count(self.parameters),
            large(self.flops),
            bytes(self.memory_bytes),
        ];
        let mut rows = vec![heading, input];
        rows.extend(self.layers.iter().map(Row::cells));
        rows.push(total);
        write_table(output, &rows)?;
        writeln!(output)?;
        writeln!(
            output,
            "FLOPs and memory are for one example: {} for its gradient.",
            large(self.training_flops)
        )?;
        writeln!(
            output,
            "A round sends {} of weights to each volunteer; each result takes about {}.",
            bytes(self.weights_bytes),
            bytes(self.sums_bytes),
        )?;
        writeln!(
            output,
            "Without the data, a tab needs at most {} for each core it lends, and {} for itself.",
            bytes(self.core_bytes),
            bytes(self.hub_bytes),
        )?;
        Ok(())
    }
}

impl Row {
    fn new(layer: &LayerSummary) -> Self {
        Self {
            number: layer.number.clone(),
            name: layer.name.clone(),
            layer: layer.description.clone(),
            depth: layer.depth,
            output: match layer.shape {
                Shape::Vector(values) => vec![values],
                Shape::Image { channels, height, width } => vec![channels, height, width],
            },
            shape: layer.shape,
            parameters: layer.trainable + layer.statistics,
            flops: layer.flops,
            memory_bytes: values_bytes(layer.values),
        }
    }

    fn cells(&self) -> [String; 5] {
        let unless_none = |number: u64, text: String| if number == 0 { String::new() } else { text };
        [
            format!("{}{} {}", "  ".repeat(self.depth), self.number, self.layer),
            self.shape.to_string(),
            unless_none(self.parameters as u64, count(self.parameters)),
            unless_none(self.flops, large(self.flops)),
            unless_none(self.memory_bytes, bytes(self.memory_bytes)),
        ]
    }
}

fn values_bytes(values: usize) -> u64 {
    size_of::<f32>() as u64 * values as u64
}

/// Words to the left, numbers to the right.
fn write_table<const N: usize>(output: &mut dyn Write, rows: &[[String; N]]) -> anyhow::Result<()> {
    const WORDS: usize = 2;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cell = |(column, cell): (usize, &String)| match column {
            column if column < WORDS => format!("{cell:<width$}", width = widths[column]),
            column => format!("{cell:>width$}", width = widths[column]),
        };
        let line: Vec<String> = row.iter().enumerate().map(cell).collect();
        writeln!(output, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}
