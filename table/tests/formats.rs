//! Formats that are no text, written by hand or by the libraries that read them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use table::{
    InputValues, Kind, Labels, LeftOut, PixelScaling, PixelValues, Preparation, ReadOptions, Scratch, Table,
    Targets, Values, read, read_matching,
};
use tempfile::TempDir;

fn load(path: &Path) -> Result<table::DataSet, String> {
    read(&[path.to_owned()], &ReadOptions::default()).map_err(|error| error.to_string())
}

fn numbers(table: &Table, column: usize) -> Vec<f64> {
    match &table.columns[column].values {
        Values::Numbers(values) => values.iter().collect(),
        other => panic!("{other:?} where numbers were expected"),
    }
}

fn classes(table: &Table) -> Vec<String> {
    match &table.targets {
        Some(Targets::Classes { ids, names }) => {
            ids.iter().map(|&id| names[usize::from(id)].clone()).collect()
        }
        other => panic!("{other:?} where classes were expected"),
    }
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn write_parquet(path: &Path, compression: Compression) {
    let schema = "message table {
        required double x;
        optional int32 n;
        optional boolean ok;
        required int32 day (DATE);
        required int64 at (TIMESTAMP(MILLIS, true));
        optional binary color (STRING);
        required int32 cents (DECIMAL(9, 2));
        repeated int32 list;
        required binary kind (STRING);
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, properties).unwrap();
    let text = |text: &str| ByteArray::from(text);
    for group in 0..2 {
        let mut rows = writer.next_row_group().unwrap();
        let mut index = 0;
        while let Some(mut column) = rows.next_column().unwrap() {
            match (index, column.untyped()) {
                (0, ColumnWriter::DoubleColumnWriter(writer)) => {
                    writer.write_batch(&[0.1 + f64::from(group), 2.0], None, None)
                }
                (1, ColumnWriter::Int32ColumnWriter(writer)) => {
                    writer.write_batch(&[7 + group], Some(&[0, 1]), None)
                }
                (2, ColumnWriter::BoolColumnWriter(writer)) => {
                    writer.write_batch(&[true, false], Some(&[1, 1]), None)
                }
                (3, ColumnWriter::Int32ColumnWriter(writer)) => {
                    writer.write_batch(&[1, 2 + group], None, None)
                }
                (4, ColumnWriter::Int64ColumnWriter(writer)) => writer.write_batch(&[1500, 3000], None, None),
                (5, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                    writer.write_batch(&[text("red")], Some(&[1, 0]), None)
                }
                (6, ColumnWriter::Int32ColumnWriter(writer)) => writer.write_batch(&[1999, -5], None, None),
                (7, ColumnWriter::Int32ColumnWriter(writer)) => {
                    writer.write_batch(&[1, 2], Some(&[1, 1]), Some(&[0, 0]))
                }
                (8, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                    writer.write_batch(&[text("b"), text("a")], None, None)
                }
                _ => panic!("a column of another type"),
            }
            .unwrap();
            column.close().unwrap();
            index += 1;
        }
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn parquet_of_every_compression() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("copy.pq");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::GZIP(Default::default()),
        Compression::LZ4_RAW,
    ] {
        let path = folder.path().join("a.parquet");
        write_parquet(&path, compression);
        let table = load(&path).unwrap().train;
        // Outside of memory it is the same table.
        let scratch = Some(Scratch::create(folder.path()).unwrap());
        let outside = ReadOptions { scratch, ..ReadOptions::default() };
        for files in [vec![path.clone()], vec![path.clone(), copy.clone()]] {
            std::fs::copy(&path, &copy).unwrap();
            let [one, other] =
                [&ReadOptions::default(), &outside].map(|options| read(&files, options).unwrap().train);
            assert!(other.is_outside());
            let other = other.into_memory().unwrap();
            assert_eq!((&one.targets, one.rows), (&other.targets, 4 * files.len()));
            assert_eq!(format!("{:?}", one.columns), format!("{:?}", other.columns));
        }
        assert_eq!(numbers(&table, 0), [0.1, 2.0, 1.1, 2.0]);
        assert_eq!(
            numbers(&table, 1).iter().map(|value| value.to_string()).collect::<Vec<_>>(),
            ["NaN", "7", "NaN", "8"]
        );
        assert_eq!((table.columns[2].kind, numbers(&table, 2)), (Kind::Boolean, vec![1.0, 0.0, 1.0, 0.0]));
        assert_eq!(
            (table.columns[3].kind, numbers(&table, 3)),
            (Kind::Date, vec![86_400.0, 172_800.0, 86_400.0, 259_200.0])
        );
        assert_eq!(numbers(&table, 4), [1.5, 3.0, 1.5, 3.0]);
        assert!(
            matches!(&table.columns[5].values, Values::Texts(texts) if texts.get(0) == Some("red") && texts.get(1).is_none())
        );
        assert_eq!(numbers(&table, 6), [19.99, -0.05, 19.99, -0.05]);
        assert_eq!(table.columns[7].left_out, Some(LeftOut::Nested));
        assert_eq!(classes(&table), ["b", "a", "b", "a"]);
    }
    // Several files, or a compressed one, are the same.
    let path = folder.path().join("a.parquet");
    let whole = zstd::encode_all(std::fs::File::open(&path).unwrap(), 1).unwrap();
    assert_eq!(load(&write(&folder, "b.zst", &whole)).unwrap().train.rows, 4);
    std::fs::copy(&path, folder.path().join("c.parquet")).unwrap();
    assert_eq!(load(&folder.path().join("*.parquet")).unwrap().train.rows, 8);
    let bytes = std::fs::read(&path).unwrap();
    for cut in [4, bytes.len() / 2, bytes.len() - 1] {
        let message = load(&write(&folder, "d.parquet", &bytes[..cut])).unwrap_err();
        assert!(message.contains("damaged Parquet"), "{message}");
    }
}

#[test]
fn an_index_of_pandas_is_not_the_label() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("frame.parquet");
    let schema = "message schema { REQUIRED INT32 x; REQUIRED INT32 k; REQUIRED INT32 __index_level_0__; }";
    let noted = r#"{"index_columns": ["__index_level_0__"], "columns": []}"#.to_owned();
    let noted = KeyValue::new("pandas".to_owned(), noted);
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![noted])).build();
    let file = std::fs::File::create(&path).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    for values in [[3, 1, 2, 5], [0, 1, 1, 0], [70, 8, 21, 9]] {
        let mut column = rows.next_column().unwrap().unwrap();
        let ColumnWriter::Int32ColumnWriter(writer) = column.untyped() else { panic!("another type") };
        writer.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    rows.close().unwrap();
    writer.close().unwrap();
    let table = load(&path).unwrap().train;
    assert_eq!(classes(&table), ["0", "1", "1", "0"]);
    assert_eq!(table.columns[0].left_out, Some(LeftOut::Identifier));
    assert_eq!(numbers(&table, 1), [3.0, 1.0, 2.0, 5.0]);
}

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': {}, 'shape': ({shape}), }}",
        if fortran { "True" } else { "False" }
    );
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
}

#[test]
fn arrays_of_every_type_and_order() {
    let folder = TempDir::new().unwrap();
    // Rows 1, 2, 0 and 3, 4, 1 and 5, 6, 0 and 7, 8, 1.
    let rows: [i64; 12] = [1, 2, 0, 3, 4, 1, 5, 6, 0, 7, 8, 1];
    let columns: [i64; 12] = [1, 3, 5, 7, 2, 4, 6, 8, 0, 1, 0, 1];
    macro_rules! bytes {
        ($values:expr, $type:ty, $method:ident) => {
            $values.iter().flat_map(|&value| (value as $type).$method()).collect::<Vec<u8>>()
        };
    }
    let half = |values: &[i64]| -> Vec<u8> {
        values.iter().flat_map(|&value| half::f16::from_f64(value as f64).to_le_bytes()).collect()
    };
    let cases = [
        ("|u1", false, bytes!(rows, u8, to_le_bytes)),
        ("|i1", true, bytes!(columns, i8, to_le_bytes)),
        ("<u2", false, bytes!(rows, u16, to_le_bytes)),
        (">i2", false, bytes!(rows, i16, to_be_bytes)),
        ("<i4", true, bytes!(columns, i32, to_le_bytes)),
        (">u4", true, bytes!(columns, u32, to_be_bytes)),
        ("<i8", false, bytes!(rows, i64, to_le_bytes)),
        (">u8", false, bytes!(rows, u64, to_be_bytes)),
        ("<f2", false, half(&rows)),
        (">f4", false, bytes!(rows, f32, to_be_bytes)),
        ("<f8", true, bytes!(columns, f64, to_le_bytes)),
    ];
    for (descr, fortran, data) in cases {
        let table = load(&write(&folder, "a.npy", &npy(descr, fortran, "4, 3", &data))).unwrap().train;
        assert_eq!(
            (numbers(&table, 0), numbers(&table, 1)),
            (vec![1.0, 3.0, 5.0, 7.0], vec![2.0, 4.0, 6.0, 8.0]),
            "{descr}"
        );
        assert_eq!(classes(&table), ["0", "1", "0", "1"], "{descr}");
    }
    let refused = |bytes: &[u8]| load(&write(&folder, "b.npy", bytes)).unwrap_err();
    assert!(refused(&npy("|O", false, "2, 2", &[0; 32])).contains("array of objects"));
    assert!(refused(&npy("<f8", false, "4, 3", &[0; 8])).contains("cut short"));
    assert!(refused(&npy("<c16", false, "1, 1", &[0; 16])).contains("save it as float64"));
    assert!(refused(&npy("<f8", false, "9999999999, 9999999999", &[])).contains("more than"));
    assert!(refused(&npy("<f8", false, "3,", &[0; 24])).contains("one dimension"));
    // A header may not take memory without bound, however little of it is on the disk.
    let long = [b"\x93NUMPY\x02\x00\xff\xff\xff\xff".as_slice(), &[b' '; 64]].concat();
    assert!(refused(&long).contains("header is too long"));
}

fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn archives_of_arrays_with_a_test_part() {
    let folder = TempDir::new().unwrap();
    // Two images of 5 x 1 with three channels that come last.
    let images: Vec<u8> = (0..30).collect();
    let text: Vec<u8> = "ba".chars().flat_map(|character| (character as u32).to_le_bytes()).collect();
    let path = write(
        &folder,
        "a.npz",
        &npz(&[
            ("x_train", npy("|u1", false, "2, 5, 1, 3", &images)),
            ("y_train", npy("<U1", false, "2,", &text)),
            ("x_test", npy("|u1", false, "1, 5, 1, 3", &images[..15])),
            ("y_test", npy("<U1", false, "1,", &text[4..])),
        ]),
    );
    let data = load(&path).unwrap();
    let pixels = data.train.pixels.as_ref().unwrap();
    assert_eq!((pixels.shape.as_slice(), pixels.scaling), (&[3, 5, 1][..], PixelScaling::Bytes));
    assert!(matches!(&pixels.values, PixelValues::U8(values) if values[..5] == [0, 3, 6, 9, 12]));
    assert_eq!(classes(&data.train), ["b", "a"]);
    assert_eq!(classes(&data.test.unwrap()), ["a"]);
    let rows: Vec<u8> = [1.5_f64, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let path = write(
        &folder,
        "b.npz",
        &npz(&[("X", npy("<f8", false, "4, 1", &rows)), ("y", npy("|b1", false, "4,", &[1, 0, 1, 0]))]),
    );
    let table = load(&path).unwrap().train;
    assert_eq!(
        (numbers(&table, 0), classes(&table)),
        (vec![1.5, 2.0, 3.0, 4.0], ["true", "false", "true", "false"].map(str::to_owned).to_vec())
    );
    let odd = write(&folder, "c.npz", &npz(&[("weights", npy("<f8", false, "4, 1", &rows))]));
    assert!(load(&odd).unwrap_err().contains("its arrays are \"weights\""));
}

#[test]
fn svmlight_keeps_its_zeros() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "a.svm", b"+1 1:0.5 3:2 # first\n\n-1 2:-4\n+1 qid:3 3:1\n-1 1:0.25\n");
    let table = load(&path).unwrap().train;
    assert_eq!(classes(&table), ["1", "-1", "1", "-1"]);
    let (preparation, _) = Preparation::fit(&table, &[0, 1, 2], &[]).unwrap();
    assert_eq!(preparation.standardization(), (vec![0.0; 3], vec![2.0, 0.25, 0.5]));
    let stored = preparation.store(table).unwrap();
    assert_eq!(
        stored.inputs(&preparation, &[1, 0, 2], false).values,
        InputValues::F32(vec![0.0, -4.0, 0.0, 0.5, 0.0, 2.0, 0.0, 0.0, 1.0])
    );
    let fewer = write(&folder, "b.svm", b"-1 1:1\n+1 2:1\n");
    let again = read_matching(&[fewer], &preparation, &ReadOptions::default(), Labels::Required).unwrap();
    assert_eq!(
        (again.pixels.as_ref().unwrap().shape.as_slice(), classes(&again)),
        (&[3][..], vec!["-1".to_owned(), "1".to_owned()])
    );
    let more = write(&folder, "c.svm", b"-1 9:1\n");
    let message = read_matching(&[more], &preparation, &ReadOptions::default(), Labels::Ignored)
        .unwrap_err()
        .to_string();
    assert!(message.contains("9 features where the training data has 3"), "{message}");
    let twice = load(&write(&folder, "e.svm", b"-1 1:1 2:5\n+1 2:1 1:3 2:4\n")).unwrap_err();
    assert!(twice.contains("line 2: the index 2 stands there twice"), "{twice}");
    let backward = load(&write(&folder, "f.svm", b"-1 2:1 1:5\n+1 3:1\n")).unwrap().train;
    assert!(
        matches!(&backward.pixels.unwrap().values, PixelValues::F32(values) if values == &[5.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    );
    assert!(load(&write(&folder, "d.svm", &[b"1 1:1\n".repeat(20), b"1 1:x\n".to_vec()].concat())).is_err());
}

fn png(width: u32, height: u32, color: png::ColorType, values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.write_header().unwrap().write_image_data(values).unwrap();
    bytes
}

#[test]
fn a_directory_of_images() {
    let folder = TempDir::new().unwrap();
    let grey = |value: u8| png(2, 2, png::ColorType::Grayscale, &[value, value, 0, 255]);
    for (name, value) in [("cat/1.png", 10), ("cat/2.png", 20), ("dog/1.PNG", 30)] {
        write(&folder, &format!("train/{name}"), &grey(value));
    }
    write(&folder, "test/dog/9.png", &grey(40));
    let data = load(folder.path()).unwrap();
    let pixels = data.train.pixels.as_ref().unwrap();
    assert_eq!(pixels.shape, [2, 2]);
    assert!(
        matches!(&pixels.values, PixelValues::U8(values) if values == &[10, 10, 0, 255, 20, 20, 0, 255, 30, 30, 0, 255])
    );
    assert_eq!(classes(&data.train), ["cat", "cat", "dog"]);
    assert_eq!(classes(&data.test.unwrap()), ["dog"]);
    // A model reads a flat directory to predict.
    let (preparation, _) = Preparation::fit(&data.train, &[0, 1, 2], &[]).unwrap();
    let flat = TempDir::new().unwrap();
    write(&flat, "a.png", &grey(7));
    let paths = [flat.path().to_owned()];
    assert_eq!(
        read_matching(&paths, &preparation, &ReadOptions::default(), Labels::Ignored).unwrap().rows,
        1
    );
    // Colors, other sizes and damaged files.
    write(&folder, "train/dog/2.png", &png(1, 1, png::ColorType::Rgb, &[1, 2, 3]));
    assert!(load(folder.path()).unwrap_err().contains("--image-size 32x32"));
    let sized = ReadOptions { image_size: Some("1x1".parse().unwrap()), ..ReadOptions::default() };
    let table = read(&[folder.path().to_owned()], &sized).unwrap().train;
    // The mean of 10, 10, 0, 255 is 68.75.
    assert!(
        matches!(&table.pixels.unwrap().values, PixelValues::U8(values) if values[..3] == [69, 69, 69] && values[9..] == [1, 2, 3])
    );
    std::fs::remove_file(folder.path().join("train/dog/2.png")).unwrap();
    write(&folder, "train/dog/3.png", &grey(1)[..40]);
    let message = load(folder.path()).unwrap_err();
    assert!(message.contains("1 of 4 rows") && message.contains("3.png"), "{message}");
    for number in 0..100 {
        write(&folder, &format!("train/cat/c{number}.png"), &grey(number));
    }
    let table = load(folder.path()).unwrap().train;
    assert_eq!((table.rows, table.targets.unwrap().len()), (103, 103));
    assert!(table.notices[0].contains("1 image cannot be decoded"), "{:?}", table.notices);
}

fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

#[test]
fn a_directory_of_idx_files() {
    let folder = TempDir::new().unwrap();
    write(&folder, "train-images-idx3-ubyte", &idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]));
    write(&folder, "train-labels-idx1-ubyte", &idx(&[3], &[7, 3, 7]));
    let data = load(folder.path()).unwrap();
    assert!(data.test.is_none());
    assert_eq!(
        (data.train.pixels.as_ref().unwrap().shape.as_slice(), classes(&data.train)),
        (&[1, 2][..], vec!["7".to_owned(), "3".to_owned(), "7".to_owned()])
    );
    write(&folder, "test-images", &idx(&[1, 1, 2], &[9, 9]));
    assert!(
        load(folder.path()).unwrap_err().contains("it has images, but no file t10k-labels* or test-labels*"),
        "{}",
        load(folder.path()).unwrap_err()
    );
    write(&folder, "test-labels", &idx(&[1], &[3]));
    let data = load(folder.path()).unwrap();
    assert_eq!(classes(data.test.as_ref().unwrap()), ["3"]);
    write(&folder, "test-labels", &idx(&[1], &[4]));
    assert!(load(folder.path()).unwrap_err().contains("the label \"4\" is not a class"));
    write(&folder, "test-images", &idx(&[1, 2, 1], &[9, 9]));
    assert!(load(folder.path()).unwrap_err().contains("[2, 1]"));
    write(&folder, "test-images", &idx(&[1, 1, 2], &[9, 9, 9]));
    assert!(load(folder.path()).unwrap_err().contains("goes on after"));
    write(&folder, "test-images", &idx(&[1, 1, 2], &[9]));
    assert!(load(folder.path()).unwrap_err().contains("cut short"));
}
