use super::*;
use serde_json::json;

fn extensions() -> Extensions {
    Extensions {
        release: ReleaseRef { repository: "deepseam/belt-watch".into(), digest: Digest::of(b"r"), version: "1.2.0+b1".parse().unwrap() },
        signature: Some(Digest::of(b"s")),
        license: "a.b.c".into(),
        parameters: [("min_score".to_owned(), json!(0.6))].into_iter().collect(),
        safety: true,
        place: "一号井 · 主运 1 号".into(),
        recalled: None,
    }
}

fn deployment() -> ApplicationDeployment {
    ApplicationDeployment::onnx(OnnxDeployment {
        id: "dep_1",
        namespace: "dongtan",
        device_id: "nod_1",
        registry: "127.0.0.1:8443",
        pithead: extensions(),
    })
}

#[test]
fn empty_state_has_a_null_bundle() {
    let state = StateManifest { manifest_version: 1, bundle: None, deployments: vec![] };
    assert_eq!(serde_json::to_string(&state).unwrap(), r#"{"manifestVersion":1,"bundle":null,"deployments":[]}"#);
}

#[test]
fn state_field_names() {
    let digest = Digest::of(b"x");
    let state = StateManifest {
        manifest_version: u64::MAX,
        bundle: Some(BundleRef { media_type: BUNDLE_TYPE.into(), digest: digest.clone(), size_bytes: Some(3), url: "/b".into() }),
        deployments: vec![DeploymentRef { deployment_id: "d".into(), digest: digest.clone(), size_bytes: None, url: "/d".into() }],
    };
    let json = serde_json::to_value(&state).unwrap();
    let expected = json!({
        "manifestVersion": u64::MAX,
        "bundle": {"mediaType": BUNDLE_TYPE, "digest": digest, "sizeBytes": 3, "url": "/b"},
        "deployments": [{"deploymentId": "d", "digest": digest, "url": "/d"}]
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<StateManifest>(json).unwrap(), state);
}

#[test]
fn deployment_field_names_and_round_trip() {
    let json = serde_json::to_value(deployment()).unwrap();
    assert_eq!(json["metadata"], json!({"name": "belt-watch", "namespace": "dongtan", "deviceId": "nod_1", "annotations": {}}));
    assert_eq!(json["spec"]["applicationId"], "deepseam-belt-watch");
    assert_eq!(json["spec"]["deploymentProfile"]["type"], "custom");
    let component = &json["spec"]["deploymentProfile"]["components"][0];
    assert_eq!(component["properties"], json!({"repository": "oci://127.0.0.1:8443/deepseam/belt-watch", "revision": "1.2.0_b1"}));
    let target = json!([{"pointer": "/parameters/min_score", "components": ["belt-watch"]}]);
    assert_eq!(json["spec"]["parameters"]["min_score"], json!({"value": 0.6, "targets": target}));
    assert_eq!(json["spec"]["x-pithead-extensions"]["release"]["version"], "1.2.0+b1");
    assert_eq!(serde_json::from_value::<ApplicationDeployment>(json).unwrap(), deployment());
}

#[test]
fn unknown_keys_are_refused_but_vendor_extensions_kept() {
    let mut json = serde_json::to_value(deployment()).unwrap();
    json["spec"]["x-acme-extensions"] = json!({"a": 1});
    let read: ApplicationDeployment = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read.spec.extensions["x-acme-extensions"], json!({"a": 1}));
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    for place in ["/spec", "/spec/deploymentProfile", "/spec/deploymentProfile/components/0", ""] {
        let mut bad = json.clone();
        bad.pointer_mut(place).unwrap()["surprise"] = json!(1);
        let error = serde_json::from_value::<ApplicationDeployment>(bad).unwrap_err().to_string();
        assert!(error.contains("surprise"), "{place}: {error}");
    }
}

#[test]
fn extension_keys_and_device_ids() {
    for key in ["x-a-extensions", "x-pithead-extensions", "x-a1-b-extensions"] {
        assert!(is_extension_key(key), "{key}");
    }
    for key in ["x--extensions", "x-extensions", "x-1a-extensions", "x-A-extensions", "extensions", "x-a-extension"] {
        assert!(!is_extension_key(key), "{key}");
    }
    assert!(is_device_id("gw-1/child_2~x.y"));
    for id in ["", "/a", "a/", "a//b", "a b", "煤", "a/*"] {
        assert!(!is_device_id(id), "{id}");
    }
}

#[test]
fn capabilities_of_the_conformance_runner() {
    let json = json!({"properties": {
        "id": "dev-1", "vendor": "v", "modelNumber": "m", "serialNumber": "s",
        "cpus": [{"cores": 4, "architecture": "amd64"}], "memory": "8Gi", "storage": "64Gi",
        "peripherals": [{"type": "gpu", "manufacturer": "n", "model": "x"}], "interfaces": [{"type": "ethernet"}],
        "otelCollector": false, "supportedRuntimes": ["oci", "custom"], "supportedDeploymentTypes": ["helm", "compose", "custom"]
    }, "labels": {RUNTIME_LABEL: "1.19", "n": 1, "b": true, "l": ["a"]}});
    let read: DeviceCapabilities = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read.faults(), []);
    let mut written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["properties"]["cpus"][0]["cores"].take(), json!(4.0));
    assert_eq!(written["properties"]["modelNumber"], "m");
    let gateway = json!({"properties": {"id": "g", "vendor": "v", "modelNumber": "m", "serialNumber": "s"}});
    assert!(DeviceCapabilities::read(gateway).is_ok());
}

/// Each key that the types know stands in the shape, and what the types cannot read the shape refuses.
#[test]
fn shape_and_type_of_a_document_agree() {
    let status = DeploymentStatus {
        device_id: Some("d".into()),
        ..DeploymentStatus::of(
            "dep_1",
            7,
            vec![ComponentStatus {
                name: "c".into(),
                state: State::Failed,
                error: Some(StatusError { code: "c".into(), source: "s".into(), message: "m".into() }),
            }],
        )
    };
    let capabilities = json!({"properties": {
        "id": "dev-1", "vendor": "v", "modelNumber": "m", "serialNumber": "s", "cpus": [{"cores": 4.5, "architecture": "amd64"}], "memory": "8Gi",
        "storage": "64Gi", "peripherals": [{"type": "gpu", "manufacturer": "n", "model": "x"}], "interfaces": [{"type": "ethernet"}],
        "otelCollector": false, "supportedRuntimes": ["oci"], "supportedDeploymentTypes": ["helm"]
    }, "labels": {"a": "b"}});
    type Read = fn(Value) -> Result<(), Vec<FieldFault>>;
    let documents: [(Value, Read); 2] = [
        (serde_json::to_value(status).unwrap(), |v| DeploymentStatus::read(v).map(|_| ())),
        (capabilities, |v| DeviceCapabilities::read(v).map(|_| ())),
    ];
    for (document, read) in documents {
        read(document.clone()).unwrap();
        for path in leaves(&document, String::new()) {
            for other in [json!(null), json!(true), json!(-1.5), json!("\u{1}"), json!([[]]), json!({"\u{1}": []})] {
                let mut changed = document.clone();
                *changed.pointer_mut(&path).unwrap() = other.clone();
                if let Err(faults) = read(changed) {
                    assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.field.is_empty()), "{path} {other}: {faults:?}");
                }
            }
        }
    }
}

/// Pointers of all values of a document but itself.
fn leaves(value: &Value, path: String) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (format!("{path}/{key}"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, value)| (format!("{path}/{i}"), value)).collect(),
        _ => Vec::new(),
    };
    below.into_iter().flat_map(|(path, value)| [vec![path.clone()], leaves(value, path)].concat()).collect()
}

#[test]
fn faults_are_bounded_and_quote_no_parser() {
    let many: Map<String, Value> = (0..500).map(|n| (format!("{n}{}", "k".repeat(500)), json!(1))).collect();
    let faults = DeviceCapabilities::read(Value::Object(many)).unwrap_err();
    assert_eq!(faults.len(), 50);
    assert!(faults.iter().all(|fault| fault.field.chars().count() <= 80 && !fault.message.contains("expected")), "{faults:?}");
    assert_eq!(DeploymentStatus::read(json!([])).unwrap_err()[0].message, "must be an object");
}

#[test]
fn capabilities_out_of_schema() {
    let json = json!({"properties": {
        "id": "a b", "vendor": "v", "modelNumber": "m", "serialNumber": "s", "cpus": [{"cores": -1, "architecture": "mips"}],
        "supportedRuntimes": ["containerd-direct"], "supportedDeploymentTypes": ["docker-swarm"]
    }, "labels": {"x": {}}});
    let faults = serde_json::from_value::<DeviceCapabilities>(json).unwrap().faults();
    let fields: Vec<_> = faults.iter().map(|f| f.field.as_str()).collect();
    let expected = [
        "properties.id",
        "properties.cpus[0].cores",
        "properties.cpus[0].architecture",
        "properties.supportedRuntimes[0]",
        "properties.supportedDeploymentTypes[0]",
        "labels.x",
    ];
    assert_eq!(fields, expected);
    assert!(serde_json::from_value::<DeviceCapabilities>(json!({"properties": {"id": "a"}})).is_err());
    let envelope = json!({"kind": "X", "properties": {"id": "g", "vendor": "v", "modelNumber": "m", "serialNumber": "s"}});
    assert!(serde_json::from_value::<DeviceCapabilities>(envelope).is_err());
}

#[test]
fn overall_is_the_most_severe() {
    use State::{Failed, Installed, Installing, Pending, Removed, Removing};
    let order = [Installed, Removed, Pending, Installing, Removing, Failed];
    for pair in order.windows(2) {
        assert_eq!(overall([pair[1], pair[0], Installed]), pair[1]);
    }
    assert_eq!(overall([]), Pending);
    for state in order {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn status_field_names_and_templated_version() {
    let error = StatusError { code: "golden-differs".into(), source: "agent".into(), message: "m".into() };
    let component = ComponentStatus { name: "belt-watch".into(), state: State::Failed, error: Some(error.clone()) };
    let status = DeploymentStatus::of("dep_1", 7, vec![component]);
    assert_eq!(status.status.error, Some(error));
    let mut json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["adoptedManifestVersion"], 7);
    assert_eq!(json["status"]["state"], "failed");
    assert_eq!(serde_json::from_value::<DeploymentStatus>(json.clone()).unwrap(), status);
    json["adoptedManifestVersion"] = json!("7");
    assert_eq!(serde_json::from_value::<DeploymentStatus>(json.clone()).unwrap(), status);
    for bad in [json!("seven"), json!(-1), json!(1.5), json!(null)] {
        json["adoptedManifestVersion"] = bad;
        assert!(serde_json::from_value::<DeploymentStatus>(json.clone()).is_err());
    }
    assert_eq!(status.faults(), []);
    assert_eq!(DeploymentStatus { adopted_manifest_version: 0, deployment_id: String::new(), ..status }.faults().len(), 2);
}
