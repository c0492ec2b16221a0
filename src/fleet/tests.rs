//! Sites, nodes, identities and deployments on both backends; pages with hostile names in both languages.

use app_package::manifest::{AppManifest, Parameter, ParameterKind, Resources};
use app_package::text::Text;
use chrono::TimeDelta;
use diesel::prelude::*;
use serde_json::{Map, Value, json};

use super::model::{Change, DeploymentState, Fit, Hardware, code_hash, new_code};
use super::parameters;
use super::service::deployment;
use super::service::deployment_plan::{self, DeployInput, NodeProblem};
use super::service::{self, node};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::schema::{activations, deployments, jobs, nodes, rates};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Kind};
use crate::catalog::model::PlanKind;
use crate::http::extract::FormPairs;
use crate::testing::shop::{Shop, draft, license, listing, publish, shop};
use crate::testing::{self, each_backend};

/// A request for a certificate, as a node makes it.
fn leaf(chain_pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    rustls_pki_types::CertificateDer::from_pem_slice(chain_pem.as_bytes()).unwrap().to_vec()
}

async fn enroll(app: &App, code: &str) -> Result<service::Enrolment, Error> {
    service::enroll(app, code.into(), testing::csr(), "1.0.0".into()).await
}

async fn site(app: &App, actor: &Actor, name: &str) -> String {
    service::create_site(app, actor, name).await.unwrap()
}

/// A node that has enrolled, with its certificate.
async fn enrolled(app: &App, actor: &Actor, site: &str, name: &str) -> (String, Vec<u8>) {
    let issued = service::create_node(app, actor, site, name).await.unwrap();
    let enrolled = enroll(app, &issued.code).await.unwrap();
    (issued.node_id, leaf(&enrolled.issued.chain_pem))
}

fn input(shop: &Shop, license_id: &str, node_ids: &[&String]) -> DeployInput {
    DeployInput {
        release_id: shop.listing.release_id.clone(),
        license_id: license_id.to_owned(),
        node_ids: node_ids.iter().map(|id| (*id).clone()).collect(),
        parameters: Map::new(),
    }
}

async fn count(app: &App, table: &'static str) -> i64 {
    app.db
        .read(move |conn| {
            Ok(match table {
                "deployments" => deployments::table.count().get_result(conn)?,
                "activations" => activations::table.count().get_result(conn)?,
                _ => jobs::table.filter(jobs::kind.eq("rebuild-node")).count().get_result(conn)?,
            })
        })
        .await
        .unwrap()
}

#[test]
fn codes_are_read_as_people_type_them() {
    let code = new_code();
    assert_eq!(code.len(), 14);
    assert_eq!(code_hash(&code), code_hash(&code.to_lowercase().replace('-', " ")));
    assert_ne!(code_hash(&code), code_hash(&new_code()));
    for wrong in ["", "ABCD-EFGH", "ABCD-EFGH-JKL0", "ABCD-EFGH-JKLMN", "ABCD-EFGH-JKLé", &"A".repeat(1000)] {
        assert_eq!(code_hash(wrong), None, "{wrong}");
    }
}

#[test]
fn hardware_is_read_and_compared() {
    let json = json!({"apiVersion": "device.margo/v1", "kind": "DeviceCapabilitiesManifest", "labels": {"pithead.dev/onnx-runtime": "1.22.0"}, "properties": {
        "id": "nod_1", "vendor": "V", "modelNumber": "M", "serialNumber": "S", "memory": "1Gi", "cpus": [{"cores": 2.0, "architecture": "arm64"}]}});
    let hardware = Hardware::parse(&json.to_string()).unwrap();
    assert_eq!((hardware.memory_bytes, hardware.cores, hardware.runtime.as_deref()), (Some(1_073_741_824), 2.0, Some("1.22.0")));
    let app = app_package::validate::parse(include_str!("../../crates/app-package/fixtures/app.yaml")).unwrap();
    let fit = |resources: &Resources, hardware| super::model::fit(&AppManifest { resources: resources.clone(), ..app.clone() }, hardware);
    let need = Resources::default();
    assert_eq!(fit(&need, Some(&hardware)), Fit::Fits);
    assert_eq!(fit(&need, None), Fit::Unknown);
    // A node that says nothing of formats runs the first.
    let second = AppManifest { format: 2, ..app.clone() };
    assert_eq!(super::model::fit(&second, Some(&hardware)), Fit::Format);
    assert_eq!(super::model::fit(&second, Some(&Hardware { formats: vec![1, 2], ..hardware.clone() })), Fit::Fits);
    assert_eq!(fit(&Resources { architectures: vec!["amd64".into()], ..need.clone() }, Some(&hardware)), Fit::Architecture);
    assert_eq!(fit(&Resources { cpu: 4.0, ..need.clone() }, Some(&hardware)), Fit::Cores);
    assert_eq!(fit(&Resources { memory_mib: 2048, ..need.clone() }, Some(&hardware)), Fit::Memory);
    assert_eq!(fit(&Resources { accelerators: vec!["gpu".into()], ..need }, Some(&hardware)), Fit::Accelerator);
    for broken in ["", "null", "{}", "{\"properties\":7}"] {
        assert_eq!(Hardware::parse(broken), None);
    }
    // What the agent says of execution providers, and what it does not.
    let said = |own: serde_json::Value| {
        let mut all = json.clone();
        all[app_package::margo::PROVIDERS_EXTENSION] = own;
        Hardware::parse(&all.to_string()).unwrap().provided
    };
    let provided = said(json!({
        "providers": [{"name": "openvino", "version": "1.8.1", "device": "cpu", "precision": "FP32"}, {"name": "cuda", "code": "provider-missing"}],
        "apps": {"dep_1": {"serves": {"name": "cpu", "version": "1.32.0"}, "passed_over": [{"name": "openvino", "code": "golden-not-reproduced"}]}},
    }));
    assert_eq!((provided.providers[0].precision.as_str(), provided.providers[1].code.as_str()), ("FP32", "provider-missing"));
    let app = &provided.apps["dep_1"];
    assert_eq!((app.serves.as_ref().unwrap().version.as_str(), app.passed_over[0].code.as_str()), ("1.32.0", "golden-not-reproduced"));
    for odd in [json!(null), json!(7), json!({"apps": [1]}), json!({"providers": [{"name": 1}]})] {
        assert_eq!(said(odd), hardware.provided);
    }
}

fn declared() -> Vec<Parameter> {
    let parameter = |name: &str, kind, default| Parameter {
        name: name.into(),
        kind,
        default,
        min: Some(1.0).filter(|_| matches!(kind, ParameterKind::Integer | ParameterKind::Number)),
        max: Some(9.0).filter(|_| matches!(kind, ParameterKind::Integer | ParameterKind::Number)),
        choices: if kind == ParameterKind::Choice { vec!["a".into(), "b".into()] } else { Vec::new() },
        title: Text::default(),
        help: Text::default(),
    };
    vec![
        parameter("text", ParameterKind::String, json!("x")),
        parameter("whole", ParameterKind::Integer, json!(2)),
        parameter("number", ParameterKind::Number, json!(2.5)),
        parameter("flag", ParameterKind::Boolean, json!(true)),
        parameter("word", ParameterKind::Choice, json!("a")),
    ]
}

#[test]
fn hostile_parameters_are_named_field_by_field() {
    let declared = declared();
    let full = parameters::check(&declared, &Map::new(), None).unwrap();
    assert_eq!(full["number"], json!(2.5));
    let wrong = |name: &str, value: Value| {
        let given: Map<String, Value> = [(name.to_owned(), value)].into_iter().collect();
        let error = parameters::check(&declared, &given, None).unwrap_err();
        assert_eq!(error.fields.len(), 1);
        assert_eq!(error.fields[0].field, format!("p.{name}"));
        error.fields[0].code
    };
    assert_eq!(wrong("text", json!("x".repeat(201))), "too-long");
    assert_eq!(wrong("text", json!("a\u{0}b")), "control-characters");
    assert_eq!(wrong("text", json!({"a": 1})), "parameter-text");
    assert_eq!(wrong("whole", json!(2.5)), "parameter-integer");
    assert_eq!(wrong("whole", json!(i64::MIN)), "parameter-integer");
    assert_eq!(wrong("whole", json!(u64::MAX)), "parameter-integer");
    assert_eq!(wrong("whole", json!(0)), "parameter-min");
    assert_eq!(wrong("number", json!(9.01)), "parameter-max");
    assert_eq!(wrong("number", json!("3")), "parameter-number");
    assert_eq!(wrong("flag", json!("true")), "parameter-boolean");
    assert_eq!(wrong("word", json!("c")), "parameter-choice");
    assert_eq!(wrong("__proto__", json!(1)), "parameter-unknown");
}

#[test]
fn a_form_is_read_by_type_and_what_cannot_be_read_is_kept_to_be_named() {
    let declared = declared();
    let form = |pairs: &[(&str, &str)]| FormPairs(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let read = crate::site::mine::deploy::from_form(
        &declared,
        &form(&[("_csrf", "x"), ("p.whole", " 3 "), ("p.number", "4.5"), ("p.word", "b"), ("p.text", "<b>"), ("p.flag", "false")]),
    );
    assert_eq!(Value::Object(read.clone()), json!({"whole": 3, "number": 4.5, "word": "b", "text": "<b>", "flag": false}));
    parameters::check(&declared, &read, None).unwrap();
    let read = crate::site::mine::deploy::from_form(
        &declared,
        &form(&[("p.whole", "3; DROP"), ("p.number", "NaN"), ("p.flag", "maybe"), ("p.more", "1")]),
    );
    let mut codes: Vec<&str> = parameters::check(&declared, &read, None).unwrap_err().fields.iter().map(|f| f.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["parameter-boolean", "parameter-integer", "parameter-number", "parameter-unknown"]);
    // The page sends "false" before the box, so that one without its tick is off. What a program leaves out stays as it is in force.
    let off: Map<String, Value> = [("flag".to_owned(), json!(false))].into_iter().collect();
    let flag = |pairs: &[(&str, &str)], kept| {
        let read = crate::site::mine::deploy::from_form(&declared, &form(pairs));
        parameters::check(&declared, &read, kept).unwrap()["flag"].clone()
    };
    let (unticked, ticked) = ([("p.flag", "false")], [("p.flag", "false"), ("p.flag", "true")]);
    assert_eq!((flag(&unticked, None), flag(&ticked, Some(&off))), (json!(false), json!(true)));
    assert_eq!((flag(&[], None), flag(&[], Some(&off))), (json!(true), json!(false)));
}

#[tokio::test]
async fn a_code_enrols_one_node_once() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = site(&app, &operator, "Main roadway").await;
        let issued = service::create_node(&app, &operator, &site, "Belt head").await.unwrap();
        assert_eq!(enroll(&app, "ABCD-EFGH-JKLM").await.unwrap_err().code, "enrollment-code-unknown");
        let bad = service::enroll(&app, issued.code.clone(), "no request".into(), "1".into()).await.unwrap_err();
        assert_eq!(bad.code, "csr-invalid");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (app, code) = (app.clone(), issued.code.to_lowercase());
            tasks.spawn(async move { enroll(&app, &code).await });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "a bad request does not use up the code, and only one gets it");
        assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|e| e.code == "enrollment-code-used"));
        let detail = testing::node_detail(&app, &operator, &issued.node_id).await.unwrap();
        assert_eq!(detail.node.shown_state(app.clock.now()), "enrolled", "its agent has not called yet");
        let (id, now) = (issued.node_id.clone(), app.clock.now());
        app.db.write(move |conn| Ok(super::store::note_call(conn, &id, now)?)).await.unwrap();
        let detail = testing::node_detail(&app, &operator, &issued.node_id).await.unwrap();
        assert_eq!(detail.node.shown_state(app.clock.now()), "online");
        app.clock.advance(TimeDelta::seconds(24));
        assert_eq!(detail.node.shown_state(app.clock.now()), "online");
        app.clock.advance(TimeDelta::seconds(1));
        assert_eq!(detail.node.shown_state(app.clock.now()), "offline");

        let late = service::create_node(&app, &operator, &site, "Tail").await.unwrap();
        app.clock.advance(TimeDelta::hours(app.settings.fleet.code_hours));
        assert_eq!(enroll(&app, &late.code).await.unwrap_err().code, "enrollment-code-expired");
        let fresh = service::new_code(&app, &operator, &late.node_id).await.unwrap();
        assert_eq!(enroll(&app, &late.code).await.unwrap_err().code, "enrollment-code-unknown", "the old code is void");
        enroll(&app, &fresh.code).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_known_of_a_node_holds_a_second_and_until_a_write_that_touches_it() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = site(&app, &operator, "Shaft").await;
        let (id, der) = enrolled(&app, &operator, &site, "Winder").await;
        let certificate = service::NodeCertificate::new(der);
        let known = async || certificate.authenticate(&app).await.map(|caller| caller.digest(&app)).map_err(|e| e.code);
        // Written where no mark says so, as another process does.
        let write = async |digest: &'static str| {
            let id = id.clone();
            let of =
                move |conn: &mut Conn| Ok(diesel::update(nodes::table.find(id)).set(nodes::manifest_digest.eq(digest)).execute(conn)?);
            app.db.write_aside(of).await.unwrap();
        };
        write("sha256:1").await;
        assert_eq!(known().await, Ok(Some("sha256:1".to_owned())));
        write("sha256:2").await;
        assert_eq!(known().await, Ok(Some("sha256:1".to_owned())));
        app.clock.advance(TimeDelta::milliseconds(1_000));
        assert_eq!(known().await, Ok(Some("sha256:2".to_owned())));
        app.clock.advance(-TimeDelta::milliseconds(1));
        write("sha256:3").await;
        assert_eq!(known().await, Ok(Some("sha256:3".to_owned())), "the clock was set back");
        // What its operator does shows at once; a call that was let in before reads it anew.
        let caller = certificate.authenticate(&app).await.unwrap();
        service::remove_node(&app, &operator, &id).await.unwrap();
        assert_eq!(caller.digest(&app), None);
        assert_eq!(known().await, Err("certificate-not-accepted"));
    })
    .await;
}

#[test]
fn a_call_is_noted_each_so_often_also_where_the_clock_was_set_back() {
    let caller = service::Caller::new("nod_1".into(), "org_1".into());
    let (at, each) = (Timestamp::from_unix(1_767_225_600), TimeDelta::seconds(5));
    let calls = |seconds: i64| caller.calls(at.plus(TimeDelta::seconds(seconds)), each);
    assert_eq!([calls(0), calls(5), calls(6), calls(7), calls(-60), calls(-59)], [true, false, true, false, true, false]);
}

#[tokio::test]
async fn only_the_certificate_in_force_of_an_enrolled_node_is_accepted() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = site(&app, &operator, "Shaft").await;
        let (id, first) = enrolled(&app, &operator, &site, "Winder").await;
        let accepted = |der: Vec<u8>| {
            let app = app.clone();
            async move { service::NodeCertificate::new(der).authenticate(&app).await.map(|caller| caller.actor()).map_err(|e| e.code) }
        };
        let actor = accepted(first.clone()).await.unwrap();
        assert_eq!(actor.label(), format!("node:{id}"));

        // The answer to a renewal is lost: the old one still works, and renews again.
        service::renew(&app, &actor, testing::csr()).await.unwrap();
        let actor = accepted(first.clone()).await.unwrap();
        let second = leaf(&service::renew(&app, &actor, testing::csr()).await.unwrap().issued.chain_pem);
        accepted(first.clone()).await.unwrap();
        accepted(second.clone()).await.unwrap();
        assert_eq!(accepted(first.clone()).await.unwrap_err(), "certificate-not-accepted", "an older one after the newer was used");

        // A third one may come soon after; then it takes time, and leaves no record.
        service::renew(&app, &actor, testing::csr()).await.unwrap();
        let refused = service::renew(&app, &actor, testing::csr()).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after), ("too-many-renewals", Some(3600)));
        app.clock.advance(TimeDelta::hours(1));
        let second = leaf(&service::renew(&app, &actor, testing::csr()).await.unwrap().issued.chain_pem);
        accepted(second.clone()).await.unwrap();

        // A new enrolment voids what was before at once.
        let code = service::new_code(&app, &operator, &id).await.unwrap().code;
        accepted(second.clone()).await.unwrap();
        let third = leaf(&enroll(&app, &code).await.unwrap().issued.chain_pem);
        assert_eq!(accepted(second).await.unwrap_err(), "certificate-not-accepted");

        // Not of our shape: the server's own certificate, the authority, and noise.
        let server = app.ca.server_identity(&["localhost".to_owned()], app.clock.now()).unwrap().chain;
        for der in server.into_iter().chain([Vec::new(), vec![0x30, 0x03, 0x02, 0x01, 0x01]]) {
            assert_eq!(accepted(der).await.unwrap_err(), "certificate-not-accepted");
        }
        // Of an unknown node, though signed by us.
        let stranger = app.ca.sign_node(&testing::csr(), "nod_unknown", app.clock.now()).unwrap();
        assert_eq!(accepted(leaf(&stranger.chain_pem)).await.unwrap_err(), "certificate-not-accepted");
        // Signed by us for this node, but never put on the list.
        let unlisted = app.ca.sign_node(&testing::csr(), &id, app.clock.now()).unwrap();
        assert_eq!(accepted(leaf(&unlisted.chain_pem)).await.unwrap_err(), "certificate-not-accepted");

        accepted(third.clone()).await.unwrap();
        app.clock.advance(TimeDelta::days(31));
        assert_eq!(accepted(third).await.unwrap_err(), "certificate-not-accepted", "expired");

        let (id, der) = enrolled(&app, &operator, &site, "Brake").await;
        service::remove_node(&app, &operator, &id).await.unwrap();
        assert_eq!(accepted(der).await.unwrap_err(), "certificate-not-accepted", "removed");
        assert_eq!(service::remove_node(&app, &operator, &id).await.unwrap_err().code, "node-removed");
        assert_eq!(service::new_code(&app, &operator, &id).await.unwrap_err().code, "node-removed");
        service::create_node(&app, &operator, &site, "Brake").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn names_are_unique_and_bounded() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let id = site(&app, &operator, " Washery ").await;
        assert_eq!(service::create_site(&app, &operator, "Washery").await.unwrap_err().code, "site-name-taken");
        assert_eq!(service::create_site(&app, &operator, "  ").await.unwrap_err().fields[0].code, "required");
        assert_eq!(service::create_site(&app, &operator, &"x".repeat(61)).await.unwrap_err().fields[0].code, "too-long");
        assert_eq!(service::create_site(&app, &operator, "a\nb").await.unwrap_err().fields[0].code, "control-characters");
        service::create_node(&app, &operator, &id, "One").await.unwrap();
        assert_eq!(service::create_node(&app, &operator, &id, "One").await.unwrap_err().code, "node-name-taken");
        assert_eq!(service::create_node(&app, &operator, "", "").await.unwrap_err().fields.len(), 2);
        let lines = node::list_sites(&app, &operator).await.unwrap();
        assert_eq!((lines[0].site.name.as_str(), lines[0].nodes, lines[0].online), ("Washery", 1, 0));
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_another_operator_does_not_exist() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 5).await;
        let mine = site(&app, &shop.operator, "Mine").await;
        let (node_id, _) = enrolled(&app, &shop.operator, &mine, "N1").await;
        let deployed = service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap().remove(0);

        let other = testing::operator(&app, "other").await;
        let missing = |e: Error, code: &str| assert_eq!((e.kind, e.code), (Kind::NotFound, code));
        missing(testing::node_detail(&app, &other, &node_id).await.unwrap_err(), "node");
        missing(service::new_code(&app, &other, &node_id).await.unwrap_err(), "node");
        missing(service::remove_node(&app, &other, &node_id).await.unwrap_err(), "node");
        missing(service::create_node(&app, &other, &mine, "N2").await.unwrap_err(), "site");
        missing(testing::deployment_detail(&app, &other, &deployed).await.unwrap_err(), "deployment");
        missing(service::remove_deployment(&app, &other, &deployed).await.unwrap_err(), "deployment");
        let theirs = site(&app, &other, "Mine").await;
        let (their_node, _) = enrolled(&app, &other, &theirs, "N1").await;
        missing(service::deploy(&app, &other, input(&shop, &bought.id, &[&their_node])).await.unwrap_err(), "license");
        missing(service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&their_node])).await.unwrap_err(), "node");
        missing(service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id, &their_node])).await.unwrap_err(), "node");
        assert!(deployment::list_deployments(&app, &other, None).await.unwrap().is_empty());
        assert!(deployment_plan::offers(&app, &other).await.unwrap().is_empty());
        let seen = node::list_nodes(&app, &other, None).await.unwrap();
        assert_eq!((seen.len(), seen[0].node.id.as_str()), (1, their_node.as_str()));
        assert_eq!(crate::site::mine::today::read_overview(&app, &shop.vendor).await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(crate::site::mine::today::read_overview(&app, &other).await.unwrap().under_way, 0);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_counts_as_a_change_for_each_node_and_a_node_is_rebuilt_once() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Perpetual, 2).await;
        let site = site(&app, &shop.operator, "Face").await;
        let (n1, _) = enrolled(&app, &shop.operator, &site, "N1").await;
        let (n2, _) = enrolled(&app, &shop.operator, &site, "N2").await;
        let full_at = async || {
            let bucket = format!("changes:{}", shop.operator.organization_id().unwrap());
            app.db.read(move |conn| Ok(rates::table.find(bucket).select(rates::full_at).first::<Timestamp>(conn)?)).await.unwrap().utc()
        };
        let before = full_at().await;
        service::deploy(&app, &shop.operator, input(&shop, &license.id, &[&n1, &n2])).await.unwrap();
        let pace = TimeDelta::hours(1) / i32::try_from(app.settings.server.changes_per_hour).unwrap();
        assert_eq!(full_at().await - before, pace * 4, "a seat and a deployment on each");
        assert_eq!(count(&app, "jobs").await, 2, "those of the enrolments serve for the deployments, too");
    })
    .await;
}

#[tokio::test]
async fn deploying_is_all_or_nothing_and_says_why() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let one_seat = license(&app, &shop, PlanKind::Perpetual, 1).await;
        let site = site(&app, &shop.operator, "Face").await;
        let (n1, _) = enrolled(&app, &shop.operator, &site, "N1").await;
        let (n2, _) = enrolled(&app, &shop.operator, &site, "N2").await;
        let waiting = service::create_node(&app, &shop.operator, &site, "N3").await.unwrap().node_id;
        // What the enrolments have asked for is done: of a node one rebuilding waits.
        app.db.write(|conn| Ok(diesel::delete(jobs::table).execute(conn)?)).await.unwrap();
        let jobs_before = count(&app, "jobs").await;
        let code = |input: DeployInput| {
            let (app, actor) = (app.clone(), shop.operator.clone());
            async move { service::deploy(&app, &actor, input).await.map_err(|e| e.code) }
        };
        assert_eq!(code(input(&shop, &one_seat.id, &[&n1, &n2])).await.unwrap_err(), "too-many-nodes");
        assert_eq!(code(input(&shop, &one_seat.id, &[])).await.unwrap_err(), "invalid-input");
        assert_eq!(code(input(&shop, &one_seat.id, &[&waiting])).await.unwrap_err(), "node-not-enrolled");
        assert_eq!(code(DeployInput { release_id: "rel_no".into(), ..input(&shop, &one_seat.id, &[&n1]) }).await.unwrap_err(), "deploy-release");
        let draft = draft(&app, &shop, "1.1.0").await;
        assert_eq!(code(DeployInput { release_id: draft, ..input(&shop, &one_seat.id, &[&n1]) }).await.unwrap_err(), "release-not-published");
        let major = publish(&app, &shop, "2.0.0").await;
        assert_eq!(code(DeployInput { release_id: major.clone(), ..input(&shop, &one_seat.id, &[&n1]) }).await.unwrap_err(), "license-version-not-covered");
        let foreign = listing(&app, &shop.vendor, "else", false).await.release_id;
        assert_eq!(code(DeployInput { release_id: foreign, ..input(&shop, &one_seat.id, &[&n1]) }).await.unwrap_err(), "license-scope-mismatch");
        let hostile = [("bolt_score".to_owned(), json!("0.5")), ("x".to_owned(), json!(1))].into_iter().collect();
        let error = service::deploy(&app, &shop.operator, DeployInput { parameters: hostile, ..input(&shop, &one_seat.id, &[&n1]) }).await.unwrap_err();
        assert_eq!(error.fields.len(), 2);
        let small = json!({"properties": {"id": n1, "vendor": "v", "modelNumber": "m", "serialNumber": "s", "cpus": [{"cores": 4.0, "architecture": "arm"}]}}).to_string();
        let row = n1.clone();
        app.db
            .write(move |conn| Ok(diesel::update(nodes::table.find(row)).set(nodes::capabilities.eq(Some(small))).execute(conn)?))
            .await
            .unwrap();
        assert_eq!(code(input(&shop, &one_seat.id, &[&n1])).await.unwrap_err(), "node-does-not-fit");
        // After all these refusals nothing is there.
        assert_eq!((count(&app, "deployments").await, count(&app, "activations").await), (0, 0));
        assert_eq!(count(&app, "jobs").await, jobs_before);

        let trial = license(&app, &shop, PlanKind::Trial, 1).await;
        app.clock.advance(TimeDelta::days(15));
        assert_eq!(code(input(&shop, &trial.id, &[&n2])).await.unwrap_err(), "license-expired");
        let deployed = code(input(&shop, &one_seat.id, &[&n2])).await.unwrap();
        assert_eq!(count(&app, "jobs").await, jobs_before + 1);
        // A member who may not deploy.
        let organization = shop.operator.organization_id().unwrap();
        let member = testing::member(&app, organization, crate::base::auth::Role::Member, "member@mine.example").await;
        assert_eq!(service::deploy(&app, &member, input(&shop, &one_seat.id, &[&n2])).await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(service::remove_deployment(&app, &member, &deployed[0]).await.unwrap_err().kind, Kind::Forbidden);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_is_updated_changed_and_removed() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 1).await;
        let site = site(&app, &shop.operator, "Face").await;
        let (node_id, _) = enrolled(&app, &shop.operator, &site, "N1").await;
        let plan = deployment_plan::plan(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap();
        assert_eq!((plan.lines[0].change.clone(), plan.new_seats), (Change::Install, 1));
        let id = service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap().remove(0);
        let again = deployment_plan::plan(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap();
        assert_eq!(again.lines[0].change, Change::Same);

        let newer = publish(&app, &shop, "1.1.0").await;
        app.clock.advance(TimeDelta::minutes(1));
        let update = DeployInput { release_id: newer.clone(), ..input(&shop, &bought.id, &[&node_id]) };
        let plan = deployment_plan::plan(&app, &shop.operator, update.clone()).await.unwrap();
        assert_eq!((plan.lines[0].change.clone(), plan.new_seats), (Change::Update { from: "1.0.0".into() }, 0));
        assert_eq!(service::deploy(&app, &shop.operator, update.clone()).await.unwrap(), std::slice::from_ref(&id));

        // The licence has ended: no update, no new parameters for an app that is stopped after its grace.
        app.clock.advance(TimeDelta::days(370));
        let back = service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap_err();
        assert_eq!(back.code, "license-expired");
        let tuned: Map<String, Value> = [("bolt_score".to_owned(), json!(0.5))].into_iter().collect();
        service::deploy(&app, &shop.operator, DeployInput { parameters: tuned, ..update.clone() }).await.unwrap();
        let detail = testing::deployment_detail(&app, &shop.operator, &id).await.unwrap();
        assert_eq!((detail.line.version.as_str(), detail.line.deployment.parameters["bolt_score"].clone()), ("1.1.0", json!(0.5)));
        assert_eq!(detail.events.len(), 3);
        let notes: Vec<Option<&str>> = detail.events.iter().map(|event| event.note.as_deref()).collect();
        assert!(notes[0].unwrap().starts_with("bolt_score: ") && notes[0].unwrap().ends_with(" → 0.5"), "{notes:?}");
        assert_eq!(notes[1..], [None, None], "another version with the same settings, and the first");

        service::remove_deployment(&app, &shop.operator, &id).await.unwrap();
        assert_eq!(service::remove_deployment(&app, &shop.operator, &id).await.unwrap_err().code, "deployment-not-wanted");
        assert_eq!(count(&app, "activations").await, 1, "until the node says that it is gone");
        let seat = service::release_seat(&app, &shop.operator, bought.id.clone(), node_id.clone()).await;
        assert_eq!(seat.unwrap_err().code, "seat-in-use");
        let (actor, gone) = (Actor::Node { node_id: node_id.clone(), organization_id: "x".into() }, id.clone());
        crate::audit::change(&app, &actor, move |c| {
            service::removed_in(c, &gone)?;
            service::removed_in(c, &gone)
        })
        .await
        .unwrap();
        assert_eq!(count(&app, "activations").await, 0);
        let renewed = license(&app, &shop, PlanKind::Subscription, 1).await;
        assert_eq!(
            service::deploy(&app, &shop.operator, input(&shop, &renewed.id, &[&node_id])).await.unwrap(),
            std::slice::from_ref(&id),
            "the same deployment again"
        );
        service::remove_node(&app, &shop.operator, &node_id).await.unwrap();
        assert_eq!(count(&app, "activations").await, 0);
        let detail = testing::deployment_detail(&app, &shop.operator, &id).await.unwrap();
        assert_eq!((detail.line.deployment.state, detail.line.deployment.wanted), (DeploymentState::Removed, false));
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn what_somebody_changed_since_the_plan_is_not_overwritten() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 1).await;
        let site = site(&app, &shop.operator, "Face").await;
        let (node_id, _) = enrolled(&app, &shop.operator, &site, "N1").await;
        let with = |score: f64| DeployInput {
            parameters: [("bolt_score".to_owned(), json!(score))].into_iter().collect(),
            ..input(&shop, &bought.id, &[&node_id])
        };
        let plan = async |score: f64| deployment_plan::plan(&app, &shop.operator, with(score)).await.unwrap();
        let id = service::deploy(&app, &shop.operator, with(0.6)).await.unwrap().remove(0);
        let seen = plan(0.9).await;
        assert_eq!(seen.lines[0].changed(), [("bolt_score", Some(&json!(0.6)), &json!(0.9))]);
        app.clock.advance(TimeDelta::seconds(1));
        service::deploy(&app, &shop.operator, with(0.75)).await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
        let late = service::deploy_seen(&app, &shop.operator, with(0.9), Some(seen.basis())).await.unwrap_err();
        assert_eq!(late.code, "deployment-changed");

        // The page says so, and shows what would change now.
        let form = |seen: &str| {
            let pairs = [
                ("license", bought.id.as_str()),
                ("release", &shop.listing.release_id),
                ("node", &node_id),
                ("p.bolt_score", "0.9"),
                ("seen", seen),
            ];
            serde_urlencoded::to_string(pairs).unwrap()
        };
        let post = async |seen: &str| testing::page(&app, &shop.operator, actix_web::http::Method::POST, "/mine/deploy", &form(seen)).await;
        let (status, body) = post(&seen.basis()).await;
        assert!(status == 409 && body.contains("so nothing was started") && body.contains("0.75"), "{body}");
        let now = plan(0.9).await;
        assert_eq!(now.lines[0].changed(), [("bolt_score", Some(&json!(0.75)), &json!(0.9))]);
        assert_eq!(post(&now.basis()).await.0, 303);

        // What is not named stays as it is, through another version too.
        let newer = publish(&app, &shop, "1.1.0").await;
        app.clock.advance(TimeDelta::seconds(1));
        let unnamed = DeployInput { release_id: newer, ..input(&shop, &bought.id, &[&node_id]) };
        service::deploy(&app, &shop.operator, unnamed).await.unwrap();
        let detail = testing::deployment_detail(&app, &shop.operator, &id).await.unwrap();
        assert_eq!((detail.line.version.as_str(), detail.line.deployment.parameters["bolt_score"].clone()), ("1.1.0", json!(0.9)));
        assert!(detail.events.iter().all(|event| event.made_by.as_deref() == Some("Owner of mine")), "{:?}", detail.events);
    })
    .await;
}

#[tokio::test]
async fn nodes_are_judged_where_they_are_chosen() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 1).await;
        let site = site(&app, &shop.operator, "Face").await;
        let (n1, _) = enrolled(&app, &shop.operator, &site, "N1").await;
        let (n2, _) = enrolled(&app, &shop.operator, &site, "N2").await;
        let waiting = service::create_node(&app, &shop.operator, &site, "N3").await.unwrap().node_id;
        let problem = async |ids: &[&String]| {
            let choices = deployment_plan::choices(&app, &shop.operator, bought.id.clone(), shop.listing.release_id.clone()).await.unwrap();
            choices.problem(&ids.iter().map(|id| (*id).clone()).collect::<Vec<_>>())
        };
        assert_eq!(problem(&[]).await, Some(NodeProblem::None));
        assert_eq!(problem(&[&n1]).await, None);
        assert_eq!(problem(&[&n1, &n1]).await, None, "the same twice is one");
        assert_eq!(problem(&[&n1, &n2]).await, Some(NodeProblem::Seats { chosen: 2, free: 1 }));
        assert_eq!(problem(&[&n1, &waiting]).await, Some(NodeProblem::Missing));
        service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&n1])).await.unwrap();
        assert_eq!(problem(&[&n1]).await, None, "it holds its seat");
        assert_eq!(problem(&[&n1, &n2]).await, Some(NodeProblem::Seats { chosen: 1, free: 0 }));
        let offers = deployment_plan::offers(&app, &shop.operator).await.unwrap();
        assert_eq!(offers[0].order, "PH-20260101-0001", "the number of the order that it came from");
    })
    .await;
}

#[test]
fn a_removed_node_is_shown_under_its_name() {
    let kept = format!("Belt head{}", super::model::removed_suffix("nod_0123456789"));
    assert_eq!(super::model::shown_name(&kept, "nod_0123456789"), "Belt head");
    assert_eq!(super::model::shown_name("Belt ~abcdef", "nod_0123456789"), "Belt ~abcdef");
}

#[tokio::test]
async fn concurrent_deployments_never_pass_the_node_limit() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 2).await;
        let site = site(&app, &shop.operator, "Face").await;
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..6 {
            let (node_id, _) = enrolled(&app, &shop.operator, &site, &format!("N{i}")).await;
            let (app, actor, input) = (app.clone(), shop.operator.clone(), input(&shop, &bought.id, &[&node_id]));
            tasks.spawn(async move { service::deploy(&app, &actor, input).await });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 2);
        assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|e| e.code == "too-many-nodes"), "{outcomes:?}");
        assert_eq!((count(&app, "deployments").await, count(&app, "activations").await), (2, 2));
    })
    .await;
}

/// Asks for a page as an actor; gives status and body.
async fn page(app: &App, actor: &Actor, lang: &'static str, request: actix_web::test::TestRequest) -> (u16, String) {
    use actix_web::HttpMessage as _;
    use actix_web::dev::Service as _;
    let actor = actor.clone();
    let site = actix_web::App::new()
        .app_data(actix_web::web::Data::new(app.clone()))
        .wrap_fn(move |req, next| {
            req.extensions_mut().insert(actor.clone());
            next.call(req)
        })
        .configure(crate::site::mine::configure)
        .configure(crate::site::admin::configure);
    let site = actix_web::test::init_service(site).await;
    let request = request.cookie(actix_web::cookie::Cookie::new("lang", lang)).to_request();
    let answer = match actix_web::test::try_call_service(&site, request).await {
        Ok(answer) => answer,
        Err(error) => return (error.as_response_error().status_code().as_u16(), error.to_string()),
    };
    let status = answer.status().as_u16();
    let body = actix_web::test::read_body(answer).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[actix_web::test]
async fn script_in_names_is_text_on_every_page_and_no_key_shows() {
    use actix_web::test::TestRequest;
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let evil = "<script>alert(1)</script>";
        let bought = license(&app, &shop, PlanKind::Subscription, 3).await;
        let site_id = site(&app, &shop.operator, evil).await;
        let (node_id, _) = enrolled(&app, &shop.operator, &site_id, evil).await;
        let id = service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap().remove(0);
        publish(&app, &shop, "1.1.0").await;
        let (l, r) = (&bought.id, &shop.listing.release_id);
        let gets = [
            "/mine".to_owned(),
            "/mine/fragment".into(),
            "/mine/sites".into(),
            "/mine/nodes".into(),
            "/mine/nodes/new".into(),
            format!("/mine/nodes/{node_id}"),
            format!("/mine/nodes/{node_id}/fragment"),
            "/mine/deploy".into(),
            format!("/mine/deploy?license={l}&node={node_id}"),
            format!("/mine/deploy?license={l}&release={r}&node={node_id}"),
            format!("/mine/deploy?license={l}&release={r}&node={node_id}&step=parameters"),
            "/mine/deployments".into(),
            format!("/mine/deployments/{id}"),
            format!("/mine/deployments/{id}/fragment"),
            "/mine/licenses".into(),
            format!("/mine/licenses/{l}"),
        ];
        let shows_key =
            |body: &str| ["fleet-", "license-"].iter().any(|k| body.split('>').skip(1).any(|part| part.trim_start().starts_with(k)));
        for lang in ["zh-CN", "en"] {
            for path in &gets {
                let (status, body) = page(&app, &shop.operator, lang, TestRequest::get().uri(path)).await;
                assert_eq!(status, 200, "{path}: {body}");
                assert!(!body.contains(evil), "{path}");
                assert!(!shows_key(&body), "{path} {lang}: {body}");
            }
            let form = |extra: &[(&str, &str)]| {
                let mut pairs = vec![("license", l.as_str()), ("release", r.as_str()), ("node", node_id.as_str())];
                pairs.extend_from_slice(extra);
                TestRequest::get().uri(&format!("/mine/deploy/preview?{}", serde_urlencoded::to_string(pairs).unwrap()))
            };
            let (status, body) = page(&app, &shop.operator, lang, form(&[("p.bolt_score", "0.9"), ("p.other_score", "0.9")])).await;
            assert_eq!(status, 200, "{body}");
            assert!(!body.contains(evil) && !shows_key(&body));
            let (status, body) = page(&app, &shop.operator, lang, form(&[("p.bolt_score", evil), ("p.other_score", "7")])).await;
            assert_eq!(status, 422);
            assert!(!body.contains(evil) && !shows_key(&body) && body.contains("invalid-feedback"));
            let (status, body) = page(&app, &shop.operator, lang, TestRequest::post().uri("/mine/sites").set_form([("name", evil)])).await;
            assert_eq!(status, 422);
            assert!(!body.contains(evil) && body.contains("alert-danger"));
        }
        let step = format!("/mine/deploy?license={l}&release={r}&step=parameters");
        let (status, body) =
            page(&app, &shop.operator, "en", TestRequest::get().uri(&format!("{step}&node={node_id}&node=nod_gone"))).await;
        assert_eq!(status, 422);
        assert!(body.contains("is not enrolled") && body.contains(&format!("value=\"{node_id}\" checked")), "{body}");
        let none = step;
        assert_eq!(page(&app, &shop.operator, "en", TestRequest::get().uri(&none)).await.0, 422);
        let file = format!("/mine/licenses/{l}/file");
        assert_eq!(page(&app, &shop.operator, "en", TestRequest::get().uri(&file)).await.0, 200);
        let start = TestRequest::post().uri("/mine/deploy").set_form([
            ("license", l.as_str()),
            ("release", r.as_str()),
            ("node", &node_id),
            ("p.bolt_score", "0.9"),
            ("p.other_score", "0.9"),
        ]);
        assert_eq!(page(&app, &shop.operator, "en", start).await.0, 303);
        let administrator = testing::platform(&app, crate::base::auth::Role::Administrator).await;
        for path in ["/admin/licenses".to_owned(), format!("/admin/licenses/{l}")] {
            let (status, body) = page(&app, &administrator, "en", TestRequest::get().uri(&path)).await;
            assert_eq!(status, 200);
            assert!(!body.contains(evil) && !shows_key(&body), "{path} {body}");
            assert_eq!(page(&app, &shop.operator, "en", TestRequest::get().uri(&path)).await.0, 403);
        }
        for (decision, status) in [("suspend", 303), ("suspend", 422), ("reinstate", 303), ("explode", 404)] {
            let request = TestRequest::post().uri(&format!("/admin/licenses/{l}/{decision}")).set_form([("reason", "because of a test")]);
            assert_eq!(page(&app, &administrator, "en", request).await.0, status, "{decision}");
        }
        assert_eq!(page(&app, &Actor::Anonymous, "en", TestRequest::get().uri("/mine")).await.0, 401);
        let other = testing::operator(&app, "other").await;
        assert_eq!(page(&app, &other, "en", TestRequest::get().uri(&format!("/mine/nodes/{node_id}"))).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn an_app_on_a_node_that_is_silent_or_removed_is_not_said_to_run_or_to_be_gone() {
    use actix_web::test::TestRequest;
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let bought = license(&app, &shop, PlanKind::Subscription, 5).await;
        let mine = site(&app, &shop.operator, "Mine").await;
        let (node_id, _) = enrolled(&app, &shop.operator, &mine, "N1").await;
        let id = service::deploy(&app, &shop.operator, input(&shop, &bought.id, &[&node_id])).await.unwrap().remove(0);
        let heard = |seconds: i64| {
            let (node_id, id, now) = (node_id.clone(), id.clone(), app.clock.now());
            app.db.write(move |conn| {
                let seen = now.minus(TimeDelta::seconds(seconds));
                diesel::update(nodes::table.find(&node_id)).set(nodes::seen_at.eq(seen)).execute(conn)?;
                diesel::update(deployments::table.find(&id)).set(deployments::state.eq(DeploymentState::Installed)).execute(conn)?;
                Ok(())
            })
        };
        let node_page = format!("/mine/nodes/{node_id}");
        let pages =
            [format!("/mine/deployments/{id}"), "/mine/deployments".into(), node_page.clone(), "/mine".into(), "/mine/nodes".into()];
        let read = async |path: &str| page(&app, &shop.operator, "en", TestRequest::get().uri(path)).await.1;
        heard(5).await.unwrap();
        for path in &pages {
            let body = read(path).await;
            let unheard = ["state-offline", "on nodes that are offline", "not heard from", "chain-unknown"];
            assert!(!unheard.iter().any(|words| body.contains(words)), "{path}: {body}");
        }
        heard(25).await.unwrap();
        let [one, list, node, today, nodes] = pages.each_ref().map(String::as_str);
        assert!(read(one).await.contains("whether the app runs now is not known"));
        for path in [one, list, node] {
            let body = read(path).await;
            assert!(body.contains("state-offline") && !body.contains("state-installed"), "{path}: {body}");
        }
        assert!(read(today).await.contains("1 on nodes that are offline"));
        for path in [one, node] {
            let body = read(path).await;
            assert!(body.contains("chain-unknown") && !body.contains("chain-failed"), "{path}: {body}");
        }
        assert!(read(nodes).await.contains("1, not heard from"));
        // A call that was noted before the clock was set back says nothing of now.
        heard(-3600).await.unwrap();
        assert!(read(one).await.contains("state-offline") && read(today).await.contains("1 on nodes that are offline"));

        let asked = read(&node_page).await;
        assert!(asked.contains("its app runs on until its licence ends, so stop the agent there"), "{asked}");
        let response = testing::answer(&app, &shop.operator, actix_web::http::Method::POST, &format!("{node_page}/remove"), "", None).await;
        assert_eq!(response.headers().get("location").unwrap(), node_page.as_str());
        assert!(read(&node_page).await.contains("its apps run on until their licences end"));
        let body = read(one).await;
        assert!(body.contains("What was installed runs on the machine") && !body.contains("The app is gone"), "{body}");
    })
    .await;
}
