//! Conditions (RFC 9110 §13) and ranges (§14) of whatever has a strong tag, and the answer with bytes that lie whole in memory. Several ranges
//! in one request are answered with all bytes, as §14.2 allows.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    self, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, EntityTag, Header as _, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, IfMatch, IfNoneMatch, RANGE, Range,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::{Digest as _, Sha256};

/// What is served.
#[derive(Debug, Clone)]
pub struct Whole<'a> {
    /// Media type.
    pub kind: &'a str,
    /// `Cache-Control`.
    pub keep: &'a str,
    /// Changes with the bytes.
    pub tag: &'a str,
    pub bytes: Bytes,
}

impl Whole<'_> {
    /// The answer to a request; the caller may add headers that belong to the bytes.
    pub fn answer(self, req: &HttpRequest) -> HttpResponse {
        let tag = EntityTag::new_strong(self.tag.to_owned());
        let build = |status: StatusCode| {
            let mut response = HttpResponse::build(status);
            response.insert_header((header::ETAG, tag.to_string())).insert_header((CACHE_CONTROL, self.keep));
            response
        };
        if let Some(status) = condition(req, &tag) {
            return build(status).finish();
        }
        let whole = |mut response: HttpResponseBuilder| {
            response.insert_header((CONTENT_TYPE, self.kind)).insert_header((ACCEPT_RANGES, "bytes"));
            response
        };
        let length = self.bytes.len() as u64;
        match range(req, &tag, length) {
            Asked::All => whole(build(StatusCode::OK)).body(self.bytes),
            Asked::Part(from, to) => {
                let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(self.bytes.len());
                let part = self.bytes.slice(at(from)..at(to + 1));
                let told = format!("bytes {from}-{to}/{length}");
                whole(build(StatusCode::PARTIAL_CONTENT)).insert_header((CONTENT_RANGE, told)).body(part)
            }
            Asked::Nothing => build(StatusCode::RANGE_NOT_SATISFIABLE).insert_header((CONTENT_RANGE, format!("bytes */{length}"))).finish(),
        }
    }
}

/// The answer with a JPEG picture that is not for everybody: the asker may hold it, and asks each time whether it still may.
pub fn private_jpeg(req: &HttpRequest, bytes: Vec<u8>) -> HttpResponse {
    let tag: String = hex::encode(Sha256::digest(&bytes)).chars().take(32).collect();
    let mut response = Whole { kind: "image/jpeg", keep: "private, no-cache", tag: &tag, bytes: bytes.into() }.answer(req);
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    response
}

/// The status that a condition leads to, in the order of §13.2.2. There are no dates of change, so conditions on them count for nothing.
pub fn condition(req: &HttpRequest, tag: &EntityTag) -> Option<StatusCode> {
    if req.headers().contains_key(IF_MATCH) {
        let holds = match IfMatch::parse(req) {
            Ok(IfMatch::Any) => true,
            Ok(IfMatch::Items(tags)) => tags.iter().any(|asked| asked.strong_eq(tag)),
            Err(_) => false,
        };
        if !holds {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    }
    let held = match IfNoneMatch::parse(req) {
        Ok(IfNoneMatch::Any) => req.headers().contains_key(IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|held| held.weak_eq(tag)),
        Err(_) => false,
    };
    held.then_some(StatusCode::NOT_MODIFIED)
}

/// The part of the bytes that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Everything: no range, or one that is passed over (another unit, several ranges, of something else).
    All,
    /// First and last byte.
    Part(u64, u64),
    /// A range that begins behind the end: 416.
    Nothing,
}

/// Reads `Range` and `If-Range` of a request for so many bytes with a tag.
pub fn range(req: &HttpRequest, tag: &EntityTag, length: u64) -> Asked {
    // A date or another tag: the client holds a part of something else, and gets all.
    let of_these = req.headers().get(IF_RANGE).is_none_or(|value| value.to_str().is_ok_and(|value| value.trim() == tag.to_string()));
    if !of_these || !req.headers().contains_key(RANGE) {
        return Asked::All;
    }
    let Ok(Range::Bytes(ranges)) = Range::parse(req) else { return Asked::All };
    let [asked] = ranges.as_slice() else { return Asked::All };
    asked.to_satisfiable_range(length).map_or(Asked::Nothing, |(from, to)| Asked::Part(from, to))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    async fn ask(headers: &[(&'static str, &str)]) -> (u16, Option<String>, String) {
        let request = headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header)).to_http_request();
        let whole = Whole { kind: "text/plain", keep: "public", tag: "t1", bytes: Bytes::from_static(b"0123456789") };
        let response = whole.answer(&request);
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((header("etag").as_deref(), header("cache-control").as_deref()), (Some("\"t1\""), Some("public")));
        let told = header("content-range");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, told, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ranges_are_those_of_rfc_9110() {
        for (asked, status, told, body) in [
            ("bytes=0-3", 206, Some("bytes 0-3/10"), "0123"),
            ("bytes=8-", 206, Some("bytes 8-9/10"), "89"),
            ("bytes=8-99", 206, Some("bytes 8-9/10"), "89"),
            ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
            ("bytes=-99", 206, Some("bytes 0-9/10"), "0123456789"),
            ("bytes=9-9", 206, Some("bytes 9-9/10"), "9"),
            ("bytes=10-", 416, Some("bytes */10"), ""),
            ("bytes=-0", 416, Some("bytes */10"), ""),
            ("bytes=0-1,3-4", 200, None, "0123456789"),
            // Not a range at all, which is passed over (§14.2).
            ("bytes=5-2", 200, None, "0123456789"),
            ("bytes=", 200, None, "0123456789"),
            ("lines=1-2", 200, None, "0123456789"),
            ("bytes=18446744073709551615-", 416, Some("bytes */10"), ""),
            ("bytes=0-18446744073709551615", 206, Some("bytes 0-9/10"), "0123456789"),
        ] {
            assert_eq!(ask(&[("range", asked)]).await, (status, told.map(str::to_owned), body.to_owned()), "{asked}");
        }
    }

    #[test]
    fn a_private_picture_is_held_and_asked_for_each_time() {
        let answer =
            |held: &str| private_jpeg(&TestRequest::get().insert_header((IF_NONE_MATCH, held)).to_http_request(), b"picture".to_vec());
        let first = answer("\"another\"");
        let header = |name: header::HeaderName| first.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!((first.status().as_u16(), header(CACHE_CONTROL), header(CONTENT_TYPE)), (200, "private, no-cache", "image/jpeg"));
        assert_eq!(answer(header(header::ETAG)).status().as_u16(), 304);
    }

    #[tokio::test]
    async fn conditions_come_before_ranges() {
        let part = ("range", "bytes=0-0");
        for (headers, status) in [
            (vec![("if-none-match", "\"t1\"")], 304),
            (vec![("if-none-match", "W/\"t1\""), part], 304),
            (vec![("if-none-match", "\"t0\", \"t1\"")], 304),
            (vec![("if-none-match", "*")], 304),
            (vec![("if-none-match", "\"t0\"")], 200),
            (vec![("if-match", "\"t0\""), part], 412),
            (vec![("if-match", "W/\"t1\"")], 412),
            (vec![("if-match", "\"t1\""), ("if-none-match", "\"t1\"")], 304),
            (vec![("if-match", "*"), part], 206),
            (vec![("if-range", "\"t1\""), part], 206),
            (vec![("if-range", "\"t0\""), part], 200),
            (vec![("if-range", "W/\"t1\""), part], 200),
            (vec![("if-range", "Sun, 29 Nov 2026 00:00:00 GMT"), part], 200),
            (vec![("if-modified-since", "Sun, 29 Nov 2099 00:00:00 GMT")], 200),
        ] {
            assert_eq!(ask(&headers).await.0, status, "{headers:?}");
        }
    }
}
