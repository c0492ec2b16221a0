//! The smallest host of the child that answers golden samples: what `pithead golden` does behind a hidden subcommand.

fn main() -> std::process::ExitCode {
    inference::worker::samples_main(std::env::args_os().skip(1))
}
