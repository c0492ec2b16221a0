//! The steps of an app in words: what each reads, and what it gives.

use app_package::manifest::AppManifest;
use app_package::pipeline::{Given, Gives, Label, ModelStep, Of, Post, Pre, Step, Track, WasmStep};

use super::card::joined;
use crate::http::page::Page;

/// Labels that are named; of more their number is told.
const NAMED: usize = 8;

/// One step.
pub struct StepRow {
    /// What it is: a model, following, or the developer's own code.
    pub kind: String,
    /// Name and file; empty where it has none.
    pub name: String,
    /// Whether it is the developer's own code.
    pub own: bool,
    pub reads: String,
    pub gives: String,
}

impl StepRow {
    /// The steps in order, whichever format says them.
    pub fn all(page: &Page, manifest: &AppManifest) -> Vec<Self> {
        if manifest.steps.is_empty() {
            return manifest.model_steps().iter().map(|step| Self::model(page, manifest, step)).collect();
        }
        let row = |step: &Step| match step {
            Step::Model(step) => Self::model(page, manifest, step),
            Step::Track(step) => Self::track(page, manifest, step),
            Step::Wasm(step) => Self::own(page, manifest, step),
        };
        manifest.steps.iter().map(row).collect()
    }

    fn model(page: &Page, manifest: &AppManifest, step: &ModelStep) -> Self {
        let reads = page.tk("pipeline-reads-", pre_word(&step.pre));
        let gives = step.post.iter().map(|post| gives(page, post_word(post), post.labels()));
        let gives = match &step.post[..] {
            [] => page.t("pipeline-gives-tensors"),
            _ => joined(page, gives),
        };
        Self {
            kind: page.t("pipeline-model"),
            name: format!("{} · {}", step.name, step.file),
            own: false,
            reads: [Some(reads), step.of.as_ref().map(|of| each(page, manifest, of))].into_iter().flatten().collect::<Vec<_>>().join(" · "),
            gives,
        }
    }

    fn track(page: &Page, manifest: &AppManifest, step: &Track) -> Self {
        Self {
            kind: page.t("pipeline-track"),
            name: String::new(),
            own: false,
            reads: each(page, manifest, &Of { labels: step.labels.clone(), ..Of::default() }),
            gives: page.t("pipeline-gives-tracks"),
        }
    }

    fn own(page: &Page, manifest: &AppManifest, step: &WasmStep) -> Self {
        let given = joined(page, step.given.iter().map(|given| page.tk("pipeline-given-", given_word(*given))));
        let word = match step.out {
            Gives::Objects => "boxes",
            Gives::Classes => "classes",
            Gives::Values => "values",
            Gives::Texts => "text",
        };
        Self {
            kind: page.t("pipeline-own"),
            name: format!("{} · {}", step.name, step.file),
            own: true,
            reads: [Some(given), step.of.as_ref().map(|of| each(page, manifest, of))].into_iter().flatten().collect::<Vec<_>>().join(" · "),
            gives: gives(page, word, &step.labels),
        }
    }
}

fn pre_word(pre: &Pre) -> &'static str {
    match pre {
        Pre::Image(_) => "image",
        Pre::Window(_) => "window",
        Pre::Columns(_) => "columns",
        Pre::Sound(_) => "sound",
        Pre::Clip(_) => "clip",
    }
}

fn post_word(post: &Post) -> &'static str {
    match post {
        Post::Classes(_) | Post::Gallery(_) => "classes",
        Post::Boxes(_) | Post::Grid(_) => "boxes",
        Post::Values(_) => "values",
        Post::Segments(_) => "segments",
        Post::Anomaly(_) => "anomaly",
        Post::Text(_) => "text",
    }
}

fn given_word(given: Given) -> &'static str {
    match given {
        Given::Tensors => "tensors",
        Given::Frame => "frame",
        Given::SourceSize => "source-size",
        Given::Objects => "objects",
        Given::Keypoints => "keypoints",
        Given::Values => "values",
        Given::Texts => "texts",
        Given::Tracks => "tracks",
        Given::Time => "time",
        Given::State => "state",
    }
}

/// A kind of result, with its labels.
fn gives(page: &Page, word: &str, labels: &[Label]) -> String {
    let kind = page.tk("pipeline-gives-", word);
    if labels.is_empty() {
        return kind;
    }
    let named = labels.iter().take(NAMED).map(|label| label.text.get(page.lang).to_owned());
    let more = labels.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| page.t1("pipeline-more", "n", more));
    page.t2("pipeline-labelled", "kind", kind, "labels", joined(page, named.chain(more)))
}

/// That a step runs for each object of some labels.
fn each(page: &Page, manifest: &AppManifest, of: &Of) -> String {
    if of.labels.is_empty() {
        return page.t("pipeline-each-object");
    }
    let word = |id: &String| {
        let label = manifest.labels().find(|label| label.id == *id);
        label.map_or_else(|| id.clone(), |label| label.text.get(page.lang).to_owned())
    };
    page.t1("pipeline-each", "labels", joined(page, of.labels.iter().map(word)))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn steps_are_told_in_words() {
        let fixtures = [
            include_str!("../../../crates/app-package/fixtures/app.yaml"),
            include_str!("../../../crates/app-package/fixtures/app-2.yaml"),
            include_str!("../../../crates/app-package/fixtures/app-2-steps.yaml"),
            include_str!("../../../crates/app-package/fixtures/app-2-video.yaml"),
        ];
        let (mut all, mut own) = (0, 0);
        for lang in ["zh-CN", "en"] {
            let page = Page::of(&TestRequest::default().insert_header(("accept-language", lang)).to_http_request(), "");
            for yaml in fixtures {
                let mut manifest = app_package::validate::parse(yaml).unwrap();
                if !manifest.steps.is_empty() {
                    let step =
                        serde_json::json!({"wasm": {"name": "own", "file": "own.wasm", "in": ["objects", "state"], "out": "values"}});
                    manifest.steps.push(serde_json::from_value(step).unwrap());
                }
                for row in StepRow::all(&page, &manifest) {
                    let told = [&row.kind, &row.reads, &row.gives];
                    assert!(told.iter().all(|text| !text.is_empty() && !text.contains("pipeline-")), "{lang}: {told:?}");
                    (all, own) = (all + 1, own + usize::from(row.own));
                }
            }
            let given = [
                Given::Tensors,
                Given::Frame,
                Given::SourceSize,
                Given::Objects,
                Given::Keypoints,
                Given::Values,
                Given::Texts,
                Given::Tracks,
                Given::Time,
                Given::State,
            ];
            for word in given.map(given_word) {
                assert!(page.locale().has(&format!("pipeline-given-{word}")), "{lang}: {word}");
            }
        }
        assert!(all > 10 && own == 6, "{all} steps, {own} of their own");
    }
}
