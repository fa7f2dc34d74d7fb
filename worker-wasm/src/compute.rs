//! A compute worker: one lent core.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Array, BigInt64Array};
use wasm_bindgen::prelude::*;
use worker::{Compute, Duty, MessagePartsError, ToCompute};

use crate::scope::Timer;
use crate::{parcel, scope};

/// Posted to the hub once, when the first job begins.
pub(crate) const BEGUN: &str = "begun";

/// Starts a compute worker in this Web Worker. `early` holds the hub's messages (in the form of `parcel`)
/// that arrived before this call. A number among them is the effort, in percent ([`Duty`]).
#[wasm_bindgen]
pub fn start_compute(early: Array) {
    console_error_panic_hook::set_once();
    let core = Rc::new(RefCell::new(Core {
        compute: Compute::new(),
        begun: false,
        duty: Duty::default(),
        held: None,
        waiting: VecDeque::new(),
    }));
    let rest = Rc::new(RefCell::new(None::<Timer>));
    let go_on = {
        let (core, rest) = (Rc::clone(&core), Rc::clone(&rest));
        move || {
            let rest_ms = core.borrow_mut().work();
            if let (Some(timer), Some(rest_ms)) = (rest.borrow().as_ref(), rest_ms) {
                timer.set(rest_ms);
            }
        }
    };
    let wake = {
        let (core, go_on) = (Rc::clone(&core), go_on.clone());
        move || {
            core.borrow_mut().duty.rested();
            go_on();
        }
    };
    rest.replace(Some(Timer::new(wake)));
    core.borrow_mut().waiting.extend(early.iter());
    go_on();
    scope::on_message(move |data| {
        core.borrow_mut().waiting.push_back(data);
        go_on();
    });
}

/// A lent core, and the messages that wait while it rests. The hub sends few before it hears an answer.
struct Core {
    compute: Compute,
    begun: bool,
    duty: Duty,
    /// A job that begins after the rest.
    held: Option<ToCompute>,
    /// The messages after it.
    waiting: VecDeque<JsValue>,
}

impl Core {
    /// Obeys the waiting messages in order, up to a job that must wait. Answers with the milliseconds of a rest
    /// that begins.
    fn work(&mut self) -> Option<u64> {
        loop {
            let message = match self.held.take() {
                Some(job) => job,
                None => {
                    let data = self.waiting.pop_front()?;
                    if let Some(effort) = data.as_f64() {
                        self.duty.set_effort(effort);
                        continue;
                    }
                    let Some(message) = read(&data) else { continue };
                    message
                }
            };
            let is_job = matches!(message, ToCompute::Run(_));
            if is_job && self.duty.is_resting() {
                self.held = Some(message);
                return None;
            }
            let began = scope::now_ms();
            self.obey(message);
            if is_job && let Some(rest_ms) = self.duty.worked(scope::now_ms().saturating_sub(began)) {
                return Some(rest_ms);
            }
        }
    }

    fn obey(&mut self, message: ToCompute) {
        if matches!(message, ToCompute::Run(_)) && !std::mem::replace(&mut self.begun, true) {
            scope::post(&BEGUN.into());
        }
        if let Some(answer) = self.compute.handle(message) {
            let parts = answer.into_parts();
            let vector = BigInt64Array::from(parts.payload.as_slice());
            let (data, transfer) = parcel::wrap(&parts.header, &vector.buffer());
            scope::post_with_transfer(&data, &transfer);
        }
    }
}

/// Reads the hub's message.
fn read(data: &JsValue) -> Option<ToCompute> {
    match parcel::open(data).map(|(header, bulk)| ToCompute::from_parts(&header, bulk))? {
        Ok(message) => Some(message),
        // The hub learns of this like of any failure of a compute worker.
        Err(error @ MessagePartsError::Memory) => wasm_bindgen::throw_str(&error.to_string()),
        // Hub and compute worker are one module, so anything else is not a message.
        Err(MessagePartsError::Malformed) => None,
    }
}
