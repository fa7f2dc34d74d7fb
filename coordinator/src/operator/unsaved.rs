//! The trained model while it cannot be saved: the operator can take it away over the network.

use std::sync::{Arc, Mutex, PoisonError};

use crate::run_directory::SavedModel;

/// A place for one model.
#[derive(Debug, Clone, Default)]
pub struct Unsaved(Arc<Mutex<Option<Arc<SavedModel>>>>);

impl Unsaved {
    /// Offers a model, or takes the offer back.
    pub(crate) fn set(&self, model: Option<Arc<SavedModel>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = model;
    }

    /// The model that is offered.
    pub(crate) fn get(&self) -> Option<Arc<SavedModel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
