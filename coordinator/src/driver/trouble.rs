//! Reports repeated failures to write something only when they begin and when they are over, not each time.

/// The state of one such thing.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failing: bool,
}

impl Trouble {
    /// The news for a person after writing `what` (a plural) has succeeded or failed.
    pub(super) fn note(&mut self, what: &str, written: Result<(), String>) -> Option<String> {
        match (std::mem::replace(&mut self.failing, written.is_err()), written) {
            (false, Err(error)) => Some(format!("{what} cannot be written: {error}; the training goes on")),
            (true, Ok(())) => Some(format!("{what} can be written again")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_of_once_and_so_is_its_end() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.note("the metrics", Ok(())), None);
        let full = || Err("the disk is full".to_owned());
        let note = trouble.note("the metrics", full()).unwrap();
        assert!(note.starts_with("the metrics cannot be written: the disk is full"), "{note}");
        assert!((0..1000).all(|_| trouble.note("the metrics", full()).is_none()));
        assert_eq!(trouble.note("the metrics", Ok(())).unwrap(), "the metrics can be written again");
        assert!(trouble.note("the metrics", full()).is_some());
    }
}
