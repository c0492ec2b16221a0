//! The hidden test sets of the demo: the folders of `demo/evaluation`, packed and sent as an administrator does.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::publish::{read_folder, to_anyhow};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::jobs;
use crate::evaluation;
use crate::evaluation::model::SetForm;

/// Scenario (also the folder's name), metric, and names (zh, en).
const SETS: [(&str, &str, &str, &str); 2] = [
    ("belt-foreign-object", "map-50", "皮带异物盲测集", "Belt blind test"),
    ("coke-quality", "mae", "焦炭反应后强度盲测集", "Coke strength blind test"),
];

/// Makes the sets; `apps` is the folder of the demo apps, beside which they lie.
pub async fn make(app: &App, apps: &Path, administrator: &Actor) -> anyhow::Result<()> {
    for (scenario, metric, zh, en) in SETS {
        let bytes = pack(&apps.with_file_name("evaluation").join(scenario))?;
        let form = SetForm { scenario: scenario.into(), name_zh: zh.into(), name_en: en.into(), metric: metric.into() };
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
        let made = evaluation::service::create(app, administrator, &form, body).await.map_err(to_anyhow)?;
        made.map_err(|faults| anyhow::anyhow!("test set {scenario}: {faults:?}"))?;
    }
    Ok(())
}

/// Waits until the server has done all checks and scores, so that listings have their figures from the start.
pub async fn scored(app: &App) -> anyhow::Result<()> {
    loop {
        if app.db.read(|conn| jobs::count_open(conn, jobs::Lane::Checks)).await.map_err(to_anyhow)? == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Packs a folder into a tar archive.
fn pack(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in read_folder(folder)? {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(tar.into_inner()?)
}
