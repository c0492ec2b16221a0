//! `pithead`: the server and its commands.

fn main() -> std::process::ExitCode {
    pithead::cli::main()
}
