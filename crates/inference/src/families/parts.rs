//! Several models in one app: each later one runs for the objects that those before it find, or on the whole input where they find none.

use std::collections::HashSet;

use app_package::{
    pipeline::{Of, Post, RowPart},
    text::Text,
};

use super::{Proposal, Topic, ask, labels::slug, say};

/// Longest id of a value, in characters, as `app.yaml` takes them.
const MAX_ID: usize = 60;

/// A model as it stands in an app.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name in the app, a slug.
    pub name: String,
    /// Its file in the app's folder.
    pub path: String,
    /// The file as its developer names it.
    pub file: String,
    /// Its readings, that of `app.yaml` first.
    pub readings: Vec<Proposal>,
}

/// Makes one app of models that were read one by one. Says why where they do not read the same kind of input.
pub fn join(parts: &mut [Part]) -> Result<(), Text> {
    let Some((first, rest)) = parts.split_first_mut() else { return Ok(()) };
    let Some(lead) = first.readings.first() else { return Ok(()) };
    let input = lead.input;
    let mut found = objects(lead);
    for Part { name, readings, .. } in rest {
        let Some(place) = readings.iter().position(|reading| reading.input == input) else {
            let other = readings.first().map_or("", |reading| reading.input.as_str());
            let zh = format!("模型 {name} 读取 {other}，第一个模型读取 {}；一个应用只读一种输入", input.as_str());
            return Err(say(
                zh,
                format!("the model {name} reads {other}, the first one {}; an app reads one kind of input", input.as_str()),
            ));
        };
        readings.swap(0, place);
        let Some(reading) = readings.first_mut() else { continue };
        let more = objects(reading);
        if !found.labels.is_empty() {
            follow(reading, &found);
        }
        found.labels.extend(more.labels);
        found.turned |= more.turned;
    }
    tell_apart(parts);
    Ok(())
}

/// What steps find.
struct Objects {
    labels: Vec<String>,
    /// Boxes may be turned.
    turned: bool,
}

fn objects(reading: &Proposal) -> Objects {
    let finding = || reading.step.post.iter().filter(|post| post.finds());
    let turned = finding().any(|post| match post {
        Post::Grid(grid) => grid.turn,
        Post::Boxes(boxes) => boxes.parts().contains(&RowPart::Angle),
        _ => false,
    });
    Objects { labels: finding().flat_map(Post::labels).map(|label| label.id.clone()).collect(), turned }
}

/// Runs a model for each object, and asks whether that is meant.
fn follow(reading: &mut Proposal, found: &Objects) {
    // What it finds is told upright in the picture, so a part with objects of its own is not turned.
    let turn = found.turned && !reading.step.post.iter().any(Post::finds);
    // The label of each is named where there are few, so that the developer sees what to take away.
    let labels = if found.labels.len() <= 20 { found.labels.clone() } else { Vec::new() };
    let default = if labels.is_empty() { "all".to_owned() } else { labels.join(", ") };
    reading.step.of = Some(Of { labels, turn, ..Of::default() });
    let zh = "对哪些对象运行；训练时若在框外留边，请写 expand";
    let en = "for which objects it runs; where boxes had a margin in training, write expand";
    reading.questions.push(ask(Topic::Objects, zh, en, default));
    if reading.step.post.iter().any(|post| matches!(post, Post::Text(_))) {
        // That the whole picture is one line.
        reading.notes.clear();
    }
}

/// Gives values and files of later models other names where an earlier one has them.
fn tell_apart(parts: &mut [Part]) {
    let (mut values, mut files) = (HashSet::new(), HashSet::new());
    for Part { name, readings, .. } in parts {
        let Some(reading) = readings.first_mut() else { continue };
        for post in &mut reading.step.post {
            let Post::Values(post) = post else { continue };
            for item in &mut post.items {
                if !values.insert(item.id.clone()) {
                    item.id = slug(&format!("{name}-{}", item.id), MAX_ID);
                    values.insert(item.id.clone());
                }
            }
        }
        for (file, _) in &mut reading.files {
            if files.insert(file.clone()) {
                continue;
            }
            let other = format!("{name}-{file}");
            for post in &mut reading.step.post {
                if let Post::Text(text) = post
                    && text.alphabet == *file
                {
                    text.alphabet.clone_from(&other);
                }
            }
            *file = other;
            files.insert(file.clone());
        }
    }
}
