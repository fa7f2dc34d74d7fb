//! The compute workers of a hub: nested Web Workers that share the hub's compiled module.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Object, Reflect, Uint8Array};
use model::Arithmetic;
use wasm_bindgen::prelude::*;
use web_sys::{Event, MessageEvent, Worker, WorkerOptions, WorkerType};
use worker::{FromCompute, HubInput, ToCompute};

use crate::compute::BEGUN;
use crate::listener::Listener;
use crate::page::ToPage;
use crate::parcel;

/// Posted by `web/compute.js` once its script and the worker's have arrived.
const ARRIVED: &str = "arrived";

/// Nested Web Workers by their number.
pub(crate) struct Pool {
    script: String,
    /// The share of its time that each works, in percent.
    effort: u8,
    workers: BTreeMap<u32, Compute>,
    tell: Rc<dyn Fn(HubInput)>,
}

struct Compute {
    worker: Worker,
    _listeners: [Listener; 3],
}

impl Pool {
    /// A pool without workers. `tell` gets their messages and their failures.
    pub(crate) fn new(arithmetic: Arithmetic, effort: u8, tell: impl Fn(HubInput) + 'static) -> Pool {
        let script = format!("compute.js?arithmetic={arithmetic}");
        Pool { script, effort, workers: BTreeMap::new(), tell: Rc::new(tell) }
    }

    /// Starts worker number `compute`. A worker that cannot run often fails only later.
    pub(crate) fn start(&mut self, compute: u32) -> Result<(), JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(&format!("shoal compute {compute}"));
        let worker = Worker::new_with_options(&self.script, &options)?;

        let arrived = Rc::new(Cell::new(false));
        let (tell, has_arrived) = (self.tell.clone(), arrived.clone());
        let hear = move |event: Event| {
            let event: MessageEvent = event.unchecked_into();
            match event.data() {
                data if data == ARRIVED => has_arrived.set(true),
                data if data == BEGUN => ToPage::Begun.post(),
                data => tell(read(compute, &data).unwrap_or_else(|| trouble(compute, &has_arrived))),
            }
        };
        let tell = self.tell.clone();
        let fail = move |event: Event| {
            // Otherwise the page would see it as an error of the hub.
            event.prevent_default();
            tell(trouble(compute, &arrived));
        };
        let listeners = [
            Listener::new(&worker, "message", hear)?,
            Listener::new(&worker, "error", fail.clone())?,
            Listener::new(&worker, "messageerror", fail)?,
        ];

        let start = Object::new();
        Reflect::set(&start, &"module".into(), &wasm_bindgen::module())?;
        worker.post_message(&start)?;
        worker.post_message(&self.effort.into())?;
        self.workers.insert(compute, Compute { worker, _listeners: listeners });
        Ok(())
    }

    /// Has every worker work for that share of its time from now on.
    pub(crate) fn set_effort(&mut self, effort: u8) {
        self.effort = effort;
        for Compute { worker, .. } in self.workers.values() {
            // A number can always be posted.
            let _ = worker.post_message(&effort.into());
        }
    }

    /// Passes a message on. A message for a worker that has ended is dropped.
    pub(crate) fn send(&self, compute: u32, message: ToCompute) -> Result<(), JsValue> {
        let Some(Compute { worker, .. }) = self.workers.get(&compute) else { return Ok(()) };
        let parts = message.into_parts();
        let (data, transfer) = parcel::wrap(&parts.header, &Uint8Array::from(parts.payload.bytes()).buffer());
        worker.post_message_with_transfer(&data, &transfer)
    }

    /// Ends a worker at once and drops its later messages.
    pub(crate) fn stop(&mut self, compute: u32) {
        if let Some(Compute { worker, .. }) = self.workers.remove(&compute) {
            worker.terminate();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.workers.values().for_each(|compute| compute.worker.terminate());
    }
}

/// Reads a worker's post. Worker and hub are one module, so a post that is not a message means that the
/// worker could not be started (see `web/compute.js`), or that there is no memory for its message.
fn read(compute: u32, data: &JsValue) -> Option<HubInput> {
    let (header, bulk) = parcel::open(data)?;
    let message = FromCompute::from_parts(&header, bulk).ok()?;
    Some(HubInput::Compute { compute, message })
}

/// What has happened to a worker that reports an error. Its script comes over the network each time it is started,
/// so one that has not arrived tells of a broken line.
fn trouble(compute: u32, arrived: &Cell<bool>) -> HubInput {
    if arrived.get() { HubInput::ComputeFailed { compute } } else { HubInput::ComputeUnreached { compute } }
}
