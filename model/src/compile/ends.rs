//! The parts of a specification outside the layers: the data's shape, the task, the loss.

use crate::loss::Loss;
use crate::shape::Shape;
use crate::spec::{FEATURES_MAX, LAYERS_MAX, LayerSpec, LossSpec, NetworkSpec, SpecError, Task, UNITS_MAX};

/// The shape of an example. If the specification gives none and a layer sees an image, it is the square image
/// of this size, if there is one; otherwise it is a vector.
pub(super) fn input_shape(spec: &NetworkSpec, features: usize) -> Result<Shape, SpecError> {
    let Some(shape) = spec.input else {
        let sees_images = spec.layers.iter().any(LayerSpec::sees_an_image);
        return Ok(square(features).filter(|_| sees_images).unwrap_or(Shape::Vector(features)));
    };
    let values = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size as usize));
    if values != Some(features) {
        return Err(SpecError::Input { shape, features });
    }
    let [channels, height, width] = shape.map(|size| size as usize);
    Ok(Shape::Image { channels, height, width })
}

/// The checks that do not belong to one layer.
pub(super) fn check_ends(spec: &NetworkSpec, features: usize, task: Task) -> Result<(), SpecError> {
    let layers = spec.count_layers();
    if layers > LAYERS_MAX {
        return Err(SpecError::TooManyLayers { layers });
    }
    if features == 0 || features > FEATURES_MAX {
        return Err(SpecError::Features { features });
    }
    match task {
        Task::Classes(classes) if !(2..=1 << 16).contains(&classes) => {
            return Err(SpecError::Classes { classes });
        }
        Task::Numbers(columns) if !(1..=UNITS_MAX).contains(&columns) => {
            return Err(SpecError::TargetColumns { columns });
        }
        _ => {}
    }
    if !(spec.l2.is_finite() && spec.l2 >= 0.0) {
        return Err(SpecError::L2 { l2: spec.l2 });
    }
    if !(spec.l1.is_finite() && spec.l1 >= 0.0) {
        return Err(SpecError::L1 { l1: spec.l1 });
    }
    Ok(())
}

pub(super) fn compile_loss(spec: &NetworkSpec, task: Task) -> Result<Loss, SpecError> {
    let loss = spec.loss.unwrap_or(task.loss());
    let suits = match task {
        Task::Classes(_) => loss == LossSpec::SoftmaxCrossEntropy,
        Task::Numbers(_) => loss != LossSpec::SoftmaxCrossEntropy,
    };
    if !suits {
        return Err(SpecError::Loss { written: loss, suitable: task.loss() });
    }
    let settings = [
        ("label-smoothing", spec.label_smoothing != 0.0, LossSpec::SoftmaxCrossEntropy),
        ("class-weights", !spec.class_weights.is_empty(), LossSpec::SoftmaxCrossEntropy),
        ("huber-delta", spec.huber_delta.is_some(), LossSpec::Huber),
    ];
    for (setting, is_set, its_loss) in settings {
        if is_set && its_loss != loss {
            return Err(SpecError::LossSetting { setting, loss });
        }
    }
    Ok(match loss {
        LossSpec::SoftmaxCrossEntropy => {
            let (smoothing, weights) = (spec.label_smoothing, &spec.class_weights);
            if !(0.0..1.0).contains(&smoothing) {
                return Err(SpecError::LabelSmoothing { smoothing });
            }
            let right = |weight: &f32| weight.is_finite() && *weight >= 0.0;
            // If all are 0, every loss is 0 and there is nothing to learn.
            let any = weights.iter().any(|weight| *weight > 0.0);
            let fits = weights.len() == task.outputs() as usize && weights.iter().all(right) && any;
            if !(weights.is_empty() || fits) {
                return Err(SpecError::ClassWeights { classes: task.outputs() });
            }
            Loss::SoftmaxCrossEntropy { smoothing, weights: weights.clone() }
        }
        LossSpec::MeanSquaredError => Loss::MeanSquaredError,
        LossSpec::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        LossSpec::Huber => {
            let delta = spec.huber_delta.unwrap_or(1.0);
            if !(delta.is_finite() && delta > 0.0) {
                return Err(SpecError::HuberDelta { delta });
            }
            Loss::Huber { delta }
        }
    })
}

/// The square image, gray or with three colors, that has this many values.
fn square(values: usize) -> Option<Shape> {
    [1, 3].into_iter().find_map(|channels| {
        let side = (values / channels).isqrt();
        let shape = Shape::Image { channels, height: side, width: side };
        (shape.len() == values).then_some(shape)
    })
}
