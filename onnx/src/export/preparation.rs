//! From a table's columns to the network's inputs: what [`Preparation`] does, as operators.
//!
//! Numbers of all columns go through together, `[batch, numbers]`: cut off, brought to the stored unit, and
//! the median in the place of what is missing. A text becomes as many numbers as it has known values. The
//! parts are then put side by side, picked in the order of the network's inputs, and standardized.

use table::{Becomes, Preparation, PreparedColumn, Standardized};

use super::INPUT;
use super::graph::{Graph, Setting, Value};
use crate::proto::DataType;

/// The largest stored magnitude.
const STORED_MAX: f32 = 1e30;
const SECONDS_IN_DAY: f64 = 86_400.0;
/// Days before and after 1970 that a calendar has.
const DAYS_MAX: f64 = 2_900_000.0;

/// The stored values of the network's inputs, `[batch, inputs]`.
pub(super) fn write(graph: &mut Graph, preparation: &Preparation) -> Value {
    let columns = &preparation.columns[..];
    let mut parts = Parts::default();
    let order = if columns.iter().all(|column| matches!(column.becomes, Becomes::Number { .. })) {
        write_numbers_alone(graph, columns, &mut parts)
    } else {
        write_each(graph, columns, &preparation.missing_texts(), &mut parts)
    };
    parts.picked(graph, &order)
}

/// Values beside each other.
#[derive(Default)]
struct Parts {
    values: Vec<Value>,
    width: usize,
}

impl Parts {
    /// Adds `[batch, width]`. Returns where its first column is.
    fn push(&mut self, value: Value, width: usize) -> usize {
        self.values.push(value);
        self.width += width;
        self.width - width
    }

    /// The columns `order` of all parts.
    fn picked(self, graph: &mut Graph, order: &[usize]) -> Value {
        let all = match &self.values[..] {
            [one] => one.clone(),
            values => {
                let values: Vec<&Value> = values.iter().collect();
                graph.node_with("Concat", "inputs.all", &values, vec![("axis", Setting::Int(1))])
            }
        };
        if order.iter().copied().eq(0..self.width) {
            return all;
        }
        let order: Vec<i64> = order.iter().map(|&index| index as i64).collect();
        let order = graph.integers("inputs.order", &[order.len()], &order);
        graph.node_with("Gather", "inputs.ordered", &[&all, &order], vec![("axis", Setting::Int(1))])
    }
}

/// One input for all columns, which are numbers.
fn write_numbers_alone(graph: &mut Graph, columns: &[PreparedColumn], parts: &mut Parts) -> Vec<usize> {
    let numbers: Vec<(Option<Standardized>, bool)> = columns
        .iter()
        .map(|column| match column.becomes {
            Becomes::Number { number, missing } => (number, missing),
            _ => unreachable!("all are numbers"),
        })
        .collect();
    let is_double = numbers.iter().any(|(number, _)| number.as_ref().is_some_and(is_fine));
    let kind = if is_double { DataType::Double } else { DataType::Float };
    let raw = graph.input(INPUT, kind, &[columns.len()]);
    let places = write_stored(graph, &numbers, raw, is_double, parts);
    places.into_iter().flat_map(|place| place.number.into_iter().chain(place.missing)).collect()
}

/// Whether a number must be computed in 64 bits.
fn is_fine(number: &Standardized) -> bool {
    number.shift != 0.0 || number.unit != 1.0
}

/// The name of a column's input: its own, or its place from 1.
pub fn input_name(column: &PreparedColumn) -> String {
    if column.name.is_empty() { format!("column {}", column.position + 1) } else { column.name.clone() }
}

/// Where the inputs of a number are among the parts.
struct Place {
    number: Option<usize>,
    missing: Option<usize>,
}

/// The stored values of `raw`, `[batch, numbers]`, in 64 bits if `is_double`.
fn write_stored(
    graph: &mut Graph,
    numbers: &[(Option<Standardized>, bool)],
    raw: Value,
    is_double: bool,
    parts: &mut Parts,
) -> Vec<Place> {
    const NONE: Standardized =
        Standardized { median: 0.0, shift: 0.0, unit: 1.0, low: None, high: None, offset: 0.0, scale: 0.0 };
    let all: Vec<Standardized> = numbers.iter().map(|(number, _)| number.unwrap_or(NONE)).collect();
    let constant = |graph: &mut Graph, name: &str, of: &dyn Fn(&Standardized) -> f64| {
        let values: Vec<f64> = all.iter().map(of).collect();
        if is_double {
            graph.doubles(name, &[values.len()], &values)
        } else {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            graph.floats(name, &[values.len()], &values)
        }
    };
    let is_missing = graph.node("IsNaN", "numbers.missing", &[&raw]);
    let mut value = raw;
    if all.iter().any(|number| number.low.is_some()) {
        let low = constant(graph, "numbers.low", &|number| number.low.unwrap_or(f64::NEG_INFINITY));
        value = graph.node("Max", "numbers.from_low", &[&value, &low]);
    }
    if all.iter().any(|number| number.high.is_some()) {
        let high = constant(graph, "numbers.high", &|number| number.high.unwrap_or(f64::INFINITY));
        value = graph.node("Min", "numbers.to_high", &[&value, &high]);
    }
    if all.iter().any(is_fine) {
        let shift = constant(graph, "numbers.shift", &|number| number.shift);
        value = graph.node("Sub", "numbers.shifted", &[&value, &shift]);
        let unit = constant(graph, "numbers.unit", &|number| number.unit);
        value = graph.node("Div", "numbers.scaled", &[&value, &unit]);
    }
    if is_double {
        value = cast(graph, "numbers.stored", &value, DataType::Float);
    }
    let least = graph.floats("numbers.least", &[], &[-STORED_MAX]);
    let largest = graph.floats("numbers.largest", &[], &[STORED_MAX]);
    value = graph.node("Clip", "numbers.finite", &[&value, &least, &largest]);
    let medians: Vec<f32> = all.iter().map(|number| number.median as f32).collect();
    let medians = graph.floats("numbers.median", &[medians.len()], &medians);
    value = graph.node("Where", "numbers.filled", &[&is_missing, &medians, &value]);

    let first = parts.push(value, numbers.len());
    let first_flag = numbers.iter().any(|(_, missing)| *missing).then(|| {
        let flags = cast(graph, "numbers.flags", &is_missing, DataType::Float);
        parts.push(flags, numbers.len())
    });
    let place = |(i, (number, missing)): (usize, &(Option<Standardized>, bool))| Place {
        number: number.is_some().then_some(first + i),
        missing: first_flag.filter(|_| *missing).map(|flag| flag + i),
    };
    numbers.iter().enumerate().map(place).collect()
}

/// One input for each column, `[batch, 1]`.
fn write_each(
    graph: &mut Graph,
    columns: &[PreparedColumn],
    missing_texts: &[String],
    parts: &mut Parts,
) -> Vec<usize> {
    // All inputs first, so that they have the columns' names whatever the values inside are called.
    let fine = |number: &Option<Standardized>| number.as_ref().is_some_and(is_fine);
    let inputs: Vec<(Value, DataType)> = columns
        .iter()
        .map(|column| {
            let kind = match &column.becomes {
                Becomes::Number { number, .. } if !fine(number) => DataType::Float,
                Becomes::Number { .. } | Becomes::Date { .. } => DataType::Double,
                Becomes::Category { .. } => DataType::String,
            };
            (graph.input(&input_name(column), kind, &[1]), kind)
        })
        .collect();
    let is_double = inputs.iter().any(|(_, kind)| *kind == DataType::Double);
    let (mut numbers, mut raw) = (Vec::new(), Vec::new());
    for (column, (input, kind)) in columns.iter().zip(&inputs) {
        let (number, missing) = match &column.becomes {
            Becomes::Number { number, missing } => (number, missing),
            Becomes::Date { days, missing, .. } => (days, missing),
            Becomes::Category { .. } => continue,
        };
        numbers.push((*number, *missing));
        raw.push(match (&column.becomes, kind) {
            (Becomes::Date { .. }, _) => {
                let seconds = graph.doubles("seconds_in_day", &[1], &[SECONDS_IN_DAY]);
                graph.node("Div", &format!("{}.days", input_name(column)), &[input, &seconds])
            }
            (_, DataType::Float) if is_double => {
                cast(graph, &format!("{}.double", input_name(column)), input, DataType::Double)
            }
            _ => input.clone(),
        });
    }
    let mut places = Vec::new().into_iter();
    let mut days = raw.clone().into_iter();
    if !raw.is_empty() {
        let values: Vec<&Value> = raw.iter().collect();
        let raw = graph.node_with("Concat", "numbers", &values, vec![("axis", Setting::Int(1))]);
        places = write_stored(graph, &numbers, raw, is_double, parts).into_iter();
    }
    let mut order = Vec::new();
    for (column, (input, _)) in columns.iter().zip(&inputs) {
        match &column.becomes {
            Becomes::Number { .. } => {
                days.next();
                let place = places.next().expect("one for each number");
                order.extend(place.number.into_iter().chain(place.missing));
            }
            Becomes::Date { year, week, day, .. } => {
                let days = days.next().expect("one for each date");
                let place = places.next().expect("one for each date");
                order.extend(place.number);
                for turn in Turn::write(graph, &input_name(column), &days, [*year, *week, *day]) {
                    let first = parts.push(turn, 2);
                    order.extend([first, first + 1]);
                }
                order.extend(place.missing);
            }
            Becomes::Category { .. } => {
                for (value, width) in write_category(graph, column, input, missing_texts) {
                    let first = parts.push(value, width);
                    order.extend(first..first + width);
                }
            }
        }
    }
    order
}

/// The inputs of a category with their widths.
fn write_category(
    graph: &mut Graph,
    column: &PreparedColumn,
    input: &Value,
    missing_texts: &[String],
) -> Vec<(Value, usize)> {
    let Becomes::Category { values, other, missing, .. } = &column.becomes else { return Vec::new() };
    let name = |part: &str| format!("{}.{part}", input_name(column));
    let mut parts = Vec::new();
    if !values.is_empty() {
        parts.push((is_one_of(graph, &name("is"), input, values), values.len()));
    }
    let is_missing = (*other || *missing).then(|| {
        let is_each = is_one_of(graph, &name("is_missing_text"), input, missing_texts);
        any(graph, &name("is_missing"), &is_each)
    });
    if let Some(is_missing) = &is_missing
        && *other
    {
        let one = graph.floats("one", &[1], &[1.0]);
        let mut rest = graph.node("Sub", &name("is_there"), &[&one, is_missing]);
        if let Some((known, _)) = parts.first().cloned() {
            let known = any(graph, &name("is_known"), &known);
            rest = graph.node("Sub", &name("is_other"), &[&rest, &known]);
        }
        parts.push((rest, 1));
    }
    parts.extend(is_missing.filter(|_| *missing).map(|flag| (flag, 1)));
    parts
}

/// `[batch, texts]`: 1 where the text is the input's, otherwise 0.
fn is_one_of(graph: &mut Graph, name: &str, input: &Value, texts: &[String]) -> Value {
    let values = graph.texts(&format!("{name}.values"), texts.iter().map(String::as_str));
    let is_equal = graph.node("Equal", &format!("{name}.equal"), &[input, &values]);
    cast(graph, name, &is_equal, DataType::Float)
}

/// `[batch, 1]`: the largest of each row.
fn any(graph: &mut Graph, name: &str, flags: &Value) -> Value {
    let axes = graph.integers(&format!("{name}.axes"), &[1], &[1]);
    graph.node_with("ReduceMax", name, &[flags, &axes], vec![("keepdims", Setting::Int(1))])
}

fn cast(graph: &mut Graph, name: &str, value: &Value, kind: DataType) -> Value {
    graph.node_with("Cast", name, &[value], vec![("to", Setting::Int(kind as i64))])
}

/// Arithmetic in 64 bits on one number an example, for the parts of a date.
struct Turn<'a> {
    graph: &'a mut Graph,
    column: &'a str,
}

impl Turn<'_> {
    /// Sine and cosine, `[batch, 2]`, of the wanted ones of year, week and day; both 0 where there is no
    /// date.
    fn write(graph: &mut Graph, column: &str, days: &Value, wanted: [bool; 3]) -> Vec<Value> {
        let mut turn = Turn { graph, column };
        let whole = turn.floor(days);
        let size = turn.graph.node("Abs", &format!("{column}.size"), &[&whole]);
        let most = turn.number(DAYS_MAX);
        let is_known = turn.graph.node("LessOrEqual", &format!("{column}.is_known"), &[&size, &most]);
        let mut parts = Vec::new();
        for (i, is_wanted) in wanted.into_iter().enumerate() {
            if !is_wanted {
                continue;
            }
            let part = match i {
                0 => turn.year(&whole),
                1 => {
                    // Monday is the day 4 after the first of 1970, a Thursday.
                    let since_monday = turn.with("Sub", &whole, 4.0);
                    let (_, day) = turn.divided(&since_monday, 7.0);
                    turn.with("Div", &day, 7.0)
                }
                _ => turn.op("Sub", days, &whole),
            };
            parts.push(turn.circle(&part, &is_known));
        }
        parts
    }

    /// The days since the first of January, divided by the days of the year. Howard Hinnant (2013),
    /// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years are counted from March, so
    /// that the leap day is the last.
    fn year(&mut self, whole: &Value) -> Value {
        let since_march_of_0 = self.with("Add", whole, 719_468.0);
        let (era, day) = self.divided(&since_march_of_0, 146_097.0);
        let mut estimate = day.clone();
        for (operator, days) in [("Sub", 1_460.0), ("Add", 36_524.0), ("Sub", 146_096.0)] {
            let (times, _) = self.divided(&day, days);
            estimate = self.op(operator, &estimate, &times);
        }
        let (year_of_era, _) = self.divided(&estimate, 365.0);
        // The days before this year of the era: 365 y + y / 4 - y / 100.
        let mut before = self.with("Mul", &year_of_era, 365.0);
        for (operator, years) in [("Add", 4.0), ("Sub", 100.0)] {
            let (times, _) = self.divided(&year_of_era, years);
            before = self.op(operator, &before, &times);
        }
        let since_march = self.op("Sub", &day, &before);
        let eras = self.with("Mul", &era, 400.0);
        let year_from_march = self.op("Add", &eras, &year_of_era);
        // January and February belong to the next year, from day 306 on.
        let march_to_december = self.number(306.0);
        let is_next =
            self.graph.node("GreaterOrEqual", &self.name("is_next"), &[&since_march, &march_to_december]);
        let is_next = cast(self.graph, &self.name("next"), &is_next, DataType::Double);
        let year = self.op("Add", &year_from_march, &is_next);
        let leap = self.is_leap(&year);
        // since_march + 59 + leap, or since_march - 306.
        let later = self.with("Add", &leap, 59.0);
        let later = self.op("Add", &since_march, &later);
        let earlier = self.with("Sub", &since_march, 306.0);
        let difference = self.op("Sub", &earlier, &later);
        let chosen = self.op("Mul", &difference, &is_next);
        let day_of_year = self.op("Add", &later, &chosen);
        let length = self.with("Add", &leap, 365.0);
        self.op("Div", &day_of_year, &length)
    }

    /// 1 for a leap year, otherwise 0: whether it is a multiple of 4, less of 100, plus of 400.
    fn is_leap(&mut self, year: &Value) -> Value {
        let mut leap = None;
        for (operator, years) in [("Add", 4.0), ("Sub", 100.0), ("Add", 400.0)] {
            let (_, rest) = self.divided(year, years);
            let zero = self.number(0.0);
            let is_multiple = self.graph.node("Equal", &self.name("is_multiple"), &[&rest, &zero]);
            let multiple = cast(self.graph, &self.name("multiple"), &is_multiple, DataType::Double);
            leap = Some(match leap {
                None => multiple,
                Some(leap) => self.op(operator, &leap, &multiple),
            });
        }
        leap.expect("three terms")
    }

    fn circle(&mut self, part: &Value, is_known: &Value) -> Value {
        let angle = self.with("Mul", part, std::f64::consts::TAU);
        let angle = cast(self.graph, &self.name("angle"), &angle, DataType::Float);
        let sine = self.graph.node("Sin", &self.name("sine"), &[&angle]);
        let cosine = self.graph.node("Cos", &self.name("cosine"), &[&angle]);
        let axis = vec![("axis", Setting::Int(1))];
        let both = self.graph.node_with("Concat", &self.name("circle"), &[&sine, &cosine], axis);
        let nowhere = self.graph.floats("nowhere", &[1], &[0.0]);
        self.graph.node("Where", &self.name("turn"), &[is_known, &both, &nowhere])
    }

    /// The quotient, rounded down, and the rest.
    fn divided(&mut self, value: &Value, by: f64) -> (Value, Value) {
        let quotient = self.with("Div", value, by);
        let whole = self.floor(&quotient);
        let product = self.with("Mul", &whole, by);
        let rest = self.op("Sub", value, &product);
        (whole, rest)
    }

    fn floor(&mut self, value: &Value) -> Value {
        let name = self.name("whole");
        self.graph.node("Floor", &name, &[value])
    }

    fn with(&mut self, operator: &str, value: &Value, number: f64) -> Value {
        let number = self.number(number);
        self.op(operator, value, &number)
    }

    fn op(&mut self, operator: &str, one: &Value, other: &Value) -> Value {
        let name = self.name(&operator.to_ascii_lowercase());
        self.graph.node(operator, &name, &[one, other])
    }

    fn number(&mut self, number: f64) -> Value {
        let name = self.name("number");
        self.graph.doubles(&name, &[1], &[number])
    }

    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.column)
    }
}
