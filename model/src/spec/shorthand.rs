//! Shorthands for common networks.

use super::{
    Activation, Conv2dSpec, DenseSpec, LAYERS_MAX, LayerSpec, NetworkSpec, Padding, PoolSpec, Position,
    SpecError,
};

impl NetworkSpec {
    /// Reads the shorthand: `mlp:128,64` for two dense layers with relu, `linear` (or `mlp:`) for no hidden
    /// layer, `cnn:8,16` for two convolutions (5 x 5 windows, padding `same`, relu) of 8 and 16 channels,
    /// each followed by max-pooling by 2, and `lenet`, after LeCun, Bottou, Bengio and Haffner (1998),
    /// "Gradient-Based Learning Applied to Document Recognition", with relu and max-pooling.
    /// `mlp:128,64:tanh`, `cnn:8:tanh` and `mlp:8:leaky-relu:0.3` have another activation.
    pub fn from_shorthand(shorthand: &str) -> Result<NetworkSpec, SpecError> {
        let layers = match shorthand.split_once(':') {
            None if shorthand == "linear" => Vec::new(),
            None if shorthand == "lenet" => lenet(),
            Some(("mlp", rest)) => {
                let (widths, activation) = widths(rest, "units; write for example mlp:128,64", 1)?;
                widths.into_iter().map(|units| dense(units, activation)).collect()
            }
            Some(("cnn", rest)) => {
                let (widths, activation) = widths(rest, "channels; write for example cnn:8,16", 2)?;
                let pair = |channels| [conv2d(channels, 5, Padding::Same, activation), max_pool(2)];
                widths.into_iter().flat_map(pair).collect()
            }
            _ => return Err(SpecError::Shorthand { shorthand: shorthand.to_owned() }),
        };
        Ok(NetworkSpec { layers, ..NetworkSpec::default() })
    }
}

/// Parses `8,16:tanh`: numbers of `unit`, each for `layers` layers, and an activation.
fn widths(text: &str, unit: &'static str, layers: usize) -> Result<(Vec<u32>, Activation), SpecError> {
    let (numbers, activation) = match text.split_once(':') {
        None => (text, Activation::default()),
        Some((numbers, name)) => {
            let name = name.trim();
            (numbers, Activation::from_name(name)?)
        }
    };
    let count = if numbers.trim().is_empty() { 0 } else { numbers.split(',').count() };
    if count * layers > LAYERS_MAX {
        return Err(SpecError::TooManyLayers { layers: count * layers });
    }
    let number = |(i, text): (usize, &str)| {
        let layer = Position::top(i * layers + 1);
        let wrong = |_| SpecError::NotAWidth { layer, text: text.trim().to_owned(), unit };
        text.trim().parse().map_err(wrong)
    };
    let widths = numbers.split(',').take(count).enumerate().map(number).collect::<Result<_, _>>()?;
    Ok((widths, activation))
}

fn lenet() -> Vec<LayerSpec> {
    let relu = Activation::Relu;
    vec![
        conv2d(6, 5, Padding::Same, relu),
        max_pool(2),
        conv2d(16, 5, Padding::Valid, relu),
        max_pool(2),
        dense(120, relu),
        dense(84, relu),
    ]
}

fn dense(units: u32, activation: Activation) -> LayerSpec {
    LayerSpec::Dense(DenseSpec { units, activation, initializer: None })
}

fn conv2d(channels: u32, kernel: u32, padding: Padding, activation: Activation) -> LayerSpec {
    let (stride, groups, initializer) = (1, 1, None);
    LayerSpec::Conv2d(Conv2dSpec { channels, kernel, stride, padding, groups, activation, initializer })
}

fn max_pool(size: u32) -> LayerSpec {
    LayerSpec::MaxPool(PoolSpec { size, stride: None, padding: Padding::Valid })
}
