//! What a person sees on a terminal, in a log, with `--quiet`, and when pressing Tab in a shell.

use std::process::{Command, Stdio};

use support::program::Ran;

use crate::shoal::{ALONE, Folder};

const TRAIN: &str = "train --data classes.csv --label side --model mlp:4 --minibatch 8 --iterations 3";

/// What a program writes to a terminal of its own.
#[cfg(target_os = "linux")]
fn on_a_terminal(folder: &Folder, term: &str, arguments: &str) -> String {
    let program = folder.command("").get_program().to_str().unwrap().to_owned();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &format!("{program} {arguments}"), "/dev/null"]);
    command.current_dir(folder.path(".")).env("TERM", term).env_remove("SHOAL_LOG").stdin(Stdio::null());
    Ran::of(&mut command).succeeded().stdout
}

/// Programs that take a terminal for a log, such as an editor's shell, say so by TERM=dumb.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_dumb_gets_lines_and_any_other_gets_a_bar() {
    let folder = Folder::new();
    let dumb = on_a_terminal(&folder, "dumb", &format!("{TRAIN} {ALONE} --out dumb"));
    assert!(!dumb.contains('\u{1b}'), "{dumb:?}");
    for iteration in 1..=3 {
        assert!(dumb.lines().any(|line| line.starts_with(&format!("iteration {iteration}/3, "))), "{dumb}");
    }
    let clever = on_a_terminal(&folder, "xterm", &format!("{TRAIN} {ALONE} --out clever"));
    assert!(clever.contains('\u{1b}'), "{clever:?}");
    assert!(!clever.lines().any(|line| line.starts_with("iteration 1/3, ")), "{clever:?}");
}

#[test]
fn quiet_leaves_the_result_and_the_errors() {
    let folder = Folder::new();
    let ran = folder.run(&format!("{TRAIN} {ALONE} --quiet --out run")).succeeded();
    assert_eq!(ran.stderr, "");
    let loud = folder.run(&format!("{TRAIN} {ALONE} --out loud")).succeeded();
    assert!(loud.stderr.contains("iteration 3/3"), "{}", loud.stderr);
    let digest = |text: &str| text.split("digest ").nth(1).unwrap()[..64].to_owned();
    assert_eq!(digest(&ran.stdout), digest(&loud.stdout), "the result is the same");
    let predicted = folder.run("predict run --data classes.csv --quiet").succeeded();
    assert_eq!(
        (predicted.stderr.as_str(), predicted.stdout.lines().next()),
        ("", Some("prediction,probability left,probability right"))
    );
    folder.run("predict nowhere --data classes.csv --quiet").failed(2, &["nowhere"]);
}

#[test]
fn shells_complete_commands_and_flags() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = folder.run(&format!("completions {shell}")).succeeded().stdout;
        for word in ["train", "volunteer", "learning-rate"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    folder.run("completions tcsh").failed(2, &["tcsh", "bash"]);
    // As bash itself does it when Tab is pressed.
    folder.write("complete.sh", &folder.run("completions bash").succeeded().stdout);
    let complete = |words: &str, last: &str| {
        let script = format!(
            "set -u; source complete.sh; COMP_WORDS=({words} {last}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             COMPREPLY=(); _shoal shoal {last} ''; echo \"${{COMPREPLY[*]}}\""
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(folder.path(".")).stdin(Stdio::null());
        Ran::of(&mut command).succeeded().stdout.trim().to_owned()
    };
    assert_eq!(complete("shoal", "vol"), "volunteer");
    assert_eq!(complete("shoal train", "--learning-r"), "--learning-rate");
}
