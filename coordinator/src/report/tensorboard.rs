//! The course of a training for TensorBoard: event files, one for each time that a run is trained or resumed.
//!
//! A file is a sequence of records: the length in 8 bytes, its checksum, a message of TensorFlow's `event.proto`,
//! its checksum; all little-endian. A checksum is a CRC-32C, rotated by 15 bits and increased
//! (`tensorflow/core/lib/hash/crc32c.h`).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::progress::{Event, IterationReport, Observer};

/// Names that are tried for a file, before giving up.
const NAMES_MAX: u32 = 1000;

/// Writes events to a file, and passes them on.
pub(crate) struct Recorder {
    /// `None` once it could not be written.
    file: Option<BufWriter<File>>,
    next: Box<dyn Observer + Send>,
}

impl Recorder {
    /// Begins a file in `folder/run`, with the settings as a text.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) fn create(
        folder: &Path,
        run: &Path,
        settings: &str,
        next: Box<dyn Observer + Send>,
    ) -> io::Result<Recorder> {
        let folder = folder.join(run.file_name().unwrap_or(run.as_os_str()));
        fs::create_dir_all(&folder)?;
        let mut file = BufWriter::new(new_file(&folder)?);
        write(&mut file, 0, What::FileVersion("brain.Event:2".to_owned()))?;
        // As a block of code in Markdown, which TensorBoard shows as it is.
        let text = settings.lines().map(|line| format!("    {line}\n")).collect();
        write(&mut file, 0, What::Summary(Summary { value: vec![Value::text("settings", text)] }))?;
        file.flush()?;
        Ok(Recorder { file: Some(file), next })
    }

    fn record(&mut self, report: &IterationReport) {
        let Some(file) = &mut self.file else { return };
        let summary = Summary { value: scalars(report) };
        let step = i64::try_from(report.iteration).unwrap_or(i64::MAX);
        let written = write(file, step, What::Summary(summary)).and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::warn!("the file for TensorBoard ends at iteration {}: {error}", report.iteration);
            self.file = None;
        }
    }
}

impl Observer for Recorder {
    fn event(&mut self, event: &Event) {
        if let Event::Iteration(report) = event {
            self.record(report);
        }
        self.next.event(event);
    }
}

/// A file that was not there. TensorBoard reads the files of a folder in the order of their names.
fn new_file(folder: &Path) -> io::Result<File> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for number in 0..NAMES_MAX {
        let name = format!("events.out.tfevents.{seconds:010}.shoal.{}.{number}", std::process::id());
        match File::create_new(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return file,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What is known of a point, by the names under which TensorBoard groups them.
fn scalars(report: &IterationReport) -> Vec<Value> {
    let figures = &report.figures;
    let known = [
        ("loss/train", Some(figures.train_loss)),
        ("loss/objective", Some(figures.objective)),
        ("loss/training_set", figures.training_set_loss),
        ("loss/validation", figures.validation_loss),
        ("loss/test", figures.test_loss),
        ("accuracy/validation", figures.validation_accuracy),
        ("accuracy/test", figures.test_accuracy),
        ("optimizer/learning_rate", Some(report.step)),
        ("optimizer/gradient_norm", Some(report.gradient_norm)),
        ("help/volunteers", Some(report.volunteers as f64)),
        ("help/cores", Some(report.cores as f64)),
        ("help/examples_per_second", Some(report.examples_per_second)),
        ("traffic/bytes_sent", Some(crate::traffic::sent() as f64)),
        ("traffic/bytes_received", Some(crate::traffic::received() as f64)),
        ("time/seconds", Some(report.seconds)),
        ("time/epochs", Some(report.epochs)),
    ];
    let finite =
        known.into_iter().filter_map(|(tag, value)| Some((tag, value.filter(|value| value.is_finite())?)));
    finite.map(|(tag, value)| Value::scalar(tag, value as f32)).collect()
}

fn write(file: &mut impl Write, step: i64, what: What) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let event = EventProto { wall_time: now.as_secs_f64(), step, what: Some(what) }.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&masked(crc32c::crc32c(&length)).to_le_bytes())?;
    file.write_all(&event)?;
    file.write_all(&masked(crc32c::crc32c(&event)).to_le_bytes())
}

fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event`.
#[derive(Clone, PartialEq, Message)]
struct EventProto {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

impl Value {
    fn scalar(tag: &str, value: f32) -> Value {
        Value { tag: tag.to_owned(), simple_value: Some(value), ..Value::default() }
    }

    fn text(tag: &str, text: String) -> Value {
        /// `DT_STRING`.
        const STRING: i32 = 7;
        let plugin_data = Some(PluginData { plugin_name: "text".to_owned() });
        Value {
            tag: tag.to_owned(),
            tensor: Some(Tensor { dtype: STRING, string_val: vec![text.into_bytes()] }),
            metadata: Some(Metadata { plugin_data }),
            ..Value::default()
        }
    }
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

/// `SummaryMetadata`.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

/// `SummaryMetadata.PluginData`.
#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}
