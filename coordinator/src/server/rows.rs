//! Rows in JSON, as CSV: each value becomes a cell while it is read, so that a body needs no more memory than its
//! own text, whatever it holds.

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::predictor::{Model, ROWS_MAX};
use crate::report::words::counted;

const WANTED: &str = "an object with the columns' names, a list of values, or a list of such rows";

/// The rows of a body: an object with a value for each column, a list of values in the columns' order, or a list
/// of such rows. `None` if there are none.
///
/// # Errors
/// A sentence with the place, without a full stop.
pub(super) fn csv_of_json(model: &Model, body: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let columns = model.columns();
    let places = columns.as_ref().map(|names| names.iter().zip(0..).map(|(&name, at)| (name, at)).collect());
    let writer = csv::Writer::from_writer(Vec::new());
    let mut rows = Rows { places, width: model.width(), writer, taken: 0 };
    // Writing to memory does not fail.
    if let Some(names) = &columns {
        let _ = rows.writer.write_record(names);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Body(&mut rows).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        _ => format!("the body is not JSON: {error}"),
    })?;
    let csv = rows.writer.into_inner().unwrap_or_default();
    Ok((rows.taken > 0).then_some(csv))
}

/// The rows so far.
struct Rows<'a> {
    /// Where the columns are, by their names.
    places: Option<HashMap<&'a str, usize>>,
    width: usize,
    writer: csv::Writer<Vec<u8>>,
    /// How many there are.
    taken: usize,
}

impl Rows<'_> {
    /// The number of the row that is being read, from 1.
    fn number(&self) -> usize {
        self.taken + 1
    }

    fn check_room<E: de::Error>(&self) -> Result<(), E> {
        match self.taken < ROWS_MAX {
            true => Ok(()),
            false => {
                Err(E::custom(format!("these are more than {ROWS_MAX} rows; send them in several requests")))
            }
        }
    }

    /// Takes a list's cells, of which the first may have been read already.
    fn list<'de, A: SeqAccess<'de>>(&mut self, first: Option<String>, mut list: A) -> Result<(), A::Error> {
        self.check_room()?;
        let number = self.number();
        let mut cells: Vec<String> = first.into_iter().collect();
        while let Some(cell) = list.next_element_seed(Cell { number })? {
            if cells.len() == self.width {
                let problem = format!(
                    "row {number} has more than {0} cells, but the model takes {0}; give one for each column",
                    self.width
                );
                return Err(de::Error::custom(problem));
            }
            cells.push(cell);
        }
        if cells.len() < self.width {
            let problem = format!(
                "row {number} has {}, but the model takes {}; give one for each column",
                counted(cells.len(), "cell"),
                self.width
            );
            return Err(de::Error::custom(problem));
        }
        self.push(&cells);
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(&mut self, mut object: A) -> Result<(), A::Error> {
        self.check_room()?;
        let number = self.number();
        let Some(places) = &self.places else {
            let problem = "the model's columns have no names; give each row as a list";
            return Err(de::Error::custom(problem));
        };
        let mut cells: Vec<Option<String>> = vec![None; self.width];
        while let Some(key) = object.next_key::<String>()? {
            // Other columns, such as the label, may be there.
            let Some(&at) = places.get(key.as_str()) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if cells[at].replace(object.next_value_seed(Cell { number })?).is_some() {
                let problem = format!("row {number} has the column {key} twice; leave one out");
                return Err(de::Error::custom(problem));
            }
        }
        if let Some(at) = cells.iter().position(Option::is_none) {
            let name = places.iter().find(|(_, place)| **place == at).map_or("", |(name, _)| name);
            let problem =
                format!("row {number} has no value for the column {name}; null stands for a missing one");
            return Err(de::Error::custom(problem));
        }
        let cells: Vec<String> = cells.into_iter().flatten().collect();
        self.push(&cells);
        Ok(())
    }

    fn push(&mut self, cells: &[String]) {
        let _ = self.writer.write_record(cells);
        self.taken += 1;
    }
}

/// The whole body.
struct Body<'a, 'm>(&'a mut Rows<'m>);

/// A row, or the first cell of the only row.
struct Item<'a, 'm>(&'a mut Rows<'m>);

/// A row, where another row came before.
struct Row<'a, 'm>(&'a mut Rows<'m>);

/// A value of a row, as a cell of a table.
#[derive(Clone, Copy)]
struct Cell {
    /// The row's number, for messages.
    number: usize,
}

macro_rules! seed {
    ($($seed:ty => $value:ty),*) => {$(
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    )*};
}

seed!(Body<'_, '_> => (), Item<'_, '_> => Option<String>, Row<'_, '_> => (), Cell => String);

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(WANTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.object(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        match list.next_element_seed(Item(self.0))? {
            None => Ok(()),
            Some(Some(first)) => self.0.list(Some(first), list),
            Some(None) => {
                while list.next_element_seed(Row(self.0))?.is_some() {}
                Ok(())
            }
        }
    }
}

/// Visits a value that is the first cell of the only row.
macro_rules! first_cell {
    ($($visit:ident: $value:ty),*) => {$(
        fn $visit<E: de::Error>(self, value: $value) -> Result<Self::Value, E> {
            Cell { number: 1 }.$visit(value).map(Some)
        }
    )*};
}

impl<'de> Visitor<'de> for Item<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(WANTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        self.0.object(object).map(|()| None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        self.0.list(None, list).map(|()| None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Cell { number: 1 }.visit_unit().map(Some)
    }

    first_cell!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "row {} to be an object or a list, as the rows before it", self.0.number())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.object(object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.list(None, list)
    }
}

impl<'de> Visitor<'de> for Cell {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a number, a text, true, false or null in row {}", self.number)
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        // As a table has it: 1e300 is not 300 digits.
        Ok(serde_json::Number::from_f64(value).map_or_else(String::new, |number| number.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(de::Error::custom(format!(
            "row {} has a value that is a list; give one number or text",
            self.number
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(de::Error::custom(format!(
            "row {} has a value that is an object; give one number or text",
            self.number
        )))
    }
}
