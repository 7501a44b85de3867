//! The binary `copo`: parse, run, exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = copo_orchestrator::keeper::entered() {
        return ExitCode::from(code);
    }
    cli::bench_child().unwrap_or_else(cli::main)
}
