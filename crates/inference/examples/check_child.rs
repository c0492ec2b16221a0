//! The smallest host of the children: what `pithead` and `pithead-edge` do behind hidden subcommands.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == "reading").is_some() {
        return inference::worker::reading_main(args);
    }
    inference::worker::child_main(args)
}
