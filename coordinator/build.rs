//! Embeds everything that a browser loads into the binary, so that the coordinator needs no other file at run
//! time: the pages of `web/`, and the worker, which is built here as two WebAssembly modules (one for each
//! arithmetic).
//!
//! The result is `OUT_DIR/assets.rs`, which `src/assets.rs` includes. `SHOAL_SKIP_WASM=1` leaves the worker
//! out, for editors, lints and documentation. A server refuses to start without it.

// A build script speaks to cargo on standard output.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

fn main() {
    if let Err(error) = build() {
        // Cargo shows such a line as its own error; a line break would end it.
        println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?)
        .parent()
        .context("the package has no parent directory")?
        .to_path_buf();

    let mut files = BTreeMap::new();
    let web = workspace.join("web");
    println!("cargo::rerun-if-changed={}", web.display());
    collect(&web, "/", &mut files)?;

    println!("cargo::rerun-if-env-changed=SHOAL_SKIP_WASM");
    let placeholder = env::var_os("SHOAL_SKIP_WASM").is_some_and(|value| !value.is_empty() && value != "0");
    if !placeholder {
        for variant in &VARIANTS {
            let package = build_worker(&workspace, &out_dir, variant)?;
            collect(&package, &format!("/worker/{}/", variant.name), &mut files)?;
        }
    }
    write_table(&out_dir, &files, placeholder)
}

// ---------------------------------------------------------------------------------------------------------
// The worker

/// One build of the worker. The names are those of the run's arithmetic.
struct Variant {
    name: &'static str,
    target_features: &'static str,
    relaxed_simd: bool,
}

const VARIANTS: [Variant; 2] = [
    Variant { name: "portable", target_features: "+simd128", relaxed_simd: false },
    Variant { name: "fused", target_features: "+simd128,+relaxed-simd", relaxed_simd: true },
];

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Compiles `worker-wasm` and generates its JavaScript. The returned directory holds `worker.js`,
/// `worker_bg.wasm` and everything that these import.
fn build_worker(workspace: &Path, out_dir: &Path, variant: &Variant) -> Result<PathBuf> {
    install_wasm_target(workspace)?;

    // Cargo locks the target directory it works in, so the inner cargo needs one of its own. It lies beside
    // the OUT_DIRs rather than in one, because check, build and test each have an OUT_DIR and would all start
    // from nothing.
    let shared =
        out_dir.ancestors().nth(4).context("OUT_DIR is not in a target directory")?.join("worker-wasm");
    let target_dir = shared.join(variant.name);
    let status = Command::new(variable("CARGO")?)
        .current_dir(workspace)
        .args(["rustc", "--locked", "--profile", "wasm", "--target", WASM_TARGET])
        .args(["--package", "worker-wasm", "--lib", "--crate-type", "cdylib"])
        .arg("--target-dir")
        .arg(&target_dir)
        // Procedural macros are the same for both variants.
        .env("CARGO_BUILD_BUILD_DIR", shared.join("build"))
        // Cargo sets this variable for a build script, perhaps to nothing, and it takes precedence over every
        // other way of passing flags. Without this line both variants would silently have no vector
        // instructions.
        .env("CARGO_ENCODED_RUSTFLAGS", rustc_flags(workspace, &shared, variant)?)
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .stdout(Stdio::null())
        .status()
        .context("cannot start cargo for the WebAssembly worker")?;
    ensure!(
        status.success(),
        "the WebAssembly worker ({}) does not compile; the errors are above (SHOAL_SKIP_WASM=1 leaves the \
         worker out)",
        variant.name
    );

    let artifacts = target_dir.join(WASM_TARGET).join("wasm");
    rerun_if_sources_change(workspace, &artifacts.join("worker_wasm.d"))?;

    let package = out_dir.join(variant.name);
    if package.exists() {
        fs::remove_dir_all(&package).with_context(|| format!("cannot empty {}", package.display()))?;
    }
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(artifacts.join("worker_wasm.wasm"))
        .out_name("worker")
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        // Otherwise the generated `init()` does not know where its module is.
        .omit_default_module_path(false)
        .web(true)
        .and_then(|bindgen| bindgen.generate(&package))
        .with_context(|| format!("wasm-bindgen cannot process the {} worker", variant.name))?;
    check_instructions(&package.join("worker_bg.wasm"), variant)?;
    Ok(package)
}

/// Browsers without relaxed SIMD refuse a module that contains a single such instruction, so the portable
/// module must have none. A fused module without any would be slow.
fn check_instructions(module: &Path, variant: &Variant) -> Result<()> {
    use wasmparser::{Validator, WasmFeatures};

    let bytes = read(module)?;
    let mut features = WasmFeatures::default();
    features.insert(WasmFeatures::RELAXED_SIMD);
    Validator::new_with_features(features)
        .validate_all(&bytes)
        .with_context(|| format!("the {} worker is not a valid module", variant.name))?;

    features.remove(WasmFeatures::RELAXED_SIMD);
    let relaxed_simd = Validator::new_with_features(features).validate_all(&bytes).is_err();
    ensure!(
        relaxed_simd == variant.relaxed_simd,
        "the {} worker {} relaxed SIMD instructions, against its definition in coordinator/build.rs",
        variant.name,
        if relaxed_simd { "contains" } else { "lacks" },
    );
    Ok(())
}

/// The flags of one variant, separated by 0x1f as cargo expects. `directory` holds a file that they need.
fn rustc_flags(workspace: &Path, directory: &Path, variant: &Variant) -> Result<OsString> {
    // Panic messages name source files. Strangers download this module and need not learn the builder's home
    // directory.
    let mut arguments = format!("--remap-path-prefix={}=shoal\n", utf8(workspace)?);
    if let Some(home) = cargo_home() {
        writeln!(arguments, "--remap-path-prefix={}=cargo", utf8(&home)?)?;
    }
    // The arguments are passed in a file: if cargo saw the flag, it would give both variants the same file
    // names, and each build would replace the other's files.
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let file = directory.join("rustc-arguments");
    fs::write(&file, arguments).with_context(|| format!("cannot write {}", file.display()))?;

    let mut flags = OsString::from(format!("-Ctarget-feature={}\u{1f}@", variant.target_features));
    flags.push(file);
    Ok(flags)
}

fn cargo_home() -> Option<PathBuf> {
    let explicit = env::var_os("CARGO_HOME").map(PathBuf::from);
    explicit.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Adds the WebAssembly target. `rust-toolchain.toml` asks for it, but rustup adds it only if automatic
/// installation is allowed.
fn install_wasm_target(workspace: &Path) -> Result<()> {
    if wasm_target_is_installed(workspace)? {
        return Ok(());
    }
    // Rustup sets this variable exactly if it started cargo.
    let toolchain = env::var("RUSTUP_TOOLCHAIN").ok();
    let mut command = Command::new("rustup");
    command.args(["target", "add", WASM_TARGET]).current_dir(workspace).stdout(Stdio::null());
    let mut advice = format!("rustup target add {WASM_TARGET}");
    if let Some(toolchain) = &toolchain {
        command.args(["--toolchain", toolchain]);
        advice = format!("{advice} --toolchain {toolchain}");
    }
    match command.status() {
        Ok(status) if status.success() && wasm_target_is_installed(workspace)? => Ok(()),
        Ok(status) if status.success() => bail!(
            "this compiler cannot build for {WASM_TARGET}, which the worker needs, and rustup does not \
             manage it; build with rustup's cargo: rustup run 1.95.0 cargo build --release"
        ),
        Ok(_) => {
            bail!("the worker needs the target {WASM_TARGET}, which rustup could not add; run: {advice}")
        }
        Err(_) => bail!(
            "the worker needs the compiler's target {WASM_TARGET}, and there is no rustup to add it; install \
             both with: curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- --target {WASM_TARGET}"
        ),
    }
}

fn wasm_target_is_installed(workspace: &Path) -> Result<bool> {
    let output = Command::new(variable("RUSTC")?)
        .current_dir(workspace)
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the compiler")?;
    let directory = String::from_utf8(output.stdout).context("the compiler's directory is not in UTF-8")?;
    Ok(output.status.success() && Path::new(directory.trim_end()).is_dir())
}

/// Makes cargo run this script again when an input of the worker changes: the sources that the compiler
/// listed, the manifests of their packages, and the files that choose versions and flags.
fn rerun_if_sources_change(workspace: &Path, dep_info: &Path) -> Result<()> {
    let text = fs::read_to_string(dep_info).with_context(|| format!("cannot read {}", dep_info.display()))?;
    let (_, sources) =
        text.split_once(": ").with_context(|| format!("{} names no source", dep_info.display()))?;

    let mut inputs: BTreeSet<PathBuf> =
        ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].iter().map(|name| workspace.join(name)).collect();
    // Spaces inside a path are escaped.
    for source in sources.trim_end().replace("\\ ", "\0").split(' ') {
        let source = workspace.join(source.replace('\0', " "));
        inputs.extend(
            source.ancestors().map(|directory| directory.join("Cargo.toml")).find(|path| path.is_file()),
        );
        inputs.insert(source);
    }
    for input in inputs {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------
// The table of assets

/// Adds every file under `directory` to `files`, by its URL path. Hidden files are left out.
fn collect(directory: &Path, url: &str, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .ok()
            .with_context(|| format!("{} has a name that is not UTF-8", entry.path().display()))?;
        if name.starts_with('.') {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{url}{name}/"), files)?;
        } else {
            files.insert(format!("{url}{name}"), entry.path());
        }
    }
    Ok(())
}

/// Writes the Rust source of the tables that `src/assets.rs` describes.
fn write_table(out_dir: &Path, files: &BTreeMap<String, PathBuf>, placeholder: bool) -> Result<()> {
    let (plain_dir, compressed_dir) = (out_dir.join("plain"), out_dir.join("gzip"));
    for directory in [&plain_dir, &compressed_dir] {
        fs::create_dir_all(directory).context("cannot create a directory in OUT_DIR")?;
    }

    let mut assets = String::new();
    let mut routes = BTreeMap::new();
    for (index, (url, path)) in files.iter().enumerate() {
        let content_type = content_type(path)?;
        let bytes = match content_type {
            CSS | JAVASCRIPT if !url.starts_with("/worker/") => without_comments(&read(path)?)?,
            _ => read(path)?,
        };
        let digest = blake3::hash(&bytes).to_hex();
        let plain = plain_dir.join(digest.as_str());
        fs::write(&plain, &bytes).with_context(|| format!("cannot write {}", plain.display()))?;
        let gzip = match compress(&bytes)? {
            Some(compressed) => {
                let file = compressed_dir.join(digest.as_str());
                fs::write(&file, compressed).with_context(|| format!("cannot write {}", file.display()))?;
                format!("Some(include_bytes!({:?}))", utf8(&file)?)
            }
            None => "None".to_owned(),
        };
        writeln!(
            assets,
            "    Asset {{ path: {url:?}, content_type: {content_type:?}, bytes: include_bytes!({:?}), \
             gzip: {gzip}, etag: {:?} }},",
            utf8(&plain)?,
            format!("W/\"{}\"", &digest[..32]),
        )?;
        routes.insert(url.clone(), index);
        if let Some(directory) = url.strip_suffix("index.html") {
            routes.insert(directory.to_owned(), index);
        } else if let Some(page) = url.strip_suffix(".html") {
            routes.insert(page.to_owned(), index);
        }
    }
    let table = format!(
        "const PLACEHOLDER: bool = {placeholder};\nstatic ASSETS: &[Asset] = &[\n{assets}];\n\
         static ROUTES: &[(&str, usize)] = &{:?};\n",
        routes.iter().collect::<Vec<_>>(),
    );
    fs::write(out_dir.join("assets.rs"), table).context("cannot write assets.rs")
}

/// A script or style without the lines that hold comments alone, which are a sixth of what a page takes on its way.
/// Line numbers stay as they are in the source.
fn without_comments(source: &[u8]) -> Result<Vec<u8>> {
    let source = std::str::from_utf8(source).context("a script or style is not UTF-8")?;
    let mut kept = String::with_capacity(source.len());
    let mut in_comment = false;
    for line in source.lines() {
        let text = line.trim();
        let begins = !in_comment && text.starts_with("/*");
        let is_comment = in_comment || begins || text.starts_with("//");
        if in_comment || begins {
            // The star that begins a comment does not end it.
            let from = if begins { 2 } else { 0 };
            let end = text[from..].find("*/").map(|end| from + end);
            ensure!(
                end.is_none_or(|end| end + 2 == text.len()),
                "code follows a comment on its line: {text}"
            );
            in_comment = end.is_none();
        }
        if !is_comment {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    Ok(kept.into_bytes())
}

/// The bytes in gzip format, or nothing if that saves less than a tenth.
fn compress(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    let compressed = encoder.finish()?;
    Ok((compressed.len() < bytes.len() / 10 * 9).then_some(compressed))
}

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

fn content_type(path: &Path) -> Result<&'static str> {
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("css") => CSS,
        Some("html") => "text/html; charset=utf-8",
        Some("ico") => "image/x-icon",
        Some("js" | "mjs") => JAVASCRIPT,
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("webmanifest") => "application/manifest+json",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        _ => bail!("the content type of {} is unknown; add it to coordinator/build.rs", path.display()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not in UTF-8", path.display()))
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("cargo has not set {name}"))
}
