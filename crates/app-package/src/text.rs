//! How authors' programs mark their texts. Every text that we read is UTF-8.

/// The text without the byte-order mark that some editors and spreadsheets write first.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Whether this is UTF-16, by its mark or because its first two letters have a zero byte each; to say so is more help than "not UTF-8".
pub fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told() {
        assert_eq!(unmarked("\u{feff}a".as_bytes()), b"a");
        assert_eq!(unmarked(b"a\xef\xbb\xbf"), b"a\xef\xbb\xbf");
        for bytes in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0}\0", b"\0{\0}"] {
            assert!(is_utf16(bytes), "{bytes:?}");
        }
        for bytes in [&b""[..], b"{}", b"ab\0\0", b"a\0", "煤".as_bytes()] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}
