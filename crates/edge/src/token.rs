//! The token that callers of the local API must show.
//!
//! Invariants: without its file the agent starts on such a folder only that has run before and never with a token, for an update of the image
//! must not end apps that ran without one; the node is told to be open then. A folder that had a token never opens by the file's loss.

use std::path::Path;

use crate::fault::Fault;
use crate::files;

/// Least length of a token.
const MIN_LENGTH: usize = 16;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4_096;
/// Mark of a data folder that has run with a token.
const USED: &str = "token-used";
/// What each agent that has run leaves in its folder, now and until 2026-11-30.
const RUN_BEFORE: [&str; 2] = ["streams", "outbox.jsonl"];

fn unusable(message: String) -> Fault {
    Fault::new("token-unusable", "state", message)
}

/// The token in a file, without the line's end; `None` on a folder from before that goes on without one. Code `token-unusable`.
pub fn of(data: &Path, file: &Path) -> Result<Option<String>, Fault> {
    let Some(bytes) = files::read_bounded(file, MAX_FILE)? else {
        if RUN_BEFORE.iter().any(|name| data.join(name).exists()) && !data.join(USED).exists() {
            return Ok(None);
        }
        return Err(unusable(format!("there is no token in {}", file.display())));
    };
    let token = std::str::from_utf8(&bytes).map_err(|e| unusable(format!("the token in {}: {e}", file.display())))?.trim();
    if token.len() < MIN_LENGTH {
        return Err(unusable(format!("the token in {} is shorter than {MIN_LENGTH} characters", file.display())));
    }
    let mark = data.join(USED);
    // On a full disk the mark waits for the next start.
    if data.exists()
        && !mark.exists()
        && let Err(fault) = files::write_atomic(&mark, b"")
    {
        tracing::warn!(%fault, "the use of a token could not be noted");
    }
    Ok(Some(token.to_owned()))
}

/// Says that the API asks for no token though it should. Code `api-open`.
pub fn missing(file: &Path) -> Fault {
    Fault::new("api-open", "state", format!("there is no token in {}: everybody who reaches the local API may call it", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_folder_that_ran_without_a_token_goes_on_and_one_that_had_a_token_does_not() {
        let dir = Scratch::new();
        let (data, file) = (dir.path(), dir.path().join("token"));
        assert_eq!(of(data, &file).unwrap_err().code, "token-unusable", "the first start");
        std::fs::write(data.join(RUN_BEFORE[1]), "").unwrap();
        assert_eq!(of(data, &file), Ok(None));
        for wrong in ["short", "                    ", ""] {
            std::fs::write(&file, wrong).unwrap();
            assert_eq!(of(data, &file).unwrap_err().code, "token-unusable", "{wrong:?}");
        }
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(of(data, &file).unwrap().as_deref(), Some("0123456789abcdef"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(of(data, &file).unwrap_err().code, "token-unusable", "the file was lost");
    }
}
