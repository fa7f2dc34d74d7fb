//! An event listener that ends with its owner.

use wasm_bindgen::prelude::*;
use web_sys::{Event, EventTarget};

/// Calls a function at every event of one kind, until dropped.
pub(crate) struct Listener {
    target: EventTarget,
    kind: &'static str,
    function: Closure<dyn FnMut(Event)>,
}

impl Listener {
    /// Listens to `target` for events of that `kind` ("message", "error", ...).
    pub(crate) fn new(
        target: &EventTarget,
        kind: &'static str,
        function: impl FnMut(Event) + 'static,
    ) -> Result<Listener, JsValue> {
        let function = Closure::<dyn FnMut(Event)>::new(function);
        target.add_event_listener_with_callback(kind, function.as_ref().unchecked_ref())?;
        Ok(Listener { target: target.clone(), kind, function })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Removing can fail only if adding has failed.
        let _ = self
            .target
            .remove_event_listener_with_callback(self.kind, self.function.as_ref().unchecked_ref());
    }
}
