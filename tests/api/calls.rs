//! The document of `/api/v1` is that of the code, and has every route.

use std::collections::BTreeSet;

use pithead::wire::api::document;
use serde_json::Value;

use crate::sources;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_code() {
    let text = document::text().unwrap();
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(DOCUMENT, &text).unwrap();
    }
    assert!(std::fs::read_to_string(DOCUMENT).unwrap_or_default() == text, "docs/openapi.json is another (UPDATE_GOLDEN=1 writes it)");
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document: Value = serde_json::from_str(&document::text().unwrap()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let (mut told, mut served, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values().filter(|part| part.is_object()) {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "another call has the name of {path}");
        }
        told.extend(item.as_object().unwrap().keys().filter(|key| *key != "parameters").map(|method| format!("{method} {path}")));
    }
    for method in ["get", "post", "put", "delete"] {
        served.extend(sources::routes_of("src/wire/api", method).iter().map(|route| format!("{method} {route}")));
    }
    for own in ["get /api/v1/", "get /api/v1/openapi.json"] {
        assert!(served.remove(own), "{own}");
    }
    assert_eq!(told, served);
    // Each schema that is named is there.
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
