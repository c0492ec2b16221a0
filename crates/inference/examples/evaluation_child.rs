//! The smallest host of scoring on a hidden test set: what `pithead` does behind a hidden subcommand.

fn main() -> std::process::ExitCode {
    inference::worker::evaluation_main(std::env::args_os().skip(1))
}
