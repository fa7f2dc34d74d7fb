//! `shoal serve`: a trained model over HTTP.

use indicatif::MultiProgress;
use tokio::runtime::Runtime;

use super::args::ServeArgs;
use super::output::say;
use super::{launch, stop};
use crate::predictor::Model;
use crate::server::{self, MetricsAccess, PredictConfig};

const STOPPING: &str = "Answering what was asked, then ending; press Ctrl-C again to end at once.";

pub(super) fn run(args: ServeArgs, bars: MultiProgress) -> anyhow::Result<()> {
    let model = Model::open_with(&args.run, args.which.weights())?;
    let config = PredictConfig {
        allowed_hosts: args.allow_host.iter().map(|name| name.as_str().to_owned()).collect(),
        metrics: MetricsAccess::from_environment(args.public_metrics),
    };
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let socket = server::bind(args.listen).await?;
        let urls = match socket.local_addr() {
            Some(bound) => {
                server::addresses(bound).iter().map(|address| format!("http://{address}")).collect()
            }
            None => vec![socket.place().to_string()],
        };
        say(format!("Serving {} on {}; Ctrl-C ends it.", args.run.display(), urls.join(" ")));
        let mut stop = stop::requested(bars, || Some(STOPPING));
        let shutdown = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        server::serve_model(socket, model, config, shutdown).await;
        anyhow::Ok(())
    })?;
    runtime.shutdown_timeout(launch::SHUTDOWN);
    Ok(())
}
