//! The benchmark's cases for `web/bench/`, which keeps the time.

use ::bench::{Bench, CASES, Case, ROOF};
use js_sys::{Array, Object, Reflect};
use model::Arithmetic;
use wasm_bindgen::prelude::*;

/// The cases and the roofs, in order: `[{name, examples}]`, where `examples` is the number of examples of a
/// step, or 0 for a roof.
///
/// # Errors
/// Never, because setting a property of a new object does not fail.
#[wasm_bindgen]
pub fn bench_cases() -> Result<Array, JsValue> {
    let describe = |case: &Case| {
        let description = Object::new();
        Reflect::set(&description, &"name".into(), &case.name.into())?;
        Reflect::set(&description, &"examples".into(), &(case.examples() as f64).into())?;
        Ok(description)
    };
    ROOF.iter().chain(&CASES).map(describe).collect()
}

/// One case on this core, ready to run.
#[wasm_bindgen]
#[derive(Debug)]
pub struct BenchCase(Bench);

#[wasm_bindgen]
impl BenchCase {
    /// Prepares the case of that name. `mnist` is the shard that the coordinator serves as `/bench/mnist`.
    ///
    /// # Errors
    /// When there is no such case or arithmetic, or the shard is malformed.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str, arithmetic: &str, mnist: &[u8]) -> Result<BenchCase, JsError> {
        let case = Case::named(name).ok_or_else(|| JsError::new("there is no such case"))?;
        let arithmetic: Arithmetic = arithmetic.parse()?;
        Ok(BenchCase(Bench::new(case, arithmetic, mnist)?))
    }

    /// Runs `steps` steps and returns the number of floating-point operations they count for.
    pub fn run(&mut self, steps: u32) -> f64 {
        self.0.run(steps)
    }
}
