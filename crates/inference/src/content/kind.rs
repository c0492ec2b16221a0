//! What a file is by its bytes.
//!
//! First bytes are as the formats' own documents have them. Those that are short are joined with more of the format, so that raw weights
//! are not taken for something else: two bytes come by chance in one of 65,536 files.

use app_package::{
    file_kind::{FileKind, Refused},
    text,
};
use serde::de::IgnoredAny;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";
pub(super) const WASM: &[u8] = b"\0asm";

/// Files that no package holds, whatever they are called.
const REFUSED: [(&[u8], Refused, &str); 21] = [
    (b"\x7fELF", Refused::Program, "an ELF program"),
    (b"\xfe\xed\xfa\xce", Refused::Program, "a Mach-O program"),
    (b"\xfe\xed\xfa\xcf", Refused::Program, "a Mach-O program"),
    (b"\xce\xfa\xed\xfe", Refused::Program, "a Mach-O program"),
    (b"\xcf\xfa\xed\xfe", Refused::Program, "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", Refused::Program, "a Mach-O program or Java class"),
    (WASM, Refused::Program, "a WebAssembly program"),
    (b"#!/", Refused::Program, "a script"),
    (b"#! /", Refused::Program, "a script"),
    // PyTorch before version 1.6: a pickled magic number.
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Refused::Pickle, "a PyTorch pickle"),
    (b"\x93NUMPY", Refused::Pickle, "a NumPy file, which may hold pickled objects"),
    (b"\x89HDF\r\n\x1a\n", Refused::Pickle, "an HDF5 file, which may hold functions"),
    (b"PK\x03\x04", Refused::Archive, "a zip archive (PyTorch and NumPy write such files too)"),
    (b"PK\x05\x06", Refused::Archive, "an empty zip archive"),
    (b"\x1f\x8b\x08", Refused::Archive, "a gzip archive"),
    (b"\xfd7zXZ\0", Refused::Archive, "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", Refused::Archive, "a 7z archive"),
    (b"Rar!\x1a\x07", Refused::Archive, "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", Refused::Archive, "a Zstandard archive"),
    (b"\x04\x22\x4d\x18", Refused::Archive, "an LZ4 archive"),
    (b"MSCF\0\0\0\0", Refused::Archive, "a cabinet archive"),
];

/// Why no package may hold a file that begins and ends so, in words.
pub(super) fn refused(start: &[u8], last: Option<u8>) -> Option<(Refused, &'static str)> {
    if let Some((_, why, what)) = REFUSED.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Some((*why, what));
    }
    // Programs of DOS and Windows: "MZ", and at 0x3c the offset of the "PE" header.
    let header = start.get(0x3c..0x40).and_then(|at| at.try_into().ok()).map(u32::from_le_bytes).and_then(|at| usize::try_from(at).ok());
    if start.starts_with(b"MZ") && header.and_then(|at| start.get(at..at.checked_add(2)?)) == Some(b"PE") {
        return Some((Refused::Program, "a Windows program"));
    }
    // Python's pickle, protocols 2 to 5: the protocol first, "stop" last.
    if matches!(start, [0x80, 2..=5, ..]) && last == Some(b'.') {
        return Some((Refused::Pickle, "a Python pickle"));
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some((Refused::Archive, "a tar archive"));
    }
    if let [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] = start {
        return Some((Refused::Archive, "a bzip2 archive"));
    }
    None
}

/// What the file's name promises and its bytes are not; `None` where they fit. `whole`: `start` is all of the file.
pub(super) fn differs(kind: FileKind, start: &[u8], whole: bool) -> Option<&'static str> {
    let (fits, what) = match kind {
        // Models are looked into by `model_file`; external data is whatever the model makes of it.
        FileKind::Onnx | FileKind::Data => return None,
        FileKind::Text => (is_text(start, whole), "a text in UTF-8"),
        FileKind::Yaml => (is_text(start, whole), "YAML in UTF-8"),
        FileKind::Csv => (is_text(start, whole), "a table in UTF-8"),
        FileKind::Json => {
            let json = is_text(start, whole) && (!whole || serde_json::from_slice::<IgnoredAny>(text::unmarked(start)).is_ok());
            (json, "JSON in UTF-8")
        }
        FileKind::Wasm => (start.starts_with(WASM), "a WebAssembly module"),
        FileKind::Png => (start.starts_with(PNG), "a PNG picture"),
        FileKind::Jpeg => (start.starts_with(JPEG), "a JPEG picture"),
        FileKind::Webp => (matches!(start, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]), "a WebP picture"),
        FileKind::Avi => (crate::clip::is_avi(start), "an AVI clip"),
        FileKind::Wav => (matches!(start, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..]), "a WAV file"),
    };
    (!fits).then_some(what)
}

fn is_text(start: &[u8], whole: bool) -> bool {
    let utf8 = match std::str::from_utf8(start) {
        Ok(_) => true,
        // The last letter may be cut off.
        Err(e) => !whole && e.error_len().is_none(),
    };
    utf8 && !start.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_archives_are_told_by_their_bytes() {
        let mut pe = vec![0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x42].copy_from_slice(b"PE");
        assert_eq!(refused(&pe, None), Some((Refused::Program, "a Windows program")));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(refused(&tar, None).map(|r| r.0), Some(Refused::Archive));
        assert_eq!(refused(b"BZh91AY&SY", None).map(|r| r.0), Some(Refused::Archive));
        for (bytes, last) in [
            (b"\x08\x09".as_slice(), 9),
            (b"MZ is a word", b'd'),
            (b"\x89PNG", b'G'),
            (b"# Title", b'e'),
            (b"#!", b'!'),
            (b"\x80\x03\0\x3f", 0x3f),
        ] {
            assert_eq!(refused(bytes, Some(last)), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_that_is_looked_at_in_part_may_end_within_a_letter() {
        let cut = &"煤".as_bytes()[..2];
        assert!(is_text(cut, false) && !is_text(cut, true));
        assert!(!is_text(b"\xff", false) && !is_text(b"a\0", true));
    }
}
