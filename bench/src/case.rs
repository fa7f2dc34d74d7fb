//! The table of cases.

use crate::examples::Data;

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What is computed on which network, then the batch or the examples.
    pub name: &'static str,
    /// What one step computes.
    pub kind: Kind,
}

/// What one step of a case computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing but independent multiply-adds on registers; `many` for more at the same time.
    Roof {
        /// As [`model::multiply_adds`] says.
        many: bool,
    },
    /// Loss and gradient of one batch, at weights that stay.
    Gradient {
        /// The network in shorthand.
        network: &'static str,
        /// Examples of a step.
        batch: usize,
        /// Which examples.
        data: Data,
    },
    /// A step of stochastic gradient descent that changes the weights in place.
    Local {
        /// The network in shorthand.
        network: &'static str,
        /// Examples of a step.
        minibatch: usize,
        /// Which examples.
        data: Data,
    },
}

/// The cases, in the order they are shown in.
pub const CASES: [Case; 7] = [
    gradient("mlp-784-256-128-10/10", PERCEPTRON, 10, Data::Dense),
    gradient("mlp-784-256-128-10/32", PERCEPTRON, 32, Data::Dense),
    gradient("mlp-784-256-128-10/256", PERCEPTRON, 256, Data::Dense),
    gradient("mlp-784-256-128-10/10-mnist", PERCEPTRON, 10, Data::Mnist),
    local("local-784-128-10/dense", Data::Dense),
    local("local-784-128-10/mnist", Data::Mnist),
    gradient("convnet/32", "cnn:8,16", 32, Data::Mnist),
];

/// The roof: the better of the two counts.
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
    /// The case of that name, a roof included.
    pub fn named(name: &str) -> Option<&'static Case> {
        CASES.iter().chain(&ROOF).find(|case| case.name == name)
    }

    /// Examples that a step goes through; 0 for a roof.
    pub fn examples(&self) -> usize {
        match self.kind {
            Kind::Roof { .. } => 0,
            Kind::Gradient { batch, .. } => batch,
            Kind::Local { minibatch, .. } => minibatch,
        }
    }
}
