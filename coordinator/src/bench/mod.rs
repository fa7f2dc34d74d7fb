//! The benchmark: it measures the cases of the `bench` crate natively ([`native`]) or with the page `/bench`
//! in a browser ([`browser`]), and a whole [`pass`] over MNIST. All results have one form ([`report`]).

pub mod browser;
pub mod native;
pub mod pass;
pub mod report;

use std::sync::OnceLock;

use bench::MNIST_EXAMPLES;
use bytes::Bytes;
use model::{Rows, Targets};
use protocol::shard;
use table::{PixelValues, Pixels};

use crate::data;

/// The first [`MNIST_EXAMPLES`] of MNIST's training set as an encoded shard. The first call makes it, which
/// takes a moment; then it is kept.
pub fn mnist_shard() -> Bytes {
    static SHARD: OnceLock<Bytes> = OnceLock::new();
    let encode = || {
        let (train, _) = data::mnist().expect("the embedded MNIST can be read");
        let (
            Some(Pixels { shape, values: PixelValues::U8(pixels), .. }),
            table::Targets::Classes { ids, .. },
        ) = (train.pixels(), train.targets())
        else {
            unreachable!("MNIST has pixels and classes")
        };
        let columns: usize = shape.iter().product();
        let pixels = &pixels[..MNIST_EXAMPLES * columns];
        let rows = ndarray::ArrayView2::from_shape((MNIST_EXAMPLES, columns), pixels);
        let rows = Rows::U8(rows.expect("so many rows of pixels"));
        Bytes::from(shard::encode(&rows, &Targets::Classes(&ids[..MNIST_EXAMPLES])))
    };
    SHARD.get_or_init(encode).clone()
}
