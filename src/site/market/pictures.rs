//! Pictures of listings: the right to see one, and small copies for cards.
//!
//! Small copies are kept in a folder: as many as [`MAX_KEPT`], those made last. Each can be made again at any time.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::digest::Digest;
use app_package::manifest::AppManifest;
use diesel::prelude::*;
use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::Conn;
use crate::base::error::{Error, Result};
use crate::base::ids;
use crate::base::turns::Queue;
use crate::catalog;
use crate::catalog::model::{AppRow, ListingState};
use crate::http::conditional::Whole;
use crate::http::page::PageResult;
use crate::release::model::ReleaseState;
use crate::site::parts::listing::holds_license;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/media/{vendor}/{app}/{digest}", web::get().to(picture))
        .route("/media/{vendor}/{app}/{digest}/small", web::get().to(small_picture));
}

/// A picture of a listing. Its address holds its digest, so the content never changes.
async fn picture(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String, String)>) -> PageResult {
    let (vendor, slug, digest) = path.into_inner();
    let found = find_picture(&app, &actor, vendor, slug, digest.clone()).await?;
    Ok(picture_response(&req, &digest, found))
}

async fn small_picture(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String, String)>) -> PageResult {
    let (vendor, slug, digest) = path.into_inner();
    let tag = format!("{digest}-small");
    Ok(picture_response(&req, &tag, small(&app, &actor, vendor, slug, digest).await?))
}

/// The tag is made of the address's digest: what was found by it has it, and a small copy is made of nothing else.
fn picture_response(req: &HttpRequest, tag: &str, picture: Picture) -> HttpResponse {
    let scope = if picture.public { "public" } else { "private" };
    let keep = format!("{scope}, max-age=31536000, immutable");
    Whole { kind: picture.kind, keep: &keep, tag, bytes: picture.bytes.into() }.answer(req)
}

/// A picture as it is sent.
#[derive(Debug)]
pub struct Picture {
    /// Media type.
    pub kind: &'static str,
    pub bytes: Vec<u8>,
    /// Whether everyone may see it, so that shared caches may keep it.
    pub public: bool,
}

/// A picture, if this reader may see it.
///
/// # Errors
/// `picture`: there is no such blob, it is no picture, or the reader may not see it.
pub async fn find_picture(app: &App, actor: &Actor, vendor: String, slug: String, digest: String) -> Result<Picture> {
    let missing = || Error::not_found("picture");
    let parsed = Digest::parse(&digest).map_err(|_| missing())?;
    let reader = actor.clone();
    let public = app.db.read(move |conn| sight(conn, &reader, &vendor, &slug, &digest)?.ok_or_else(missing)).await?;
    let bytes = app.blobs.read_small(&parsed, MAX_BYTES).await?;
    let kind = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => return Err(missing()),
    };
    Ok(Picture { kind, bytes, public })
}

/// None where the reader may not see the picture, else whether everyone may.
fn sight(conn: &mut Conn, actor: &Actor, vendor: &str, slug: &str, digest: &str) -> Result<Option<bool>> {
    let Some(row) = catalog::service::find_by_slugs(conn, vendor, slug)? else { return Ok(None) };
    let insider = actor.organization_id() == Some(row.organization_id.as_str()) || policy::require(actor, Action::ViewCases).is_ok();
    // The pictures of a suspended listing go with it.
    let open = row.state != ListingState::Suspended;
    if !open && !insider && !holds_license(conn, actor, &row)? {
        return Ok(None);
    }
    if row.cover_digest.as_deref() == Some(digest) && matches!(row.state, ListingState::Listed | ListingState::Hidden) {
        return Ok(Some(true));
    }
    let repository = format!("{vendor}/{slug}");
    if shows(conn, &row, &repository, digest, ReleaseState::SHOWN)? {
        return Ok(Some(open));
    }
    Ok((insider && shows(conn, &row, &repository, digest, ReleaseState::ALL)?).then_some(false))
}

/// Releases that have a picture among their files and are looked at, the newest; the manifest of each may have 4 MiB.
const MAX_SHOWING: i64 = 8;

/// Whether one of the app's newest releases in these states shows the picture.
fn shows(conn: &mut Conn, app: &AppRow, repository: &str, digest: &str, states: &[ReleaseState]) -> Result<bool> {
    use crate::base::db::schema::{manifest_blobs, manifests, releases, repositories};
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let rows: Vec<(String, Vec<u8>)> = releases::table
        .inner_join(manifests::table.on(manifests::digest.eq(releases::digest)))
        .inner_join(repositories::table.on(repositories::id.eq(manifests::repository_id)))
        .inner_join(
            manifest_blobs::table
                .on(manifest_blobs::repository_id.eq(manifests::repository_id).and(manifest_blobs::manifest.eq(manifests::digest))),
        )
        .filter(releases::app_id.eq(&app.id).and(repositories::name.eq(repository)).and(releases::state.eq_any(states)))
        .filter(manifest_blobs::digest.eq(digest))
        .order(releases::id.desc())
        .limit(MAX_SHOWING)
        .select((releases::manifest, manifests::content))
        .load(conn)?;
    for (manifest, content) in rows {
        let manifest: AppManifest = serde_json::from_str(&manifest)?;
        if catalog::pictures::pictures(&content, &manifest).iter().any(|(known, _)| known == digest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`find_picture`], small: a JPEG of at most 640 × 360 pixels; the picture itself where it cannot be decoded (WebP) or is small already.
pub async fn small(app: &App, actor: &Actor, vendor: String, slug: String, digest: String) -> Result<Picture> {
    let whole = find_picture(app, actor, vendor.clone(), slug.clone(), digest.clone()).await?;
    let jpeg = |bytes, public| Picture { kind: "image/jpeg", bytes, public };
    let path = path(app, &digest);
    if let Some(kept) = kept(&path).await? {
        return Ok(if kept.is_empty() { whole } else { jpeg(kept, whole.public) });
    }
    // The picture is let go of meanwhile: who waits holds a place only.
    drop(whole);
    let turn = THUMBNAILS.turn().await?;
    let whole = find_picture(app, actor, vendor, slug, digest).await?;
    if let Some(kept) = kept(&path).await? {
        return Ok(if kept.is_empty() { whole } else { jpeg(kept, whole.public) });
    }
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let copy = shrink(&whole.bytes).unwrap_or_default();
        if let Err(e) = keep(&path, &copy) {
            tracing::debug!(error = %e, "a small copy was not kept");
        }
        Ok(if copy.is_empty() { whole } else { jpeg(copy, whole.public) })
    })
    .await
    .map_err(Error::internal)?
}

/// The stored small copy, if it was made already; empty where the whole picture is sent instead.
async fn kept(path: &PathBuf) -> Result<Option<Vec<u8>>> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn path(app: &App, digest: &str) -> PathBuf {
    let name: String = digest.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    app.settings.data_dir.0.join("thumbnails").join(format!("{name}.jpg"))
}

/// Stores a small copy: written beside and then renamed, so that readers see all of it or nothing.
fn keep(path: &PathBuf, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(ids::new("new"));
    let kept = std::fs::File::create(&beside).and_then(|mut file| file.write_all(bytes)).and_then(|()| std::fs::rename(&beside, path));
    if kept.is_err() {
        let _ = std::fs::remove_file(beside);
    }
    Ok(kept?)
}

/// Deletes the oldest small copies where there are more than are kept, and what a server that ended left half written; gives how many.
pub async fn prune(app: &App) -> Result<usize> {
    let folder = app.settings.data_dir.0.join("thumbnails");
    tokio::task::spawn_blocking(move || prune_folder(&folder, MAX_KEPT)).await.map_err(Error::internal)
}

fn prune_folder(folder: &std::path::Path, most: usize) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut files: Vec<(SystemTime, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort_unstable();
    let (over, now) = (files.len().saturating_sub(most), SystemTime::now());
    let half_written = |made: SystemTime, path: &std::path::Path| {
        path.extension().is_some_and(|extension| extension != "jpg") && now.duration_since(made).is_ok_and(|age| age > HALF_WRITTEN)
    };
    let mut deleted = 0;
    for (at, (made, path)) in files.iter().enumerate() {
        if (at < over || half_written(*made, path)) && std::fs::remove_file(path).is_ok() {
            deleted += 1;
        }
    }
    deleted
}

fn shrink(bytes: &[u8]) -> Option<Vec<u8>> {
    let picture = inference::picture::decode_shown(bytes, MAX_PIXELS).ok()?;
    if picture.width() <= SMALL.0 && picture.height() <= SMALL.1 && bytes.len() < 64 * 1024 {
        return None;
    }
    let small = picture.resize(SMALL.0, SMALL.1, FilterType::Triangle);
    let mut out = Vec::new();
    // Put the picture on white: JPEG has no transparency.
    let flat = on_white(&small);
    JpegEncoder::new_with_quality(&mut out, QUALITY).encode_image(&flat).ok()?;
    Some(out)
}

fn on_white(picture: &DynamicImage) -> image::RgbImage {
    let rgba = picture.to_rgba8();
    let mut out = image::RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in out.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, a] = from.0;
        let over = |c: u8| u8::try_from((u16::from(c) * u16::from(a) + 255 * (255 - u16::from(a))) / 255).unwrap_or(255);
        to.0 = [over(r), over(g), over(b)];
    }
    out
}

/// Largest picture that is shown, in bytes.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Memory for the pixels of a picture that gets a small copy, in bytes: 16 million pixels of 8 bits. A larger one is sent whole.
const MAX_PIXELS: u64 = 48 << 20;

/// One small copy at a time, each within its bound of memory; a page of the catalogue asks for some dozens.
static THUMBNAILS: Queue = Queue::new(1, WAITING);
const WAITING: usize = 64;

/// Small copies that are kept; each has some 50 KiB.
const MAX_KEPT: usize = 5_000;

/// Age after which a file that is not renamed is nobody's.
const HALF_WRITTEN: Duration = Duration::from_hours(1);

/// Box of a small copy in pixels: a card's 320 × 180 on a screen of double density.
const SMALL: (u32, u32) = (640, 360);

/// JPEG quality of a small copy, of 100.
const QUALITY: u8 = 82;

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::testing::shop::shop;
    use crate::testing::{self, each_backend};

    #[test]
    fn the_small_copies_made_last_are_kept() {
        let folder = std::env::temp_dir().join(ids::new("pithead-thumbnails"));
        assert_eq!(prune_folder(&folder, 2), 0, "none was made yet");
        std::fs::create_dir_all(&folder).unwrap();
        let made = |name: &str, hours: u64| {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
        };
        for (name, hours) in [("a.jpg", 9), ("b.jpg", 8), ("c.new_1", 7), ("d.jpg", 6), ("e.new_2", 0)] {
            made(name, hours);
        }
        assert_eq!(prune_folder(&folder, 4), 2, "the oldest, and the one left half written");
        let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b.jpg", "d.jpg", "e.new_2"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn who_finds_no_place_to_wait_for_a_small_copy_is_told_to_come_again() {
        each_backend(|app| async move {
            shop(&app).await;
            let row = app.db.read(|conn| Ok(catalog::service::find_by_slugs(conn, "acme", "belt")?)).await.unwrap().unwrap();
            let digest = row.cover_digest.unwrap();
            let ask = || small(&app, &Actor::Anonymous, "acme".into(), "belt".into(), digest.clone());
            let turn = THUMBNAILS.turn().await.unwrap();
            let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(THUMBNAILS.turn())).collect();
            assert!(waiting.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()), "they wait");
            assert_eq!(ask().await.unwrap_err().code, "server-busy");
            drop((turn, waiting));
            let made = ask().await.unwrap();
            let whole = find_picture(&app, &Actor::Anonymous, "acme".into(), "belt".into(), digest.clone()).await.unwrap();
            assert!(made.bytes.len() <= whole.bytes.len());
        })
        .await;
    }

    #[tokio::test]
    async fn a_picture_and_its_small_copy_have_tags_of_their_address() {
        each_backend(|app| async move {
            shop(&app).await;
            let row = app.db.read(|conn| Ok(catalog::service::find_by_slugs(conn, "acme", "belt")?)).await.unwrap().unwrap();
            let digest = row.cover_digest.unwrap();
            for (end, tag) in [("", format!("\"{digest}\"")), ("/small", format!("\"{digest}-small\""))] {
                let path = format!("/media/acme/belt/{digest}{end}");
                let answer = testing::answer(&app, &Actor::Anonymous, Method::GET, &path, "", None).await;
                assert_eq!((answer.status().as_u16(), answer.headers().get("etag").unwrap().to_str().unwrap()), (200, tag.as_str()));
            }
        })
        .await;
    }

    #[test]
    fn a_small_copy_fits_the_card_and_what_is_no_picture_gives_none() {
        let mut png = Vec::new();
        let wide = DynamicImage::ImageRgba8(image::RgbaImage::from_pixel(1280, 340, image::Rgba([10, 20, 30, 0])));
        wide.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let copy = inference::picture::decode(&shrink(&png).unwrap()).unwrap();
        assert_eq!((copy.width(), copy.height()), (640, 170));
        assert!(copy.to_rgb8().get_pixel(5, 5).0.iter().all(|c| *c > 250), "transparent shows as white");
        // 16 bits a channel: 8 bytes a pixel decoded, 3 more as a copy.
        let mut deep = Vec::new();
        let large = image::ImageBuffer::<image::Rgba<u16>, _>::new(2_200, 2_200);
        DynamicImage::ImageRgba16(large).write_to(&mut std::io::Cursor::new(&mut deep), image::ImageFormat::Png).unwrap();
        assert!(shrink(&deep).is_none(), "53 MB of pixels for a card");
        assert!(shrink(b"\x89PNG and no more").is_none() && shrink(b"RIFF1234WEBP").is_none());
    }
}
