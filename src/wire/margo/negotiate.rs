//! Content negotiation (RFC 9110 §12.5.1), as far as the endpoints need it.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

fn values(req: &HttpRequest, name: &HeaderName) -> Vec<String> {
    req.headers()
        .get_all(name)
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|v| v.trim().to_owned())
        .filter(|v| !v.is_empty())
        .collect()
}

/// Whether `Accept` lets this media type through. An absent header does.
pub(super) fn accepts(req: &HttpRequest, media_type: &str) -> bool {
    let ranges = values(req, &header::ACCEPT);
    ranges.is_empty() || accepts_any(&ranges, media_type)
}

/// The most specific range decides; its weight 0 means no.
fn accepts_any(ranges: &[String], media_type: &str) -> bool {
    let (kind, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let mut best: Option<(u8, bool)> = None;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific = if name.eq_ignore_ascii_case(media_type) {
            3
        } else if name.strip_suffix("/*").is_some_and(|k| k.eq_ignore_ascii_case(kind)) {
            2
        } else if name == "*/*" {
            1
        } else {
            continue;
        };
        let weight =
            parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map_or(1.0, |q| q.parse::<f32>().unwrap_or(1.0));
        if best.is_none_or(|(s, _)| specific > s) {
            best = Some((specific, weight > 0.0));
        }
    }
    best.is_some_and(|(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let ranges = |list: &[&str]| list.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
        let manifest = "application/vnd.margo.manifest.v1+json";
        for (list, wanted) in [
            (&[manifest][..], true),
            (&["*/*"], true),
            (&["application/*;q=0.1"], true),
            (&["application/json"], false),
            (&["text/html", "application/json;q=0.9"], false),
            (&["*/*", "application/vnd.margo.manifest.v1+json;q=0"], false),
            (&["application/*;q=0", "*/*"], false),
        ] {
            assert_eq!(accepts_any(&ranges(list), manifest), wanted, "{list:?}");
        }
    }
}
