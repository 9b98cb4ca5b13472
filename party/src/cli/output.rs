//! The only place that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program's output")]

use serde::Serialize;

use crate::engine::EngineError;

/// Prints a result: the text, or with `--json` the document.
pub fn result(json: bool, document: &impl Serialize, text: impl FnOnce() -> String) {
    if json {
        println!("{}", serde_json::to_string(document).unwrap_or_default());
    } else {
        println!("{}", text());
    }
}

/// Prints an error to standard error.
pub fn failure(json: bool, error: &EngineError) {
    if json {
        let document = serde_json::json!({"error": {"code": error.code(), "message": error.to_string()}});
        eprintln!("{document}");
    } else {
        eprintln!("aegis: {error}");
    }
}
