//! `docs/settings.md`: the table of settings as a page.

use std::fmt::Write as _;

use clap::builder::PossibleValue;

use super::setting::{Command, Description, Section};
use super::table::SETTINGS;
use super::words;

const INTRODUCTION: &str = "\
# Settings

Every setting is a key of a configuration file (`shoal train --config FILE`) and of the `run.toml` that each run
keeps. `shoal sweep --over KEY=V1,V2` compares values of a key. Most keys are flags too: `minibatch = 10` means
`--minibatch 10`. Flags win over the file. Keys may be written with `_` instead of `-`.

The weights depend on a setting marked *identity*, so a resumed run must keep it. The settings under *Data* count
through the data they give. A setting marked *settled* follows from data and network if it is not given; `run.toml`
then keeps its value.

This page is generated from the table of settings in `coordinator/src/config/table.rs`.
";

/// The page.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in Section::ALL {
        write!(page, "\n## {}\n", section.heading()).expect("writing to a string does not fail");
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            page += &entry(setting);
        }
    }
    page
}

fn entry(setting: &Description) -> String {
    let mut facts = vec![value(setting)];
    if !setting.unit.is_empty() {
        facts.push(format!("unit: {}", setting.unit));
    }
    facts.extend(setting.range.as_ref().map(|range| format!("range: {range}")));
    facts.extend(setting.default.as_ref().map(|default| format!("default: {default}")));
    if !setting.optimizers.is_empty() {
        facts.push(format!("optimizers: {}", setting.optimizers));
    }
    facts.extend(setting.excludes.map(|other| format!("not together with `{other}`")));
    facts.push(flag(setting));
    let marks = [(setting.identity, "identity"), (setting.settles, "settled")];
    facts.extend(marks.into_iter().filter(|(holds, _)| *holds).map(|(_, mark)| format!("*{mark}*")));
    let facts: String = facts.iter().map(|fact| format!("- {fact}\n")).collect();
    format!("\n### `{}`\n\n{}.\n\n{facts}", setting.key, setting.text)
}

fn value(setting: &Description) -> String {
    let names: Vec<String> = setting.names.iter().map(|name| format!("`{}`", name.get_name())).collect();
    let meanings: Vec<_> = setting.names.iter().filter_map(PossibleValue::get_help).collect();
    if names.is_empty() {
        return format!("value: {}", setting.kind);
    }
    if meanings.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return format!("value: {}", words::list(&names, "or"));
    }
    let lines = names.iter().zip(meanings).map(|(name, meaning)| format!("\n  - {name}: {meaning}"));
    format!("value: one of{}", lines.collect::<String>())
}

fn flag(setting: &Description) -> String {
    let commands: Vec<&str> = setting.commands.iter().map(|command| command.name()).collect();
    match setting.commands {
        [] => "no flag".to_owned(),
        all if all == Command::ALL => format!("flag: `--{}`", setting.key),
        _ => format!("flag: `--{}` of {}", setting.key, words::list(&commands, "and")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_page_says_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
        if env::var_os("SHOAL_WRITE_SETTINGS").is_some() {
            fs::write(&path, reference()).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/settings.md is not what the table of settings says; run this test with SHOAL_WRITE_SETTINGS=1"
        );
    }
}
