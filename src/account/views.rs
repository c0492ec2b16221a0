//! Pages of accounts.

use askama::Template;

use super::model::{Invitation, TeamMember};
use super::team::InvitationInfo;
use crate::base::auth::Role;
use crate::base::auth::policy::Scope;
use crate::http::page::{FormErrors, Page};

/// `/sign-up`.
#[derive(Template)]
#[template(path = "account/sign_up.html")]
pub struct SignUpPage {
    pub page: Page,
    pub form: super::service::SignUp,
    pub errors: FormErrors,
}

/// `/sign-in`.
#[derive(Template)]
#[template(path = "account/sign_in.html")]
pub struct SignInPage {
    pub page: Page,
    pub email: String,
    pub next: String,
    pub errors: FormErrors,
}

/// `/invitations/{secret}`.
#[derive(Template)]
#[template(path = "account/invitation.html")]
pub struct InvitationPage {
    pub page: Page,
    pub info: InvitationInfo,
    pub organization: String,
    pub name: String,
    pub errors: FormErrors,
}

/// The answer to a sign-in of somebody whom every organisation has removed.
#[derive(Template)]
#[template(path = "account/no_organization.html")]
pub struct NoOrganizationPage {
    pub page: Page,
}

/// One session as listed.
pub struct SessionRow {
    pub browser: String,
    pub address: String,
    pub since: String,
    pub current: bool,
}

/// `/account`.
#[derive(Template)]
#[template(path = "account/account.html")]
pub struct AccountPage {
    pub page: Page,
    pub name: String,
    pub email: String,
    pub organization: String,
    pub role: Role,
    pub sessions: Vec<SessionRow>,
}

/// `/account/team`.
#[derive(Template)]
#[template(path = "account/team.html")]
pub struct TeamPage {
    pub page: Page,
    pub members: Vec<TeamMember>,
    pub invitations: Vec<Invitation>,
    pub roles: Vec<Role>,
    pub may_manage: bool,
    pub own_id: String,
    pub email: String,
    pub chosen_role: String,
    pub link: Option<String>,
    pub errors: FormErrors,
}

/// One token as listed.
pub struct TokenRow {
    pub id: String,
    pub name: String,
    pub scopes: String,
    pub created: String,
    pub expires: String,
    pub over: bool,
}

/// `/account/tokens`.
#[derive(Template)]
#[template(path = "account/tokens.html")]
pub struct TokensPage {
    pub page: Page,
    pub tokens: Vec<TokenRow>,
    pub name: String,
    pub days: String,
    pub offered: Vec<Scope>,
    pub chosen: Vec<String>,
    pub fresh: Option<String>,
    pub errors: FormErrors,
}

impl TokensPage {
    /// Whether a scope was ticked in the form that is shown again.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub fn is_chosen(&self, scope: &Scope) -> bool {
        self.chosen.iter().any(|chosen| chosen == scope.as_str())
    }
}

/// One organisation as listed to administrators.
pub struct OrganizationRow {
    pub name: String,
    /// A vendor's public page.
    pub href: Option<String>,
    pub slug: String,
    pub kind: String,
    pub members: i64,
    pub since: String,
}

/// `/admin/people`.
#[derive(Template)]
#[template(path = "account/people.html")]
pub struct PeoplePage {
    pub page: Page,
    pub organizations: Vec<OrganizationRow>,
    pub next: Option<String>,
}

/// Browser and system out of a `User-Agent` in words; programs are named as they call themselves.
pub fn browser(page: &Page, agent: &str) -> String {
    let known = |words: &[(&str, &str)]| words.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| (*name).to_owned());
    // The order matters: Edge and Chrome call themselves Safari too, Android calls itself Linux.
    let browser = known(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("MicroMessenger", "WeChat"),
        ("Chrome/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Safari/", "Safari"),
    ]);
    let system = known(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => page.t2("account-browser-on", "browser", browser, "system", system),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => {
            let name: String = agent.split(['/', ' ', '(']).next().unwrap_or_default().chars().take(30).collect();
            if name.is_empty() { page.t("account-browser-unknown") } else { name }
        }
    }
}
