//! Files under `static/`, embedded in the binary and served under one hash of them all, so they can be cached for ever.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{LazyLock, Mutex};

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::conditional::Whole;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/static"]
struct Files;

/// The parts of the style sheet in the order of the cascade. Pages ask for [`STYLE`] alone, to need a single request.
const STYLE_PARTS: [&str; 15] = [
    "css/tokens.css",
    "css/base.css",
    "css/layout.css",
    "css/console.css",
    "css/buttons.css",
    "css/cards.css",
    "css/forms.css",
    "css/tables.css",
    "css/states.css",
    "css/chain.css",
    "css/lists.css",
    "css/plots.css",
    "css/market.css",
    "css/duty.css",
    "css/screens.css",
];

/// Path of the style sheet, which is no file but made by joining [`STYLE_PARTS`].
const STYLE: &str = "css/app.css";

/// Hash over names and contents of all files, and over the style sheet, which depends on the order of its parts.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for path in Files::iter() {
        hash.update(path.as_bytes());
        hash.update(Files::get(&path).map(|f| f.metadata.sha256_hash()).unwrap_or_default());
    }
    hash.update(content(STYLE).unwrap_or_default());
    hex::encode(hash.finalize()).chars().take(12).collect()
});

/// Brotli of each text file, made when it is first asked for.
static COMPRESSED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/static/{version}/{path:.*}", web::get().to(file)).route("/favicon.ico", web::get().to(favicon));
}

/// URL of a file, with the hash.
pub fn url(path: &str) -> String {
    format!("/static/{}/{path}", *VERSION)
}

/// The content served at a path.
fn content(path: &str) -> Option<Cow<'static, [u8]>> {
    if path != STYLE {
        return Files::get(path).map(|f| f.data);
    }
    let mut joined = String::new();
    for part in STYLE_PARTS {
        joined.push_str(&squeezed(std::str::from_utf8(&Files::get(part)?.data).ok()?));
    }
    Some(Cow::Owned(joined.into_bytes()))
}

/// A part of the style sheet without comments and indentation, which only its authors need.
fn squeezed(css: &str) -> String {
    let (mut code, mut rest) = (String::new(), css);
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    code.lines().map(str::trim_start).filter(|line| !line.is_empty()).fold(String::new(), |out, line| out + line + "\n")
}

async fn favicon() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, url("img/favicon.svg"))).finish()
}

async fn file(req: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    let (_, path) = path.into_inner();
    let Some(found) = content(&path) else { return HttpResponse::NotFound().finish() };
    let (kind, keep) = (content_type(&path), "public, max-age=31536000, immutable");
    if !is_text(&path) {
        return Whole { kind, keep, tag: &VERSION, bytes: bytes(found) }.answer(&req);
    }
    let packed = if accepts_brotli(&req) { packed(path, found.clone()).await } else { None };
    let is_packed = packed.is_some();
    let tag = if is_packed { format!("{}-br", *VERSION) } else { VERSION.clone() };
    let mut response = Whole { kind, keep, tag: &tag, bytes: packed.unwrap_or_else(|| bytes(found)) }.answer(&req);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_packed && response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

fn bytes(content: Cow<'static, [u8]>) -> Bytes {
    match content {
        Cow::Borrowed(content) => Bytes::from_static(content),
        Cow::Owned(content) => content.into(),
    }
}

/// Whether a client takes Brotli (RFC 9110 §12.5.3).
fn accepts_brotli(req: &HttpRequest) -> bool {
    let accepts = req.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accepts.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let none = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        name.trim().eq_ignore_ascii_case("br") && !none
    })
}

/// A text as Brotli, where that can be made.
async fn packed(path: String, content: Cow<'static, [u8]>) -> Option<Bytes> {
    if let Some(bytes) = COMPRESSED.lock().ok().and_then(|cache| cache.get(&path).cloned()) {
        return Some(bytes);
    }
    let compressed = web::block(move || {
        let mut out = Vec::new();
        brotli::CompressorReader::new(&*content, 16 * 1024, 9, 22).read_to_end(&mut out).map(|_| Bytes::from(out))
    });
    let bytes = compressed.await.ok()?.ok()?;
    if let Ok(mut cache) = COMPRESSED.lock() {
        cache.insert(path, bytes.clone());
    }
    Some(bytes)
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, e)| e)
}

fn is_text(path: &str) -> bool {
    matches!(extension(path), "css" | "js" | "svg" | "json" | "txt" | "md")
}

fn content_type(path: &str) -> &'static str {
    match extension(path) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_is_all_files_of_its_folder() {
        let mut named = STYLE_PARTS.to_vec();
        named.sort_unstable();
        let found: Vec<_> = Files::iter().filter(|path| path.starts_with("css/")).collect();
        assert_eq!(named, found.iter().map(AsRef::as_ref).collect::<Vec<&str>>());
        assert!(content(STYLE).unwrap().starts_with(b":root {\ncolor-scheme: light dark;\n"));
    }
}
