//! Stores that are services, for a program that was built without the feature `scale`: there are none.

use std::sync::Arc;

use object_store::ObjectStore;

use crate::config::StoreUrl;

/// Refuses.
///
/// # Errors
/// Always.
pub(super) fn open(_: &StoreUrl) -> Result<Arc<dyn ObjectStore>, String> {
    Err("this shoal was built without the feature \"scale\"; use a folder, or build it with cargo build --release".to_owned())
}
