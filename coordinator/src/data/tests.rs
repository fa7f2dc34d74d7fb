//! Whole files through the readers and `prepare`: what is read, and the sentence a wrong file gets.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use model::{Rows, Targets, Task};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn labeled(label: &str) -> LoadOptions {
    LoadOptions { labels: vec![label.to_owned()], ..LoadOptions::default() }
}

fn csv(content: &str) -> Result<Dataset, DataError> {
    csv_with(content, &LoadOptions::default())
}

fn csv_with(content: impl AsRef<[u8]>, options: &LoadOptions) -> Result<Dataset, DataError> {
    let folder = Folder::new();
    load(&folder.file("a.csv", content), options).map(|loaded| loaded.train)
}

/// The message of an error without its path.
fn message(result: Result<Dataset, DataError>) -> String {
    let text = result.unwrap_err().to_string();
    text.split_once("a.csv").map_or(text.clone(), |(_, rest)| rest.trim_start_matches([':', ' ']).to_owned())
}

fn classes(dataset: &Dataset) -> (&[u16], &[String]) {
    match &dataset.targets {
        TargetColumn::Classes { ids, names } => (ids, names),
        TargetColumn::Numbers { .. } => panic!("numbers where classes were expected"),
    }
}

fn f32s(dataset: &Dataset) -> &[f32] {
    match dataset.features.values() {
        FeatureValues::F32(values) => values,
        FeatureValues::U8(_) => panic!("bytes where f32 were expected"),
    }
}

const FLOWERS: &str = "sepal,petal,species\n1.5,2,b\n3,-4,a\n5,6,b\n";

#[test]
fn a_csv_file_with_a_header_and_text_labels() {
    let data = csv(FLOWERS).unwrap();
    assert_eq!(f32s(&data), [1.5, 2.0, 3.0, -4.0, 5.0, 6.0]);
    assert_eq!(data.feature_names.as_deref().unwrap(), ["sepal", "petal"]);
    assert_eq!(classes(&data), (&[1, 0, 1][..], &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!(data.schema().task(), Task::Classes(2));
}

#[test]
fn the_label_column_by_name_by_index_and_from_the_end() {
    for label in ["kind", "0", "-3"] {
        let data = csv_with("kind,x,y\nb,1,2\na,3,4\n", &labeled(label)).unwrap();
        assert_eq!(data.features.values(), &FeatureValues::U8(vec![1, 2, 3, 4]), "{label}");
        assert_eq!(classes(&data).0, [1, 0], "{label}");
        assert_eq!(data.label_columns, [0]);
    }
    // Without being asked: a usual name, else the last column.
    assert_eq!(csv("Label,x\n1,0.5\n0,0.5\n1,7\n0,1\n").unwrap().label_columns, [0]);
    assert_eq!(csv("1,0\n2,1\n3,0\n4,1\n").unwrap().label_columns, [1]);
}

#[test]
fn integer_labels_are_sorted_as_numbers_and_written_in_one_way() {
    let data = csv(&"1,10\n1,9\n1,10.0\n1,09\n".repeat(2)).unwrap();
    assert_eq!(classes(&data), (&[1, 0, 1, 0, 1, 0, 1, 0][..], &["9".to_owned(), "10".to_owned()][..]));
}

#[test]
fn what_is_a_class_and_what_a_number() {
    let values = |data: Dataset| match data.targets {
        TargetColumn::Numbers { values, names } => (values, names),
        TargetColumn::Classes { .. } => panic!("classes where numbers were expected"),
    };
    // Fractions, or integers that hardly repeat, are numbers.
    assert_eq!(values(csv("x,y\n1,0.5\n2,1\n3,0.5\n").unwrap()), (vec![0.5, 1.0, 0.5], vec!["y".to_owned()]));
    assert_eq!(values(csv("1,7\n2,8\n3,9\n").unwrap()).0, [7.0, 8.0, 9.0]);
    // The user has the last word.
    let numbers = LoadOptions { task: Some(TaskKind::Numbers), ..LoadOptions::default() };
    assert_eq!(values(csv_with("1,0\n2,1\n3,0\n4,1\n", &numbers).unwrap()).0, [0.0, 1.0, 0.0, 1.0]);
    let asked = LoadOptions { task: Some(TaskKind::Classes), ..LoadOptions::default() };
    assert_eq!(classes(&csv_with("1,7\n2,8.5\n", &asked).unwrap()).1.len(), 2);
    // Several columns are numbers.
    let both = LoadOptions { labels: vec!["-1".to_owned(), "0".to_owned()], ..LoadOptions::default() };
    let data = csv_with("1,2,3\n4,5,6\n", &both).unwrap();
    assert_eq!(data.features.values(), &FeatureValues::U8(vec![2, 5]));
    assert_eq!(data.schema().task(), Task::Numbers(2));
    assert_eq!(values(data).0, [3.0, 1.0, 6.0, 4.0]);
}

#[test]
fn bytes_stay_bytes_and_one_other_value_makes_all_f32() {
    assert_eq!(csv("0,255,a\n7,1.0,b\n").unwrap().features.values(), &FeatureValues::U8(vec![0, 255, 7, 1]));
    assert_eq!(f32s(&csv("0,255,a\n7,256,b\n").unwrap()), [0.0, 255.0, 7.0, 256.0]);
    assert_eq!(f32s(&csv("0,255,a\n-1,2,b\n").unwrap()), [0.0, 255.0, -1.0, 2.0]);
}

#[test]
fn gzip_separators_quotes_blank_lines_and_a_byte_order_mark() {
    let plain = csv(FLOWERS).unwrap();
    assert_eq!(csv_with(gzip(FLOWERS.as_bytes()), &LoadOptions::default()).unwrap(), plain);
    assert_eq!(csv(&FLOWERS.replace(',', ";")).unwrap(), plain);
    assert_eq!(csv(&FLOWERS.replace(',', " \t ")).unwrap(), plain);
    assert_eq!(csv(&FLOWERS.replace('\n', "\r\n\r\n").replace("sepal", "\"sepal\"")).unwrap(), plain);
    assert_eq!(csv(&format!("\u{feff}{FLOWERS}")).unwrap(), plain);
}

#[test]
fn a_first_line_of_counts_names_the_classes() {
    let data = csv("3,2,malignant,benign\n1,2,0\n3,4,1\n5,6,1\n").unwrap();
    assert_eq!(classes(&data), (&[0, 1, 1][..], &["malignant".to_owned(), "benign".to_owned()][..]));
    assert_eq!(
        message(csv("4,2,malignant,benign\n1,2,0\n3,4,1\n5,6,1\n")),
        "is not a data set Shoal can read: its first line says 4 examples, but 3 follow; correct or remove that line"
    );
    assert_eq!(
        message(csv("2,2,malignant,benign\n1,2,0\n3,4,2\n")),
        "line 3, column 2: the label \"2\" is not one of 0 to 1, for which the first line has names"
    );
}

#[test]
fn wrong_csv_files_get_a_sentence_that_names_the_place() {
    let cases = [
        ("", "has no examples in it"),
        ("\n\n", "has no examples in it"),
        ("a,b\n", "has no examples in it"),
        ("1,2,a\n3,4,5,b\n", "line 2: 4 cells where the first row has 3"),
        ("x,y,k\n\n1,2,a\n1,oops,b\n", "line 4, column 1 (y): \"oops\" is not a number"),
        ("1,2,a\n1,,b\n", "line 2, column 1: the cell is empty"),
        ("1,2,a\n1,NaN,b\n", "line 2, column 1: \"NaN\" is not a finite number"),
        ("1,2,a\n1,-inf,b\n", "line 2, column 1: \"-inf\" is not a finite number"),
        ("1,2,a\n1,1e999,b\n", "line 2, column 1: \"1e999\" is not a finite number"),
        ("1,2,a\n1,1e31,b\n", "line 2, column 1: \"1e31\" is too large, the limit is 1e30"),
        ("1,2,a\n1,2,\n", "line 2, column 2: the label is missing"),
        ("1,a\n2,a\n", "every label is \"a\"; there is nothing to learn"),
        ("a\nb\n", "apart from the label it has no column to learn from"),
        ("x,x,k\n1,2,a\n1,2,b\n", "two columns are called \"x\""),
        ("x,x\n1,2\n1,2\n", "two columns are called \"x\""),
        ("1,0.5\n2,NA\n", "the label \"NA\" on line 2 is not a number, but the one on line 1 is"),
        (
            "red,1,a\nblue,2,b\n",
            "line 1, column 0: \"red\" is not a number; write numbers like 1.5, or remove the column (if this line is a header",
        ),
        ("PK\u{3}\u{4}", "it is a zip archive or a spreadsheet"),
        ("1,2\0", "it is binary"),
    ];
    for (content, expected) in cases {
        let message = message(csv(content));
        assert!(message.contains(expected), "{content:?} gave {message:?}");
    }
    let quoted_garbage = message(csv(&format!("1,2,a\n{},2,b\n", "z".repeat(500))));
    assert!(quoted_garbage.len() < 200, "{quoted_garbage}");
    let utf16: Vec<u8> = FLOWERS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = [b"\xff\xfe", utf16.as_slice()].concat();
    assert!(message(csv_with(utf16, &LoadOptions::default())).contains("UTF-16"));
}

#[test]
fn names_in_another_encoding_are_refused_because_they_would_become_one() {
    let cases: [(&[u8], &str); 4] = [
        (b"x,k\n1,Gl\xfcck\n2,Gl\xf6ck\n", "line 2, column 1 (k)"),
        (b"1,2,\xe9t\xe9\n3,4,b\n", "line 1, column 2"),
        (b"x,\xfc,k\n1,2,a\n3,4,b\n", "line 1, column 1"),
        (b"2,1,\xfc,\xf6\n1,0\n2,1\n", "line 1, column 2"),
    ];
    for (content, place) in cases {
        let message = message(csv_with(content, &LoadOptions::default()));
        assert!(message.contains(place) && message.contains("save the file as UTF-8"), "{message}");
    }
}

#[test]
fn wrong_label_options_get_a_sentence() {
    let cases = [
        (FLOWERS, "color", "there is no column \"color\"; the columns are \"sepal\", \"petal\", \"species\""),
        (FLOWERS, "3", "there is no column 3; the 3 columns are 0 to 2, or -3 to -1"),
        ("1,2\n3,4\n", "kind", "the file has no header; give the column's index"),
    ];
    for (content, label, expected) in cases {
        let message = message(csv_with(content, &labeled(label)));
        assert!(message.contains(expected), "{label} gave {message:?}");
    }
    let twice = LoadOptions { labels: vec!["0".to_owned(), "-2".to_owned()], ..LoadOptions::default() };
    assert!(message(csv_with("1,2\n3,4\n", &twice)).contains("named twice"));
}

#[test]
fn too_many_classes_are_refused() {
    let mut content = String::new();
    for row in 0..=limits::MAX_CLASSES {
        content += &format!("1,c{row}\n");
    }
    assert!(matches!(csv(&content), Err(DataError::TooManyClasses { .. })));
}

#[test]
fn damaged_gzip_is_told_from_bad_cells() {
    let mut varied = String::new();
    for row in 0..5000 {
        varied += &format!("{},{}\n", row * 7919 % 10_007, row % 2);
    }
    let whole = gzip(varied.as_bytes());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0xff;
    for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 3], &whole[..5], &flipped] {
        let result = csv_with(damaged, &LoadOptions::default());
        assert!(matches!(result, Err(DataError::Gzip { .. })), "{result:?}");
    }
}

fn test_file(train: &Dataset, content: &str, options: &LoadOptions) -> Result<Dataset, DataError> {
    let folder = Folder::new();
    load_test(&folder.file("a.csv", content), train, options)
}

#[test]
fn a_test_file_is_read_by_the_schema_of_the_training_file() {
    let train = csv(FLOWERS).unwrap();
    // Other order, another column: by name.
    let test = test_file(&train, "species,id,petal,sepal\nb,77,2,1\n", &LoadOptions::default()).unwrap();
    assert_eq!(test.features.values(), &FeatureValues::U8(vec![1, 2]));
    assert_eq!(classes(&test).0, [1]);
    // No header: by position.
    let test = test_file(&train, "1,2,b\n", &LoadOptions::default()).unwrap();
    assert_eq!((test.features.values(), classes(&test).0), (&FeatureValues::U8(vec![1, 2]), &[1][..]));
    // The training file's label index does not point into the test file.
    let test = test_file(&train, "species,petal,sepal\nb,2,1\n", &labeled("2")).unwrap();
    assert_eq!((test.features.values(), classes(&test).0), (&FeatureValues::U8(vec![1, 2]), &[1][..]));
    // For a trained model the user may say where the label is.
    let folder = Folder::new();
    let path = folder.file("a.csv", "b,1,2\n");
    for labels in [Labels::Required, Labels::Ignored] {
        let matched = load_matching(&path, &train.schema(), &labeled("0"), labels).unwrap();
        assert_eq!(matched.features.values(), &FeatureValues::U8(vec![1, 2]));
        assert_eq!(matched.targets.is_some(), labels == Labels::Required);
    }
}

#[test]
fn a_test_file_that_does_not_fit_gets_a_sentence() {
    let train = csv(FLOWERS).unwrap();
    let cases = [
        ("1,2,b\n1,2,c\n1,2,a\n", "the label \"c\" on line 2 is not a class of the training data"),
        ("sepal,width,species\n1,2,b\n", "it has no column \"petal\""),
        ("sepal,petal\n1,2\n", "it has no label column \"species\""),
        ("1,2\n", "has no labels, so there is nothing to test against"),
        ("1,2,3,4,b\n", "it has 5 columns where 2 features, or 3 columns with the label, are needed"),
    ];
    for (content, expected) in cases {
        let message = message(test_file(&train, content, &LoadOptions::default()));
        assert!(message.contains(expected), "{content:?} gave {message:?}");
    }
}

#[test]
fn rows_to_predict_need_no_labels_and_labels_there_are_not_looked_at() {
    let schema = csv(FLOWERS).unwrap().schema();
    let folder = Folder::new();
    for content in
        ["1,2\n3,4\n", "1,2,\n3,4,?\n", "petal,sepal\n2,1\n4,3\n", "species,petal,sepal\n,2,1\n,4,3\n"]
    {
        let path = folder.file("a.csv", content);
        let matched = load_matching(&path, &schema, &LoadOptions::default(), Labels::Ignored).unwrap();
        let expected = FeatureRows::new(2, FeatureValues::U8(vec![1, 2, 3, 4]));
        assert_eq!(matched, Matched { features: expected, targets: None }, "{content:?}");
    }
}

fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

#[test]
fn a_directory_of_idx_files_plain_or_gzip() {
    let folder = Folder::new();
    folder.file("train-images-idx3-ubyte", idx(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]));
    folder.file("train-labels-idx1-ubyte.gz", gzip(&idx(&[3], &[7, 3, 7])));
    let options = LoadOptions::default();
    let loaded = load(folder.path(), &options).unwrap();
    assert_eq!(loaded.test, None);
    assert_eq!(loaded.train.features.values(), &FeatureValues::U8(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(classes(&loaded.train), (&[1, 0, 1][..], &["3".to_owned(), "7".to_owned()][..]));
    assert_eq!(loaded.train.kind, DatasetKind::Images { shape: vec![1, 2] });

    folder.file("test-images.gz", gzip(&idx(&[1, 1, 2], &[9, 9])));
    let message = load(folder.path(), &options).unwrap_err().to_string();
    assert!(message.contains("test images but no test labels"), "{message}");
    folder.file("test-labels", idx(&[1], &[3]));
    let loaded = load(folder.path(), &options).unwrap();
    let test = loaded.test.unwrap();
    assert_eq!(classes(&test).0, [0]);
    // For a trained model the test part is what counts.
    let schema = loaded.train.schema();
    let matched = load_matching(folder.path(), &schema, &options, Labels::Required).unwrap();
    assert_eq!(matched, Matched { features: test.features, targets: Some(test.targets) });

    folder.file("test-labels", idx(&[1], &[4]));
    let message = load(folder.path(), &options).unwrap_err().to_string();
    assert!(message.contains("label 4 of example 0 is not a class of the training data"), "{message}");
}

#[test]
fn wrong_idx_files_get_a_sentence() {
    let good_images = idx(&[2, 2], &[1, 2, 3, 4]);
    let good_labels = idx(&[2], &[0, 1]);
    let huge = [vec![0, 0, 8, 3], [255; 12].to_vec()].concat();
    let cases: [(&[u8], &[u8], &str); 11] = [
        (b"", &good_labels, "ends after 0 of 4 bytes"),
        (b"hello world", &good_labels, "it starts with [68, 65, 6c, 6c]"),
        (&[0, 0, 13, 2, 0, 0, 0, 1], &good_labels, "type 0x0d, but only unsigned bytes"),
        (&good_images[..good_images.len() - 1], &good_labels, "ends after 3 of 4 bytes; it was cut short"),
        (&good_images[..7], &good_labels, "ends after 3 of 8 bytes"),
        (&[good_images.as_slice(), b"x"].concat(), &good_labels, "goes on after the number of values"),
        (&huge, &good_labels, "more than 100000000 examples"),
        (&idx(&[0, 2], &[]), &good_labels, "has no examples in it"),
        (&idx(&[2], &[1, 2]), &good_labels, "two dimensions or more"),
        (&good_images, &idx(&[3], &[0, 1, 0]), "has 2 images but"),
        (&good_images, &idx(&[2], &[1, 1]), "all labels are the same"),
    ];
    for (images, labels, expected) in cases {
        let folder = Folder::new();
        folder.file("train-images", images);
        folder.file("train-labels", labels);
        let message = load(folder.path(), &LoadOptions::default()).unwrap_err().to_string();
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
    let folder = Folder::new();
    let none = load(folder.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(none.contains("must hold IDX files named train-images"), "{none}");
    let single = load(&folder.file("train-images", &good_images), &LoadOptions::default());
    assert!(single.unwrap_err().to_string().contains("give the directory"));
    let missing = load(&folder.path().join("nowhere"), &LoadOptions::default()).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read") && missing.contains("nowhere"), "{missing}");
}

/// 40 examples of class 0, 20 of class 1 and 1 of class 2, each with its row number as its only feature.
fn uneven() -> Dataset {
    let mut content = String::new();
    for row in 0..61 {
        let class = if row < 40 {
            "a"
        } else if row < 60 {
            "b"
        } else {
            "c"
        };
        content += &format!("{row},{class}\n");
    }
    csv(&content).unwrap()
}

fn u8_rows(table: &ExampleTable) -> Vec<u8> {
    match table.rows(0..table.len()) {
        Rows::U8(rows) => rows.as_slice().unwrap().to_vec(),
        Rows::F32(_) => panic!("f32 where bytes were expected"),
    }
}

#[test]
fn the_split_is_stratified_complete_and_decided_by_the_seed() {
    let prepared = prepare(uneven(), None, 0.25, 7).unwrap();
    let test = prepared.test.as_ref().unwrap();
    let Targets::Classes(ids) = test.targets(0..test.len()) else { panic!("classes expected") };
    let of_class = |class| ids.iter().filter(|&&id| id == class).count();
    assert_eq!([of_class(0), of_class(1), of_class(2)], [10, 5, 0]);

    let (train_rows, test_rows) = (u8_rows(&prepared.train), u8_rows(test));
    assert!(test_rows.is_sorted());
    assert!(!train_rows.is_sorted());
    let mut all = [train_rows.clone(), test_rows.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..61).collect::<Vec<u8>>());

    let again = prepare(uneven(), None, 0.25, 7).unwrap();
    assert_eq!((&again.train, &again.test), (&prepared.train, &prepared.test));
    assert_eq!(again.fingerprint, prepared.fingerprint);
    let other = prepare(uneven(), None, 0.25, 8).unwrap();
    assert_ne!(u8_rows(other.test.as_ref().unwrap()), test_rows);
    assert_ne!(other.fingerprint, prepared.fingerprint);
}

#[test]
fn the_validation_part_comes_from_what_the_test_part_leaves() {
    let held_back = |fraction| HeldBack { own: None, fraction };
    let without = prepare(uneven(), None, 0.25, 7).unwrap();
    let prepared = prepare_sets(uneven(), held_back(0.2), held_back(0.25), 7, false).unwrap();
    assert_eq!(prepared.test, without.test, "the test part is the same with and without");
    assert_ne!(prepared.fingerprint, without.fingerprint);
    let validation = prepared.validation.as_ref().unwrap();
    let Targets::Classes(ids) = validation.targets(0..validation.len()) else { panic!("classes expected") };
    let of_class = |class| ids.iter().filter(|&&id| id == class).count();
    assert_eq!([of_class(0), of_class(1), of_class(2)], [6, 3, 0]);
    let parts = [&prepared.train, validation, prepared.test.as_ref().unwrap()];
    let mut all = parts.map(u8_rows).concat();
    all.sort_unstable();
    assert_eq!(all, (0..61).collect::<Vec<u8>>());

    let own = HeldBack { own: Some(uneven()), fraction: 0.0 };
    let prepared = prepare_sets(uneven(), own.clone(), HeldBack::default(), 7, false).unwrap();
    assert_eq!((prepared.train.len(), prepared.validation.unwrap().len()), (61, 61));
    for wrong in [HeldBack { fraction: 0.1, ..own }, held_back(1.0), held_back(0.001)] {
        let refused = prepare_sets(uneven(), wrong, HeldBack::default(), 7, false).unwrap_err().to_string();
        assert!(refused.contains("validation fraction"), "{refused}");
    }
}

#[test]
fn targets_stay_with_their_rows() {
    let prepared = prepare(uneven(), None, 0.0, 3).unwrap();
    assert_eq!(prepared.test, None);
    let Targets::Classes(ids) = prepared.train.targets(0..61) else { panic!("classes expected") };
    for (row, id) in u8_rows(&prepared.train).into_iter().zip(ids) {
        assert_eq!(*id, u16::from(row >= 40) + u16::from(row >= 60));
    }
    let Rows::U8(some) = prepared.train.rows(10..13) else { panic!("bytes expected") };
    assert_eq!((some.dim(), some.as_slice().unwrap()), ((3, 1), &u8_rows(&prepared.train)[10..13]));
}

#[test]
fn an_impossible_split_is_refused() {
    for fraction in [1.0, -0.1, f64::NAN, 0.001] {
        assert!(matches!(prepare(uneven(), None, fraction, 1), Err(DataError::Split { .. })), "{fraction}");
    }
    assert!(matches!(prepare(uneven(), Some(uneven()), 0.1, 1), Err(DataError::Split { .. })));
}

#[test]
fn only_the_training_part_decides_the_preprocessing() {
    let train = csv("0,a\n10,b\n").unwrap();
    let test = test_file(&train, "1000,a\n-0.5,b\n", &LoadOptions::default()).unwrap();
    let prepared = prepare(train, Some(test), 0.0, 1).unwrap();
    assert_eq!((prepared.preprocessing.offset[0], prepared.preprocessing.scale[0]), (5.0, 0.2));
    // The test part is not bytes, so neither is the training part.
    assert!(matches!(prepared.train.rows(0..2), Rows::F32(_)));
    assert!(matches!(prepared.test.unwrap().rows(0..2), Rows::F32(_)));
}

#[test]
fn number_targets_are_standardized_by_the_training_part() {
    let train = csv("0,10.5\n10,20.5\n").unwrap();
    let test = test_file(&train, "3,30.5\n", &LoadOptions::default()).unwrap();
    let prepared = prepare(train, Some(test), 0.0, 1).unwrap();
    assert_eq!(prepared.target_scaling, Some(TargetScaling { mean: vec![15.5], deviation: vec![5.0] }));
    let test = prepared.test.unwrap();
    let Targets::Numbers(values) = test.targets(0..1) else { panic!("numbers expected") };
    assert_eq!(values.as_slice().unwrap(), [3.0]);
}

#[test]
fn the_embedded_mnist_is_the_whole_of_it() {
    let (train, test) = mnist().unwrap();
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    assert_eq!(train.kind, DatasetKind::Images { shape: vec![28, 28] });
    let count = |dataset: &Dataset, class| classes(dataset).0.iter().filter(|&&id| id == class).count();
    // Examples of the digits 0 and 1, as the MNIST page and every text book have them.
    assert_eq!(
        [count(&train, 0), count(&train, 1), count(&test, 0), count(&test, 1)],
        [5923, 6742, 980, 1135]
    );
    assert_eq!(classes(&train).0[..5], [5, 0, 4, 1, 9]);
    let prepared = prepare(train, Some(test), 0.0, 1).unwrap();
    assert_eq!(prepared.task(), Task::Classes(10));
    assert_eq!((prepared.preprocessing.offset[783], prepared.preprocessing.scale[783]), (0.0, 1.0 / 255.0));
    assert!(matches!(prepared.train.rows(0..60_000), Rows::U8(rows) if rows.dim() == (60_000, 784)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_is_a_data_set_or_an_error(content in "[0-9a.,;\"\n -]{0,60}", label in "-?[0-3a]") {
        for options in [LoadOptions::default(), labeled(&label)] {
            if let Ok(data) = csv_with(&content, &options) {
                prop_assert!(!data.is_empty());
                prop_assert_eq!(data.len(), data.targets.len());
                prop_assert_eq!(data.schema().check(), Ok(()));
                // A file always fits the schema made from it, and the same examples come out.
                let folder = Folder::new();
                let again = load_test(&folder.file("a.csv", &content), &data, &options).unwrap();
                prop_assert_eq!(again, data);
            }
        }
    }

    #[test]
    fn any_bytes_are_images_or_an_error(
        dimensions in 0..4_u8,
        sizes in proptest::collection::vec(0..3_u8, 0..12),
        values in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = vec![0, 0, 8, dimensions];
        for size in sizes {
            bytes.extend([0, 0, 0, size]);
        }
        bytes.extend(values);
        let folder = Folder::new();
        folder.file("train-images", &bytes);
        folder.file("train-labels", idx(&[2], &[0, 1]));
        if let Ok(loaded) = load(folder.path(), &LoadOptions::default()) {
            prop_assert_eq!(loaded.train.len(), 2);
        }
    }
}

/// A file of the data that tests train on.
fn real_data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

#[test]
fn the_digits_file_is_read_as_bytes_in_ten_classes() {
    let path = real_data("digits.csv.gz");
    let train = load(&path, &LoadOptions::default()).unwrap().train;
    assert_eq!((train.len(), train.features.columns()), (1797, 64));
    assert_eq!(classes(&train).1.len(), 10);
    assert_eq!(train.feature_names, None);
    let prepared = prepare(train, None, 0.2, 1).unwrap();
    assert_eq!(prepared.test.as_ref().unwrap().len(), 359);
    assert!(matches!(prepared.train.rows(0..1438), Rows::U8(_)));
}

#[test]
fn the_breast_cancer_file_is_read_with_the_classes_of_its_first_line() {
    let path = real_data("breast_cancer.csv");
    let train = load(&path, &LoadOptions::default()).unwrap().train;
    assert_eq!((train.len(), train.features.columns()), (569, 30));
    let (ids, names) = classes(&train);
    assert_eq!(names, ["malignant", "benign"]);
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 357);
}

/// A network that looks integers up gets them as they are, and nothing that is none.
#[test]
fn integers_are_checked_and_not_scaled() {
    let data = csv("color,shape,side\n0,4,a\n3,1,b\n2,2,a\n").unwrap();
    let prepared = prepare(data.clone().into_integers(5).unwrap(), None, 0.0, 1).unwrap();
    assert_eq!(prepared.preprocessing, model::Preprocessing::identity(2));
    assert_eq!(
        data.into_integers(4).unwrap_err().to_string(),
        "example 1, column 1 (shape): 4 is not an integer from 0 to 3, which the model's embedding looks up; number the \
         values so, or give it a larger vocabulary"
    );
    for (cell, value) in [("1.5", "1.5"), ("-1", "-1"), ("1e30", "1000000000000000000000000000000")] {
        let data = csv(&format!("0,0,a\n0,{cell},b\n")).unwrap();
        let message = data.into_integers(4).unwrap_err().to_string();
        assert!(message.starts_with(&format!("example 2, column 1: {value} is not")), "{message}");
    }
}
