//! worker-wasm
