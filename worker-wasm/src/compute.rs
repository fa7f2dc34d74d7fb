//! A compute worker: one lent core.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use js_sys::{Array, BigInt64Array};
use wasm_bindgen::prelude::*;
use worker::{Compute, MessagePartsError, ToCompute};

use crate::scope::Timer;
use crate::{parcel, scope};

/// Posted to the hub once, when the first job begins.
pub(crate) const BEGUN: &str = "begun";

/// The least and the greatest effort, in percent.
const EFFORT_MIN: f64 = 5.0;
const EFFORT_MAX: f64 = 100.0;
/// The longest rest after one job, in milliseconds, so that a long job does not silence the volunteer.
const REST_MS_MAX: f64 = 20_000.0;

/// Starts a compute worker in this Web Worker. `early` holds the hub's messages (in the form of `parcel`)
/// that arrived before this call. A number among them is the effort: the share of its time, in percent, that
/// this core works. After each job it rests accordingly before it begins the next.
#[wasm_bindgen]
pub fn start_compute(early: Array) {
    console_error_panic_hook::set_once();
    let core = Rc::new(RefCell::new(Core {
        compute: Compute::new(),
        begun: false,
        effort: EFFORT_MAX,
        resting: false,
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
            core.borrow_mut().resting = false;
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
    effort: f64,
    resting: bool,
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
                None => match self.waiting.pop_front()? {
                    data if data.as_f64().is_some() => {
                        self.effort = data.as_f64().unwrap_or(EFFORT_MAX).clamp(EFFORT_MIN, EFFORT_MAX);
                        continue;
                    }
                    data => match read(&data) {
                        Some(message) => message,
                        None => continue,
                    },
                },
            };
            let is_job = matches!(message, ToCompute::Run(_));
            if is_job && self.resting {
                self.held = Some(message);
                return None;
            }
            let began = scope::now_ms();
            self.obey(message);
            if is_job && self.effort < EFFORT_MAX {
                let worked = scope::now_ms().saturating_sub(began) as f64;
                self.resting = true;
                return Some((worked * (EFFORT_MAX / self.effort - 1.0)).min(REST_MS_MAX) as u64);
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
