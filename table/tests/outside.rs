//! Tables whose columns are outside of memory are the same tables, to the bit.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use table::{
    InputValues, Labels, Numbers, Preparation, ReadOptions, Scratch, Table, Values, read, read_like,
    read_matching,
};
use tempfile::TempDir;

/// Rows of every kind of column, some without a label, and the order of some of them.
fn mixed(rows: u64) -> String {
    let mut text = String::from("id,number,whole,far,kind,when,flag,many,label\n");
    for row in 0..rows {
        let draw = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let number = if draw.is_multiple_of(11) { "NA".to_owned() } else { format!("{}", draw as f64 / 7.0) };
        let kind = ["red", "green", "blue", ""][(draw % 4) as usize];
        let label = if row == 5 { "" } else { ["yes", "no", "maybe"][(draw % 3) as usize] };
        let day = 1 + draw % 28;
        text += &format!(
            "{row},{number},{},{},{kind},2024-{:02}-{day:02},{},c{},{label}\n",
            draw % 200,
            1_700_000_000.0 + draw as f64 / 1e3,
            1 + draw % 12,
            draw.is_multiple_of(2),
            draw % 60,
        );
    }
    text
}

fn outside(folder: &TempDir, options: &ReadOptions) -> ReadOptions {
    ReadOptions { scratch: Some(Scratch::create(folder.path()).unwrap()), ..options.clone() }
}

/// Every third row, the last first.
fn order(rows: usize) -> Vec<u32> {
    (0..rows as u32).rev().filter(|row| row % 3 != 1).collect()
}

fn bits(values: &InputValues) -> Vec<u32> {
    match values {
        InputValues::U8(values) => values.iter().map(|&value| value.into()).collect(),
        InputValues::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
    }
}

/// Holds two tables to be prepared alike, and gives the preparation.
fn alike(inside: Table, outside: Table) -> Preparation {
    assert!(outside.is_outside() && !inside.is_outside());
    assert_eq!(
        (inside.rows, &inside.notices, &inside.targets),
        (outside.rows, &outside.notices, &outside.targets)
    );
    let order = order(inside.rows);
    let (preparation, told) = Preparation::fit(&inside, &order, &[]).unwrap();
    assert_eq!(Preparation::fit(&outside, &order, &[]).unwrap(), (preparation.clone(), told));
    let back = outside.clone().into_memory().unwrap();
    for (column, other) in inside.columns.iter().zip(&back.columns) {
        match (&column.values, &other.values) {
            (Values::Numbers(values), Values::Numbers(others)) => {
                let bits = |values: &Numbers| values.iter().map(f64::to_bits).collect::<Vec<u64>>();
                assert_eq!(bits(values), bits(others), "{}", column.name);
            }
            (Values::Texts(texts), Values::Texts(others)) => {
                assert!((0..texts.len()).all(|row| texts.get(row) == others.get(row)), "{}", column.name);
            }
            (Values::Unread, Values::Unread) => {}
            other => panic!("{}: {other:?}", column.name),
        }
    }
    let (stored, apart) =
        (preparation.store(inside).unwrap(), preparation.store_ordered(outside, order.clone()).unwrap());
    assert_eq!((&stored.notices, order.len()), (&apart.notices, apart.len()));
    let as_bytes = stored.fits_bytes(&preparation);
    assert_eq!(as_bytes, apart.fits_bytes(&preparation));
    for range in [0..order.len(), 1..order.len() / 2, 3..3] {
        let wanted = stored.inputs(&preparation, &order[range.clone()], as_bytes);
        let got = apart.piece(&preparation, range, as_bytes).unwrap();
        assert_eq!(bits(&wanted.values), bits(&got.values));
    }
    preparation
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn both(folder: &TempDir, path: &Path, options: &ReadOptions) -> (Table, Table) {
    let paths = [path.to_owned()];
    (read(&paths, options).unwrap().train, read(&paths, &outside(folder, options)).unwrap().train)
}

#[test]
fn text_of_every_kind_plain_packed_and_in_several_files() {
    let folder = TempDir::new().unwrap();
    let text = mixed(3000);
    let path = write(&folder, "plain.csv", text.as_bytes());
    let (inside, apart) = both(&folder, &path, &ReadOptions::default());
    assert_eq!(inside.rows, 2999, "one has no label");
    let test = write(&folder, "test.csv", mixed(50).as_bytes());
    let like = |train: &Table, options: &ReadOptions| {
        read_like(std::slice::from_ref(&test), train, options).unwrap()
    };
    let tests =
        (like(&inside, &ReadOptions::default()), like(&apart, &outside(&folder, &ReadOptions::default())));
    let preparation = alike(inside, apart);
    alike(tests.0, tests.1);
    let matching = |options: &ReadOptions| {
        let table =
            read_matching(std::slice::from_ref(&test), &preparation, options, Labels::Required).unwrap();
        preparation.store(table).unwrap().piece(&preparation, 0..49, false).unwrap()
    };
    let options = ReadOptions::default();
    assert_eq!(bits(&matching(&options).values), bits(&matching(&outside(&folder, &options)).values));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = write(&folder, "packed.csv.gz", &gzip.finish().unwrap());
    let (inside, apart) = both(&folder, &packed, &ReadOptions::default());
    alike(inside, apart);

    for part in 0..3 {
        write(&folder, &format!("part-{part}.csv"), mixed(100 + part).as_bytes());
    }
    let bad = format!("{}1,2\n", mixed(200));
    write(&folder, "part-3.csv", bad.as_bytes());
    let forgiving = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
    let (inside, apart) = both(&folder, &folder.path().join("part-*.csv"), &forgiving);
    alike(inside, apart);
}

#[test]
fn bytes_stay_bytes() {
    let folder = TempDir::new().unwrap();
    let rows: String = (0..500).map(|row| format!("{},{},{}\n", row % 256, row * 7 % 256, row % 3)).collect();
    let path = write(&folder, "bytes.csv", format!("a,b,label\n{rows}").as_bytes());
    let (inside, apart) = both(&folder, &path, &ReadOptions::default());
    alike(inside, apart);
}

#[test]
fn folders_of_images_with_a_damaged_one() {
    let folder = TempDir::new().unwrap();
    for (number, class) in (0..120_u8).zip(["cat", "dog"].iter().cycle()) {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> = (0..6).map(|pixel| number.wrapping_mul(31).wrapping_add(pixel * 17)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        write(&folder, &format!("images/{class}/{number:03}.png"), &bytes);
    }
    write(&folder, "images/cat/050-damaged.png", b"\x89PNG and no more");
    let (inside, apart) = both(&folder, &folder.path().join("images"), &ReadOptions::default());
    assert_eq!(inside.rows, 120);
    alike(inside, apart);
}
