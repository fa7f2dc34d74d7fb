//! MNIST, embedded in the binary, so that the demo needs no download. Origin and license: `data/mnist/README.md`.

use std::path::Path;

use table::{DataFile, TableError};

use super::Dataset;

/// The full MNIST: 60,000 examples to train on and 10,000 to test with, of 28 x 28 bytes, in ten classes.
pub fn mnist() -> Result<(Dataset, Dataset), TableError> {
    let train = table::read_idx(
        &embedded("train-images", include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz")),
        &embedded("train-labels", include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz")),
        None,
    )?;
    let test = table::read_idx(
        &embedded("t10k-images", include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz")),
        &embedded("t10k-labels", include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz")),
        Some(&train),
    )?;
    Ok((Dataset::new(train), Dataset::new(test)))
}

fn embedded(name: &str, bytes: &'static [u8]) -> DataFile {
    DataFile::in_memory(&Path::new("the embedded MNIST").join(name), bytes)
}
