//! A file as a tree that knows its lines, read from TOML or JSON, and mistakes in its values.

use std::cell::Cell;
use std::fmt;
use std::io::Read;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words;

/// A value and the line that it begins on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    content: Content,
    /// The line, from 1; `None` for a value that comes from no file.
    line: Option<usize>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// JSON's `null`.
    Nothing,
    /// `true` or `false`
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text, or a date, which no setting takes.
    Text(String),
    /// Values in brackets.
    List(Vec<Node>),
    /// Keys, each with its line, and their values.
    Table(Vec<Entry>),
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value; the line is the key's.
    pub value: Node,
}

/// A mistake in a value, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The line, once it is known.
    pub line: Option<usize>,
    /// What to do.
    pub text: String,
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { line: None, text }
    }
}

impl Node {
    /// Reads TOML.
    ///
    /// # Errors
    /// When the text is not in that format.
    pub fn from_toml(text: &str) -> Result<Self, Problem> {
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| Problem {
            line: Some(lines.at(error.span().map_or(0, |span| span.start))),
            text: words::one_line(error.message()),
        })?;
        let root = Content::Table(entries(table.get_ref(), &lines)?);
        Ok(Self { content: root, line: Some(1) })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When the text is not in that format.
    pub fn from_json(text: &str) -> Result<Self, Problem> {
        let line = Cell::new(1);
        let mut reader =
            serde_json::Deserializer::from_reader(Counting { rest: text.as_bytes(), line: &line });
        let node = Json { line: &line }.deserialize(&mut reader);
        node.and_then(|node| reader.end().map(|()| node)).map_err(|error| {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let text = match error.is_eof() {
                true => "the file ends too early".to_owned(),
                false => format!("this is not JSON: {}", text.strip_suffix(&place).unwrap_or(&text)),
            };
            Problem { line: Some(error.line().max(1)), text }
        })
    }

    /// A text that comes from no file.
    pub fn text(text: &str) -> Self {
        Self { content: Content::Text(text.to_owned()), line: None }
    }

    /// The value.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Its line.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Its entries, if it is a table.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// `give a number, not "many"`.
    pub fn refuse(&self, wanted: &str) -> Problem {
        Problem { line: self.line, text: format!("give {wanted}, not {}", self.in_words()) }
    }

    /// The value as a sentence quotes it.
    pub fn in_words(&self) -> String {
        match &self.content {
            Content::Nothing => "nothing".to_owned(),
            Content::Bool(value) => value.to_string(),
            Content::Integer(value) => value.to_string(),
            Content::Float(value) => value.to_string(),
            Content::Text(text) => format!("{text:?}"),
            Content::List(_) => "a list".to_owned(),
            Content::Table(_) => "a table".to_owned(),
        }
    }
}

/// The value in TOML's notation, except that a text outside lists and tables has no quotes.
impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |formatter: &mut fmt::Formatter<'_>, node: &Node| match &node.content {
            Content::Text(text) => write!(formatter, "{text:?}"),
            _ => node.fmt(formatter),
        };
        match &self.content {
            Content::Text(text) => formatter.write_str(text),
            Content::Float(value) => write!(formatter, "{value:?}"),
            Content::List(items) => {
                formatter.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    formatter.write_str(if index == 0 { "" } else { ", " })?;
                    inner(formatter, item)?;
                }
                formatter.write_str("]")
            }
            Content::Table(entries) => {
                formatter.write_str("{")?;
                for (index, entry) in entries.iter().enumerate() {
                    formatter.write_str(if index == 0 { " " } else { ", " })?;
                    write!(formatter, "{} = ", entry.key)?;
                    inner(formatter, &entry.value)?;
                }
                formatter.write_str(" }")
            }
            Content::Nothing | Content::Bool(_) | Content::Integer(_) => {
                formatter.write_str(&self.in_words())
            }
        }
    }
}

/// Where lines begin.
struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        Self { ends: text.match_indices('\n').map(|(position, _)| position).collect() }
    }

    fn at(&self, position: usize) -> usize {
        1 + self.ends.partition_point(|&end| end < position)
    }
}

fn entries(table: &DeTable<'_>, lines: &Lines) -> Result<Vec<Entry>, Problem> {
    table
        .iter()
        .map(|(key, value)| {
            let mut value = node(value, lines)?;
            value.line = Some(lines.at(key.span().start));
            Ok(Entry { key: key.get_ref().to_string(), value })
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Result<Node, Problem> {
    let line = Some(lines.at(value.span().start));
    let number = |text: String| Problem { line, text };
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Boolean(value) => Content::Bool(*value),
        DeValue::Datetime(date) => Content::Text(date.to_string()),
        DeValue::Integer(integer) => Content::Integer(
            i64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| number(format!("the number {} is too large", integer.as_str())))?,
        ),
        DeValue::Float(float) => Content::Float(
            float.as_str().parse().map_err(|_| number(format!("{} is not a number", float.as_str())))?,
        ),
        DeValue::Array(items) => {
            Content::List(items.iter().map(|item| node(item, lines)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Content::Table(entries(table, lines)?),
    };
    Ok(Node { content, line })
}

/// Counts the lines that a parser has seen. It looks at most one byte ahead.
struct Counting<'a> {
    rest: &'a [u8],
    line: &'a Cell<usize>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.rest.read(buffer)?;
        let lines = buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
        self.line.set(self.line.get() + lines);
        Ok(count)
    }
}

/// Reads a value of JSON; its line is the one of its first character.
#[derive(Clone, Copy)]
struct Json<'a> {
    line: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let line = self.line.get();
        let content = deserializer.deserialize_any(self)?;
        Ok(Node { content, line: Some(line) })
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(i64::try_from(value).map_or(Content::Float(value as f64), Content::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut table = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let line = self.line.get();
            let mut value = entries.next_value_seed(self)?;
            value.line = Some(line);
            table.push(Entry { key, value });
        }
        Ok(Content::Table(table))
    }
}
