//! Apps that are listed while the demo already runs, so that its first minutes do not wait for their checks: those of `demo/format-2`.
//!
//! A start goes on where the one before was ended: what is uploaded, checked or listed already is not made again.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::manifest::{AppManifest, InputKind};
use diesel::prelude::*;

use super::SignIn;
use super::load::add_plans;
use super::publish::{self, to_anyhow};
use crate::account::service as account;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::schema::{memberships, organizations, users};
use crate::catalog::service as catalog;
use crate::release::model::ReleaseState;

/// The folders of the apps in a folder, by name.
pub fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("no demo apps at {}", folder.display()))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.join("app.yaml").exists()).collect();
    folders.sort();
    Ok(folders)
}

/// Lists the apps of a folder, each by the vendor who sells such apps.
pub async fn list(app: &App, folder: &Path, sign_ins: &[SignIn]) -> anyhow::Result<()> {
    let moderator = actor(app, sign_ins, "pithead", "moderator").await?;
    for dir in folders(folder)? {
        let files = publish::read_folder(&dir)?;
        let manifest = publish::manifest_of(&files)?;
        let (slug, price) = seller(&manifest);
        let vendor = actor(app, sign_ins, slug, "").await?;
        let known = publish::find(app, &format!("{slug}/{}", manifest.name), &manifest.version.to_string()).await?;
        let (id, state) = match known {
            Some(release) => release,
            None => (publish::upload(app, &vendor, &files).await?, ReleaseState::Checking),
        };
        if state == ReleaseState::Checking {
            publish::checked(app, &id).await?;
        }
        if matches!(state, ReleaseState::Checking | ReleaseState::Ready) {
            publish::approve(app, &vendor, &moderator, &id, "金标样本全部复现，延迟和内存符合要求。").await?;
        }
        if !has_plans(app, slug, &manifest.name).await? {
            add_plans(app, &vendor, &manifest.name, price).await?;
            println!("  listed {}", manifest.name);
        }
    }
    Ok(())
}

/// The vendor who sells an app, and its yearly price per node in yuan.
fn seller(manifest: &AppManifest) -> (&'static str, &'static str) {
    match manifest.input {
        InputKind::Image | InputKind::Video => ("heitan-vision", "11,600.00"),
        InputKind::Audio | InputKind::Timeseries => ("ordos-signal", "8,200.00"),
        InputKind::Tabular => ("taihang-ai", "5,800.00"),
    }
}

/// Whoever of an organisation signs in first, or has the role.
async fn actor(app: &App, sign_ins: &[SignIn], slug: &str, role: &str) -> anyhow::Result<Actor> {
    let person = sign_ins.iter().find(|person| person.organization == slug && (role.is_empty() || person.role == role));
    let (email, slug) = (person.with_context(|| format!("no one of {slug} in the demo"))?.email.clone(), slug.to_owned());
    let ids = app.db.read(move |conn| {
        let joined = memberships::table
            .inner_join(users::table.on(users::id.eq(memberships::user_id)))
            .inner_join(organizations::table.on(organizations::id.eq(memberships::organization_id)));
        Ok(joined
            .filter(users::email.eq(email).and(organizations::slug.eq(slug)))
            .select((users::id, organizations::id))
            .first::<(String, String)>(conn)?)
    });
    let (user, organization) = ids.await.map_err(to_anyhow)?;
    account::actor_for(app, &user, &organization).await.map_err(to_anyhow)
}

async fn has_plans(app: &App, vendor: &str, slug: &str) -> anyhow::Result<bool> {
    let (vendor, slug) = (vendor.to_owned(), slug.to_owned());
    let plans = app.db.read(move |conn| {
        let listing = catalog::find_listing(conn, &vendor, &slug)?;
        catalog::list_plans(conn, &listing.id)
    });
    Ok(!plans.await.map_err(to_anyhow)?.is_empty())
}
