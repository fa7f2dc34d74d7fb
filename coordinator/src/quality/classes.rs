//! The quality of predicted classes.

use std::collections::BTreeMap;

use model::likeliest;
use protocol::examination::{BINS, Bin, Layout, bin_of};
use serde::Serialize;

use super::ranking::{Area, Scored, area_of, area_under_roc};

/// Most probabilities that are kept to find the areas under ROC curves: 256 MB. With more there are no areas.
const SCORES_MAX: usize = 1 << 26;
/// Most classes that the JSON lists one by one.
const LISTED_MAX: usize = 1000;

/// The quality of predicted classes. Precision, recall and F1 of a class that is never named (or never right) are
/// 0, as in scikit-learn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassQuality {
    /// Share of the examples predicted correctly.
    pub accuracy: f64,
    /// Mean recall over the classes that occur.
    pub balanced_accuracy: f64,
    /// Mean of -ln of the probability given to the true class.
    pub log_loss: f64,
    /// Area under the ROC curve: of the second class where there are two, else the mean over the classes, each
    /// against all others, that are defined. `None` if none is, or if there are too many probabilities to sort.
    pub roc_auc: Option<f64>,
    /// The same mean, weighted by the classes' examples.
    pub roc_auc_weighted: Option<f64>,
    /// No area is farther than this from the exact one, where volunteers have counted the probabilities in steps; `None`
    /// where all are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc_within: Option<f64>,
    /// How far the probability of the predicted class is from the share that is right: mean of the absolute
    /// difference over 15 bins of equal width, weighted by their examples.
    pub expected_calibration_error: f64,
    /// Means over the classes that occur or are named.
    #[serde(rename = "macro")]
    pub macro_mean: Means,
    /// Means weighted by the classes' examples.
    #[serde(rename = "weighted")]
    pub weighted_mean: Means,
    /// What comes of an answer that ignores the example.
    pub most_frequent: NamingClass,
    /// The classes' names in the order of their numbers.
    pub classes: Vec<String>,
    /// The figures of each class; empty for very many classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_class: Vec<ClassFigures>,
    /// Rows are the true class, columns the predicted one; left out for very many classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// The same as counts by (true, predicted).
    #[serde(skip)]
    pub pairs: BTreeMap<(usize, usize), u64>,
}

/// Means over classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Means {
    /// Of the precisions.
    pub precision: f64,
    /// Of the recalls.
    pub recall: f64,
    /// Of the F1 scores.
    pub f1: f64,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Examples that belong to it.
    pub examples: u64,
    /// Share of the examples said to belong to it that do.
    pub precision: f64,
    /// Share of its examples that are recognized.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Area under the ROC curve against all other classes.
    pub roc_auc: Option<f64>,
}

/// The answer that ignores the example and is the best on these very examples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamingClass {
    /// The most frequent class.
    pub class: String,
    /// The accuracy of always naming it.
    pub accuracy: f64,
    /// The log-loss of always answering with the classes' shares as probabilities: the entropy of the shares.
    pub log_loss: f64,
}

/// Sums over examples.
#[derive(Debug)]
pub(crate) struct ClassTally {
    classes: usize,
    pairs: BTreeMap<(usize, usize), u64>,
    /// For each of the classes that have a ROC curve of their own.
    scores: Vec<Vec<Scored>>,
    bins: [Bin; BINS],
}

/// Sums over all examples.
struct Sums {
    classes: usize,
    pairs: BTreeMap<(usize, usize), u64>,
    /// One for each class.
    areas: Vec<Option<Area>>,
    bins: [Bin; BINS],
}

impl ClassTally {
    pub(crate) fn new(classes: usize, examples: usize) -> Self {
        let has_areas = classes > 1 && classes.saturating_mul(examples) <= SCORES_MAX;
        let curves = if has_areas { classes } else { 0 };
        let scores = (0..curves).map(|_| Vec::with_capacity(examples)).collect();
        Self { classes, pairs: BTreeMap::new(), scores, bins: [Bin::default(); BINS] }
    }

    /// Adds examples: their classes, and their probabilities, row-major.
    pub(crate) fn add(&mut self, truth: &[u16], probabilities: &[f32]) {
        for (&truth, probabilities) in truth.iter().zip(probabilities.chunks_exact(self.classes)) {
            let (truth, named) = (usize::from(truth), likeliest(probabilities));
            *self.pairs.entry((truth, named)).or_default() += 1;
            for (class, (scored, &probability)) in self.scores.iter_mut().zip(probabilities).enumerate() {
                scored.push((probability, class == truth));
            }
            let bin = &mut self.bins[bin_of(probabilities[named])];
            bin.examples += 1;
            bin.correct += u64::from(named == truth);
            bin.confidence += f64::from(probabilities[named]);
        }
    }

    pub(crate) fn finish(self, names: &[String], log_loss: f64) -> ClassQuality {
        let Self { classes, pairs, scores, bins } = self;
        let mut areas: Vec<Option<Area>> =
            scores.into_iter().map(|mut scored| area_under_roc(&mut scored)).collect();
        areas.resize(classes, None);
        Sums { classes, pairs, areas, bins }.finish(names, log_loss)
    }
}

/// The quality as volunteers have counted it: `vector` is that of an examination of this layout.
pub(super) fn counted(layout: Layout, vector: &[i64], names: &[String], log_loss: f64) -> ClassQuality {
    let classes = names.len();
    let cells = layout.matrix(vector).iter().enumerate().filter(|(_, count)| **count > 0);
    let pairs = cells.map(|(cell, count)| ((cell / classes, cell % classes), count.unsigned_abs())).collect();
    let count = |count: i64| usize::try_from(count).unwrap_or(0);
    let of_table = |table: &[i64]| area_of(table.chunks(2).map(|step| (count(step[0]), count(step[1]))));
    let mut areas: Vec<Option<Area>> = layout.tables(vector).map(of_table).collect();
    // Of two classes, the areas are equal.
    areas.resize(classes, areas.first().copied().flatten());
    let within = areas.iter().flatten().map(|area| area.of_equal).reduce(f64::max);
    let quality = Sums { classes, pairs, areas, bins: layout.bins(vector) }.finish(names, log_loss);
    ClassQuality { roc_auc_within: within, ..quality }
}

impl Sums {
    fn finish(self, names: &[String], log_loss: f64) -> ClassQuality {
        let Self { classes, pairs, areas, bins } = self;
        let areas: Vec<Option<f64>> = areas.into_iter().map(|area| area.map(|area| area.share)).collect();
        let (mut right, mut occurs, mut named) =
            (vec![0_u64; classes], vec![0_u64; classes], vec![0_u64; classes]);
        for (&(truth, answer), &count) in &pairs {
            occurs[truth] += count;
            named[answer] += count;
            right[truth] += if truth == answer { count } else { 0 };
        }
        let by_class: Vec<ClassFigures> = (0..classes)
            .map(|class| ClassFigures {
                class: names[class].clone(),
                examples: occurs[class],
                precision: share(right[class], named[class]),
                recall: share(right[class], occurs[class]),
                // 2 P R / (P + R) in counts.
                f1: share(2 * right[class], named[class] + occurs[class]),
                roc_auc: areas[class],
            })
            .collect();
        let examples: u64 = occurs.iter().sum();
        let weights = || occurs.iter().map(|&count| count as f64);
        let counts = |class: usize| f64::from(u8::from(occurs[class] > 0 || named[class] > 0));
        let present = || occurs.iter().map(|&count| f64::from(u8::from(count > 0)));
        let most = (0..classes).rev().max_by_key(|&class| occurs[class]).unwrap_or(0);
        let entropy = |&count: &u64| match share(count, examples) {
            0.0 => 0.0,
            share => -share * share.ln(),
        };
        ClassQuality {
            accuracy: share(right.iter().sum(), examples),
            balanced_accuracy: mean(by_class.iter().map(|figures| Some(figures.recall)).zip(present()))
                .unwrap_or(0.0),
            log_loss,
            roc_auc: match &areas[..] {
                [_, second] => *second,
                areas => mean(areas.iter().copied().zip(std::iter::repeat(1.0))),
            },
            roc_auc_weighted: match &areas[..] {
                [_, second] => *second,
                areas => mean(areas.iter().copied().zip(weights())),
            },
            roc_auc_within: None,
            expected_calibration_error: calibration_error(&bins, examples),
            macro_mean: Means::of(&by_class, (0..classes).map(counts)),
            weighted_mean: Means::of(&by_class, weights()),
            most_frequent: NamingClass {
                class: names[most].clone(),
                accuracy: share(occurs[most], examples),
                log_loss: occurs.iter().map(entropy).sum(),
            },
            confusion: (classes <= LISTED_MAX).then(|| matrix(&pairs, classes)),
            by_class: if classes <= LISTED_MAX { by_class } else { Vec::new() },
            classes: names.to_vec(),
            pairs,
        }
    }
}

impl Means {
    fn of(classes: &[ClassFigures], weights: impl Iterator<Item = f64> + Clone) -> Self {
        let of = |figure: fn(&ClassFigures) -> f64| {
            mean(classes.iter().map(|class| Some(figure(class))).zip(weights.clone())).unwrap_or(0.0)
        };
        Self {
            precision: of(|class| class.precision),
            recall: of(|class| class.recall),
            f1: of(|class| class.f1),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The weighted mean of the values there are.
fn mean(values: impl Iterator<Item = (Option<f64>, f64)>) -> Option<f64> {
    let known = values.filter_map(|(value, weight)| value.map(|value| (value, weight)));
    let (sum, weights) =
        known.fold((0.0, 0.0), |(sum, weights), (value, weight)| (sum + weight * value, weights + weight));
    (weights > 0.0).then(|| sum / weights)
}

fn calibration_error(bins: &[Bin], examples: u64) -> f64 {
    let error = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
    bins.iter().map(error).sum::<f64>() / examples.max(1) as f64
}

fn matrix(pairs: &BTreeMap<(usize, usize), u64>, classes: usize) -> Vec<Vec<u64>> {
    let mut matrix = vec![vec![0; classes]; classes];
    for (&(truth, predicted), &examples) in pairs {
        matrix[truth][predicted] = examples;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("c{class}")).collect()
    }

    #[test]
    fn who_names_the_frequent_class_only_is_seen_through() {
        // 98 of one class, all recognized; 2 of another, none recognized; a third without examples.
        let mut tally = ClassTally::new(3, 100);
        let truth: Vec<u16> = (0..100).map(|index| u16::from(index >= 98)).collect();
        tally.add(&truth, &[0.9, 0.1, 0.0].repeat(100));
        let quality = tally.finish(&names(3), 0.1);
        assert_eq!((quality.accuracy, quality.most_frequent.accuracy), (0.98, 0.98));
        assert_eq!(quality.balanced_accuracy, 0.5);
        assert_eq!(quality.roc_auc, Some(0.5));
        assert_eq!(quality.by_class[1].f1, 0.0);
    }

    #[test]
    fn without_examples_nothing_is_divided_by_zero() {
        let quality = ClassTally::new(2, 0).finish(&names(2), 0.0);
        assert_eq!((quality.accuracy, quality.roc_auc), (0.0, None));
        assert_eq!(quality.most_frequent.log_loss, 0.0);
    }

    #[test]
    fn so_many_classes_that_no_screen_holds_them_are_not_listed() {
        let mut tally = ClassTally::new(LISTED_MAX + 1, 1);
        tally.add(&[3], &vec![0.0; LISTED_MAX + 1]);
        let quality = tally.finish(&names(LISTED_MAX + 1), 0.0);
        assert!(quality.confusion.is_none() && quality.by_class.is_empty());
        assert_eq!(quality.pairs[&(3, 0)], 1);
    }
}
