//! /apps/…: one listing.

use std::sync::Arc;

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::catalog::model::ListingState;
use crate::http::page::{Page, PageResult, lang_of};
use crate::release::model::{Channel, Release, ReleaseState};
use crate::site::market::cached::cached;
use crate::site::market::shown::{Shown, ShownListings};
use crate::site::market::{compare, shown};
use crate::site::parts::card::{PlanCard, alarm_level, alarm_text, plan_card, required_zones};
use crate::site::parts::chain::ChainLink;
use crate::site::parts::comparison::ComparisonView;
use crate::site::parts::listing::Listing;
use crate::site::parts::release::MetricRow;
use crate::site::parts::report::{ReportView, bytes, cut};
use crate::site::parts::scores::ScoreView;
use crate::site::parts::trust::TrustView;
use crate::trade;
use crate::trust::evidence::Evidence;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.app_data(Data::new(ShownListings::default())).route("/apps/{vendor}/{app}", web::get().to(listing));
}

/// A release in the list of versions.
pub struct VersionRow {
    pub version: String,
    pub date: String,
    pub changes: String,
    pub digest: String,
    pub state: ReleaseState,
    pub channel: Channel,
    /// The vendor's message on a deprecated version, and its successor.
    pub deprecation: Option<(String, Option<String>)>,
    /// The platform's reason, where the version is recalled, and the date.
    pub recalled: Option<(String, String)>,
}

/// `/apps/{vendor}/{app}`.
#[derive(Template)]
#[template(path = "market/listing.html")]
pub struct ListingPage {
    pub page: Page,
    pub href: String,
    /// Address of the comparison with other apps; none where the app is not listed.
    pub compare: Option<String>,
    pub summary: String,
    pub vendor: String,
    pub vendor_href: String,
    pub specialty: String,
    pub specialty_slug: String,
    pub scenario: String,
    pub input: String,
    pub safety: bool,
    pub license: String,
    pub preview: bool,
    pub hidden: bool,
    /// Why the platform has suspended the listing.
    pub suspended: Option<String>,
    /// Page of the listing for those who may stop it.
    pub administer: Option<String>,
    pub chain: Vec<ChainLink>,
    pub gallery: Vec<(String, String)>,
    pub paragraphs: Vec<String>,
    pub plans: Vec<PlanCard>,
    pub may_order: bool,
    /// Whether anybody can order it now.
    pub on_sale: bool,
    pub report: ReportView,
    /// Differences from the version before.
    pub comparison: Option<ComparisonView>,
    pub scores: Vec<ScoreView>,
    pub version: String,
    pub digest: String,
    pub architectures: String,
    pub memory: String,
    pub cpu: String,
    pub metrics: Vec<MetricRow>,
    pub training: String,
    pub limits: String,
    pub parameters: Vec<(String, String, String)>,
    pub alarms: Vec<(&'static str, String)>,
    /// Zones that must be drawn, in words.
    pub zones: String,
    pub versions: Vec<VersionRow>,
    /// That these are not all versions, in words; empty where they are.
    pub versions_cut: String,
    /// The shown version is deprecated: message and successor.
    pub deprecation: Option<(String, Option<String>)>,
    /// The shown version is recalled: the platform's reason, and the date.
    pub recalled: Option<(String, String)>,
    pub trust: TrustView,
}

impl ListingPage {
    /// The page for a reader; `trial_used`: the reader's organisation has had its trial.
    pub fn of(page: Page, actor: &Actor, found: &Listing, evidence: &Evidence, trial_used: bool) -> Self {
        let (app, manifest) = (&found.app, &found.release.manifest);
        let lang = page.lang;
        let (vendor, vendor_slug) = (&found.vendor, &found.vendor.slug);
        let readable = actor.organization_id() == Some(vendor.id.as_str()) || policy::require(actor, Action::ViewCases).is_ok();
        let href = format!("/apps/{vendor_slug}/{}", app.slug);
        let may_order = match actor {
            Actor::Anonymous => true,
            Actor::Person(p, _) => policy::permits(p.kind, p.role, Action::PlaceOrders),
            _ => false,
        };
        let on_sale = app.state == ListingState::Listed && !found.preview && found.release.state == ReleaseState::Published;
        let paragraph = |text: &str| text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).map(ToOwned::to_owned).collect::<Vec<_>>();
        Self {
            summary: manifest.summary.get(lang).to_owned(),
            vendor: page.pick(&vendor.name_zh, &vendor.name_en).to_owned(),
            vendor_href: format!("/vendors/{vendor_slug}"),
            specialty: page.name(&found.specialty).to_owned(),
            specialty_slug: app.specialty.clone(),
            scenario: page.name(&found.scenario).to_owned(),
            input: page.tk("input-", manifest.input.as_str()),
            safety: manifest.safety,
            license: manifest.license.clone(),
            preview: found.preview,
            hidden: app.state != ListingState::Listed,
            suspended: found.suspended.clone(),
            administer: policy::require(actor, Action::ViewCases).is_ok().then(|| format!("/admin/listings/{}", app.id)),
            compare: (app.state == ListingState::Listed).then(|| compare::address([(vendor_slug.as_str(), app.slug.as_str())])),
            chain: found.chain.clone(),
            gallery: found
                .gallery
                .iter()
                .map(|(d, alt)| (format!("/media/{vendor_slug}/{}/{d}", app.slug), alt.get(lang).to_owned()))
                .collect(),
            paragraphs: paragraph(manifest.description.get(lang)),
            plans: found.plans.iter().map(|p| plan_card(&page, p, trial_used)).collect(),
            may_order: may_order && on_sale,
            on_sale,
            report: ReportView::of(&page, manifest, found.report.as_ref(), &found.scores, &found.history, false),
            comparison: found.previous.as_ref().map(|(from, d)| ComparisonView::of(&page, from, &found.release.version, d)),
            deprecation: deprecation(&page, &found.release),
            recalled: recalled(&page, &found.release),
            scores: found.scores.iter().map(|score| ScoreView::of(&page, score)).collect(),
            version: found.release.version.clone(),
            digest: found.release.digest.clone(),
            architectures: manifest.resources.architectures.join(", "),
            memory: bytes(&page, u64::from(manifest.resources.memory_mib) << 20),
            cpu: manifest.resources.cpu.to_string(),
            metrics: manifest.card.metrics.iter().map(|metric| MetricRow::of(&page, metric)).collect(),
            training: manifest.card.training_data.get(lang).to_owned(),
            limits: manifest.card.limits.get(lang).to_owned(),
            parameters: manifest
                .parameters
                .iter()
                .map(|p| (p.title.get(lang).to_owned(), p.default.to_string(), p.help.get(lang).to_owned()))
                .collect(),
            zones: required_zones(&page, manifest),
            alarms: manifest.alarms().iter().map(|a| (alarm_level(a.level), alarm_text(&page, manifest, a.text.get(lang)))).collect(),
            versions_cut: cut(&page, "listing-versions-cut", found.releases.len(), found.releases_total),
            versions: found
                .releases
                .iter()
                .map(|r| VersionRow {
                    version: r.version.clone(),
                    date: r.published_at.map(|at| page.date(&at)).unwrap_or_default(),
                    changes: r.manifest.changes.get(lang).to_owned(),
                    digest: r.digest.chars().take(19).collect(),
                    state: r.state,
                    channel: r.channel,
                    deprecation: deprecation(&page, r),
                    recalled: recalled(&page, r),
                })
                .collect(),
            trust: TrustView::of(&page, &format!("{vendor_slug}/{}", app.slug), readable, evidence),
            href,
            page,
        }
    }
}

/// The vendor's message on a deprecated version, and its successor.
fn deprecation(page: &Page, release: &Release) -> Option<(String, Option<String>)> {
    release.deprecation.as_ref().map(|d| (d.message.get(page.lang).to_owned(), d.successor.clone()))
}

/// Why the platform has recalled a version, and when.
fn recalled(page: &Page, release: &Release) -> Option<(String, String)> {
    release.recall.as_ref().map(|r| (r.reason.clone(), page.date(&r.at)))
}

#[derive(Deserialize)]
struct Preview {
    preview: Option<String>,
}

async fn listing(
    req: HttpRequest,
    app: Data<App>,
    kept: Data<ShownListings>,
    actor: Actor,
    path: Path<(String, String)>,
    query: Query<Preview>,
) -> PageResult {
    cached(&req, &app, &actor, async || {
        let ((vendor, slug), lang) = (path.into_inner(), lang_of(&req));
        let found = match (&actor, query.into_inner().preview) {
            // A stranger sees no preview: whatever the address names, it is the same.
            (Actor::Anonymous, _) => kept.to_strangers(&app, lang, vendor, slug).await?,
            (_, preview) => Arc::new(shown::read(&app, &actor, lang, vendor, slug, preview).await?),
        };
        let Shown { listing, evidence } = &*found;
        let page = Page::of(&req, listing.release.manifest.title.get(lang.tag()));
        let trial_used = trade::service::trial_used(&app, &actor, &listing.app.id).await?;
        page.render(&ListingPage::of(page.clone(), &actor, listing, evidence, trial_used))
    })
    .await
}
