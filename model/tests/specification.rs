//! Descriptions of networks as people write them: the valid ones, and the messages for the others.

use model::{
    Activation, DEPTH_MAX, DenseSpec, Initializer, LAYERS_MAX, LayerSpec, LossSpec, Network, NetworkSpec,
    ParameterKind, ResidualSpec, Shape, Shortcut, Slope, SpecError, Task, weights_digest,
};

fn dense(units: u32, activation: Activation) -> LayerSpec {
    LayerSpec::Dense(DenseSpec { units, activation, initializer: None })
}

#[test]
fn shorthands() {
    let layers = |shorthand: &str| NetworkSpec::from_shorthand(shorthand).unwrap().layers;
    assert_eq!(layers("mlp:128,64"), [dense(128, Activation::Relu), dense(64, Activation::Relu)]);
    assert_eq!(layers("mlp:128, 64:tanh"), [dense(128, Activation::Tanh), dense(64, Activation::Tanh)]);
    assert_eq!(layers("mlp:8:leaky-relu"), [dense(8, Activation::LeakyRelu(Slope::USUAL))]);
    let slope = Slope::new(0.3).unwrap();
    assert_eq!(layers("mlp:8:leaky-relu:0.3"), [dense(8, Activation::LeakyRelu(slope))]);
    assert_eq!(layers("mlp:"), []);
    assert_eq!(layers("linear"), []);
}

#[test]
fn json_there_and_back() {
    let spec = NetworkSpec::from_json(
        r#"{"layers": [{"kind": "dense", "units": 20}, {"kind": "dense", "units": 5, "activation": "sigmoid"}],
            "l2": 0.0001, "loss": "mean-squared-error", "input": [1, 2, 3]}"#,
    )
    .unwrap();
    assert_eq!(spec.layers, [dense(20, Activation::Relu), dense(5, Activation::Sigmoid)]);
    assert_eq!((spec.l2, spec.loss), (0.0001, Some(LossSpec::MeanSquaredError)));
    assert_eq!(spec.input, Some([1, 2, 3]));
    assert_eq!(NetworkSpec::from_json(&spec.to_json()), Ok(spec));
    assert_eq!(NetworkSpec::from_json("{}"), Ok(NetworkSpec::default()));
}

/// A setting that has its default leaves no trace, so that the bytes of a network without it never change.
#[test]
fn settings_are_written_only_where_they_differ_from_the_default() {
    for layer in [
        r#"{"kind":"layer-norm"}"#,
        r#"{"kind":"batch-norm"}"#,
        r#"{"kind":"layer-norm","epsilon":0.001}"#,
        r#"{"kind":"batch-norm","epsilon":0.001}"#,
        r#"{"kind":"activation","function":"leaky-relu"}"#,
        r#"{"kind":"max-pool","size":2}"#,
        r#"{"kind":"average-pool","size":3,"stride":2,"padding":1}"#,
        r#"{"kind":"activation","function":"leaky-relu:0.3"}"#,
    ] {
        let spec = NetworkSpec::from_json(&format!(r#"{{"layers": [{layer}]}}"#)).unwrap();
        assert!(spec.to_json().contains(layer), "{} without {layer}", spec.to_json());
    }
    let usual = r#"{"layers": [{"kind": "layer-norm", "epsilon": 0.00001}, {"kind": "activation", "function": "leaky-relu:0.01"}]}"#;
    let usual = NetworkSpec::from_json(usual).unwrap().to_json();
    assert!(
        usual.contains(r#"{"kind":"layer-norm"},{"kind":"activation","function":"leaky-relu"}"#),
        "{usual}"
    );
}

/// The message for each mistake is one sentence that gives the place and the remedy.
#[test]
fn mistakes_are_named() {
    let shorthand = |text: &str| NetworkSpec::from_shorthand(text).unwrap_err().to_string();
    assert_eq!(
        shorthand("mpl:3"),
        "unknown model \"mpl:3\": write mlp:128,64 (or mlp:128,64:tanh), cnn:8,16, lenet, linear, or name a \
         .toml or .json file"
    );
    assert_eq!(shorthand("mlp:8,x"), "layer 2: \"x\" is not a number of units; write for example mlp:128,64");
    assert_eq!(
        shorthand("mlp:8,-3"),
        "layer 2: \"-3\" is not a number of units; write for example mlp:128,64"
    );
    assert_eq!(
        shorthand("mlp:8:swish"),
        "unknown activation \"swish\": use relu, leaky-relu, tanh, sigmoid, gelu, silu, softplus or none"
    );
    for slope in ["0", "-0.1", "1e-50", "nan", "inf", "2000", "", "0.3:1"] {
        let named = format!(
            "leaky-relu:{slope} is not allowed; use a slope above 0, at most 1000, such as leaky-relu:0.3"
        );
        assert_eq!(shorthand(&format!("mlp:8:leaky-relu:{slope}")), named);
    }
    assert_eq!(
        shorthand(&format!("mlp:{}", ["1"; 257].join(","))),
        "257 hidden layers are too many: use at most 256"
    );

    let json = |text: &str| NetworkSpec::from_json(text).unwrap_err().to_string();
    for (text, named) in [
        (r#"{"layer": []}"#, "`layer`"),
        (r#"{"layers": [{"kind": "dens", "units": 3}]}"#, "`dens`"),
        (r#"{"layers": [{"kind": "dense", "units": 3, "activaton": "relu"}]}"#, "`activaton`"),
        (r#"{"layers": [{"kind": "dense"}]}"#, "`units`"),
        (r#"{"layers": [{"kind": "dense", "units": 3, "activation": "relu:0.1"}]}"#, "`relu:0.1`"),
        (
            r#"{"layers": [{"kind": "dense", "units": 3, "activation": "leaky-relu:0"}]}"#,
            "leaky-relu:0 is not allowed",
        ),
        (r#"{"layers": [{"kind": "layer-norm", "eps": 0.1}]}"#, "`eps`"),
        (r#"{"layers": ["#, "line 1"),
    ] {
        let message = json(text);
        assert!(message.contains(named), "{message} should name {named}");
    }

    for kind in ["flatten", "global-max-pool", "global-average-pool"] {
        let text = format!(r#"{{"layers": [{{"kind": "{kind}", "size": 2}}]}}"#);
        assert_eq!(
            json(&text).split(" at line").next(),
            Some(
                format!("the model specification is not valid: {kind} has no settings; leave `size` out")
                    .as_str()
            )
        );
        assert!(NetworkSpec::from_json(&text.replace(r#", "size": 2"#, "")).is_ok());
    }

    let network = |text: &str, features, task| {
        Network::new(&NetworkSpec::from_shorthand(text).unwrap(), features, task).unwrap_err().to_string()
    };
    assert_eq!(network("mlp:8,0", 4, Task::Classes(2)), "layer 2: 0 units are not allowed; use 1 to 1048576");
    assert_eq!(
        network("mlp:8,2000000", 4, Task::Classes(2)),
        "layer 2: 2000000 units are not allowed; use 1 to 1048576"
    );
    assert_eq!(
        network("mlp:100000,100000", 784, Task::Classes(10)),
        "layer 2: 100000 inputs times 100000 units bring the network to 10078600000 parameters, more than \
         268435456; use fewer units"
    );
    assert_eq!(
        network("linear", 0, Task::Classes(2)),
        "the data has 0 features; a network needs 1 to 16777216"
    );
    assert_eq!(
        network("linear", 4, Task::Classes(1)),
        "the data has 1 classes; classification needs 2 to 65536 (is the label column right?)"
    );
    assert_eq!(
        network("linear", 4, Task::Numbers(0)),
        "the data has 0 target columns; a network needs 1 to 1048576"
    );

    for shape in [[3, 5, 5], [0, 5, 5], [u32::MAX; 3]] {
        let spec = NetworkSpec { input: Some(shape), ..NetworkSpec::default() };
        assert_eq!(
            Network::new(&spec, 25, Task::Classes(2)).unwrap_err().to_string(),
            format!(
                "input: {shape:?} does not hold the 25 features of the data; use channels, height and width with that product"
            )
        );
    }

    let with = |l2: f32, loss| {
        let spec = NetworkSpec { l2, loss, ..NetworkSpec::default() };
        Network::new(&spec, 4, Task::Classes(3)).unwrap_err().to_string()
    };
    for l2 in [-1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(
            with(l2, None),
            format!("l2 = {l2} is not allowed; use 0 or a small positive number such as 0.0001")
        );
    }
    assert_eq!(
        with(0.0, Some(LossSpec::MeanSquaredError)),
        "loss mean-squared-error does not suit these targets; leave it out or write softmax-cross-entropy"
    );
}

/// Mistakes in the settings of losses, penalties and initializers.
#[test]
fn wrong_settings_are_named() {
    let answer = |json: &str, task| {
        Network::new(&NetworkSpec::from_json(json).unwrap(), 4, task).unwrap_err().to_string()
    };
    let (classes, numbers) = (Task::Classes(3), Task::Numbers(2));
    for (json, task, wanted) in [
        (r#"{"l1": -1}"#, classes, "l1 = -1 is not allowed; use 0 or a small positive number such as 0.0001"),
        (
            r#"{"label_smoothing": 1}"#,
            classes,
            "label-smoothing = 1 is not allowed; use 0 or a number below 1 such as 0.1",
        ),
        (
            r#"{"class_weights": [1, 2]}"#,
            classes,
            "class-weights must be one positive number (or 0, but not all of them) for each of the 3 classes",
        ),
        (
            r#"{"class_weights": [0, 0, 0]}"#,
            classes,
            "class-weights must be one positive number (or 0, but not all of them) for each of the 3 classes",
        ),
        (
            r#"{"class_weights": [1, 2, -1]}"#,
            classes,
            "class-weights must be one positive number (or 0, but not all of them) for each of the 3 classes",
        ),
        (
            r#"{"loss": "huber", "huber_delta": 0}"#,
            numbers,
            "huber-delta = 0 is not allowed; use a positive number such as 1",
        ),
        (
            r#"{"huber_delta": 1}"#,
            numbers,
            "huber-delta does not apply to the loss mean-squared-error; leave it out",
        ),
        (
            r#"{"label_smoothing": 0.1}"#,
            numbers,
            "label-smoothing does not apply to the loss mean-squared-error; leave it out",
        ),
        (
            r#"{"class_weights": [1, 1], "loss": "binary-cross-entropy"}"#,
            numbers,
            "class-weights does not apply to the loss binary-cross-entropy; leave it out",
        ),
        (
            r#"{"loss": "huber"}"#,
            classes,
            "loss huber does not suit these targets; leave it out or write softmax-cross-entropy",
        ),
        (
            r#"{"layers": [{"kind": "dense", "units": 9000}, {"kind": "dense", "units": 9000, "initializer": "orthogonal"}]}"#,
            classes,
            "layer 2: orthogonal weights for 9000 inputs and 9000 units take too long; use another initializer",
        ),
        // Each layer alone would be allowed: the limit is on the whole network.
        (
            r#"{"layers": [{"kind": "dense", "units": 1600}, {"kind": "dense", "units": 1600, "initializer": "orthogonal"},
                {"kind": "dense", "units": 1600, "initializer": "orthogonal"}]}"#,
            classes,
            "layer 3: orthogonal weights for 1600 inputs and 1600 units take too long; use another initializer",
        ),
    ] {
        assert_eq!(answer(json, task), wanted);
    }
}

/// Layers that do not fit their input shape, and settings out of range.
#[test]
fn layers_that_do_not_fit_are_named_with_their_shapes() {
    let answer = |input: Option<[u32; 3]>, layers: &str| {
        let spec = NetworkSpec::from_json(&format!("{{\"layers\": [{layers}]}}")).unwrap();
        let spec = NetworkSpec { input, ..spec };
        Network::new(&spec, 60, Task::Classes(2)).unwrap_err().to_string()
    };
    let conv2d = |settings: &str| format!(r#"{{"kind": "conv2d", {settings}}}"#);
    let image = Some([3, 4, 5]);
    for (input, layers, wanted) in [
        (
            None,
            conv2d(r#""channels": 2, "kernel": 3"#),
            "layer 1: conv2d needs an image but gets 60 values without a shape; write input = [channels, \
             height, width], and put dense, global and flatten layers after it",
        ),
        (
            image,
            r#"{"kind": "flatten"}, {"kind": "max-pool", "size": 2}"#.to_owned(),
            "layer 2: pooling needs an image but gets 60 values without a shape; write input = [channels, \
             height, width], and put dense, global and flatten layers after it",
        ),
        (
            image,
            conv2d(r#""channels": 2, "kernel": 5"#),
            "layer 1: a window of 5x5 does not fit the image of 3x4x5; use a smaller one",
        ),
        (
            image,
            r#"{"kind": "max-pool", "size": 2}, {"kind": "average-pool", "size": 3}"#.to_owned(),
            "layer 2: a window of 3x3 does not fit the image of 3x2x2; use a smaller one",
        ),
        (
            image,
            r#"{"kind": "max-pool", "size": 2, "padding": 2}"#.to_owned(),
            "layer 1: padding = 2 is not allowed; use 0 to 1",
        ),
        (
            image,
            conv2d(r#""channels": 4, "kernel": 3, "groups": 3"#),
            "layer 1: 3 channels in and 4 out cannot be split into 3 equal groups; choose a number that divides both",
        ),
        (
            image,
            conv2d(r#""channels": 4, "kernel": 3, "groups": 0"#),
            "layer 1: 3 channels in and 4 out cannot be split into 0 equal groups; choose a number that divides both",
        ),
        (image, conv2d(r#""channels": 4, "kernel": 0"#), "layer 1: kernel = 0 is not allowed; use 1 to 1024"),
        (
            image,
            conv2d(r#""channels": 4, "kernel": 3, "padding": 3"#),
            "layer 1: padding = 3 is not allowed; use 0 to 2",
        ),
        (
            image,
            conv2d(r#""channels": 1048576, "kernel": 1024, "padding": 1023"#),
            "layer 1: 4405587900466 values for each example are more than 67108864; use fewer channels, a smaller \
             window or a larger stride",
        ),
        (
            image,
            r#"{"kind": "conv2d", "channels": 65, "kernel": 1}, {"kind": "max-pool", "size": 1024, "stride": 1, "padding": 1023}"#
                .to_owned(),
            "layer 2: 68624140 values for each example are more than 67108864; use fewer channels, a smaller window or a \
             larger stride",
        ),
        // Four windows over a small image, but padded to millions of places, and as many weights to rotate.
        (
            image,
            conv2d(r#""channels": 17, "kernel": 1024, "padding": 1023, "stride": 1024"#),
            "layer 1: 113246368 values for each example are more than 67108864; use fewer channels, a smaller \
             window or a larger stride",
        ),
        (
            image,
            r#"{"kind": "residual", "layers": [{"kind": "conv2d", "channels": 3, "kernel": 3}]}"#.to_owned(),
            "layer 1: the block turns 3x4x5 into 3x2x3, and the two cannot be added; write shortcut = \
             \"projection\"",
        ),
        (
            image,
            r#"{"kind": "residual", "shortcut": "projection", "layers": [
                {"kind": "conv2d", "channels": 3, "kernel": 2}]}"#.to_owned(),
            "layer 1: the block turns 3x4x5 into 3x3x4, and no stride of the shortcut does the same; give its convolutions \
             padding = \"same\"",
        ),
        (
            image,
            r#"{"kind": "layer-norm"}, {"kind": "residual", "layers": [{"kind": "flatten"}, {"kind": "max-pool", "size": 2}]}"#
                .to_owned(),
            "layer 2.2: pooling needs an image but gets 60 values without a shape; write input = [channels, \
             height, width], and put dense, global and flatten layers after it",
        ),
        (
            image,
            r#"{"kind": "residual", "layers": []}"#.to_owned(),
            "layer 1: a residual block needs at least one layer",
        ),
        (
            None,
            r#"{"kind": "dense", "units": 2}, {"kind": "layer-norm", "epsilon": 0}"#.to_owned(),
            "layer 2: epsilon = 0 is not allowed; use a number above 0, at most 1, such as 0.001",
        ),
        (
            image,
            r#"{"kind": "batch-norm", "epsilon": 1.5}"#.to_owned(),
            "layer 1: epsilon = 1.5 is not allowed; use a number above 0, at most 1, such as 0.001",
        ),
        (
            None,
            r#"{"kind": "dropout", "rate": 1}"#.to_owned(),
            "layer 1: rate = 1 is not allowed; use 0 to 0.9999, for example 0.5",
        ),
        (
            None,
            r#"{"kind": "dropout", "rate": -0.1}"#.to_owned(),
            "layer 1: rate = -0.1 is not allowed; use 0 to 0.9999, for example 0.5",
        ),
        (
            None,
            r#"{"kind": "dropout", "rate": 0.5}, {"kind": "embedding", "vocabulary": 5, "width": 2}"#.to_owned(),
            "layer 2: an embedding can only be the first layer, because it looks up the columns of the data; move it there",
        ),
        (
            None,
            r#"{"kind": "embedding", "vocabulary": 0, "width": 2}"#.to_owned(),
            "layer 1: vocabulary = 0 is not allowed; use 1 to 1048576",
        ),
    ] {
        assert_eq!(answer(input, &layers), wanted);
    }
}

/// Gray and colored squares need no input shape.
#[test]
fn convolutional_shorthands() {
    let outline = |shorthand: &str, features| {
        let spec = NetworkSpec::from_shorthand(shorthand).unwrap();
        assert_eq!(NetworkSpec::from_json(&spec.to_json()).as_ref(), Ok(&spec));
        let network = Network::new(&spec, features, Task::Classes(10)).unwrap();
        (network.outline(), network.parameters())
    };
    assert_eq!(
        outline("lenet", 784),
        ("1x28x28-6x28x28-6x14x14-16x10x10-16x5x5-120-84-10".to_owned(), 61_706)
    );
    assert_eq!(
        outline("cnn:8,16", 3072),
        ("3x32x32-8x32x32-8x16x16-16x16x16-16x8x8-10".to_owned(), 608 + 3216 + 10_250)
    );
    let message = |text: &str| NetworkSpec::from_shorthand(text).unwrap_err().to_string();
    assert_eq!(message("cnn:8,x"), "layer 3: \"x\" is not a number of channels; write for example cnn:8,16");
    assert_eq!(
        message(&format!("cnn:{}", ["1"; 129].join(","))),
        "258 hidden layers are too many: use at most 256"
    );
}

#[test]
fn gains_start_at_one_and_have_no_penalty() {
    let spec = NetworkSpec::from_json(r#"{"layers": [{"kind": "layer-norm"}], "l2": 1, "l1": 1}"#).unwrap();
    let network = Network::new(&spec, 3, Task::Numbers(1)).unwrap();
    let block = &network.layout()[0];
    assert_eq!(
        (block.name.as_str(), block.range.clone(), block.kind),
        ("layers.0.gain", 0..3, ParameterKind::Gain)
    );
    assert_eq!(network.initialize(1)[..6], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(network.penalty(&[5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 5.0]), 0.0);
}

#[test]
fn padding_there_and_back() {
    for padding in ["\"valid\"", "\"same\"", "2"] {
        let json = format!(
            r#"{{"layers": [{{"kind": "conv2d", "channels": 1, "kernel": 3, "padding": {padding}}}]}}"#
        );
        let spec = NetworkSpec::from_json(&json).unwrap();
        assert!(spec.to_json().contains(&format!("\"padding\":{padding}")), "{}", spec.to_json());
        assert_eq!(NetworkSpec::from_json(&spec.to_json()), Ok(spec));
    }
}

#[test]
fn too_many_layers_are_refused_in_every_form() {
    let spec =
        NetworkSpec { layers: vec![dense(1, Activation::Relu); LAYERS_MAX + 1], ..NetworkSpec::default() };
    let refused = Err(SpecError::TooManyLayers { layers: LAYERS_MAX + 1 });
    assert_eq!(Network::new(&spec, 1, Task::Classes(2)).map(|_| ()), refused);

    let layers = vec![dense(1, Activation::Relu); LAYERS_MAX];
    let (shortcut, activation) = (Shortcut::Identity, Activation::None);
    let block = LayerSpec::Residual(ResidualSpec { layers, shortcut, activation });
    let spec = NetworkSpec { layers: vec![block], ..NetworkSpec::default() };
    assert_eq!(Network::new(&spec, 1, Task::Classes(2)).map(|_| ()), refused);
}

#[test]
fn residual_blocks_go_only_so_deep() {
    let nested = |depth: usize| {
        let block = |inner| {
            let (layers, shortcut, activation) = (vec![inner], Shortcut::Identity, Activation::None);
            LayerSpec::Residual(ResidualSpec { layers, shortcut, activation })
        };
        let layers = vec![(0..depth).fold(dense(3, Activation::Relu), |inner, _| block(inner))];
        let spec = NetworkSpec { layers, ..NetworkSpec::default() };
        assert_eq!(NetworkSpec::from_json(&spec.to_json()).as_ref(), Ok(&spec));
        Network::new(&spec, 3, Task::Classes(2)).map(|network| network.layout()[0].name.clone())
    };
    assert_eq!(nested(DEPTH_MAX).unwrap(), "layers.0.body.0.body.0.body.0.body.0.weight");
    assert_eq!(
        nested(DEPTH_MAX + 1).unwrap_err().to_string(),
        "layer 1.1.1.1.1: residual blocks can be nested at most 4 deep; put some of them side by side"
    );
    // The parser has its own limit, well before the stack overflows.
    let deep = format!(r#"{{"layers":[{}"#, r#"{"kind":"residual","layers":["#.repeat(5000));
    assert!(NetworkSpec::from_json(&deep).is_err());
}

/// The names, shapes and ranges of a residual network's parameters: learned ones first, then observed ones.
#[test]
fn statistics_lie_behind_all_that_is_learned() {
    use ParameterKind::{Bias, Gain, Statistic, Weight};
    let spec = NetworkSpec::from_json(
        r#"{"input": [1, 4, 4], "layers": [{"kind": "batch-norm"}, {"kind": "residual", "shortcut": "projection", "layers":
            [{"kind": "conv2d", "channels": 2, "kernel": 3, "stride": 2, "padding": "same"}, {"kind": "batch-norm"}]}]}"#,
    )
    .unwrap();
    let network = Network::new(&spec, 16, Task::Numbers(1)).unwrap();
    let blocks: Vec<_> = network
        .layout()
        .iter()
        .map(|block| (block.name.as_str(), block.shape.clone(), block.range.clone(), block.kind))
        .collect();
    assert_eq!(
        blocks,
        [
            ("layers.0.gain", vec![1], 0..1, Gain),
            ("layers.0.bias", vec![1], 1..2, Bias),
            ("layers.1.body.0.weight", vec![2, 1, 3, 3], 2..20, Weight),
            ("layers.1.body.0.bias", vec![2], 20..22, Bias),
            ("layers.1.body.1.gain", vec![2], 22..24, Gain),
            ("layers.1.body.1.bias", vec![2], 24..26, Bias),
            ("layers.1.shortcut.weight", vec![2, 1, 1, 1], 26..28, Weight),
            ("layers.1.shortcut.bias", vec![2], 28..30, Bias),
            ("layers.2.weight", vec![8, 1], 30..38, Weight),
            ("layers.2.bias", vec![1], 38..39, Bias),
            ("layers.0.running_mean", vec![1], 39..40, Statistic),
            ("layers.0.running_variance", vec![1], 40..41, Statistic),
            ("layers.1.body.1.running_mean", vec![2], 41..43, Statistic),
            ("layers.1.body.1.running_variance", vec![2], 43..45, Statistic),
        ]
    );
    assert_eq!((network.trainable(), network.parameters()), (39, 45));
    assert_eq!(network.initialize(1)[39..], [0.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(network.shapes().last(), Some(&Shape::Vector(1)));
}

/// A minibatch passes through batch normalization as a whole, so its size is limited by memory.
#[test]
fn minibatches_of_batch_normalization_have_a_limit() {
    let network = |layers: &str| {
        let spec = NetworkSpec::from_json(&format!(r#"{{"layers": [{layers}]}}"#)).unwrap();
        Network::new(&spec, 1024, Task::Classes(2)).unwrap()
    };
    assert_eq!(network("").check_minibatch(usize::MAX), Ok(()));
    // Inputs, normalized values, and two outputs; and derivatives twice as wide as the widest layer.
    let normalized = network(r#"{"kind": "batch-norm"}"#);
    assert_eq!(normalized.check_minibatch(65_504), Ok(()));
    assert_eq!(
        normalized.check_minibatch(65_505).unwrap_err().to_string(),
        "batch normalization needs the whole minibatch at once: 65505 examples of 4098 values are more than 268435456 values; \
         use a smaller minibatch"
    );
    assert_eq!(network("").check_normalization(1), Ok(()));
    assert_eq!(normalized.check_normalization(2), Ok(()));
    let one = normalized.check_normalization(1).unwrap_err().to_string();
    assert!(one.contains("one example") && one.contains("larger minibatch"), "{one}");
    // Even without a wide layer, a network may have many layers.
    let deep = network(&[r#"{"kind": "batch-norm"}"#; 200].join(","));
    assert!(deep.check_minibatch(65_504 / 40).is_err());
}

#[test]
fn parameters_lie_layer_after_layer_without_gaps() {
    use ParameterKind::{Bias, Weight};
    let spec = NetworkSpec::from_shorthand("mlp:128,64").unwrap();
    let network = Network::new(&spec, 784, Task::Classes(10)).unwrap();
    let blocks: Vec<_> = network
        .layout()
        .iter()
        .map(|block| (block.name.as_str(), block.shape.clone(), block.range.clone(), block.kind))
        .collect();
    assert_eq!(
        blocks,
        [
            ("layers.0.weight", vec![784, 128], 0..100_352, Weight),
            ("layers.0.bias", vec![128], 100_352..100_480, Bias),
            ("layers.1.weight", vec![128, 64], 100_480..108_672, Weight),
            ("layers.1.bias", vec![64], 108_672..108_736, Bias),
            ("layers.2.weight", vec![64, 10], 108_736..109_376, Weight),
            ("layers.2.bias", vec![10], 109_376..109_386, Bias),
        ]
    );
    assert_eq!((network.parameters(), network.trainable()), (109_386, 109_386));
}

#[test]
fn shapes_follow_the_layers() {
    let spec =
        NetworkSpec { input: Some([3, 4, 5]), ..NetworkSpec::from_shorthand("mlp:128,64,64:gelu").unwrap() };
    let network = Network::new(&spec, 60, Task::Classes(10)).unwrap();
    let image = Shape::Image { channels: 3, height: 4, width: 5 };
    let vectors = [128, 64, 64, 10].map(Shape::Vector);
    assert_eq!(network.shapes(), [&[image], &vectors[..]].concat());
    assert_eq!(network.outline(), "3x4x5-128-64-64-10");
}

/// Saved runs are resumed and compared with these weights: a change here changes the meaning of a seed.
#[test]
fn initial_weights_are_pinned() {
    let network =
        Network::new(&NetworkSpec::from_shorthand("mlp:128,64").unwrap(), 784, Task::Classes(10)).unwrap();
    let digest: String =
        weights_digest(&network.initialize(42)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "eff2b5111ec17b91ca47c0b00067013ce40bdbfb5b26d5b826bd8554e98fb52a");
}

/// He before a relu, Glorot elsewhere; zero biases; different values for every layer and seed.
#[test]
fn initial_weights_have_the_right_spread() {
    let spec = NetworkSpec {
        layers: vec![dense(50, Activation::Relu), dense(50, Activation::Tanh)],
        ..NetworkSpec::default()
    };
    let network = Network::new(&spec, 50, Task::Classes(50)).unwrap();
    let weights = network.initialize(7);
    let block = |i: usize| &weights[network.layout()[i].range.clone()];
    // Uniform in -l .. l has variance l^2 / 3: 2 / fan_in, and 2 / (fan_in + fan_out).
    for (i, variance) in [(0, 2.0 / 50.0), (2, 2.0 / 100.0), (4, 2.0 / 100.0)] {
        let squares: f32 = block(i).iter().map(|w| w * w).sum();
        let measured = squares / block(i).len() as f32;
        assert!((measured / variance - 1.0).abs() < 0.1, "{i}: {measured} instead of {variance}");
        let limit = (3.0 * variance).sqrt();
        assert!(block(i).iter().all(|w| w.abs() <= limit));
        assert!(block(i + 1).iter().all(|&b| b == 0.0));
    }
    assert_ne!(block(2), block(4));
    assert_ne!(weights, network.initialize(8));
    assert_eq!(weights, network.initialize(7));
}

/// A layer's own initializer takes precedence over the network's, which also applies to the output layer.
#[test]
fn initializers_can_be_chosen() {
    let spec = NetworkSpec::from_json(
        r#"{"initializer": "zero", "layers": [
            {"kind": "dense", "units": 40, "initializer": "lecun"},
            {"kind": "dense", "units": 70, "initializer": "orthogonal"},
            {"kind": "dense", "units": 30, "initializer": "orthogonal"},
            {"kind": "dense", "units": 5}]}"#,
    )
    .unwrap();
    assert_eq!(spec.initializer, Some(Initializer::Zero));
    let network = Network::new(&spec, 50, Task::Classes(3)).unwrap();
    let weights = network.initialize(7);
    let block = |i: usize| &weights[network.layout()[2 * i].range.clone()];

    // Uniform with variance 1 / fan_in.
    let measured = block(0).iter().map(|w| w * w).sum::<f32>() / block(0).len() as f32;
    assert!((measured * 50.0 - 1.0).abs() < 0.1, "{measured}");
    // 40 rows of length 70, then 30 columns of length 70.
    let rows: Vec<Vec<f32>> = block(1).chunks(70).map(<[f32]>::to_vec).collect();
    let columns = (0..30).map(|j| block(2).iter().skip(j).step_by(30).copied().collect()).collect();
    for vectors in [rows, columns] {
        for (i, a) in vectors.iter().enumerate() {
            for (j, b) in vectors.iter().enumerate() {
                let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((dot - f32::from(u8::from(i == j))).abs() < 1e-5, "{i} and {j}: {dot}");
            }
        }
    }
    assert!(block(3).iter().chain(block(4)).all(|&weight| weight == 0.0));
    assert_eq!(NetworkSpec::from_json(&spec.to_json()), Ok(spec));
}

/// Text that older versions wrote and hashed must stay the same.
#[test]
fn settings_that_are_not_used_are_not_written() {
    assert_eq!(
        NetworkSpec::from_shorthand("mlp:3").unwrap().to_json(),
        r#"{"layers":[{"kind":"dense","units":3,"activation":"relu"}],"l2":0.0}"#
    );
}

#[test]
fn arithmetic_names() {
    use model::Arithmetic;
    for arithmetic in Arithmetic::ALL {
        assert_eq!(arithmetic.to_string().parse(), Ok(arithmetic));
        assert_eq!(serde_json::to_string(&arithmetic).unwrap(), format!("\"{arithmetic}\""));
    }
    assert_eq!(
        "fast".parse::<Arithmetic>().unwrap_err().to_string(),
        "unknown arithmetic \"fast\": use portable or fused"
    );
}
