//! Reads the data of a run and makes its network: the one way from settings to what is trained.

use std::sync::Arc;

use anyhow::{Result, bail};
use model::{LossSpec, Network, NetworkSpec};

use super::cut;
use super::defaults::{self, Candidates};
use super::outside::Outside;
use crate::config::{ConfigError, DataSource, Fraction, RunConfig, STANDARD_INPUT, declared};
use crate::data::{self, Dataset, HeldBack, Loaded, Preparation, Prepared, ReadOptions};
use crate::start::{Source, Start};

/// What a run trains, and with which settings.
pub struct Material {
    /// The settings, complete: the ones left open are settled by the data and the network.
    pub config: RunConfig,
    /// The data.
    pub data: Arc<Prepared>,
    /// The network.
    pub network: Network,
    /// What a person should know of how the settings came about.
    pub notes: Vec<String>,
    /// The weights to begin with, where they come from elsewhere; otherwise the seed decides them.
    pub start: Option<Arc<[f32]>>,
}

impl Material {
    /// Reads the weights that `--init` names, and records their digest. Returns sentences for the user. A run
    /// that goes on from a checkpoint does not need them.
    ///
    /// # Errors
    /// When they cannot be read, do not fit, or are not those that the run was started with.
    pub fn read_start(&mut self) -> Result<Vec<String>> {
        let Some(path) = &self.config.init else { return Ok(Vec::new()) };
        let (classes, seed) = (self.data.class_names(), self.config.seed);
        let Start { weights, notes } = Source::read(path)?.weights(&self.network, classes, seed)?;
        let digest = blake3::Hash::from_bytes(model::weights_digest(&weights)).to_hex().to_string();
        if self.config.start_digest.as_ref().is_some_and(|started_with| *started_with != digest) {
            bail!(
                "{} does not have the weights that this run was started with; put them back, or start a new run",
                path.display()
            );
        }
        self.config.start_digest = Some(digest);
        self.start = Some(weights.into());
        Ok(notes)
    }
}

/// Reads the data that `config` names, makes the network for it, and settles what only the two can tell.
///
/// # Errors When the data cannot be read or are not the ones the run was started with, or when a setting does
/// not fit them.
pub fn prepare(mut config: RunConfig) -> Result<Material> {
    let mut sets = Sets::read(&mut config)?;
    let outside = sets.outside.take();
    let mut material = sets.prepare(config)?;
    if let Some(Outside { cabinet, scratch, note }) = outside {
        // The columns are given back to the disk as soon as they are cut.
        drop(scratch);
        let unit = cut::unit_of_run(&material.config, material.data.train.len());
        let data = Arc::unwrap_or_clone(material.data);
        material.data = Arc::new(data::cut_into(data, unit, &cabinet)?);
        material.notes.extend(note);
    }
    Ok(material)
}

/// The examples of a run as they were read.
pub struct Sets {
    /// The examples to train on; parts that are held back are still among them.
    pub train: Dataset,
    validation: HeldBack,
    test: HeldBack,
    targets_as_they_are: bool,
    /// Where the examples go, if not into memory.
    outside: Option<Outside>,
}

impl Sets {
    /// Reads the data that `config` names, and settles the share to test with.
    ///
    /// # Errors
    /// When the data cannot be read, or a setting does not fit them.
    pub fn read(config: &mut RunConfig) -> Result<Self> {
        read(config)
    }

    /// Examples to test with that are no part of the others.
    pub fn own_test_examples(&self) -> usize {
        self.test.own.as_ref().map_or(0, Dataset::len)
    }

    /// Splits and prepares the examples, makes the network, and settles what only the two can tell.
    ///
    /// # Errors
    /// When the data are not the ones the run was started with, or a setting does not fit them.
    pub fn prepare(self, mut config: RunConfig) -> Result<Material> {
        let is_new = defaults::is_new(&config);
        let is_table = self.train.pixels().is_none() && config.model.vocabulary().is_none();
        let (data, candidates) = split(self, &mut config, is_new, is_table)?;
        let mut notes = Vec::new();
        match candidates {
            Some(candidates) => notes.extend(candidates.choose(&mut config, &data)),
            None if is_new => defaults::settle_network(&mut config, &data, is_table)?,
            None => {}
        }
        let network = network(&mut config, &data)?;
        Ok(Material { config, data: Arc::new(data), network, notes, start: None })
    }
}

fn read(config: &mut RunConfig) -> Result<Sets> {
    if config.data_fingerprint.is_some() && config.data == DataSource::Path(STANDARD_INPUT.into()) {
        bail!(
            "the run was started with data from standard input, which is gone; start a new run with a file"
        );
    }
    let outside = Outside::of(config)?;
    let scratch = outside.as_ref().map(|outside| outside.scratch.clone());
    let options = ReadOptions { scratch, ..config.read_options() };
    let Loaded { train, test: own_test } = load(&config.data, &options)?;
    let test = match &config.test {
        Some(path) => Some(data::load_test(path, &train, &options)?),
        None => own_test,
    };
    let validation = match &config.validation {
        Some(path) => Some(data::load_test(path, &train, &options)?),
        None => None,
    };
    let (train, validation, test) = match config.model.vocabulary() {
        Some(vocabulary) => {
            let into_integers = |set: Dataset| set.into_integers(vocabulary);
            (into_integers(train), validation.map(into_integers), test.map(into_integers))
        }
        None => (train, validation, test),
    };
    let by_default = || match test {
        Some(_) => None,
        None => declared::test_fraction.default_for(config.optimizer),
    };
    let test_fraction = config.test_fraction.or_else(by_default).unwrap_or(Fraction::ZERO);
    config.test_fraction = Some(test_fraction);
    let validation_fraction = config.validation_fraction.map_or(0.0, Fraction::get);
    // Answers of this loss are shares already.
    let as_they_are = config.model.loss == Some(LossSpec::BinaryCrossEntropy);
    let sets = [Some(&train), validation.as_ref(), test.as_ref()];
    if as_they_are && !sets.into_iter().flatten().all(Dataset::has_shares) {
        return Err(refuse(
            "model",
            "binary cross-entropy needs numbers from 0 to 1 as answers; leave the loss out, or say --task \
             numbers if the label is 0 or 1",
        ));
    }
    let validation = HeldBack { own: validation, fraction: validation_fraction };
    let test = HeldBack { own: test, fraction: test_fraction.get() };
    Ok(Sets { train, validation, test, targets_as_they_are: as_they_are, outside })
}

/// Splits the examples, and says what to choose from by cross-validation if that is to be done.
fn split(
    sets: Sets,
    config: &mut RunConfig,
    is_new: bool,
    is_table: bool,
) -> Result<(Prepared, Option<Candidates>)> {
    let Sets { mut train, mut validation, mut test, targets_as_they_are, outside: _ } = sets;
    let examples = train.len() - (train.len() as f64 * test.fraction) as usize;
    let mut tried = None;
    if is_new && defaults::may_cross_validate(config, examples, is_table) {
        // A table that is small enough for that is small enough for memory.
        train = train.into_memory()?;
        test.own = test.own.map(Dataset::into_memory).transpose()?;
        validation.own = validation.own.map(Dataset::into_memory).transpose()?;
        // Only a small table is prepared twice, where its network turns out to be large.
        let (train, none, test) = (train.clone(), HeldBack::default(), test.clone());
        let whole = data::prepare_sets(train, none, test, config.seed, targets_as_they_are)?;
        tried = Candidates::of(config, &whole)?.map(|candidates| (whole, candidates));
    }
    let (prepared, candidates) = match tried {
        Some((whole, candidates)) => (whole, Some(candidates)),
        None => {
            if is_new {
                defaults::refuse_cross_validation(config)?;
                defaults::settle_validation(config, examples);
                validation.fraction = config.validation_fraction.map_or(0.0, Fraction::get);
            }
            (data::prepare_sets(train, validation, test, config.seed, targets_as_they_are)?, None)
        }
    };
    let fingerprint = blake3::Hash::from_bytes(prepared.fingerprint).to_hex().to_string();
    if config.data_fingerprint.as_ref().is_some_and(|started_with| *started_with != fingerprint) {
        bail!(
            "{}, read as run.toml says, is not the data that this run was started with; put both back as they \
             were, or start a new run",
            config.data
        );
    }
    config.data_fingerprint = Some(fingerprint);
    if config.target_accuracy.is_some() && (prepared.test.is_none() || prepared.class_names().is_none()) {
        return Err(refuse(
            "target-accuracy",
            "there is no test accuracy to reach, which needs classes and test examples; leave it out",
        ));
    }
    Ok((prepared, candidates))
}

/// Reads a source of training examples, and its test examples where it has some of its own.
///
/// # Errors
/// When it cannot be read as `options` say.
pub fn load(source: &DataSource, options: &ReadOptions) -> Result<Loaded> {
    match source {
        DataSource::EmbeddedMnist if has_flags(options) => Err(refuse(
            "data",
            "the embedded MNIST needs no flags about reading; leave out --label, --task, --header and the like",
        )),
        DataSource::EmbeddedMnist => {
            let (train, test) = data::mnist()?;
            Ok(Loaded { train, test: Some(test) })
        }
        DataSource::Path(path) => Ok(data::load(path, options)?),
    }
}

fn has_flags(options: &ReadOptions) -> bool {
    let (keep_all, scratch) = (options.keep_all, options.scratch.clone());
    let plain = ReadOptions { keep_all, scratch, ..ReadOptions::default() };
    *options != plain
}

/// Gives a network that sees images the shape that the files give them.
///
/// # Errors
/// When the data have no images, or images of another shape than the network's input.
pub fn take_shape(spec: &mut NetworkSpec, preparation: &Preparation) -> Result<()> {
    if !spec.sees_images() {
        return Ok(());
    }
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let found = preparation.pixels.as_ref().map(|pixels| match pixels.shape[..] {
        [height, width] => Some([1, size(height), size(width)]),
        [channels, height, width] => Some([size(channels), size(height), size(width)]),
        _ => None,
    });
    match (spec.input, found) {
        (None, None) => Err(refuse(
            "model",
            &format!(
                "the network has a layer that needs an image, but the data are a table of {} columns; write input = \
                 [channels, height, width] in a network's file if they are pixels, or give another network such as \
                 mlp:128",
                preparation.columns.len()
            ),
        )),
        (None, Some(None)) => Err(refuse(
            "model",
            "the network has a layer that needs an image, but the examples have neither two nor three dimensions; give \
             another network such as mlp:128",
        )),
        (None, Some(shape)) => {
            spec.input = shape;
            Ok(())
        }
        (Some(input), Some(Some(shape))) if input != shape => Err(refuse(
            "model",
            &format!(
                "the network's input is {}, but the images are {}; leave input out, or bring the images to its size",
                by_sides(input),
                by_sides(shape)
            ),
        )),
        (Some(_), _) => Ok(()),
    }
}

/// `3x32x32`: channels, height and width.
fn by_sides([channels, height, width]: [u32; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

fn network(config: &mut RunConfig, data: &Prepared) -> Result<Network> {
    take_shape(&mut config.model, &data.preparation)?;
    let network = Network::new(&config.model, data.preparation.inputs(), data.task())
        .and_then(|network| {
            network.check_minibatch(config.minibatch as usize)?;
            network.check_normalization(config.minibatch as usize)?;
            Ok(network)
        })
        .map_err(|error| refuse("model", &error.to_string()))?;
    config.settle(data.train.len(), &network)?;
    Ok(network)
}

fn refuse(setting: &'static str, problem: &str) -> anyhow::Error {
    ConfigError::Setting { setting, problem: problem.to_owned() }.into()
}
