//! Documents of the usual tools, and hostile ones.

use super::*;
use crate::testing::measure::{alone, peak_of};
use serde_json::{Value, json};

fn read(kind: &str, value: &Value) -> Result<Document, Fault> {
    parse(kind, value.to_string().as_bytes())
}

fn sbom(kind: &str, value: &Value) -> Sbom {
    let Ok(Document::Sbom(sbom)) = read(kind, value) else { panic!("an SBOM: {:?}", read(kind, value)) };
    sbom
}

fn package(name: &str, version: &str, license: &str) -> Package {
    Package { name: name.into(), version: version.into(), license: license.into() }
}

#[test]
fn spdx_of_both_generations() {
    let two = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "belt-watch", "packages": [
        {"name": "numpy", "versionInfo": "2.1.0", "licenseConcluded": "NOASSERTION", "licenseDeclared": "BSD-3-Clause"},
        {"name": "onnx", "licenseConcluded": "Apache-2.0"},
    ]});
    let found = sbom(SPDX, &two);
    assert_eq!((found.format.as_str(), found.name.as_str(), found.total), ("SPDX-2.3", "belt-watch", 2));
    assert_eq!(found.packages, [package("numpy", "2.1.0", "BSD-3-Clause"), package("onnx", "", "Apache-2.0")]);
    let three = json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "CreationInfo", "specVersion": "3.0.1"}, {"type": "SpdxDocument", "name": "doc"},
        {"type": "software_Package", "name": "numpy", "software_packageVersion": "2.1.0"}, {"type": "Person", "name": "Li"},
    ]});
    let found = sbom(SPDX, &three);
    assert_eq!((found.format.as_str(), found.name.as_str(), found.total), ("SPDX-3.0.1", "doc", 1));
    assert_eq!(found.packages, [package("numpy", "2.1.0", "")]);
}

#[test]
fn cyclonedx_with_nested_components_and_all_kinds_of_licences() {
    let value = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 3,
    "metadata": {"component": {"name": "belt-watch", "version": "1.0.0"}},
    "components": [
        {"name": "a", "version": "1", "licenses": [{"license": {"id": "MIT"}}, {"license": {"name": "Own"}}],
         "components": [{"name": "b", "version": 2}]},
        {"name": "c", "licenses": [{"expression": "MIT OR Apache-2.0"}]},
    ]});
    let found = sbom(CYCLONEDX, &value);
    assert_eq!((found.format.as_str(), found.name.as_str(), found.version.as_str()), ("CycloneDX 1.6", "belt-watch 1.0.0", "3"));
    assert_eq!((found.total, found.packages.len()), (3, 3));
    assert_eq!(found.packages, [package("a", "1", "MIT, Own"), package("b", "2", ""), package("c", "", "MIT OR Apache-2.0")]);
}

#[test]
fn many_packages_are_counted_and_the_first_shown() {
    let packages: Vec<Value> = (0..1234).map(|n| json!({"name": format!("p{n}"), "versionInfo": "x".repeat(1000)})).collect();
    let found = sbom(SPDX, &json!({"spdxVersion": "SPDX-2.3", "packages": packages}));
    assert_eq!((found.total, found.packages.len(), found.packages[499].name.as_str()), (1234, MAX_PACKAGES, "p499"));
    assert_eq!(found.packages[0].version.len(), MAX_TEXT);
    let large = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
    assert_eq!(parse(SPDX, &large), Err(Fault::TooLarge));
}

#[test]
fn provenance_of_slsa_bare_and_enveloped() {
    let subject = json!([{"name": "acme/belt-watch", "digest": {"sha1": "00", "sha256": "ab"}}]);
    let one = json!({"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": {"buildType": "https://b/t"}, "runDetails": {"builder": {"id": "https://builder"}}}});
    let expected = Provenance {
        predicate_type: "https://slsa.dev/provenance/v1".into(),
        builder: "https://builder".into(),
        build_type: "https://b/t".into(),
        enveloped: false,
        total: 1,
        subjects: vec![("acme/belt-watch".into(), "sha256:ab".into())],
    };
    assert_eq!(read(IN_TOTO_TYPE, &one), Ok(Document::Provenance(expected.clone())));
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let envelope = app_package::dsse::sign(IN_TOTO_TYPE, one.to_string().as_bytes(), "k", &key).to_bytes();
    for kind in [IN_TOTO_TYPE, DSSE] {
        let enveloped = Provenance { enveloped: true, ..expected.clone() };
        assert_eq!(parse(kind, &envelope), Ok(Document::Provenance(enveloped)));
    }
    let old = json!({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2",
        "predicate": {"builder": {"id": "b"}, "buildType": "t"}});
    let Ok(Document::Provenance(found)) = read(IN_TOTO_TYPE, &old) else { panic!() };
    assert_eq!((found.builder.as_str(), found.build_type.as_str(), found.total), ("b", "t", 0));
}

#[test]
fn what_is_no_such_document_says_so() {
    let malformed = |kind: &str, bytes: &[u8]| assert!(matches!(parse(kind, bytes), Err(Fault::Malformed(_))), "{kind} {bytes:?}");
    for kind in [SPDX, CYCLONEDX, IN_TOTO_TYPE, DSSE] {
        for bytes in [&b""[..], b"{}", b"[]", b"\xff", b"<xml/>", b"null", b"{\"packages\": 7, \"components\": 7, \"subject\": 7}"] {
            malformed(kind, bytes);
        }
        malformed(kind, format!("{{\"x\":{}", "[".repeat(100_000)).as_bytes());
    }
    malformed(SPDX, br#"{"spdxVersion": "SPDX-2.3", "packages": [7]}"#);
    assert_eq!(parse(SPDX_TAGS, b"SPDXVersion: SPDX-2.3"), Err(Fault::OtherFormat));
    assert_eq!(parse(CYCLONEDX_XML, b"<bom/>"), Err(Fault::OtherFormat));
    let good = json!({"spdxVersion": "SPDX-2.3", "bomFormat": "CycloneDX", "_type": "https://in-toto.io/Statement/v1",
        "packages": [{"name": "a"}], "components": [{"name": "a"}], "subject": [{"name": "a", "digest": {"sha256": "00"}}]});
    let good = good.to_string();
    for kind in [SPDX, CYCLONEDX, IN_TOTO_TYPE] {
        assert!(parse(kind, good.as_bytes()).is_ok());
        for cut in 0..good.len() {
            malformed(kind, &good.as_bytes()[..cut]);
        }
    }
    // Odd values are no reason to show nothing.
    let odd = json!({"spdxVersion": "SPDX-2.3", "name": ["x"], "packages": [{"name": {"a": 1}, "versionInfo": null}]});
    assert_eq!(sbom(SPDX, &odd).packages, [Package::default()]);
}

/// A document of [`MAX_BYTES`]: `head`, then `item` as often as it fits, then `tail`.
fn filled(head: &str, item: &str, tail: &str) -> Vec<u8> {
    let room = usize::try_from(MAX_BYTES).unwrap() - head.len() - tail.len() + 1;
    let items = vec![item; room / (item.len() + 1)].join(",");
    format!("{head}{items}{tail}").into_bytes()
}

#[test]
fn a_long_list_takes_no_more_memory_than_its_document() {
    if !alone("trust::documents::tests::a_long_list_takes_no_more_memory_than_its_document") {
        return;
    }
    let component = format!("{{\"licenses\":[{}]}}", ["{}"; 500].join(","));
    let nested = format!("{{\"components\":[{}]}}", ["{}"; 500].join(","));
    let names: Vec<String> = (0..100_000).map(|n| format!("\"a{n}\":\"\"")).collect();
    let subject = format!("{{\"digest\":{{{}}}}}", names.join(","));
    let statement = "\"_type\":\"https://in-toto.io/Statement/v1\"";
    let cyclone = "{\"bomFormat\":\"CycloneDX\",\"components\":[";
    for (kind, document) in [
        (SPDX, filled("{\"@graph\":[", "{}", "]}")),
        (SPDX, filled("{\"@graph\":[{\"specVersion\":\"3\"},", "{\"type\":\"software_Package\"}", "]}")),
        (SPDX, filled("{\"spdxVersion\":\"SPDX-2.3\",\"packages\":[", "{}", "]}")),
        (CYCLONEDX, filled(cyclone, "{}", "]}")),
        (CYCLONEDX, filled(cyclone, &nested, "]}")),
        (CYCLONEDX, filled(cyclone, &component, "]}")),
        (IN_TOTO_TYPE, filled(&format!("{{{statement},\"subject\":["), &subject, "]}")),
        (DSSE, filled("{\"payloadType\":\"application/vnd.in-toto+json\",\"payload\":\"\",\"signatures\":[", "{\"sig\":\"\"}", "]}")),
    ] {
        assert!(document.len() as u64 > MAX_BYTES * 9 / 10 && document.len() as u64 <= MAX_BYTES);
        let (read, peak) = peak_of(|| parse(kind, &document));
        assert!(peak < MAX_BYTES, "{kind}: {peak} bytes more for {:?}…", String::from_utf8_lossy(&document[..40]));
        if let Ok(Document::Sbom(sbom)) = read {
            assert!(sbom.total > 1000 && sbom.packages.len() == MAX_PACKAGES, "{} {}", sbom.total, sbom.packages.len());
        }
    }
}

#[test]
fn components_are_counted_and_the_first_of_all_of_them_shown() {
    let parts = |n: usize| (0..n).map(|i| json!({"name": format!("part{i}")})).collect::<Vec<_>>();
    let found = sbom(
        CYCLONEDX,
        &json!({"bomFormat": "CycloneDX", "components": [
        {"name": "a", "components": [{"name": "b", "components": parts(700)}]}, {"name": "c"}]}),
    );
    let names: Vec<&str> = found.packages.iter().take(3).map(|p| p.name.as_str()).collect();
    assert_eq!((found.total, found.packages.len(), names), (703, MAX_PACKAGES, vec!["a", "b", "part0"]));
}
