//! How many files, and so connections, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections: the database, blobs under way, the search index, the log.
const OWN: u64 = 512;

/// Raises the limit to what the system allows; gives it. Many systems start programs with 1,024, which a thousand slow clients use up.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit of open files stays");
        return limit.current.unwrap_or(u64::MAX);
    }
    most
}

/// Connections for each of some workers: those of the setting, and no more than there are files for.
pub fn connections(wanted: usize, files: u64, workers: usize) -> usize {
    let room = usize::try_from(files.saturating_sub(OWN)).unwrap_or(usize::MAX);
    (wanted.min(room) / workers.max(1)).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_systems_and_connections_fit_into_it() {
        let most = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, limit.current.unwrap_or(u64::MAX)), (limit.maximum, most));
        assert_eq!([connections(20_000, u64::MAX, 4), connections(20_000, 1_024, 4), connections(20_000, 10, 4)], [5_000, 128, 16]);
    }
}
