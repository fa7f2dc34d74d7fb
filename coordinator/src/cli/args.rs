//! What can be typed. This is the manual too: the comments on the fields are the text of `--help`.
//!
//! Nothing is decided here. The settings of a run are flags because the table of settings says so
//! ([`Flags`]). They become a [`ConfigFile`], which [`crate::config`] completes and checks; so a flag and the
//! key of the same name in a configuration file mean the same and fail with the same sentence.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use model::Arithmetic;

use crate::choice::Weights;
use crate::config::{
    self, Cidr, ConfigFile, DataSource, HostName, LOCAL_WORKERS_MAX, LinkUrl, Listen, MINIBATCH_MAX,
    PublicUrl, SETTINGS, Section, ShardUrl, StoreUrl, default_minibatch,
};
use crate::export::Format;
use crate::load::{Attack, VOLUNTEERS_MAX};
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
    /// Say nothing on standard error but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How standard error is written: text for people, or json, one object a line, for programs
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How standard error is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Sentences
    #[default]
    Text,
    /// One object a line
    Json,
}

/// The heading over what is said of results.
const RESULTS: &str = Section::Results.heading();

const FIRST_STEPS: &str = "First steps:
  shoal demo                                     train on handwritten digits, open the page it names
  shoal train --data table.csv --label price     train on your own data
  shoal evaluate runs/table --data more.csv      see how good it is
  shoal predict runs/table --data new.csv        use it
  shoal export runs/table --output table.onnx    take it to another program";

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
    /// Load a coordinator with many volunteers in one process, to measure it
    #[command(hide = true)]
    Load(LoadArgs),
    /// Measure a trained model on data with known answers
    Evaluate(EvaluateArgs),
    /// Apply a trained model: CSV on standard output, one line an example
    Predict(PredictArgs),
    /// Write a trained model as a file for other programs: ONNX, or weights for PyTorch or NumPy
    Export(ExportArgs),
    /// Answer requests for predictions over HTTP, with a page to try the model on
    Serve(ServeArgs),
    /// Serve volunteers for a training that a coordinator on another machine leads
    ///
    /// The coordinator is shoal train with the same --link and --store. Any number of gateways may be started and
    /// stopped at any time; volunteers open the page of any of them.
    Gateway(GatewayArgs),
    /// Measure how fast this machine trains, natively or in a browser
    ///
    /// The same as the page /bench that every coordinator serves. Each case is set against the roof:
    /// what a loop reaches that only multiplies and adds.
    Bench(BenchArgs),
    /// Show what a network is made of and what it costs, layer by layer
    Inspect(InspectArgs),
    /// Print the links to a training that runs, and where its report is
    Open(OpenArgs),
    /// Print a script that completes commands and flags in a shell
    ///
    /// For bash: shoal completions bash > ~/.local/share/bash-completion/completions/shoal
    Completions(CompletionsArgs),
}

/// `shoal open`
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The run directory
    pub run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `shoal completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `shoal demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Let phones and other machines on the network help, and show a QR code of the address
    #[arg(long)]
    pub lan: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Flags<DEMO>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,
}

/// `shoal train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Show what the data and the network are, as inspect does, and train nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait while another coordinator leads this training, and take over when it falls silent; needs --link
    #[arg(long, conflicts_with = "dry_run")]
    pub standby: bool,
    /// Take settings from a TOML file with keys named like these flags; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings.
    #[command(flatten)]
    pub settings: Flags<TRAIN>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,
}

/// `shoal resume`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run directory, or the store that has the run's state: a folder, s3://bucket/path or the like
    pub run: PathBuf,
    /// Directory for a run that is resumed from a store [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Wait while another coordinator leads this training, and take over when it falls silent; for a run with --link
    #[arg(long)]
    pub standby: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Flags<RESUME>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,
}

/// `shoal sweep`
#[derive(Debug, Args)]
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
    /// The settings.
    #[command(flatten)]
    pub settings: Flags<SWEEP>,
    /// Print the medians as one JSON object, the last line of standard output
    #[arg(long, help_heading = RESULTS)]
    pub json: bool,
}

/// `shoal volunteer`
#[derive(Debug, Args)]
pub struct VolunteerArgs {
    /// The address of the page, such as http://192.168.1.20:8080 or https://HOST/shoal/#invite=TOKEN
    pub url: String,
    /// Cores to lend [default: all but one]
    #[arg(long, value_name = "N", value_parser = cores, allow_negative_numbers = true)]
    pub cores: Option<u16>,
    /// Seconds to try an address that has never answered [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub give_up_after: Option<u32>,
    /// A PEM file with certificates to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// A file that keeps the random number by which coordinators know this volunteer again [default: one of this
    /// user's]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// `shoal load`
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The address of the page
    #[arg(required_unless_present = "bare")]
    pub url: Option<String>,
    /// Volunteers to play
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=VOLUNTEERS_MAX.into()))]
    pub volunteers: u32,
    /// Examples a second of each volunteer [default: as fast as results are known]
    #[arg(long, value_name = "X", value_parser = positive)]
    pub speed: Option<f64>,
    /// Milliseconds that each result takes on its way besides
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency: u64,
    /// Share of the assignments at which a volunteer leaves and comes back
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub failures: f64,
    /// What the volunteers play instead of helping, against a coordinator on this machine: zeros, flipped, scaled,
    /// negative-loss, low-loss, all-correct, colluding, stall, false-unfit, sleepers, paused, frozen, unasked, cores,
    /// slow-reader, slow-writer or half-sent
    #[arg(long, value_name = "NAME")]
    pub attack: Option<Attack>,
    /// Results that each volunteer gets right before it plays that
    #[arg(long, value_name = "N", default_value_t = 0, requires = "attack")]
    pub after: u64,
    /// Let a volunteer that is found out stay away, instead of coming back as somebody else
    #[arg(long, requires = "attack")]
    pub once: bool,
    /// Seconds until the end
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub seconds: u64,
    /// Send a message of so many bytes to the volunteers instead, without a coordinator, to compare
    #[arg(long, value_name = "BYTES", conflicts_with = "url")]
    pub bare: Option<usize>,
    /// Volunteers that are sent that message at the same time [default: all]
    #[arg(long, value_name = "N", requires = "bare", value_parser = clap::value_parser!(u32).range(1..))]
    pub at_a_time: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which weights of a run a command uses.
#[derive(Debug, Clone, Copy, Args)]
pub struct WhichArgs {
    /// Use the weights with the lowest validation loss, which the run saved as its model; without validation
    /// examples these are the last ones (the default)
    #[arg(long, conflicts_with = "last")]
    pub best: bool,
    /// Use the weights of the last iteration
    #[arg(long)]
    pub last: bool,
}

impl WhichArgs {
    pub(super) fn weights(self) -> Weights {
        if self.last { Weights::Last } else { Weights::Best }
    }
}

/// `shoal evaluate`
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The run directory
    pub run: PathBuf,
    /// Which of its weights.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Data with known answers, in any format that train takes
    #[arg(long, value_name = "PATH")]
    pub data: DataSource,
    /// How to read them.
    #[command(flatten)]
    pub reading: Flags<EVALUATE>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `shoal predict`
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The run directory
    pub run: PathBuf,
    /// Which of its weights.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Data in any format that train takes, with or without the label
    #[arg(long, value_name = "PATH")]
    pub data: DataSource,
    /// How to read them.
    #[command(flatten)]
    pub reading: Flags<PREDICT>,
}

/// `shoal export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run directory
    pub run: PathBuf,
    /// Which of its weights.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The format [default: what the file's ending names]
    #[arg(long, value_name = "NAME")]
    pub format: Option<Format>,
    /// Leave the preparation of the data out of an ONNX graph, which then takes the network's own inputs
    #[arg(long)]
    pub without_preparation: bool,
    /// The terms under which others may use the model, such as MIT, for the file's metadata
    #[arg(long, value_name = "TEXT")]
    pub license: Option<String>,
}

/// `shoal serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The run directory
    pub run: PathBuf,
    /// Which of its weights.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Address to serve on, or just a port; 0.0.0.0:8080 lets the network in; unix:/run/shoal/shoal.sock is a socket
    /// for a proxy on this machine
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: Listen,
    /// Another host name for the server, such as model.example.org; may be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<HostName>,
    /// Let everybody read the figures under /metrics. Otherwise only this machine may, or whoever gives the
    /// token in the environment variable SHOAL_METRICS_TOKEN
    #[arg(long)]
    pub public_metrics: bool,
}

/// `shoal gateway`
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// The NATS servers on which the training's processes hear each other, such as nats://host:4222; credentials come
    /// from the environment
    #[arg(long, value_name = "URL")]
    pub link: LinkUrl,
    /// The store that they share: a folder, s3://bucket/path, gs://bucket/path or az://container/path; credentials
    /// come from the environment
    #[arg(long, value_name = "URL")]
    pub store: StoreUrl,
    /// Address to serve the page on, or just a port; 0.0.0.0:8080 lets the network in; unix:/run/shoal/shoal.sock is a
    /// socket for a proxy on this machine
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: Listen,
    /// The page's address for visitors, such as https://shoal.example.org, where a proxy is in front: links then have
    /// it, and its host name is allowed
    #[arg(long, value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Another host name for the page, such as shoal.example.org; may be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<HostName>,
    /// A proxy whose X-Forwarded headers are believed, such as a load balancer at 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<Cidr>,
    /// Certificate chain for TLS, a PEM file; the page is then at https://
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A public address from which this gateway's volunteers fetch the data, such as https://data.example.org/houses in
    /// front of the store: a shard is at its /shards/HASH [default: what the coordinator was given]
    #[arg(long, value_name = "URL")]
    pub shard_url: Option<ShardUrl>,
    /// Its name on the dashboard [default: the name of this machine]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Cores of the gateway's own worker; with 0 it only takes stuck units
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub local_workers: u16,
    /// Let everybody read the figures under /metrics. Otherwise only this machine may, or whoever gives the
    /// token in the environment variable SHOAL_METRICS_TOKEN
    #[arg(long)]
    pub public_metrics: bool,
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
    /// Data as for --data of train, a network as for --model, or a run directory
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
    /// Take both from data, in any format that train takes
    #[arg(long, value_name = "PATH", conflicts_with_all = ["input", "features", "classes", "numbers"])]
    pub data: Option<DataSource>,
    /// How to read them.
    #[command(flatten)]
    pub reading: Flags<INSPECT>,
    #[arg(
        long, value_name = "N", allow_negative_numbers = true, default_value_t = default_minibatch(),
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

/// The settings of a run that a command takes as flags, as the table of settings says
/// ([`SETTINGS`]).
#[derive(Debug, Clone)]
pub struct Flags<const COMMAND: usize>(pub ConfigFile);

/// The commands that take settings, for [`Flags`].
const COMMANDS: [config::Command; 7] = {
    use config::Command::{Demo, Evaluate, Inspect, Predict, Resume, Sweep, Train};
    [Train, Demo, Sweep, Resume, Inspect, Evaluate, Predict]
};
/// Positions in [`COMMANDS`].
const TRAIN: usize = 0;
const DEMO: usize = 1;
const SWEEP: usize = 2;
const RESUME: usize = 3;
const INSPECT: usize = 4;
const EVALUATE: usize = 5;
const PREDICT: usize = 6;

impl<const COMMAND: usize> FromArgMatches for Flags<COMMAND> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(ConfigFile::from_flags(matches, COMMANDS[COMMAND])))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<const COMMAND: usize> Args for Flags<COMMAND> {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(SETTINGS.iter().filter_map(|setting| setting.flag(COMMANDS[COMMAND])))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// A number without a fraction. The allowed range is the configuration's business, so that it is the
/// same in a file.
fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a whole number, not too large")
}

fn positive(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|value| *value > 0.0 && f64::is_finite(*value)).ok_or("give a positive number")
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
