//! No bytes make a reader panic, and blocks and threads change nothing.

use std::path::PathBuf;

use proptest::prelude::*;
use table::{Labels, Preparation, ReadOptions, read, read_matching};

/// Reads, prepares and reads again; only panics matter.
fn survive(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let paths = [path];
    for options in [ReadOptions::default(), ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }] {
        let Ok(data) = read(&paths, &options) else { continue };
        let rows: Vec<u32> = (0..data.train.rows as u32).collect();
        let Ok((preparation, _)) = Preparation::fit(&data.train, &rows, &[]) else { continue };
        let stored = preparation.store(data.train).unwrap();
        let bytes = stored.fits_bytes(&preparation);
        let _ = stored.inputs(&preparation, &rows, bytes);
        for labels in [Labels::Required, Labels::Ignored] {
            if let Ok(again) = read_matching(&paths, &preparation, &options, labels) {
                let rows: Vec<u32> = (0..again.rows as u32).collect();
                let _ = preparation.store(again).unwrap().inputs(&preparation, &rows, false);
            }
        }
    }
}

/// Pieces that tables are made of, so that what is put together at random goes deep into the readers.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b",",
        b";",
        b"\t",
        b"|",
        b" ",
        b"\n",
        b"\r\n",
        b"\r",
        b"\"",
        b"\"\"",
        b"1",
        b"-2.5",
        b"1e999",
        b"NA",
        b"",
        b"?",
        b"TRUE",
        b"no",
        b"red",
        b"2024-01-31",
        b"31.12.2024",
        b"1/2/2024",
        b"12:30",
        b"1,234",
        b"1.234,5",
        b"#",
        b"sep=;",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xe9",
        b"\0",
        b"x",
        b"label",
        b"1:2",
        b"Infinity",
        b"007",
        b"\xc3\xa4",
        b"3,2,a,b",
    ];
    prop::sample::select(pieces).prop_map(<[u8]>::to_vec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive("a", &bytes);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(piece(), 0..120)) {
        survive("a.csv", &pieces.concat());
    }

    /// A good table with some of its bytes changed.
    #[test]
    fn a_table_with_wrong_bytes(changes in prop::collection::vec((0_usize..4000, any::<u8>()), 1..12)) {
        let mut text = b"when,size,color,ok,kind\n".to_vec();
        for row in 0..80 {
            text.extend(format!("2024-01-{:02},{}.5,\"{}\",{},k{}\n", row % 28 + 1, row * 3, ["red", "blue"][row % 2], row % 3 == 0, row % 4).bytes());
        }
        for (place, byte) in changes {
            let place = place % text.len();
            text[place] = byte;
        }
        survive("a.csv", &text);
    }

    #[test]
    fn headers_of_other_formats(format in 0_usize..6, rest in prop::collection::vec(any::<u8>(), 0..120)) {
        let start: [&[u8]; 6] = [b"PAR1", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x00\x00\x08\x02"];
        survive("a", &[start[format], rest.as_slice()].concat());
    }
}

#[test]
fn a_table_of_many_blocks_is_read_as_one_of_few() {
    // More than one batch of blocks on any machine would need gigabytes: the cut into blocks is tested where
    // it is made; here each thread pool has its own batches.
    let rows: String = (0..200_000).map(|row| format!("{row}.25,\"c, {}\",{}\n", row % 7, row % 3)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, format!("x,c,k\n{rows}")).unwrap();
    let read_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| read(std::slice::from_ref(&path), &ReadOptions::default()).unwrap().train)
    };
    let (one, three) = (read_on(1), read_on(3));
    assert_eq!(one.rows, 200_000);
    assert_eq!(one.targets, three.targets);
    for (one, three) in one.columns.iter().zip(&three.columns) {
        assert_eq!((one.kind, one.distinct, &one.values), (three.kind, three.distinct, &three.values));
    }
}
