//! The figures of an accepted point, and the engine's counters.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The figures of a point: its losses and accuracies. Checkpoint, metrics, status and outcome all contain
/// this struct.
///
/// JSON shows `null` for a number that is unknown or not finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Mean data loss over the training examples of the round; those of local steps are measured on the way,
    /// and where several learning rates are tried from the start point, those of the best.
    #[serde(default = "nan", deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// What the optimizer minimizes: `train_loss` plus the penalty.
    #[serde(default = "nan", deserialize_with = "number_or_null")]
    pub objective: f64,
    /// Mean data loss over the whole training set at the point itself, in inference; `None` where that was
    /// not measured, or if it is not finite.
    pub training_set_loss: Option<f64>,
    /// Mean loss over the validation examples; `None` without a validation set, where the point was not
    /// evaluated, or if it is not finite.
    pub validation_loss: Option<f64>,
    /// Share of the validation examples predicted correctly, 0 to 1; for classes.
    pub validation_accuracy: Option<f64>,
    /// The same two over the test examples.
    pub test_loss: Option<f64>,
    /// See `test_loss`.
    pub test_accuracy: Option<f64>,
}

impl Figures {
    /// No figure is known: JSON shows `null` for each.
    pub const UNKNOWN: Figures = Figures {
        train_loss: f64::NAN,
        objective: f64::NAN,
        training_set_loss: None,
        validation_loss: None,
        validation_accuracy: None,
        test_loss: None,
        test_accuracy: None,
    };

    /// Takes an evaluation that this point lacks from an `earlier` point.
    pub fn or(self, earlier: Figures) -> Figures {
        Figures {
            training_set_loss: self.training_set_loss.or(earlier.training_set_loss),
            validation_loss: self.validation_loss.or(earlier.validation_loss),
            validation_accuracy: self.validation_accuracy.or(earlier.validation_accuracy),
            test_loss: self.test_loss.or(earlier.test_loss),
            test_accuracy: self.test_accuracy.or(earlier.test_accuracy),
            ..self
        }
    }

    /// Serializes a flattened field with all keys. Without a point each value is `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_known<S: Serializer>(known: &Option<Figures>, serializer: S) -> Result<S::Ok, S::Error> {
        known.unwrap_or(Figures::UNKNOWN).serialize(serializer)
    }
}

fn nan() -> f64 {
    f64::NAN
}

/// Reads JSON's `null` as a number that is not finite. A checkpoint holds such numbers themselves.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    if deserializer.is_human_readable() {
        Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
    } else {
        f64::deserialize(deserializer)
    }
}

/// An accepted point and how good it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Accepted steps so far; 0 is the start point.
    pub iteration: u64,
    /// Rounds that led to it, none to the start point. The one that found out how good it is does not count.
    pub rounds: u64,
    /// Passes over the training data that led to it, counted likewise.
    pub epochs: f64,
    /// How good it is.
    pub figures: Figures,
    /// Euclidean norm of the objective's gradient, or of the mean displacement of local steps.
    pub gradient_norm: f64,
    /// Step length along the search direction; 0 for the start point.
    pub step: f64,
}

/// What the engine counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Rounds completed; evaluations ride along and count nothing.
    pub rounds: u64,
    /// Training examples gone through, each as often as it was: divided by the size of the training set,
    /// epochs.
    pub examples: u64,
    /// Versions of the weights sent out.
    pub version: u64,
    /// Rounds opened, restarts included: the last round's number.
    pub round: u64,
    /// The last assignment's number.
    pub assignment: u64,
}

impl Counters {
    /// Passes over a training set of so many examples.
    pub fn epochs(&self, examples: u32) -> f64 {
        self.examples as f64 / f64::from(examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        train_loss: 0.5,
        objective: f64::INFINITY,
        training_set_loss: Some(0.25),
        validation_accuracy: Some(0.9),
        ..Figures::UNKNOWN
    };

    #[derive(Serialize)]
    struct Report {
        iteration: u64,
        #[serde(flatten, serialize_with = "Figures::serialize_known")]
        figures: Option<Figures>,
    }

    #[test]
    fn json_has_every_key_whatever_is_known() {
        let json = |figures| serde_json::to_value(Report { iteration: 3, figures }).unwrap();
        let keys = |json: &serde_json::Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let (known, unknown) = (json(Some(FIGURES)), json(None));
        assert_eq!(keys(&known), keys(&unknown));
        assert_eq!((&known["train_loss"], &known["training_set_loss"]), (&0.5.into(), &0.25.into()));
        assert!(known["objective"].is_null() && known["test_loss"].is_null());
        let nothing = unknown.as_object().unwrap().iter().filter(|(_, value)| value.is_null()).count();
        assert_eq!(nothing, 7);
    }

    #[test]
    fn figures_are_read_back_from_json_that_lacks_some() {
        let read: Figures =
            serde_json::from_str(r#"{"train_loss":null,"test_loss":2.5,"seconds":9}"#).unwrap();
        assert!(read.train_loss.is_nan() && read.objective.is_nan());
        assert_eq!((read.test_loss, read.test_accuracy), (Some(2.5), None));
    }

    /// A checkpoint contains these bytes: whoever changes them raises the checkpoint's version.
    #[test]
    fn an_accepted_point_has_the_bytes_that_checkpoints_have() {
        let point = Accepted {
            iteration: 3,
            rounds: 4,
            epochs: 1.5,
            figures: FIGURES,
            gradient_norm: 2.0,
            step: 1.0,
        };
        let (none, some) = (&[0u8][..], &[1u8][..]);
        let [epochs, train_loss, objective, training_set_loss, accuracy, norm, step] =
            [1.5, 0.5, f64::INFINITY, 0.25, 0.9, 2.0, 1.0].map(f64::to_le_bytes);
        let expected: [&[u8]; 13] = [
            &[3, 4],
            &epochs,
            &train_loss,
            &objective,
            some,
            &training_set_loss,
            none,
            some,
            &accuracy,
            none,
            none,
            &norm,
            &step,
        ];
        assert_eq!(postcard::to_allocvec(&point).unwrap(), expected.concat());
    }

    #[test]
    fn a_checkpoint_keeps_numbers_that_are_not_finite() {
        let bytes = postcard::to_allocvec(&FIGURES).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(FIGURES));
    }

    #[test]
    fn figures_of_an_earlier_point_stand_in_for_evaluations_only() {
        let earlier =
            Figures { train_loss: 9.0, test_loss: Some(7.0), training_set_loss: Some(8.0), ..FIGURES };
        let expected = Figures { test_loss: Some(7.0), ..FIGURES };
        assert_eq!(FIGURES.or(earlier), expected);
    }
}
