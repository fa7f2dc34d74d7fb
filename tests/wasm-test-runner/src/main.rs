//! Runs headless WebAssembly tests in a browser, as `runner` of `.cargo/config.toml`. It is wasm-bindgen's
//! own test runner, built from this workspace's lockfile, so that its version always matches the code under
//! test and nothing needs to be installed by hand.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}
