//! Labels from words: an id for rules, made of the word, and the word itself for people.

use std::collections::{HashMap, HashSet};

use app_package::{path::invisible, pipeline::Label, text::Text};

use super::{Question, Topic, ask, facts::Facts};

/// Most labels that a manifest takes.
pub const MAX_LABELS: usize = 1_000;
/// Labels that are numbered where the file tells not even how many there are: those of COCO, on which most are trained.
const UNKNOWN: usize = 80;
/// Longest id and longest words of a label, in characters, as `app.yaml` takes them.
const MAX_ID: usize = 60;
const MAX_WORDS: usize = 80;

/// Lower-case letters and digits of a text with single hyphens between, at most `max` characters; empty where it has none.
pub fn slug(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= max {
            break;
        }
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => out.push(c),
            _ if out.is_empty() || out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// What can be shown of words: one line without characters that cannot be seen.
pub fn plain(words: &str, max: usize) -> String {
    let one_line = words.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let seen: String = one_line.filter(|c| !c.is_control() && !invisible(*c)).take(max).collect();
    seen.trim().to_owned()
}

/// Words in the language that their letters are of.
pub fn words(text: &str) -> Text {
    let chinese = text.chars().any(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'));
    if chinese { Text { zh: text.to_owned(), en: String::new() } } else { Text { zh: String::new(), en: text.to_owned() } }
}

/// One label for each word; ids are unique.
fn labels_of(all: &[String]) -> Vec<Label> {
    // Beside the ids, the number of the last one of each word: a file may have the same word a thousand times.
    let (mut used, mut last) = (HashSet::new(), HashMap::new());
    let mut out = Vec::with_capacity(all.len());
    for (at, word) in all.iter().enumerate() {
        let shown = plain(word, MAX_WORDS);
        let mut base = slug(&shown, MAX_ID - 5);
        if base.is_empty() {
            base = format!("class-{at}");
        }
        let mut id = base.clone();
        while !used.insert(id.clone()) {
            let n = last.entry(base.clone()).or_insert(1);
            *n += 1;
            id = format!("{base}-{n}");
        }
        let text = if shown.is_empty() { words(&format!("class {at}")) } else { words(&shown) };
        out.push(Label { id, text });
    }
    out
}

/// Labels of a model whose tensors have room for `count`, where that is known: the developer's, else the file's, else numbered. None where
/// there are more than a manifest takes.
pub fn resolve(facts: &Facts<'_>, count: Option<usize>, questions: &mut Vec<Question>) -> Option<Vec<Label>> {
    let known = if facts.given.labels.is_empty() { facts.names.as_deref().unwrap_or_default() } else { &facts.given.labels };
    let wanted = count.unwrap_or(if known.is_empty() { UNKNOWN } else { known.len() });
    if wanted == 0 || wanted > MAX_LABELS {
        return None;
    }
    let mut all = known.to_vec();
    all.resize_with(wanted, String::new);
    let labels = labels_of(&all);
    let default = match (labels.first(), labels.last()) {
        (Some(first), Some(last)) if labels.len() > 1 => format!("{} … {}", first.id, last.id),
        (first, _) => first.map(|label| label.id.clone()).unwrap_or_default(),
    };
    if known.is_empty() && count.is_some() {
        let zh = format!("文件没有写明 {wanted} 个类别的名称，请按模型的顺序填写");
        questions.push(ask(
            Topic::Labels,
            zh,
            format!("the file does not name its {wanted} labels; write them in the model's order"),
            default,
        ));
    } else if known.is_empty() {
        let zh = "文件既没有写明类别的名称，也没有写明数量，请按模型的顺序填写";
        let en = "the file says neither the names of its labels nor how many there are; write them in the model's order";
        questions.push(ask(Topic::Labels, zh, en, default));
    } else if known.len() != wanted {
        let zh = format!("写明了 {} 个类别，模型却给出 {wanted} 个", known.len());
        let en = format!("{} labels are named, the model gives {wanted}", known.len());
        questions.push(ask(Topic::Labels, zh, en, default));
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_slugs() {
        let names = ["Hard Hat", "hard-hat", "安全帽", "it's: \"a\"", "", "HARD hat!", "__x__", "a\u{7}\u{200b}b\nc"];
        let labels = labels_of(&names.map(str::to_owned));
        let ids: Vec<&str> = labels.iter().map(|label| label.id.as_str()).collect();
        assert_eq!(ids, ["hard-hat", "hard-hat-2", "class-2", "it-s-a", "class-4", "hard-hat-3", "x", "ab-c"]);
        assert_eq!(labels[2].text, Text { zh: "安全帽".into(), en: String::new() });
        assert_eq!(labels[3].text.en, "it's: \"a\"");
        assert_eq!(labels[4].text.en, "class 4");
        assert_eq!(labels[7].text.en, "ab c");
        let long = labels_of(&["x".repeat(5_000), "x".repeat(5_000)]);
        assert!(long.iter().all(|label| label.id.len() <= MAX_ID && label.text.en.len() == MAX_WORDS), "{long:?}");
        assert_ne!(long[0].id, long[1].id);
    }
}
