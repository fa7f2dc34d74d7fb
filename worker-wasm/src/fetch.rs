//! Downloads.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, ReadableStream, ReadableStreamDefaultReader, ReadableWritablePair, RequestCache,
    RequestInit, Response,
};
use worker::Mirror;

use crate::page::ToPage;
use crate::scope::{self, Timer};

/// Milliseconds without a single byte before a download is abandoned.
const PATIENCE_MS: u64 = 15_000;
/// Milliseconds that a download from a mirror may take. After that the coordinator is asked, which is as good.
const MIRROR_MS_MAX: u64 = 60_000;

#[wasm_bindgen]
extern "C" {
    /// The browser's own decompression, which web-sys does not count as stable yet.
    #[wasm_bindgen(extends = ReadableWritablePair)]
    type DecompressionStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(format: &str) -> Result<DecompressionStream, JsValue>;
}

/// Downloads a shard of that many bytes from `path` at the coordinator, decompressed by the browser. With `fresh`, the
/// download bypasses the browser's cache.
pub(crate) async fn from_coordinator(
    path: &str,
    shard_bytes: usize,
    fresh: bool,
) -> Result<Vec<u8>, JsValue> {
    let cache = if fresh { RequestCache::Reload } else { RequestCache::Default };
    download(path.trim_start_matches('/'), shard_bytes, cache, u64::MAX).await
}

/// Downloads a shard from a mirror, which keeps it as a store does: compressed, without saying so.
pub(crate) async fn from_mirror(url: &str, shard_bytes: usize) -> Result<Vec<u8>, JsValue> {
    let kept =
        download(url, Mirror::wire_bytes_max(shard_bytes), RequestCache::Default, MIRROR_MS_MAX).await?;
    // The browser itself counts what has the origin of the page.
    if !url.starts_with(&format!("{}/", scope::origin())) {
        ToPage::Downloaded { bytes: kept.len() }.post();
    }
    if !Mirror::is_gzip(&kept) {
        return Ok(kept);
    }
    let packed = Response::new_with_opt_u8_array(Some(&mut { kept }))?.body().ok_or(JsValue::UNDEFINED)?;
    let gunzip = DecompressionStream::new("gzip")?;
    read(&packed.pipe_through(&gunzip), shard_bytes, || ()).await
}

/// Downloads at most `bytes_max` bytes within `ms_max` milliseconds.
async fn download(
    address: &str,
    bytes_max: usize,
    cache: RequestCache,
    ms_max: u64,
) -> Result<Vec<u8>, JsValue> {
    let abort = AbortController::new()?;
    let request = RequestInit::new();
    request.set_signal(Some(&abort.signal()));
    request.set_cache(cache);
    let until_ms = scope::now_ms().saturating_add(ms_max);
    let impatience = Timer::new({
        let abort = abort.clone();
        move || abort.abort()
    });
    let wait = || impatience.set(PATIENCE_MS.min(until_ms.saturating_sub(scope::now_ms())));
    wait();
    let answer = async {
        let response: Response = JsFuture::from(scope::fetch(address, &request)).await?.dyn_into()?;
        if !response.ok() {
            return Err(JsValue::from(response.status()));
        }
        let stream = response.body().ok_or(JsValue::UNDEFINED)?;
        read(&stream, bytes_max, wait).await
    };
    let answer = answer.await;
    if answer.is_err() {
        // What is still to come is not wanted.
        abort.abort();
    }
    answer
}

/// Reads a stream of at most `bytes_max` bytes to its end. Each part calls `arrived`.
async fn read(stream: &ReadableStream, bytes_max: usize, arrived: impl Fn()) -> Result<Vec<u8>, JsValue> {
    let reader: ReadableStreamDefaultReader = stream.get_reader().dyn_into()?;
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read()).await?;
        if Reflect::get(&chunk, &"done".into())?.is_truthy() {
            return Ok(bytes);
        }
        let part: Uint8Array = Reflect::get(&chunk, &"value".into())?.dyn_into()?;
        let begin = bytes.len();
        let end = begin + part.length() as usize;
        if end > bytes_max {
            return Err(JsValue::from("longer than allowed"));
        }
        bytes.resize(end, 0);
        part.copy_to(&mut bytes[begin..]);
        arrived();
    }
}
