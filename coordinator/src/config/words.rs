//! Sentences about mistakes in a file, without the names of the program's types.

/// A message as one line.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sentence for an unknown name.
pub(super) fn no_such_name(given: &str, known: &[&str]) -> String {
    format!("there is no \"{given}\"; {}", offer(given, known, "give"))
}

/// The sentence for an unknown key.
pub(super) fn no_such_key(given: &str, known: &[&str]) -> String {
    format!("there is no key {given}; {}", offer(given, known, "the keys are"))
}

/// The kind of value that a Rust type stands for.
pub(super) fn kind(wanted: &str) -> String {
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

/// The numbers that fit into a Rust type.
pub(super) fn range(wanted: &str) -> String {
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

/// `auto, averaged and average`
pub(super) fn list(names: &[&str], joined: &str) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} {joined} {last}", first.join(", ")),
    }
}

/// The known name that the user most probably meant, or all known names.
fn offer(given: &str, known: &[&str], otherwise: &str) -> String {
    /// The most mistakes that leave a name recognizable.
    const MISTAKES_MAX: usize = 2;
    /// Longer than any known name.
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
        _ if known.is_empty() => "there are none".to_owned(),
        _ => format!("{otherwise} {}", list(known, if otherwise == "give" { "or" } else { "and" })),
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
    fn a_name_that_was_probably_meant_is_offered() {
        let keys = ["data", "minibatch"];
        assert_eq!(no_such_key("minibtach", &keys), "there is no key minibtach; did you mean minibatch?");
        assert_eq!(no_such_key("color", &keys), "there is no key color; the keys are data and minibatch");
        assert_eq!(no_such_name("conv", &["dense"]), "there is no \"conv\"; give dense");
        assert_eq!(no_such_name("Relu", &["gelu", "relu"]), "there is no \"Relu\"; did you mean relu?");
        assert_eq!(no_such_name("x", &["one", "two"]), "there is no \"x\"; give one or two");
        assert_eq!(no_such_key("x", &[]), "there is no key x; there are none");
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
