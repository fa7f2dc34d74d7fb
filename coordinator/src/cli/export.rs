//! `shoal export`: a trained model as a file for other programs.

use super::args::ExportArgs;
use super::misuse;
use super::output::say;
use crate::choice;
use crate::export::{self, Format, Options};
use crate::report::words::counted;
use crate::run_directory;

pub(super) fn run(args: ExportArgs) -> anyhow::Result<()> {
    let format = match args.format {
        Some(format) => format,
        None => format_of(&args)?,
    };
    if args.without_preparation && format != Format::Onnx {
        return Err(misuse(format!(
            "--without-preparation is for ONNX; {} has weights alone, so leave it out",
            format.ending()
        )));
    }
    let model = choice::load(&args.run, args.which.weights())?;
    let options = Options { without_preparation: args.without_preparation, license: args.license };
    let bytes = export::export(&model, format, &options)?;
    run_directory::replace_bytes(&args.output, &bytes)?;
    say(format!(
        "{} has the model's {} ({} bytes).",
        args.output.display(),
        counted(model.network.parameters(), "parameter"),
        bytes.len()
    ));
    Ok(())
}

/// The format that the output's ending names.
fn format_of(args: &ExportArgs) -> anyhow::Result<Format> {
    let ending = args.output.extension().unwrap_or_default();
    let all = [Format::Onnx, Format::Safetensors, Format::Npz];
    all.into_iter().find(|format| ending.eq_ignore_ascii_case(format.ending())).ok_or_else(|| {
        misuse(format!(
            "{} does not say in which format; give --format onnx, safetensors or npz",
            args.output.display()
        ))
    })
}
