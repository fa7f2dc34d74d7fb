//! `shoal train`.

use indicatif::MultiProgress;

use super::args::TrainArgs;
use super::launch::{self, Place, Show};
use crate::config::ConfigFile;

pub(super) fn run(args: TrainArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let TrainArgs { config, data, training, judging, stopping, serving, output } = args;
    let file = config.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
    let judging = judging.config().or(stopping.config());
    let flags = data.config().or(training.config()).or(judging).or(serving.config());
    let mut config = flags.or(file);
    let out = output.out.or(config.out.take());
    let config = config.resolve()?;
    let place = out.map_or_else(|| Place::Numbered(config.data.name()), Place::Exactly);
    let show = Show { bars, json: output.json, invite_phones: false, keep_serving: false };
    launch::begin(config, place, show)
}
