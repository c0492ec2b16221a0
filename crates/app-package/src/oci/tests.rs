use super::*;

fn app() -> AppManifest {
    crate::validate::parse(include_str!("../../fixtures/app.yaml")).unwrap()
}

fn files() -> Vec<PackedFile> {
    ["model.onnx", "app.yaml", "golden/bolt-1.png", "golden/bolt-1.json", "media/cover.png", "README.md", "labels.txt"]
        .map(|path| PackedFile { path: PackagePath::parse(path).unwrap(), digest: Digest::of(path.as_bytes()), size: path.len() as u64 })
        .into()
}

#[test]
fn manifest_is_the_same_for_any_order_of_files() {
    let mut reversed = files();
    reversed.reverse();
    reversed.push(reversed[0].clone());
    assert_eq!(build_manifest(&app(), "deepseam", &files()), build_manifest(&app(), "deepseam", &reversed));
}

#[test]
fn manifest_bytes_are_pinned() {
    let one = [files()[0].clone()];
    let config = Descriptor::of(CONFIG_TYPE, &config_json(&app()));
    let expected = format!(
        concat!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.pithead.app.v1+json","#,
            r#""config":{{"mediaType":"application/vnd.pithead.app.config.v1+json","digest":"{}","size":{}}},"#,
            r#""layers":[{{"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":"{}","size":10,"annotations":{{"org.opencontainers.image.title":"model.onnx"}}}}],"#,
            r#""annotations":{{"org.opencontainers.image.licenses":"Apache-2.0","org.opencontainers.image.title":"Belt foreign-object watch","#,
            r#""org.opencontainers.image.vendor":"deepseam","org.opencontainers.image.version":"1.2.0"}}}}"#
        ),
        config.digest, config.size, one[0].digest
    );
    assert_eq!(String::from_utf8(build_manifest(&app(), "deepseam", &one)).unwrap(), expected);
}

#[test]
fn config_begins_with_the_fields_in_order() {
    let text = String::from_utf8(config_json(&app())).unwrap();
    assert!(text.starts_with(r#"{"format":1,"name":"belt-watch","version":"1.2.0","title":{"zh":"#), "{text}");
    assert!(!text.contains("null"));
}

#[test]
fn media_types_follow_roles() {
    let table = [
        ("model.onnx", WEIGHT_TYPE),
        ("app.yaml", WEIGHT_CONFIG_TYPE),
        ("labels.txt", WEIGHT_CONFIG_TYPE),
        ("config.json", WEIGHT_CONFIG_TYPE),
        ("golden/bolt-1.json", "application/json"),
        ("golden/bolt-1.png", "image/png"),
        ("a/b.JPG", "image/jpeg"),
        ("x.csv", "text/csv"),
        ("README.md", DOC_TYPE),
        ("LICENSE", DOC_TYPE),
        ("what", "application/octet-stream"),
    ];
    for (path, media_type) in table {
        assert_eq!(media_type_for(path, &app()), media_type, "{path}");
    }
}

#[test]
fn built_manifest_parses_and_finds_layers() {
    let manifest = ImageManifest::parse(&build_manifest(&app(), "deepseam", &files())).unwrap();
    assert_eq!(manifest.effective_artifact_type(), ARTIFACT_TYPE);
    assert_eq!(manifest.layers.len(), 7);
    assert_eq!(manifest.layer(SOURCE_FILE).unwrap().media_type, WEIGHT_CONFIG_TYPE);
    assert_eq!(manifest.layers[0].path().unwrap().as_str(), "README.md");
    assert!(manifest.layer("nothing").is_none());
}

#[test]
fn signature_is_a_referrer_with_the_empty_config() {
    let mut subject = Descriptor::of(MANIFEST_TYPE, b"release");
    subject.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    let manifest = ImageManifest::parse(&signature_manifest(SIGNATURE_TYPE, &subject, b"envelope")).unwrap();
    assert_eq!(manifest.config.digest.as_str(), "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_eq!(manifest.artifact_type.as_deref(), Some(SIGNATURE_TYPE));
    assert_eq!(manifest.layers, [Descriptor::of(DSSE_TYPE, b"envelope")]);
    let found = manifest.subject.unwrap();
    assert_eq!((found.digest, found.annotations), (subject.digest, None));
}

#[test]
fn pushed_manifests_are_read_tolerantly_but_not_blindly() {
    let config = format!(r#"{{"mediaType":"application/x","digest":"{}","size":2,"urls":[],"data":"e30="}}"#, Digest::of(b"{}"));
    let foreign = format!(r#"{{"schemaVersion":2,"config":{config},"unknown":true}}"#);
    assert_eq!(ImageManifest::parse(foreign.as_bytes()).unwrap().effective_artifact_type(), "application/x");
    let code = |text: String| ImageManifest::parse(text.as_bytes()).unwrap_err().code();
    assert_eq!(code(format!(r#"{{"schemaVersion":1,"config":{config}}}"#)), "manifest-wrong-kind");
    assert_eq!(code(format!(r#"{{"schemaVersion":2,"mediaType":"text/plain","config":{config}}}"#)), "manifest-wrong-kind");
    assert_eq!(code(r#"{"schemaVersion":2}"#.into()), "manifest-malformed");
    assert_eq!(code(foreign.replace("\"size\":2", "\"size\":-2")), "manifest-malformed");
    assert_eq!(code(foreign.replace("sha256:", "sha256:../")), "manifest-malformed");
    assert_eq!(code("[".repeat(100_000)), "manifest-malformed");
    assert_eq!(code(" ".repeat(MAX_MANIFEST_BYTES + 1)), "manifest-too-large");
}

#[test]
fn hostile_titles_are_no_paths() {
    let mut layer = Descriptor::of(WEIGHT_TYPE, b"x");
    assert_eq!(layer.path(), None);
    layer.annotations = Some([(TITLE.to_owned(), "../../etc/cron.d/x".to_owned())].into());
    assert_eq!(layer.path(), None);
}

#[test]
fn layout_round_trip() {
    let release = Descriptor::of(MANIFEST_TYPE, b"release");
    let signature = Descriptor { artifact_type: Some(SIGNATURE_TYPE.into()), ..Descriptor::of(MANIFEST_TYPE, b"signature") };
    let bytes = layout::index_json(&[(release.clone(), Some("1.2.0")), (signature.clone(), None)]);
    let index = layout::read(&layout::layout_json(), &bytes).unwrap();
    assert_eq!(
        index.manifests.iter().map(|d| d.annotations.as_ref()?.get(layout::REF_NAME).map(String::as_str)).collect::<Vec<_>>(),
        [Some("1.2.0"), None]
    );
    assert_eq!(index.manifests[1], signature);
    let path = layout::blob_path(&release.digest);
    assert_eq!(layout::blob_digest(&path), Some(release.digest));
    assert_eq!(layout::blob_digest("blobs/sha256/../../x"), None);
    assert_eq!(layout::blob_digest("index.json"), None);
    assert!(layout::read(br#"{"imageLayoutVersion":"9"}"#, &bytes).is_err());
}
