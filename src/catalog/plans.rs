//! Plans of a listing, set by its vendor. A plan's price never changes: an order keeps the plan it was placed with; a new price is a new
//! plan.

use serde_json::json;

use super::model::{AppRow, PlanKind, PricePlan, parse_yuan};
use super::store;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Faults, Result, exactly_one};
use crate::base::ids;

/// Most active plans of one app.
const MAX_PLANS: usize = 12;

/// A plan as typed.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct PlanForm {
    pub kind: String,
    /// Price in yuan.
    pub price: String,
    pub trial_days: String,
    pub trial_nodes: String,
}

/// The vendor's app and its active plans.
pub async fn list(app: &App, actor: &Actor, slug: String) -> Result<(AppRow, Vec<PricePlan>)> {
    let organization_id = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let row = store::find_own(conn, &organization_id, &slug)?.ok_or_else(|| Error::not_found("listing"))?;
            let plans = store::plans_of(conn, &[row.id.as_str()])?;
            Ok((row, plans))
        })
        .await
}

/// Adds a plan; gives its id.
///
/// # Errors
/// Wrong fields: `choose-one`, `amount-invalid`, `out-of-range`, `trial-price`; `plan-exists`, `too-many-plans`.
pub async fn add(app: &App, actor: &Actor, slug: String, form: &PlanForm) -> Result<String> {
    let organization_id = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    let mut faults = Faults::default();
    let kind = form.kind.parse::<PlanKind>().ok();
    if kind.is_none() {
        faults.add("kind", "choose-one");
    }
    let trial = kind == Some(PlanKind::Trial);
    let price = if trial { Some(0) } else { parse_yuan(&form.price).filter(|fen| *fen > 0) };
    if price.is_none() {
        faults.add("price", "amount-invalid");
    }
    // Refuse a price for a trial rather than forget it silently.
    if trial && !matches!(form.price.trim(), "" | "0") {
        faults.add("price", "trial-price");
    }
    let mut number = |field: &str, text: &str, max: i64| {
        let n = if trial { text.trim().parse::<i64>().ok().filter(|n| (1..=max).contains(n)) } else { Some(0) };
        if n.is_none() {
            faults.add_range(field, 1, max);
        }
        n.unwrap_or(0)
    };
    let (trial_days, trial_nodes) = (number("trial_days", &form.trial_days, 90), number("trial_nodes", &form.trial_nodes, 100));
    faults.check()?;
    let (Some(kind), Some(price_fen)) = (kind, price) else { return Err(Error::invalid("invalid-input")) };
    audit::change(app, actor, move |c| {
        let row = store::find_own(c, &organization_id, &slug)?.ok_or_else(|| Error::not_found("listing"))?;
        // Hold the app until the end: of two plans at once the second counts the first.
        dialect::hold(c, Row::App(&row.id))?;
        let active = store::plans_of(c, &[row.id.as_str()])?;
        let same = |p: &PricePlan| (p.kind, p.price_fen, p.trial_days, p.trial_nodes) == (kind, price_fen, trial_days, trial_nodes);
        if active.iter().any(same) {
            return Err(Error::conflict("plan-exists"));
        }
        if active.len() >= MAX_PLANS {
            return Err(Error::conflict("too-many-plans").arg("max", MAX_PLANS));
        }
        let plan =
            PricePlan { id: ids::new("pln"), app_id: row.id, kind, price_fen, trial_days, trial_nodes, active: true, created_at: c.now };
        store::insert_plan(c, &plan)?;
        c.audit("plan.added", &plan.id, &json!({"app": plan.app_id, "kind": kind, "price_fen": price_fen}));
        c.wake_search();
        Ok(plan.id)
    })
    .await
}

/// Ends a plan; orders placed with it go on.
pub async fn retire(app: &App, actor: &Actor, slug: String, plan_id: String) -> Result<()> {
    let organization_id = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        let row = store::find_own(c, &organization_id, &slug)?.ok_or_else(|| Error::not_found("listing"))?;
        exactly_one(store::retire_plan(c, &row.id, &plan_id)?, "plan-over")?;
        c.audit("plan.retired", &plan_id, &json!({"app": row.id}));
        c.wake_search();
        Ok(())
    })
    .await
}
