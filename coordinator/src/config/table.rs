//! The table of settings: each is declared here, once. Flags, keys of files, checks, `run.toml` and
//! `docs/settings.md` follow from it.
//!
//! A declaration is the help text, the name, whether a run always has a value (or it is `optional`), the
//! type, and what differs from [`Setting::NEW`]. To add a setting, declare it here and use the field of
//! [`RunConfig`] that this makes.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::ArgMatches;
use clap::parser::ValueSource;
use model::{Arithmetic, NetworkSpec};
use serde::Serialize;

use super::doors::{Cidr, Invite};
use super::error::ConfigError;
use super::listen::{Listen, PublicUrl};
use super::network::ModelChoice;
use super::places::{LinkUrl, ShardUrl, StoreUrl};
use super::range::Range;
use super::setting::{Command, Description, Section, Setting};
use super::tree::{Node, Problem};
use super::trust::{Audits, LieResponse};
use super::value::Value;
use super::values::{ClassWeights, DataSource, Decay, Fraction, HostName, LocalWorkers, OptimizerKind, Rate};
use super::{ColumnKind, ImageSize, Separator, TaskKind, TextEncoding};

/// Examples in the largest minibatch, and minibatches in the largest round of a stochastic method.
pub const MINIBATCH_MAX: u32 = 1 << 20;
/// Replicas of a round.
pub(super) const REPLICAS_MAX: u32 = 1 << 18;
/// Cores that volunteers are expected to lend.
const EXPECTED_CORES_MAX: u32 = 1 << 20;
/// Minibatch steps of a replica in a round.
const LOCAL_STEPS_MAX: u32 = 1 << 20;
/// Curvature pairs; more than a few dozen have no use and cost memory.
const MEMORY_MAX: u32 = 100;
/// Share of the examples set aside for testing where the data has no test examples of its own.
const TEST_FRACTION: Fraction = share(0.2);
/// Share of the sample that sampled L-BFGS has in common with the next.
const OVERLAP: Fraction = share(0.25);
const HALF: Fraction = share(0.5);
/// Examples that a round of a stochastic method aims at: enough to share among volunteers.
pub(super) const STOCHASTIC_EXAMPLES: u32 = 1024;
/// TOML's own limit.
const COUNT_MAX: u64 = i64::MAX as u64;

use OptimizerKind::{Adam, AdamW, Auto, Average, Averaged, Lbfgs, Momentum, Sgd};

/// The optimizers whose replicas take local steps.
pub(super) const LOCAL: &[OptimizerKind] = &[Auto, Averaged, Average];
/// The ones that step along the gradient of a few minibatches each round.
pub(super) const STOCHASTIC: &[OptimizerKind] = &[Sgd, Momentum, Adam, AdamW];
/// The ones that have a learning rate.
const WITH_RATE: &[OptimizerKind] = &[Auto, Averaged, Average, Sgd, Momentum, Adam, AdamW];
/// The ones that keep curvature pairs.
const WITH_MEMORY: &[OptimizerKind] = &[Auto, Averaged, Lbfgs];

const NO_RATE: &str = "L-BFGS finds its own step lengths";

const fn share(value: f64) -> Fraction {
    match Fraction::new(value) {
        Some(share) => share,
        None => panic!("not a share"),
    }
}

/// Examples in a minibatch where nobody says otherwise. Small ones learn more from the same examples.
pub const fn default_minibatch() -> u32 {
    10
}

/// The seed where nobody gives one.
pub const fn default_seed() -> u64 {
    1
}

/// The learning rate that is customary for an optimizer, where there is one.
pub fn customary_rate(optimizer: OptimizerKind) -> Option<f32> {
    match optimizer {
        Sgd => Some(0.1),
        Momentum => Some(0.05),
        Adam | AdamW => Some(1e-3),
        Auto | Averaged | Lbfgs | Average => None,
    }
}

/// Which settings got a value only because every run needs one, so that rules for the data may replace it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOpen {
    /// The network.
    pub network: bool,
    /// The weight of the L2 penalty, of a network that has no file to say it.
    pub l2: bool,
    /// The limit on iterations.
    pub iterations: bool,
}

fn rates_in_words() -> String {
    let customary = STOCHASTIC.iter().filter_map(|&optimizer| Some((optimizer, customary_rate(optimizer)?)));
    let customary: Vec<String> =
        customary.map(|(optimizer, rate)| format!("{rate} for {optimizer}")).collect();
    format!("auto, which tries a few rates for replicas and otherwise is {}", customary.join(", "))
}

settings! {
    of_run {
        /// A file of a table, a quoted pattern such as 'part-*.csv', a directory of images or IDX files, - for
        /// standard input, or embedded:mnist
        data: always DataSource {
            section: Section::Data, commands: &[Command::Train, Command::Sweep, Command::Resume],
            placeholder: "PATH", example: "digits.csv",
            help_of: &[(
                Command::Resume,
                "Where the training data are now, if they have moved; they must be the same",
            )],
        }

        /// The column to predict, by name or index from 0 (-1 is the last); repeat it to predict several
        /// numbers
        label: always Vec<String> {
            section: Section::Data, placeholder: "COLUMN",
            commands: &[Command::Train, Command::Sweep, Command::Inspect, Command::Evaluate],
            default: Some(|_| Vec::new()),
            rule: Some(|| "the column called label, class or target, or else the last".to_owned()),
            help_of: &[(
                Command::Evaluate,
                "The column with the known answers, by name or index from 0 [default: as in the training data]",
            )],
        }

        /// Kind of the label: classes or numbers
        task: optional TaskKind {
            section: Section::Data, commands: &Command::READERS, placeholder: "KIND",
            rule: Some(|| "inferred from its values".to_owned()),
        }

        /// A folder for the data as shards, so that memory need not hold them; resumed and other runs on the same
        /// data use the same shards again. With a store the shards go there, and the folder is only used meanwhile
        cache: optional PathBuf {
            section: Section::Data, commands: &[Command::Train, Command::Sweep, Command::Resume],
            placeholder: "DIR",
            rule: Some(|| "runs/.cache if the data are too large for memory, else none".to_owned()),
        }

        /// Whether a text file starts with a header
        header: optional bool {
            section: Section::Data, commands: &Command::FILE_READERS, placeholder: "BOOL",
            rule: Some(|| "inferred from its first rows".to_owned()),
        }

        /// The character between cells: comma, semicolon, tab, pipe, spaces or another character
        separator: optional Separator {
            section: Section::Data, commands: &Command::FILE_READERS, placeholder: "NAME",
            rule: Some(|| "inferred from whole rows".to_owned()),
        }

        /// The encoding of text, such as utf-8, utf-16le or windows-1252
        encoding: optional TextEncoding {
            section: Section::Data, commands: &Command::FILE_READERS, placeholder: "NAME",
            rule: Some(|| "inferred from the bytes".to_owned()),
        }

        /// A text that stands for a missing value, in addition to an empty cell, NA, N/A, NaN, null, None, ?, -, a
        /// lone point and errors of spreadsheets; may be repeated
        missing: always Vec<String> {
            section: Section::Data, commands: &Command::FILE_READERS, placeholder: "TEXT",
            default: Some(|_| Vec::new()), rule: Some(|| "none".to_owned()),
        }

        /// Leave out rows and images that cannot be read, at most one in a hundred
        skip_bad_rows: always bool {
            section: Section::Data, commands: &Command::FILE_READERS, switch: true, default: Some(|_| false),
        }

        /// A column to leave out, by name or index from 0; may be repeated
        drop: always Vec<String> {
            section: Section::Data, commands: &Command::READERS, placeholder: "COLUMN",
            default: Some(|_| Vec::new()), rule: Some(|| "none".to_owned()),
        }

        /// A column to learn from although it looks like row numbers or has the same value in every row; may be
        /// repeated
        keep: always Vec<String> {
            section: Section::Data, commands: &Command::READERS, placeholder: "COLUMN",
            default: Some(|_| Vec::new()), rule: Some(|| "none".to_owned()),
        }

        /// The kind of a column: number, boolean, category, date or text; may be repeated
        r#as: always Vec<ColumnKind> {
            section: Section::Data, commands: &Command::READERS, placeholder: "COLUMN=KIND",
            default: Some(|_| Vec::new()), rule: Some(|| "inferred from the cells".to_owned()),
        }

        /// Height and width that images are resized to
        image_size: optional ImageSize {
            section: Section::Data, commands: &Command::READERS, placeholder: "HxW",
            rule: Some(|| "the size of the images, which must be the same".to_owned()),
        }

        /// A file with test examples, read like the data
        test: optional PathBuf {
            section: Section::Data, commands: &Command::WITH_DATA, placeholder: "PATH",
        }

        /// Share of the data to set aside for testing, 0 for none
        test_fraction: optional Fraction {
            section: Section::Data, commands: &Command::WITH_DATA, placeholder: "F", unit: "share",
            default: Some(|_| TEST_FRACTION), settles: true,
            rule: Some(|| format!("{TEST_FRACTION}, unless the data has a test part")),
            range: Some(|| Range::to_below(Fraction::ZERO, Fraction::ONE, "0.2")),
            excludes: Some("test"),
        }
    }
    elsewhere {
        /// The network: layer widths such as mlp:128,64 or mlp:32:tanh, linear, or a .toml, .json or .onnx file
        model: ModelChoice {
            placeholder: "SPEC|FILE", identity: true,
            default: Some(|_| ModelChoice::Text("mlp:128".to_owned())),
            rule: Some(|| {
                "mlp:128 for images; for a table mlp with 16 to 128 units, as many as make about one parameter an \
                 example, or linear if cross-validation finds it better"
                    .to_owned()
            }),
        }

        /// Layers that keep their weights, by their positions in `shoal inspect`, such as 1 or 3.2; may be
        /// repeated
        freeze: Vec<String> {
            commands: &[Command::Train], placeholder: "LAYER", identity: true,
            rule: Some(|| "those of the network".to_owned()),
        }

        /// Weight of the L2 penalty on large weights, instead of the network's own
        l2: f32 {
            placeholder: "X",
            rule: Some(|| {
                "for a shorthand 4 / training examples and at most 0.01 (with adamw 0), or what cross-validation \
                 chooses from 1/4 to 64 divided by them"
                    .to_owned()
            }),
            range: Some(|| Range::not_negative(0.0, f32::INFINITY)),
        }
    }
    of_run {
        /// Weights of the classes in the loss: none or balanced
        class_weights: optional ClassWeights {
            placeholder: "KIND", rule: Some(|| "none".to_owned()),
        }

        /// Weights to begin with: a run directory, or a .safetensors or .onnx file. Without --model, the
        /// network comes from there, too
        init: optional PathBuf {
            commands: &[Command::Train], placeholder: "RUN|FILE",
            rule: Some(|| "random weights that the seed decides".to_owned()),
            not_in_cases: Some("every case begins at random weights; leave it out"),
        }

        /// Examples in a minibatch
        minibatch: always u32 {
            placeholder: "N", unit: "examples", identity: true,
            default: Some(|_| default_minibatch()), range: Some(|| Range::between(1, MINIBATCH_MAX)),
        }

        /// The method that improves the weights
        optimizer: always OptimizerKind {
            placeholder: "NAME", identity: true, default: Some(|_| Auto),
        }

        /// Most iterations to take
        iterations: always u64 {
            commands: &Command::ALL, placeholder: "N",
            default: Some(|method| if method.is_stochastic() { 1000 } else { 60 }),
            rule: Some(|| {
                "60, for sgd, momentum, adam and adamw 1000; for a small table what cross-validation chooses"
                    .to_owned()
            }),
            range: Some(|| Range::between(0, COUNT_MAX)),
            help_of: &[(Command::Resume, "Raise the limit on iterations")],
        }

        /// Stop early at this test accuracy, a share such as 0.97
        target_accuracy: optional Fraction {
            commands: &Command::ALL, placeholder: "A", unit: "share",
            range: Some(|| Range::above(Fraction::ZERO, Fraction::ONE, "0.97")),
            help_of: &[(Command::Resume, "Stop at another test accuracy, a share such as 0.97")],
        }

        /// Number that decides the start weights, the split and the shuffle
        seed: always u64 {
            placeholder: "S", identity: true,
            default: Some(|_| default_seed()), range: Some(|| Range::between(0, COUNT_MAX)),
            not_in_cases: Some("every case runs with the same seeds; give them with --seeds"),
            help_of: &[(Command::Sweep, "The only seed, short for --seeds S,")],
        }

        /// How products are added: portable runs in every browser, fused is faster but needs a browser with
        /// relaxed SIMD
        arithmetic: always Arithmetic {
            placeholder: "NAME", identity: true, default: Some(|_| Arithmetic::Portable),
        }

        /// Cores that volunteers are expected to lend. Rounds are cut so that each has work; fewer or more may come
        expected_cores: optional u32 {
            placeholder: "N", unit: "cores", identity: true,
            rule: Some(|| "some ten".to_owned()), range: Some(|| Range::between(1, EXPECTED_CORES_MAX)),
        }

        /// Number of replicas, which take local steps from the same point
        replicas: optional u32 {
            section: Section::Optimizers, placeholder: "R", identity: true, settles: true,
            optimizers: Some(LOCAL), range: Some(|| Range::between(1, REPLICAS_MAX)),
            rule: Some(|| {
                "8 to 32, as many as leave each 400 steps per pass, or two for each expected core; fewer for small data"
                    .to_owned()
            }),
        }

        /// Minibatch steps of each replica in a round
        local_steps: optional u32 {
            section: Section::Optimizers, placeholder: "K", identity: true, settles: true,
            optimizers: Some(LOCAL), range: Some(|| Range::between(1, LOCAL_STEPS_MAX)),
            rule: Some(|| "one pass over its examples, but at least 200; fewer for large networks".to_owned()),
        }

        /// Length of a step as a multiple of the mean gradient
        learning_rate: optional Rate {
            section: Section::Optimizers, placeholder: "auto|X", identity: true, settles: true,
            optimizers: Some(WITH_RATE), because: NO_RATE,
            default: Some(|_| Rate::Auto), rule: Some(rates_in_words),
        }

        /// Course of the learning rate until the limit on iterations
        schedule: optional Decay {
            section: Section::Optimizers, placeholder: "NAME", identity: true, settles: true,
            optimizers: Some(WITH_RATE), because: NO_RATE, default: Some(|_| Decay::Constant),
        }

        /// Iterations over which the learning rate changes. Fixed when the run begins, so that a limit raised
        /// later does not change the schedule
        schedule_iterations: optional u64 {
            section: Section::Optimizers, commands: &[], placeholder: "N", identity: true, settles: true,
            optimizers: Some(WITH_RATE), because: NO_RATE, range: Some(|| Range::between(1, COUNT_MAX)),
            rule: Some(|| "the limit on iterations".to_owned()),
        }

        /// Number of minibatches whose gradients are averaged for a step
        minibatches_per_round: optional u32 {
            section: Section::Optimizers, placeholder: "N", identity: true, settles: true,
            optimizers: Some(STOCHASTIC), range: Some(|| Range::between(1, MINIBATCH_MAX)),
            rule: Some(|| format!("as many as have {STOCHASTIC_EXAMPLES} examples")),
        }

        /// Number of examples for a gradient, instead of all
        sample: optional u32 {
            section: Section::Optimizers, placeholder: "EXAMPLES", unit: "examples", identity: true,
            optimizers: Some(&[Lbfgs]), range: Some(|| Range::between(1, u32::MAX)),
        }

        /// Share of a sample that the next sample repeats
        overlap: optional Fraction {
            section: Section::Optimizers, placeholder: "F", unit: "share", identity: true, settles: true,
            optimizers: Some(&[Lbfgs]), because: "it needs --optimizer lbfgs and --sample",
            default: Some(|_| OVERLAP), range: Some(|| Range::above(Fraction::ZERO, HALF, "0.25")),
        }

        /// Momentum on the averaged steps of the replicas, such as 0.9
        outer_momentum: optional f32 {
            section: Section::Optimizers, placeholder: "X", identity: true, settles: true,
            optimizers: Some(&[Average]), default: Some(|_| 0.0),
            range: Some(|| Range::to_below(0.0, 1.0, "0.9")),
        }

        /// Decay of all weights, as a multiple of the learning rate
        weight_decay: optional f32 {
            section: Section::Optimizers, placeholder: "X", identity: true, settles: true,
            optimizers: Some(&[AdamW]), because: "only the optimizer adamw has it, and l2 is for the others",
            default: Some(|_| 0.01), range: Some(|| Range::not_negative(0.0, f32::INFINITY)),
        }

        /// Number of steps whose curvature is remembered
        memory: optional u32 {
            section: Section::Optimizers, placeholder: "M", identity: true, settles: true,
            optimizers: Some(WITH_MEMORY),
            because: "only the optimizers auto, averaged and lbfgs remember curvature",
            default: Some(|_| 10), range: Some(|| Range::between(1, MEMORY_MAX)),
        }

        /// Share of the training examples to set aside for validation. The saved model is then the one with
        /// the lowest loss on them, not the last
        validation_fraction: optional Fraction {
            section: Section::Judging, placeholder: "F", unit: "share",
            settles: true,
            rule: Some(|| {
                "0.1 with 1,000 or more training examples that are not cross-validated, otherwise 0".to_owned()
            }),
            range: Some(|| Range::to_below(Fraction::ZERO, Fraction::ONE, "0.1")),
            excludes: Some("validation"),
        }

        /// A file with validation examples, read like the data
        validation: optional PathBuf {
            section: Section::Judging, placeholder: "PATH",
        }

        /// Folds of the cross-validation that chooses network, L2 penalty and iterations of a small table before the
        /// training, as far as they are not given; 0 for none
        cross_validation: optional u32 {
            section: Section::Judging, placeholder: "FOLDS", unit: "folds", settles: true,
            rule: Some(|| {
                "5 for tables of up to 20,000 examples and small networks, with the optimizers auto and lbfgs; \
                 otherwise 0"
                    .to_owned()
            }),
            range: Some(|| Range::between(0, 20)),
        }

        /// Evaluate validation and test examples every N rounds
        evaluate_every: optional u64 {
            section: Section::Judging, placeholder: "N", unit: "rounds",
            // It decides which weights can be the best ones.
            identity: true,
            range: Some(|| Range::between(1, COUNT_MAX)),
            rule: Some(|| {
                "with every round that covers a tenth of the training examples, otherwise about every tenth of an epoch"
                    .to_owned()
            }),
        }

        /// Also evaluate all training examples then, unless the rounds measure them anyway
        evaluate_training: always bool {
            section: Section::Judging, switch: true, default: Some(|_| false),
        }

        /// Most rounds over the volunteers
        rounds: optional u64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "N",
            rule: Some(|| "no limit".to_owned()), range: Some(|| Range::between(1, COUNT_MAX)),
        }

        /// Most passes over the training examples
        epochs: optional f64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "X",
            rule: Some(|| "no limit".to_owned()), range: Some(|| Range::positive(0.0, f64::INFINITY, "10")),
        }

        /// Stop after this many seconds of training
        max_seconds: optional u64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "SECONDS", unit: "seconds",
            rule: Some(|| "no limit".to_owned()), range: Some(|| Range::between(1, COUNT_MAX)),
        }

        /// Stop at this mean loss over all training examples; implies --evaluate-training
        target_loss: optional f64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "X",
            range: Some(|| Range::positive(0.0, f64::INFINITY, "0.01")),
        }

        /// Stop when the gradient's Euclidean norm is at most this
        gradient_tolerance: optional f64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "X",
            range: Some(|| Range::positive(0.0, f64::INFINITY, "0.0001")),
        }

        /// Stop when the mean loss of five iterations is at most this share lower than that of the five
        /// before
        relative_decrease: optional f64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "X", unit: "share",
            range: Some(|| Range::to_below(0.0, 1.0, "0.001")),
        }

        /// Stop after N evaluations in a row without a lower validation loss, 0 for never
        patience: optional u64 {
            section: Section::Stopping, commands: &Command::ALL, placeholder: "N", unit: "evaluations",
            rule: Some(|| "10 with a validation part by default, otherwise never".to_owned()),
            range: Some(|| Range::between(0, COUNT_MAX)),
        }

        /// Address to serve the page on, or just a port; 0.0.0.0:8080 lets the network in; unix:/run/shoal/shoal.sock is a
        /// socket for a proxy on this machine
        listen: always Listen {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "ADDR",
            default: Some(|_| Listen::default()),
            help_of: &[(
                Command::Sweep,
                "Address to serve the page on, or just a port, so that volunteers can help [default: any free port of this \
                 machine]",
            )],
        }

        /// The page's address for visitors, such as https://shoal.example.org, where a proxy is in front: links then have
        /// it, and its host name is allowed
        public_url: optional PublicUrl {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "URL",
            rule: Some(|| "the addresses of this machine".to_owned()),
        }

        /// Another host name for the page, such as shoal.example.org; may be repeated
        allow_host: always Vec<HostName> {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "NAME",
            default: Some(|_| Vec::new()), rule: Some(|| "none".to_owned()),
        }

        /// Certificate chain for TLS, a PEM file; the page is then at https://
        tls_cert: optional PathBuf {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "FILE",
        }

        /// Private key of that certificate, a PEM file
        tls_key: optional PathBuf {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "FILE",
        }

        /// Serve TLS with a certificate made at the start, which browsers warn of
        tls_self_signed: always bool {
            section: Section::Volunteers, commands: &Command::ALL, switch: true, default: Some(|_| false),
        }

        /// Admit only visitors with a link that has this token; without TOKEN, one is drawn
        invite: optional Invite {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "TOKEN",
            rule: Some(|| "everybody is admitted".to_owned()),
        }

        /// A public address from which volunteers fetch the data, such as https://data.example.org/houses in front of the
        /// store: a shard is at its /shards/HASH. What it does not give as it should, the coordinator does. Everybody
        /// sees the address, so it holds no secrets
        shard_url: optional ShardUrl {
            section: Section::Volunteers, commands: &[Command::Train, Command::Demo, Command::Resume],
            placeholder: "URL",
            rule: Some(|| "this coordinator".to_owned()),
        }

        /// Who runs this training, for the people who are asked to help
        operator: optional String {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "TEXT",
        }

        /// What the training is for, for the people who are asked to help
        purpose: optional String {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "TEXT",
        }

        /// A proxy whose X-Forwarded headers are believed, such as 127.0.0.1 or 10.0.0.0/8; may be repeated
        trusted_proxy: always Vec<Cidr> {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "CIDR",
            default: Some(|_| Vec::new()), rule: Some(|| "none".to_owned()),
        }

        /// Let everybody read the figures under /metrics. Otherwise only this machine may, or whoever gives the
        /// token in the environment variable SHOAL_METRICS_TOKEN
        public_metrics: always bool {
            section: Section::Volunteers, commands: &Command::ALL, switch: true, default: Some(|_| false),
        }

        /// Cores of the coordinator's own worker, or auto: all, until the volunteers together are faster.
        /// With 0 it only takes stuck units
        local_workers: always LocalWorkers {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "auto|N", unit: "cores",
            default: Some(|_| LocalWorkers::Auto),
        }

        /// Number of volunteers to wait for before beginning
        wait_for: always u32 {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "VOLUNTEERS",
            unit: "volunteers",
            default: Some(|_| 0), rule: Some(|| "0; in the demo 1".to_owned()),
            help_of: &[(
                Command::Resume,
                "Number of volunteers to wait for; without this, the training goes on at once",
            )],
        }

        /// Begin without these volunteers after this time
        wait_seconds: optional u32 {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "SECONDS", unit: "seconds",
            rule: Some(|| "never; in the demo 15".to_owned()),
        }

        /// Which results are computed twice and compared: none; full, all; or sample:SHARE, all of a newcomer's
        /// first ten and at least this share of the others. It never changes the weights of honest volunteers
        audit: always Audits {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "none|sample:SHARE|full",
            default: Some(|_| Audits::default()),
        }

        /// When a wrong result is found out: rewind, which repeats the rounds since the sender's first result
        /// that nobody compared, or continue
        on_lie: always LieResponse {
            section: Section::Volunteers, commands: &Command::ALL, placeholder: "RESPONSE",
            default: Some(|_| LieResponse::Rewind),
        }

        /// NATS servers on which the coordinator, its gateways and its standbys hear each other, such as
        /// nats://host:4222; credentials come from the environment
        link: optional LinkUrl {
            section: Section::Processes, commands: &[Command::Train, Command::Resume], placeholder: "URL",
            rule: Some(|| "this process alone".to_owned()),
        }

        /// A store for the run's state and data that all these processes reach: a folder, s3://bucket/path,
        /// gs://bucket/path or az://container/path; credentials come from the environment
        store: optional StoreUrl {
            section: Section::Processes, commands: &[Command::Train, Command::Resume], placeholder: "URL",
            rule: Some(|| "none".to_owned()),
        }

        /// A directory for event files that TensorBoard reads, in a folder with the run's name
        tensorboard: optional PathBuf {
            section: Section::Results, commands: &Command::ALL, placeholder: "DIR",
            rule: Some(|| "none".to_owned()),
        }
    }
    elsewhere {
        /// The run directory to create
        out: PathBuf {
            section: Section::Results, placeholder: "DIR",
            rule: Some(|| "one in runs/, named after the data".to_owned()),
            not_in_cases: Some("all runs go into the sweep's own directory; name it with --out"),
            help_of: &[(
                Command::Sweep,
                "The directory of the sweep; its finished runs are kept [default: one in runs/, named after the data]",
            )],
        }
    }
    of_run {
        /// Seconds to go on trying when there is no room for the trained model anywhere
        save_seconds: always u32 {
            section: Section::Results, commands: &Command::ALL, placeholder: "SECONDS", unit: "seconds",
            default: Some(|_| 600),
        }

        /// BLAKE3 of the prepared data, in hexadecimal: a run is only resumed on the same data. A
        /// configuration file may contain it, so that one run's run.toml can configure another run, which
        /// computes its own
        data_fingerprint: optional String {
            section: Section::Record, commands: &[], settles: true,
            not_in_cases: Some("it is not a setting; leave it out"),
        }

        /// BLAKE3 of the weights that a run with --init begins with, in hexadecimal
        start_digest: optional String {
            section: Section::Record, commands: &[], identity: true, settles: true,
            not_in_cases: Some("it is not a setting; leave it out"),
        }
    }
    elsewhere {}
}
