//! What the user can say about reading, where the files do not say it themselves or say it wrongly.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Kind, Scratch, Separator, TaskKind, TextEncoding};

/// How to read a data set, as far as it does not say so itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The columns to predict, each by its name in the header or by its index: from 0, or from the end with
    /// -1 for the last. A name wins over an index. Several columns are numbers. None: the one column that is
    /// called label, class or target, else the last one.
    pub labels: Vec<String>,
    /// Whether the label is a class or a number. None: a class when it is text, or when all labels are
    /// integers with at most [`INFERRED_CLASSES_MAX`](crate::limits::INFERRED_CLASSES_MAX) different values
    /// that occur twice or more on average.
    pub task: Option<TaskKind>,
    /// Whether a text file starts with a header.
    pub header: Option<bool>,
    /// What stands between cells.
    pub separator: Option<Separator>,
    /// The encoding of text.
    pub encoding: Option<TextEncoding>,
    /// Texts that mean a missing value, beside the usual ones.
    pub missing: Vec<String>,
    /// Whether rows that cannot be read are left out, as long as they are few.
    pub skip_bad_rows: bool,
    /// Columns that are read as what the user says.
    pub kinds: Vec<ColumnKind>,
    /// Columns that are left out.
    pub drop: Vec<String>,
    /// Columns that are kept although they would be left out.
    pub keep: Vec<String>,
    /// Whether no column is left out unless the user says so: the network says itself what its inputs are, an
    /// image or integers to be looked up.
    pub keep_all: bool,
    /// Height and width that images are brought to.
    pub image_size: Option<ImageSize>,
    /// Where columns and pixels are kept as they are read, if memory should not hold them.
    pub scratch: Option<Scratch>,
    /// Whether every file is taken for text, whatever its first bytes say. What strangers send cannot be larger
    /// than it is then: nothing is decompressed, and no other format is read.
    pub text_only: bool,
}

/// `COLUMN=kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnKind {
    /// Name or index.
    pub column: String,
    /// What it is read as.
    pub kind: Kind,
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.column, self.kind)
    }
}

impl FromStr for ColumnKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The last equals sign, because a name may have one.
        let (column, kind) =
            text.rsplit_once('=').ok_or("write COLUMN=category, =number, =boolean, =date or =text")?;
        Ok(Self { column: column.to_owned(), kind: kind.parse()? })
    }
}

impl TryFrom<String> for ColumnKind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ColumnKind> for String {
    fn from(column: ColumnKind) -> Self {
        column.to_string()
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(b',') => formatter.write_str("comma"),
            Self::Byte(b';') => formatter.write_str("semicolon"),
            Self::Byte(b'\t') => formatter.write_str("tab"),
            Self::Byte(b'|') => formatter.write_str("pipe"),
            Self::Byte(byte) => write!(formatter, "{}", char::from(*byte)),
            Self::Spaces => formatter.write_str("spaces"),
        }
    }
}

impl FromStr for Separator {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "comma" => Ok(Self::Byte(b',')),
            "semicolon" => Ok(Self::Byte(b';')),
            "tab" | "\\t" => Ok(Self::Byte(b'\t')),
            "pipe" => Ok(Self::Byte(b'|')),
            "spaces" | " " => Ok(Self::Spaces),
            other => match other.as_bytes() {
                [byte] if byte.is_ascii_punctuation() && !matches!(byte, b'"' | b'.' | b'-' | b'+') => {
                    Ok(Self::Byte(*byte))
                }
                _ => Err(
                    "the separator must be comma, semicolon, tab, pipe, spaces or one other character such as :",
                ),
            },
        }
    }
}

impl TryFrom<String> for Separator {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Separator> for String {
    fn from(separator: Separator) -> Self {
        separator.to_string()
    }
}

impl FromStr for TextEncoding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::named(text)
            .ok_or("there is no such encoding; write utf-8, utf-16le, windows-1252, shift_jis or the like")
    }
}

impl TryFrom<String> for TextEncoding {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TextEncoding> for String {
    fn from(encoding: TextEncoding) -> Self {
        encoding.name().to_owned()
    }
}

/// Height and width of images, written `32x32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSize {
    /// Rows of pixels.
    pub height: u32,
    /// Columns of pixels.
    pub width: u32,
}

impl fmt::Display for ImageSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.height, self.width)
    }
}

impl FromStr for ImageSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PIXELS_MAX: u32 = 4096;
        let side = |text: &str| text.parse().ok().filter(|side| (1..=PIXELS_MAX).contains(side));
        let (height, width) = text.split_once('x').ok_or("write the height and the width, such as 32x32")?;
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(Self { height, width }),
            _ => Err("height and width must be whole numbers from 1 to 4096, such as 32x32"),
        }
    }
}

impl TryFrom<String> for ImageSize {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageSize> for String {
    fn from(size: ImageSize) -> Self {
        size.to_string()
    }
}
