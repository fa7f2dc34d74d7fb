//! Downloads.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, RequestCache, RequestInit, Response};

use crate::scope::{self, Timer};

/// Milliseconds before a download is abandoned.
const PATIENCE_MS: u64 = 120_000;

/// Downloads `path`, decompressed by the browser. With `fresh`, the download bypasses the browser's cache.
pub(crate) async fn download(path: &str, fresh: bool) -> Result<Vec<u8>, JsValue> {
    let abort = AbortController::new()?;
    let request = RequestInit::new();
    request.set_signal(Some(&abort.signal()));
    request.set_cache(if fresh { RequestCache::Reload } else { RequestCache::Default });
    // Kept until the body has arrived.
    let impatience = Timer::new(move || abort.abort());
    impatience.set(PATIENCE_MS);

    let response: Response = JsFuture::from(scope::fetch(path, &request)).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::from(response.status()));
    }
    let body: ArrayBuffer = JsFuture::from(response.array_buffer()?).await?.dyn_into()?;
    Ok(Uint8Array::new(&body).to_vec())
}
