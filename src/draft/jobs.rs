//! The confined children of a draft: one reads its models, one follows answers, one makes the expected results of its samples.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use app_package::digest::Digest;
use app_package::text::Text;
use app_package::validate;
use inference::families::scaffold;
use inference::sandbox::Limits;
use inference::worker::{self, Answers, FILES, FormAnswers, ORDER, Reading, ReadingOrder, ReadingRefusal};

use super::model::{Draft, DraftFile, DraftState, Results, sorted};
use super::{service, store};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::child::{Child, Folder, child};
use crate::base::config::Settings;
use crate::base::db::{Conn, Json, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::storage::BlobStore;
use crate::release::upload::INBOX;
use crate::{account, audit, registry};

/// The hidden commands that turn this program into the child that reads models, and into the one that answers samples.
pub const READING_COMMAND: &str = "reading-child";
pub const SAMPLES_COMMAND: &str = "samples-child";

/// Limits of reading files: processor time, and time in all. Weights are passed over, so that a large model takes no longer.
const READING_SECONDS: u64 = 30;
const READING_WALL: Duration = Duration::from_mins(1);
/// Limits of following an answer.
const FOLLOWING_SECONDS: u64 = 5;
const FOLLOWING_WALL: Duration = Duration::from_secs(10);

/// Reads the models of a draft. One that does not wait for it is left alone, so a second run does nothing.
pub async fn read(app: &App, draft_id: &str) -> Result<()> {
    let Some(draft) = waiting(app, draft_id, DraftState::Reading).await? else { return Ok(()) };
    let (settings, blobs, files, form) =
        (app.settings.clone(), app.blobs.clone(), draft.files.clone().into_inner(), draft.form.clone().into_inner());
    let folder = Folder::new(&app.settings, &draft.id);
    let run = move || -> Result<Reading> {
        let dir = folder.make()?.to_owned();
        lay(&blobs, &files, &dir.join(FILES))?;
        let found = sorted(&files)?;
        let order = ReadingOrder { models: found.models, samples: found.samples, labels: found.labels, facts: None, form };
        run_child(&dir, &order, &settings, READING_SECONDS, READING_WALL)
    };
    let mut reading = tokio::task::spawn_blocking(run).await.map_err(Error::internal)??;
    let facts = reading.facts.take();
    finish(app, Draft { state: DraftState::Read, facts: Json::new(facts), reading: Json::new(reading), ..draft }).await
}

/// The proposal for other answers, out of what was read before. `held` is let go when the child has ended.
pub async fn follow(app: &App, draft: &Draft, form: &FormAnswers, held: impl Send + 'static) -> Result<Reading> {
    // What could not be read is not read again.
    let Some(facts) = draft.facts.clone().into_inner() else { return Ok(draft.reading.clone().into_inner()) };
    let found = sorted(&draft.files)?;
    let order = ReadingOrder { models: found.models, samples: found.samples, labels: found.labels, facts: Some(facts), form: form.clone() };
    let (settings, folder) = (app.settings.clone(), Folder::new(&app.settings, "drafts"));
    let run = move || -> Result<Reading> {
        let _held = held;
        let dir = folder.make()?.to_owned();
        run_child(&dir, &order, &settings, FOLLOWING_SECONDS, FOLLOWING_WALL)
    };
    tokio::task::spawn_blocking(run).await.map_err(Error::internal)?
}

/// Writes the order into a folder and runs the child on it; blocks.
fn run_child(dir: &Path, order: &ReadingOrder, settings: &Settings, cpu_seconds: u64, wall: Duration) -> Result<Reading> {
    let Some(Child { program, limits, .. }) = child(&settings.checks)? else {
        return Ok(refused("engine-missing", "checks.ort_lib names no file"));
    };
    let dir = fs::canonicalize(dir)?;
    fs::write(dir.join(ORDER), serde_json::to_vec(order)?)?;
    Ok(worker::run_reading(&program, &[READING_COMMAND], &dir, &Limits { cpu_seconds, ..limits }, wall))
}

fn refused(code: &str, detail: &str) -> Reading {
    let why = Text { zh: String::new(), en: detail.to_owned() };
    Reading { refusal: Some(ReadingRefusal { file: String::new(), code: code.to_owned(), why }), ..Reading::default() }
}

/// Lays files out below a folder by their paths; blocks.
fn lay(blobs: &BlobStore, files: &[DraftFile], dir: &Path) -> Result<()> {
    for file in files {
        let target = dir.join(&file.path);
        fs::create_dir_all(target.parent().unwrap_or(dir))?;
        blobs.lay_blocking(&Digest::parse(&file.digest).map_err(Error::internal)?, file.size, &target)?;
    }
    Ok(())
}

/// Makes the expected results of a draft's samples by running its app on them. One that does not wait for it is left alone.
pub async fn answer(app: &App, draft_id: &str) -> Result<()> {
    let Some(draft) = waiting(app, draft_id, DraftState::Answering).await? else { return Ok(()) };
    let contents = service::folder(&draft)?;
    let (settings, blobs, folder) = (app.settings.clone(), app.blobs.clone(), Folder::new(&app.settings, &draft.id));
    let run = move || -> Result<Answers> {
        let dir = folder.make()?.to_owned();
        for (path, content) in contents {
            let target: PathBuf = dir.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&dir))?;
            match content {
                service::Content::Text(text) => fs::write(&target, text)?,
                service::Content::Blob(digest, size) => blobs.lay_blocking(&digest, size, &target)?,
            }
        }
        let Some(child) = child(&settings.checks)? else {
            let fault = Some(("engine-missing".to_owned(), "checks.ort_lib names no file".to_owned()));
            return Ok(Answers { fault, ..Answers::default() });
        };
        let dir = fs::canonicalize(dir)?;
        Ok(worker::run_samples(&child.program, &[SAMPLES_COMMAND], (&dir, None, false), (&child.lib, None), &child.limits, child.wall))
    };
    let answers = tokio::task::spawn_blocking(run).await.map_err(Error::internal)??;
    let results = results(app, &draft, answers).await?;
    finish(app, Draft { state: DraftState::Read, results: Json::new(results), ..draft }).await
}

/// Stores what was answered as files of the developer's inbox.
async fn results(app: &App, draft: &Draft, answers: Answers) -> Result<Results> {
    let reading = &*draft.reading;
    let blind = validate::parse(&reading.yaml).is_ok_and(|manifest| scaffold::blind(manifest.posts(), &answers.results));
    let organization_id = draft.organization_id.clone();
    let now = app.clock.now();
    let repository = app.db.write(move |conn| {
        let slug = account::service::get_organization(conn, &organization_id)?.slug;
        registry::service::ensure_repository(conn, &organization_id, &format!("{slug}/{INBOX}"), now)
    });
    let repository = repository.await?;
    let expected = reading.samples.iter().zip(&answers.results).map(|((_, path, _), result)| (path.clone(), result.to_file()));
    let texts = reading.texts.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes()));
    let made: Vec<(String, Vec<u8>)> = expected.chain(texts).collect();
    let more = made.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if let Err(e) = registry::quota::require(app, &repository.organization_id, more).await {
        // Another try would fail alike.
        return Ok(Results { runs: reading.runs.clone(), fault: Some((e.code.to_owned(), String::new())), ..Results::default() });
    }
    app.room.require(more)?;
    let mut files = Vec::with_capacity(made.len());
    for (path, bytes) in made {
        let digest = registry::service::store_blob_small(app, &repository.id, &bytes).await?;
        files.push(DraftFile { path, size: bytes.len() as u64, digest: digest.to_string() });
    }
    Ok(Results {
        runs: reading.runs.clone(),
        expected: reading.samples.len().min(answers.results.len()),
        files,
        blind,
        fault: answers.fault,
        engine: answers.engine,
    })
}

/// A draft that waits for this; none where it does not, or is gone.
async fn waiting(app: &App, draft_id: &str, state: DraftState) -> Result<Option<Draft>> {
    let (id, now) = (draft_id.to_owned(), app.clock.now());
    let found = app.db.read(move |conn| Ok(store::find(conn, &id, now)?)).await?;
    Ok(found.filter(|draft| draft.state == state))
}

/// Stores what came of a job, where the draft is still as the job found it.
async fn finish(app: &App, draft: Draft) -> Result<()> {
    audit::change(app, &Actor::System, move |c| {
        store::update(c, &draft)?;
        c.poke(&draft.organization_id, service::topic(&draft.id));
        Ok(())
    })
    .await
}

/// Ends a reading that could not be carried out on any try.
pub fn give_up_reading(conn: &mut Conn, draft_id: &str, now: Timestamp) -> Result<()> {
    let Some(draft) = store::find(conn, draft_id, now)?.filter(|draft| draft.state == DraftState::Reading) else { return Ok(()) };
    let reading = refused("check-not-run", "the platform could not read the files");
    store::update(conn, &Draft { state: DraftState::Read, reading: Json::new(reading), ..draft })?;
    Ok(())
}

/// Ends an answering that could not be carried out on any try.
pub fn give_up_answering(conn: &mut Conn, draft_id: &str, now: Timestamp) -> Result<()> {
    let Some(draft) = store::find(conn, draft_id, now)?.filter(|draft| draft.state == DraftState::Answering) else { return Ok(()) };
    let fault = Some(("check-not-run".to_owned(), "the platform could not run the app".to_owned()));
    let results = Results { runs: draft.reading.runs.clone(), fault, ..Results::default() };
    store::update(conn, &Draft { state: DraftState::Read, results: Json::new(results), ..draft })?;
    Ok(())
}
