//! Prints the columns of each file that is named, one JSON object a file, and how long reading took.
//!
//! `cargo run --release -p table --example columns -- FILE...`

#![allow(clippy::print_stdout)]

use std::{path::PathBuf, time::Instant};

use serde_json::json;
use table::{ReadOptions, read};

fn main() {
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let begun = Instant::now();
        let described = match read(std::slice::from_ref(&path), &ReadOptions::default()) {
            Err(error) => json!({ "file": path, "error": error.to_string() }),
            Ok(data) => {
                let columns: Vec<_> = data
                    .train
                    .columns
                    .iter()
                    .map(|column| {
                        json!({
                            "name": column.name,
                            "kind": column.kind,
                            "left_out": column.left_out,
                            "missing": column.missing,
                            "distinct": column.distinct,
                            "range": column.range,
                        })
                    })
                    .collect();
                json!({
                    "file": path,
                    "rows": data.train.rows,
                    "columns": columns,
                    "notices": data.train.notices,
                    "seconds": begun.elapsed().as_secs_f64(),
                })
            }
        };
        println!("{described}");
    }
}
