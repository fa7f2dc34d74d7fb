//! The hub worker: feeds events of the browser to the `worker` crate's [`Hub`] and carries out its outputs.
//!
//! Everything arrives as an event of this worker's loop, never within a call made from here, so
//! one cell holds the whole state and each event borrows it once.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Math};
use model::Arithmetic;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use worker::{Hub, HubInput, HubOutput, HubStatus, Mirror, Settings};

use crate::page::{FromPage, ToPage};
use crate::pool::Pool;
use crate::reports::{Report, Reports};
use crate::scope::{self, Timer};
use crate::socket::{Connections, SocketNews};
use crate::{agent, fetch};

/// Milliseconds between two looks at messages that wait to be sent.
const SENDING_MS: u64 = 500;

/// Starts the hub in this Web Worker. `arithmetic` names this build. `early` holds the page's messages
/// (`FromPage`) that arrived before this call. Lending begins with the page's `start`. From then on the page
/// gets reports (`ToPage`), at most five times a second.
#[wasm_bindgen]
pub fn start_hub(arithmetic: &str, early: Array) -> Result<(), JsError> {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        ToPage::Failed { text: &panic.to_string() }.post();
    }));
    let arithmetic = arithmetic.parse().map_err(|_| JsError::new("there is no such arithmetic"))?;
    let worker = Rc::new(HubWorker { arithmetic, lending: RefCell::new(None) });
    scope::on_message({
        let worker = worker.clone();
        move |data| worker.page_says(data)
    });
    early.iter().for_each(|data| worker.page_says(data));
    Ok(())
}

/// This Web Worker: idle until the page says start.
struct HubWorker {
    arithmetic: Arithmetic,
    lending: RefCell<Option<Lending>>,
}

/// A hub and what it owns in this browser.
struct Lending {
    hub: Hub,
    connections: Connections,
    /// The address that has the shards besides the coordinator, and when it is asked.
    mirror: Option<(String, Mirror)>,
    pool: Pool,
    wake: Timer,
    reports: Reports<(HubStatus, u32)>,
    report_timer: Timer,
}

impl HubWorker {
    /// Obeys the page. Ignores everything that is not one of its messages.
    fn page_says(self: &Rc<Self>, data: JsValue) {
        match FromPage::read(data) {
            Some(FromPage::Start { cores, fused_capable, memory_bytes, effort, token, mirror }) => {
                let mirror = Some(mirror).filter(|mirror| !mirror.is_empty());
                self.start(cores, fused_capable, memory_bytes, effort, &token, mirror);
            }
            Some(FromPage::Effort { effort }) => {
                if let Some(lending) = self.lending.borrow_mut().as_mut() {
                    lending.pool.set_effort(effort);
                }
            }
            Some(FromPage::Cores { cores }) => self.tell(HubInput::Cores(cores)),
            Some(FromPage::Retry) => self.tell(HubInput::Retry),
            Some(FromPage::Stop) => self.stop(),
            None => {}
        }
    }

    fn start(
        self: &Rc<Self>,
        cores: u16,
        fused_capable: bool,
        memory_bytes: u64,
        effort: u8,
        token: &str,
        mirror: Option<String>,
    ) {
        if self.lending.borrow().is_some() {
            return;
        }
        let agent = agent::name(&scope::user_agent());
        // Any number that differs between volunteers will do. It spreads their reconnections.
        let seed = (Math::random() * (1u64 << 53) as f64) as u64;
        let mut settings = Settings::new(self.arithmetic, cores, agent, seed);
        settings.fused_capable |= fused_capable;
        settings.memory_bytes = memory_bytes;
        settings.follows = false;
        settings.token = u128::from_str_radix(token, 16).unwrap_or(0).to_be_bytes();

        let (socket, computes, wake, report) = (self.clone(), self.clone(), self.clone(), self.clone());
        let lending = Lending {
            hub: Hub::new(settings),
            connections: Connections::new(move |news| socket.socket_says(news)),
            mirror: mirror.map(|url| (url, Mirror::default())),
            pool: Pool::new(self.arithmetic, effort, move |input| computes.tell(input)),
            wake: Timer::new(move || wake.tell(HubInput::Tick)),
            reports: Reports::default(),
            report_timer: Timer::new(move || report.report()),
        };
        self.lending.replace(Some(lending));
        self.carry_out();
    }

    /// Says goodbye and ends this Web Worker.
    fn stop(&self) {
        if let Some(mut lending) = self.lending.take() {
            lending.connections.close();
        }
        scope::close();
    }

    fn socket_says(self: &Rc<Self>, news: SocketNews) {
        match news {
            SocketNews::Opened => self.tell(HubInput::Connected),
            SocketNews::Message(bytes) => self.tell(HubInput::Frame(bytes.into())),
            SocketNews::Closed => self.tell(HubInput::Disconnected),
        }
    }

    /// Tells the hub of an event, and carries out its outputs.
    fn tell(self: &Rc<Self>, input: HubInput) {
        if let Some(lending) = self.lending.borrow_mut().as_mut() {
            lending.hub.handle(scope::now_ms(), input);
        }
        self.carry_out();
    }

    fn carry_out(self: &Rc<Self>) {
        if let Some(lending) = self.lending.borrow_mut().as_mut() {
            while let Some(output) = lending.hub.poll_output() {
                // After a failure the hub waits before the next try or goes on with one compute worker less,
                // so this ends.
                if let Some(failure) = self.carry_out_one(lending, output) {
                    lending.hub.handle(scope::now_ms(), failure);
                }
            }
        }
        self.report();
    }

    /// Carries out one output. Returns its failure to begin as the hub's next input.
    fn carry_out_one(self: &Rc<Self>, lending: &mut Lending, output: HubOutput) -> Option<HubInput> {
        match output {
            HubOutput::Connect => lending.connections.open().is_err().then_some(HubInput::Disconnected),
            HubOutput::Close => {
                lending.connections.close();
                None
            }
            HubOutput::Send(bytes) => {
                lending.connections.send(&bytes);
                None
            }
            HubOutput::SendVector(chunks) => {
                chunks.for_each(|bytes| lending.connections.send(&bytes));
                None
            }
            HubOutput::Fetch { fetch, shard, path, fresh } => {
                let at_mirror = lending.mirror.as_mut().and_then(|(url, mirror)| {
                    mirror.is_asked(scope::now_ms(), fresh).then(|| format!("{url}{path}"))
                });
                let worker = self.clone();
                spawn_local(async move {
                    let bytes = worker.fetch(at_mirror, &path, shard.bytes as usize, fresh).await;
                    worker.tell(match bytes {
                        Ok(bytes) => HubInput::ShardArrived { fetch, bytes },
                        Err(_) => HubInput::ShardFailed { fetch },
                    });
                });
                None
            }
            HubOutput::StartCompute { compute } => {
                lending.pool.start(compute).is_err().then_some(HubInput::ComputeFailed { compute })
            }
            HubOutput::StopCompute { compute } => {
                lending.pool.stop(compute);
                None
            }
            HubOutput::Compute { compute, message } => {
                lending.pool.send(compute, message).is_err().then_some(HubInput::ComputeFailed { compute })
            }
            HubOutput::Wake { at_ms } => {
                lending.wake.set(at_ms.saturating_sub(scope::now_ms()));
                None
            }
        }
    }

    /// Downloads a shard of that many bytes: from its address at the mirror if there is one, or else from the
    /// coordinator.
    async fn fetch(
        &self,
        at_mirror: Option<String>,
        path: &str,
        shard_bytes: usize,
        fresh: bool,
    ) -> Result<Vec<u8>, JsValue> {
        if let Some(url) = at_mirror {
            if let Ok(bytes) = fetch::from_mirror(&url, shard_bytes).await {
                return Ok(bytes);
            }
            if let Some(Lending { mirror: Some((_, mirror)), .. }) = self.lending.borrow_mut().as_mut() {
                mirror.failed(scope::now_ms());
            }
        }
        fetch::from_coordinator(path, shard_bytes, fresh).await
    }

    /// Reports the status to the page, now or as soon as the next report is due.
    fn report(&self) {
        if let Some(lending) = self.lending.borrow_mut().as_mut() {
            let unsent = lending.connections.unsent_bytes();
            match lending.reports.due(scope::now_ms(), (lending.hub.status(), unsent)) {
                Report::Now((status, unsent_bytes)) => {
                    ToPage::Status { status, unsent_bytes: *unsent_bytes }.post();
                    if *unsent_bytes > 0 {
                        // No event tells when they are gone.
                        lending.report_timer.set(SENDING_MS);
                    }
                }
                Report::Later(wait_ms) => lending.report_timer.set(wait_ms),
                Report::Known if unsent > 0 => lending.report_timer.set(SENDING_MS),
                Report::Known => {}
            }
        }
    }
}
