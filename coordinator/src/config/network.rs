//! A network as a table in a file: with its layers, so that an empty file or a list is not taken for
//! a network without any.

use std::fmt;

use model::NetworkSpec;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The key that a network must have.
const LAYERS: &str = "layers";

/// A file with nothing but a network in it.
pub(super) struct NetworkFile(pub(super) NetworkSpec);

impl<'de> Deserialize<'de> for NetworkFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// Reads a table with `layers`, and nothing else.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NetworkSpec, D::Error> {
    struct Table;
    impl<'de> Visitor<'de> for Table {
        type Value = NetworkSpec;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table with the key layers")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NetworkSpec, A::Error> {
            from_map(map)
        }
    }
    deserializer.deserialize_any(Table)
}

/// Reads the entries of a table.
pub(super) fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<NetworkSpec, A::Error> {
    let mut has_layers = false;
    let entries = Entries { map, has_layers: &mut has_layers };
    let network = NetworkSpec::deserialize(MapAccessDeserializer::new(entries))?;
    if !has_layers {
        return Err(A::Error::custom("the key layers is missing; for a network without layers give linear"));
    }
    Ok(network)
}

/// A table whose keys are looked at as they pass: the network itself does not tell whether it was
/// given layers.
struct Entries<'a, A> {
    map: A,
    has_layers: &'a mut bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(Key { seed, has_layers: &mut *self.has_layers })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

struct Key<'a, K> {
    seed: K,
    has_layers: &'a mut bool,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        *self.has_layers |= key == LAYERS;
        self.seed.deserialize(key.into_deserializer())
    }
}
