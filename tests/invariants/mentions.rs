//! The mentions in a Rust file: paths, with every `use` tree expanded, and called methods.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path (`std::fs::read`), a method (`.exp`), or a whole crate that is imported as such (`use std`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The line, counted from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Mention {
    /// Whether this is `word` or something inside it. A word without `::` matches any segment of a path.
    pub(crate) fn is_of(&self, word: &str) -> bool {
        let inside = || self.text.strip_prefix(word).is_some_and(|rest| rest.starts_with("::"));
        self.text == word || inside() || self.text.split("::").any(|segment| segment == word)
    }
}

/// All mentions in the source of a file. Comments, literals and modules for tests do not count.
pub(crate) fn mentions(source: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    walk(source.parse().expect("Rust source"), &mut found);
    found
}

fn walk(stream: TokenStream, found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let rest = &tokens[index + 1..];
        index += 1;
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => index += test_module(rest),
            TokenTree::Punct(mark) if mark.as_char() == '.' => {
                if let [TokenTree::Ident(name), ..] = rest {
                    found.push(Mention { line: line(token), text: format!(".{name}") });
                    index += 1;
                }
            }
            TokenTree::Ident(word) if word == "use" => {
                let length = rest.iter().position(|token| is_mark(token, ';')).unwrap_or(rest.len());
                spread("", &rest[..length], found);
                index += length;
            }
            TokenTree::Ident(word) if word == "extern" => {
                if let [TokenTree::Ident(next), ..] = rest
                    && next == "crate"
                {
                    found.push(Mention { line: line(token), text: "extern crate".into() });
                }
            }
            TokenTree::Ident(_) => {
                let (text, length) = path(&tokens[index - 1..]);
                found.push(Mention { line: line(token), text });
                index += length - 1;
            }
            TokenTree::Group(group) => walk(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The number of tokens after a `#` that form `[cfg(test)] mod name { ... }`, or 0.
fn test_module(rest: &[TokenTree]) -> usize {
    let [TokenTree::Group(attribute), TokenTree::Ident(word), TokenTree::Ident(_), body, ..] = rest else {
        return 0;
    };
    let is_for_tests = attribute.stream().to_string().replace(' ', "") == "cfg(test)";
    if is_for_tests && word == "mod" && matches!(body, TokenTree::Group(_)) { 4 } else { 0 }
}

/// The path at the start of the tokens, and the number of its tokens.
fn path(tokens: &[TokenTree]) -> (String, usize) {
    let (mut text, mut length) = (tokens[0].to_string(), 1);
    while let [first, second, TokenTree::Ident(name), ..] = &tokens[length..]
        && is_mark(first, ':')
        && is_mark(second, ':')
    {
        text.push_str(&format!("::{name}"));
        length += 3;
    }
    (text, length)
}

/// Adds each path of a `use` tree below `prefix`, under its original name even if it is renamed.
fn spread(prefix: &str, tree: &[TokenTree], found: &mut Vec<Mention>) {
    for branch in tree.split(|token| is_mark(token, ',')).filter(|branch| !branch.is_empty()) {
        let mut path = prefix.to_owned();
        let mut has_branches = false;
        for token in branch {
            match token {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(word) if word == "self" => {}
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    spread(&path, &group.stream().into_iter().collect::<Vec<_>>(), found);
                    has_branches = true;
                }
                token if is_mark(token, ':') => {}
                token => {
                    let separator = if path.is_empty() { "" } else { "::" };
                    path = format!("{path}{separator}{token}");
                }
            }
        }
        if !has_branches {
            let text = if path.contains("::") { path } else { format!("use {path}") };
            found.push(Mention { line: line(&branch[0]), text });
        }
    }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}
