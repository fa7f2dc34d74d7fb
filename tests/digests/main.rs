//! The weights of small trainings, pinned to the bit.
//!
//! A training's weights are the same bits, whoever helps and on whatever machine. They also stay the same
//! when the program is only tidied. Any change of a bit shows here. If a change is wanted, its digest in
//! [`TRAININGS`] changes with it, and the commit gives the reason.
//!
//! The trainings run through the real binary and depend only on its flags, so that this test outlives every
//! name inside.

mod data;

use std::fmt::Write as _;

use support::coordinator::Outcome;
use support::program::{Ran, shoal};
use tempfile::TempDir;

/// A training, and the digest of its weights.
struct Training {
    /// The purpose of the training.
    name: &'static str,
    /// Flags of `shoal train`, separated by spaces.
    flags: &'static str,
    /// BLAKE3 of the weights in hexadecimal.
    digest: &'static str,
}

const TRAININGS: &[Training] = &[
    // Each optimizer.
    Training {
        name: "auto, until L-BFGS has taken over",
        flags: "--data noise.csv --model mlp:4:tanh --minibatch 8 --iterations 60 --optimizer auto",
        digest: "24f757ec4dca5cd5163ecc4ed21f699e52f3d3149cb194980ca790f80713eee8",
    },
    Training {
        name: "averaged, with a learning rate that is searched",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 15 --optimizer averaged",
        digest: "50ea8a14752b8053f58dfcae8580395d09379c0d098a2835cad3553fc3214766",
    },
    Training {
        name: "averaged, with a schedule",
        flags: "--data classes.csv --model mlp:8 --minibatch 4 --iterations 10 --optimizer averaged --replicas 7 \
                --local-steps 11 --learning-rate 0.3 --schedule cosine --memory 3",
        digest: "8f24dea6a4d3eafee93a8766ab224a1368f72fa9e9ccf6311daad267fe65e80d",
    },
    Training {
        name: "average with outer momentum",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 10 --optimizer average --replicas 3 \
                --learning-rate 0.2 --outer-momentum 0.9",
        digest: "0f4d8a369b8bf25db0e0d523cd9b6661afe5c89754b29b2fd679bfcd0ef97e74",
    },
    Training {
        name: "lbfgs, until it makes no more progress",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 150 --optimizer lbfgs",
        digest: "785159342b4694eb6df4a1b0e6a7c20c0e7a5d160c886216df5ef2b6a2e85d25",
    },
    Training {
        name: "lbfgs on a sample",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 30 --optimizer lbfgs --sample 96 \
                --overlap 0.4",
        digest: "3d1068eb97cb9615225d10f7c3bc942e03b49db6ef13ce13b40eefaf936c6387",
    },
    Training {
        name: "sgd, with a schedule",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 30 --optimizer sgd \
                --minibatches-per-round 3 --schedule linear",
        digest: "0032a89a16bf757b08ffabfa5416b7ff24e27393e053a7c2270a1dc8af593469",
    },
    Training {
        name: "momentum",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 30 --optimizer momentum",
        digest: "baa1911b0d1c0f4b00841ced5863583a9bd5e08c31b3e08f0c27859b7308e746",
    },
    Training {
        name: "adam",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 30 --optimizer adam --learning-rate 0.02",
        digest: "bb03133c81a5bb99ced46bc75e83787e29ccbcc7531ad614827f8986d20dc5c1",
    },
    Training {
        name: "adamw",
        flags: "--data classes.csv --model mlp:8 --minibatch 8 --iterations 30 --optimizer adamw --weight-decay 0.1",
        digest: "6f6d11111ff1e5f383897ab9045cfe99ff42e6ef4259232e038a6080dd67c1c1",
    },
    // The other arithmetic.
    Training {
        name: "fused, averaged",
        flags: "--data digits.csv.gz --model mlp:32 --iterations 4 --optimizer averaged --learning-rate 0.3 \
                --arithmetic fused",
        digest: "4ba21661cbe1383fd111545b8976d3ed39976161aba39ff0ba19821c353e66af",
    },
    Training {
        name: "portable, averaged",
        flags: "--data digits.csv.gz --model mlp:32 --iterations 4 --optimizer averaged --learning-rate 0.3",
        digest: "a861d7fd06e68f5ac43d3caa9d98d64c33c929c0afda57901d4389fc665b3d97",
    },
    Training {
        name: "fused, lbfgs with convolutions",
        flags: "--data digits.csv.gz --model convolutions.json --iterations 5 --optimizer lbfgs --arithmetic fused",
        digest: "ab1a1909a8b70ee467310cdbe553653522f18c3d2af7815b400984e85accebc4",
    },
    Training {
        name: "portable, lbfgs with convolutions",
        flags: "--data digits.csv.gz --model convolutions.json --iterations 5 --optimizer lbfgs",
        digest: "5ff5dafd4fa9c0466642062b821e86dd697edd5807eba4b951a08919d07f43ff",
    },
    // Kinds of layers, losses and penalties.
    Training {
        name: "convolutions in a residual block, batch normalization, dropout, local steps",
        flags: "--data digits.csv.gz --model residual.json --iterations 3 --optimizer averaged --replicas 4 \
                --local-steps 20 --learning-rate 0.1",
        digest: "f5fac657da8c71b79190f62fadac0d4ef3d5d38fe1227268a2f154e691823e07",
    },
    Training {
        name: "convolutions in a residual block, batch normalization, dropout, gradients",
        flags: "--data digits.csv.gz --model residual.json --iterations 4 --optimizer adam",
        digest: "8de8ed4741f600905914e69bde135cd05302e51f4ab3a34b7abfda1880b015b9",
    },
    Training {
        name: "layer normalization and dropout between dense layers, weighted classes, smoothed labels",
        flags: "--data classes.csv --model normalized.json --minibatch 8 --iterations 10",
        digest: "c744bd0572f7f7805ddc5ded27a71e09fdb49f0c444cf16c055d8a17d118b573",
    },
    Training {
        name: "an embedding",
        flags: "--data words.csv --model embedding.json --minibatch 8 --iterations 12",
        digest: "c68bdb5d9c69c96c08b4f1722099fc5c3ab787a04cb9f900a07996892336b1b1",
    },
    Training {
        name: "an L2 penalty",
        flags: "--data classes.csv --model mlp:8 --l2 0.01 --minibatch 8 --iterations 20 --optimizer lbfgs",
        digest: "cbf0edd7a05682e1ea2a87c28e121d4e3f481fe5a6019393ad484db72a327656",
    },
    Training {
        name: "an L1 penalty and the Huber loss",
        flags: "--data numbers.csv --label first --model huber.json --minibatch 10 --iterations 20 --optimizer lbfgs",
        digest: "578d448f6520b0621f3feaeeaaa116fe2e1c085e5c702095b3bf20c35e5d8efa",
    },
    Training {
        name: "numbers as labels, two of them",
        flags: "--data numbers.csv --label first --label second --model mlp:8 --minibatch 8 --iterations 12",
        digest: "68f01ab77b3acc789ffbd78de2d5c15b912e641a296ce1f57b5e7c72c6b913a0",
    },
    // Settings by rule.
    Training {
        name: "a cross-validated table, its classes balanced",
        flags: "--data noise.csv --cross-validation 3 --class-weights balanced",
        digest: "90b234720c0ba5f8e44dbe66dc73d694482deef25968a768c84a0f6a0425d04a",
    },
    // Evaluation, and the division of the data.
    Training {
        name: "the weights with the lowest validation loss are kept",
        flags: "--data noise.csv --model mlp:32 --minibatch 8 --iterations 60 --optimizer lbfgs \
                --validation-fraction 0.3 --evaluate-every 1 --patience 8",
        digest: "5e4a0b9dcefffbf81f9a014a09cb19480890ae74dcb038f511b3fcfb943fdff5",
    },
    Training {
        name: "another seed, no test examples",
        flags: "--data classes.csv --model linear --minibatch 8 --iterations 8 --seed 77 --test-fraction 0",
        digest: "b713a06d4569d15323bd53bf106c3e25e52357da9088bdd75438cc244164e5fd",
    },
    Training {
        name: "replicas over several shards",
        flags: "--data embedded:mnist --model linear --iterations 3 --optimizer averaged --replicas 5 \
                --local-steps 30 --learning-rate 0.1",
        digest: "6985a4ea24d79802e1ac6cc6f3663ed37d7c4c6d1ac6014678215d78a1fd5caf",
    },
    Training {
        name: "gradients over several shards",
        flags: "--data embedded:mnist --model mlp:8 --iterations 3 --optimizer lbfgs --minibatch 100",
        digest: "99cd46cda1113209bfe7b0aa049b3040d8d908de5ef6c2439aba5becb25b12b3",
    },
];

#[test]
fn the_weights_of_every_pinned_training_are_the_same_bits() {
    let folder = data::folder();
    let mut changed = String::new();
    for (number, training) in TRAININGS.iter().enumerate() {
        let Training { name, flags, digest } = training;
        let found = train(&folder, flags, number);
        if found != *digest {
            writeln!(changed, "{name}\n  train {flags}\n  pinned {digest}\n  found  {found}").unwrap();
        }
    }
    assert!(
        changed.is_empty(),
        "The weights of these trainings have changed:\n{changed}Weights may change on purpose only. If this is one, \
         pin the new digests in tests/digests and give the reason in the commit; otherwise mend what changed them."
    );
}

/// The settings that the rules for defaults would choose, so that another rule changes no digest.
fn without_rules(flags: &str) -> Vec<&'static str> {
    if flags.contains("--cross-validation") {
        return Vec::new();
    }
    let mut settings = vec!["--cross-validation", "0"];
    if !flags.contains("--validation-fraction") {
        settings.extend(["--validation-fraction", "0"]);
    }
    // A network's file says its penalty itself.
    if !flags.contains("--l2") && !flags.contains(".json") {
        settings.extend(["--l2", "0"]);
    }
    settings
}

/// Gives the digest of the weights.
fn train(folder: &TempDir, flags: &str, number: usize) -> String {
    let alone = ["--local-workers", "2", "--listen", "127.0.0.1:0", "--json", "--out"];
    let flags = flags.split_whitespace().chain(without_rules(flags));
    let mut command = shoal(["train"].into_iter().chain(flags).chain(alone));
    command.arg(format!("run-{number}")).current_dir(folder.path());
    Outcome::of(&Ran::of(&mut command).succeeded()).weights_digest
}
