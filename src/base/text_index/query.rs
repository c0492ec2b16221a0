//! What is asked of the index, from what was typed, in three degrees: what has all of it, what is near to all of it, what has half of it.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, FuzzyTermQuery, Occur, Query, RangeQuery, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

use super::Fields;
use super::concepts::{Weight, concepts};
use super::fold::{Piece, pairs, pieces};
use super::sound;

/// Characters of a search that are looked at, and parts that they are split into.
pub(super) const MAX_CHARS: usize = 100;
const MAX_PARTS: usize = 24;
/// Characters that say nothing at the edge of what stands between two terms.
const EDGES: &str = "的了和与及或在是把被用有里上下中内我你要想请能会吗呢个这那对从到等";
/// Runs of Han characters in which one may be wrong; in shorter ones the rest says too little.
const ONE_WRONG: std::ops::RangeInclusive<usize> = 3..=12;

type Clause = Box<dyn Query>;

/// A part of what was typed.
struct Part {
    text: Piece,
    /// Name of its concept.
    concept: Option<&'static str>,
    /// Whether it must be found.
    needed: bool,
}

/// What was typed.
pub(super) struct Asked {
    /// By stretches, each with its parts.
    pieces: Vec<(Piece, Vec<Part>)>,
}

impl Asked {
    pub(super) fn of(words: &str) -> Self {
        let cut: String = words.chars().take(MAX_CHARS).collect();
        let mut left = MAX_PARTS;
        let mut asked: Vec<(Piece, Vec<Part>)> = Vec::new();
        for piece in pieces(&cut).into_iter().take(MAX_PARTS) {
            let parts: Vec<Part> = parts(&piece).into_iter().take(left).collect();
            left -= parts.len();
            asked.push((piece, parts));
        }
        if asked.iter().all(|(_, parts)| parts.is_empty()) {
            // Nothing but words that say nothing: they are looked for as they are.
            for (piece, parts) in &mut asked {
                parts.push(Part { text: piece.clone(), concept: None, needed: true });
            }
        } else if !asked.iter().flat_map(|(_, parts)| parts).any(|part| part.needed) {
            asked.iter_mut().flat_map(|(_, parts)| parts).for_each(|part| part.needed = true);
        }
        Self { pieces: asked }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.pieces.iter().flat_map(|(_, parts)| parts)
    }

    /// What has every part, or words of the same concept. What has the words as they were typed comes first, above all in its title.
    pub(super) fn all(&self, fields: &Fields) -> Clause {
        let mut clauses: Vec<(Occur, Clause)> = self.parts().map(|part| (occur(part), fields.exact(part))).collect();
        let whole = self.pieces.iter().filter(|(_, parts)| parts.len() > 1);
        clauses.extend(whole.map(|(piece, _)| (Occur::Should, fields.written(piece))));
        Box::new(BooleanQuery::new(clauses))
    }

    /// What has every part or something that is nearly written or sounds like it.
    pub(super) fn near(&self, fields: &Fields) -> Clause {
        let stretch = |(piece, parts): &(Piece, Vec<Part>)| -> Option<(Occur, Clause)> {
            let needed = parts.iter().any(|part| part.needed);
            let clauses: Vec<_> = parts.iter().map(|part| (occur(part), fields.exact_or_near(part))).collect();
            if clauses.is_empty() {
                return None;
            }
            let mut ways: Vec<Clause> = vec![Box::new(BooleanQuery::new(clauses))];
            ways.extend(fields.one_wrong(piece));
            ways.extend(fields.syllables(piece));
            Some((if needed { Occur::Must } else { Occur::Should }, any(ways)))
        };
        Box::new(BooleanQuery::new(self.pieces.iter().filter_map(stretch).collect()))
    }

    /// What has half of the parts that matter; none where there is but one, for all of it was looked for.
    pub(super) fn half(&self, fields: &Fields) -> Option<Clause> {
        let needed: Vec<Clause> = self.parts().filter(|part| part.needed).flat_map(|part| fields.pieces_of(part)).collect();
        if needed.len() < 2 {
            return None;
        }
        let least = needed.len().div_ceil(2);
        let needed: Clause = Box::new(BooleanQuery::union_with_minimum_required_clauses(needed, least));
        let more = self.parts().filter(|part| !part.needed).map(|part| (Occur::Should, fields.exact(part)));
        Some(Box::new(BooleanQuery::new(std::iter::once((Occur::Must, needed)).chain(more).collect())))
    }
}

fn occur(part: &Part) -> Occur {
    if part.needed { Occur::Must } else { Occur::Should }
}

/// The parts of a stretch: terms of the field, and what stands between them.
fn parts(piece: &Piece) -> Vec<Part> {
    let part = |text: Piece, weight: Option<(&'static str, Weight)>, whole: bool| match weight {
        Some((_, Weight::Stop)) => None,
        Some((name, weight)) => Some(Part { text, concept: Some(name), needed: weight == Weight::Full }),
        // A single character between terms (检测煤和岩) says little.
        None => Some(Part { needed: whole || !matches!(&text, Piece::Han(run) if run.len() == 1), text, concept: None }),
    };
    match piece {
        Piece::Han(run) => {
            let split = concepts().split_run(run);
            let whole = split.len() == 1;
            let each = split.into_iter().filter_map(|(text, concept)| {
                let text = if concept.is_some() || whole { text } else { without_edges(text) };
                if text.is_empty() { None } else { part(Piece::Han(text.to_vec()), concept.map(|c| (c.name, c.weight)), whole) }
            });
            each.collect()
        }
        Piece::Words(words) => {
            let each = concepts().split_words(words).into_iter().flat_map(|(text, concept)| match concept {
                Some(concept) => vec![(text, Some((concept.name, concept.weight)))],
                None => text.chunks(1).map(|word| (word, None)).collect(),
            });
            each.filter_map(|(text, weight)| part(Piece::Words(text.to_vec()), weight, true)).collect()
        }
    }
}

fn without_edges(run: &[char]) -> &[char] {
    let says = |c: &char| !EDGES.contains(*c);
    match (run.iter().position(says), run.iter().rposition(says)) {
        (Some(from), Some(to)) => run.get(from..=to).unwrap_or_default(),
        _ => &[],
    }
}

fn any(mut clauses: Vec<Clause>) -> Clause {
    match (clauses.len(), clauses.pop()) {
        (1, Some(only)) => only,
        (_, last) => Box::new(BooleanQuery::union(clauses.into_iter().chain(last).collect())),
    }
}

fn boost(clause: Clause, by: f32) -> Clause {
    Box::new(BoostQuery::new(clause, by))
}

/// What has a token that begins so. A range of terms costs no automaton.
fn begins(field: Field, word: &str) -> Clause {
    let end = format!("{word}{}", char::MAX);
    Box::new(RangeQuery::new(Bound::Included(Term::from_field_text(field, word)), Bound::Included(Term::from_field_text(field, &end))))
}

fn has(field: Field, token: &str) -> Clause {
    Box::new(TermQuery::new(Term::from_field_text(field, token), IndexRecordOption::WithFreqs))
}

fn has_all(field: Field, tokens: &[String]) -> Clause {
    match tokens {
        [only] => has(field, only),
        tokens => Box::new(BooleanQuery::intersection(tokens.iter().map(|token| has(field, token)).collect())),
    }
}

impl Fields {
    /// What has the stretch as it is written.
    fn written(&self, piece: &Piece) -> Clause {
        let tokens = match piece {
            Piece::Han(run) => pairs(run),
            Piece::Words(words) => words.clone(),
        };
        any(vec![boost(has_all(self.title, &tokens), 3.0), has_all(self.text, &tokens)])
    }

    /// What has the part, or its concept. Of an English word the beginning is enough.
    fn exact(&self, part: &Part) -> Clause {
        let mut ways = vec![self.written(&part.text)];
        if let Piece::Words(words) = &part.text
            && let [word] = words.as_slice()
        {
            ways.push(boost(begins(self.text, word), 0.5));
        }
        ways.extend(part.concept.map(|concept| self.about(concept)));
        any(ways)
    }

    /// What has words of a concept. How often tells what a text is about, so it weighs more than a word that stands there once.
    fn about(&self, concept: &str) -> Clause {
        boost(has(self.concept, concept), 3.0)
    }

    /// What has the part, is nearly written like it (English words: a letter, or two of many) or sounds like it. A term of the field is spelt
    /// right: nothing else is meant.
    fn exact_or_near(&self, part: &Part) -> Clause {
        let mut ways = vec![self.exact(part)];
        match &part.text {
            _ if part.concept.is_some() => {}
            Piece::Han(run) if run.len() > 1 => ways.extend(self.sounds(&sound::of(run))),
            Piece::Han(_) => {}
            Piece::Words(words) => ways.extend(words.iter().flat_map(|word| self.near_word(word))),
        }
        any(ways)
    }

    fn near_word(&self, word: &str) -> Vec<Clause> {
        let term = Term::from_field_text(self.near, word);
        let mut ways = vec![begins(self.near, word)];
        // A number is no misspelt word.
        match word.len() {
            _ if word.bytes().any(|b| b.is_ascii_digit()) => {}
            4..=7 => ways.push(Box::new(FuzzyTermQuery::new(term, 1, true))),
            8..=24 => ways.push(Box::new(FuzzyTermQuery::new(term, 2, true))),
            _ => {}
        }
        if word.bytes().all(|b| b.is_ascii_lowercase()) {
            if word.len() > 2 {
                ways.extend(self.sounds(word));
            }
            if (2..=sound::WINDOW).contains(&word.len()) {
                ways.push(boost(begins(self.initials, word), 0.3));
            }
        }
        ways
    }

    /// What has a place that sounds so; what has a concept of that sound often comes first.
    fn sounds(&self, sound: &str) -> Option<Clause> {
        if sound.is_empty() {
            return None;
        }
        let concept = concepts().sounding(sound).map(|concept| self.about(concept.name));
        Some(any(std::iter::once(begins(self.sound, sound)).chain(concept).collect()))
    }

    /// What has all characters of a run but one in its title.
    fn one_wrong(&self, piece: &Piece) -> Option<Clause> {
        let Piece::Han(run) = piece else { return None };
        let single = |c: &char| has(self.title, c.encode_utf8(&mut [0; 4]));
        ONE_WRONG.contains(&run.len()).then(|| -> Clause {
            Box::new(BooleanQuery::union_with_minimum_required_clauses(run.iter().map(single).collect(), run.len() - 1))
        })
    }

    /// What sounds like words that were typed syllable by syllable (pi dai).
    fn syllables(&self, piece: &Piece) -> Option<Clause> {
        let Piece::Words(words) = piece else { return None };
        if words.len() > 1 { self.sounds(&words.concat()) } else { None }
    }

    /// A part as what counts for itself where half is enough: a run that is no term is its pairs.
    fn pieces_of(&self, part: &Part) -> Vec<Clause> {
        match &part.text {
            Piece::Han(run) if part.concept.is_none() && run.len() > 2 => {
                pairs(run).iter().map(|pair| any(vec![boost(has(self.title, pair), 3.0), has(self.text, pair)])).collect()
            }
            _ => vec![self.exact_or_near(part)],
        }
    }
}
