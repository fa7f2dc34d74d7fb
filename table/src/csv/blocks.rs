//! A file of text in blocks of whole rows, which are worked on in parallel and joined in their order.
//!
//! Memory is bounded by two batches of blocks, one for each core, whatever the file's size.

use std::io::{self, Read};

use rayon::prelude::*;

use super::cells::{Separator, last_row_end};
use crate::{TableError, limits, source::DataFile};

/// Bytes of a block: enough to be worth a thread's while, little enough to stay in its cache.
pub(super) const BLOCK_BYTES: usize = 2 << 20;
/// Blocks for each thread in a batch: the more, the less the threads wait for each other at its end.
const BLOCKS_PER_THREAD: usize = 3;

/// Cuts what a reader gives into blocks of whole rows.
pub(super) struct Blocks {
    reader: Box<dyn Read + Send>,
    separator: Separator,
    block_bytes: usize,
    /// The beginning of a row whose end has not been read yet.
    rest: Vec<u8>,
    ended: bool,
}

impl Blocks {
    pub(super) fn new(reader: Box<dyn Read + Send>, separator: Separator, block_bytes: usize) -> Self {
        Self { reader, separator, block_bytes, rest: Vec::new(), ended: false }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut block = Vec::with_capacity(self.block_bytes + self.rest.len());
        block.append(&mut self.rest);
        let mut wanted = self.block_bytes;
        loop {
            if !self.ended {
                let count = (&mut self.reader).take(wanted as u64).read_to_end(&mut block)?;
                self.ended = count < wanted;
            }
            if self.ended {
                // DOS ended text with a control-Z, and some programs still do.
                if let Some(text) = block.trim_ascii_end().strip_suffix(b"\x1a") {
                    block.truncate(text.len());
                }
                return Ok((!block.is_empty()).then_some(block));
            }
            if let Some(end) = last_row_end(&block, self.separator) {
                self.rest = block.split_off(end);
                return Ok(Some(block));
            }
            if block.len() > limits::ROW_BYTES_MAX {
                // What reads the block finds the quote that is never closed, or too long a row.
                self.ended = true;
                return Ok(Some(block));
            }
            // Twice as much each time, so that a long row is not looked through again and again.
            wanted = block.len();
        }
    }

    fn batch(&mut self, blocks: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut batch = Vec::with_capacity(blocks);
        while batch.len() < blocks {
            match self.next()? {
                Some(block) => batch.push(block),
                None => break,
            }
        }
        Ok(batch)
    }
}

/// `work` on every block, on all cores; `join` gets the results of some blocks at a time, in order. `work` is
/// also told which block it is.
pub(super) fn each<T: Send>(
    file: &DataFile,
    mut blocks: Blocks,
    work: impl Fn(usize, &[u8]) -> T + Sync,
    mut join: impl FnMut(Vec<T>) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let size = rayon::current_num_threads() * BLOCKS_PER_THREAD;
    let mut first = 0;
    let mut batch = blocks.batch(size).map_err(|error| file.error(error))?;
    while !batch.is_empty() {
        let (results, next) = rayon::join(
            || batch.par_iter().enumerate().map(|(at, block)| work(first + at, block)).collect(),
            || blocks.batch(size),
        );
        join(results)?;
        first += batch.len();
        batch = next.map_err(|error| file.error(error))?;
    }
    Ok(())
}
