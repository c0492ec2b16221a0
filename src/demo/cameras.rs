//! The demo's cameras: the clips of `demo/cameras`, over and over, at which nodes look by themselves and raise alarms.
//!
//! A node that has a `sources.json` keeps it: what a person has changed is theirs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Options;
use super::nodes::Fleet;

/// Frames a second: each second one of the clips, so that cameras take little from a machine that has just begun to check apps.
const RATE: f64 = 2.5;

struct Camera {
    /// Place of its node among the demo's.
    node: usize,
    id: &'static str,
    name: &'static str,
    app: &'static str,
    /// File in `demo/cameras`.
    clip: &'static str,
}

static CAMERAS: [Camera; 3] = [
    Camera { node: 0, id: "belt-2", name: "2号带式输送机机尾", app: "heitan-vision/belt-foreign-object", clip: "belt-lump.mp4" },
    Camera { node: 1, id: "main-belt", name: "主斜井皮带机头", app: "heitan-vision/belt-foreign-object", clip: "belt-bolt.mp4" },
    Camera { node: 1, id: "belt-roadway", name: "主斜井皮带巷", app: "heitan-vision/smoke-fire", clip: "roadway-fire.mp4" },
];

/// Waits for ffmpeg, which may still be on its way, then gives the nodes their cameras. Their agents begin with them by themselves.
pub async fn set_up(options: &Options, nodes: &Fleet) -> anyhow::Result<()> {
    if options.edge_bin.is_none() {
        return Ok(());
    }
    let Some(ffmpeg) = &options.ffmpeg else {
        println!("\nThere are no cameras, for no ffmpeg was named (--ffmpeg).");
        return Ok(());
    };
    if !ffmpeg.exists() {
        println!("\nThe cameras begin when ffmpeg is there: {}", ffmpeg.display());
    }
    while !ffmpeg.exists() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let clips = options.apps.with_file_name("cameras");
    let addresses = nodes.addresses();
    let mut pages = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let cameras: Vec<&Camera> = CAMERAS.iter().filter(|camera| camera.node == index).collect();
        if !cameras.is_empty() {
            lay(&clips, &nodes.folder(index), &cameras)?;
            pages.push(format!("{address}/sources"));
        }
    }
    println!("\nCameras raise alarms by themselves: see {}, and http://127.0.0.1:{}/duty/board.", pages.join(", "), options.port);
    Ok(())
}

/// Lays clips and `sources.json` into the folder of a node that has none.
fn lay(clips: &Path, node: &Path, cameras: &[&Camera]) -> anyhow::Result<()> {
    let file = node.join("sources.json");
    if file.exists() {
        return Ok(());
    }
    let media = node.join("media");
    std::fs::create_dir_all(&media).with_context(|| format!("cannot make {}", media.display()))?;
    for camera in cameras {
        let (from, to) = (clips.join(camera.clip), media.join(camera.clip));
        if !to.exists() {
            let temporary = to.with_extension("new");
            let copied = std::fs::copy(&from, &temporary).and_then(|_| std::fs::rename(&temporary, &to));
            copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
    }
    let sources: Vec<Value> = cameras.iter().map(|camera| source(camera)).collect();
    // The agent looks at any moment: it sees all of the file or none.
    let temporary = node.join("sources.json.new");
    std::fs::write(&temporary, serde_json::to_string_pretty(&json!({ "sources": sources }))?)?;
    std::fs::rename(&temporary, &file).with_context(|| format!("cannot write {}", file.display()))
}

fn source(camera: &Camera) -> Value {
    let apps = json!([{ "app": camera.app, "place": camera.name }]);
    json!({ "id": camera.id, "name": camera.name, "kind": "file", "address": camera.clip, "rate": RATE, "apps": apps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_changed_stays() {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-cameras"));
        let clips = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/cameras");
        let cameras: Vec<&Camera> = CAMERAS.iter().filter(|camera| camera.node == 1).collect();
        lay(&clips, &folder, &cameras).unwrap();
        let file: Value = serde_json::from_slice(&std::fs::read(folder.join("sources.json")).unwrap()).unwrap();
        let sources = file["sources"].as_array().unwrap();
        assert_eq!(sources.len(), 2, "{file}");
        for source in sources {
            assert!(folder.join("media").join(source["address"].as_str().unwrap()).exists(), "{source}");
        }
        std::fs::write(folder.join("sources.json"), "{\"sources\": []}").unwrap();
        lay(&clips, &folder, &cameras).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("sources.json")).unwrap(), "{\"sources\": []}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
