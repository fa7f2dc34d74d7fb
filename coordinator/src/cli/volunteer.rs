//! `shoal volunteer`.

use super::args::VolunteerArgs;

pub(super) fn run(args: VolunteerArgs) -> anyhow::Result<()> {
    let VolunteerArgs { url, cores } = args;
    let _ = cores;
    Err(super::misuse(format!("{url}: not there yet")))
}
