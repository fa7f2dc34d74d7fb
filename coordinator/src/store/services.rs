//! Stores that are services: the protocols of S3, Google and Azure.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::config::{StoreKind, StoreUrl};

/// Tries of a request to a service, after the first.
const RETRIES_MAX: usize = 5;
/// How long the tries of a request go on.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long one try may take. A slow one moves some megabytes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection to a service may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of a service, as URL and environment describe it.
///
/// # Errors
/// What is wrong with them.
pub(super) fn open(place: &StoreUrl) -> Result<Arc<dyn ObjectStore>, String> {
    use_ring();
    let bucket = place.bucket();
    let opened: Result<Arc<dyn ObjectStore>, object_store::Error> = match place.kind() {
        StoreKind::Folder => return Err("it is a folder".to_owned()),
        StoreKind::S3 => AmazonS3Builder::from_env()
            .with_url(bucket)
            // Not every service that speaks the protocol deletes several objects at once.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
            .with_client_options(client("AWS_ALLOW_HTTP"))
            .with_retry(retries())
            .build()
            .map(|store| Arc::new(store) as _),
        StoreKind::Google => GoogleCloudStorageBuilder::from_env()
            .with_url(bucket)
            .with_client_options(client("GOOGLE_ALLOW_HTTP"))
            .with_retry(retries())
            .build()
            .map(|store| Arc::new(store) as _),
        StoreKind::Azure => MicrosoftAzureBuilder::from_env()
            .with_url(bucket)
            .with_client_options(client("AZURE_ALLOW_HTTP"))
            .with_retry(retries())
            .build()
            .map(|store| Arc::new(store) as _),
    };
    opened.map_err(|error| error.to_string())
}

fn retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES_MAX, retry_timeout: RETRY_MAX }
}

/// Plain HTTP only where the environment allows it, such as for a server on this machine.
fn client(allow_http: &str) -> ClientOptions {
    let is_allowed = std::env::var(allow_http).is_ok_and(|value| value == "true" || value == "1");
    ClientOptions::new()
        .with_allow_http(is_allowed)
        .with_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
}

/// The store's client takes the process's default for its cryptography.
fn use_ring() {
    // This fails if there is a default already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
