//! MNIST, embedded in the binary, so that the demo needs no download. Origin and license: `data/mnist/README.md`.

use std::path::Path;

use super::{
    DataError, Dataset, file,
    idx::{self, Part},
};

/// The full MNIST: 60,000 examples to train on and 10,000 to test with, of 28 x 28 bytes, in ten classes.
pub fn mnist() -> Result<(Dataset, Dataset), DataError> {
    let train = idx::training_part(
        embedded("train-images", include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz"))?,
        embedded("train-labels", include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz"))?,
    )?;
    let test = idx::test_part(
        embedded("t10k-images", include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz"))?,
        embedded("t10k-labels", include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz"))?,
        &train,
    )?;
    Ok((train, test))
}

fn embedded(name: &str, bytes: &[u8]) -> Result<Part, DataError> {
    let path = Path::new("the embedded MNIST").join(name);
    Part::read(&path, file::content(&path, bytes)?.reader)
}
