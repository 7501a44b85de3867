//! The binary `copo`: parse, run, exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::bench_child().unwrap_or_else(cli::main)
}
