//! The bus of a program that was built without the feature `scale`: nobody can connect to it.

use std::convert::Infallible;

use bytes::Bytes;
use tokio::sync::watch;

use super::bus::{LinkError, Subject};
use crate::config::LinkUrl;

/// A connection to the bus, which there is not.
#[derive(Debug, Clone)]
pub struct Link(Infallible);

/// Reads the messages on a subject.
#[derive(Debug)]
pub struct Hearing(Infallible);

impl Link {
    /// Refuses.
    ///
    /// # Errors
    /// [`LinkError::Absent`].
    pub async fn connect(_: &LinkUrl, _: &str, _: &watch::Receiver<bool>) -> Result<Option<Link>, LinkError> {
        Err(LinkError::Absent)
    }

    /// Says something.
    pub fn say(&self, _: &Subject, _: Option<&Subject>, _: Vec<u8>) {
        match self.0 {}
    }

    /// A subject that nobody else has.
    pub fn own_subject(&self) -> Subject {
        match self.0 {}
    }

    /// Hears a subject.
    ///
    /// # Errors
    /// Never.
    pub async fn hear(
        &self,
        _: &Subject,
        _: impl FnMut(Bytes, Option<Subject>) + Send + 'static,
    ) -> Result<Hearing, LinkError> {
        match self.0 {}
    }

    /// Waits until all is said.
    pub async fn settle(&self) {
        match self.0 {}
    }
}
