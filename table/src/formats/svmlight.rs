//! svmlight, which libsvm's data sets are in: `label index:value index:value ...`, zeros left out. It is read
//! sparse and becomes rows whose zeros stay zeros, so that they compress to nothing and volunteers skip them.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
};

use super::{Examples, Found};
use crate::{
    PixelScaling, PixelValues, Pixels, TableError, Texts, csv::number::whole, error::quoted, limits,
    memory::Raw, source::DataFile,
};

/// Whether the first lines are in this format.
pub(super) fn is_svmlight(head: &[u8]) -> bool {
    let end = head.iter().rposition(|&byte| byte == b'\n').unwrap_or(head.len());
    let mut lines =
        lines(&head[..end]).map(|(_, line)| line).filter(|line| !line.is_empty()).take(10).peekable();
    let fits = |line: &[u8]| {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let label = words.next().is_some_and(|label| !label.contains(&b':'));
        let mut pairs = words.map(pair).peekable();
        label && pairs.peek().is_some() && pairs.all(|pair| pair.is_some())
    };
    lines.peek().is_some() && lines.all(fits)
}

/// Lines with their numbers from 1, without comments and the spaces around them.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    bytes.split(|&byte| byte == b'\n').zip(1..).map(|(line, number)| (number, without_comment(line)))
}

fn without_comment(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii()
}

/// `index:value`; `qid:7` has no index.
fn pair(word: &[u8]) -> Option<(Option<usize>, f64)> {
    let colon = word.iter().position(|&byte| byte == b':')?;
    let value = whole(&word[colon + 1..])?.value;
    if &word[..colon] == b"qid" {
        return Some((None, value));
    }
    Some((Some(std::str::from_utf8(&word[..colon]).ok()?.parse().ok()?), value))
}

/// Some rows as they are written: without zeros.
#[derive(Default)]
struct Sparse {
    indices: Vec<u32>,
    values: Vec<f32>,
    /// Where each row ends.
    ends: Vec<usize>,
}

/// Values after which a new [`Sparse`] begins, so that rows that are written out are given back soon.
const SPARSE_VALUES: usize = 1 << 20;

/// Reads a file; `shape` is that of a trained model's examples.
pub(super) fn read(file: &DataFile, shape: Option<&[usize]>) -> Result<Found, TableError> {
    let wrong = |line: u64, problem: String| TableError::Row { path: file.path.clone(), line, problem };
    let (mut parts, mut labels) = (vec![Sparse::default()], Labels::default());
    let mut from_zero = false;
    let mut width = 0;
    let mut reader = BufReader::new(file.open()?);
    let (mut buffer, mut line) = (Vec::new(), 0);
    loop {
        buffer.clear();
        if reader.read_until(b'\n', &mut buffer).map_err(|error| file.error(error))? == 0 {
            break;
        }
        line += 1;
        let text = without_comment(&buffer);
        if text.is_empty() {
            continue;
        }
        if parts.last().is_none_or(|part| part.values.len() >= SPARSE_VALUES) {
            parts.push(Sparse::default());
        }
        let Some(part) = parts.last_mut() else { break };
        let (begins, mut highest) = (part.indices.len(), None);
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let label = words.next().unwrap_or_default();
        if label.contains(&b',') {
            return Err(wrong(
                line,
                "several labels stand there; one for each example can be learned".to_owned(),
            ));
        }
        labels.push(String::from_utf8_lossy(label).trim_start_matches('+'));
        for word in words {
            let (index, value) = pair(word)
                .ok_or_else(|| wrong(line, format!("{} is not index:value; correct it", quoted(word))))?;
            let Some(index) = index else { continue };
            if index > limits::COLUMNS_MAX {
                return Err(wrong(
                    line,
                    format!(
                        "the index {index} is larger than {}, the most Shoal takes; leave such features out",
                        limits::COLUMNS_MAX
                    ),
                ));
            }
            if value.is_nan() || value.abs() > f64::from(f32::MAX) {
                return Err(wrong(line, format!("{} is too large or not finite; correct it", quoted(word))));
            }
            // Nearly all files have them in order, so that a look at the largest tells.
            if highest.is_some_and(|highest| highest >= index)
                && part.indices[begins..].contains(&(index as u32))
            {
                return Err(wrong(line, format!("the index {index} stands there twice; correct it")));
            }
            highest = highest.max(Some(index));
            from_zero |= index == 0;
            width = width.max(index + 1);
            part.indices.push(index as u32);
            part.values.push(value as f32);
        }
        part.ends.push(part.indices.len());
        if labels.codes.len() > limits::EXAMPLES_MAX {
            let limit = limits::EXAMPLES_MAX as u64;
            return Err(TableError::TooLarge { path: file.path.clone(), what: "examples", limit });
        }
    }
    if labels.codes.is_empty() || width == 0 {
        return Err(TableError::Empty { path: file.path.clone() });
    }
    // Indices count from 1, unless there is a 0.
    let first = usize::from(!from_zero);
    width -= first;
    if let Some(shape) = shape {
        let wanted: usize = shape.iter().product();
        if width > wanted {
            return Err(TableError::Mismatch {
                path: file.path.clone(),
                problem: format!(
                    "it has {width} features where the training data has {wanted}; leave the others out"
                ),
            });
        }
        width = wanted;
    }
    let rows = labels.codes.len();
    if rows.saturating_mul(width) > limits::VALUES_MAX {
        return Err(TableError::TooLarge {
            path: file.path.clone(),
            what: "values, zeros included",
            limit: limits::VALUES_MAX as u64,
        });
    }
    let mut dense = vec![0.0; rows * width];
    let mut dense_rows = dense.chunks_exact_mut(width);
    for Sparse { indices, values, ends } in parts {
        let mut from = 0;
        for (&end, row) in ends.iter().zip(&mut dense_rows) {
            for (&index, &value) in indices[from..end].iter().zip(&values[from..end]) {
                row[index as usize - first] = value;
            }
            from = end;
        }
    }
    let pixels =
        Pixels { shape: vec![width], values: PixelValues::F32(dense), scaling: PixelScaling::Magnitude };
    let labels = Some(Raw::Texts(Texts::new(labels.codes, labels.texts, Vec::new())));
    Ok(Found::Examples {
        train: Examples { path: file.path.clone(), pixels, labels, are_classes: false, notices: Vec::new() },
        test: None,
    })
}

/// Labels by number.
#[derive(Default)]
struct Labels {
    codes: Vec<u32>,
    code_of: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Labels {
    fn push(&mut self, label: &str) {
        let code = match self.code_of.get(label) {
            Some(&code) => code,
            None => {
                let code = self.texts.len() as u32;
                self.code_of.insert(label.to_owned(), code);
                self.texts.push(label.to_owned());
                code
            }
        };
        self.codes.push(code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_from_other_text() {
        for text in ["1 1:0.5 3:2\n-1 2:1\n", "+1 qid:3 1:5 # a comment\n\n# another\n-1 7:1\n", "2.5 0:1\n"]
        {
            assert!(is_svmlight(text.as_bytes()), "{text:?}");
        }
        for text in ["", "1,2\n", "a b\n1 2\n", "12:30 1:2\n", "1 2\n3 4\n", "when 10:30\n1 11:a\n"] {
            assert!(!is_svmlight(text.as_bytes()), "{text:?}");
        }
    }
}
