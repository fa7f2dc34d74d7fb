//! Downloads.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use crate::scope::{self, Timer};

/// Milliseconds without a single byte before a download is abandoned.
const PATIENCE_MS: u64 = 15_000;

/// Downloads `path`, decompressed by the browser. With `fresh`, the download bypasses the browser's cache.
pub(crate) async fn download(path: &str, fresh: bool) -> Result<Vec<u8>, JsValue> {
    let abort = AbortController::new()?;
    let request = RequestInit::new();
    request.set_signal(Some(&abort.signal()));
    request.set_cache(if fresh { RequestCache::Reload } else { RequestCache::Default });
    let impatience = Timer::new(move || abort.abort());
    impatience.set(PATIENCE_MS);

    let response: Response =
        JsFuture::from(scope::fetch(path.trim_start_matches('/'), &request)).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::from(response.status()));
    }
    let stream = response.body().ok_or(JsValue::UNDEFINED)?;
    let reader: ReadableStreamDefaultReader = stream.get_reader().dyn_into()?;
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read()).await?;
        if Reflect::get(&chunk, &"done".into())?.is_truthy() {
            return Ok(bytes);
        }
        let part: Uint8Array = Reflect::get(&chunk, &"value".into())?.dyn_into()?;
        let begin = bytes.len();
        bytes.resize(begin + part.length() as usize, 0);
        part.copy_to(&mut bytes[begin..]);
        impatience.set(PATIENCE_MS);
    }
}
