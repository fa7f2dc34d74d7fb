//! Checks of settings: the same for a new run, a resumed run and a `run.toml` that somebody has edited.

use super::TaskKind;
use super::error::ConfigError;
use super::listen::PublicUrl;
use super::table::RunConfig;
use super::values::{Fraction, OptimizerKind};

impl RunConfig {
    /// Checks that all settings are in range and consistent.
    ///
    /// # Errors
    /// The first mistake, with its remedy.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |setting, problem: &str| Err(ConfigError::Setting { setting, problem: problem.to_owned() });
        self.check_each()?;
        let splits = |fraction: Option<Fraction>| fraction.is_some_and(|fraction| fraction != Fraction::ZERO);
        if self.test.is_some() && splits(self.test_fraction) {
            return refuse("test-fraction", "give either test examples or a test fraction, not both");
        }
        let validates = splits(self.validation_fraction);
        if self.validation.is_some() && validates {
            return refuse(
                "validation-fraction",
                "give either validation examples or a validation fraction, not both",
            );
        }
        let has_none = self.validation.is_none() && self.validation_fraction == Some(Fraction::ZERO);
        if self.patience.is_some_and(|patience| patience > 0) && has_none {
            return refuse(
                "patience",
                "early stopping looks at validation examples, and there are none; give --validation-fraction 0.1, or \
                 --validation with a file of them",
            );
        }
        let validates = validates || self.validation.is_some();
        if validates && self.cross_validation.is_some_and(|folds| folds > 0) {
            return refuse(
                "cross-validation",
                "the examples set aside for validation take its place; leave one or the other out",
            );
        }
        if self.cross_validation == Some(1) {
            return refuse(
                "cross-validation",
                "one fold leaves nothing to train on; give 0 for none, or 2 or more",
            );
        }
        if self.target_accuracy.is_some() && self.task == Some(TaskKind::Numbers) {
            return refuse(
                "target-accuracy",
                "numbers have no accuracy; leave it out or set task to classes",
            );
        }
        if self.link.is_some() && self.store.is_none() {
            return refuse(
                "link",
                "the processes of a training share a store as well; name one with --store, such as --store /srv/shoal",
            );
        }
        let only_steps = matches!(self.optimizer, OptimizerKind::Averaged | OptimizerKind::Average);
        if self.gradient_tolerance.is_some() && only_steps {
            return refuse(
                "gradient-tolerance",
                "local steps measure no gradient; leave it out, or choose another optimizer",
            );
        }
        if self.overlap.is_some() && self.sample.is_none() {
            return refuse("overlap", "it needs --optimizer lbfgs and --sample");
        }
        let encrypts = self.tls_cert.is_some() || self.tls_self_signed;
        self.listen.suits(self.public_url.as_ref(), encrypts)?;
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return refuse(
                "tls-cert",
                "a certificate and its key go together; give --tls-cert and --tls-key",
            );
        }
        if self.tls_self_signed && self.tls_cert.is_some() {
            return refuse("tls-self-signed", "there is a certificate already; leave one of the two out");
        }
        let has_tls = encrypts || self.public_url.as_ref().is_some_and(PublicUrl::is_secure);
        if let Some(Err(problem)) = self.shard_url.as_ref().map(|url| url.check_for(has_tls)) {
            return refuse("shard-url", &problem);
        }
        if !self.model.freeze.is_empty() && self.optimizer == OptimizerKind::AdamW {
            return refuse(
                "freeze",
                "the optimizer adamw shrinks all weights; choose adam, or another optimizer",
            );
        }
        if !(self.model.l2 >= 0.0 && self.model.l2.is_finite()) {
            return refuse("l2", "the weight of the L2 penalty must be 0 or a positive number");
        }
        Ok(())
    }
}
