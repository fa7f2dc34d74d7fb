//! Networks, their loss and gradient, and the exact sums that make a round independent of order.
//!
//! Everything here is a pure function of its arguments with one fixed order of floating-point operations. The
//! same weights and examples therefore give the same bits on every machine: native or WebAssembly, whatever
//! the vector width.
//!
//! A [`NetworkSpec`] is compiled into a [`Network`]. [`Network::gradient`] takes [`Examples`] through
//! [preprocessing](Preprocessing), the layers and the loss, and back. [`exact`] adds the resulting vector to
//! a round's sum. With [`known_answer`], a machine proves that it computes the right bits.
//!
//! The promise excludes the payload and sign of a NaN, which the hardware may choose.

mod arithmetic;
mod compile;
mod digest;
pub mod exact;
mod examples;
mod footprint;
mod functions;
mod initialize;
mod kernels;
pub mod known_answer;
mod layers;
mod layout;
mod local;
mod loss;
mod network;
mod nonzeros;
mod pass;
mod philox;
mod shape;
mod smooth;
mod spec;
mod summary;
mod trial_point;

pub use arithmetic::{Arithmetic, UnknownArithmetic};
pub use digest::weights_digest;
pub use examples::{Examples, Features, Preprocessing, Rows, Targets};
pub use kernels::{Vectorized, instruction_set, multiply_adds, vectorize};
pub use layout::{ParameterBlock, ParameterKind};
pub use local::{DECAY_STEPS, LocalResults, LocalSteps};
pub use loss::LossBounds;
pub use network::{ExampleLoss, GradientResults, Network, Scratch, likeliest};
pub use nonzeros::{NonZeroRows, NonZeros};
pub use pass::Pass;
pub use shape::Shape;
pub use spec::{
    Activation, ActivationSpec, Conv2dSpec, DEPTH_MAX, DenseSpec, DropoutSpec, EmbeddingSpec, FEATURES_MAX,
    Initializer, LAYERS_MAX, LayerSpec, LossSpec, MINIBATCH_VALUES_MAX, NetworkSpec, NormSpec,
    PARAMETERS_MAX, Padding, PoolSpec, Position, ResidualSpec, Shortcut, Slope, SpecError, Task, UNITS_MAX,
    VALUES_MAX, WINDOW_MAX,
};
pub use summary::LayerSummary;
pub use trial_point::trial_point;
