//! Use cases of drafts.

use app_package::digest::Digest;
use app_package::oci::SOURCE_FILE;
use chrono::TimeDelta;
use inference::families::propose::{app_name, is_app_name};
use inference::worker::{FormAnswers, Reading};

use super::model::{Draft, DraftFile, DraftState, Results, sorted};
use super::{jobs, store};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::db::{Conn, Json, Timestamp};
use crate::base::error::{Error, Result, exactly_one};
use crate::base::ids;
use crate::base::jobs::Job;
use crate::base::open::Whose;
use crate::base::rate::{self, Rate};
use crate::base::turns::Queue;
use crate::registry;
use crate::release::limits;
use crate::release::upload::{Upload, UploadFault, UploadFile, finish_upload};

/// Drafts of an organisation at a time, and how many it may begin in a day.
const MAX_OPEN: i64 = 20;
const PER_DAY: u32 = 100;
/// How long a draft lasts after its last change, at most: its files are collected after `registry.grace_hours`.
const LIFE: TimeDelta = TimeDelta::days(7);
/// Children that follow answers: two at a time, each of a few seconds at most; as many at once of one organisation.
static FOLLOWING: Queue = Queue::new(2, 30);
const OF_AN_ORGANIZATION: usize = 2;
/// Longest answers of a form, in bytes of JSON.
const MAX_FORM: usize = 64 * 1024;
/// Rows removed in one transaction.
const BATCH: i64 = 500;

fn unknown() -> Error {
    Error::not_found("draft")
}

/// When a draft ends that is changed now: before its files may be collected.
fn end(app: &App, now: Timestamp) -> Timestamp {
    let grace = TimeDelta::hours(app.settings.registry.grace_hours.max(1)) - TimeDelta::minutes(30);
    now.plus(grace.min(LIFE))
}

/// Looks at the names and sizes of files before they are sent.
///
/// # Errors
/// Those of [`sorted`].
pub fn check(actor: &Actor, files: &[DraftFile]) -> Result<()> {
    policy::require(actor, Action::PublishApps)?;
    sorted(files).map(drop)
}

/// Begins a draft with files that were uploaded into a repository of the organisation; gives its id. Its models are read soon.
///
/// # Errors
/// Those of [`sorted`]; `upload-blob-missing`, `upload-size`, `too-many-drafts`.
pub async fn begin(app: &App, actor: &Actor, files: Vec<DraftFile>, lang: &str) -> Result<String> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let first = sorted(&files)?.models.into_iter().next().unwrap_or_default();
    let form =
        FormAnswers { name: app_name(first.rsplit('/').next().unwrap_or_default()), lang: lang.to_owned(), ..FormAnswers::default() };
    let parts = app.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        keep(c, &person, &files, now)?;
        let bucket = (format!("drafts:{}", person.organization_id), Rate::daily(PER_DAY));
        if let Some(wait) = rate::spend(c, vec![bucket], now)? {
            return Err(Error::rate_limited("too-many-drafts").arg("max", PER_DAY).retry_after(wait));
        }
        // The bucket is held from here on, so that of two at once the second sees the first one.
        if store::count(c, &person.organization_id, now)? >= MAX_OPEN {
            return Err(Error::conflict("too-many-open-drafts").arg("max", MAX_OPEN));
        }
        let draft = Draft {
            id: ids::new("drf"),
            organization_id: person.organization_id.clone(),
            state: DraftState::Reading,
            revision: 0,
            files: Json::new(files.clone()),
            facts: Json::new(None),
            form: Json::new(form.clone()),
            reading: Json::new(Reading::default()),
            results: Json::new(Results::default()),
            created_by: person.user_id.clone(),
            created_at: now,
            expires_at: end(&parts, now),
        };
        store::insert(c, &draft)?;
        c.enqueue_for(&person.organization_id, &Job::ReadDraft { draft_id: draft.id.clone() })?;
        Ok(draft.id)
    })
    .await
}

/// Touches the blobs of files, and looks that the organisation holds each with its size.
fn keep(conn: &mut Conn, person: &Person, files: &[DraftFile], now: Timestamp) -> Result<()> {
    let digests: Vec<&str> = files.iter().map(|file| file.digest.as_str()).collect();
    registry::service::touch_blobs_in(conn, &digests, now)?;
    let sizes = registry::service::sizes_in_organization(conn, &person.organization_id, &digests)?;
    for file in files {
        let size = sizes.get(&file.digest).ok_or_else(|| Error::invalid("upload-blob-missing").arg("path", &file.path))?;
        if u64::try_from(*size) != Ok(file.size) {
            return Err(Error::invalid("upload-size").arg("path", &file.path));
        }
    }
    Ok(())
}

/// A draft of one's own organisation.
///
/// # Errors
/// `draft`: there is none, it is over, or another organisation's.
pub async fn get(app: &App, actor: &Actor, id: &str) -> Result<Draft> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let (id, now) = (id.to_owned(), app.clock.now());
    app.db.read(move |conn| own(conn, &person, &id, now)).await
}

fn own(conn: &mut Conn, person: &Person, id: &str, now: Timestamp) -> Result<Draft> {
    store::find(conn, id, now)?.filter(|draft| draft.organization_id == person.organization_id).ok_or_else(unknown)
}

/// Drafts of one's own organisation, the newest first: id, the app's name, and since when.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<(String, String, Timestamp)>> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let now = app.clock.now();
    let rows = app.db.read(move |conn| Ok(store::list(conn, &person.organization_id, now, MAX_OPEN)?)).await?;
    let name = |form: &str| serde_json::from_str(form).map(|form: FormAnswers| form.name).unwrap_or_default();
    Ok(rows.into_iter().map(|(id, form, since)| (id, name(&form), since)).collect())
}

/// Stores what the developer says, with the proposal that follows from it. `revision` is that of the page.
///
/// # Errors
/// `draft-name` (field), `draft-form-too-long`; `draft-changed`: another page has changed it meanwhile; `draft-busy`: it is being read or
/// answered; `too-many-connections`, `server-busy`.
pub async fn save(app: &App, actor: &Actor, id: &str, revision: i64, form: FormAnswers) -> Result<()> {
    let draft = get(app, actor, id).await?;
    if draft.state != DraftState::Read {
        return Err(Error::conflict("draft-busy"));
    }
    if !is_app_name(&form.name) {
        return Err(Error::field("name", "draft-name"));
    }
    let form = Json::new(form);
    if serde_json::to_vec(&*form).map_or(usize::MAX, |json| json.len()) > MAX_FORM {
        return Err(Error::too_large("draft-form-too-long").arg("kib", MAX_FORM >> 10));
    }
    if *draft.form == *form {
        return Ok(());
    }
    if draft.revision != revision {
        return Err(Error::conflict("draft-changed"));
    }
    let entry = app.open.enter(Whose::Drafts(draft.organization_id.clone()), OF_AN_ORGANIZATION)?;
    // Held by the work itself, which goes on where its caller has gone.
    let held = (entry, FOLLOWING.turn().await?);
    let reading = jobs::follow(app, &draft, &form, held).await?;
    change(app, actor, Draft { reading: Json::new(reading), form, ..draft }, |_, _| Ok(())).await
}

/// Asks for the expected results of the samples, which the app as proposed makes itself; one of the organisation's checks of the day.
///
/// # Errors
/// `draft-busy`, `draft-no-samples`, `draft-changed`, `draft-has-faults`; those of [`limits::count_check`].
pub async fn answer(app: &App, actor: &Actor, id: &str) -> Result<()> {
    let draft = get(app, actor, id).await?;
    if draft.state != DraftState::Read || draft.reading.refusal.is_some() {
        return Err(Error::conflict("draft-busy"));
    }
    if draft.reading.samples.is_empty() {
        return Err(Error::conflict("draft-no-samples"));
    }
    if app_package::validate::parse(&draft.reading.yaml).is_err() {
        return Err(Error::conflict("draft-has-faults"));
    }
    let settings = app.settings.checks.clone();
    change(app, actor, Draft { state: DraftState::Answering, ..draft }, move |c, draft| {
        let now = c.now;
        limits::count_check(c, &draft.organization_id, &settings, now)?;
        c.enqueue_for(&draft.organization_id, &Job::AnswerDraft { draft_id: draft.id.clone() })
    })
    .await
}

/// Writes a changed draft with what else belongs to the change; its files stay as long as it does.
async fn change(
    app: &App,
    actor: &Actor,
    draft: Draft,
    also: impl Fn(&mut Change<'_>, &Draft) -> Result<()> + Send + 'static,
) -> Result<()> {
    let parts = app.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let draft = Draft { expires_at: end(&parts, now), ..draft.clone() };
        let digests: Vec<&str> = draft.files.iter().chain(&draft.results.files).map(|file| file.digest.as_str()).collect();
        registry::service::touch_blobs_in(c, &digests, now)?;
        exactly_one(store::update(c, &draft)?, "draft-changed")?;
        c.poke(&draft.organization_id, topic(&draft.id));
        also(c, &draft)
    })
    .await
}

/// Topic of the pokes of a draft's pages.
pub fn topic(id: &str) -> String {
    format!("draft:{id}")
}

/// Removes a draft. Its files are collected by and by.
///
/// # Errors
/// `draft`.
pub async fn remove(app: &App, actor: &Actor, id: &str) -> Result<()> {
    let draft = get(app, actor, id).await?;
    audit::change(app, actor, move |c| {
        exactly_one(store::delete(c, &draft.id)?, "draft").map_err(|_| unknown())?;
        c.poke(&draft.organization_id, topic(&draft.id));
        Ok(())
    })
    .await
}

/// What lies at a path of the app's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    Blob(Digest, u64),
}

/// The folder of a draft's app: what `pithead init` would have written. Expected results are in it where they are those of the app as it is now.
///
/// # Errors
/// `draft-busy` where there is no proposal; `draft-path` where two files would lie at one path.
pub fn folder(draft: &Draft) -> Result<Vec<(String, Content)>> {
    let reading = &*draft.reading;
    if draft.state == DraftState::Reading || reading.refusal.is_some() {
        return Err(Error::conflict("draft-busy"));
    }
    let blob = |path: &str| -> Result<Content> {
        let file =
            draft.files.iter().find(|file| file.path == path).ok_or_else(|| Error::invalid("upload-blob-missing").arg("path", path))?;
        Ok(Content::Blob(Digest::parse(&file.digest).map_err(Error::internal)?, file.size))
    };
    let mut folder = vec![(SOURCE_FILE.to_owned(), Content::Text(reading.yaml.clone()))];
    for (path, uploaded) in &reading.files {
        folder.push((path.clone(), blob(uploaded)?));
    }
    for (input, _, uploaded) in &reading.samples {
        folder.push((input.clone(), blob(uploaded)?));
    }
    folder.extend(reading.texts.iter().map(|(path, text)| (path.clone(), Content::Text(text.clone()))));
    if draft.is_answered() {
        for file in draft.results.files.iter().take(draft.results.expected) {
            folder.push((file.path.clone(), Content::Blob(Digest::parse(&file.digest).map_err(Error::internal)?, file.size)));
        }
    }
    let mut seen = std::collections::HashSet::new();
    for (path, _) in &folder {
        // A path comes from a child that a model may have taken over.
        if app_package::path::PackagePath::parse(path).is_err() || !seen.insert(path.as_str()) {
            return Err(Error::conflict("draft-path").arg("path", path).arg("max", 120));
        }
    }
    Ok(folder)
}

/// Makes a release of a draft whose samples are answered, as an upload of its folder would; gives the address of its page, or the faults.
///
/// # Errors
/// `draft-unanswered`; those of [`finish_upload`].
pub async fn upload(app: &App, actor: &Actor, id: &str) -> Result<std::result::Result<String, Vec<UploadFault>>> {
    let draft = get(app, actor, id).await?;
    if draft.state != DraftState::Read || !draft.is_answered() {
        return Err(Error::conflict("draft-unanswered"));
    }
    let files = folder(&draft)?.into_iter().map(|(path, content)| match content {
        Content::Blob(digest, size) => UploadFile { path, size, digest: digest.to_string() },
        Content::Text(text) => UploadFile { path, size: text.len() as u64, digest: Digest::of(text.as_bytes()).to_string() },
    });
    let upload = Upload { yaml: draft.reading.yaml.clone(), files: files.collect() };
    finish_upload(app, actor, upload, None).await
}

/// Removes drafts that are over.
pub async fn prune(app: &App) -> Result<usize> {
    let now = app.clock.now();
    let mut removed = 0;
    loop {
        let rows = app.db.write_aside(move |conn| Ok(store::prune(conn, now, BATCH)?)).await?;
        removed += rows;
        if i64::try_from(rows).unwrap_or(0) < BATCH {
            return Ok(removed);
        }
    }
}
