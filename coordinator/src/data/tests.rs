//! Whole files through [`load`] and [`prepare_sets`]: splits, shuffles, and what volunteers get. The crate
//! `table` tests how files are read.

use std::path::PathBuf;
use std::sync::Arc;

use model::{Rows, Targets};
use protocol::plan::{Set, SetPlans};
use tempfile::TempDir;

use super::*;

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

fn csv(content: &str) -> Dataset {
    load(&Folder::new().file("a.csv", content), &ReadOptions::default()).unwrap().train
}

/// 100 examples in two classes of 80 and 20, with columns that are not bytes.
fn unbalanced() -> Dataset {
    let rows: String =
        (0..100).map(|row| format!("{row}.5,{},{}\n", row * row % 17, u8::from(row % 5 == 0))).collect();
    csv(&format!("x,y,kind\n{rows}"))
}

#[test]
fn parts_are_stratified_and_the_seed_decides_who_is_in_them() {
    let prepared = |seed| {
        let part = |fraction| HeldBack { own: None, fraction };
        prepare_sets(unbalanced(), part(0.25), part(0.2), seed, false).unwrap()
    };
    let one = prepared(1);
    let classes = |examples: &Examples| match examples.in_memory().unwrap().target_values() {
        TargetValues::Classes(ids) => ids.iter().filter(|&&id| id == 1).count(),
        TargetValues::Numbers { .. } => panic!("numbers where classes were expected"),
    };
    let (test, validation) = (one.test.as_ref().unwrap(), one.validation.as_ref().unwrap());
    assert_eq!((one.train.len(), validation.len(), test.len()), (60, 20, 20));
    assert_eq!((classes(&one.train), classes(validation), classes(test)), (12, 4, 4));
    assert_eq!(prepared(1).fingerprint, one.fingerprint);
    assert_ne!(prepared(2).fingerprint, one.fingerprint);
}

#[test]
fn a_part_from_elsewhere_is_prepared_as_the_training_part() {
    let folder = Folder::new();
    let train = csv("x,c,k\n1,red,a\n2,blue,b\n3,red,a\n4,blue,b\n");
    let test =
        load_test(&folder.file("t.csv", "k,x,c\nb,9,green\n"), &train, &ReadOptions::default()).unwrap();
    let prepared = prepare(train, Some(test), 0.0, 1).unwrap();
    let test = prepared.test.unwrap();
    let test = test.in_memory().unwrap();
    let Rows::F32(rows) = test.rows(0..1) else { panic!("bytes where f32 were expected") };
    assert_eq!(rows.as_slice().unwrap(), [9.0, 0.0, 0.0]);
    assert!(matches!(test.targets(0..1), Targets::Classes(&[1])));
    assert!(
        prepared.notices.iter().any(|notice| notice.contains("did not occur in training")),
        "{:?}",
        prepared.notices
    );
}

#[test]
fn wrong_fractions_are_refused() {
    for (fraction, problem) in [(1.0, "below 1"), (f64::NAN, "below 1"), (0.001, "no example would be left")]
    {
        let message = prepare(unbalanced(), None, fraction, 1).unwrap_err().to_string();
        assert!(message.contains(problem), "{fraction} gave {message:?}");
    }
}

#[test]
fn integers_to_look_up_are_checked() {
    let text = "a,b,k\n0,1,p\n2,3,q\n1,1,p\n3,2,q\n";
    let prepared = prepare(csv(text).into_integers(4), None, 0.0, 1).unwrap();
    assert_eq!((prepared.preprocessing.offset, prepared.preprocessing.scale), (vec![0.0; 2], vec![1.0; 2]));
    let message = prepare(csv(text).into_integers(3), None, 0.0, 1).unwrap_err().to_string();
    assert!(message.contains("3 is not an integer from 0 to 2"), "{message}");
    let missing = csv("a,b,k\n0,1,p\n,3,q\n1,1,p\n3,2,q\n");
    let message = prepare(missing.into_integers(4), None, 0.0, 1).unwrap_err().to_string();
    assert!(message.contains("column 1 (a) has cells that are no numbers"), "{message}");
}

/// The same examples in memory and outside of it, cut alike.
fn both_ways(text: &str, validation: f64) -> (Folder, [(Prepared, ShardStore, SetPlans); 2]) {
    let folder = Folder::new();
    let path = folder.file("a.csv", text);
    let own = folder.file("own.csv", text);
    let scratch = Scratch::create(folder.0.path()).unwrap();
    let cabinet = Arc::new(Cabinet::open(folder.0.path()).unwrap());
    let ways = [None, Some(scratch)].map(|scratch| {
        let options = ReadOptions { scratch, ..ReadOptions::default() };
        let train = load(&path, &options).unwrap().train;
        let own = load_test(&own, &train, &options).unwrap();
        assert_eq!(train.is_outside(), options.scratch.is_some());
        let (test, validation) = match validation {
            0.0 => (HeldBack { own: None, fraction: 0.25 }, HeldBack { own: Some(own), fraction: 0.0 }),
            fraction => (HeldBack { own: Some(own), fraction: 0.0 }, HeldBack { own: None, fraction }),
        };
        let data = prepare_sets(train, validation, test, 7, false).unwrap();
        let data = cut_into(data, 16, &cabinet).unwrap();
        let (store, plans) = ShardStore::cut(Arc::new(data.clone()), 16);
        (data, store, plans)
    });
    (folder, ways)
}

#[test]
fn examples_outside_of_memory_are_the_same_to_the_bit() {
    let classes: String = (0..700)
        .map(|row| {
            format!("{}.5,{},{}\n", row * row % 37, ["u", "v", ""][row % 3], ["p", "q", "r"][row % 7 % 3])
        })
        .collect();
    let numbers: String = (0..400).map(|row| format!("{},{}.25\n", row * 5 % 251, row * 3 % 83)).collect();
    for (text, validation) in [
        (format!("x,c,k\n{classes}"), 0.2),
        (format!("x,c,k\n{classes}"), 0.0),
        (format!("x,y\n{numbers}"), 0.1),
    ] {
        let (_folder, [(inside, store, plans), (outside, apart, same)]) = both_ways(&text, validation);
        assert_eq!((inside.fingerprint, &inside.preparation), (outside.fingerprint, &outside.preparation));
        assert_eq!((&inside.target_scaling, &inside.notices), (&outside.target_scaling, &outside.notices));
        assert_eq!(plans, same);
        assert!(!store.is_outside() && apart.is_outside());
        let sets = [
            (&plans.training, Set::Training),
            (&plans.validation, Set::Validation),
            (&plans.test, Set::Test),
        ];
        for (plan, set) in sets {
            assert!(plan.examples > 0);
            for shard in &plan.shards {
                assert_eq!(store.encoded(&shard.hash).unwrap(), apart.encoded(&shard.hash).unwrap());
                assert_eq!(store.compressed(&shard.hash).unwrap(), apart.compressed(&shard.hash).unwrap());
            }
            let (one, other) = (inside.examples(set).unwrap(), outside.examples(set).unwrap());
            assert_eq!((one.len(), one.columns()), (other.len(), other.columns()));
            assert_eq!(one.class_counts(3), other.class_counts(3));
            let range = one.len() / 3..one.len() - 1;
            let (one, other) = (one.piece(range.clone()).unwrap(), other.piece(range).unwrap());
            assert_eq!(format!("{:?}", one.rows()), format!("{:?}", other.rows()));
            assert_eq!(format!("{:?}", one.targets()), format!("{:?}", other.targets()));
        }
    }
}

#[test]
fn mnist_is_there() {
    let (train, test) = mnist().unwrap();
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    assert_eq!(train.pixels().unwrap().shape, [28, 28]);
}
