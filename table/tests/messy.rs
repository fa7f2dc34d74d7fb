//! Tables as people have them, each a few lines made for the purpose: what was read, to the cell.

use std::{fmt::Write as _, io::Write as _, path::PathBuf};

use table::{
    ColumnKind, Kind, Preparation, ReadOptions, Separator, Table, Targets, TaskKind, TextEncoding, Values,
    read,
};

fn read_with(bytes: &[u8], options: &ReadOptions) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, bytes).unwrap();
    read(&[path], options).map(|data| data.train).map_err(|error| {
        let text = error.to_string();
        text.split_once("a.csv")
            .map_or(text.clone(), |(_, rest)| rest.trim_start_matches([':', ' ']).to_owned())
    })
}

/// A table in one line: each column as `name:kind[cells]`, then the targets.
fn shown(table: &Table) -> String {
    let mut text = String::new();
    for column in &table.columns {
        if table.labels.contains(&column.position) {
            continue;
        }
        let cells: Vec<String> = match &column.values {
            Values::Spilled(_) => panic!("the column is in memory"),
            Values::Unread => vec![column.left_out.map_or("unread".to_owned(), |reason| reason.to_string())],
            Values::Numbers(values) => {
                let shown = |value: f64| if value.is_nan() { "NA".to_owned() } else { value.to_string() };
                values.iter().map(shown).collect()
            }
            Values::Texts(texts) => (0..texts.len())
                .map(|row| texts.get(row).map_or("NA".to_owned(), |text| format!("{text:?}")))
                .collect(),
        };
        write!(text, "{}:{}[{}] ", column.name, column.kind, cells.join(" ")).unwrap();
    }
    match table.targets.as_ref().unwrap() {
        Targets::Classes { ids, names } => {
            let labels: Vec<&str> = ids.iter().map(|&id| names[usize::from(id)].as_str()).collect();
            write!(text, "-> {} of {}", labels.join(" "), names.join("|")).unwrap();
        }
        Targets::Numbers { values, .. } => write!(text, "-> {values:?}").unwrap(),
    }
    text
}

#[track_caller]
fn check_with(bytes: &[u8], options: &ReadOptions, expected: &str) {
    let shown = read_with(bytes, options).map(|table| shown(&table));
    assert_eq!(shown.as_deref(), Ok(expected), "{:?}", String::from_utf8_lossy(bytes));
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_with(text.as_bytes(), &ReadOptions::default(), expected);
}

#[track_caller]
fn refused_with(text: &str, options: &ReadOptions, expected: &str) {
    let message = read_with(text.as_bytes(), options).map(|table| shown(&table)).unwrap_err();
    assert!(message.contains(expected), "{text:?} gave {message:?}");
}

const PLAIN: &str = "x,y,k\n1.5,2,b\n3,-4,a\n5,6,b\n";
const READ: &str = "x:number[1.5 3 5] y:number[2 -4 6] -> b a b of a|b";

#[test]
fn line_ends() {
    for end in ["\r\n", "\r", "\n\n", "\r\n\n", "\r\r"] {
        check(&PLAIN.replace('\n', end), READ);
    }
    check("x,y,k\r1.5,2,b\n3,-4,a\r\n5,6,b", READ);
    check(&format!("\n\n  \n{PLAIN}  \n\n"), READ);
    // DOS's mark for the end of a file.
    for end in ["\u{1a}", "\u{1a}\n"] {
        check(&format!("{PLAIN}{end}"), READ);
        check(&format!("{}{end}", PLAIN.trim_end()), READ);
    }
}

#[test]
fn separators() {
    for separator in [";", "\t", "|", " ; ", "\t ", "   "] {
        check(&PLAIN.replace(',', separator), READ);
    }
    check("  x  y k\n 1.5   2 b  \n3 -4 a\n    5 6     b\n", READ);
    check(&format!("sep=;\n{}", PLAIN.replace(',', ";")), READ);
    check(&format!("# from the field, by hand\n{PLAIN}"), READ);
    let colon = ReadOptions { separator: Some(Separator::Byte(b':')), ..ReadOptions::default() };
    check_with(PLAIN.replace(',', ":").as_bytes(), &colon, READ);
    check(
        "\"size, cm\";\"weight, g\";kind\n1,5;2,5;a\n2,25;3,5;b\n",
        "size, cm:number[1.5 2.25] weight, g:number[2.5 3.5] -> a b of a|b",
    );
    check("1,5;2,5;a\n2,5;3;b\n", ":number[1.5 2.5] :number[2.5 3] -> a b of a|b");
}

#[test]
fn trailing_separators() {
    for text in [
        "x,y,k,\n1.5,2,b\n3,-4,a\n5,6,b\n",
        "x,y,k\n1.5,2,b,\n3,-4,a,\n5,6,b,\n",
        "x,y,k,\n1.5,2,b,\n3,-4,a,\n5,6,b,\n",
    ] {
        check(text, READ);
    }
    check("x,y,k\n1.5,2,b\n3,-4,a,,\n5,6,b\n", READ);
}

#[test]
fn encodings() {
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: &str| -> Vec<u8> {
        format!("{mark}{PLAIN}").encode_utf16().flat_map(bytes).collect()
    };
    for mark in ["", "\u{feff}"] {
        check(&format!("{mark}{PLAIN}"), READ);
        check(&format!("{mark}{}", PLAIN.replace("x,", "\"x\",")), READ);
        check_with(&utf16(u16::to_le_bytes, mark), &ReadOptions::default(), READ);
        check_with(&utf16(u16::to_be_bytes, mark), &ReadOptions::default(), READ);
    }
    let western = b"gr\xf6\xdfe,k\n1,Gl\xfcck\n2,caf\xe9\n1,Gl\xfcck\n";
    let read = "größe:number[1 2 1] -> Glück café Glück of Glück|café";
    check_with(western, &ReadOptions::default(), read);
    let table = read_with(western, &ReadOptions::default()).unwrap();
    assert!(table.notices[0].contains("windows-1252"), "{:?}", table.notices);
    let dos = ReadOptions { encoding: TextEncoding::named("ibm866"), ..ReadOptions::default() };
    check_with(b"x,k\n1,\x80\n2,\x81\n", &dos, "x:number[1 2] -> А Б of А|Б");
}

#[test]
fn quotes() {
    check("\"x\",\"y\",\"k\"\n\"1.5\",\"2\",\"b\"\n\"3\",\"-4\",\"a\"\n\"5\",\"6\",\"b\"\n", READ);
    check(
        "n,k\n\"a, \"\"b\"\"\r\nc\",1\n\"a, \"\"b\"\"\r\nc\",2\nd,1\n",
        "n:category[\"a, \\\"b\\\"\\r\\nc\" \"a, \\\"b\\\"\\r\\nc\" \"d\"] -> [1.0, 2.0, 1.0]",
    );
    refused_with(
        "x,k\n1,a\n2,\"b\n3,c\n",
        &ReadOptions::default(),
        "line 3, column 2 (k): the quote that opens here is never closed",
    );
    refused_with(
        "x,k\r\n1,a\r\n2,\"b\r\n3,\"c\"\r\n",
        &ReadOptions::default(),
        "line 3, column 2 (k): text follows the quote",
    );
}

#[test]
fn headers() {
    check("0,1,kind\n5.1,3.5,a\n4.9,3,b\n4,3,a\n", "0:number[5.1 4.9 4] 1:number[3.5 3 3] -> a b a of a|b");
    check("1,2,a\n3,4,b\n", ":number[1 3] :number[2 4] -> a b of a|b");
    check(
        "shape,color\nround,red\nlong,blue\nround,blue\nflat,red\n",
        "shape:category[\"round\" \"long\" \"round\" \"flat\"] -> red blue blue red of blue|red",
    );
    let without = ReadOptions { header: Some(false), ..ReadOptions::default() };
    check_with(
        b"0,1,2,3\n4,5,6,7\n8,7,6,5\n",
        &without,
        ":number[0 4 8] :number[1 5 7] :number[2 6 6] -> [3.0, 7.0, 5.0]",
    );
}

#[test]
fn booleans_and_categories() {
    check(
        "a,b,c,d,k\nTRUE,yes,t,m,1.5\nfalse,No,f,f,2\n,NA,f,m,3\n",
        "a:boolean[1 0 NA] b:boolean[1 0 NA] c:boolean[1 0 0] d:category[\"m\" \"f\" \"m\"] -> [1.5, 2.0, 3.0]",
    );
    let stations: String = (0..60).map(|row| format!("{},{row}.5\n", row % 30)).collect();
    let table = read_with(format!("s,k\n{stations}c168,1.5\nc204,2.5\n").as_bytes(), &ReadOptions::default())
        .unwrap();
    assert_eq!(table.columns[0].kind, Kind::Category);
    check("d,k\n1,a\n3+,b\n1,a\n", "d:category[\"1\" \"3+\" \"1\"] -> a b a of a|b");
}

#[test]
fn missing_cells() {
    let texts = ["", "NA", "N/A", "NaN", "null", "None", "?", "-", "\"\"", "\"NA\""];
    for text in texts {
        check(
            &format!("x,c,k\n1,a,p\n{text},{text},q\n3,a,p\n"),
            "x:number[1 NA 3] c:category[\"a\" NA \"a\"] -> p q p of p|q",
        );
    }
    let own =
        ReadOptions { missing: vec!["-999".to_owned(), "unknown".to_owned()], ..ReadOptions::default() };
    check_with(
        b"x,c,k\n1,a,p\n-999,unknown,q\n3,b,p\n",
        &own,
        "x:number[1 NA 3] c:category[\"a\" NA \"b\"] -> p q p of p|q",
    );
}

#[test]
fn dates() {
    let day = 86_400.0;
    for (first, second) in
        [("1970-01-02", "1970-01-03"), ("2.1.1970", "3.1.1970"), ("Jan 2, 1970", "Jan 3, 1970")]
    {
        check(
            &format!("d;k\n{first};a\n{second};b\nNA;a\n"),
            &format!("d:date[{day} {} NA] -> a b a of a|b", 2.0 * day),
        );
    }
    check("d,k\n1970-01-01T00:01:00Z,a\n1970-01-01T01:00:00+01:00,b\n", "d:date[60 0] -> a b of a|b");
    check("d,k\n1/2/1970,a\n1/31/1970,b\n", &format!("d:date[{day} {}] -> a b of a|b", 30.0 * day));
    check("d,x,k\n1/2/1970,1,a\n3/4/1970,2,b\n", "d:date[ambiguous date] x:number[1 2] -> a b of a|b");
    let said = ReadOptions { kinds: vec!["d=date".parse().unwrap()], ..ReadOptions::default() };
    check_with(
        b"d,k\n1/2/1970,a\n1/3/1970,b\n",
        &said,
        &format!("d:date[{day} {}] -> a b of a|b", 2.0 * day),
    );
}

#[test]
fn numbers_in_other_styles() {
    check("a;b;k\n1.234,5;1;p\n2;3;q\n", "a:number[1234.5 2] b:number[1 3] -> p q of p|q");
    check("a,b,k\n\"1,234,567\",1,p\n\"2,500\",3,q\n", "a:number[1234567 2500] b:number[1 3] -> p q of p|q");
    check("a;b;k\n1 234,5;1;p\n2;3;q\n", "a:number[1234.5 2] b:number[1 3] -> p q of p|q");
    check("a\tk\n1'234.5\tp\n2\tq\n", "a:number[1234.5 2] -> p q of p|q");
    check("a,k\n1e3,p\n.5,q\n-2.,p\n", "a:number[1000 0.5 -2] -> p q p of p|q");
    // To the last bit of 64.
    check("t,k\n1700000000,a\n1700000060,b\n", "t:number[1700000000 1700000060] -> a b of a|b");
    check("t,k\n1000000000.0000001,a\n0.1,b\n", "t:number[1000000000.0000001 0.1] -> a b of a|b");
}

#[test]
fn numbers_with_a_sign_of_their_unit() {
    check(
        "share,price,k\n50%,\"$1,200.50\",a\n7.5 %,$3,b\n,-$4,a\n",
        "share:number[50 7.5 NA] price:number[1200.5 3 -4] -> a b a of a|b",
    );
}

#[test]
fn identifiers_constants_and_empty_columns_are_left_out() {
    let rows: String = (1..=12).map(|row| format!("{row},n{row},7,,{},{}\n", row * row, row % 2)).collect();
    let text = format!(",name,c,e,x,k\n{rows}");
    let table = read_with(text.as_bytes(), &ReadOptions::default()).unwrap();
    assert!(shown(&table).starts_with(
        ":number[identifier] name:category[identifier] c:number[constant] e:number[empty] x:number[1 4 "
    ));
    assert_eq!(table.notices.len(), 3, "{:?}", table.notices);
    assert!(
        table.notices[0].contains("\"column 1\", \"name\"") && table.notices[0].contains("--keep"),
        "{:?}",
        table.notices
    );
    let options = ReadOptions {
        keep: vec!["0".to_owned(), "c".to_owned()],
        drop: vec!["x".to_owned()],
        ..ReadOptions::default()
    };
    let shown = shown(&read_with(text.as_bytes(), &options).unwrap());
    assert!(shown.starts_with(":number[1 2 3 "), "{shown}");
    assert!(shown.contains("c:number[7 7 ") && shown.contains("x:number[left out as asked]"), "{shown}");
}

#[test]
fn labels() {
    // Left out, and counted.
    let table = read_with(b"x,k\n1,a\n2,NA\n3,b\n4,a\n", &ReadOptions::default()).unwrap();
    assert_eq!(shown(&table), "x:number[1 3 4] -> a b a of a|b");
    assert!(table.notices.contains(&"1 row without a label was left out".to_owned()), "{:?}", table.notices);
    let classes = ReadOptions { task: Some(TaskKind::Classes), ..ReadOptions::default() };
    check_with(b"x,k\n1,007\n2,7\n", &classes, "x:number[1 2] -> 007 7 of 007|7");
    check(
        "x,k\n1,16777216\n2,16777217\n3,16777216\n4,16777217\n",
        "x:number[1 2 3 4] -> 16777216 16777217 16777216 16777217 of 16777216|16777217",
    );
    check("k,x,label\n5,1,7.5\n6,2,8.5\n", "k:number[5 6] x:number[1 2] -> [7.5, 8.5]");
    refused_with("x,k\n1,2024-01-01\n2,2024-01-02\n", &ReadOptions::default(), "are dates; say --task");
    let numbers = (0..40).map(|row| format!("{row},{}.5\n", row)).collect::<String>();
    refused_with(
        &format!("x,k\n{numbers}50,inf\n"),
        &ReadOptions::default(),
        "the label \"inf\" on line 42 is not a",
    );
    refused_with(
        &format!("x,k\n{numbers}50,oops\n"),
        &ReadOptions::default(),
        "the label \"oops\" on line 42 is not a number",
    );
    refused_with("1,a\n2,a\n", &ReadOptions::default(), "every label is \"a\"; there is nothing to learn");
    refused_with("x,k\n1,\n2,\n", &ReadOptions::default(), "has no value in any row");
    check_with(
        b"x,k\n1,yes\n2,no\n",
        &ReadOptions { task: Some(TaskKind::Numbers), ..ReadOptions::default() },
        "x:number[1 2] -> [1.0, 0.0]",
    );
}

#[test]
fn wrong_rows_are_named_with_their_place_and_a_remedy() {
    let good: String = (0..150).map(|row| format!("{row}.5,{},{}\n", row * 3, row % 2)).collect();
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("x,y,k\n{good}1,2\n").replace('\n', end);
        refused_with(&text, &ReadOptions::default(), "line 152: 2 cells where the first row has 3");
        let text = format!("x,y,k\n{good}oops,2,1\n").replace('\n', end);
        refused_with(
            &text,
            &ReadOptions::default(),
            "line 152, column 1 (x): \"oops\" is not a number; correct it",
        );
        let text = format!("x,y,k\n{good}1,1e999,1\n").replace('\n', end);
        refused_with(
            &text,
            &ReadOptions::default(),
            "line 152, column 2 (y): \"1e999\" is not a finite number",
        );
    }
    let forgiving = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
    for bad in ["1,2\n", "oops,2,1\n", "1,2,3,4\n"] {
        let table = read_with(format!("x,y,k\n{good}{bad}").as_bytes(), &forgiving).unwrap();
        assert_eq!(table.rows, 150);
        assert!(
            table
                .notices
                .iter()
                .any(|notice| notice.starts_with("1 row could not be read and was left out; the first:")
                    && notice.contains("line 152")),
            "{:?}",
            table.notices
        );
        refused_with(
            &format!("x,y,k\n{good}{bad}{bad}"),
            &forgiving,
            "are bad, more than the one in 100 that may be skipped",
        );
    }
}

#[test]
fn what_is_no_table_is_refused_with_words() {
    let cases: [(&str, &str); 10] = [
        ("", "has no examples in it"),
        ("\n \n", "has no examples in it"),
        ("a,b\n", "has no examples in it"),
        ("PK\u{3}\u{4}", "zip archive or a spreadsheet"),
        ("{\"a\": 1}", "it is JSON"),
        ("<html>", "web page"),
        ("1,2\u{0}\n", "binary"),
        ("x,x,k\n1,2,a\n", "two columns are called \"x\""),
        ("a\x1b[2J,k\n1,a\n2,b,c\n", "line 3: 3 cells"),
        ("x,k\n1,\x1b[2J\n2,\x1b[2J\n", "every label is \"\\u{1b}[2J\""),
    ];
    for (text, expected) in cases {
        refused_with(text, &ReadOptions::default(), expected);
    }
    for (label, expected) in [
        ("color", "there is no column \"color\"; the columns are \"x\", \"y\", \"k\""),
        ("3", "counted from 0, the 3 columns are 0 to 2"),
    ] {
        refused_with(
            PLAIN,
            &ReadOptions { labels: vec![label.to_owned()], ..ReadOptions::default() },
            expected,
        );
    }
}

#[test]
fn the_user_has_the_last_word() {
    let said = |column: &str, kind| ReadOptions {
        kinds: vec![ColumnKind { column: column.to_owned(), kind }],
        ..ReadOptions::default()
    };
    check_with(
        PLAIN.as_bytes(),
        &said("y", Kind::Category),
        "x:number[1.5 3 5] y:category[\"2\" \"-4\" \"6\"] -> b a b of a|b",
    );
    check_with(
        PLAIN.as_bytes(),
        &said("0", Kind::Text),
        "x:text[free text] y:number[2 -4 6] -> b a b of a|b",
    );
    refused_with("x,k\n1,a\nb,b\n", &said("x", Kind::Number), "line 3, column 1 (x): \"b\" is not a number");
    refused_with(PLAIN, &said("z", Kind::Number), "--as: there is no column \"z\"");
}

#[test]
fn several_files_are_one_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"k;y;x\na;-4;3\n").unwrap();
    let paths = [
        file("1.csv", b"x,y,k\n1.5,2,b\n"),
        file("2.csv.gz", &encoder.finish().unwrap()),
        file("3.csv.zst", &zstd::encode_all(&b"y\tk\tx\n6\tb\t5\n"[..], 1).unwrap()),
    ];
    let whole = read(&[folder.path().join("*.csv*")], &ReadOptions::default()).unwrap().train;
    assert_eq!(shown(&whole), READ);
    assert_eq!(shown(&read(&paths, &ReadOptions::default()).unwrap().train), READ);
    let other = file("4.csv", b"x,z,k\n1,2,b\n");
    let message = read(&[paths[0].clone(), other], &ReadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("4.csv") && message.contains("it has no column \"y\""), "{message}");
}

#[test]
fn amounts_of_money_and_shares_as_other_countries_write_them() {
    check(
        "price;share;k\n1.234,50 €;7,5 %;a\n3 €;10 %;b\n-4,25 €;0,5%;a\n",
        "price:number[1234.5 3 -4.25] share:number[7.5 10 0.5] -> a b a of a|b",
    );
    check(
        "price,balance,k\n5.50 USD,\"(1,200.50)\",a\n3 USD,$7,b\n-4 USD,0,a\n",
        "price:number[5.5 3 -4] balance:number[-1200.5 7 0] -> a b a of a|b",
    );
    check("x,k\n\u{2212}0.5,a\n2,b\n", "x:number[-0.5 2] -> a b of a|b");
    let mixed = read_with(b"x,k\n5%,a\n0.05,b\n7%,a\n", &ReadOptions::default()).unwrap();
    assert_eq!(shown(&mixed), "x:number[5 0.05 7] -> a b a of a|b");
    assert!(mixed.notices[0].contains("with and without a sign of per cent"), "{:?}", mixed.notices);
    // A zero needs no sign.
    let zero = read_with(b"x,k\n5%,a\n0,b\n7%,a\n", &ReadOptions::default()).unwrap();
    assert!(zero.notices.is_empty(), "{:?}", zero.notices);
}

#[test]
fn mixed_booleans() {
    check(
        "a,b,k\nTRUE,yes,1.5\n0,N,2\nf,no,3\n1,Y,4\n",
        "a:boolean[1 0 0 1] b:boolean[1 0 0 1] -> [1.5, 2.0, 3.0, 4.0]",
    );
    // Letters of both kinds are codes, and so are numbers other than 0 and 1.
    check(
        "a,b,k\nt,true,1.5\nn,2,2\nt,true,3\n",
        "a:category[\"t\" \"n\" \"t\"] b:category[\"true\" \"2\" \"true\"] -> [1.5, 2.0, 3.0]",
    );
}

#[test]
fn missing_cells_of_spreadsheets_databases_and_statistics_programs() {
    for text in [".", "\\N", "NaT", "#DIV/0!", "#VALUE!", "#NUM!", "(null)"] {
        check(
            &format!("x,d,k\n1,2024-01-01,p\n{text},{text},q\n3,2024-01-01,p\n"),
            "x:number[1 NA 3] d:date[1704067200 NA 1704067200] -> p q p of p|q",
        );
    }
}

#[test]
fn a_text_that_recurs_among_broken_numbers_counts_as_missing() {
    let rows = |text: &str| -> String {
        (0..40)
            .map(|row| match row % 8 {
                3 => format!("{text},{},{}\n", row % 2, row % 3),
                _ => format!("{row}.25,{},{}\n", row % 2, row % 3),
            })
            .collect()
    };
    let data = |text: &str, options: &ReadOptions| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, format!("x,y,k\n{}", rows(text))).unwrap();
        read(&[path], options).unwrap()
    };
    let found = data("<0.5", &ReadOptions::default());
    assert_eq!((found.train.columns[0].kind, found.train.columns[0].missing), (Kind::Number, 5));
    assert_eq!(found.missing, ["<0.5"]);
    assert!(
        found.train.notices.iter().any(|notice| notice.starts_with("5 cells of column 1 (x) have \"<0.5\"")),
        "{:?}",
        found.train.notices
    );
    // Who says what it is has it so.
    let said = ReadOptions { kinds: vec!["x=category".parse().unwrap()], ..ReadOptions::default() };
    assert_eq!(data("<0.5", &said).train.columns[0].kind, Kind::Category);
    // A wrong cell is no marker.
    let once = format!("x,y,k\n{}oops,1,2\n", rows("7.5"));
    refused_with(&once, &ReadOptions::default(), "column 1 (x): \"oops\" is not a number");
    // Ages and the like, whose last class is open.
    let open: String = (0..40).map(|row| format!("{},{}\n", row + 30, row % 2)).collect();
    let open = read_with(format!("x,k\n{open}90+,1\n90+,0\n90+,1\n").as_bytes(), &ReadOptions::default());
    assert!(open.is_err() || open.unwrap().columns[0].kind == Kind::Category);
}

#[test]
fn titles_above_a_table() {
    for title in
        ["Report of 2024\n", "Report of 2024\nMade by hand\n\n", "Report of 2024,,\n,,\n", "# one\nReport\n"]
    {
        check(&format!("{title}{PLAIN}"), READ);
    }
    let table = read_with(format!("Report\n2024\n{PLAIN}").as_bytes(), &ReadOptions::default());
    assert!(table.unwrap_err().contains("line 1: 1 cell"));
    let table =
        read_with(format!("Report\nMade by hand\n{PLAIN}").as_bytes(), &ReadOptions::default()).unwrap();
    assert!(
        table.notices[0].starts_with("2 rows above the table in ")
            && table.notices[0].ends_with("were taken for a title and left out"),
        "{:?}",
        table.notices
    );
    // R leaves out the name of the first column.
    check("x\na,1.5\nb,2.5\nc,3.5\n", ":category[\"a\" \"b\" \"c\"] -> [1.5, 2.5, 3.5]");
    check("Report\nx,k\n1,b\n3,a\n", "x:number[1 3] -> b a of a|b");
    // A name of one column alone is no title.
    check("x,,\n1,2,b\n3,4,a\n", "x:number[1 3] :number[2 4] -> b a of a|b");
}

#[test]
fn what_was_left_out_is_said_where_nothing_is_left() {
    let rows: String = (0..40).map(|row| format!("{row}.5 kg,{}\n", row % 2)).collect();
    let table = read_with(format!("x,k\n{rows}").as_bytes(), &ReadOptions::default()).unwrap();
    let message = Preparation::fit(&table, &[0, 1, 2], &[]).unwrap_err().to_string();
    assert!(
        message.contains("left out: x (identifier); keep one with --keep COLUMN, or say what"),
        "{message}"
    );
}

#[test]
fn what_other_programs_write_is_named() {
    let utf32: Vec<u8> =
        format!("\u{feff}{PLAIN}").chars().flat_map(|one| (one as u32).to_le_bytes()).collect();
    let message = read_with(&utf32, &ReadOptions::default()).unwrap_err();
    assert!(message.contains("it is in UTF-32; save it in UTF-8"), "{message}");
    refused_with("@RELATION r\n@attribute x numeric\n@data\n1\n", &ReadOptions::default(), "it is ARFF");
}
