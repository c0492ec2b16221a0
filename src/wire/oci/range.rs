//! Byte ranges: of a pull (`Range: bytes=…`, RFC 9110 §14) and of an upload's chunk (`Content-Range: a-b`, which is the
//! distribution-spec's own form, without unit and total).

/// The bytes that a `Range` header asks for, of content of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeOutcome {
    /// Everything: no header, or one that is ignored (another unit, several ranges).
    All,
    /// From the first to the last byte, both inclusive.
    Part(u64, u64),
    /// No byte of the range exists: 416.
    Nothing,
}

/// Reads a `Range` header.
pub fn wanted(header: Option<&str>, length: u64) -> RangeOutcome {
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|r| r.trim().split_once('-')) else {
        return RangeOutcome::All;
    };
    let number = |s: &str| -> Option<u64> { if s.bytes().all(|b| b.is_ascii_digit()) { s.parse().ok() } else { None } };
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            None => RangeOutcome::All,
            Some(n) if n == 0 || length == 0 => RangeOutcome::Nothing,
            Some(n) => RangeOutcome::Part(length.saturating_sub(n), length - 1),
        },
        (first, "") => match number(first) {
            None => RangeOutcome::All,
            Some(first) if first >= length => RangeOutcome::Nothing,
            Some(first) => RangeOutcome::Part(first, length - 1),
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last || first >= length => RangeOutcome::Nothing,
            (Some(first), Some(last)) => RangeOutcome::Part(first, last.min(length - 1)),
            _ => RangeOutcome::All,
        },
    }
}

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
    fn ranges_of_a_pull() {
        let cases = [
            (None, RangeOutcome::All),
            (Some("bytes=500-1499"), RangeOutcome::Part(500, 1499)),
            (Some("bytes=500-"), RangeOutcome::Part(500, 1999)),
            (Some("bytes=-500"), RangeOutcome::Part(1500, 1999)),
            (Some("bytes=-5000"), RangeOutcome::Part(0, 1999)),
            (Some("bytes=1500-9999"), RangeOutcome::Part(1500, 1999)),
            (Some("bytes=500-0"), RangeOutcome::Nothing),
            (Some("bytes=2000-"), RangeOutcome::Nothing),
            (Some("bytes=2000-2100"), RangeOutcome::Nothing),
            (Some("bytes=-0"), RangeOutcome::Nothing),
            (Some("bytes=0-1,5-6"), RangeOutcome::All),
            (Some("lines=1-2"), RangeOutcome::All),
            (Some("bytes=a-b"), RangeOutcome::All),
            (Some("bytes=99999999999999999999999-"), RangeOutcome::All),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 2000), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), RangeOutcome::Nothing);
        assert_eq!(wanted(Some("bytes=-1"), 0), RangeOutcome::Nothing);
    }

    #[test]
    fn ranges_of_a_chunk_are_strict() {
        assert_eq!(chunk("0-1048575"), Some((0, 1_048_575)));
        for bad in ["", "-", "1-", "-1", "5-4", "bytes 0-1/2", "0-1/2", "+1-2", "0-1-2", "0-99999999999999999999"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
