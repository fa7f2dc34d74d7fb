//! Data that memory does not hold, cut into a bucket: the same bits as from memory, whatever they come from.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use support::program::{Ran, shoal};
use tempfile::TempDir;

use crate::bucket::Bucket;

const ROWS: usize = 3_000;

/// An input, another one, and a class.
fn row(row: usize) -> (f64, i32, &'static str) {
    let draw = row.wrapping_mul(2_654_435_761) >> 7;
    ((draw % 1_000) as f64 / 8.0, (draw % 977) as i32, ["left", "right"][draw % 5 % 2])
}

fn csv(path: &Path) {
    let mut text = String::from("x,n,side\n");
    for (x, n, side) in (0..ROWS).map(row) {
        writeln!(text, "{x},{n},{side}").unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// Three groups of rows.
fn parquet(path: &Path) {
    let schema = "message table { required double x; required int32 n; required binary side (STRING); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    for group in 0..3 {
        let rows: Vec<_> = (group * ROWS / 3..(group + 1) * ROWS / 3).map(row).collect();
        let mut columns = writer.next_row_group().unwrap();
        while let Some(mut column) = columns.next_column().unwrap() {
            match column.untyped() {
                ColumnWriter::DoubleColumnWriter(writer) => {
                    writer.write_batch(&rows.iter().map(|row| row.0).collect::<Vec<_>>(), None, None)
                }
                ColumnWriter::Int32ColumnWriter(writer) => {
                    writer.write_batch(&rows.iter().map(|row| row.1).collect::<Vec<_>>(), None, None)
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(
                    &rows.iter().map(|row| ByteArray::from(row.2)).collect::<Vec<_>>(),
                    None,
                    None,
                ),
                _ => panic!("a column of another type"),
            }
            .unwrap();
            column.close().unwrap();
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
}

/// A folder for each class.
fn images(folder: &Path) {
    for number in 0..240_u8 {
        let class = folder.join(["cat", "dog"][usize::from(number % 2)]);
        std::fs::create_dir_all(&class).unwrap();
        let file = std::fs::File::create(class.join(format!("{number:03}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 6, 5);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> = (0..30).map(|pixel| number.wrapping_mul(31).wrapping_add(pixel * 7)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
}

#[test]
fn tables_and_images_are_cut_into_a_bucket_and_the_weights_are_the_same() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    csv(&at("data.csv"));
    parquet(&at("data.parquet"));
    images(&at("images"));
    let bucket = Bucket::serve();
    let train = |data: &str, flags: &[&str]| {
        let alone = ["--listen", "127.0.0.1:0", "--cross-validation", "0", "--iterations", "2", "--json"];
        let arguments = ["train", "--data", data, "--model", "mlp:4"].into_iter().chain(alone);
        let mut command = shoal(arguments.chain(flags.iter().copied()));
        let mut summary: Value =
            Ran::of(command.current_dir(folder.path()).envs(bucket.environment())).succeeded().last_json();
        summary["weights_digest"].take()
    };
    let mut digests = Vec::new();
    for (number, data) in ["data.csv", "data.parquet", "images"].into_iter().enumerate() {
        let name = |kind: &str| format!("{kind}-{number}");
        let (inside, outside, cache) = (name("inside"), name("outside"), name("cache"));
        let store = format!("s3://bucket/run-{number}");
        let digest = train(data, &["--out", &inside]);
        assert_eq!(train(data, &["--out", &outside, "--cache", &cache, "--store", &store]), digest, "{data}");
        assert_eq!(std::fs::read_dir(at(&cache)).unwrap().count(), 0, "the columns are gone");
        let shards = bucket.list(&format!("bucket/run-{number}/shards/"));
        assert!(shards.len() >= 2, "training and test: {shards:?}");
        assert!(bucket.list(&format!("bucket/run-{number}/probes/")).is_empty());
        digests.push(digest);
    }
    assert_eq!(digests[0], digests[1], "the same table");
}
