//! Bodies that come packed: `Content-Encoding` gzip and deflate, as the clients of the inference protocol send them. What a few bytes grow to is
//! their reader's to bound.

use std::io::Read as _;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::ApiError;

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    /// RFC 9110 §8.4.1.2: the zlib format.
    Deflate,
}

impl Packing {
    /// What a request says; none where its body is as it is.
    pub(super) fn of(request: &HttpRequest) -> Result<Option<Self>, ApiError> {
        let mut named =
            request.headers().get_all(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
        match (named.next().as_deref(), named.next()) {
            (None | Some("identity" | ""), None) => Ok(None),
            (Some("gzip" | "x-gzip"), None) => Ok(Some(Self::Gzip)),
            (Some("deflate"), None) => Ok(Some(Self::Deflate)),
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding-not-supported",
                "send the body as it is, or with one content encoding: gzip or deflate",
            )),
        }
    }

    pub(super) fn reader(self, packed: &[u8]) -> Unpacked<'_> {
        let source = match self {
            Self::Gzip => Source::Gzip(MultiGzDecoder::new(packed)),
            Self::Deflate => Source::Deflate(ZlibDecoder::new(packed)),
        };
        Unpacked { source, piece: vec![0; PIECE] }
    }
}

enum Source<'a> {
    Gzip(MultiGzDecoder<&'a [u8]>),
    Deflate(ZlibDecoder<&'a [u8]>),
}

/// A body piece by piece.
pub(super) struct Unpacked<'a> {
    source: Source<'a>,
    piece: Vec<u8>,
}

impl Unpacked<'_> {
    /// The next bytes; none at the end.
    pub(super) fn next_piece(&mut self) -> Result<&[u8], ApiError> {
        let read = match &mut self.source {
            Source::Gzip(source) => source.read(&mut self.piece),
            Source::Deflate(source) => source.read(&mut self.piece),
        };
        let read = read.map_err(|_| ApiError::bad("body-unreadable", "the body is not packed as Content-Encoding says"))?;
        Ok(self.piece.get(..read).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use actix_web::test::TestRequest;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn all(packing: Packing, packed: &[u8]) -> Result<Vec<u8>, ApiError> {
        let (mut reader, mut whole) = (packing.reader(packed), Vec::new());
        loop {
            let piece = reader.next_piece()?;
            if piece.is_empty() {
                return Ok(whole);
            }
            whole.extend_from_slice(piece);
        }
    }

    #[test]
    fn what_was_packed_is_read_and_what_is_damaged_refused() {
        let text = "1,2,3,4\n".repeat(50_000);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text.as_bytes()).unwrap();
        let zlib = zlib.finish().unwrap();
        for (packing, packed) in [(Packing::Gzip, &gzip), (Packing::Deflate, &zlib)] {
            assert_eq!(all(packing, packed).unwrap(), text.as_bytes());
            for damaged in [&packed[..packed.len() / 2], &b"{}"[..]] {
                assert_eq!(all(packing, damaged).unwrap_err().code, "body-unreadable", "{packing:?}");
            }
        }
        assert_eq!(all(Packing::Gzip, &[gzip.clone(), gzip].concat()).unwrap().len(), 2 * text.len());
    }

    #[test]
    fn one_encoding_is_taken() {
        let of = |value: &str| Packing::of(&TestRequest::post().insert_header((header::CONTENT_ENCODING, value)).to_http_request());
        assert_eq!(Packing::of(&TestRequest::post().to_http_request()).unwrap(), None);
        assert_eq!(
            (of("GZIP").unwrap(), of("deflate").unwrap(), of("identity").unwrap()),
            (Some(Packing::Gzip), Some(Packing::Deflate), None)
        );
        for other in ["br", "gzip, gzip", "zstd"] {
            assert_eq!(of(other).unwrap_err().code, "encoding-not-supported", "{other}");
        }
    }
}
