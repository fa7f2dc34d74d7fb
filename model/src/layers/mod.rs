//! The layers: each file holds a layer's forward beside its backward.

pub(crate) mod activation;
pub(crate) mod dense;
