//! What a new run gets where nobody says otherwise, so that its model is good on examples that it has not
//! seen.
//!
//! - A small table is cross-validated ([`cross_validation`]): network, L2 penalty and number of iterations
//!   are chosen by it, and L-BFGS then trains on all training examples.
//! - With more data, or with settings of other methods, a part of the training examples is set aside for
//!   validation. The best weights on it are kept, and the training stops when it no longer improves.
//! - Weights are kept small by an L2 penalty that is weaker the more examples there are.
//!
//! Each rule looks at data and settings alone, fills in what is left open, and leaves it in `run.toml`. A run
//! that is resumed has everything there already.

use anyhow::Result;
use model::{Network, NetworkSpec, Task};

use super::cross_validation::{self, Choice, Folds, Trial};
use super::prepare::take_shape;
use crate::config::{ClassWeights, ConfigError, Fraction, OptimizerKind, RunConfig, declared};
use crate::data::Prepared;
use crate::report::words::{counted, loss};

/// Training examples from which on a part of them is set aside for validation: a tenth of fewer says little.
const VALIDATION_EXAMPLES: usize = 1000;
/// The share set aside.
const VALIDATION_SHARE: Fraction = match Fraction::new(0.1) {
    Some(share) => share,
    None => panic!("not a share"),
};
/// Evaluations without a lower validation loss after which a training stops, with a validation part by rule.
const PATIENCE: u64 = 10;
/// Examples of the largest table that is cross-validated.
const SMALL_EXAMPLES_MAX: usize = 20_000;
/// Examples in a fold, at least.
const FOLD_EXAMPLES: usize = 4;
/// L2 penalties that cross-validation tries, as multiples of 1 / examples, the strongest first. One times it
/// is the penalty of a standard normal prior on each weight (and of scikit-learn's `LogisticRegression`).
const PENALTIES: [f32; 5] = [64.0, 16.0, 4.0, 1.0, 0.25];
/// The penalty of a run that is not cross-validated, as such a multiple, and at most.
const PENALTY: (f32, f32) = (4.0, 0.01);
/// Narrowest and widest hidden layer by rule.
const WIDTHS: (usize, usize) = (16, 128);

/// Whether the rules have not been asked yet. A run that is resumed has their answers in `run.toml`, beside
/// the fingerprint of its data.
pub(super) fn is_new(config: &RunConfig) -> bool {
    config.data_fingerprint.is_none()
}

/// Whether the run may be cross-validated: whether it is a small table, and something is left to choose, and
/// nothing says that another method is wanted. Whether the networks are small enough is another question.
pub(super) fn may_cross_validate(config: &RunConfig, examples: usize, is_table: bool) -> bool {
    let folds = folds(config) as usize;
    let has_own_method = config.replicas.is_some()
        || config.local_steps.is_some()
        || config.learning_rate.is_some()
        || config.schedule.is_some()
        || config.sample.is_some();
    let validates = config.validation.is_some()
        || config.validation_fraction.is_some_and(|share| share != Fraction::ZERO)
        || config.patience.is_some();
    is_table
        && folds >= 2
        && (folds * FOLD_EXAMPLES..=SMALL_EXAMPLES_MAX).contains(&examples)
        && chooses(config)
        && matches!(config.optimizer, OptimizerKind::Auto | OptimizerKind::Lbfgs)
        && !has_own_method
        && !validates
}

/// Whether anything is left to choose.
fn chooses(config: &RunConfig) -> bool {
    config.left_open.network || config.left_open.l2 || config.left_open.iterations
}

fn folds(config: &RunConfig) -> u32 {
    config.cross_validation.unwrap_or(cross_validation::FOLDS)
}

/// Refuses a cross-validation that was asked for and cannot be. Where everything is given, as in a
/// `run.toml`, there is none to do.
pub(super) fn refuse_cross_validation(config: &mut RunConfig) -> Result<()> {
    if chooses(config) && config.cross_validation.is_some_and(|folds| folds > 0) {
        let problem = "it chooses network, L2 penalty and iterations of L-BFGS for a table of up to 20,000 examples and \
                       a small network; leave it out, or choose the optimizer auto or lbfgs and none of the settings \
                       of other methods"
            .to_owned();
        return Err(ConfigError::Setting { setting: "cross-validation", problem }.into());
    }
    config.cross_validation.get_or_insert(0);
    Ok(())
}

/// Sets a part aside for validation where there is enough, or where the training is to stop by it.
pub(super) fn settle_validation(config: &mut RunConfig, examples: usize) {
    if config.validation.is_none() && config.validation_fraction.is_none() {
        let stops_by_it = config.patience.is_some_and(|patience| patience > 0);
        let share =
            if examples >= VALIDATION_EXAMPLES || stops_by_it { VALIDATION_SHARE } else { Fraction::ZERO };
        config.validation_fraction = Some(share);
        if share != Fraction::ZERO {
            config.patience.get_or_insert(PATIENCE);
        }
    }
}

/// The candidates of a cross-validation.
pub(super) struct Candidates {
    networks: Vec<Network>,
    /// In words, and the penalty, of each.
    names: Vec<(String, f32)>,
    folds: Folds,
}

impl Candidates {
    /// All that are to be tried; `None` if that is too much to compute.
    ///
    /// # Errors
    /// When the network does not fit the data.
    pub(super) fn of(config: &RunConfig, data: &Prepared) -> Result<Option<Self>> {
        let mut spec = config.model.clone();
        take_shape(&mut spec, &data.preparation)?;
        weigh_classes(&mut spec, config, data)?;
        let networks = match config.left_open.network {
            true => {
                let linear = NetworkSpec { layers: Vec::new(), ..spec.clone() };
                vec![("linear".to_owned(), linear), by_rule(&spec, data)]
            }
            false => vec![("the network".to_owned(), spec)],
        };
        let examples = data.train.len();
        let penalties = |own: f32| match config.left_open.l2 {
            true => PENALTIES.map(|multiple| multiple / examples as f32).to_vec(),
            false => vec![own],
        };
        let (mut all, mut names) = (Vec::new(), Vec::new());
        for (name, spec) in networks {
            for l2 in penalties(spec.l2) {
                all.push(network(&NetworkSpec { l2, ..spec.clone() }, data)?);
                names.push((name.clone(), l2));
            }
        }
        let folds = cross_validation::affordable_folds(&all, examples, folds(config));
        Ok(folds.map(|folds| Self { networks: all, names, folds }))
    }

    /// Tries them and puts the best into the settings. Says what was chosen.
    pub(super) fn choose(self, config: &mut RunConfig, data: &Prepared) -> Option<String> {
        let trial = Trial {
            candidates: &self.networks,
            folds: self.folds,
            arithmetic: config.arithmetic,
            seed: config.seed,
            memory: config.memory.or_else(|| declared::memory.default_for(config.optimizer)).unwrap_or(1)
                as usize,
        };
        let train = data.train.in_memory()?;
        let Choice { candidate, iterations, loss: lowest } =
            cross_validation::choose(&trial, train, &data.preprocessing)?;
        config.optimizer = OptimizerKind::Lbfgs;
        config.cross_validation = Some(self.folds.all);
        config.validation_fraction = Some(Fraction::ZERO);
        config.model = self.networks[candidate].spec().clone();
        let kept = match config.left_open.iterations {
            true => {
                config.iterations = iterations;
                String::new()
            }
            false => format!(
                "; it makes {}, as --iterations says",
                counted(config.iterations as usize, "iteration")
            ),
        };
        let (name, l2) = &self.names[candidate];
        Some(format!(
            "Cross-validation in {}{} chose {name} with an L2 penalty of {} and {} of L-BFGS: a mean loss of {} on \
             examples not trained on (--cross-validation 0 does without){kept}",
            match self.folds {
                Folds { all, tried } if tried < all => format!("{tried} of "),
                _ => String::new(),
            },
            counted(self.folds.all as usize, "fold"),
            loss(f64::from(*l2)),
            counted(iterations as usize, "iteration"),
            loss(lowest),
        ))
    }
}

/// Fills in the network and its penalty by rule, for a run that is not cross-validated.
///
/// # Errors
/// When class weights are asked for that there are not.
pub(super) fn settle_network(config: &mut RunConfig, data: &Prepared, is_table: bool) -> Result<()> {
    let mut spec = config.model.clone();
    weigh_classes(&mut spec, config, data)?;
    if config.left_open.network && is_table {
        spec = by_rule(&spec, data).1;
    }
    // AdamW lets weights decay by itself.
    if config.left_open.l2 && config.optimizer != OptimizerKind::AdamW {
        let (multiple, most) = PENALTY;
        spec.l2 = (multiple / data.train.len() as f32).min(most);
    }
    config.model = spec;
    Ok(())
}

/// One hidden layer, so wide that there are about as many parameters as examples: a power of two.
fn by_rule(spec: &NetworkSpec, data: &Prepared) -> (String, NetworkSpec) {
    let around = data.preprocessing.offset.len() + 1 + data.task().outputs() as usize;
    let (narrowest, widest) = WIDTHS;
    let mut width = narrowest;
    while 2 * width <= widest && 2 * width * around <= data.train.len() {
        width *= 2;
    }
    let name = format!("mlp:{width}");
    let by_rule = NetworkSpec::from_shorthand(&name).expect("a width makes a shorthand");
    (name, NetworkSpec { layers: by_rule.layers, ..spec.clone() })
}

fn weigh_classes(spec: &mut NetworkSpec, config: &RunConfig, data: &Prepared) -> Result<()> {
    if config.class_weights != Some(ClassWeights::Balanced) {
        return Ok(());
    }
    let refuse = |problem: &str| {
        Err(ConfigError::Setting { setting: "class-weights", problem: problem.to_owned() }.into())
    };
    let counts = match data.task() {
        Task::Classes(classes) => data.train.class_counts(classes as usize),
        Task::Numbers(_) => None,
    };
    let Some(counts) = counts else {
        return refuse("numbers have no classes to weigh; leave it out, or set task to classes");
    };
    if !spec.class_weights.is_empty() {
        return refuse("the network has class weights of its own; give one or the other");
    }
    let present = counts.iter().filter(|examples| **examples > 0).count();
    let all = data.train.len();
    let weight = |examples: &u64| all as f32 / (present as f32 * (*examples).max(1) as f32);
    spec.class_weights = counts.iter().map(weight).collect();
    Ok(())
}

fn network(spec: &NetworkSpec, data: &Prepared) -> Result<Network> {
    Network::new(spec, data.preprocessing.offset.len(), data.task())
        .map_err(|error| ConfigError::Setting { setting: "model", problem: error.to_string() }.into())
}
