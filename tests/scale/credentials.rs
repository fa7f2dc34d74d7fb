//! Credentials come from the environment, and stand nowhere.

use std::path::Path;
use std::process::Command;

use support::ports;
use support::program::{Ran, shoal};
use tempfile::TempDir;

use crate::bucket::Bucket;
use crate::cast::{self, Nats};

const PASSWORD: &str = "not-in-any-log";

/// A NATS server with TLS and these options.
fn nats(folder: &Path, port: u16, options: &[&str]) -> Nats {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls", "--tlscert", cert.to_str().unwrap(), "--tlskey", key.to_str().unwrap()];
    cast::nats(port, &[&tls[..], options].concat())
}

fn train(port: u16, run: &Path, bucket: &Bucket, credentials: &[(&str, &str)], ca: &Path) -> Command {
    let link = format!("tls://127.0.0.1:{port}");
    let arguments = [
        "train",
        "--data",
        "embedded:mnist",
        "--model",
        "mlp:8",
        "--iterations",
        "1",
        "--listen",
        "127.0.0.1:0",
    ];
    let places = ["--link", &link, "--store", "s3://bucket/run", "--out", run.to_str().unwrap()];
    let mut command = shoal(arguments.into_iter().chain(places));
    command.envs(bucket.environment()).envs(credentials.iter().copied()).env("NATS_CA", ca);
    command.env("SHOAL_LOG", "trace");
    command
}

/// All bytes below a folder.
fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

#[test]
fn a_password_over_tls_opens_the_bus_and_is_written_nowhere() {
    let (folder, bucket, port) = (TempDir::new().unwrap(), Bucket::serve(), ports::free());
    let _server = nats(folder.path(), port, &["--user", "shoal", "--pass", PASSWORD]);
    let ca = folder.path().join("cert.pem");
    let run = folder.path().join("run");
    let wrong = [("NATS_USER", "shoal"), ("NATS_PASSWORD", "wrong")];
    let refused = Ran::of(&mut train(port, &folder.path().join("refused"), &bucket, &wrong, &ca));
    refused.failed(1, &["cannot connect to NATS at tls://127.0.0.1", "credentials"]);
    let without =
        Ran::of(&mut train(port, &folder.path().join("without"), &bucket, &[("NATS_USER", "shoal")], &ca));
    without.failed(1, &["NATS_PASSWORD"]);
    let right = [("NATS_USER", "shoal"), ("NATS_PASSWORD", PASSWORD)];
    let ran = Ran::of(&mut train(port, &run, &bucket, &right, &ca)).succeeded();
    let secret =
        &bucket.environment().into_iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").unwrap().1;
    are_written_nowhere(&[PASSWORD, secret.as_str()], ran, &run, &bucket);
}

/// Neither in what the program says, nor in the run's folder, nor in the store.
fn are_written_nowhere(secrets: &[&str], ran: Ran, run: &Path, bucket: &Bucket) {
    let mut written = ran.stdout.into_bytes();
    written.extend(ran.stderr.bytes());
    written.extend(bytes_below(run));
    for path in bucket.list("bucket/") {
        written.extend(bucket.get(&path).unwrap());
    }
    assert!(!written.is_empty());
    for secret in secrets {
        let is_there = written.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!is_there, "{secret} is written somewhere");
    }
}

#[test]
fn a_token_opens_the_bus() {
    let (folder, bucket, port) = (TempDir::new().unwrap(), Bucket::serve(), ports::free());
    let _server = nats(folder.path(), port, &["--auth", PASSWORD]);
    let run = folder.path().join("run");
    Ran::of(&mut train(port, &run, &bucket, &[("NATS_TOKEN", PASSWORD)], &folder.path().join("cert.pem")))
        .succeeded();
}

/// A pair made for this test.
const NKEY_SEED: &str = "SUAO4O3IH3MW7E6RLVETG4JQIETYDLOAEOHA6ZD5DGH7VMZ3H4SL2LT6FE";
const NKEY_PUBLIC: &str = "UCIVDNVTTA5HT6PQ6DGR4XXQUC23XNPRH5WWRVLNQ4JYNCNAABJQ7MEK";

#[test]
fn a_file_with_a_seed_opens_the_bus_and_the_seed_is_written_nowhere() {
    let (folder, bucket, port) = (TempDir::new().unwrap(), Bucket::serve(), ports::free());
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("nats.conf"), format!("authorization {{ users = [{{ nkey: {NKEY_PUBLIC} }}] }}"))
        .unwrap();
    std::fs::write(at("user.nk"), format!("{NKEY_SEED}\n")).unwrap();
    std::fs::write(at("wrong.nk"), "this is no seed").unwrap();
    let _server = nats(folder.path(), port, &["--config", at("nats.conf").to_str().unwrap()]);
    let attempt = |run: &str, file: &str| {
        let seed = at(file);
        let credentials = [("NATS_NKEY", seed.to_str().unwrap())];
        Ran::of(&mut train(port, &at(run), &bucket, &credentials, &at("cert.pem")))
    };
    attempt("missing", "missing.nk").failed(1, &["NATS_NKEY", "missing.nk"]);
    attempt("wrong", "wrong.nk").failed(1, &["NATS_NKEY", "wrong.nk"]);
    let ran = attempt("run", "user.nk").succeeded();
    are_written_nowhere(&[NKEY_SEED], ran, &at("run"), &bucket);
}
