//! `shoal demo`: a training that needs nothing but the binary.

use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, SocketAddr};

use indicatif::MultiProgress;

use super::args::DemoArgs;
use super::launch::{self, Place, Show};
use super::misuse;
use crate::config::{ConfigFile, DataSource, Listen};

/// How long the demo waits for a browser tab before it begins by itself.
const WAIT_SECONDS: u32 = 15;

pub(super) fn run(args: DemoArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let DemoArgs { lan, settings, json } = args;
    let demo = ConfigFile {
        data: Some(DataSource::EmbeddedMnist),
        wait_for: Some(1),
        wait_seconds: Some(WAIT_SECONDS),
        ..ConfigFile::default()
    };
    let mut settings = settings.0.or(demo);
    let out = settings.out.take();
    let mut config = settings.resolve()?;
    if lan {
        // All addresses, on the given port.
        let Listen::Tcp(address) = config.listen else {
            return Err(misuse(
                "--lan: no other machine can connect to a Unix socket; leave out --lan, or give a port with --listen"
                    .to_owned(),
            ));
        };
        config.listen = Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())));
    }
    let place = out.map_or_else(|| Place::Numbered("demo".to_owned()), Place::Exactly);
    let keep_serving = io::stdout().is_terminal() && io::stderr().is_terminal();
    let show = Show { bars, json, invite_phones: lan, keep_serving };
    launch::begin(config, place, false, show)
}
