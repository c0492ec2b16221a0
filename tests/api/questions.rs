//! Each form that changes something asks before it is carried out, or does what can be undone.

use crate::sources;

/// Forms without a question, by template and address, and why they need none.
const UNDONE: [(&str, &str, &str); 48] = [
    ("account/account.html", "/account/sessions/revoke", "one signs in again"),
    ("account/address.html", "/account/address", "is changed back"),
    ("account/address.html", "/account/address/proof", "sends a mail"),
    ("account/confirm_address.html", "/confirm-address", "the page of a mail's link, where the click is the answer"),
    ("account/forgotten_password.html", "/forgotten-password", "sends a mail"),
    ("account/invitation.html", "", "the page of an invitation, where the click is the answer"),
    ("account/invitation.html", "", "the other form of that page"),
    ("account/new_password.html", "/new-password", "a password is changed again"),
    ("account/password.html", "/account/password", "a password is changed again"),
    ("account/sign_in.html", "/sign-in", "one signs out"),
    ("account/sign_up.html", "/sign-up", "makes something new"),
    ("account/team.html", "/account/team", "an invitation is taken back"),
    ("account/tokens.html", "/account/tokens", "a token is revoked"),
    ("admin/audit.html", "/admin/audit/verify", "reads only"),
    ("admin/evaluation_new.html", "/admin/evaluation/new", "a set is retired"),
    ("admin/evaluation_set.html", "/admin/evaluation/{{ id }}/score", "computes again"),
    ("admin/reset_password.html", "/admin/people/{{ id }}/reset-password", "a link that nobody uses ends"),
    ("admin/stop.html", "{{ action }}", "the page itself is the question"),
    ("layout/held.html", "", "the page itself is the question"),
    ("mine/deploy_preview.html", "/mine/deploy", "the page itself is the question"),
    ("mine/node.html", "/mine/nodes/{{ id }}/code", "the code before is over"),
    ("mine/node_new.html", "/mine/nodes/new", "a node is removed"),
    ("mine/order_form.html", "{{ href }}/order", "the page itself is the question"),
    ("mine/sites.html", "/mine/sites", "makes something new"),
    ("mine/sites.html", "/mine/pictures", "is changed back"),
    ("parts/header.html", "/account/organization", "is changed back"),
    ("parts/header.html", "/language", "is changed back"),
    ("parts/header.html", "/sign-out", "one signs in again; what is typed is kept"),
    ("parts/webhook.html", "{{ row.href }}/again", "its receiver knows the message by its id"),
    ("parts/webhook.html", "{{ row.href }}/on", "nothing is lost by it"),
    ("parts/webhook.html", "{{ row.href }}/test", "means nothing to its receiver"),
    ("parts/webhooks.html", "{{ base }}", "a webhook is removed"),
    ("vendor/app.html", "/vendor/apps/{{ app.slug }}/visibility", "an app that is shown is hidden again"),
    ("duty/board.html", "/duty/board/acknowledge", "what is urgent asks nothing; the verdict of each can be changed"),
    ("duty/board.html", "/duty/board/{{ r.id }}/acknowledge", "what is urgent asks nothing; the verdict of it can be changed"),
    ("duty/board.html", "/duty/board/{{ r.id }}/shelve", "is unshelved, and ends by itself"),
    ("duty/board.html", "/duty/board/{{ r.id }}/unshelve", "is shelved again"),
    ("duty/board.html", "/duty/board/{{ r.id }}/take-out", "is put back; a reason is asked for"),
    ("duty/board.html", "/duty/board/{{ r.id }}/put-back", "is taken out again"),
    ("duty/board.html", "/duty/board/{{ r.id }}/fetch-picture", "asks the mine's own node for a picture, and takes nothing away"),
    ("duty/kiosk.html", "/duty/kiosk", "the token is revoked"),
    ("vendor/draft.html", "/vendor/drafts/{{ id }}", "is changed again; what is uploaded is a release that nobody sees yet"),
    ("vendor/keys.html", "/vendor/keys", "a key is revoked"),
    ("vendor/plans.html", "/vendor/apps/{{ slug }}/plans", "a plan is retired"),
    ("admin/release.html", "/admin/releases/{{ id }}/measure", "computes again; the figures before stay"),
    ("parts/follow.html", "/scenarios/{{ line.slug }}/", "is followed again"),
    ("vendor/release_live.html", "{{ view.address }}/measure", "computes again; the figures before stay"),
    ("vendor/release_live.html", "{{ view.address }}/recheck", "computes again"),
];

/// The value of an attribute in the text of a tag.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

/// A form's address; empty where it is that of the page. An expression in it stands whole, up to what it chooses between.
fn address(form: &str) -> String {
    let tag = form.split_once('>').map_or(form, |(tag, _)| tag);
    attribute(&tag.replace('\n', " "), "action").unwrap_or_default().split("{% if").next().unwrap().trim().to_owned()
}

/// Whether a form asks, whichever of its buttons sends it.
fn asks(form: &str) -> bool {
    let buttons: Vec<&str> = form.split("<button").skip(1).collect();
    let of_form = form.contains("ui::asks(");
    let of_button = |button: &&str| {
        let (name, value) = (attribute(button, "name"), attribute(button, "value"));
        let own = name == Some("_confirm");
        own || name.zip(value).is_some_and(|(name, value)| form.contains(&format!("ui::asks_for(\"{name}\", \"{value}\"")))
    };
    of_form || (!buttons.is_empty() && buttons.iter().all(of_button))
}

#[test]
fn what_cannot_be_undone_asks_once() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut without = Vec::new();
    let mut asking = 0;
    for file in sources::files("templates", "html") {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        for form in text.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            let form = form.replace('\n', " ");
            if !form.split("ui::csrf").next().unwrap().contains("method=\"post\"") {
                continue;
            }
            if asks(&form) {
                asking += 1;
            } else {
                without.push((name.clone(), address(&form)));
            }
        }
    }
    assert!(asking > 20, "{asking}");
    let mut known: Vec<(String, String)> = UNDONE.iter().map(|(file, action, _)| ((*file).to_owned(), (*action).to_owned())).collect();
    without.sort();
    known.sort();
    assert_eq!(without, known, "a form that needs a question, or one that is listed and gone or asks");
}
