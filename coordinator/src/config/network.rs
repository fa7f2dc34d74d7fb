//! A network as a user gives it: a shorthand, a file of its own, or a table.

use std::fmt;
use std::path::Path;

use model::{LayerSpec, NetworkSpec};
use serde::de::value::SeqDeserializer;
use serde::de::{
    self, Deserialize, Deserializer, Expected, IntoDeserializer, MapAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::ConfigError;
use super::file::read_text;
use super::tree::{Content, Entry, Node, Problem};
use super::words;

/// The extension of an ONNX file.
const ONNX: &str = ".onnx";
/// The key that freezes a layer's weights.
const FREEZE: &str = "freeze";
/// The one key that every network needs.
const LAYERS: &str = "layers";

/// A network as a user gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelChoice {
    /// A shorthand such as `mlp:128,64`, or the path of a TOML, JSON or ONNX file.
    Text(String),
    /// A table in the configuration file itself.
    Spec(NetworkSpec),
}

impl ModelChoice {
    /// The network itself, read from its file if the text names one.
    ///
    /// # Errors
    /// When the shorthand or the file cannot be understood.
    pub fn resolve(self) -> Result<NetworkSpec, ConfigError> {
        let text = match self {
            Self::Spec(spec) => return Ok(spec),
            Self::Text(text) => text,
        };
        if !is_file_name(&text) {
            return NetworkSpec::from_shorthand(&text)
                .map_err(|problem| ConfigError::Model { origin: "model".to_owned(), problem });
        }
        let path = Path::new(&text);
        if is_graph(&text) {
            let imported = crate::start::read_onnx(path)
                .map_err(|error| ConfigError::Setting { setting: "model", problem: error.to_string() })?;
            return Ok(imported.spec);
        }
        let content = read_text(path)?;
        let file =
            if text.ends_with(".json") { Node::from_json(&content) } else { Node::from_toml(&content) };
        file.and_then(|file| read(&file)).map_err(|problem| ConfigError::at(path, problem))
    }
}

impl ModelChoice {
    /// Whether the text gives only the layers' widths, which leaves the network's other properties open.
    pub(super) fn is_shorthand(&self) -> bool {
        matches!(self, Self::Text(text) if !is_file_name(text))
    }
}

/// Whether a model's text names an ONNX file.
pub(crate) fn is_graph(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with(ONNX)
}

/// Whether a model's text names a file rather than a shorthand.
pub(super) fn is_file_name(text: &str) -> bool {
    [".toml", ".json"].iter().any(|ending| text.ends_with(ending))
        || is_graph(text)
        || text.contains(std::path::MAIN_SEPARATOR)
}

/// Reads a table with `layers`: an empty file or a list is not taken for a network without any.
pub(super) fn read(node: &Node) -> Result<NetworkSpec, Problem> {
    if !matches!(node.content(), Content::Table(_)) {
        return Err(node.refuse("a table with the key layers"));
    }
    let mut network = NetworkSpec::deserialize(Reader(node))?;
    if let Some(wrong) = node.entries().iter().find(|entry| is_freeze(entry)) {
        return Err(wrong.value.refuse("a list of the positions of layers"));
    }
    collect_frozen(node, "", &mut network.freeze);
    if node.get(LAYERS).is_none() {
        let text = "the key layers is missing; for a network without layers give linear".to_owned();
        return Err(Problem { line: node.line(), text });
    }
    Ok(network)
}

/// Whether an entry is `freeze = true` or `false`, which a layer may have. Serde does not see it: it becomes a
/// part of [`NetworkSpec::freeze`].
fn is_freeze(entry: &Entry) -> bool {
    entry.key == FREEZE && matches!(entry.value.content(), Content::Bool(_))
}

/// Adds the positions of the layers with `freeze = true` in a table with layers, and in the blocks inside.
fn collect_frozen(table: &Node, outer: &str, frozen: &mut Vec<String>) {
    let Some(Content::List(layers)) = table.get(LAYERS).map(Node::content) else { return };
    for (i, layer) in layers.iter().enumerate() {
        let position = format!("{outer}{}", i + 1);
        let is_frozen = matches!(layer.get(FREEZE).map(Node::content), Some(Content::Bool(true)));
        collect_frozen(layer, &format!("{position}."), frozen);
        if is_frozen && !frozen.contains(&position) {
            frozen.push(position);
        }
    }
}

/// A mistake that serde found, in the user's words. Serde reads a layer into memory before it checks it,
/// so a mistake in a layer comes without a place. [`Problem`] gets its place afterwards.
#[derive(Debug)]
struct Misfit {
    problem: Problem,
    about: About,
}

/// What to search for.
#[derive(Debug)]
enum About {
    Nothing,
    Key(String),
    /// A value, [`Node::in_words`].
    Value(String),
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        misfit.problem
    }
}

impl Misfit {
    fn new(text: String, about: About) -> Self {
        Self { problem: text.into(), about }
    }

    /// Adds the place in the table that was not understood, unless the mistake has a place.
    fn within(mut self, table: &Node) -> Self {
        if self.problem.line.is_some() {
            return self;
        }
        if let Some(misfit) = table.entries().iter().find_map(wrong_layer) {
            return misfit;
        }
        let is_meant = |entry: &&Entry| match &self.about {
            About::Nothing => false,
            About::Key(key) => entry.key == *key,
            About::Value(value) => entry.value.in_words() == *value,
        };
        match table.entries().iter().find(is_meant) {
            Some(entry) => self.at(entry),
            None => {
                self.problem.line = table.line();
                self
            }
        }
    }

    /// Adds the place of an entry, unless the mistake has a place.
    fn at(mut self, entry: &Entry) -> Self {
        if self.problem.line.is_none() {
            if let Some(misfit) = wrong_layer(entry) {
                return misfit;
            }
            self.problem.line = entry.value.line();
            if !self.problem.text.contains(&entry.key) {
                self.problem.text = format!("{}: {}", entry.key, self.problem.text);
            }
        }
        self
    }
}

/// The mistake in the first layer that cannot be understood, if `entry` holds layers.
fn wrong_layer(entry: &Entry) -> Option<Misfit> {
    let Content::List(layers) = entry.value.content() else { return None };
    let wrong = |layer| LayerSpec::deserialize(Reader(layer)).err().map(|misfit| misfit.within(layer));
    (entry.key == LAYERS).then(|| layers.iter().find_map(wrong)).flatten()
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem.text)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = words::one_line(&message.to_string());
        Self::new(
            message.strip_prefix("expected ").map_or(message.clone(), |wanted| format!("give {wanted}")),
            About::Nothing,
        )
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = in_words(found);
        Self::new(format!("give {}, not {found}", words::kind(&wanted.to_string())), About::Value(found))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = in_words(found);
        Self::new(format!("give {}, not {found}", words::range(&wanted.to_string())), About::Value(found))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(words::no_such_name(found, known), About::Value(format!("{found:?}")))
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(words::no_such_key(found, known), About::Key(found.to_owned()))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(format!("the key {key} is missing"), About::Nothing)
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(format!("the key {key} is given twice"), About::Key(key.to_owned()))
    }
}

/// As [`Node::in_words`] has it.
fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        other => other.to_string(),
    }
}

/// Gives serde a tree to read.
#[derive(Clone, Copy)]
struct Reader<'de>(&'de Node);

impl<'de> IntoDeserializer<'de, Misfit> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.content() {
            Content::Nothing => visitor.visit_unit(),
            Content::Bool(value) => visitor.visit_bool(*value),
            Content::Integer(value) => visitor.visit_i64(*value),
            Content::Float(value) => visitor.visit_f64(*value),
            Content::Text(text) => visitor.visit_borrowed_str(text),
            Content::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Reader))),
            Content::Table(entries) => visitor
                .visit_map(Entries { left: entries.iter(), open: None })
                .map_err(|misfit| misfit.within(self.0)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.content() {
            Content::Nothing => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0.content() {
            Content::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(self.0.refuse("a name in quotes").into()),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl From<Problem> for Misfit {
    fn from(problem: Problem) -> Self {
        Self { problem, about: About::Nothing }
    }
}

/// The entries of a table. A mistake in a value names its entry.
struct Entries<'de> {
    left: std::slice::Iter<'de, Entry>,
    open: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Misfit;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.open = self.left.find(|entry| !is_freeze(entry));
        let Some(entry) = self.open else { return Ok(None) };
        let key: de::value::StrDeserializer<'de, Misfit> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let entry = self.open.take().ok_or_else(|| <Misfit as de::Error>::custom("a value without a key"))?;
        seed.deserialize(Reader(&entry.value)).map_err(|misfit| misfit.at(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(toml: &str) -> (usize, String) {
        let problem = Node::from_toml(toml).and_then(|file| read(&file)).unwrap_err();
        (problem.line.unwrap(), problem.text)
    }

    #[test]
    fn a_mistake_in_a_nested_table_has_its_own_line() {
        for (toml, line, text) in [
            ("layers = 3", 1, "layers: give a list in brackets, not 3"),
            ("l2 = 0\nlayers = [\n {kind = \"dense\", units = 3},\n {kind = \"conv\"},\n]", 4, "no \"conv\""),
            (
                "[[layers]]\nkind = \"dense\"\nunits = \"three\"",
                3,
                "units: give a whole number, not \"three\"",
            ),
            (
                "[[layers]]\nkind = \"dense\"\nunits = -3",
                3,
                "units: give a whole number from 0 to 4294967295, not -3",
            ),
            ("[[layers]]\nkind = \"dense\"\nunits = 3\nwidth = 3", 4, "there is no key width"),
            (
                "[[layers]]\nkind = \"dense\"\nunits = 3\n[[layers]]\nkind = \"dense\"",
                4,
                "the key units is missing",
            ),
            (
                "[[layers]]\nkind = \"residual\"\n[[layers.layers]]\nkind = \"dense\"\nunits = 1.5",
                5,
                "units: give a whole number, not 1.5",
            ),
            ("layers = []\n\nl2 = \"much\"", 3, "l2: give a number, not \"much\""),
            ("layers = []\nlayer = 1", 2, "there is no key layer; did you mean layers?"),
            ("layers = []\nloss = \"hubert\"", 2, "loss: there is no \"hubert\"; did you mean huber?"),
        ] {
            let (found, sentence) = wrong(toml);
            assert!(sentence.contains(text), "{sentence}");
            assert_eq!(found, line, "{toml}: {sentence}");
        }
    }

    #[test]
    fn json_has_the_same_lines() {
        let json = "{\n \"layers\": [\n  {\"kind\": \"dense\", \"units\": 4},\n  {\"kind\": \"dense\",\n   \"units\": \"x\"}\n ]\n}";
        let problem = Node::from_json(json).and_then(|file| read(&file)).unwrap_err();
        assert_eq!((problem.line, problem.text.as_str()), (Some(5), "units: give a whole number, not \"x\""));
        assert_eq!(Node::from_json("{\n \"layers\": [").unwrap_err().text, "the file ends too early");
        assert_eq!(Node::from_json("{\n \"layers\": 1 2}").unwrap_err().line, Some(2));
    }

    #[test]
    fn layers_with_freeze_become_positions() {
        let toml = "freeze = [\"2\"]\nlayers = [\n {kind = \"dense\", units = 3, freeze = true},\n \
            {kind = \"batch-norm\", freeze = true},\n {kind = \"residual\", layers = [{kind = \"dense\", units = 3}, \
            {kind = \"layer-norm\", freeze = true}]},\n {kind = \"flatten\", freeze = false}]";
        let network = read(&Node::from_toml(toml).unwrap()).unwrap();
        assert_eq!(network.freeze, ["2", "1", "3.2"]);
        let (line, text) = wrong("layers = []\nfreeze = true");
        assert_eq!(line, 2);
        assert!(text.contains("positions"), "{text}");
    }

    #[test]
    fn keys_of_two_words_may_have_a_hyphen() {
        for key in ["label_smoothing", "label-smoothing"] {
            let file = Node::from_toml(&format!("layers = []\n{key} = 0.1")).unwrap();
            assert_eq!(read(&file).unwrap().label_smoothing, 0.1, "{key}");
        }
    }
}
