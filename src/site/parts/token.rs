//! API tokens, as their person and administrators see them.

use crate::account::model::ApiToken;
use crate::base::db::Timestamp;
use crate::http::page::{Ago, Page};

/// One token as listed.
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub scopes: String,
    pub created: String,
    /// Last use.
    pub used: Ago,
    pub expires: String,
    pub over: bool,
}

impl TokenRow {
    pub fn of(page: &Page, token: ApiToken, now: Timestamp) -> Self {
        Self {
            over: token.revoked_at.is_some() || token.expires_at <= now,
            created: page.date(&token.created_at),
            used: token.used_at.map_or_else(|| Ago::never(page.t("tokens-never-used")), |at| page.ago(&at)),
            expires: page.date(&token.expires_at),
            scopes: token.scopes.split(' ').map(|scope| page.tk("scope-", scope)).collect::<Vec<_>>().join(&page.t("list-comma")),
            id: token.id,
            name: token.name,
        }
    }
}
