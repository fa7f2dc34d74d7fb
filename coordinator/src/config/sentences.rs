//! Plain sentences for what the parsers of TOML and JSON find wrong with a value. Their own speak of
//! the program's types.

/// A key that a file may have because `run.toml` does; nobody writes it, so it is not offered.
const NOT_OFFERED: &str = "data-fingerprint";

/// The parser's message in words of the user.
pub(super) fn plain(message: &str) -> String {
    let message = message.replace('\n', " ");
    if let Some((found, wanted)) = parts(&message, "invalid type: ") {
        return format!("give {}, not {}", kind(wanted), thing(found));
    }
    if let Some((found, wanted)) = parts(&message, "invalid value: ") {
        return format!("give {}, not {}", range(wanted), thing(found));
    }
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match names.as_slice() {
        [given, known @ ..] if message.starts_with("unknown variant ") => {
            format!("there is no \"{given}\"; {}", offer(given, known, "give"))
        }
        [given, known @ ..] if message.starts_with("unknown field ") => {
            let known: Vec<&str> = known.iter().copied().filter(|name| *name != NOT_OFFERED).collect();
            format!("there is no key {given}; {}", offer(given, &known, "the keys are"))
        }
        [name] if message.starts_with("missing field ") => format!("the key {name} is missing"),
        [name] if message.starts_with("duplicate field ") => format!("the key {name} is given twice"),
        _ => match message.strip_prefix("expected ") {
            Some(wanted) => format!("give {wanted}"),
            None => message,
        },
    }
}

/// What was found and what was expected.
fn parts<'a>(message: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(start)?.rsplit_once(", expected ")
}

fn kind(wanted: &str) -> String {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "string" => "text in quotes".to_owned(),
        "a sequence" => "a list in brackets".to_owned(),
        "a map" => "a table".to_owned(),
        wanted if wanted.contains("variant") => "a name in quotes".to_owned(),
        wanted if wanted.contains("enum ") || wanted.starts_with("struct ") => "a table".to_owned(),
        wanted => wanted.to_owned(),
    }
}

fn range(wanted: &str) -> String {
    let most = match wanted {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        // TOML's own limit.
        "u64" | "usize" => i64::MAX as u64,
        wanted => return kind(wanted),
    };
    format!("a whole number from 0 to {most}")
}

fn thing(found: &str) -> String {
    const KINDS: [&str; 4] = ["string ", "integer ", "floating point ", "boolean "];
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        "unit value" => "nothing".to_owned(),
        found => {
            let value = KINDS.iter().find_map(|kind| found.strip_prefix(kind)).unwrap_or(found);
            match value.strip_prefix('`').and_then(|value| value.split_once('`')) {
                // A number may be followed by its type: `5` as i128.
                Some((number, _)) => number.to_owned(),
                None => value.to_owned(),
            }
        }
    }
}

/// The known name that was most probably meant, or all of them.
fn offer(given: &str, known: &[&str], otherwise: &str) -> String {
    /// As many mistakes as leave a name recognizable.
    const MISTAKES_MAX: usize = 2;
    /// Longer than any name there is.
    const BYTES_MAX: usize = 64;
    let names = if given.len() <= BYTES_MAX { known } else { &[] };
    if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(given)) {
        return format!("did you mean {name}?");
    }
    let nearest = names.iter().map(|name| (distance(given, name), name)).min();
    match nearest {
        Some((mistakes, name)) if mistakes <= MISTAKES_MAX && mistakes < name.len() / 2 => {
            format!("did you mean {name}?")
        }
        _ => match known {
            [] => "there are none".to_owned(),
            [only] => format!("{otherwise} {only}"),
            [first @ .., last] if otherwise == "give" => {
                format!("{otherwise} {} or {last}", first.join(", "))
            }
            [first @ .., last] => format!("{otherwise} {} and {last}", first.join(", ")),
        },
    }
}

/// How many letters must be put in, left out, replaced or swapped with their neighbor to make one
/// word of the other (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sentence_speaks_of_the_programs_types() {
        for (message, sentence) in [
            ("invalid type: string \"many\", expected u64", "give a whole number, not \"many\""),
            ("invalid type: floating point `1.5`, expected u32", "give a whole number, not 1.5"),
            ("invalid type: integer `9` as i128, expected u64", "give a whole number, not 9"),
            ("invalid type: string \"a`b\", expected a boolean", "give true or false, not \"a`b\""),
            ("expected a name or an index", "give a name or an index"),
            ("invalid value: integer `-5`, expected u32", "give a whole number from 0 to 4294967295, not -5"),
            ("invalid type: string \"yes\", expected a boolean", "give true or false, not \"yes\""),
            ("invalid type: sequence, expected struct NetworkSpec", "give a table, not a list"),
            ("unknown variant `conv`, expected `dense`", "there is no \"conv\"; give dense"),
            ("unknown variant `x`, expected `one` or `two`", "there is no \"x\"; give one or two"),
            (
                "unknown field `minibtach`, expected one of `data`, `minibatch`",
                "there is no key minibtach; did you mean minibatch?",
            ),
            (
                "unknown field `color`, expected one of `data`, `out`, `data-fingerprint`",
                "there is no key color; the keys are data and out",
            ),
            (
                "unknown variant `Relu`, expected one of `gelu`, `relu`",
                "there is no \"Relu\"; did you mean relu?",
            ),
            ("missing field `units`", "the key units is missing"),
        ] {
            assert_eq!(plain(message), sentence);
        }
    }

    #[test]
    fn the_distance_of_words_counts_mistakes() {
        for (from, to, mistakes) in [
            ("seed", "seed", 0),
            ("sede", "seed", 1),
            ("see", "seed", 1),
            ("", "out", 3),
            ("data", "task", 3),
        ] {
            assert_eq!(distance(from, to), mistakes, "{from} {to}");
        }
    }
}
