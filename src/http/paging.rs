//! Pages of a long list, cut by the last row shown (keyset paging).

use serde::Deserialize;

/// Query of a list with the newest first: the page begins after this id.
#[derive(Debug, Deserialize)]
pub struct Before {
    /// Id of the last row of the page before.
    pub before: Option<String>,
}

/// Cuts rows, read as one more than `size`, to a page. Gives the address of the first page, unless this is it, and of the next page, if
/// there is one: `path` with `key` and the id of the last row.
pub fn paging<T>(
    rows: &mut Vec<T>,
    size: i64,
    path: &str,
    key: &str,
    at: Option<&str>,
    id: impl Fn(&T) -> String,
) -> (Option<String>, Option<String>) {
    let size = usize::try_from(size).unwrap_or(50);
    let more = rows.len() > size;
    rows.truncate(size);
    let join = if path.contains('?') { '&' } else { '?' };
    let next = rows.last().filter(|_| more).map(|row| format!("{path}{join}{key}={}", id(row)));
    (at.map(|_| path.to_owned()), next)
}
