//! Data that memory does not hold: shards in a folder, and the same bits.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::shoal::{ALONE, Folder};

/// More rows, also without those to test with, than are cross-validated, so that nothing is read into memory for that.
const ROWS: usize = 26_000;

fn many() -> String {
    let mut text = String::from("x,y,color,kind\n");
    for row in 0..ROWS {
        let draw = row.wrapping_mul(2_654_435_761) >> 7;
        let y = if draw.is_multiple_of(13) { String::new() } else { (draw % 977).to_string() };
        let (color, kind) = (["red", "green", "blue"][draw % 3], ["a", "b"][(draw / 3) % 2]);
        writeln!(text, "{}.{},{y},{color},{kind}", draw % 100, draw % 7).unwrap();
    }
    text
}

fn names(folder: &Folder, path: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.path(path)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a training came to, but for its times and its place.
fn outcome(mut summary: Value) -> Value {
    let fields = summary.as_object_mut().unwrap();
    for name in ["seconds", "run", "volunteers"] {
        fields.remove(name);
    }
    summary
}

#[test]
fn the_weights_and_figures_are_the_same_wherever_the_data_are() {
    let folder = Folder::new();
    folder.write("many.csv", &many());
    let train =
        |flags: &str| {
            outcome(folder.train(&format!(
                "--data many.csv --model mlp:4 --iterations 2 --class-weights balanced {flags}"
            )))
        };
    let inside = train("--out inside");
    assert_eq!(train("--out outside --cache kept"), inside);
    let shards = names(&folder, "kept/shards");
    assert_eq!(names(&folder, "kept"), ["shards"], "the columns are gone");
    assert!(shards.len() >= 3, "training, validation and test");
    for name in &shards {
        let mut content = Vec::new();
        let packed = fs::File::open(folder.path("kept/shards").join(name)).unwrap();
        GzDecoder::new(packed).read_to_end(&mut content).unwrap();
        assert_eq!(blake3::hash(&content).to_hex().as_str(), name);
    }
    // Another run over the same data has the same shards, also where its network is another.
    folder.train("--data many.csv --model linear --iterations 1 --out again --cache kept");
    assert_eq!(names(&folder, "kept/shards"), shards);

    let go_on = |run: &str| {
        let ran = folder.run(&format!("resume {run} --iterations 3 {ALONE} --json")).succeeded();
        outcome(ran.last_json())
    };
    assert_eq!(go_on("outside"), go_on("inside"));
}

#[test]
fn with_a_store_the_shards_are_there_alone_and_the_weights_are_the_same() {
    let folder = Folder::new();
    folder.write("many.csv", &many());
    let train = |flags: &str| {
        let summary = folder
            .train(&format!("--data many.csv --model mlp:4 --cross-validation 0 --iterations 2 {flags}"));
        summary["weights_digest"].clone()
    };
    let inside = train("--out inside");
    assert_eq!(train("--out outside --cache kept --store stored"), inside);
    assert!(names(&folder, "kept").is_empty(), "the columns are gone, and no shard was ever there");
    let shards = names(&folder, "stored/shards");
    assert!(shards.len() >= 2, "training and test");
    // What is there is not written again.
    let written = |store: &str| -> Vec<_> {
        let place = |name: &String| folder.path(store).join("shards").join(name);
        shards.iter().map(|name| fs::metadata(place(name)).unwrap().modified().unwrap()).collect()
    };
    let before = written("stored");
    fs::create_dir(folder.path("stored-2")).unwrap();
    fs::rename(folder.path("stored/shards"), folder.path("stored-2/shards")).unwrap();
    assert_eq!(train("--out again --cache kept --store stored-2"), inside);
    assert_eq!(written("stored-2"), before);
}

#[test]
fn a_small_table_is_cross_validated_wherever_its_shards_are() {
    let folder = Folder::new();
    let train = |flags: &str| outcome(folder.train(&format!("--data classes.csv --label side {flags}")));
    assert_eq!(train("--out outside --cache kept"), train("--out inside"));
}

#[test]
fn a_shard_that_is_damaged_on_the_disk_is_cut_again() {
    let folder = Folder::new();
    folder.write("many.csv", &many());
    let train = |out: &str| {
        let flags = "--data many.csv --model linear --cross-validation 0 --cache kept --iterations 1";
        outcome(folder.train(&format!("{flags} --out {out}")))
    };
    let first = train("one");
    for name in names(&folder, "kept/shards") {
        let path = folder.path("kept/shards").join(name);
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(path, content).unwrap();
    }
    assert_eq!(train("two"), first);
}
