//! `pithead push`: a folder into the registry, as the browser does it: check first (here what needs no platform, there the rest), skip what
//! the server has, send what it has not in chunks, go on after a lost connection, then put the manifest under its version, and sign it where
//! that is asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use app_package::digest::Digest;
use app_package::oci::{CONFIG_TYPE, Descriptor, MANIFEST_TYPE, build_manifest, config_json};
use clap::Args;
use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{self, Credentials, MAX_ANSWER, Remote};
use super::folder::Folder;
use super::package::{self, AT_FAULT, Output};
use super::progress::Progress;
use super::sign::{self, Key};
use super::upload::{Source, send};
use crate::release::model;

/// `pithead push DIR --server URL --token-file FILE`.
#[derive(Debug, Args)]
pub struct Push {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// Address of the site, for example `https://market.example`.
    #[arg(long)]
    pub server: Url,
    /// Token with the scope `publish`.
    #[command(flatten)]
    pub credentials: Credentials,
    /// Sign the release with this private key, as `pithead sign` does.
    #[arg(long, value_name = "FILE")]
    pub sign: Option<PathBuf>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Faults that only the platform knows of.
#[derive(Debug, thiserror::Error)]
#[error("the platform's check found faults")]
struct Faulty(Vec<PlatformFault>);

/// A fault as `/vendor/upload/check` tells it.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct PlatformFault {
    code: String,
    line: Option<u32>,
    key: String,
    message: Both,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Both {
    zh: String,
    en: String,
}

#[derive(Deserialize)]
struct Target {
    vendor: String,
}

/// What a push has made.
struct Pushed {
    address: Url,
    digest: Digest,
    version: String,
    kid: Option<String>,
}

/// Pushes a folder.
pub fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let server = client::site(&args.server, lang)?;
    let token = args.credentials.read(lang)?.ok_or_else(|| anyhow::anyhow!(lang.t("cli-token-needed")))?;
    let key = args.sign.as_deref().map(|file| Key::read(file, lang)).transpose()?;
    let folder = match package::examined(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
    };
    let remote = Remote::new(server, Some(token), lang)?;
    match client::block_on(run(args, &remote, &folder, key.as_ref())) {
        Ok(pushed) => {
            if args.told.json {
                let Pushed { address, digest, version, kid } = &pushed;
                let location = address.as_str();
                package::print(
                    &json!({"ok": true, "location": location, "digest": digest, "version": version, "signed_by": kid, "left_out": folder.left_out}),
                );
            } else {
                print_line!("{}", pushed.address);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(e) => match e.downcast_ref::<Faulty>() {
            Some(Faulty(faults)) => {
                tell(&args.dir, faults, &args.told);
                Ok(ExitCode::from(AT_FAULT))
            }
            None => client::conclude(Err(e), &args.told),
        },
    }
}

async fn run(args: &Push, remote: &Remote, folder: &Folder, key: Option<&Key>) -> anyhow::Result<Pushed> {
    let lang = remote.lang;
    let packed = folder.pack(args.told.json, lang)?;
    let vendor = vendor(remote).await?;
    let name = &folder.manifest.name;
    let version = folder.manifest.version.to_string();
    let repository = format!("{vendor}/{name}");
    let manifest = build_manifest(&folder.manifest, &vendor, &packed);
    let digest = Digest::of(&manifest);
    let known = is_known(remote, &repository, &version, &digest).await?;
    check(remote, folder, known).await?;
    let mut progress = Progress::new(folder.bytes(), args.told.json);
    for (file, local) in packed.iter().zip(&folder.files) {
        send(remote, &repository, &file.digest, file.size, &Source::File(local.source.clone()), &local.path, &mut progress).await?;
    }
    let config = config_json(&folder.manifest);
    let of_config = Descriptor::of(CONFIG_TYPE, &config).digest;
    send(remote, &repository, &of_config, config.len() as u64, &Source::Bytes(config), "config", &mut progress).await?;
    progress.end(lang);
    remote.put_manifest(&repository, &version, &manifest).await?;
    if let Some(key) = key {
        let subject = Descriptor::of(MANIFEST_TYPE, &manifest);
        sign::attach(remote, key, (&vendor, name), &folder.manifest.version, &subject).await?;
    }
    let address = args.server.join(&model::address(name, &version))?;
    Ok(Pushed { address, digest, version, kid: key.map(|key| key.kid.clone()) })
}

/// Faults of the platform's check, as those of the folder are told.
fn tell(dir: &Path, faults: &[PlatformFault], told: &Output) {
    if told.json {
        package::print(&json!({"ok": false, "faults": faults}));
        return;
    }
    let source = dir.join(app_package::oci::SOURCE_FILE);
    for fault in faults {
        let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
        let key = if fault.key.is_empty() { String::new() } else { format!(" {}:", fault.key) };
        let message = told.language().pick(&fault.message.zh, &fault.message.en);
        eprintln!("{}{line}:{key} {message} [{}]", source.display(), fault.code);
    }
}

/// Under which name this token publishes. The first call.
async fn vendor(remote: &Remote) -> anyhow::Result<String> {
    let response = remote.first(|| Ok(remote.request(Method::GET, remote.address("/vendor/upload/target")?))).await?;
    let response = remote.expect(response, &[StatusCode::OK]).await?;
    let target: Target = serde_json::from_slice(&remote.body(response, MAX_ANSWER).await?).context(remote.lang.t("cli-no-pithead"))?;
    Ok(target.vendor)
}

/// Whether the version is there already, just as this.
async fn is_known(remote: &Remote, repository: &str, version: &str, digest: &Digest) -> anyhow::Result<bool> {
    let path = format!("/v2/{repository}/manifests/{version}");
    let head = remote.patiently(|| Ok(remote.request(Method::HEAD, remote.address(&path)?).header(ACCEPT, MANIFEST_TYPE))).await?;
    let there = (head.status() == StatusCode::OK).then(|| head.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()));
    Ok(there.flatten() == Some(digest.as_str()))
}

/// What the browser asks before it sends anything: the platform knows of faults that the folder does not show.
async fn check(remote: &Remote, folder: &Folder, known: bool) -> anyhow::Result<()> {
    let files: Vec<_> = folder.files.iter().map(|f| json!({"path": f.path, "size": f.size})).collect();
    let body = json!({"yaml": folder.yaml, "files": files});
    let response = remote.patiently(|| Ok(remote.request(Method::POST, remote.address("/vendor/upload/check")?).json(&body))).await?;
    if response.status() != StatusCode::UNPROCESSABLE_ENTITY {
        return remote.expect(response, &[StatusCode::OK]).await.map(|_| ());
    }
    let body: serde_json::Value = serde_json::from_slice(&remote.body(response, MAX_ANSWER).await?).unwrap_or_default();
    let Some(faults) = body.get("faults").cloned() else { return Err(remote.refused(StatusCode::UNPROCESSABLE_ENTITY, &body)) };
    let mut faults: Vec<PlatformFault> = serde_json::from_value(faults).context(remote.lang.t("cli-no-pithead"))?;
    // Sent again, it is no other version.
    faults.retain(|fault| !(known && fault.code == "release-version-taken"));
    if faults.is_empty() { Ok(()) } else { Err(Faulty(faults).into()) }
}
