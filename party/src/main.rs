//! `aegis`: the participant's program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    aegis::cli::main(aegis::cli::Cli::parse())
}
