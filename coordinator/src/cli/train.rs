//! `shoal train`.

use indicatif::MultiProgress;

use super::args::TrainArgs;
use super::inspect_data;
use super::launch::{self, Place, Show};
use crate::config::ConfigFile;

pub(super) fn run(args: TrainArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let TrainArgs { dry_run, standby, config, settings, json } = args;
    let file = config.as_deref().map(ConfigFile::read).transpose()?.unwrap_or_default();
    let mut settings = settings.0.or(file);
    let out = settings.out.take();
    let config = settings.resolve()?;
    if dry_run {
        return inspect_data::dry_run(config, json);
    }
    launch::require_link(standby, &config)?;
    let place = out.map_or_else(|| Place::Numbered(config.data.name()), Place::Exactly);
    launch::begin(config, place, standby, Show { bars, json, invite_phones: false, keep_serving: false })
}
