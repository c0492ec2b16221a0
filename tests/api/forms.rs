//! Forms that wait for a click: what was typed when the session ended or the server failed, and acts that cannot be undone.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use pithead::account::service as account;
use pithead::base::config::LoadClass;
use pithead::base::db::schema::sites;
use pithead::base::load::Class;

use crate::server::{PASSWORD, TestServer};

/// A browser without script: cookies, and what browsers say of themselves.
struct Reader {
    client: reqwest::Client,
    base: String,
    cookies: Vec<(String, String)>,
}

impl Reader {
    fn new(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, base: server.base.clone(), cookies: Vec::new() }
    }

    async fn signed_in(server: &TestServer, email: &str) -> Self {
        let session = account::sign_in(&server.app, email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
        let mut reader = Self::new(server);
        reader.cookies.push(("__Host-session".into(), session));
        reader
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> (u16, String) {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header("cookie", cookies.join("; ")).header("accept-language", "en").send().await.unwrap();
        for set in response.headers().get_all("set-cookie") {
            let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    async fn post(&mut self, path: &str, site: &str, fields: &[(String, String)]) -> (u16, String) {
        let request = self.client.post(format!("{}{path}", self.base)).header("sec-fetch-site", site);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(serde_urlencoded::to_string(fields).unwrap())).await
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&")
}

/// Hidden fields of the form with this action.
fn fields(html: &str, action: &str) -> Vec<(String, String)> {
    let (_, form) = html.split_once(&format!("action=\"{action}\"")).unwrap_or_else(|| panic!("no form to {action} in {html}"));
    let form = form.split("</form>").next().unwrap();
    let value = |tag: &str, name: &str| Some(unescaped(tag.split_once(&format!("{name}=\""))?.1.split('"').next()?));
    let hidden = form.split("<input").skip(1).filter(|tag| tag.contains("type=\"hidden\""));
    hidden.filter_map(|tag| Some((value(tag, "name")?, value(tag, "value")?))).collect()
}

fn with(mut fields: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fields
}

async fn count_sites(server: &TestServer) -> i64 {
    server.app.db.read(|conn| Ok(sites::table.count().get_result(conn)?)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_meets_the_end_of_its_session_goes_on_after_sign_in() {
    let server = TestServer::start().await;
    let (email, _) = server.organization("operator", "north").await;
    let mut reader = Reader::signed_in(&server, &email).await;
    let (_, page) = reader.get("/mine/sites").await;
    let typed = with(fields(&page, "/mine/sites"), &[("name", "井口 \"1\" <b>")]);
    reader.cookies.clear();

    // Another site's form is refused and not held: nobody is asked to confirm what they have not typed.
    let (status, foreign) = reader.post("/mine/sites", "cross-site", &typed).await;
    assert!(status == 403 && !foreign.contains("井口"), "{foreign}");

    let (status, held) = reader.post("/mine/sites", "same-origin", &typed).await;
    assert!(status == 403 && held.contains("Nothing was sent yet") && held.contains("井口"), "{held}");
    let sign_in = fields(&held, "/sign-in");
    let (status, again) = reader.post("/sign-in", "same-origin", &with(sign_in, &[("email", &email), ("password", "wrong one")])).await;
    assert!(status == 401 && again.contains("井口"), "a wrong password loses nothing: {again}");
    let sign_in = fields(&again, "/sign-in");
    let (status, back) = reader.post("/sign-in", "same-origin", &with(sign_in, &[("email", &email), ("password", PASSWORD)])).await;
    assert!(status == 200 && back.contains("Send it now") && back.contains("Owner of north"), "{back}");
    assert_eq!(count_sites(&server).await, 0, "nothing is sent without a click");
    let kept = fields(&back, "/mine/sites");
    assert!(kept.contains(&("name".to_owned(), "井口 \"1\" <b>".to_owned())), "{kept:?}");
    assert_eq!(reader.post("/mine/sites", "same-origin", &kept).await.0, 303);
    assert_eq!(count_sites(&server).await, 1);

    // The form of before the new sign-in: the token of the old session does not count, and the way on is one click.
    let (status, held) = reader.post("/mine/sites", "same-origin", &with(typed, &[])).await;
    assert!(status == 403 && held.contains("signed in anew"), "{held}");
    assert_eq!(count_sites(&server).await, 1);
    // What would leave it behind is not offered; each password is asked for by its own name.
    assert!(!held.contains("action=\"/language\""), "{held}");
    let passwords = with(Vec::new(), &[("_csrf", "old"), ("current_password", PASSWORD), ("new_password", "x")]);
    let (_, held) = reader.post("/account/password", "same-origin", &passwords).await;
    assert!(held.contains("Current password") && held.contains("New password") && held.contains("autocomplete=\"new-password\""), "{held}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_before_sign_in_keeps_all_but_the_password() {
    let server = TestServer::start().await;
    let mut reader = Reader::new(&server);
    let sign_up = "/sign-up?next=/apps/acme/belt/order";
    let (_, page) = reader.get("/sign-in?next=%2Fapps%2Facme%2Fbelt%2Forder").await;
    let sign_in = "/sign-in?next=/apps/acme/belt/order";
    let wrong = with(fields(&page, sign_in), &[("email", "bo@north.example"), ("password", "wrong one")]);
    let (status, again) = reader.post(sign_in, "same-origin", &wrong).await;
    let onward = "href=\"/sign-in?next=%2Fapps%2Facme%2Fbelt%2Forder\"";
    assert!(
        status == 401 && again.contains(onward) && again.contains(&format!("action=\"{sign_in}\"")),
        "a mistake loses nothing: {again}"
    );
    let (_, page) = reader.get("/sign-up?next=%2Fapps%2Facme%2Fbelt%2Forder").await;
    let typed = with(
        fields(&page, sign_up),
        &[
            ("kind", "operator"),
            ("name_en", "North"),
            ("slug", "north"),
            ("name", "Bo"),
            ("email", "bo@north.example"),
            ("password", PASSWORD),
        ],
    );
    reader.cookies.clear();
    let (status, held) = reader.post(sign_up, "same-origin", &typed).await;
    assert!(status == 403 && held.contains("stood open too long") && !held.contains(PASSWORD), "{held}");
    assert!(!held.contains("href=\"/sign-in"), "no way leaves it behind: {held}");
    let kept = with(fields(&held, sign_up), &[("password", PASSWORD)]);
    let (status, _) = reader.post(sign_up, "same-origin", &kept).await;
    assert_eq!(status, 303);
    assert!(reader.cookies.iter().any(|(name, _)| name == "__Host-session"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_meets_a_fault_of_the_server_is_sent_again() {
    let people = LoadClass { at_once: 1, waiting: 1, seconds: 1 };
    let server = TestServer::start_with(|settings| settings.load.people = people).await;
    let (email, _) = server.organization("operator", "north").await;
    let mut reader = Reader::signed_in(&server, &email).await;
    let (_, page) = reader.get("/mine/sites").await;
    let typed = with(fields(&page, "/mine/sites"), &[("name", "井口 1")]);
    let rename = async |from: &str, to: &str| {
        let rename = format!("alter table {from} rename to {to}");
        server.app.db.write(move |conn| Ok(conn.batch_execute(&rename)?)).await.unwrap();
    };
    rename("sites", "sites_away").await;
    let (status, held) = reader.post("/mine/sites", "same-origin", &typed).await;
    rename("sites_away", "sites").await;
    assert!(status == 500 && held.contains("井口 1") && held.contains("send it again in a moment"), "{held}");
    let (status, foreign) = {
        rename("sites", "sites_away").await;
        let answer = reader.post("/mine/sites", "cross-site", &typed).await;
        rename("sites_away", "sites").await;
        answer
    };
    assert!(status == 500 && !foreign.contains("井口"), "{foreign}");
    let again = fields(&held, "/mine/sites");

    // Too much is asked of the server: nobody knows yet who sends it.
    let busy = server.app.load.admit(Class::People, None).await.unwrap();
    let (status, held) = reader.post("/mine/sites", "same-origin", &again).await;
    drop(busy);
    assert!(status == 503 && held.contains("井口 1") && held.contains("Send it again"), "{held}");
    assert_eq!(count_sites(&server).await, 0);
    assert_eq!(reader.post("/mine/sites", "same-origin", &fields(&held, "/mine/sites")).await.0, 303);
    assert_eq!(count_sites(&server).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_asked_without_script_too() {
    let server = TestServer::start().await;
    let (email, organization) = server.organization("operator", "north").await;
    server.person(&organization, pithead::base::auth::Role::Member, "bo@north.example").await;
    let mut member = Reader::signed_in(&server, "bo@north.example").await;
    let (status, refused) = member.get("/mine/deploy").await;
    assert!(status == 403 && refused.contains("up to: owner, deployer") && refused.contains("href=\"/mine\""), "{refused}");
    let mut reader = Reader::signed_in(&server, &email).await;
    let (_, page) = reader.get("/account/team").await;
    let remove = fields(&page, "/account/team/remove");
    assert!(remove.iter().any(|(name, _)| name == "_confirm"), "{remove:?}");
    let (status, question) = reader.post("/account/team/remove", "same-origin", &remove).await;
    assert!(status == 200 && question.contains("Are you sure?") && question.contains("bo@north.example"), "{question}");
    assert!(reader.get("/account/team").await.1.contains("bo@north.example"));
    let (status, _) = reader.post("/account/team/remove", "same-origin", &fields(&question, "/account/team/remove")).await;
    assert_eq!(status, 303);
    let (_, page) = reader.get("/account/team").await;
    assert!(!page.contains("action=\"/account/team/remove\""), "nobody is left to remove: {page}");
    server.stop().await;
}
