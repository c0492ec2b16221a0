//! Pictures of alarms on both backends: when they are taken, who sees them, and how the whole one comes.

use actix_web::HttpMessage as _;
use actix_web::body::to_bytes;
use actix_web::http::{Method, header};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;

use super::streams::{Writer, alarms_of, episode, now, send};
use super::*;
use crate::account;
use crate::account::model::AlarmPictures;
use crate::base::auth::policy::Scope;
use crate::base::auth::{Role, Via};
use crate::base::db::schema::{alarm_pictures, audit_records};
use crate::server::middleware::errors::errors;
use crate::telemetry::pictures::{self, Frame, MAX_SMALL, MAX_WHOLE, Privacy, Size};

/// Bytes that look like a JPEG picture, of a length.
fn jpeg(length: usize, fill: u8) -> Vec<u8> {
    [vec![0xff, 0xd8, 0xff], vec![fill; length - 5], vec![0xff, 0xd9]].concat()
}

const FRAME: Frame = Frame { width: 1920, height: 1080, privacy: Privacy::Blurred };

/// Raises alarms of episodes of these names; gives their ids in this order.
async fn raise(app: &App, mine: &Mine, stream: &str, names: &[&str]) -> Vec<String> {
    let mut writer = Writer::new(stream, "alarms");
    let record = |name: &&str| {
        let mut body = episode(mine, name, "begin", "warning", 1);
        body["result"] = json!({"detections": [{"label": "bolt", "score": 0.9, "box": [10, 20, 30, 40]}]});
        writer.record(&now(app), &body)
    };
    let records: Vec<String> = names.iter().map(record).collect();
    send(app, mine, &writer, &records).await;
    let alarms = alarms_of(app, mine).await;
    let id = |name: &&str| alarms.iter().find(|alarm| alarm.episode.as_deref() == Some(*name)).unwrap().id.clone();
    names.iter().map(id).collect()
}

/// Status and code of what the node listener answers.
async fn ask(app: &App, who: &Actor, method: Method, uri: &str, body: Vec<u8>) -> (u16, String) {
    let listener = actix_web::App::new().app_data(Data::new(app.clone())).wrap(from_fn(errors)).configure(crate::wire::edge::configure);
    let service = init_service(listener).await;
    let request = TestRequest::default().method(method).uri(uri).set_payload(body).to_request();
    request.extensions_mut().insert(who.clone());
    let response = call_service(&service, request).await;
    let status = response.status().as_u16();
    let problem: Value = serde_json::from_slice(&read_body(response).await).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// What the answer to the node's next report says of pictures.
async fn told(app: &App, mine: &Mine) -> (AlarmPictures, Vec<String>) {
    let receipt = request(app, &mine.node, &json!({})).await.unwrap();
    (receipt.pictures, receipt.wanted_pictures)
}

async fn seen(app: &App, who: &Actor, id: &str, size: Size) -> std::result::Result<Vec<u8>, &'static str> {
    pictures::read(app, who, id.to_owned(), size).await.map_err(|e| e.code)
}

fn screen(person: &Actor) -> Actor {
    let person = person.person().unwrap().clone();
    Actor::Person(Box::new(person), Via::Token { id: "tok_x".into(), scopes: vec![Scope::Wall] })
}

#[actix_web::test]
async fn a_picture_comes_after_its_alarm_and_the_first_one_stays() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let small = "/edge/pictures/e1?width=1920&height=1080&privacy=blurred";
        let put = async |uri: &str, body: Vec<u8>| ask(&app, &mine.node, Method::PUT, uri, body).await;
        let refused = |status: u16, code: &str| (status, code.to_owned());
        assert_eq!(put(small, jpeg(900, 1)).await, refused(404, "alarm-unknown"));
        let id = raise(&app, &mine, "streamaaaa", &["e1"]).await.remove(0);

        // Of others there is no such alarm.
        let stranger = testing::operator(&app, "stranger").await;
        for node in [testing::node(&app, &mine.shop.operator).await, testing::node(&app, &stranger).await] {
            assert_eq!(ask(&app, &node, Method::PUT, small, jpeg(900, 1)).await, refused(404, "alarm-unknown"));
            assert_eq!(ask(&app, &node, Method::DELETE, "/edge/pictures/e1/whole", vec![]).await, refused(404, "alarm-unknown"));
        }
        for nobody in [&Actor::Anonymous, &mine.shop.operator] {
            for (method, uri) in
                [(Method::PUT, small), (Method::PUT, "/edge/pictures/e1/whole"), (Method::DELETE, "/edge/pictures/e1/whole")]
            {
                assert_eq!(ask(&app, nobody, method, uri, jpeg(900, 1)).await, refused(403, "not-authorized"), "{uri}");
            }
        }
        for (uri, body, status, code) in [
            ("/edge/pictures/e1?width=0&height=1&privacy=plain", jpeg(900, 1), 422, "invalid-input"),
            ("/edge/pictures/e1?width=1&height=100001&privacy=plain", jpeg(900, 1), 422, "invalid-input"),
            ("/edge/pictures/e1?width=-1&height=1&privacy=plain", jpeg(900, 1), 422, "invalid-input"),
            ("/edge/pictures/e1?width=x&height=1&privacy=plain", jpeg(900, 1), 422, "query-malformed"),
            ("/edge/pictures/e1?width=1&height=1&privacy=none", jpeg(900, 1), 422, "query-malformed"),
            ("/edge/pictures/e1?width=1&height=1", jpeg(900, 1), 422, "query-malformed"),
            ("/edge/pictures/e1%20x?width=1&height=1&privacy=blurred", jpeg(900, 1), 404, "alarm-unknown"),
            (small, b"GIF89a".to_vec(), 422, "picture-not-jpeg"),
            (small, jpeg(900, 1)[..800].to_vec(), 422, "picture-not-jpeg"),
            (small, vec![], 422, "picture-not-jpeg"),
            (small, jpeg(MAX_SMALL + 1, 1), 413, "body-too-large"),
            ("/edge/pictures/e1/whole", jpeg(MAX_WHOLE + 1, 1), 413, "body-too-large"),
        ] {
            assert_eq!(put(uri, body).await, refused(status, code), "{uri}");
        }
        assert_eq!(seen(&app, &mine.shop.operator, &id, Size::Small).await, Err("picture"));

        let mut pokes = app.live.subscribe();
        assert_eq!(put(small, jpeg(MAX_SMALL, 1)).await, refused(204, ""));
        assert_eq!(pokes.try_recv().unwrap().topic, "alarms");
        assert_eq!(put(small, jpeg(900, 2)).await, refused(204, ""));
        assert!(pokes.try_recv().is_err(), "nothing has changed");
        assert_eq!(seen(&app, &mine.shop.operator, &id, Size::Small).await, Ok(jpeg(MAX_SMALL, 1)));
        assert_eq!(seen(&app, &mine.shop.operator, &id, Size::Whole).await, Err("picture"));
        assert_eq!(seen(&app, &screen(&mine.shop.operator), &id, Size::Small).await, Ok(jpeg(MAX_SMALL, 1)));
        for (who, code) in [
            (&stranger, "picture"),
            (&screen(&stranger), "picture"),
            (&mine.shop.vendor, "not-permitted"),
            (&mine.node, "sign-in-required"),
            (&Actor::Anonymous, "sign-in-required"),
        ] {
            assert_eq!(seen(&app, who, &id, Size::Small).await, Err(code));
        }
    })
    .await;
}

#[actix_web::test]
async fn a_whole_picture_comes_where_somebody_asks() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let operator = &mine.shop.operator;
        let names: Vec<String> = (0..23).map(|n| format!("e{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ids = raise(&app, &mine, "streambbbb", &names).await;
        for name in &names[..22] {
            pictures::take(&app, &mine.node, (*name).to_owned(), FRAME, jpeg(900, 1)).await.unwrap();
        }
        let whole = async |name: &str| pictures::take_whole(&app, &mine.node, name.to_owned(), jpeg(2000, 3)).await.map_err(|e| e.code);
        let asked = async |who: &Actor, id: &str| pictures::ask(&app, who, id).await.map_err(|e| e.code);
        assert_eq!(told(&app, &mine).await, (AlarmPictures::Blurred, vec![]));
        assert_eq!(whole("e0").await, Err("picture-not-asked"));
        assert_eq!(whole("e22").await, Err("picture-not-asked"), "it has not even a small one");
        assert_eq!(whole("none").await, Err("alarm-unknown"));

        let owner = operator.organization_id().unwrap();
        let member = testing::member(&app, owner, Role::Member, "duty@north.example").await;
        let approver = testing::member(&app, owner, Role::Approver, "approver@north.example").await;
        let stranger = testing::operator(&app, "stranger").await;
        for (who, code) in [
            (&approver, "not-permitted"),
            (&stranger, "picture"),
            (&screen(operator), "token-scope"),
            (&mine.shop.vendor, "not-permitted"),
            (&mine.node, "sign-in-required"),
        ] {
            assert_eq!(asked(who, &ids[0]).await, Err(code));
        }
        assert_eq!(asked(&member, &ids[22]).await, Err("picture"));
        // The last alarm first: the order is that of the requests.
        for id in ids[..22].iter().rev() {
            asked(&member, id).await.unwrap();
            asked(operator, id).await.unwrap();
            app.clock.advance(TimeDelta::seconds(1));
        }
        let first: Vec<String> = (2..22).rev().map(|n| format!("e{n}")).collect();
        assert_eq!(told(&app, &mine).await.1, first, "twenty at a time");

        assert_eq!(whole("e21").await, Ok(()));
        assert_eq!(whole("e21").await, Ok(()), "again is well");
        assert_eq!(seen(&app, operator, &ids[21], Size::Whole).await, Ok(jpeg(2000, 3)));
        assert_eq!(seen(&app, operator, &ids[21], Size::Small).await, Ok(jpeg(900, 1)));
        for _ in 0..2 {
            pictures::mark_gone(&app, &mine.node, "e20".into()).await.unwrap();
            pictures::mark_gone(&app, &mine.node, "e21".into()).await.unwrap();
        }
        let next: Vec<String> = (0..20).rev().map(|n| format!("e{n}")).collect();
        assert_eq!(told(&app, &mine).await.1, next);
        assert_eq!(asked(&member, &ids[20]).await, Err("picture-gone"));
        assert_eq!(whole("e20").await, Err("picture-not-asked"));
        assert_eq!(seen(&app, operator, &ids[21], Size::Whole).await, Ok(jpeg(2000, 3)), "what is here stays");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[actix_web::test]
async fn a_mine_has_pictures_as_it_wants_them() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let operator = &mine.shop.operator;
        let ids = raise(&app, &mine, "streamcccc", &["e1", "e2"]).await;
        let take = async |name: &str, privacy: Privacy| {
            let frame = Frame { privacy, ..FRAME };
            pictures::take(&app, &mine.node, name.to_owned(), frame, jpeg(900, 1)).await.map_err(|e| e.code)
        };
        assert_eq!(take("e1", Privacy::Plain).await, Err("picture-not-blurred"));
        let choose = async |who: &Actor, form: &str| testing::page(&app, who, Method::POST, "/mine/pictures", form).await.0;
        let member = testing::member(&app, operator.organization_id().unwrap(), Role::Member, "duty@north.example").await;
        assert_eq!(choose(&member, "pictures=off").await, 403);
        assert_eq!(choose(&mine.shop.vendor, "pictures=off").await, 403);
        assert_eq!(choose(operator, "pictures=none").await, 422);
        assert_eq!(choose(operator, "pictures=plain").await, 303);
        let (_, html) = testing::page(&app, operator, Method::GET, "/mine/sites", "").await;
        assert!(html.contains("value=\"plain\" required checked"), "{html}");
        assert_eq!(take("e1", Privacy::Plain).await, Ok(()));
        pictures::ask(&app, operator, &ids[0]).await.unwrap();
        assert_eq!(told(&app, &mine).await, (AlarmPictures::Plain, vec!["e1".to_owned()]));

        account::pictures::choose(&app, operator, AlarmPictures::Off).await.unwrap();
        assert_eq!(take("e2", Privacy::Blurred).await, Err("pictures-off"));
        assert_eq!(take("none", Privacy::Blurred).await, Err("pictures-off"), "the node need not try again");
        let whole = pictures::take_whole(&app, &mine.node, "e1".into(), jpeg(900, 1)).await;
        assert_eq!(whole.unwrap_err().code, "pictures-off");
        let receipt = serde_json::to_value(request(&app, &mine.node, &json!({})).await.unwrap()).unwrap();
        assert_eq!((&receipt["pictures"], receipt.get("wanted_pictures")), (&json!("off"), None));
        assert!(seen(&app, operator, &ids[0], Size::Small).await.is_ok(), "what is here stays");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[actix_web::test]
async fn pictures_go_with_their_alarm() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let id = raise(&app, &mine, "streamdddd", &["e1"]).await.remove(0);
        pictures::take(&app, &mine.node, "e1".into(), FRAME, jpeg(900, 1)).await.unwrap();
        app.clock.advance(TimeDelta::days(app.settings.telemetry.keep_alarm_days) + TimeDelta::minutes(1));
        assert_eq!(upkeep::prune(&app).await.unwrap(), 1);
        assert_eq!(seen(&app, &mine.shop.operator, &id, Size::Small).await, Err("picture"));
        let left: i64 = app.db.read(|conn| Ok(alarm_pictures::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
    // And where there are more alarms than are kept.
    each_backend_with(
        |settings| settings.telemetry.keep_alarms = 1,
        |app| async move {
            let mine = mine(&app).await;
            let ids = raise(&app, &mine, "streameeee", &["e1", "e2"]).await;
            for name in ["e1", "e2"] {
                pictures::take(&app, &mine.node, name.into(), FRAME, jpeg(900, 1)).await.unwrap();
            }
            assert_eq!(upkeep::prune(&app).await.unwrap(), 1);
            assert_eq!(seen(&app, &mine.shop.operator, &ids[0], Size::Small).await, Err("picture"));
            assert!(seen(&app, &mine.shop.operator, &ids[1], Size::Small).await.is_ok());
        },
    )
    .await;
}

#[actix_web::test]
async fn pages_and_programs_show_pictures() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let operator = &mine.shop.operator;
        let id = raise(&app, &mine, "streamffff", &["e1"]).await.remove(0);
        let page = async |who: &Actor, method: Method, path: &str| testing::page(&app, who, method, path, "").await;
        let board = format!("/duty/board?alarm={id}");
        let image = format!("<image href=\"/duty/alarms/{id}/picture\" width=\"1920\" height=\"1080\"");
        let (_, html) = page(operator, Method::GET, &board).await;
        assert!(html.contains("No picture was kept") && !html.contains("<image") && !html.contains("board-thumb"), "{html}");
        assert!(!page(operator, Method::GET, "/mine").await.1.contains("class=\"shots\""));

        pictures::take(&app, &mine.node, "e1".into(), FRAME, jpeg(900, 1)).await.unwrap();
        let (_, html) = page(operator, Method::GET, &board).await;
        assert!(html.contains("viewBox=\"0 0 1920 1080\"") && html.contains(&image), "{html}");
        assert!(html.contains("<rect class=\"box alarm\" x=\"10\" y=\"20\" width=\"30\" height=\"40\">"), "{html}");
        assert!(html.contains("Blurred by the node") && html.contains("class=\"board-thumb\""), "{html}");
        let fetch = format!("/duty/board/{id}/fetch-picture");
        assert!(html.contains(&fetch) && !html.contains("No picture was kept"), "{html}");
        let (_, html) = page(operator, Method::GET, "/mine").await;
        assert!(html.contains("class=\"shots\"") && html.contains(&format!("/duty/board?alarm={id}")), "{html}");
        let screen = screen(operator);
        assert!(page(&screen, Method::GET, "/duty/wall").await.1.contains(&image));

        let path = format!("/duty/alarms/{id}/picture");
        for who in [operator, &screen] {
            let answer = testing::answer(&app, who, Method::GET, &path, "", None).await;
            let header =
                |name: header::HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            assert_eq!((answer.status().as_u16(), header(header::CONTENT_TYPE)), (200, "image/jpeg".to_owned()));
            assert_eq!(
                (header(header::CACHE_CONTROL), header(header::CONTENT_DISPOSITION)),
                ("private, no-cache".to_owned(), "inline".to_owned())
            );
            assert!(header(header::ETAG).starts_with('"'));
            assert_eq!(to_bytes(answer.into_body()).await.unwrap_or_default(), jpeg(900, 1));
        }
        assert_eq!(testing::answer(&app, operator, Method::GET, &format!("{path}/whole"), "", None).await.status(), 404);
        assert_eq!(page(&testing::operator(&app, "stranger").await, Method::GET, &path).await.0, 404);
        assert_eq!(page(&mine.shop.vendor, Method::GET, &path).await.0, 403);

        assert_eq!(page(&screen, Method::POST, &fetch).await.0, 403);
        let told = async || {
            let (_, told) = page(operator, Method::GET, &format!("/api/v1/alarms/{id}")).await;
            serde_json::from_str::<Value>(&told).unwrap()["picture"].clone()
        };
        let picture = |whole: &str| json!({"width": 1920, "height": 1080, "privacy": "blurred", "whole": whole});
        assert_eq!(told().await, picture("none"));
        assert_eq!(page(operator, Method::POST, &format!("/api/v1/alarms/{id}/fetch-picture")).await.0, 200);
        assert_eq!(told().await, picture("asked"));
        assert_eq!(page(operator, Method::POST, &fetch).await.0, 303);
        assert!(page(operator, Method::GET, &board).await.1.contains("has asked for the whole picture"));
        pictures::take_whole(&app, &mine.node, "e1".into(), jpeg(2000, 2)).await.unwrap();
        assert_eq!(told().await, picture("here"));
        assert!(page(operator, Method::GET, &board).await.1.contains(&format!("/duty/alarms/{id}/picture/whole")));
        for (query, length) in [("", 900), ("?whole=false", 900), ("?whole=true", 2000)] {
            let answer = testing::answer(&app, operator, Method::GET, &format!("/api/v1/alarms/{id}/picture{query}"), "", None).await;
            assert_eq!(to_bytes(answer.into_body()).await.unwrap_or_default().len(), length, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_pictures_of_one_alarm_one_stays_and_of_many_who_ask_one_is_noted() {
    testing::each_backend_racing(|app| async move {
        let mine = mine(&app).await;
        let id = raise(&app, &mine, "streamgggg", &["e1"]).await.remove(0);
        let taken = testing::race(|n| {
            let (app, node) = (app.clone(), mine.node.clone());
            async move { pictures::take(&app, &node, "e1".into(), FRAME, jpeg(900 + n, 1)).await }
        })
        .await;
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        let asked = testing::race(|_| {
            let (app, operator, id) = (app.clone(), mine.shop.operator.clone(), id.clone());
            async move { pictures::ask(&app, &operator, &id).await }
        })
        .await;
        assert!(asked.iter().all(Result::is_ok), "{asked:?}");
        let (kept, noted): (i64, i64) = app
            .db
            .read(|conn| {
                let noted = audit_records::table.filter(audit_records::action.eq("alarm.picture-asked")).count().get_result(conn)?;
                Ok((alarm_pictures::table.count().get_result(conn)?, noted))
            })
            .await
            .unwrap();
        assert_eq!((kept, noted), (1, 1));
        testing::assert_intact(&app).await;
    })
    .await;
}
