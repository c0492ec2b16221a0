//! Reading a listing with everything that its page shows.

use crate::account::model::Organization;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::Conn;
use crate::base::error::{Error, Result};
use crate::base::i18n::{Lang, Names};
use crate::catalog::model::{AppRow, ListingState, PricePlan};
use crate::release::difference::Difference;
use crate::release::model::Release;
use crate::site::parts::chain;
use crate::site::parts::chain::{ChainLink, Reader};
use crate::trust::evidence::Subject;
use crate::{catalog, evaluation, license, release};

/// The data of a listing's page.
#[derive(Debug)]
pub struct Listing {
    pub app: AppRow,
    pub vendor: Organization,
    /// The release shown.
    pub release: Release,
    /// Check report of that release.
    pub report: Option<inference::check::CheckReport>,
    /// Its figures of other measurements.
    pub history: release::measuring::History,
    /// Scores of that release on hidden test sets.
    pub scores: Vec<evaluation::service::ScoreSummary>,
    /// Pictures: digest and texts.
    pub gallery: Vec<(String, app_package::text::Text)>,
    /// The newest releases that buyers have seen, newest first.
    pub releases: Vec<Release>,
    /// How many releases buyers have seen.
    pub releases_total: i64,
    /// The version before the shown one, and the differences from it.
    pub previous: Option<(String, Difference)>,
    /// Active plans.
    pub plans: Vec<PricePlan>,
    pub specialty: Names,
    pub scenario: Names,
    /// The chain for this reader.
    pub chain: Vec<ChainLink>,
    /// The page is a preview of an unlisted release, for its vendor or a moderator.
    pub preview: bool,
    /// Why the platform has suspended it, for its vendor, moderators and those who have a licence.
    pub suspended: Option<String>,
}

impl Listing {
    /// The release shown, as the key for reading its signatures and documents.
    pub fn subject(&self) -> Subject {
        Subject {
            organization_id: self.vendor.id.clone(),
            vendor: self.vendor.slug.clone(),
            app: self.app.slug.clone(),
            version: self.release.version.clone(),
            digest: self.release.digest.clone(),
        }
    }
}

/// Reads a listing. With `preview` naming a release, its vendor and readers of cases also see what is not listed.
///
/// # Errors
/// `listing`.
pub async fn read_listing(app: &App, actor: &Actor, lang: Lang, vendor: String, slug: String, preview: Option<String>) -> Result<Listing> {
    let (actor, now) = (actor.clone(), app.clock.now());
    app.db
        .read(move |conn| {
            let missing = || Error::not_found("listing");
            let row = catalog::service::find_by_slugs(conn, &vendor, &slug)?.ok_or_else(missing)?;
            let own = actor.organization_id() == Some(row.organization_id.as_str());
            let insider = own || policy::require(&actor, Action::ViewCases).is_ok();
            let open = matches!(row.state, ListingState::Listed | ListingState::Hidden);
            if !open && !insider && !holds_license(conn, &actor, &row)? {
                return Err(missing());
            }
            let suspended = catalog::standing::suspension(conn, &row)?;
            let preview = preview.filter(|_| insider);
            let (releases, releases_total) = release::service::shown(conn, &row.id)?;
            let release_id = preview.as_ref().or(row.release_id.as_ref()).ok_or_else(missing)?;
            let shown = release::service::of_app(conn, &row.id, release_id)?.ok_or_else(missing)?;
            let report = release::service::check_report(conn, &shown.id)?;
            let history = release::measuring::history(conn, &shown.id)?;
            let previous = release::comparison::compared(conn, &shown, None)?;
            let scores = evaluation::service::shown_in(conn, &row.id, &shown.id, shown.published_at)?;
            let gallery = catalog::pictures::gallery(conn, &format!("{vendor}/{slug}"), &shown.digest, &shown.manifest)?;
            let organization = crate::account::service::get_organization(conn, &row.organization_id)?;
            let plans = catalog::service::plans_of(conn, &[row.id.as_str()])?;
            let specialty = catalog::service::specialties(conn)?.into_iter().find(|s| s.slug == row.specialty);
            let scenario = catalog::service::scenarios(conn)?.into_iter().find(|s| s.slug == row.scenario);
            let chain = chain::of_release(conn, &Reader::of(&actor, lang, now), &shown.id)?;
            Ok(Listing {
                vendor: organization,
                release: shown,
                preview: preview.is_some(),
                suspended,
                report,
                history,
                scores,
                gallery,
                releases,
                releases_total,
                previous,
                plans,
                specialty: specialty.map(|s| s.name).unwrap_or_default(),
                scenario: scenario.map(|s| s.name).unwrap_or_default(),
                chain,
                app: row,
            })
        })
        .await
}

/// Whether the reader sees that their organisation has a licence for a suspended app: what it has bought stays readable.
pub fn holds_license(conn: &mut Conn, actor: &Actor, row: &AppRow) -> Result<bool> {
    let Ok(person) = policy::require(actor, Action::ViewLicenses) else { return Ok(false) };
    Ok(row.state == ListingState::Suspended && license::service::has_any(conn, &person.organization_id, &row.id)?)
}
