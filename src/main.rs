//! The `llamero` binary: hands over to the command line in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    llamero::cli::main()
}
