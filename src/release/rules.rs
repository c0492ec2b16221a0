//! Alarm rules, compiled before anything is uploaded. They come from strangers, and the parser of their language may take what time and stack it
//! likes, so it runs in a confined child as the whole check does, for a few seconds.

use std::time::Duration;

use app_package::manifest::AppManifest;
use inference::sandbox::Limits;
use inference::worker::{self, RuleTrouble};

use crate::base::app::App;
use crate::base::child::{Child, Folder, child};
use crate::base::error::{Error, Result};
use crate::base::open::Whose;
use crate::base::turns::Queue;

/// The hidden command that turns this program into the child.
pub const CHILD_COMMAND: &str = "rules-child";
/// Limits of the child: processor time, and time in all.
const CPU_SECONDS: u64 = 2;
const WALL: Duration = Duration::from_secs(4);
/// Two children at a time, each of which takes 4 s at most, and one organisation has as many at once: some made by one person to fill the queue
/// leave places, and a turn within a minute.
static COMPILING: Queue = Queue::new(2, 30);
const OF_AN_ORGANIZATION: usize = 2;

/// What is wrong with the alarm rules of an app whose app.yaml has no other fault. Where the child gives no answer, nothing is: the check says
/// later what is wrong.
///
/// # Errors
/// `too-many-connections`: more are under way for the organisation; `server-busy`: too many wait for their turn.
pub async fn troubles(app: &App, organization_id: &str, manifest: &AppManifest, yaml: &str) -> Result<Vec<RuleTrouble>> {
    if manifest.alarms().is_empty() && manifest.procedures.is_empty() {
        return Ok(Vec::new());
    }
    let Some(Child { program, limits, .. }) = child(&app.settings.checks)? else { return Ok(Vec::new()) };
    let entry = app.open.enter(Whose::Rules(organization_id.to_owned()), OF_AN_ORGANIZATION)?;
    // Held by the work itself, which goes on where its caller has gone.
    let held = (entry, COMPILING.turn().await?);
    let (folder, yaml) = (Folder::new(&app.settings, "rules"), yaml.to_owned());
    let limits = Limits { cpu_seconds: CPU_SECONDS, ..limits };
    let run = move || -> Result<Vec<RuleTrouble>> {
        let _held = held;
        let dir = std::fs::canonicalize(folder.make()?)?;
        std::fs::write(dir.join("app.yaml"), yaml)?;
        Ok(worker::run_rules(&program, &[CHILD_COMMAND], &dir, &limits, WALL).unwrap_or_default())
    };
    tokio::task::spawn_blocking(run).await.map_err(Error::internal)?
}
