//! The `Content-Range: a-b` of an upload's chunk, which is the distribution-spec's own form, without unit and total.

/// Reads the `Content-Range` of a chunk: first and last byte, both inclusive. None where it is malformed.
pub fn chunk(header: &str) -> Option<(u64, u64)> {
    let (first, last) = header.split_once('-')?;
    let number = |s: &str| -> Option<u64> { if !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) { s.parse().ok() } else { None } };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_chunk_are_strict() {
        assert_eq!(chunk("0-1048575"), Some((0, 1_048_575)));
        for bad in ["", "-", "1-", "-1", "5-4", "bytes 0-1/2", "0-1/2", "+1-2", "0-1-2", "0-99999999999999999999"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
