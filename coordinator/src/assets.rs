//! Everything a browser loads from the coordinator, embedded by `build.rs`: the pages of `web/` and both
//! builds of the worker. One binary, no files beside it, no network.

/// One served file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The URL path, such as `/app.js` or `/worker/portable/worker.js`.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The file itself.
    pub bytes: &'static [u8],
    /// The file in gzip format, if that is smaller by a tenth or more.
    pub gzip: Option<&'static [u8]>,
    /// The value of `ETag`: half of the BLAKE3 digest of `bytes`. It is weak because both encodings share
    /// it.
    pub etag: &'static str,
}

/// The asset at a URL path, without query. A page `x.html` is also found as `/x`, and `index.html` as its
/// directory.
///
/// The worker for an arithmetic is in `/worker/portable/` or `/worker/fused/`: `worker.js` (an ES module made
/// by wasm-bindgen) and `worker_bg.wasm`.
pub fn asset(path: &str) -> Option<&'static Asset> {
    let route = ROUTES.binary_search_by_key(&path, |(route, _)| route).ok()?;
    ASSETS.get(ROUTES[route].1)
}

/// All assets, in the order of their paths.
pub fn assets() -> &'static [Asset] {
    ASSETS
}

/// Refuses to serve browsers without a worker for them.
///
/// # Errors
/// When the binary was built with `SHOAL_SKIP_WASM=1`.
pub fn require_worker() -> anyhow::Result<()> {
    if worker_is_placeholder() {
        anyhow::bail!(
            "this binary was built with SHOAL_SKIP_WASM=1 and has no browser worker; build it without"
        );
    }
    Ok(())
}

fn worker_is_placeholder() -> bool {
    PLACEHOLDER
}

// `PLACEHOLDER`, `ASSETS` (by path) and `ROUTES` (every served path, in order, with its index in `ASSETS`).
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_front_page_is_html() {
        let page = asset("/").expect("a front page");
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert_eq!(asset("/index.html"), Some(page));
    }

    #[test]
    fn a_path_that_is_not_embedded_has_no_asset() {
        for path in ["", "index.html", "/nothing", "/../Cargo.toml", "/worker/portable"] {
            assert_eq!(asset(path), None, "{path}");
        }
    }

    #[test]
    fn both_workers_are_embedded_unless_the_build_left_them_out() {
        for arithmetic in ["portable", "fused"] {
            let script = asset(&format!("/worker/{arithmetic}/worker.js"));
            let module = asset(&format!("/worker/{arithmetic}/worker_bg.wasm"));
            if worker_is_placeholder() {
                assert_eq!((script, module), (None, None));
                continue;
            }
            assert_eq!(script.expect("a script").content_type, "text/javascript; charset=utf-8");
            let module = module.expect("a module");
            // Browsers compile a module while it downloads only if it comes with this type.
            assert_eq!(module.content_type, "application/wasm");
            assert!(module.bytes.starts_with(b"\0asm"));
        }
    }

    #[test]
    fn either_worker_travels_in_at_most_350_kilobytes() {
        for arithmetic in ["portable", "fused"] {
            let package = format!("/worker/{arithmetic}/");
            let files = assets().iter().filter(|asset| asset.path.starts_with(&package));
            let bytes: usize = files.map(|asset| asset.gzip.unwrap_or(asset.bytes).len()).sum();
            assert!(bytes <= 350_000, "the {arithmetic} worker takes {bytes} bytes");
        }
    }

    /// What a page loads, at the latest when its training is over: the page, and every script, style and picture that
    /// it or one of these names, but for the worker.
    fn loaded_by(page: &str) -> BTreeMap<&'static str, usize> {
        let mut found = BTreeMap::new();
        let mut open = vec![asset(page).expect("a page")];
        while let Some(file) = open.pop() {
            let bytes = file.gzip.unwrap_or(file.bytes).len();
            if found.insert(file.path, bytes).is_some() || file.path.starts_with("/worker/") {
                continue;
            }
            let text = std::str::from_utf8(file.bytes).expect("a text");
            let (folder, _) = file.path.rsplit_once('/').expect("an absolute path");
            for name in text.split(['"', '`', '(', ')', '?']).filter(|name| name.contains('.')) {
                let mut path: Vec<&str> = folder.split('/').collect();
                for part in name.split('/') {
                    match part {
                        "." => {}
                        ".." => _ = path.pop(),
                        part => path.push(part),
                    }
                }
                let at_the_root = format!("/{name}");
                let named = [path.join("/"), at_the_root];
                open.extend(named.iter().filter_map(|path| asset(path)).filter(|named| !is_page(named)));
            }
        }
        found.retain(|path, _| !path.starts_with("/worker/"));
        found
    }

    fn is_page(asset: &Asset) -> bool {
        asset.content_type.starts_with("text/html")
    }

    /// Prints the figures of docs/measurements.md.
    #[test]
    #[expect(clippy::print_stdout, reason = "the figures are measured here")]
    fn each_page_travels_in_at_most_60_kilobytes_without_the_worker() {
        let pages = assets().iter().filter(|asset| is_page(asset));
        for page in pages {
            let loaded = loaded_by(page.path);
            assert!(loaded.len() > 1, "{}: {loaded:?}", page.path);
            let bytes: usize = loaded.values().sum();
            println!("{}: {:.1} KB", page.path, bytes as f64 / 1e3);
            assert!(bytes <= 60_000, "{} takes {bytes} bytes: {loaded:?}", page.path);
        }
        for (page, file) in [
            ("/", "/volunteer/view.js"),
            ("/", "/hub.js"),
            ("/dashboard", "/dashboard/dashboard.css"),
            ("/try", "/try/worker.js"),
            ("/bench", "/bench/core.js"),
        ] {
            assert!(loaded_by(page).contains_key(file), "{page} loads {file}");
        }
    }

    #[test]
    fn the_compressed_form_holds_the_same_bytes() {
        use std::io::Read as _;

        for asset in assets() {
            let Some(gzip) = asset.gzip else { continue };
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(gzip).read_to_end(&mut bytes).expect("valid gzip");
            assert!(bytes == asset.bytes, "{}", asset.path);
        }
    }
}
