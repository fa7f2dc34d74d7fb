//! The guide's page on several machines: its commands, each as a process of this machine.

use std::path::Path;
use std::process::{Command, Stdio};

use support::ports;
use support::program::{Ran, Running, shoal};
use tempfile::TempDir;

use crate::cast::nats;

/// The commands of the page, in the order in which it gives them, with addresses and places of the test.
fn commands(folder: &Path, port: u16) -> Vec<String> {
    let text = std::fs::read_to_string("../docs/guide/scale.md").unwrap();
    let blocks =
        text.split("\n```sh machines\n").skip(1).map(|rest| rest.split_once("```").expect("a block ends").0);
    let lines = blocks.flat_map(str::lines).map(|line| {
        line.replace("nats.internal:4222", &format!("127.0.0.1:{port}"))
            .replace("/srv/shoal", folder.join("shared").to_str().unwrap())
            .replace("0.0.0.0:8080", "127.0.0.1:0")
            .replace("shoal train ", "shoal train --listen 127.0.0.1:0 --iterations 5 --cross-validation 0 ")
            .replace("shoal resume ", "shoal resume --listen 127.0.0.1:0 ")
    });
    lines.collect()
}

fn command(folder: &Path, line: &str) -> Command {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let mut command = shoal(words);
    command.current_dir(folder);
    command
}

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let (folder, port) = (TempDir::new().unwrap(), ports::free());
    let _server = nats(port, &[]);
    let mut houses = String::from("area,year,price\n");
    for row in 0..60 {
        houses +=
            &format!("{},{},{}\n", 50 + row * 7 % 90, 1950 + row % 70, 2000 * (50 + row * 7 % 90) + row);
    }
    std::fs::write(folder.path().join("houses.csv"), houses).unwrap();
    let commands = commands(folder.path(), port);
    let [one, gateway_one, two, gateway_two, again, alone] = &commands[..] else {
        panic!("the page has other commands: {commands:?}")
    };
    assert!(two.ends_with("--standby"), "{two}");
    let start = |line: &String| Running::start(command(folder.path(), line));
    let standby = start(two);
    let gateways = [start(gateway_one), start(gateway_two)];
    Ran::of(&mut command(folder.path(), one)).succeeded();
    let elsewhere = standby.ended().succeeded();
    assert!(elsewhere.stderr.contains("ended in another process"), "{}", elsewhere.stderr);
    for gateway in gateways {
        gateway.ended().succeeded();
    }
    let model =
        |run: &str| std::fs::read(folder.path().join("runs").join(run).join("model.safetensors")).unwrap();
    assert_eq!(model("a"), model("b"));
    let again = Ran::of(&mut command(folder.path(), again)).succeeded();
    assert!(again.stderr.contains("ended in another process"), "{}", again.stderr);
    Ran::of(&mut command(folder.path(), alone)).succeeded();
    assert_eq!(model("a"), model("c"));
}

#[test]
fn what_needs_root_is_read_by_a_shell() {
    let text = std::fs::read_to_string("../docs/guide/scale.md").unwrap();
    let blocks =
        text.split("\n```sh root\n").skip(1).map(|rest| rest.split_once("```").expect("a block ends").0);
    for block in blocks {
        let mut bash = Command::new("bash");
        Ran::of(bash.args(["-n", "-c", block]).stdin(Stdio::null())).succeeded();
    }
}
