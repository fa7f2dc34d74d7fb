//! What can be typed. This is the manual too: the comments on the fields are the text of `--help`.
//!
//! Nothing is decided here. The settings of a run become a [`ConfigFile`], which
//! [`crate::config`] completes and checks; so a flag and the key of the same name in a
//! configuration file mean the same and fail with the same sentence.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand};
use model::Arithmetic;

use crate::config::{
    ConfigFile, DataSource, Decay, Fraction, LOCAL_WORKERS_MAX, Listen, LocalWorkers, MINIBATCH_MAX,
    ModelChoice, OptimizerKind, Rate, TaskKind, defaults, host_name,
};
use crate::sweep::{Over, Seeds, Targets};

/// Trains neural networks on borrowed browser tabs.
///
/// Whoever opens the page lends their machine. The trained weights are the same, bit for bit,
/// whoever helps and however often they come and go.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, propagate_version = true, max_term_width = 100, after_help = FIRST_STEPS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on standard error; twice for everything (SHOAL_LOG takes a finer filter)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

const FIRST_STEPS: &str = "First steps:
  shoal demo                                     train on handwritten digits, open the page it names
  shoal train --data table.csv --label price     train on your own data
  shoal evaluate runs/table --data more.csv      see how good it is
  shoal predict runs/table --data new.csv        use it";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train on the embedded MNIST, handwritten digits; nothing is downloaded
    ///
    /// Begins as soon as one browser tab lends itself, or after 15 seconds with a worker of its
    /// own. On a terminal it goes on serving the page until Ctrl-C.
    Demo(DemoArgs),
    /// Train on your data
    Train(TrainArgs),
    /// Go on with a run where it was saved
    Resume(ResumeArgs),
    /// Run a series of trainings and compare them: tables and charts of loss and accuracy
    ///
    /// Every case is trained once with each seed, one run after the other, each kept in a run
    /// directory of its own. A sweep that was interrupted goes on when it is given the same --out.
    Sweep(SweepArgs),
    /// Lend this machine to a training elsewhere, without a browser
    Volunteer(VolunteerArgs),
    /// Measure a trained model on data with known answers
    Evaluate(EvaluateArgs),
    /// Apply a trained model: CSV on standard output, one line an example
    Predict(PredictArgs),
    /// Measure how fast this machine trains, natively or in a browser
    ///
    /// The same as the page /bench that every coordinator serves. Each case is set against the roof:
    /// what a loop reaches that only multiplies and adds.
    Bench(BenchArgs),
    /// Show what a network is made of and what it costs, layer by layer
    Inspect(InspectArgs),
}

/// `shoal demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Let phones and other machines on the network help, and show a QR code of the address
    #[arg(long)]
    pub lan: bool,
    /// The training.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// The judging.
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// The stopping.
    #[command(flatten)]
    pub stopping: StoppingArgs,
    /// The serving.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `shoal train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Take settings from a TOML file with keys named like these flags; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The training.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// The judging.
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// The stopping.
    #[command(flatten)]
    pub stopping: StoppingArgs,
    /// The serving.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `shoal resume`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run directory
    pub run: PathBuf,
    /// Where the training data are now, if they have moved; they must be the same
    #[arg(long, value_name = "PATH")]
    pub data: Option<DataSource>,
    /// Raise the limit on iterations
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub iterations: Option<u64>,
    /// Stop at another test accuracy, a share such as 0.97
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub target_accuracy: Option<Fraction>,
    /// The stopping.
    #[command(flatten)]
    pub stopping: StoppingArgs,
    /// The serving.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    pub json: bool,
}

/// `shoal sweep`
#[derive(Debug, Args)]
#[command(
    mut_arg("seed", |arg| arg.help("The only seed, short for --seeds S,")),
    mut_arg("listen", |arg| arg.help(
        "Address to serve the page on, or just a port, for volunteers to help [default: any free port of this machine]"
    )),
)]
pub struct SweepArgs {
    /// A setting and the values to try, such as minibatch=5,10,32 or optimizer=lbfgs,adam: any key of
    /// a configuration file. Quote a value that has a comma: 'model="mlp:64,32",linear'. May be
    /// repeated, for every combination
    #[arg(long, value_name = "KEY=V1,V2,...")]
    pub over: Vec<Over>,
    /// A TOML file of cases, to compare methods with several settings each: `[[case]]` with a name above
    /// the settings of each; above the first, settings that all share, seeds and targets
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
    /// How many seeds, or which: 4,7,9 [default: 3]
    #[arg(long, value_name = "N|S1,S2,...", conflicts_with = "seed")]
    pub seeds: Option<Seeds>,
    /// Report when these were first reached: accuracy (of the test examples), loss (of the training
    /// examples) or test-loss, each with values, such as accuracy=0.97,0.98 loss=0.05
    #[arg(long, value_name = "MEASURE=V1,V2,...", num_args = 1..)]
    pub targets: Vec<Targets>,
    /// Take settings from a TOML file with keys named like these flags; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The training.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// The judging.
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// The stopping.
    #[command(flatten)]
    pub stopping: StoppingArgs,
    /// The serving.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// The directory of the sweep; what is finished there is kept [default: one in runs/, named after
    /// the data]
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// Print the medians as one JSON object, the last line of standard output
    #[arg(long, help_heading = "Results")]
    pub json: bool,
}

/// `shoal volunteer`
#[derive(Debug, Args)]
pub struct VolunteerArgs {
    /// The address of the page, such as http://192.168.1.20:8080
    pub url: String,
    /// Cores to lend [default: all but one]
    #[arg(long, value_name = "N", value_parser = cores, allow_negative_numbers = true)]
    pub cores: Option<u16>,
    /// Seconds to try an address that has never answered [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub give_up_after: Option<u32>,
}

/// `shoal evaluate`
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The run directory
    pub run: PathBuf,
    /// A CSV file or a directory of IDX files with known answers, or embedded:mnist
    #[arg(long, value_name = "PATH")]
    pub data: DataSource,
    /// How to read it.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `shoal predict`
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The run directory
    pub run: PathBuf,
    /// A CSV file, with or without the label column, a directory of IDX files, or embedded:mnist
    #[arg(long, value_name = "PATH")]
    pub data: DataSource,
    /// How to read it.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// `shoal bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure in this browser, without a window; a Chromium, such as /usr/bin/chromium
    #[arg(long, value_name = "PROGRAM")]
    pub browser: Option<PathBuf>,
    /// Only cases whose name begins so, such as mlp or local-784-128-10/mnist; may be repeated
    #[arg(long, value_name = "NAME")]
    pub case: Vec<String>,
    /// Only this arithmetic, portable or fused
    #[arg(long, value_name = "NAME", value_parser = arithmetic())]
    pub arithmetic: Option<Arithmetic>,
    /// Take a few seconds instead of half a minute, for numbers that only show that everything works
    #[arg(long)]
    pub quick: bool,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    pub json: bool,
}

/// `shoal inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A network as for --model of train, or a run directory
    pub model: String,
    /// What the network sees, for images: channels, height and width
    #[arg(long, value_name = "CxHxW", conflicts_with = "features")]
    pub input: Option<ImageShape>,
    /// What the network sees, for tables: how many columns
    #[arg(long, value_name = "N", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub features: Option<u32>,
    /// What the network answers: one of so many classes
    #[arg(long, value_name = "N", value_parser = whole::<u32>, allow_negative_numbers = true, conflicts_with = "numbers")]
    pub classes: Option<u32>,
    /// What the network answers: so many numbers
    #[arg(long, value_name = "N", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub numbers: Option<u32>,
    /// Take both from data: a CSV file, a directory of IDX files, or embedded:mnist
    #[arg(long, value_name = "PATH", conflicts_with_all = ["input", "features", "classes", "numbers"])]
    pub data: Option<DataSource>,
    /// The column to predict, as for train
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true, requires = "data")]
    pub label: Vec<String>,
    #[arg(
        long, value_name = "N", allow_negative_numbers = true, default_value_t = defaults::MINIBATCH,
        value_parser = minibatch,
        help = "Examples in a minibatch, which batch normalization keeps in memory at once"
    )]
    #[allow(missing_docs)]
    pub minibatch: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Channels, height and width, written `3x32x32`, or `28x28` for one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape(pub [u32; 3]);

impl FromStr for ImageShape {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sizes: Result<Vec<u32>, _> = text.split('x').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[height, width]) if height.min(width) > 0 => Ok(Self([1, height, width])),
            Ok(&[channels, height, width]) if channels.min(height).min(width) > 0 => {
                Ok(Self([channels, height, width]))
            }
            _ => Err("give channels, height and width such as 3x32x32"),
        }
    }
}

/// How to read a file for a trained model.
#[derive(Debug, Args)]
pub struct ReadingArgs {
    /// Whether a CSV file starts with a header [default: told from its first rows]
    #[arg(long, value_name = "BOOL")]
    pub header: Option<bool>,
}

/// What to train on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// A CSV file or a directory of IDX files, plain or .gz, or embedded:mnist
    #[arg(long, value_name = "PATH")]
    pub data: Option<DataSource>,
    /// The column to predict, by name or index from 0 (-1 is the last); repeat it to predict
    /// several numbers [default: the column called label, class or target, else the last]
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true)]
    pub label: Vec<String>,
    /// What the label is: classes or numbers [default: told from its values]
    #[arg(long, value_name = "KIND", value_parser = task_kind())]
    pub task: Option<TaskKind>,
    /// Whether a CSV file starts with a header [default: told from its first rows]
    #[arg(long, value_name = "BOOL")]
    pub header: Option<bool>,
    /// Examples to test with, read like the data
    #[arg(long, value_name = "PATH", conflicts_with = "test_fraction")]
    pub test: Option<PathBuf>,
    #[arg(
        long, value_name = "F", allow_negative_numbers = true,
        help = format!("Share of the data to set aside for testing, 0 for none [default: {}, unless the data has a \
                        test part]", defaults::TEST_FRACTION)
    )]
    #[allow(missing_docs)]
    pub test_fraction: Option<Fraction>,
}

/// How to train.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
#[allow(missing_docs)]
pub struct TrainingArgs {
    #[arg(
        long, value_name = "SPEC|FILE",
        help = format!("The network: layer widths such as mlp:128,64 or mlp:32:tanh, linear, or a .toml or .json file \
                        [default: {}]", defaults::MODEL)
    )]
    pub model: Option<String>,
    /// Weight of the L2 penalty on large weights [default: 0]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    pub l2: Option<f32>,
    #[arg(long, value_name = "N", value_parser = whole::<u32>, allow_negative_numbers = true, help = format!("Examples in a minibatch [default: {}]", defaults::MINIBATCH))]
    pub minibatch: Option<u32>,
    /// How the weights are improved [default: auto]
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<OptimizerKind>,
    /// The optimizer.
    #[command(flatten)]
    pub method: MethodArgs,
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true, help = format!("Most iterations to take [default: {}]", defaults::ITERATIONS))]
    pub iterations: Option<u64>,
    /// Stop early at this test accuracy, a share such as 0.97
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub target_accuracy: Option<Fraction>,
    #[arg(
        long, value_name = "S", value_parser = whole::<u64>, allow_negative_numbers = true,
        help = format!("Decides the start weights, the split and the shuffle [default: {}]", defaults::SEED)
    )]
    pub seed: Option<u64>,
    /// How products are added up: portable runs in every browser, fused is faster where it runs
    /// [default: portable]
    #[arg(long, value_name = "NAME", value_parser = arithmetic())]
    pub arithmetic: Option<Arithmetic>,
}

/// Settings of some optimizers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimizers")]
pub struct MethodArgs {
    /// auto, averaged, average: replicas that take local steps from the same point [default: 1 to 32, by the
    /// examples]
    #[arg(long, value_name = "R", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub replicas: Option<u32>,
    /// auto, averaged, average: minibatch steps of each replica in a round [default: 200 or one pass over its
    /// examples, fewer for large networks]
    #[arg(long, value_name = "K", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub local_steps: Option<u32>,
    /// Length of a step, as a multiple of the mean gradient; not for lbfgs [default: auto, which tries a few
    /// for replicas and else is 0.1 for sgd, 0.05 for momentum, 0.001 for adam and adamw]
    #[arg(long, value_name = "auto|X", allow_negative_numbers = true)]
    pub learning_rate: Option<Rate>,
    /// How the learning rate changes until the limit on iterations; not for lbfgs [default: constant]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<Decay>,
    /// sgd, momentum, adam, adamw: minibatches whose gradients are averaged for a step [default: those of
    /// 1024 examples]
    #[arg(long, value_name = "N", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub minibatches_per_round: Option<u32>,
    /// lbfgs: take gradients on so many examples, not on all
    #[arg(long, value_name = "EXAMPLES", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub sample: Option<u32>,
    #[arg(long, value_name = "F", allow_negative_numbers = true, help = format!("lbfgs: share of the sample that the next one has in common with it [default: {}]", defaults::OVERLAP))]
    #[allow(missing_docs)]
    pub overlap: Option<Fraction>,
    /// average: momentum on the averaged steps of the replicas, such as 0.9 [default: 0]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    pub outer_momentum: Option<f32>,
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true, help = format!("adamw: decay of all weights, as a multiple of the learning rate [default: {}]", defaults::WEIGHT_DECAY))]
    #[allow(missing_docs)]
    pub weight_decay: Option<f32>,
    #[arg(long, value_name = "M", value_parser = whole::<u32>, allow_negative_numbers = true, help = format!("auto, averaged, lbfgs: steps whose curvature is remembered [default: {}]", defaults::MEMORY))]
    #[allow(missing_docs)]
    pub memory: Option<u32>,
}

/// How to tell how good the weights are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgingArgs {
    /// Share of the training examples to set aside for validation: the model saved is then the one with the lowest
    /// loss on them, and not the last [default: 0]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub validation_fraction: Option<Fraction>,
    /// Validation examples in a file of their own, read like the data
    #[arg(long, value_name = "PATH", conflicts_with = "validation_fraction")]
    pub validation: Option<PathBuf>,
    /// Look at validation and test examples every N rounds [default: in every round through a tenth of the training
    /// examples or more, else about every tenth of an epoch]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub evaluate_every: Option<u64>,
    /// Look at all training examples then too, where the rounds do not do so anyway
    #[arg(long)]
    pub evaluate_training: bool,
}

/// When to stop. The number of iterations is a limit besides.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Stopping")]
pub struct StoppingArgs {
    /// Most rounds over the volunteers [default: no limit]
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub rounds: Option<u64>,
    /// Most passes over the training examples [default: no limit]
    #[arg(long, value_name = "X", value_parser = precise, allow_negative_numbers = true)]
    pub epochs: Option<f64>,
    /// Stop after so many seconds of training, wherever it is [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub max_seconds: Option<u64>,
    /// Stop at this mean loss over all training examples; switches --evaluate-training on
    #[arg(long, value_name = "X", value_parser = precise, allow_negative_numbers = true)]
    pub target_loss: Option<f64>,
    /// Stop when the gradient's Euclidean norm is no larger
    #[arg(long, value_name = "X", value_parser = precise, allow_negative_numbers = true)]
    pub gradient_tolerance: Option<f64>,
    /// Stop when the loss of five iterations is lower than that of the five before by no more than this share
    #[arg(long, value_name = "X", value_parser = precise, allow_negative_numbers = true)]
    pub relative_decrease: Option<f64>,
    /// Stop when N evaluations in a row have found no lower validation loss
    #[arg(long, value_name = "N", value_parser = whole::<u64>, allow_negative_numbers = true)]
    pub patience: Option<u64>,
}

/// Whom to let in and wait for. Nothing here changes the trained weights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Volunteers")]
pub struct ServingArgs {
    /// Address to serve the page on, or just a port; 0.0.0.0:8080 lets the network in
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// Another name under which the page may be opened, such as shoal.example.org; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub allow_host: Vec<String>,
    /// Own help: auto (until the volunteers together are faster), or a number of cores; with 0 it
    /// only steps in for a stuck unit [default: auto]
    #[arg(long, value_name = "auto|N", allow_negative_numbers = true)]
    pub local_workers: Option<LocalWorkers>,
    /// Wait for so many volunteers before beginning [default: 0; in the demo 1]
    #[arg(long, value_name = "VOLUNTEERS", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub wait_for: Option<u32>,
    /// Begin without them after this time [default: never; in the demo 15]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>, allow_negative_numbers = true)]
    pub wait_seconds: Option<u32>,
}

/// Where the results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct OutputArgs {
    /// The run directory to make [default: one in runs/, named after the data]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    pub json: bool,
}

impl DataArgs {
    /// The same as configuration.
    pub fn config(self) -> ConfigFile {
        let Self { data, label, task, header, test, test_fraction } = self;
        let label = (!label.is_empty()).then_some(label);
        ConfigFile { data, label, task, header, test, test_fraction, ..ConfigFile::default() }
    }
}

impl TrainingArgs {
    /// The same as configuration.
    pub fn config(self) -> ConfigFile {
        let Self { model, l2, minibatch, optimizer, method, iterations, target_accuracy, seed, arithmetic } =
            self;
        let model = model.map(ModelChoice::Text);
        ConfigFile {
            model,
            l2,
            minibatch,
            optimizer,
            iterations,
            target_accuracy,
            seed,
            arithmetic,
            ..method.config()
        }
    }
}

impl MethodArgs {
    fn config(self) -> ConfigFile {
        let Self { replicas, local_steps, learning_rate, schedule, minibatches_per_round, .. } = self;
        let Self { sample, overlap, outer_momentum, weight_decay, memory, .. } = self;
        ConfigFile {
            replicas,
            local_steps,
            learning_rate,
            schedule,
            minibatches_per_round,
            sample,
            overlap,
            outer_momentum,
            weight_decay,
            memory,
            ..ConfigFile::default()
        }
    }
}

impl JudgingArgs {
    /// The same as configuration.
    pub fn config(self) -> ConfigFile {
        let Self { validation_fraction, validation, evaluate_every, evaluate_training } = self;
        let evaluate_training = evaluate_training.then_some(true);
        ConfigFile {
            validation_fraction,
            validation,
            evaluate_every,
            evaluate_training,
            ..ConfigFile::default()
        }
    }
}

impl StoppingArgs {
    /// The same as configuration.
    pub fn config(self) -> ConfigFile {
        let Self { rounds, epochs, max_seconds, target_loss, .. } = self;
        let Self { gradient_tolerance, relative_decrease, patience, .. } = self;
        ConfigFile {
            rounds,
            epochs,
            max_seconds,
            target_loss,
            gradient_tolerance,
            relative_decrease,
            patience,
            ..ConfigFile::default()
        }
    }
}

impl ServingArgs {
    /// The same as configuration.
    pub fn config(self) -> ConfigFile {
        let Self { listen, allow_host, local_workers, wait_for, wait_seconds } = self;
        let allow_host = (!allow_host.is_empty()).then_some(allow_host);
        ConfigFile { listen, allow_host, local_workers, wait_for, wait_seconds, ..ConfigFile::default() }
    }
}

/// A number without a fraction. The allowed range is the configuration's business, so that it is the
/// same in a file.
fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a whole number, not too large")
}

fn minibatch(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(minibatch) if (1..=MINIBATCH_MAX).contains(&minibatch) => Ok(minibatch),
        _ => Err(format!("give a whole number from 1 to {MINIBATCH_MAX}")),
    }
}

/// At least one second.
fn seconds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err("give a whole number of seconds from 1".to_owned()),
    }
}

fn cores(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(cores) if (1..=LOCAL_WORKERS_MAX).contains(&cores) => Ok(cores),
        _ => Err(format!("give a whole number from 1 to {LOCAL_WORKERS_MAX}")),
    }
}

fn precise(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "give a number such as 0.001")
}

fn number(text: &str) -> Result<f32, &'static str> {
    text.parse().map_err(|_| "give a number such as 0.0001")
}

fn task_kind() -> impl clap::builder::TypedValueParser<Value = TaskKind> {
    PossibleValuesParser::new(["classes", "numbers"]).try_map(|name| name.parse::<TaskKind>())
}

fn arithmetic() -> impl clap::builder::TypedValueParser<Value = Arithmetic> {
    PossibleValuesParser::new(Arithmetic::ALL.map(Arithmetic::name))
        .try_map(|name| name.parse::<Arithmetic>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
