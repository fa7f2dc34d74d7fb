//! Data as people have them, through the binary: labels, shapes, wrong cells, formats, `inspect` and `--dry-run`.

use std::fmt::Write as _;
use std::fs;

use support::program::Ran;

use crate::shoal::{ALONE, Folder};

const SMALL: &str = "--model mlp:4 --iterations 2";

/// A table with a header, a row for each of `rows`.
fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let mut text = format!("{header}\n");
    (0..rows).for_each(|index| writeln!(text, "{}", row(index)).unwrap());
    text
}

fn train(folder: &Folder, flags: &str) -> Ran {
    folder.run(&format!("train {SMALL} {ALONE} --json {flags}"))
}

#[test]
fn labels_are_what_people_mean_by_them() {
    type Label<'a> = &'a dyn Fn(usize) -> String;
    let folder = Folder::new();
    let letter = |index: usize| ["a", "b"][index % 2];
    let labels: [(&str, Label<'_>, &str); 8] = [
        (
            "missing",
            &|index| if index < 15 { "NA".to_owned() } else { letter(index).to_owned() },
            "2 classes",
        ),
        (
            "missing-numbers",
            &|index| if index < 15 { "?".to_owned() } else { format!("{}.5", index) },
            "a number",
        ),
        ("percent", &|index| format!("{}%", index % 50), "a number"),
        ("prices", &|index| format!("${}.50", 3 * index), "a number"),
        ("many", &|index| (index * 7 % 30).to_string(), "a number, inferred from its values (--task classes"),
        ("few", &|index| (index * 7 % 5).to_string(), "5 classes, inferred from its values (--task numbers"),
        ("yes", &|index| ["yes", "no"][index % 2].to_owned(), "2 classes"),
        ("large", &|index| (9_007_199_254_740_993_u64 + index as u64 % 2).to_string(), "2 classes"),
    ];
    for (name, label, predicted) in labels {
        folder.write(
            "labels.csv",
            &table("x,y,k", 120, |index| format!("{}.5,{},{}", index * index % 17, index % 5, label(index))),
        );
        let ran = train(&folder, &format!("--data labels.csv --out {name}")).succeeded();
        assert!(ran.stderr.contains(&format!("predicting k: {predicted}")), "{name}: {}", ran.stderr);
        let skipped = ran.stderr.contains("15 rows without a label were left out");
        assert_eq!(skipped, name.starts_with("missing"), "{name}: {}", ran.stderr);
    }
}

#[test]
fn classes_are_told_apart_as_they_are_written_where_the_user_says_that_they_are_classes() {
    let folder = Folder::new();
    folder.write(
        "bonds.csv",
        &table("x,k", 40, |index| format!("{},{}", index * index % 17, ["007", "7"][index % 2])),
    );
    train(&folder, "--data bonds.csv --task classes --out classes").succeeded();
    let header = folder.run("predict classes --data bonds.csv").succeeded().stdout;
    assert_eq!(header.lines().next(), Some("prediction,probability 007,probability 7"));
    train(&folder, "--data bonds.csv --out merged").failed(2, &["every label is \"7\""]);
}

#[test]
fn labels_that_need_a_word_from_the_user_are_refused_with_it() {
    let folder = Folder::new();
    let odd = |at: usize, index: usize, text: &str| {
        if index == at { text.to_owned() } else { format!("{}.25", index) }
    };
    let files = [
        (
            "dates.csv",
            table("x,k", 40, |index| format!("{},2024-01-{:02}", index * 3 % 7, 1 + index % 28)),
            "are dates; say --task",
        ),
        (
            "infinite.csv",
            table("x,k", 40, |index| format!("{},{}", index * 3 % 7, odd(7, index, "inf"))),
            "\"inf\" on line 9",
        ),
        (
            "typo.csv",
            table("x,k", 40, |index| format!("{},{}", index * 3 % 7, odd(7, index, "1.2.3"))),
            "\"1.2.3\" on line 9",
        ),
    ];
    for (name, text, fragment) in files {
        folder.write(name, &text);
        train(&folder, &format!("--data {name} --out run")).failed(2, &[name, fragment]);
    }
    folder.write(
        "quote.csv",
        &table("x,k", 100, |index| format!("{index},{}", if index == 49 { "\"a" } else { "b" })),
    );
    train(&folder, "--data quote.csv --out run")
        .failed(1, &["quote.csv, line 51", "column 2 (k)", "never closed"]);
    folder.write(
        "constant.csv",
        &table("x,k", 30, |index| format!("{index},{}", if index == 7 { "?" } else { "a" })),
    );
    train(&folder, "--data constant.csv --out run").failed(2, &["constant.csv", "every label is \"a\""]);
    folder.write("names.csv", &table("x,k", 30, |index| format!("{index},\u{1b}[31mred{}", index % 2)));
    let ran = train(&folder, "--data names.csv --label z --out run");
    assert!(ran.stderr.contains("no column \"z\"") && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

#[test]
fn a_wrong_cell_is_named_by_its_line_however_lines_end_and_wherever_it_is() {
    let folder = Folder::new();
    let row = |wrong: usize| {
        move |index: usize| {
            let cell = if index == wrong { "oops".to_owned() } else { format!("{}.1", index * 13) };
            format!("{}.5,{cell},{}", index, ["a", "b"][index % 2])
        }
    };
    let text = table("x,y,k", 60, row(30));
    for ending in ["\n", "\r\n", "\r"] {
        folder.write("wrong.csv", &text.replace('\n', ending));
        train(&folder, "--data wrong.csv --out run")
            .failed(1, &["wrong.csv, line 32, column 2 (y)", "\"oops\" is not a number"]);
    }
    folder.write("part-1.csv", &table("x,y,k", 60, row(usize::MAX)));
    folder.write("part-2.csv", &table("x,y,k", 40, row(3)));
    train(&folder, "--data part-*.csv --out run").failed(1, &["part-2.csv, line 5, column 2 (y)"]);
    let ran = train(&folder, "--data part-*.csv --skip-bad-rows --out run").succeeded();
    assert!(ran.stderr.contains("1 row could not be read and was left out; the first:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("part-2.csv, line 5"), "{}", ran.stderr);
    folder.write("ragged.csv", "x,y,k\n1,2,a\n1\n3,4,b\n");
    train(&folder, "--data ragged.csv --out other").failed(1, &["line 3: 1 cell where the first row has 3"]);
}

#[test]
fn one_wild_cell_is_named_and_does_not_decide() {
    let folder = Folder::new();
    let rows = |wild: usize| {
        table("x,y,k", 400, |index| {
            let (x, y) = (index * 7 % 12, index * 11 % 13);
            let y_cell = if index == wild { "1e6".to_owned() } else { y.to_string() };
            format!("{x},{y_cell},{}", ["a", "b"][usize::from(x + y > 11)])
        })
    };
    folder.write("wild.csv", &rows(100));
    folder.write("tame.csv", &rows(usize::MAX));
    let run = |data: &str| {
        let flags = format!(
            "train --data {data} --model mlp:16 --iterations 20 --test tame.csv --out run-{data} {ALONE} --json"
        );
        folder.run(&flags).succeeded()
    };
    let (wild, tame) = (run("wild.csv"), run("tame.csv"));
    assert!(
        wild.stderr.contains("column 2 (y) lies far outside the usual range, 1000000 on line 102"),
        "{}",
        wild.stderr
    );
    let accuracy = |ran: &Ran| ran.last_json()["test_accuracy"].as_f64().unwrap();
    assert!(accuracy(&wild) >= accuracy(&tame) - 0.02, "{} and {}", accuracy(&wild), accuracy(&tame));
}

/// Writes IDX files of so many images of a shape.
fn idx(folder: &Folder, name: &str, shape: &[u32], images: u32) {
    fs::create_dir(folder.path(name)).unwrap();
    let file = |sizes: &[u32], values: Vec<u8>| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(values);
        bytes
    };
    let sizes = [&[images], shape].concat();
    let count: u32 = sizes.iter().product();
    let pixels = (0..count).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(folder.path(&format!("{name}/train-images")), file(&sizes, pixels)).unwrap();
    let labels = (0..images).map(|image| (image % 3) as u8).collect();
    fs::write(folder.path(&format!("{name}/train-labels")), file(&[images], labels)).unwrap();
}

#[test]
fn the_shape_of_images_is_that_of_the_file_and_a_table_has_none() {
    let folder = Folder::new();
    let convolutions = "--model cnn:4 --iterations 1";
    for (name, shape, seen) in
        [("wide", &[4, 9][..], "1x4x9-"), ("high", &[16, 4], "1x16x4-"), ("color", &[12, 16, 3], "3x12x16-")]
    {
        idx(&folder, name, shape, 60);
        let ran = folder
            .run(&format!("train --data {name} {convolutions} {ALONE} --json --out run-{name}"))
            .succeeded();
        assert!(ran.stderr.contains(&format!("Training a {seen}")), "{name}: {}", ran.stderr);
        let lines =
            folder.run(&format!("predict run-{name} --data {name}")).succeeded().stdout.lines().count();
        assert_eq!(lines, 61);
    }
    folder.run(&format!("train --data wide --header true {ALONE} --out run")).failed(2, &["--header", "IDX"]);
    folder.write(
        "square.csv",
        &(0..40).map(|index| format!("{}{index}\n", "1,2,3,4,".repeat(4))).collect::<String>(),
    );
    folder
        .run(&format!("train --data square.csv {convolutions} {ALONE} --out run"))
        .failed(2, &["model", "needs an image", "a table of", "input ="]);
    folder.write(
        "other.toml",
        "input = [1, 6, 6]\nlayers = [{ kind = \"conv2d\", channels = 2, kernel = 3 }]\n",
    );
    folder
        .run(&format!("train --data wide --model other.toml {ALONE} --out run"))
        .failed(2, &["the network's input is 1x6x6, but the images are 1x4x9"]);
}

#[test]
fn a_file_to_predict_may_have_another_format_order_and_unseen_values() {
    let folder = Folder::new();
    let row = |index: usize| {
        let color = if index == 5 { "pink" } else { ["red", "blue", "green"][index % 3] };
        let size = if index % 10 == 3 { String::new() } else { format!("{}.5", index * 7 % 20) };
        format!(
            "{index},{size},{color},2024-01-{:02},{}",
            1 + index % 28,
            ["no", "yes"][usize::from(index.is_multiple_of(3))]
        )
    };
    folder.write("train.csv", &table(",size,color,day,answer", 120, row));
    let ran = train(&folder, "--data train.csv --out run").succeeded();
    assert!(ran.stderr.contains("Data: left out \"column 1\""), "{}", ran.stderr);
    let same = folder.run("predict run --data train.csv").succeeded();
    assert_eq!(same.stdout.lines().count(), 121);
    assert!(!same.stderr.contains("did not occur"), "{}", same.stderr);
    // The same rows as tab-separated text, columns in another order, one more, and an unseen value.
    let mut other = "color\tday\tspare\tsize\n".to_owned();
    for index in 0..120 {
        let cells: Vec<String> = row(index).split(',').map(str::to_owned).collect();
        writeln!(other, "{}\t{}\tx\t{}", cells[2], cells[3], cells[1]).unwrap();
    }
    folder.write("other.tsv", &other);
    assert_eq!(folder.run("predict run --data other.tsv").succeeded().stdout, same.stdout);
    folder.write("new.csv", "size,color,day\n,mauve,2024-03-01\n");
    let new = folder.run("predict run --data new.csv").succeeded();
    assert!(
        new.stderr.contains("1 cell of column 3 (color) has a value that did not occur in training"),
        "{}",
        new.stderr
    );
    assert_eq!(new.stdout.lines().count(), 2);
    folder.run("evaluate run --data other.tsv").failed(1, &["no label column \"answer\"", "--label"]);
}

#[test]
fn an_inspection_shows_what_each_column_becomes_and_warns_of_figures_too_good() {
    let folder = Folder::new();
    let row = |index: usize| {
        let class = ["a", "b"][usize::from(index * 7 % 10 > 4)];
        format!(
            "{},{},{},{},{class}",
            index + 1,
            index * 7 % 10,
            ["x", "y", ""][index % 3],
            class.to_uppercase()
        )
    };
    folder.write("data.csv", &(table("id,size,sort,copy,class", 60, row) + "61,3,x,A,rare\n"));
    for command in ["inspect data.csv", "train --data data.csv --dry-run"] {
        let ran = folder.run(&format!("{command} --json")).succeeded();
        let found = ran.last_json();
        assert_eq!((&found["examples"], &found["inputs"]), (&61.into(), &6.into()), "{found}");
        let column = |at: usize| {
            let column = &found["columns"][at];
            (
                column["name"].as_str().unwrap(),
                column["kind"].as_str().unwrap(),
                column["becomes"].as_str().unwrap(),
            )
        };
        assert_eq!(column(0), ("id", "number", "left out: identifier"));
        assert_eq!(column(1), ("size", "number", "a number, standardized"));
        assert_eq!(column(2), ("sort", "category", "2 values, one for missing cells"));
        assert_eq!(column(4).2, "predicted");
        assert_eq!(
            (&found["columns"][2]["missing"], &found["columns"][1]["range"][1]),
            (&20.into(), &9.0.into())
        );
        assert_eq!(found["classes"][2], serde_json::json!(["rare", 1]));
        let warning = |at: usize| found["warnings"][at].as_str().unwrap();
        assert!(warning(0).starts_with("there is only 1 example of the class \"rare\""), "{found}");
        assert!(warning(1).contains("test examples have the same values as a training example"), "{found}");
        let text = folder.run(command).succeeded().stdout;
        assert!(text.starts_with("61 examples") && text.contains("Warning: "), "{text}");
    }
    folder.write(
        "leak.csv",
        &table("size,copy,class", 60, |index| {
            let class = index * index % 17 > 8;
            format!(
                "{},{},{}",
                index * 5 % 23,
                if class { "P" } else { "N" },
                if class { "good" } else { "bad" }
            )
        }),
    );
    let text = folder.run("inspect leak.csv").succeeded().stdout;
    assert!(text.contains("Warning: column 2 (copy) alone tells the label"), "{text}");
    assert!(!text.contains("(size) alone"), "{text}");
}
