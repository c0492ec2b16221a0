//! /scenarios/…: to be told of the first app of a scenario.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::catalog::follows;
use crate::http::address::local_path;
use crate::http::extract::Form;
use crate::http::page::{PageResult, lang_of, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/scenarios/{slug}/follow", web::post().to(follow)).route("/scenarios/{slug}/unfollow", web::post().to(unfollow));
}

/// Where a form goes on at.
#[derive(Deserialize)]
struct Onward {
    next: Option<String>,
}

async fn follow(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>, form: Form<Onward>) -> PageResult {
    follows::follow(&app, &actor, slug.into_inner(), lang_of(&req)).await?;
    Ok(back(form.0, "scenario-followed"))
}

async fn unfollow(app: Data<App>, actor: Actor, slug: Path<String>, form: Form<Onward>) -> PageResult {
    follows::unfollow(&app, &actor, slug.into_inner()).await?;
    Ok(back(form.0, "scenario-unfollowed"))
}

fn back(to: Onward, said: &str) -> HttpResponse {
    see_other_with(&local_path(to.next.as_deref(), "/apps"), "success", said, &[])
}
