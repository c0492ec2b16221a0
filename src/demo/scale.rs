//! `--scale ordos`: the size of the platform that this follows, 44 developers, 270 listings and 300 mines. The listings are variants of the
//! demo apps under other names and vendors; each is uploaded, checked and approved like any other.

use super::load::{People, add_plans};
use super::publish::{self, to_anyhow};
use super::{Options, further};
use crate::account::service::{self as account, SignUp};
use crate::base::app::App;
use crate::base::auth::Actor;

const VENDORS: usize = 44;
const LISTINGS: usize = 270;
const MINES: usize = 300;

/// Parts of organisation names, Chinese and pinyin.
const PLACES: [(&str, &str); 12] = [
    ("准格尔", "jungar"),
    ("东胜", "dongsheng"),
    ("伊金霍洛", "ejin-horo"),
    ("乌审", "uxin"),
    ("达拉特", "dalad"),
    ("杭锦", "hanggin"),
    ("鄂托克", "otog"),
    ("康巴什", "kangbashi"),
    ("神东", "shendong"),
    ("榆林", "yulin"),
    ("大同", "datong"),
    ("晋城", "jincheng"),
];

fn name(i: usize) -> (&'static str, &'static str) {
    PLACES.get(i % PLACES.len()).copied().unwrap_or(("矿区", "field"))
}

async fn organization(app: &App, kind: &str, slug: String, zh: String, en: String) -> anyhow::Result<Actor> {
    let input = SignUp {
        email: format!("owner@{slug}.example"),
        name: zh.clone(),
        password: "pithead-demo-2026".into(),
        kind: kind.into(),
        slug,
        name_zh: zh,
        name_en: en,
    };
    let (user, id) = account::sign_up(app, input).await.map_err(to_anyhow)?;
    account::actor_for(app, &user, &id).await.map_err(to_anyhow)
}

/// Adds vendors, mines and listings to the small demo up to this scale.
pub async fn ordos(app: &App, options: &Options, people: &People) -> anyhow::Result<()> {
    let mut vendors = Vec::new();
    for i in 3..VENDORS {
        let (zh, en) = name(i);
        vendors.push(organization(app, "vendor", format!("{en}-ai-{i}"), format!("{zh}智能科技{i}"), format!("{en} AI {i}")).await?);
    }
    for i in 1..MINES {
        let (zh, en) = name(i);
        organization(app, "operator", format!("{en}-mine-{i}"), format!("{zh}{i}号煤矿"), format!("{en} mine {i}")).await?;
    }
    let mut folders = further::folders(&options.apps)?;
    if let Some(folder) = &options.further {
        folders.extend(further::folders(folder)?);
    }
    let moderator = people.get("moderator")?;
    for i in folders.len()..LISTINGS {
        let (Some(base), Some(vendor)) = (folders.get(i % folders.len()), vendors.get(i % vendors.len())) else { continue };
        let mut files = publish::read_folder(base)?;
        let mut manifest = publish::manifest_of(&files)?;
        manifest.name = format!("{}-{i}", manifest.name);
        manifest.title.zh = format!("{}·{i}型", manifest.title.zh);
        manifest.title.en = format!("{} {i}", manifest.title.en);
        // Write the manifest as JSON, which is valid YAML.
        let yaml = serde_json::to_vec_pretty(&manifest)?;
        if let Some((_, bytes)) = files.iter_mut().find(|(name, _)| name == "app.yaml") {
            *bytes = yaml;
        }
        let release_id = publish::upload(app, vendor, &files).await?;
        publish::checked(app, &release_id).await?;
        publish::approve(app, vendor, moderator, &release_id, "金标样本全部复现。").await?;
        add_plans(app, vendor, &manifest.name, &format!("{}.00", 2_000 + (i * 137) % 18_000)).await?;
        if i % 30 == 0 {
            println!("  {i} of {LISTINGS} listings");
        }
    }
    Ok(())
}
