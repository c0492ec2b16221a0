//! API tokens: shown once, stored hashed, scoped, expiring.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::model::ApiToken;
use super::store;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action, Scope};
use crate::base::auth::{Actor, OrgKind, Role, token};
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Faults, Result, exactly_one};
use crate::base::ids;

/// Longest life in days.
const MAX_DAYS: i64 = 366;
/// Tokens of a person in an organisation that are in force.
const MAX_TOKENS: i64 = 50;

/// Whether a scope can be of use in an organisation of a kind: whether some role there may do something that needs it.
pub fn offered(kind: OrgKind, scope: Scope) -> bool {
    // No action of the table needs `pull`: the registry grants pulls by itself.
    if scope == Scope::Pull {
        return true;
    }
    let needs = |action: &&Action| policy::scope_of(**action) == Some(scope);
    Action::ALL.iter().filter(needs).any(|action| Role::of(kind).iter().any(|role| policy::permits(kind, *role, *action)))
}

/// The person's tokens in their organisation, newest first.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<ApiToken>> {
    let person = policy::require(actor, Action::ManageTokens)?;
    let (user_id, organization_id) = (person.user_id.clone(), person.organization_id.clone());
    app.db.read(move |conn| Ok(store::list_tokens(conn, &user_id, &organization_id)?)).await
}

/// Makes a token; gives its text, which is never shown again.
///
/// # Errors
/// Wrong fields: `name`, `scopes` (`choose-one`; `wall-alone`, `wall-of-owner`), `days`; `too-many-tokens`.
pub async fn create(app: &App, actor: &Actor, name: &str, scopes: &[&str], days: i64) -> Result<String> {
    let person = policy::require(actor, Action::ManageTokens)?;
    let mut faults = Faults::default();
    let name = faults.text("name", name, 1, 60);
    let scopes: BTreeSet<Scope> = scopes.iter().filter_map(|s| s.parse().ok()).collect();
    if scopes.is_empty() {
        faults.add("scopes", "choose-one");
    }
    // A screen that everybody passes shows one thing: its token opens nothing else, and an owner answers for it.
    if scopes.contains(&Scope::Wall) && scopes.len() > 1 {
        faults.add("scopes", "wall-alone");
    } else if scopes.contains(&Scope::Wall) && person.role != Role::Owner {
        faults.add("scopes", "wall-of-owner");
    }
    if !(1..=MAX_DAYS).contains(&days) {
        faults.add_range("days", 1, MAX_DAYS);
    }
    faults.check()?;
    let (text, token_hash) = token::new();
    let now = app.clock.now();
    let row = ApiToken {
        id: ids::new("tok"),
        organization_id: person.organization_id.clone(),
        user_id: person.user_id.clone(),
        name,
        token_hash,
        scopes: scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "),
        created_at: now,
        expires_at: now.plus(TimeDelta::days(days)),
        used_at: None,
        revoked_at: None,
    };
    audit::change(app, actor, move |c| {
        // The second of two tokens at once counts the first.
        dialect::hold(c, Row::Member(&row.user_id, &row.organization_id))?;
        if store::count_tokens(c, &row.user_id, &row.organization_id, row.created_at)? >= MAX_TOKENS {
            return Err(Error::conflict("too-many-tokens").arg("max", MAX_TOKENS));
        }
        store::insert_token(c, &row)?;
        c.audit("token.created", &row.id, &json!({"scopes": row.scopes}));
        Ok(())
    })
    .await?;
    Ok(text)
}

/// Ends a token of the person.
pub async fn revoke(app: &App, actor: &Actor, id: String) -> Result<()> {
    let user_id = policy::require(actor, Action::ManageTokens)?.user_id.clone();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        exactly_one(store::revoke_token(c, &id, &user_id, now)?, "token-over")?;
        c.audit("token.revoked", &id, &json!({}));
        Ok(())
    })
    .await
}
