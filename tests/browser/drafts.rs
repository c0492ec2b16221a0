//! A bare model is dropped, and a release comes of it: the real children read it, follow answers, and answer its samples.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use fantoccini::Locator;

use crate::browser::Browser;
use crate::server::{PASSWORD, TestServer};

async fn sign_up(browser: &Browser) -> Result<()> {
    browser.goto("/sign-up").await?;
    browser.press("input[name=kind][value=vendor]").await?;
    for (name, value) in
        [("name_en", "Acme Vision"), ("slug", "acme"), ("name", "Ada"), ("email", "ada@acme.example"), ("password", PASSWORD)]
    {
        browser.put(&format!("main form input[name={name}]"), value).await?;
    }
    browser.press("form[action='/sign-up'] button[type=submit]").await?;
    browser.wait_path("/vendor").await
}

/// Sends what was chosen, when the page has looked at it.
async fn send(browser: &Browser) -> Result<()> {
    browser
        .wait("the look at the files", Duration::from_secs(20), async |b| {
            Ok(b.client.find(Locator::Css("[data-upload-start]")).await?.is_displayed().await?)
        })
        .await?;
    browser.press("[data-upload-start]").await?;
    browser.wait_path("/vendor/drafts/").await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_bare_model_to_a_release() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-bare"));
    std::fs::create_dir_all(&folder)?;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/inference/tests/models/identity4.onnx");
    let (rows, labels, text) = (folder.join("rows.csv"), folder.join("classes.txt"), folder.join("text.onnx"));
    std::fs::write(&rows, "ch4,co,t,v\n0.4,3,21,1.5\n")?;
    std::fs::write(&labels, "CH4\nCO\nT\nv\n")?;
    std::fs::write(&text, "this is a text\n")?;

    let browser = Browser::open(&server.base, "en").await?;
    sign_up(&browser).await?;
    browser.goto("/vendor/apps/new").await?;
    // A text is told before it is sent, and so are seven models.
    browser.upload("#upload-files", &[&text]).await?;
    browser.wait_text("Not an ONNX file").await?;
    let seven: Vec<_> = (0..7).map(|n| folder.join(format!("{n}.onnx"))).collect();
    for path in &seven {
        std::fs::copy(&model, path)?;
    }
    browser.upload("#upload-files", &seven.iter().map(PathBuf::as_path).collect::<Vec<_>>()).await?;
    browser.wait_text("At most 6 models").await?;

    browser.upload("#upload-files", &[&model, &rows, &labels]).await?;
    send(&browser).await?;
    browser.wait_text("identity4.onnx: read as columns").await?;
    browser.wait_text("specialty: to-be-chosen").await?;
    // The app.yaml follows what is typed.
    browser.put("#field-title_en", "Gas values").await?;
    browser.wait_text("en: \"Gas values\"").await?;
    browser.put("#field-name", "Not a name").await?;
    browser.press("#proposal button:not([formaction])").await?;
    browser.wait_text("such as belt-foreign-object").await?;
    browser.put("#field-name", "gas-values").await?;
    for (field, value) in
        [("summary_en", "Tells gas values."), ("license", "Apache-2.0"), ("training_data_en", "None."), ("limits_en", "A test.")]
    {
        browser.put(&format!("#field-{field}"), value).await?;
    }
    let choose = "const field = document.querySelector('#field-scenario'); field.value = field.querySelector('optgroup option').value;\
                  field.dispatchEvent(new Event('input', { bubbles: true }));";
    browser.client.execute(choose, vec![]).await?;
    browser.press("#proposal button:not([formaction])").await?;
    browser.wait_text("name: gas-values").await?;
    browser.wait_no_text("to-be-chosen").await?;
    // What was typed is there after a reload.
    let address = browser.path().await?;
    browser.goto(&address).await?;
    browser.wait_text("name: gas-values").await?;

    browser.click_text("Make the expected results").await?;
    browser.wait("the results", Duration::from_mins(1), async |b| Ok(b.text().await?.contains("Go on to the upload"))).await?;
    browser.click_text("Go on to the upload").await?;
    browser.wait_path("/vendor/apps/gas-values/releases/0.1.0").await?;
    browser.wait("the automatic check", Duration::from_secs(90), async |b| Ok(b.text().await?.contains("Submit for review"))).await?;
    let mut errors = browser.console_errors().await?;
    // Chromium writes down that the registry had none of the files, and that the form was not right at first.
    errors.retain(|error| !(error.contains("422") || (error.contains("/blobs/sha256:") && error.contains("404"))));
    anyhow::ensure!(errors.is_empty(), "{errors:?}");

    // Another app of the same files: the first answer would be stored under the same name, which is taken.
    browser.goto("/vendor/apps/new").await?;
    browser.wait_text("Begun with a model").await?;
    server.stop().await;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
