//! The only place that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program's output")]

use std::io::IsTerminal;

use fast_qr::QRBuilder;
use serde::Serialize;

use crate::engine::EngineError;

/// Prints a result: the text, or with `--json` the document.
pub fn result(json: bool, document: &impl Serialize, text: impl FnOnce() -> String) {
    if json {
        println!("{}", serde_json::to_string(document).unwrap_or_default());
    } else {
        println!("{}", plain(&text()));
    }
}

/// Says something beside the result, on standard error.
pub fn note(text: &str) {
    eprintln!("{}", plain(text));
}

/// Text without what steers a terminal or turns the order of letters: much of it comes from the server or other people,
/// and could otherwise paint over an address.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// One line for each.
pub fn lines<T>(all: &[T], line: impl FnMut(&T) -> String) -> String {
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text as a QR code for a terminal; nothing where it is too long for one.
pub fn qr(text: &str) -> String {
    QRBuilder::new(text).build().map_or_else(|_| String::new(), |qr| qr.to_str())
}

/// Whether somebody sits at the terminal.
pub fn is_attended() -> bool {
    std::io::stdin().is_terminal()
}

/// Shows a text and asks. Where nobody sits at the terminal the answer is no.
pub fn agreed(text: &str, question: &str) -> bool {
    println!("{}\n", plain(text));
    if !is_attended() {
        eprintln!("{question} Nobody is there to answer: say --yes.");
        return false;
    }
    println!("{question} [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

/// Prints an error to standard error.
pub fn failure(json: bool, error: &EngineError) {
    if json {
        let document = serde_json::json!({"error": {"code": error.code(), "message": error.to_string()}});
        eprintln!("{document}");
    } else {
        eprintln!("aegis: {}", plain(&error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\u{9b}c\u{202e}d\ne"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\ne");
    }
}
