//! What the first rows of a CSV file say about it: which character separates cells, and whether the first row is a
//! header, a line of counts, or an example.

use csv::ByteRecord;

/// What the first row is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstRow {
    /// Column names.
    Header,
    /// A line such as `569,30,malignant,benign`, as scikit-learn's bundled files have it: the number of examples, the
    /// number of features, then the classes that the labels 0, 1, ... in the last column stand for.
    Counts { examples: usize, classes: Vec<String> },
    /// An example.
    Example,
}

/// Tells what the first row is. `names` are column names that are known from elsewhere.
pub(super) fn first_row(first: &ByteRecord, second: Option<&ByteRecord>, names: &[&str]) -> FirstRow {
    if let Some(counts) = second.and_then(|second| counts(first, second)) {
        return counts;
    }
    let named = first.iter().any(|cell| !is_number(cell) && names.iter().any(|name| name.as_bytes() == cell));
    let text_over_number = match second {
        Some(second) => first.iter().zip(second).any(|(a, b)| !is_number(a) && is_number(b)),
        None => !first.iter().any(is_number),
    };
    if named || text_over_number { FirstRow::Header } else { FirstRow::Example }
}

fn counts(first: &ByteRecord, second: &ByteRecord) -> Option<FirstRow> {
    let integer = |index: usize| std::str::from_utf8(first.get(index)?).ok()?.parse::<usize>().ok();
    let (examples, features) = (integer(0)?, integer(1)?);
    let classes: Vec<String> =
        first.iter().skip(2).map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
    let plausible = features.checked_add(1) == Some(second.len())
        && classes.len() >= 2
        && !classes.iter().any(|class| class.is_empty() || is_number(class.as_bytes()));
    plausible.then_some(FirstRow::Counts { examples, classes })
}

/// Whether a cell is a finite number.
pub(super) fn is_number(cell: &[u8]) -> bool {
    std::str::from_utf8(cell).ok().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite)
}

/// The separator: whichever of comma, semicolon and tab the first line has most of; comma if none.
pub(super) fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let count = |separator: u8| line.unwrap_or_default().iter().filter(|&&b| b == separator).count();
    let mut best = b',';
    for other in [b';', b'\t'] {
        if count(other) > count(best) {
            best = other;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(first: &str, second: &str, names: &[&str]) -> FirstRow {
        let record = |line: &str| ByteRecord::from(line.split(',').collect::<Vec<_>>());
        first_row(&record(first), Some(&record(second)), names)
    }

    #[test]
    fn a_header_has_text_where_the_next_row_has_a_number() {
        assert_eq!(rule("a,b,kind", "1,2,x", &[]), FirstRow::Header);
        assert_eq!(rule(",a,b", "0,1,2", &[]), FirstRow::Header);
        assert_eq!(rule("1,2,x", "3,4,y", &[]), FirstRow::Example);
        assert_eq!(rule("0,1,2", "3,4,5", &[]), FirstRow::Example);
        assert_eq!(rule("a,b,kind", "NA,NA,x", &[]), FirstRow::Example);
        assert_eq!(rule("a,b,kind", "NA,NA,x", &["kind"]), FirstRow::Header);
    }

    #[test]
    fn a_line_of_counts_is_told_from_an_example_and_from_a_header() {
        let classes = vec!["setosa".to_owned(), "virginica".to_owned()];
        assert_eq!(rule("150,2,setosa,virginica", "1,2,0", &[]), FirstRow::Counts { examples: 150, classes });
        assert_eq!(rule("150,7,setosa,virginica", "1,2,3,0", &[]), FirstRow::Header);
        assert_eq!(rule("150,2,setosa", "1,2,setosa", &[]), FirstRow::Example);
    }

    #[test]
    fn the_commonest_separator_of_the_first_line_counts() {
        assert_eq!(delimiter(b"a,b;c\n"), b',');
        assert_eq!(delimiter(b"\n1,5;2,5;3;4\n1,1,1,1,1"), b';');
        assert_eq!(delimiter(b"a\tb,c\td"), b'\t');
        assert_eq!(delimiter(b""), b',');
    }
}
