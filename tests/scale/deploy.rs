//! The files for those who deploy: read by the programs that they are for.

use std::path::Path;
use std::process::Command;

use support::program::Ran;

const DEPLOY: &str = "../docs/deploy";

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::TempDir::new().unwrap();
    // The units name the place of an installed program.
    let program = "/bin/true";
    for name in ["shoal-coordinator.service", "shoal-gateway.service"] {
        let unit = std::fs::read_to_string(Path::new(DEPLOY).join(name)).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, unit.replace("/usr/local/bin/shoal", program)).unwrap();
        let ran =
            Ran::of(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path)).succeeded();
        assert!(!ran.stderr.contains(name), "{}", ran.stderr);
    }
}

/// The words of a unit's line, as systemd reads quotes.
fn exec_start(name: &str) -> Vec<String> {
    let unit = std::fs::read_to_string(Path::new(DEPLOY).join(name)).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// The coordinator's unit begins a run where there is none, and never removes one.
#[test]
fn a_coordinator_that_is_started_again_goes_on_in_the_directory_that_it_has() {
    let folder = tempfile::TempDir::new().unwrap();
    let unit = std::fs::read_to_string(Path::new(DEPLOY).join("shoal-coordinator.service")).unwrap();
    assert!(!unit.contains("ExecStartPre") && unit.contains("\nWorkingDirectory=/var/lib/shoal\n"), "{unit}");
    let starts = || {
        let words = exec_start("shoal-coordinator.service");
        let words: Vec<String> =
            words.iter().map(|word| word.replace("/usr/local/bin/shoal", "/bin/echo")).collect();
        let mut command = Command::new(&words[0]);
        Ran::of(command.args(&words[1..]).current_dir(folder.path())).succeeded().stdout
    };
    let first = starts();
    assert!(first.starts_with("train --config ") && first.ends_with("--standby --out run\n"), "{first}");
    std::fs::create_dir(folder.path().join("run")).unwrap();
    std::fs::write(folder.path().join("run/run.toml"), "").unwrap();
    std::fs::write(folder.path().join("run/model.safetensors"), "precious").unwrap();
    assert_eq!(starts(), "resume run --standby\n");
    assert!(folder.path().join("run/model.safetensors").exists());
}

#[test]
fn a_gateway_believes_one_proxy() {
    let words = exec_start("shoal-gateway.service");
    let at = words.iter().position(|word| word == "--trusted-proxy").expect("the load balancer");
    assert!(words[at + 1].parse::<std::net::IpAddr>().is_ok(), "{} are many", words[at + 1]);
}

#[test]
fn nginx_accepts_the_load_balancer() {
    let folder = tempfile::TempDir::new().unwrap();
    let balancer = std::fs::canonicalize(Path::new(DEPLOY).join("nginx-balancer.conf")).unwrap();
    let whole = format!(
        "error_log stderr;\npid {}/pid;\nevents {{}}\nhttp {{\n{}access_log off;\ninclude {};\n}}\n",
        folder.path().display(),
        temporary(folder.path()),
        balancer.display()
    );
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, whole).unwrap();
    Ran::of(Command::new("nginx").arg("-t").arg("-c").arg(&path)).succeeded();
}

/// Folders that nginx makes, which must not be those of the system.
fn temporary(folder: &Path) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    kinds.map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).concat()
}

#[test]
fn the_container_file_builds_what_it_runs() {
    let text = std::fs::read_to_string(Path::new(DEPLOY).join("Containerfile")).unwrap();
    let parsed = dockerfile(&text);
    let of = |name: &str| {
        parsed.iter().filter(|(found, _)| found == name).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("FROM").len(), 2);
    assert!(
        of("COPY").iter().any(|copy| copy.contains("--from=build") && copy.ends_with("/usr/local/bin/shoal"))
    );
    // Exec forms are JSON.
    for form in of("ENTRYPOINT").into_iter().chain(of("CMD")) {
        let words: Vec<String> = serde_json::from_str(form).unwrap();
        assert!(!words.is_empty());
    }
    let version = std::fs::read_to_string("../Cargo.toml").unwrap();
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"')
        .to_owned();
    assert!(
        of("FROM")[0].contains(&format!("rust:{version}")),
        "the toolchain is the one that the source needs"
    );
}

/// Each instruction and what follows it. An unknown one fails.
fn dockerfile(text: &str) -> Vec<(String, String)> {
    const KNOWN: [&str; 10] =
        ["FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "ENV", "ARG"];
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instruction = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line} is no instruction"));
        assert!(KNOWN.contains(&name), "{name} is no instruction");
        (name.to_owned(), rest.to_owned())
    };
    lines.map(instruction).collect()
}
