//! `pithead`: the server and its commands.

/// Password hashing and indexing take tens of megabytes for a moment, on many threads; glibc's allocator keeps them for each thread,
/// mimalloc gives them back. It runs without huge pages, which would keep two megabytes for each page in use (docs/BENCHMARKS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    pithead::cli::main()
}
