//! The table of cases.

use crate::examples::Data;

/// A benchmark case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The work and the network, then the batch size or the data.
    pub name: &'static str,
    /// The work of one step.
    pub kind: Kind,
}

/// The work of one step of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Independent multiply-adds on registers, and nothing else.
    Roof {
        /// Whether more of them run at the same time, as in [`model::multiply_adds`].
        many: bool,
    },
    /// Loss and gradient of one batch, at constant weights.
    Gradient {
        /// The network in shorthand.
        network: &'static str,
        /// Examples per step.
        batch: usize,
        /// The examples.
        data: Data,
    },
    /// A step of stochastic gradient descent that changes the weights in place.
    Local {
        /// The network in shorthand.
        network: &'static str,
        /// Examples per step.
        minibatch: usize,
        /// The examples.
        data: Data,
    },
}

/// The cases, in the order in which they are shown.
pub const CASES: [Case; 7] = [
    gradient("mlp-784-256-128-10/10", PERCEPTRON, 10, Data::Dense),
    gradient("mlp-784-256-128-10/32", PERCEPTRON, 32, Data::Dense),
    gradient("mlp-784-256-128-10/256", PERCEPTRON, 256, Data::Dense),
    gradient("mlp-784-256-128-10/10-mnist", PERCEPTRON, 10, Data::Mnist),
    local("local-784-128-10/dense", Data::Dense),
    local("local-784-128-10/mnist", Data::Mnist),
    gradient("convnet/32", "cnn:8,16", 32, Data::Mnist),
];

/// The roof: the better of the two cases counts.
pub const ROOF: [Case; 2] = [
    Case { name: "roof/few", kind: Kind::Roof { many: false } },
    Case { name: "roof/many", kind: Kind::Roof { many: true } },
];

const PERCEPTRON: &str = "mlp:256,128";

const fn gradient(name: &'static str, network: &'static str, batch: usize, data: Data) -> Case {
    Case { name, kind: Kind::Gradient { network, batch, data } }
}

const fn local(name: &'static str, data: Data) -> Case {
    Case { name, kind: Kind::Local { network: "mlp:128", minibatch: 10, data } }
}

impl Case {
    /// The case or roof of this name.
    pub fn named(name: &str) -> Option<&'static Case> {
        CASES.iter().chain(&ROOF).find(|case| case.name == name)
    }

    /// The number of examples per step; 0 for a roof.
    pub fn examples(&self) -> usize {
        match self.kind {
            Kind::Roof { .. } => 0,
            Kind::Gradient { batch, .. } => batch,
            Kind::Local { minibatch, .. } => minibatch,
        }
    }
}
