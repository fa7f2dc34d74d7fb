//! The guide's page on several machines: its commands, each as a process of this machine.

use std::path::Path;
use std::process::{Command, Stdio};

use support::ports;
use support::program::{Ran, Running, shoal};
use tempfile::TempDir;

use crate::cast::nats;

/// The page's blocks of this kind, in its order.
fn blocks(kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string("../docs/guide/scale.md").unwrap();
    let begins = format!("\n```{kind}\n");
    let blocks = text.split(&begins).skip(1);
    blocks.map(|rest| rest.split_once("```").expect("a block ends").0.to_owned()).collect()
}

/// The commands of the page, in the order in which it gives them, with addresses and places of the test.
fn commands(folder: &Path, port: u16) -> Vec<String> {
    let blocks = blocks("sh machines");
    let lines = blocks.iter().flat_map(|block| block.lines()).map(|line| {
        line.replace("nats.internal:4222", &format!("127.0.0.1:{port}"))
            .replace("/srv/shoal", folder.join("shared").to_str().unwrap())
            .replace("0.0.0.0:8080", "127.0.0.1:0")
            .replace("--listen 8081", "--listen 127.0.0.1:0")
            .replace("shoal train ", "shoal train --iterations 5 --cross-validation 0 ")
            .replace("shoal resume ", "shoal resume --listen 127.0.0.1:0 ")
    });
    lines.collect()
}

/// Debian's configuration of NATS after the page's command for it.
fn configuration_of_nats(folder: &Path) -> String {
    let packaged =
        std::fs::read_to_string("/etc/nats-server.conf").expect("tests/run installs Debian's package");
    assert!(packaged.contains("host: 127.0.0.1"), "Debian's package has changed: {packaged}");
    let path = folder.join("nats-server.conf");
    std::fs::write(&path, packaged).unwrap();
    let path = path.to_str().unwrap();
    let root = blocks("sh root").concat();
    let line = root.lines().find(|line| line.contains("/etc/nats-server.conf")).expect("a command for it");
    let (change, restart) = line.split_once(" && ").expect("the server reads it");
    assert_eq!(restart, "systemctl restart nats-server");
    let mut bash = Command::new("bash");
    Ran::of(bash.args(["-ec", &change.replace("/etc/nats-server.conf", path)]).stdin(Stdio::null()))
        .succeeded();
    path.to_owned()
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
    // Where it listens is for the next test: nothing of a test listens to other machines.
    let _server = nats(port, &["-c", &configuration_of_nats(folder.path())]);
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
    let gateways = [start(gateway_one), start(gateway_two)];
    let mut leader = start(one);
    // A standby that hears nobody for long leads: the first coordinator may take longer to start.
    leader.says("This coordinator leads.");
    let standby = start(two);
    leader.ended().succeeded();
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
fn other_machines_reach_nats_and_the_folder() {
    let folder = TempDir::new().unwrap();
    let configuration = std::fs::read_to_string(configuration_of_nats(folder.path())).unwrap();
    let value = |name: &str| configuration.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!((value("host:"), value("port:")), (Some("0.0.0.0"), Some("4222")), "{configuration}");
    assert_eq!(value("max_payload:"), Some("65536"), "as large as a message may be");
    let root = blocks("sh root");
    let [server, one, other] = &root[..] else { panic!("the page has other blocks: {root:?}") };
    assert_eq!(one, other);
    let exported =
        server.lines().find_map(|line| line.strip_prefix("echo '")).expect("a line of /etc/exports");
    let (exported, _) =
        exported.split_once("' >> /etc/exports && exportfs -ra").expect("it is exported at once");
    let mut words = exported.split(' ');
    let path = words.next().unwrap();
    let hosts: Vec<&str> = words.map(|word| word.split_once('(').expect("options follow").0).collect();
    assert_eq!(hosts, ["a.internal", "b.internal"]);
    assert!(server.contains(&format!("install -d -o nobody -g nogroup {path}\n")), "{server}");
    assert!(one.ends_with(&format!("mount --mkdir -o actimeo=1 nats.internal:{path} {path}\n")), "{one}");
    let commands = blocks("sh machines");
    assert!(commands[..2].concat().lines().all(|line| line.contains(&format!(" --store {path}/houses"))));
    assert_eq!(
        root.iter().chain(&commands[..2]).flat_map(|block| block.lines()).count(),
        10,
        "as the page says"
    );
}

/// Each port of a machine is one process's.
#[test]
fn the_processes_of_a_machine_listen_at_different_ports() {
    for block in &blocks("sh machines")[..2] {
        let port = |line: &str| {
            let listen =
                line.split_once("--listen ").map_or("8080", |(_, rest)| rest.split(' ').next().unwrap());
            listen.rsplit(':').next().unwrap().parse::<u16>().unwrap()
        };
        let ports: Vec<u16> = block.lines().map(port).collect();
        assert_ne!(ports[0], ports[1], "{block}");
    }
}

#[test]
fn what_needs_root_is_read_by_a_shell() {
    for block in blocks("sh root") {
        let mut bash = Command::new("bash");
        Ran::of(bash.args(["-n", "-c", &block]).stdin(Stdio::null())).succeeded();
    }
}
