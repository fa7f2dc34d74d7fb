//! A directory of images: each folder is a class and has its name; folders `train` and `test` (or `valid`,
//! `val`, `validation` in the place of the latter) are the parts. Pixels become bytes, channels first, grey
//! where all files are.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{Examples, Found, refuse_flags};
use crate::{
    PixelScaling, PixelValues, Pixels, ReadOptions, SpilledPixels, TableError, Texts,
    column::MISSING_CODE,
    error::{Shown, counted},
    limits,
    memory::Raw,
    scratch::{Spilled, WAITING_BYTES_MAX},
};

const TEST_FOLDERS: [&str; 5] = ["test", "valid", "val", "validation", "testing"];
const TRAIN_FOLDERS: [&str; 2] = ["train", "training"];
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Bytes of one image file.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Pixels of one image as it is decoded: a small file can claim any size.
const DECODED_MAX: usize = 1 << 28;

/// Reads a directory. `shape` is that of a trained model's examples; images are brought to it.
pub(super) fn read(
    directory: &Path,
    options: &ReadOptions,
    shape: Option<&[usize]>,
    labels: bool,
) -> Result<Found, TableError> {
    refuse_flags(directory, options, "a directory of images")?;
    let wrong =
        |problem: &str| TableError::Format { path: directory.to_owned(), problem: problem.to_owned() };
    let entries = list(directory)?;
    let folder = |names: &[&str]| {
        entries.iter().find(|entry| {
            entry.is_dir()
                && file_name(entry).is_some_and(|name| names.contains(&name.to_ascii_lowercase().as_str()))
        })
    };
    let (train, test) = match (folder(&TRAIN_FOLDERS), folder(&TEST_FOLDERS)) {
        // A trained model is judged by the test part.
        (Some(_), Some(test)) if shape.is_some() => (Listing::of(test)?, None),
        (Some(train), test) => (Listing::of(train)?, test.map(|test| Listing::of(test)).transpose()?),
        (None, _) => (Listing::of(directory)?, None),
    };
    if train.files.is_empty() {
        return Err(wrong(
            "it has no images and no IDX files; give a folder for each class with PNG, JPEG or WebP files in it",
        ));
    }
    if labels && train.files.iter().any(|file| file.class.is_none()) {
        return Err(wrong(
            "its images are in no folders; put those of each class into a folder with its name",
        ));
    }
    let (channels, size) = match shape {
        Some(&[height, width]) => (1, Some((height, width))),
        Some(&[channels, height, width]) => (channels, Some((height, width))),
        Some(_) => return Err(wrong("the model was not trained on images; give it data like its own")),
        None => {
            let asked = options.image_size.map(|size| (size.height as usize, size.width as usize));
            (train.channels(asked)?, asked)
        }
    };
    let train_examples = train.read(channels, size, options)?;
    let [.., height, width] = train_examples.pixels.shape[..] else {
        return Err(wrong("its images have no size"));
    };
    let test = test.map(|test| test.read(channels, Some((height, width)), options)).transpose()?;
    Ok(Found::Examples { train: train_examples, test })
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, TableError> {
    let failed = |source| TableError::Read { path: directory.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !file_name(&path).is_some_and(|name| name.starts_with('.')) {
            entries.push(path);
        }
        if entries.len() > limits::EXAMPLES_MAX {
            return Err(TableError::TooLarge {
                path: directory.to_owned(),
                what: "images",
                limit: limits::EXAMPLES_MAX as u64,
            });
        }
    }
    entries.sort();
    Ok(entries)
}

/// The images of a part, in the order of their paths.
struct Listing {
    directory: PathBuf,
    classes: Vec<String>,
    files: Vec<ImageFile>,
}

struct ImageFile {
    path: PathBuf,
    /// Index among the classes; `None` for an image that is in no folder.
    class: Option<usize>,
}

impl Listing {
    fn of(directory: &Path) -> Result<Self, TableError> {
        let is_image = |path: &Path| {
            let extension =
                path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
            extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
        };
        let (mut classes, mut files) = (Vec::new(), Vec::new());
        for entry in list(directory)? {
            if entry.is_dir() {
                let class = classes.len();
                let images: Vec<PathBuf> = list(&entry)?.into_iter().filter(|path| is_image(path)).collect();
                if !images.is_empty() {
                    classes.push(file_name(&entry).unwrap_or_default().to_owned());
                    files.extend(images.into_iter().map(|path| ImageFile { path, class: Some(class) }));
                }
            } else if is_image(&entry) {
                files.push(ImageFile { path: entry, class: None });
            }
        }
        Ok(Self { directory: directory.to_owned(), classes, files })
    }

    /// 1 if all images are grey, else 3. Without a size that was asked for, all must have the same.
    fn channels(&self, asked: Option<(usize, usize)>) -> Result<usize, TableError> {
        // A few files tell: reading all of them twice would double the time.
        const LOOKED_AT: usize = 100;
        let step = self.files.len().div_ceil(LOOKED_AT).max(1);
        let some: Vec<&ImageFile> = self.files.iter().step_by(step).collect();
        let decoded: Vec<Decoded> = some.par_iter().filter_map(|file| decode(&file.path).ok()).collect();
        let Some(first) = decoded.first() else {
            return Err(TableError::Format {
                path: self.directory.clone(),
                problem: "none of its images can be decoded; save them as PNG, JPEG or WebP".to_owned(),
            });
        };
        if asked.is_none()
            && let Some(other) =
                decoded.iter().find(|other| (other.height, other.width) != (first.height, first.width))
        {
            return Err(self.sizes_differ((first.height, first.width), (other.height, other.width)));
        }
        Ok(if decoded.iter().all(Decoded::is_grey) { 1 } else { 3 })
    }

    fn sizes_differ(&self, one: (usize, usize), other: (usize, usize)) -> TableError {
        TableError::Format {
            path: self.directory.clone(),
            problem: format!(
                "its images have different sizes, such as {} x {} and {} x {}; bring them to one with --image-size 32x32",
                one.0, one.1, other.0, other.1
            ),
        }
    }

    /// Decodes all images.
    fn read(
        self,
        channels: usize,
        size: Option<(usize, usize)>,
        options: &ReadOptions,
    ) -> Result<Examples, TableError> {
        let size = match size {
            Some(size) => size,
            None => {
                let first = self.files.iter().find_map(|file| decode(&file.path).ok());
                first.map_or((1, 1), |first| (first.height, first.width))
            }
        };
        let (height, width) = size;
        let each = channels * height * width;
        let too_many =
            each.saturating_mul(self.files.len()) > limits::VALUES_MAX && options.scratch.is_none();
        if each > limits::COLUMNS_MAX || too_many {
            return Err(TableError::TooLarge {
                path: self.directory,
                what: "pixels",
                limit: limits::VALUES_MAX as u64,
            });
        }
        let resize = options.image_size.is_some();
        let decode_into = |(pixels, file): (&mut [u8], &ImageFile)| {
            let image = decode(&file.path).map_err(Bad::Damaged)?;
            if (image.height, image.width) != size && !resize {
                return Err(Bad::Size(image.height, image.width));
            }
            image.write(channels, size, pixels);
            Ok(())
        };
        let mut results: Vec<Result<(), Bad>> = Vec::with_capacity(self.files.len());
        let values = match &options.scratch {
            None => {
                let mut values = vec![0_u8; each * self.files.len()];
                values
                    .par_chunks_exact_mut(each)
                    .zip(&self.files)
                    .map(decode_into)
                    .collect_into_vec(&mut results);
                PixelValues::U8(values)
            }
            Some(scratch) => {
                let mut spilled = Spilled::new(scratch);
                let mut values = Vec::new();
                for files in self.files.chunks((WAITING_BYTES_MAX / each.max(1)).max(1)) {
                    values.clear();
                    values.resize(each * files.len(), 0);
                    let some: Vec<Result<(), Bad>> =
                        values.par_chunks_exact_mut(each).zip(files).map(decode_into).collect();
                    spilled.push(&values)?;
                    results.extend(some);
                }
                PixelValues::Spilled(SpilledPixels(spilled))
            }
        };
        let mut bad = Vec::new();
        for (result, file) in results.iter().zip(&self.files) {
            match result {
                Ok(()) => {}
                Err(Bad::Size(other_height, other_width)) => {
                    return Err(self.sizes_differ(size, (*other_height, *other_width)));
                }
                Err(Bad::Damaged(problem)) => bad.push(format!("{} ({problem})", Shown(&file.path))),
            }
        }
        let mut notices = Vec::new();
        if let Some(first) = bad.first() {
            if bad.len() * limits::BAD_ROWS_ONE_IN > self.files.len() {
                return Err(TableError::TooManyBadRows {
                    path: self.directory.clone(),
                    bad: bad.len(),
                    rows: self.files.len(),
                    first: first.clone(),
                });
            }
            notices.push(format!(
                "{} cannot be decoded and left out; the first is {first}",
                counted(bad.len(), "image")
            ));
        }
        let codes = self.files.iter().map(|file| file.class.map_or(MISSING_CODE, |class| class as u32));
        let labels =
            (!self.classes.is_empty()).then(|| Texts::new(codes.collect(), self.classes.clone(), Vec::new()));
        let shape = if channels == 1 { vec![height, width] } else { vec![channels, height, width] };
        let mut pixels = Pixels { shape, values, scaling: PixelScaling::Bytes };
        let mut labels = labels.map(Raw::Texts);
        if !bad.is_empty() {
            let wanted: Vec<bool> = results.iter().map(Result::is_ok).collect();
            pixels.retain(&wanted)?;
            if let Some(Raw::Texts(texts)) = labels {
                labels = Some(Raw::Texts(texts.retained(&wanted)));
            }
        }
        Ok(Examples { path: self.directory, pixels, labels, are_classes: true, notices })
    }
}

enum Bad {
    Damaged(String),
    Size(usize, usize),
}

/// An image of 8 bits a channel, pixel by pixel.
struct Decoded {
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<u8>,
}

fn decode(path: &Path) -> Result<Decoded, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, more than {FILE_BYTES_MAX}"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    // The decoders answer wrong files with errors; should one panic all the same, the file is as wrong.
    let decoded = std::panic::catch_unwind(|| {
        if bytes.starts_with(b"\x89PNG") {
            png(&bytes)
        } else if bytes.starts_with(b"\xff\xd8") {
            jpeg(&bytes)
        } else if bytes.starts_with(b"RIFF") {
            webp(&bytes)
        } else {
            Err("it is neither PNG nor JPEG nor WebP".to_owned())
        }
    });
    let decoded = decoded.unwrap_or_else(|_| Err("it is damaged".to_owned()))?;
    let Decoded { height, width, channels, values } = &decoded;
    let fits = *height > 0 && *width > 0 && values.len() == height * width * channels;
    if fits { Ok(decoded) } else { Err("it is cut short".to_owned()) }
}

fn bounded(height: usize, width: usize) -> Result<(), String> {
    let fits = height.checked_mul(width).is_some_and(|area| area <= DECODED_MAX);
    if fits { Ok(()) } else { Err(format!("{height} x {width} pixels are too many")) }
}

fn png(bytes: &[u8]) -> Result<Decoded, String> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = reader.info().size();
    let (height, width) = (height as usize, width as usize);
    bounded(height, width)?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut values = vec![0; size];
    let frame = reader.next_frame(&mut values).map_err(|error| error.to_string())?;
    values.truncate(frame.buffer_size());
    let channels = frame.color_type.samples();
    Ok(Decoded { height, width, channels, values })
}

fn jpeg(bytes: &[u8]) -> Result<Decoded, String> {
    use zune_jpeg::{
        JpegDecoder,
        zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
    };
    let decoder = |options| JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let options = DecoderOptions::default();
    let mut first = decoder(options);
    first.decode_headers().map_err(|error| error.to_string())?;
    let info = first.info().ok_or("it has no header")?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    bounded(height, width)?;
    let (channels, space) = if info.components == 1 { (1, ColorSpace::Luma) } else { (3, ColorSpace::RGB) };
    let values =
        decoder(options.jpeg_set_out_colorspace(space)).decode().map_err(|error| error.to_string())?;
    Ok(Decoded { height, width, channels, values })
}

fn webp(bytes: &[u8]) -> Result<Decoded, String> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    bounded(height, width)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut values = vec![0; decoder.output_buffer_size().ok_or("it is too large")?];
    decoder.read_image(&mut values).map_err(|error| error.to_string())?;
    Ok(Decoded { height, width, channels, values })
}

impl Decoded {
    fn is_grey(&self) -> bool {
        match self.channels {
            1 | 2 => true,
            channels => {
                self.values.chunks_exact(channels).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
            }
        }
    }

    /// A channel of a pixel; transparency shows black behind it no more than the file's own colors do: it is
    /// left out.
    fn channel(&self, row: usize, column: usize, channel: usize, channels: usize) -> u32 {
        let pixel = &self.values[(row * self.width + column) * self.channels..][..self.channels];
        match (self.channels, channels) {
            (1 | 2, _) => u32::from(pixel[0]),
            // ITU-R BT.601 in thousandths, rounded.
            (_, 1) => {
                (299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]) + 500)
                    / 1000
            }
            _ => u32::from(pixel[channel]),
        }
    }

    /// The image with so many channels, channels first, brought to a size: each new pixel is the mean of the
    /// area that it covers, in whole numbers, so that every machine computes the same.
    fn write(&self, channels: usize, (height, width): (usize, usize), pixels: &mut [u8]) {
        if (height, width) == (self.height, self.width) {
            for (at, value) in pixels.iter_mut().enumerate() {
                let (channel, place) = (at / (height * width), at % (height * width));
                *value = self.channel(place / width, place % width, channel, channels) as u8;
            }
            return;
        }
        for channel in 0..channels {
            for row in 0..height {
                for column in 0..width {
                    let value = self.mean(channel, channels, (row, height), (column, width));
                    pixels[(channel * height + row) * width + column] = value;
                }
            }
        }
    }

    /// The mean over the area of one of `height` x `width` pixels. Lengths are in units of 1/height and
    /// 1/width of a pixel.
    fn mean(
        &self,
        channel: usize,
        channels: usize,
        (row, height): (usize, usize),
        (column, width): (usize, usize),
    ) -> u8 {
        let span = |index: usize, parts: usize, whole: usize| {
            let (start, end) = (index * whole, (index + 1) * whole);
            (start / parts..end.div_ceil(parts)).map(move |place| {
                let overlap = end.min((place + 1) * parts) - start.max(place * parts);
                (place, overlap as u64)
            })
        };
        let (mut sum, mut weights) = (0_u64, 0_u64);
        for (y, tall) in span(row, height, self.height) {
            for (x, wide) in span(column, width, self.width) {
                sum += tall * wide * u64::from(self.channel(y, x, channel, channels));
                weights += tall * wide;
            }
        }
        ((sum + weights / 2) / weights.max(1)) as u8
    }
}
