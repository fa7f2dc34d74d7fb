//! Cells that stand for a missing value.

use std::collections::BTreeSet;

/// Texts that mean a missing value, as R, pandas, spreadsheets, databases, statistics programs and the UCI collection
/// write it.
pub(crate) const MISSING_TEXTS: [&str; 27] = [
    "", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "Null", "null", "None", "?", "-", "#N/A", "<NA>",
    "--", ".", "\\N", "NaT", "#NA", "(null)", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!",
];

/// The texts that mean a missing value in one data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MissingTexts {
    /// The user's texts, beside [`MISSING_TEXTS`].
    own: BTreeSet<Vec<u8>>,
    /// Whether one of them is a number such as -999, so that numbers must be compared too.
    numbers: bool,
}

impl MissingTexts {
    /// The usual texts and the given ones.
    pub(crate) fn with(own: &[String]) -> Self {
        let own: BTreeSet<Vec<u8>> = own.iter().map(|text| text.trim().as_bytes().to_vec()).collect();
        let numbers = own.iter().any(|text| crate::csv::number::whole(text).is_some());
        Self { own, numbers }
    }

    /// The user's own texts that are numbers.
    pub(crate) fn own_numbers(&self) -> Vec<f64> {
        self.own
            .iter()
            .filter_map(|text| crate::csv::number::whole(text))
            .map(|scanned| scanned.value)
            .collect()
    }

    /// Whether a cell, trimmed, is missing.
    #[inline]
    pub(crate) fn has(&self, cell: &[u8]) -> bool {
        const LONGEST: usize = 7;
        cell.is_empty()
            || (cell.len() <= LONGEST && MISSING_TEXTS.iter().any(|text| text.as_bytes() == cell))
            || (!self.own.is_empty() && self.own.contains(cell))
    }

    /// Whether a cell that is a number is missing.
    #[inline]
    pub(crate) fn has_number(&self, cell: &[u8]) -> bool {
        self.numbers && self.own.contains(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_texts_and_the_users_own() {
        let texts = MissingTexts::with(&["-999".to_owned(), " unknown ".to_owned()]);
        for text in MISSING_TEXTS.into_iter().chain(["-999", "unknown"]) {
            assert!(texts.has(text.as_bytes()), "{text}");
        }
        assert!(texts.has_number(b"-999") && !texts.has_number(b"999"));
        for text in ["No", "none", "0", "Na", "n", "na "] {
            assert!(!MissingTexts::default().has(text.as_bytes()), "{text}");
        }
    }
}
