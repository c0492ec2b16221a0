//! Parsers of what is signed, sent by nodes, or made by those who keep test sets.

use std::fs::File;

use app_package::{
    digest::Digest,
    evidence::{self, Expected, Standing},
    keys::KeySet,
    license::{self, Claims},
    manifest::Tolerance,
    margo::{ApplicationDeployment, DeploymentStatus, DeviceCapabilities, StateManifest},
    public_key,
};
use ed25519_dalek::SigningKey;
use inference::{
    evaluate::{archive::Archive, metrics::Metric, set::TestSet},
    golden,
    output::AppOutput,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    hostile::Rng,
    parsers::{Examples, damaged, damaged_text, ensure},
};

const CLAIMS: &str = r#"{"iss":"https://market.example","sub":"org_1","jti":"lic_1","iat":1767225600,"nbf":1767225600,"exp":1798761600,
"app":"acme/belt","versions":"^1","plan":"year","nodes":["spiffe://mine.example/margo/wfm/p/client/nod_1"],"node_limit":1,"grace_days":30,
"enforcement":"block","safety":false,"digests":[]}"#;
const STATUS: &str = r#"{"deploymentId":"dep_1","adoptedManifestVersion":"7","status":{"state":"failed","error":{"code":"golden-differs",
"source":"agent","message":"m"}},"components":[{"name":"belt","state":"failed"},{"name":"other","state":"installed"}]}"#;
const CAPABILITIES: &str = r#"{"properties":{"id":"dev-1","vendor":"v","modelNumber":"m","serialNumber":"s",
"cpus":[{"cores":4,"architecture":"amd64"}],"memory":"8Gi","storage":"64Gi","peripherals":[{"type":"gpu"}],
"interfaces":[{"type":"ethernet"}],"supportedRuntimes":["oci"],"supportedDeploymentTypes":["custom"]},"labels":{"n":1,"l":["a"]}}"#;
const STATE: &str = r#"{"manifestVersion":3,"bundle":null,"deployments":[{"deploymentId":"dep_1","sizeBytes":1,
"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","url":"/api/v1/deployments/dep_1/x"}]}"#;
const DEPLOYMENT: &str = "id: dep_1
metadata: {name: belt, namespace: mine, deviceId: nod_1, annotations: {}}
spec:
  applicationId: acme-belt
  deploymentProfile:
    type: custom
    components:
    - name: belt
      properties: {repository: oci://host/acme/belt, revision: 1.2.0}
  parameters:
    min_score:
      value: 0.6
      targets:
      - {pointer: /parameters/min_score, components: [belt]}
  x-pithead-extensions:
    release:
      repository: acme/belt
      digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
      version: 1.2.0
    license: a.b.c
    parameters: {min_score: 0.6}
    safety: true
    place: North
";
const SAMPLES: usize = 10;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A licence that is not the one that was signed is none.
pub fn license_token(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let claims: Claims = serde_json::from_str(CLAIMS).map_err(|e| e.to_string())?;
    let mut keys = KeySet::new();
    let kid = keys.insert(key().verifying_key());
    let token = license::sign(&claims, &key(), &kid).map_err(|e| e.to_string())?;
    ensure(license::verify(&token, &keys).as_ref() == Ok(&claims), "an undamaged licence is refused")?;
    let text = String::from_utf8_lossy(&damaged(&token, rng)).into_owned();
    match license::verify(&text, &keys) {
        Ok(found) => ensure(found == claims, "a signature fits claims that were never signed"),
        Err(_) => Ok(()),
    }
}

pub fn key_text(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let public = key().verifying_key();
    let mut keys = KeySet::new();
    keys.insert(public);
    let jwks = keys.to_jwks();
    let text = match rng.below(2) {
        0 => public_key::to_pem(&public),
        _ => jwks["keys"][0].to_string().replace(',', ",\n"),
    };
    if let Ok(found) = public_key::parse(&damaged_text(&text, rng)) {
        ensure(public_key::parse(&public_key::to_pem(&found)) == Ok(found), "written and read, another key")?;
    }
    let text = damaged_text(&jwks.to_string().replace(',', ",\n"), rng);
    let Ok(value) = serde_json::from_str(&text) else { return Ok(()) };
    let Ok(set) = KeySet::from_jwks(&value) else { return Ok(()) };
    let again = KeySet::from_jwks(&set.to_jwks()).map_err(|e| e.to_string())?;
    ensure(again.to_jwks() == set.to_jwks(), "written and read, another set of keys")
}

/// An envelope that is judged valid says what it must.
pub fn judged(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let expected = Expected { digest: &Digest::of(&examples.oci), vendor: "acme", app: &examples.name, version: None };
    let judged = evidence::judge(&examples.envelope, &expected, &examples.keys, &examples.keys);
    ensure(judged.standing == Standing::Valid, "an undamaged signature is not valid")?;
    let judged = evidence::judge(&damaged(&examples.envelope, rng), &expected, &KeySet::new(), &examples.keys);
    ensure(judged.standing != Standing::Valid && judged.kid.chars().count() <= 200, "valid without the platform's key, or a long key id")
}

/// JSON that is taken is written as it is read.
fn read_again<T: DeserializeOwned + Serialize>(text: &str, rng: &mut Rng) -> Result<Option<T>, String> {
    let text = damaged_text(&text.replace(',', ",\n"), rng);
    let Ok(found) = serde_json::from_str::<T>(&text) else { return Ok(None) };
    let written = serde_json::to_value(&found).map_err(|e| e.to_string())?;
    let again: T = serde_json::from_value(written.clone()).map_err(|e| format!("{e} of what was written"))?;
    ensure(serde_json::to_value(&again).is_ok_and(|twice| twice == written), "written and read, another document")?;
    Ok(Some(found))
}

pub fn margo(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    if let Some(status) = read_again::<DeploymentStatus>(STATUS, rng)? {
        ensure(status.faults().len() <= 1_000, "faults without end")?;
    }
    if let Some(capabilities) = read_again::<DeviceCapabilities>(CAPABILITIES, rng)? {
        ensure(capabilities.faults().len() <= 1_000, "faults without end")?;
    }
    read_again::<StateManifest>(STATE, rng)?;
    // Nodes take the YAML of deployments from the server.
    let Ok(found) = serde_yaml_ng::from_str::<ApplicationDeployment>(&damaged_text(DEPLOYMENT, rng)) else { return Ok(()) };
    let written = serde_yaml_ng::to_string(&found).map_err(|e| e.to_string())?;
    let again: ApplicationDeployment = serde_yaml_ng::from_str(&written).map_err(|e| format!("{e} of what was written"))?;
    ensure(again == found, "written and read, another deployment")
}

pub fn expect(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let text = "{\"classes\": [{\"label\": \"a\", \"score\": 0.5},\n{\"label\": \"b\", \"score\": 0.25}],\n\"values\": [{\"id\": \"v\", \"value\": 1.5, \
                \"unit\": \"\"}],\n\"detections\": [{\"label\": \"a\", \"score\": 0.5,\n\"box\": [1, 2, 3, 4]}]}";
    let right: AppOutput = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let tolerance = Tolerance { absolute: 0.0, relative: 0.0, time: None };
    ensure(golden::compare(&right, &right, &tolerance) == golden::Compared::default(), "a result differs from itself")?;
    let Ok(found) = serde_json::from_str::<AppOutput>(&damaged_text(text, rng)) else { return Ok(()) };
    let compared = golden::compare(&found, &right, &tolerance);
    ensure(compared.worst.is_finite(), "a difference that is no number")?;
    ensure(compared.fault.is_none_or(|e| e.code == "golden-mismatch"), "another error than that the results differ")
}

/// A tar of samples with a damaged file in it, or damaged itself.
pub fn test_set(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let samples = (0..SAMPLES).map(|n| format!("{{\"input\": \"{n}.in\",\n\"expect\": \"{n}.json\"}}")).collect::<Vec<_>>().join(",\n");
    let mut files = vec![("set.json".to_owned(), format!("{{\"format\": 1,\n\"input\": \"tabular\",\n\"samples\": [{samples}]}}"))];
    for n in 0..SAMPLES {
        files.push((format!("{n}.in"), "p,q\n1,2\n3,\"4\"\n".to_owned()));
        files.push((format!("{n}.json"), "{\"values\": [{\"id\": \"v\",\n\"value\": 1.5}]}".to_owned()));
    }
    let place = rng.below(files.len());
    files[place].1 = damaged_text(&files[place].1, rng);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in &files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).map_err(|e| e.to_string())?;
    }
    let mut bytes = tar.into_inner().map_err(|e| e.to_string())?;
    if rng.below(2) == 0 {
        bytes = damaged(&bytes, rng);
    }
    let path = examples.file.with_file_name("set.tar");
    std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
    let outcome = Archive::open(File::open(&path).map_err(|e| e.to_string())?).and_then(|mut archive| {
        let set = TestSet::read(&mut archive, Metric::Mae)?;
        Ok((set.samples.len(), set.check_inputs(&mut archive)))
    });
    let faults = match outcome {
        Ok((samples, faults)) => {
            ensure(samples >= SAMPLES, "a set of fewer samples than are taken")?;
            faults
        }
        Err(faults) => {
            ensure(!faults.is_empty(), "refused without a fault")?;
            faults
        }
    };
    let long = faults.iter().any(|fault| fault.place.chars().count() > 200 || fault.detail.chars().count() > 200);
    ensure(!long && faults.len() <= 1_000, "faults without end")
}

/// A module of the documentation, damaged: it is refused, or its run ends, within its bounds.
pub fn own_step(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    const MODULES: [&[u8]; 2] =
        [include_bytes!("../../../../docs/own-step/bare-heads.wasm"), include_bytes!("../../../../docs/own-step/picodet.wasm")];
    let bytes = damaged(rng.pick(&MODULES), rng);
    match inference::own::try_module(&bytes, 1_000_000, 4 << 20) {
        Ok(tensors) => ensure(tensors <= 16, "more tensors than an answer may have"),
        Err(e) => ensure(e.code.starts_with("wasm-"), &format!("another code: {e}")),
    }
}
