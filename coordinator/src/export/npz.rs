//! Weights as NumPy reads them: a ZIP of one array for each block of the layout, `numpy.load(file)["layers.0.weight"]`.
//!
//! The format of an array is that of `numpy.lib.format`, version 1.0.

use std::io::{Cursor, Write as _};

use model::Network;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::ExportError;

/// The header of an array ends at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// The file.
pub(super) fn to_npz(network: &Network, weights: &[f32]) -> Result<Vec<u8>, ExportError> {
    write(network, weights)
        .map_err(|error| ExportError::Unwritable { format: "NPZ", problem: error.to_string() })
}

fn write(network: &Network, weights: &[f32]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // Weights hardly compress. The time of each entry is the ZIP format's first, so that the same weights
    // give the same file.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .large_file(4 * weights.len() > u32::MAX as usize);
    for block in network.layout() {
        archive.start_file(format!("{}.npy", block.name), options)?;
        archive.write_all(&header(&block.shape))?;
        let bytes: Vec<u8> =
            weights[block.range.clone()].iter().flat_map(|weight| weight.to_le_bytes()).collect();
        archive.write_all(&bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn header(shape: &[usize]) -> Vec<u8> {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({lengths}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let before = header.len() + 2;
    let spaces = (before + text.len() + 1).next_multiple_of(ALIGNMENT) - (before + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', spaces));
    text.push('\n');
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.bytes());
    header
}
