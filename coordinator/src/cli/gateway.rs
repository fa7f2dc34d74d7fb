//! `shoal gateway`.

use indicatif::MultiProgress;
use tokio::runtime::Runtime;

use super::args::GatewayArgs;
use super::output::say;
use super::{launch, stop};
use crate::scale::{self, GatewayConfig, GatewayEnd};
use crate::server::{self, Tls};

const STOPPING: &str = "Giving back the work and stopping; press Ctrl-C again to stop at once.";
/// Characters of a gateway's name.
const NAME_CHARACTERS_MAX: usize = 64;

pub(super) fn run(args: GatewayArgs, bars: MultiProgress) -> anyhow::Result<()> {
    args.listen.suits(args.public_url.as_ref(), args.tls_cert.is_some())?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::from_files(cert, key)?),
        _ => None,
    };
    let name =
        args.name.or_else(|| sysinfo::System::host_name().ok()).unwrap_or_else(|| "gateway".to_owned());
    let config = GatewayConfig {
        link: args.link,
        store: args.store,
        name: name.chars().take(NAME_CHARACTERS_MAX).collect(),
        public_url: args.public_url,
        allow_host: args.allow_host,
        trusted_proxy: args.trusted_proxy,
        public_metrics: args.public_metrics,
        shard_url: args.shard_url,
        cores: args.local_workers,
    };
    let runtime = Runtime::new()?;
    let end = runtime.block_on(async {
        let socket = server::bind(args.listen).await?;
        let stop = stop::requested(bars, || Some(STOPPING));
        scale::serve(config, socket, tls, say, stop).await
    });
    runtime.shutdown_timeout(launch::SHUTDOWN);
    match end? {
        GatewayEnd::Finished => say("The training has ended."),
        GatewayEnd::Stopped => say("Stopped; other gateways compute the work that it gave back."),
    }
    Ok(())
}
