//! Reading values from the command line and from a file, with one error sentence for both.

use std::path::{Path, PathBuf, absolute};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches};

use super::doors::{Cidr, Invite};
use super::listen::{Listen, PublicUrl};
use super::network::{self, ModelChoice, is_file_name};
use super::places::{LinkUrl, ShardUrl, StoreUrl};
use super::tree::{Content, Node, Problem};
use super::values::{DataSource, Fraction, HostName, LocalWorkers, Rate, STANDARD_INPUT};
use super::words;
use super::{ColumnKind, ImageSize, Separator, TextEncoding};

/// The type of a setting.
pub trait Value: Clone + Send + Sync + 'static {
    /// The kind of value that a file must have, such as `a whole number`.
    const KIND: &'static str;

    /// The allowed names, for a setting with a fixed list of them.
    fn names() -> Vec<PossibleValue> {
        Vec::new()
    }

    /// Reads a value from the command line.
    ///
    /// # Errors
    /// The sentence says which values are allowed.
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads a value from a file.
    ///
    /// # Errors
    /// The sentence says which values are allowed.
    fn read(node: &Node) -> Result<Self, Problem>;

    /// The value as a user would type it.
    fn text(&self) -> String;

    /// Resolves a relative path against `folder`, the folder of the file that contains it.
    fn rebase(&mut self, _folder: &Path) {}

    /// Makes a path absolute, so that it holds in any folder.
    ///
    /// # Errors
    /// The sentence says why `run.toml` cannot keep the path.
    fn make_absolute(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Configures a flag of clap to take such values.
    fn flag(flag: Arg) -> Arg {
        let names = Self::names();
        if names.is_empty() {
            return flag.value_parser(|text: &str| Self::parse(text));
        }
        flag.value_parser(PossibleValuesParser::new(names).try_map(|name| Self::parse(&name)))
    }

    /// The value given by the flag `id`, if any.
    fn given(matches: &ArgMatches, id: &str) -> Option<Self> {
        matches.get_one(id).cloned()
    }
}

/// The sentence for a value of another kind.
fn not<T: Value>(node: &Node) -> Problem {
    node.refuse(T::KIND)
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            const KIND: &'static str = "a whole number";

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| "give a whole number, not too large".to_owned())
            }

            fn read(node: &Node) -> Result<Self, Problem> {
                match node.content() {
                    Content::Integer(value) => (*value)
                        .try_into()
                        .map_err(|_| node.refuse(words::range(stringify!($number)).as_str())),
                    _ => Err(not::<Self>(node)),
                }
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_numbers!(u32, u64);

macro_rules! real_numbers {
    ($($number:ty: $example:literal),*) => {$(
        impl Value for $number {
            const KIND: &'static str = "a number";

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| concat!("give a number such as ", $example).to_owned())
            }

            fn read(node: &Node) -> Result<Self, Problem> {
                match node.content() {
                    Content::Integer(value) => Ok(*value as $number),
                    Content::Float(value) => Ok(*value as $number),
                    _ => Err(not::<Self>(node)),
                }
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

real_numbers!(f32: "0.0001", f64: "0.001");

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn names() -> Vec<PossibleValue> {
        ["true", "false"].map(PossibleValue::new).to_vec()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("give {}", Self::KIND))
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        match node.content() {
            Content::Bool(value) => Ok(*value),
            _ => Err(not::<Self>(node)),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Values that a file spells as the same text as a flag.
macro_rules! texts {
    ($($type:ty: $kind:literal { $($own:tt)* }),* $(,)?) => {$(
        impl Value for $type {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error| format!("{error}"))
            }

            fn read(node: &Node) -> Result<Self, Problem> {
                match node.content() {
                    Content::Text(text) => Ok(Self::parse(text)?),
                    _ => Err(not::<Self>(node)),
                }
            }

            fn text(&self) -> String {
                self.to_string()
            }

            $($own)*
        }
    )*};
}

texts! {
    String: "text in quotes" {},
    HostName: "a name in quotes" {},
    Cidr: "a network in quotes" {},
    Invite: "auto or a token in quotes" {
        fn flag(flag: Arg) -> Arg {
            flag.value_parser(|text: &str| Self::parse(text)).num_args(0..=1).default_missing_value("auto")
        }
    },
    Listen: "text in quotes" {},
    PublicUrl: "a URL in quotes" {},
    LinkUrl: "the addresses of NATS servers in quotes" {},
    ShardUrl: "a URL in quotes" {},
    StoreUrl: "a folder or a URL in quotes" {
        fn rebase(&mut self, folder: &Path) {
            self.change_folder(|path| path.rebase(folder));
        }

        fn make_absolute(&mut self) -> Result<(), String> {
            let mut made = Ok(());
            self.change_folder(|path| made = path.make_absolute());
            made
        }
    },
    Separator: "a name in quotes" {},
    TextEncoding: "a name in quotes" {},
    ColumnKind: "a column and its kind, such as \"zip=category\"" {},
    ImageSize: "a height and a width, such as \"32x32\"" {},
    DataSource: "text in quotes" {
        fn rebase(&mut self, folder: &Path) {
            if let Self::Path(path) = self
                && path.as_os_str() != STANDARD_INPUT
            {
                path.rebase(folder);
            }
        }

        fn make_absolute(&mut self) -> Result<(), String> {
            match self {
                Self::EmbeddedMnist => Ok(()),
                Self::Path(path) if path.as_os_str() == STANDARD_INPUT => Ok(()),
                Self::Path(path) => path.make_absolute(),
            }
        }
    },
}

impl Value for PathBuf {
    const KIND: &'static str = "text in quotes";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        String::read(node).map(Self::from)
    }

    fn text(&self) -> String {
        self.display().to_string()
    }

    fn rebase(&mut self, folder: &Path) {
        *self = folder.join(&self);
    }

    fn make_absolute(&mut self) -> Result<(), String> {
        let path = absolute(&self).map_err(|error| error.to_string())?;
        if path.to_str().is_none() {
            let path = path.display();
            return Err(format!("{path} cannot be written to run.toml; rename it in plain Unicode"));
        }
        *self = path;
        Ok(())
    }
}

/// Values that a file may give as a number or as text; both are read like the text of a flag.
macro_rules! numbers_or_texts {
    ($($type:ty: $kind:literal),*) => {$(
        impl Value for $type {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn read(node: &Node) -> Result<Self, Problem> {
                Ok(match node.content() {
                    Content::Integer(value) => Self::parse(&value.to_string())?,
                    // Restores the number of digits that the user wrote.
                    Content::Float(value) => Self::parse(&(*value as f32).to_string())?,
                    Content::Text(text) => Self::parse(text)?,
                    // The parser's own sentence says which values are allowed.
                    _ => Self::parse("")?,
                })
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers_or_texts!(Rate: "auto or a number", LocalWorkers: "auto or a whole number");

impl Value for Fraction {
    const KIND: &'static str = "a share from 0 to 1";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        match node.content() {
            Content::Integer(value) => Ok(Self::parse(&value.to_string())?),
            Content::Float(value) => Ok(Self::parse(&value.to_string())?),
            _ => Err(not::<Self>(node)),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Values that are one of a fixed list of names.
pub trait Named: Copy + Send + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// As it is written.
    fn name(self) -> &'static str;

    /// The meaning, for help texts.
    fn meaning(self) -> &'static str {
        ""
    }
}

impl<T: Named> Value for T {
    const KIND: &'static str = "a name in quotes";

    fn names() -> Vec<PossibleValue> {
        let possible = |value: &T| match value.meaning() {
            "" => PossibleValue::new(value.name()),
            meaning => PossibleValue::new(value.name()).help(meaning),
        };
        T::ALL.iter().map(possible).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        T::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| {
            let names: Vec<&str> = T::ALL.iter().map(|value| value.name()).collect();
            words::no_such_name(text, &names)
        })
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        match node.content() {
            Content::Text(text) => Ok(Self::parse(text)?),
            _ => Err(not::<Self>(node)),
        }
    }

    fn text(&self) -> String {
        self.name().to_owned()
    }
}

/// A list in which order counts: a flag that may be repeated; in a file `"a"` or `["a", "b"]`.
impl<T: Value> Value for Vec<T> {
    const KIND: &'static str = "a name, an index or a list of them";

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(|item| vec![item])
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        let item = |node: &Node| match node.content() {
            Content::Text(text) => {
                T::parse(text).map_err(|problem| Problem::from(format!("\"{text}\": {problem}")))
            }
            // The index of a column, or a number that stands for a missing value.
            Content::Integer(number) => Ok(T::parse(&number.to_string())?),
            Content::Float(number) => Ok(T::parse(&number.to_string())?),
            _ => Err(not::<Self>(node)),
        };
        match node.content() {
            Content::List(items) => items.iter().map(item).collect(),
            _ => Ok(vec![item(node)?]),
        }
    }

    fn text(&self) -> String {
        self.iter().map(Value::text).collect::<Vec<_>>().join(",")
    }

    fn flag(flag: Arg) -> Arg {
        flag.action(ArgAction::Append).value_parser(|text: &str| T::parse(text))
    }

    fn given(matches: &ArgMatches, id: &str) -> Option<Self> {
        matches.get_many(id).map(|items| items.cloned().collect())
    }
}

impl Value for ModelChoice {
    const KIND: &'static str = "a shorthand such as \"mlp:128\", a file name or a table";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::Text(text.to_owned()))
    }

    fn read(node: &Node) -> Result<Self, Problem> {
        match node.content() {
            Content::Text(text) => Ok(Self::Text(text.clone())),
            Content::Table(_) => network::read(node).map(Self::Spec),
            _ => Err(not::<Self>(node)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Spec(_) => "a table".to_owned(),
        }
    }

    fn rebase(&mut self, folder: &Path) {
        if let Self::Text(text) = self
            && is_file_name(text)
            && let Ok(file) = folder.join(&text).into_os_string().into_string()
        {
            *text = file;
        }
    }
}
