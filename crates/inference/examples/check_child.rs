//! The smallest host of the check: what `pithead` and `pithead-edge` do behind a hidden subcommand.

fn main() -> std::process::ExitCode {
    inference::worker::child_main(std::env::args_os().skip(1))
}
