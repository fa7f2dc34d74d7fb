//! Columns with texts, dates, booleans, gaps and outliers go into ONNX Runtime as they stand in the table, and
//! the answers are those of the network on the prepared rows.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use model::{Arithmetic, Features, Network, NetworkSpec, Preprocessing, Rows, Scratch, Task};
use ndarray::{Array2, ArrayView2};
use onnx::export::{Answers, Export, INPUT, Inputs, LABEL, PROBABILITIES};
use serde_json::{Map, Value, json};
use support::python;
use table::{Becomes, InputValues, Labels, Preparation, ReadOptions, Table, Values, read, read_matching};

use crate::importing::{answers, predict};

#[test]
fn a_tables_columns_become_the_inputs_they_were_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    // A column each of: plain numbers with gaps; numbers far from zero; numbers with outliers; texts, some
    // rare; booleans; dates over leap years, with gaps; moments of the day.
    let row = |i: usize| {
        let x = if i % 13 == 5 { String::new() } else { format!("{}", i as f64 / 7.0) };
        let far = 1_700_000_000.0 + (i % 29) as f64 / 4.0;
        let wild = if i == 17 { "1e9".to_owned() } else { (i % 11).to_string() };
        let color = match i % 10 {
            0..4 => "red",
            4..7 => "green, or so",
            7 => "",
            8 => "blue",
            _ => ["mauve", "teal", "ocher"][i / 10 % 3],
        };
        let color = if i > 190 { format!("rare {i}") } else { color.to_owned() };
        let day = if i % 17 == 3 {
            "?".to_owned()
        } else {
            format!("{}-{:02}-{:02}", 1995 + i % 30, 1 + i * 7 % 12, 1 + i * 5 % 28)
        };
        let leap = if i.is_multiple_of(2) {
            format!("2024-02-29 {:02}:30", i % 24)
        } else {
            format!("1999-12-31 {:02}:15", i % 24)
        };
        let yes = if i.is_multiple_of(3) { "yes" } else { "no" };
        format!("{x},{far},{wild},\"{color}\",{yes},{day},{leap},{}", ["a", "b"][i % 2])
    };
    let mut mixed = "x,far,label,color,flag,day,at,kind\n".to_owned();
    (0..200).for_each(|i| writeln!(mixed, "{}", row(i)).unwrap());
    let header = "x,far,label,color,flag,day,at,kind\n";
    let new = format!(
        "{header}1,1700000001,3,violet,yes,2000-02-28,2000-03-01 00:00,a\n,,,,,,,b\n\
         -1e30,1e30,-5e8,red,no,1600-12-31,2100-03-01 23:59,a\n2,1700000003.5,2,NA,no,?,1970-01-01 00:00,b\n"
    );
    write_case(folder.path(), "mixed", &mixed, &new, r#"{"layers": [{"kind": "dense", "units": 6}]}"#);

    let mut numbers = "a,b,c,kind\n".to_owned();
    for i in 0..100 {
        let gap = if i % 9 == 4 { "NA".to_owned() } else { (i * 3 % 17).to_string() };
        writeln!(numbers, "{gap},{},{},{}", i % 5, 5.0e9 + i as f64 / 8.0, i % 2).unwrap();
    }
    let new = "a,b,c,kind\n1,2,5000000001.5,0\n,,,1\n";
    write_case(folder.path(), "numbers", &numbers, new, r#"{"layers": [{"kind": "dense", "units": 6}]}"#);

    // An image of four columns, in a row.
    let mut image = "p1,p2,p3,p4,kind\n".to_owned();
    for i in 0..60 {
        writeln!(image, "{},{},{},{},{}", i % 7, i % 5, i % 3, i % 11, i % 2).unwrap();
    }
    let spec = r#"{"input": [1, 2, 2], "layers": [{"kind": "conv2d", "channels": 2, "kernel": 2}]}"#;
    write_case(folder.path(), "image", &image, "p1,p2,p3,p4,kind\n1,2,3,4,1\n", spec);

    let said = python::run("layers.py", &[folder.path()]);
    assert!(said.contains("6 networks agree"), "{said}");
}

/// Writes a network on a table's columns, with the table's rows and the `new` ones, and what it answers.
fn write_case(folder: &Path, name: &str, csv: &str, new: &str, spec: &str) {
    let path = folder.join(format!("{name}.csv"));
    fs::write(&path, csv).unwrap();
    let options = ReadOptions { labels: vec!["kind".to_owned()], ..ReadOptions::default() };
    let table = read(std::slice::from_ref(&path), &options).unwrap().train;
    let rows: Vec<u32> = (0..table.rows as u32).collect();
    let (preparation, _) = Preparation::fit(&table, &rows, &[]).unwrap();
    fs::write(&path, new).unwrap();
    let new = read_matching(&[path], &preparation, &ReadOptions::default(), Labels::Ignored).unwrap();

    let task = Task::Classes(2);
    let network = Network::new(&NetworkSpec::from_json(spec).unwrap(), preparation.inputs(), task).unwrap();
    let weights = network.initialize(3);
    let names = ["a", "b"].map(str::to_owned);
    let export = Export {
        network: &network,
        weights: &weights,
        inputs: Inputs::Table(&preparation),
        answers: Answers::Classes(&names),
        metadata: Vec::new(),
    };
    // Whoever reads the file again gets the network without the preparation.
    let again = onnx::import::read(export.to_bytes().unwrap()).unwrap();
    assert_eq!(again.features, preparation.inputs(), "{name}");
    let rows = Array2::from_shape_fn((3, again.features), |(i, j)| (i * 7 + j) as f32 / 5.0 - 1.0);
    assert_eq!(answers(&again, &rows), predict(&network, &weights, &rows), "{name}");
    assert!(again.notes[0].contains("preparation of its columns is left out"), "{:?}", again.notes);
    for (part, table) in [("old", table), ("new", new)] {
        let inputs = raw_inputs(&network, &preparation, &table);
        let rows = table.rows;
        let order: Vec<u32> = (0..rows as u32).collect();
        let stored = preparation.store(table).unwrap();
        let InputValues::F32(stored) = stored.inputs(&preparation, &order, false).values else {
            unreachable!("not as bytes")
        };
        let (offset, scale) = preparation.standardization();
        let preprocessing = Preprocessing { offset, scale };
        let stored = ArrayView2::from_shape((rows, preparation.inputs()), &stored).unwrap();
        let features = Features::new(Rows::F32(stored), &preprocessing);
        let mut predicted = vec![0.0; rows * 2];
        let scratch = &mut Scratch::new();
        network.predict(Arithmetic::Portable, scratch, &weights, &features, &mut predicted);
        let labels: Vec<&str> =
            predicted.chunks(2).map(|row| if row[1] > row[0] { "b" } else { "a" }).collect();
        let outputs = json!({
            LABEL: {"kind": "string", "shape": [rows], "values": labels},
            PROBABILITIES: {"kind": "float32", "shape": [rows, 2], "values": predicted},
        });
        let case = json!({"inputs": inputs, "outputs": outputs});
        fs::write(folder.join(format!("{name}-{part}.onnx")), export.to_bytes().unwrap()).unwrap();
        fs::write(folder.join(format!("{name}-{part}.json")), case.to_string()).unwrap();
    }
}

/// The cells of a table as the graph takes them.
fn raw_inputs(network: &Network, preparation: &Preparation, table: &Table) -> Value {
    let cells = |position: usize| -> Vec<Value> {
        let column = table.columns.iter().find(|column| column.position == position).unwrap();
        match &column.values {
            // JSON has no NaN.
            Values::Numbers(values) => values.iter().map(|value| json!(value)).collect(),
            Values::Texts(texts) => {
                (0..texts.len()).map(|row| json!(texts.get(row).unwrap_or_default())).collect()
            }
            Values::Unread | Values::Spilled(_) => panic!("the column is read"),
        }
    };
    let is_far = |becomes: &Becomes| match becomes {
        Becomes::Number { number: Some(number), .. } => number.unit != 1.0 || number.shift != 0.0,
        Becomes::Date { .. } => true,
        _ => false,
    };
    let kind_of = |is_far: bool| if is_far { "float64" } else { "float32" };
    let columns = &preparation.columns;
    if columns.iter().all(|column| matches!(column.becomes, Becomes::Number { .. })) {
        let by_column: Vec<Vec<Value>> = columns.iter().map(|column| cells(column.position)).collect();
        let values: Vec<&Value> =
            (0..table.rows).flat_map(|row| by_column.iter().map(move |column| &column[row])).collect();
        let kind = kind_of(columns.iter().any(|column| is_far(&column.becomes)));
        let shape = match network.shapes()[0] {
            model::Shape::Image { channels, height, width } => vec![table.rows, channels, height, width],
            model::Shape::Vector(_) => vec![table.rows, columns.len()],
        };
        return json!({INPUT: {"kind": kind, "shape": shape, "values": values}});
    }
    let inputs = columns.iter().map(|column| {
        let kind = match column.becomes {
            Becomes::Category { .. } => "string",
            ref becomes => kind_of(is_far(becomes)),
        };
        // The name of an output is not free.
        let name = if column.name == LABEL { format!("{LABEL}.2") } else { column.name.clone() };
        (name, json!({"kind": kind, "shape": [table.rows, 1], "values": cells(column.position)}))
    });
    inputs.collect::<Map<String, Value>>().into()
}
