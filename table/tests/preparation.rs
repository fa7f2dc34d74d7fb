//! What columns become, and that it is the same for every file with the same columns.

use std::path::PathBuf;

use proptest::prelude::*;
use table::{
    Becomes, InputValues, Labels, Preparation, ReadOptions, Table, Targets, read, read_like, read_matching,
};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn table(text: &str) -> Table {
    table_with(text, &ReadOptions::default())
}

fn table_with(text: &str, options: &ReadOptions) -> Table {
    let folder = Folder::new();
    read(&[folder.file("a.csv", text)], options).unwrap().train
}

fn fit(table: &Table) -> (Preparation, Vec<String>) {
    let rows: Vec<u32> = (0..table.rows as u32).collect();
    Preparation::fit(table, &rows, &[]).unwrap()
}

/// Rows of a table as a network gets them.
fn inputs(preparation: &Preparation, table: Table) -> Vec<Vec<f32>> {
    let rows: Vec<u32> = (0..table.rows as u32).collect();
    let stored = preparation.store(table).unwrap();
    let (offset, scale) = preparation.standardization();
    let values: Vec<f32> = match stored.inputs(preparation, &rows, false).values {
        InputValues::F32(values) => values,
        InputValues::U8(values) => values.into_iter().map(f32::from).collect(),
    };
    let row = |row: &[f32]| {
        row.iter().zip(&offset).zip(&scale).map(|((value, offset), scale)| (value - offset) * scale).collect()
    };
    values.chunks_exact(preparation.inputs()).map(row).collect()
}

fn matching(preparation: &Preparation, text: &str) -> Table {
    let folder = Folder::new();
    read_matching(&[folder.file("b.csv", text)], preparation, &ReadOptions::default(), Labels::Ignored)
        .unwrap()
}

fn column(rows: &[Vec<f32>], column: usize) -> Vec<f32> {
    rows.iter().map(|row| row[column]).collect()
}

#[test]
fn a_number_is_standardized_and_what_is_missing_is_the_median_and_says_so() {
    let data = table("x,k\n1,a\n2,b\nNA,a\n6,b\n");
    let (preparation, _) = fit(&data);
    assert_eq!(preparation.input_names(), ["x", "x (missing)"]);
    // The median of 1, 2, 6 is 2; mean and deviation of 1, 2, 2, 6 are 11 / 4 and sqrt(14.75 / 4).
    let deviation = (14.75_f64 / 4.0).sqrt() as f32;
    let rows = inputs(&preparation, data);
    for (value, x) in column(&rows, 0).iter().zip([1.0, 2.0, 2.0, 6.0]) {
        assert!((value - (x - 2.75) / deviation).abs() < 1e-6, "{value} for {x}");
    }
    assert_eq!(column(&rows, 1), [0.0, 0.0, 1.0, 0.0]);
    // The same at prediction; and for a column that had none missing in training.
    let rows = inputs(&preparation, matching(&preparation, "x\nNA\n6\n"));
    assert_eq!(column(&rows, 1), [1.0, 0.0]);
    let (whole, _) = fit(&table("x,k\n1,a\n2,b\n3,a\n4,b\n5,a\n"));
    assert_eq!(inputs(&whole, matching(&whole, "x\n3\n\"\"\n")), [[0.0], [0.0]]);
}

#[test]
fn numbers_far_from_zero_do_not_collapse() {
    let rows: String =
        (0..100).map(|row| format!("{},{}\n", 1_700_000_000 + 60 * (row % 10), row % 2)).collect();
    let data = table(&format!("t,k\n{rows}"));
    let (preparation, _) = fit(&data);
    let rows = inputs(&preparation, data);
    // 0, 60, ..., 540 have mean 270 and deviation 60 * sqrt(99 / 12).
    for (row, value) in column(&rows, 0).iter().enumerate() {
        let exact = (60.0 * (row % 10) as f64 - 270.0) / (60.0 * (99.0_f64 / 12.0).sqrt());
        assert!((f64::from(*value) - exact).abs() < 1e-6, "{value} for {exact}");
    }
}

#[test]
fn categories_have_inputs_for_what_occurred() {
    let data = table("c,k\nb,1\na,2\nb,1\na,2\nrare,1\nNA,2\n");
    let (preparation, _) = fit(&data);
    assert_eq!(preparation.input_names(), ["c=a", "c=b", "c=(other)", "c (missing)"]);
    let rows = inputs(&preparation, data);
    assert_eq!(rows[0], [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(rows[4], [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(rows[5], [0.0, 0.0, 0.0, 1.0]);
    let seen = matching(&preparation, "c\nnew\n?\na\nrare\n");
    let notices = preparation.store(seen.clone()).unwrap().notices;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].starts_with("1 cell of column 1 (c) has a value that did not occur"), "{notices:?}");
    let seen = inputs(&preparation, seen);
    assert_eq!(
        seen,
        [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    );
    // An input that was never there decides nothing, and that is said.
    let (plain, _) = fit(&table("c,k\nb,1\na,2\nb,1\na,2\n"));
    let stored = plain.store(matching(&plain, "c\nnew\nnew\nNA\n")).unwrap();
    assert_eq!(
        stored.notices,
        [
            "2 cells of column 1 (c) have a value that did not occur in training; such a cell counts as none of its values"
        ]
    );
    assert_eq!(stored.inputs(&plain, &[0, 1, 2], false).values, InputValues::F32(vec![0.0; 6]));
}

#[test]
fn only_the_commonest_values_have_inputs_of_their_own() {
    let rows: String = (0..100).map(|row| format!("v{:02},{}\n", row % 45, row % 2)).collect();
    let (preparation, _) = fit(&table(&format!("c,k\n{rows}")));
    assert_eq!(preparation.inputs(), table::CATEGORY_VALUES_MAX + 1);
}

#[test]
fn dates_become_days_and_turns() {
    let rows: String = (0..800)
        .map(|day| format!("{}-{:02}-{:02},{}\n", 2020 + day / 336, day / 28 % 12 + 1, day % 28 + 1, day % 2))
        .collect();
    let (preparation, _) = fit(&table(&format!("d,k\n{rows}")));
    assert_eq!(
        preparation.input_names(),
        ["d", "d (year, sine)", "d (year, cosine)", "d (week, sine)", "d (week, cosine)"]
    );
    let (preparation, _) = fit(&table("d,k\n2020-01-01 06:00,a\n2020-01-01 18:00,b\n2020-01-02 06:00,a\n"));
    assert_eq!(preparation.input_names(), ["d", "d (day, sine)", "d (day, cosine)"]);
    let rows = inputs(&preparation, matching(&preparation, "d\n2020-01-01 06:00\n2020-01-01 18:00\n"));
    assert_eq!(column(&rows, 1), [1.0, -1.0]);
}

#[test]
fn a_column_that_is_constant_in_training_decides_nothing() {
    let data = table("x,c,k\n5,1,a\n5,2,b\n5,3,a\n7,4,b\n");
    let (preparation, notices) = Preparation::fit(&data, &[0, 1, 2], &[]).unwrap();
    assert_eq!(preparation.input_names(), ["c"]);
    assert!(notices[0].contains("column 1 (x)"), "{notices:?}");
    let kept = ReadOptions { keep: vec!["x".to_owned()], ..ReadOptions::default() };
    let data = table_with("x,c,k\n5,1,a\n5,2,b\n5,3,a\n7,4,b\n", &kept);
    let (preparation, _) = Preparation::fit(&data, &[0, 1, 2], &[]).unwrap();
    assert_eq!(preparation.input_names(), ["x", "c"]);
    let rows = inputs(&preparation, matching(&preparation, "x,c\n5,2\n100,2\n1e9,2\n"));
    assert_eq!(column(&rows, 0), [0.0, 0.0, 0.0]);
}

#[test]
fn one_wild_cell_does_not_flatten_the_rest() {
    let rows: String = (0..300).map(|row| format!("{},{}\n", row * 7 % 12, row % 2)).collect();
    let data = table(&format!("x,k\n{rows}1000000,1\n"));
    let (preparation, _) = fit(&data);
    let notices = preparation.store(data.clone()).unwrap().notices;
    assert!(
        notices[0].contains("1 value of column 1 (x) lies far outside the usual range, 1000000 on line 302"),
        "{notices:?}"
    );
    let values = column(&inputs(&preparation, data), 0);
    let spread = values[..300].iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(spread > 0.8, "{spread}");
    assert!(values[300] < 20.0, "{}", values[300]);
}

#[test]
fn a_wild_cell_of_a_file_to_predict_is_clipped_with_a_notice() {
    let rows: String =
        (0..40).map(|row| format!("{},0,2024-01-{:02},{}\n", row % 12, 1 + row % 28, row % 2)).collect();
    let data = table(&format!("x,rare,day,k\n1,5,2024-01-01,0\n{rows}"));
    let (preparation, _) = fit(&data);
    assert_eq!(preparation.store(data).unwrap().notices, Vec::<String>::new());
    let wild =
        matching(&preparation, "x,rare,day\n1000000,0,2024-01-02\n30,900,2999-01-01\n-1e9,0,2024-03-01\n");
    let notices = preparation.store(wild.clone()).unwrap().notices;
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(
        notices[0].contains(
            "2 values of column 1 (x) lie far outside the usual range, such as -1000000000 on line 4"
        ),
        "{notices:?}"
    );
    assert!(
        notices[1].contains("1 value of column 2 (rare) lies far outside the usual range, 900 on line 3"),
        "{notices:?}"
    );
    assert!(notices[2].contains("2999-01-01"), "{notices:?}");
    // Values somewhat beyond the training rows are not clipped.
    let rows = inputs(&preparation, wild);
    assert!(rows[0][0] < 40.0 && rows[0][0] > rows[1][0], "{rows:?}");
    assert!(rows.iter().flatten().all(|value| value.abs() < 70.0), "{rows:?}");
}

#[test]
fn bytes_stay_bytes() {
    let data = table("x,y,k\n0,255,a\n7,1.0,b\n");
    let (preparation, _) = fit(&data);
    let stored = preparation.store(data).unwrap();
    assert!(stored.fits_bytes(&preparation));
    assert_eq!(stored.inputs(&preparation, &[1, 0], true).values, InputValues::U8(vec![7, 1, 0, 255]));
    for other in [
        "x,y,k\n0,256,a\n7,1,b\n",
        "x,y,k\n0,1,a\n0.5,2,b\n",
        "x,y,k\n-1,1,a\n2,2,b\n",
        "x,y,k\n,1,a\n2,2,b\n3,1,a\n",
    ] {
        let data = table(other);
        let (preparation, _) = fit(&data);
        assert!(!preparation.store(data).unwrap().fits_bytes(&preparation), "{other:?}");
    }
}

#[test]
fn columns_are_found_by_name_in_any_order_and_without_a_header_by_position() {
    let folder = Folder::new();
    let train = table("id,x,c,k\n9,1,a,p\n8,2,b,q\n9,3,a,p\n8,4,b,q\n");
    let (preparation, _) = fit(&train);
    let expected = inputs(&preparation, train.clone());
    for text in [
        "k,c,extra,x,id\np,a,?,1,9\nq,b,?,2,8\np,a,?,3,9\nq,b,?,4,8\n",
        "c;x;id\na;1;9\nb;2;8\na;3;9\nb;4;8\n",
        "9,1,a,p\n8,2,b,q\n9,3,a,p\n8,4,b,q\n",
        "9,1,a\n8,2,b\n9,3,a\n8,4,b\n",
    ] {
        assert_eq!(inputs(&preparation, matching(&preparation, text)), expected, "{text:?}");
    }
    let message = |text: &str, labels| {
        read_matching(&[folder.file("b.csv", text)], &preparation, &ReadOptions::default(), labels)
            .unwrap_err()
            .to_string()
    };
    assert!(message("x,k\n1,p\n2,q\n", Labels::Ignored).contains("it has no column \"id\", \"c\""));
    assert!(message("x,c,id\n1,a,9\n2,b,8\n", Labels::Required).contains("it has no label column \"k\""));
    assert!(message("9,1,a\n8,2,b\n", Labels::Required).contains("has no labels"));
    assert!(
        message("1,2\n3,4\n", Labels::Ignored)
            .contains("it has 2 columns, but the training file had 4, or 3 without the label")
    );
    assert!(
        message("id,x,c,k\n9,1,a,r\n", Labels::Required).contains("the label \"r\" on line 2 is not a class")
    );
    let test =
        read_like(&[folder.file("c.csv", "k,c,x,id\nq,b,2,8\nNA,a,1,9\n")], &train, &ReadOptions::default())
            .unwrap();
    assert_eq!(test.rows, 1);
    assert!(matches!(test.targets, Some(Targets::Classes { ref ids, .. }) if ids == &[1]));
}

#[test]
fn a_saved_preparation_reads_back_the_same() {
    let data = table("x,c,d,k\n0.1,a,2020-01-01,1.5\n1e-17,b,2021-01-09,2\nNA,a,2022-03-01,3\n7e22,b,,4\n");
    let (preparation, _) = fit(&data);
    let text = serde_json::to_string(&preparation).unwrap();
    assert_eq!(serde_json::from_str::<Preparation>(&text).unwrap(), preparation);
    assert_eq!(preparation.check(), Ok(()));
}

#[test]
fn what_was_tampered_with_is_noticed() {
    let (good, _) = fit(&table("x,k\n1,a\n2,b\n"));
    let mut other = good.clone();
    other.version += 1;
    assert!(other.check().is_err());
    let mut other = good.clone();
    other.columns[0].position = 9;
    assert!(other.check().is_err());
    let mut other = good;
    if let Becomes::Number { number: Some(number), .. } = &mut other.columns[0].becomes {
        number.unit = 0.0;
    }
    assert!(other.check().is_err());
}

proptest! {
    /// Whatever the numbers, inputs are finite, and all but those of cut columns have mean 0 and deviation 1.
    #[test]
    fn inputs_are_finite(numbers in prop::collection::vec(prop_oneof![-1e9..1e9_f64, -1.0..1.0_f64, 1e15..1e15 + 9.0, prop::num::f64::NORMAL], 3..40)) {
        let rows: String = numbers.iter().map(|number| format!("{:e},{}\n", number.clamp(-1e149, 1e149), number.to_bits() % 2)).collect();
        let folder = Folder::new();
        let options = ReadOptions { task: Some(table::TaskKind::Numbers), ..ReadOptions::default() };
        if let Ok(data) = read(&[folder.file("a.csv", &format!("x,k\n{rows}"))], &options) {
            let all: Vec<u32> = (0..data.train.rows as u32).collect();
            if let Ok((preparation, _)) = Preparation::fit(&data.train, &all, &[]) {
                prop_assert_eq!(preparation.check(), Ok(()));
                for row in inputs(&preparation, data.train) {
                    prop_assert!(row.iter().all(|value| value.is_finite()), "{:?}", row);
                }
            }
        }
    }
}
