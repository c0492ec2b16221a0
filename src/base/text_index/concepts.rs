//! Words of the field that mean the same, read from `concepts.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fold::{Piece, pieces};
use super::sound;

/// Most words of an English term.
const MAX_WORDS: usize = 3;

/// What a word says beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// It must be found.
    Full,
    /// It only lifts what has it, but where it stands alone.
    Weak,
    /// Nothing.
    Stop,
}

/// A concept.
#[derive(Debug)]
pub(super) struct Concept {
    pub name: &'static str,
    pub weight: Weight,
    /// Its English words, one by one.
    pub words: Vec<String>,
    /// The sounds of its Han words.
    pub sounds: Vec<String>,
}

pub(super) struct Concepts {
    all: Vec<Concept>,
    /// Concept of each term: Han words as they are, English words joined by a space.
    terms: HashMap<String, usize>,
    /// Concept of each Han word by its sound.
    sounds: HashMap<String, usize>,
    /// Length of the longest Han word.
    longest: usize,
}

static CONCEPTS: LazyLock<Concepts> = LazyLock::new(|| read(include_str!("concepts.txt")));

/// The concepts of the field.
pub(super) fn concepts() -> &'static Concepts {
    &CONCEPTS
}

fn read(text: &'static str) -> Concepts {
    let mut read = Concepts { all: Vec::new(), terms: HashMap::new(), sounds: HashMap::new(), longest: 0 };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, terms)) = line.split_once(':') else { continue };
        let (name, weight) = match name.strip_prefix('~') {
            Some(name) => (name, Weight::Weak),
            None if name == "-" => (name, Weight::Stop),
            None => (name, Weight::Full),
        };
        let mut concept = Concept { name, weight, words: Vec::new(), sounds: Vec::new() };
        for term in terms.split(',') {
            let key = match pieces(term).into_iter().next() {
                Some(Piece::Han(run)) => {
                    read.longest = read.longest.max(run.len());
                    let sound = sound::of(&run);
                    if weight != Weight::Stop {
                        read.sounds.insert(sound.clone(), read.all.len());
                    }
                    concept.sounds.push(sound);
                    run.into_iter().collect()
                }
                Some(Piece::Words(words)) => {
                    let key = words.join(" ");
                    concept.words.extend(words);
                    key
                }
                None => continue,
            };
            read.terms.insert(key, read.all.len());
        }
        read.all.push(concept);
    }
    read
}

impl Concepts {
    fn of(&self, term: &str) -> Option<&Concept> {
        self.terms.get(term).and_then(|i| self.all.get(*i))
    }

    /// The concept of a word that sounds so.
    pub(super) fn sounding(&self, sound: &str) -> Option<&Concept> {
        self.sounds.get(sound).and_then(|i| self.all.get(*i))
    }

    /// Splits a run of Han characters into terms, the longest first, and what stands between them.
    pub(super) fn split_run<'a>(&self, run: &'a [char]) -> Vec<(&'a [char], Option<&Concept>)> {
        let term = |rest: &[char]| {
            let mut lengths = (1..=self.longest.min(rest.len())).rev();
            lengths.find_map(|n| Some((n, self.of(&rest.iter().take(n).collect::<String>())?)))
        };
        split(run, term)
    }

    /// Splits English words into terms and what stands between them.
    pub(super) fn split_words<'a>(&self, words: &'a [String]) -> Vec<(&'a [String], Option<&Concept>)> {
        let term = |rest: &[String]| {
            let mut lengths = (1..=MAX_WORDS.min(rest.len())).rev();
            lengths.find_map(|n| Some((n, self.of(&rest.get(..n)?.join(" "))?)))
        };
        split(words, term)
    }
}

/// Splits a sequence where `term` finds one at the beginning of a rest and gives its length.
fn split<'a, 'c, T>(all: &'a [T], term: impl Fn(&[T]) -> Option<(usize, &'c Concept)>) -> Vec<(&'a [T], Option<&'c Concept>)> {
    let (mut out, mut rest, mut between) = (Vec::new(), all, 0);
    while between < rest.len() {
        let (before, from) = rest.split_at(between);
        let Some((length, concept)) = term(from) else {
            between += 1;
            continue;
        };
        if !before.is_empty() {
            out.push((before, None));
        }
        let (found, after) = from.split_at(length);
        out.push((found, Some(concept)));
        (rest, between) = (after, 0);
    }
    if !rest.is_empty() {
        out.push((rest, None));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_one_concept_and_each_line_is_read() {
        let text = include_str!("concepts.txt");
        let written: usize =
            text.lines().filter(|line| line.contains(':') && !line.starts_with('#')).map(|line| line.split(',').count()).sum();
        assert_eq!(concepts().terms.len(), written, "a word stands twice, or says nothing");
        let mut names: Vec<&str> = concepts().all.iter().map(|c| c.name).filter(|name| *name != "-").collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn terms_are_found_the_longest_first() {
        let run: Vec<char> = "检测井下皮带机大块煤".chars().collect();
        let split: Vec<(String, Option<&str>)> =
            concepts().split_run(&run).into_iter().map(|(part, concept)| (part.iter().collect(), concept.map(|c| c.name))).collect();
        let expected =
            [("检测", Some("detect")), ("井下", Some("underground")), ("皮带机", Some("belt")), ("大块", Some("foreign")), ("煤", None)];
        assert_eq!(split, expected.map(|(part, concept)| (part.to_owned(), concept)));
        let words = ["coal", "rock", "burst"].map(ToOwned::to_owned);
        let split = concepts().split_words(&words);
        assert_eq!(split.first().and_then(|(_, concept)| concept.map(|c| c.name)), Some("coalrock"));
    }
}
