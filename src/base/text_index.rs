//! Full-text search over listings and scenarios, with tantivy. The index lies in memory and is built anew from the database; a search reads
//! what was built last.
//!
//! Mining terms are in no dictionary, so Chinese is not segmented: 皮带跑偏 is found by 皮带, 跑偏 and 带跑. Texts are folded to one form
//! ([`fold`]), words that mean the same share a concept ([`concepts()`]), and each place is found by its pinyin ([`sound`]). What is not found
//! as it was typed is looked for by likeness, and then by half of it ([`query`]); [`Found::near`] tells so. A search takes
//! [`query::MAX_CHARS`] characters at most. Until the index was built once there is no answer, for an empty one would say that nothing exists.

mod concepts;
mod fold;
mod query;
mod sound;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use chrono::TimeDelta;
use tantivy::collector::TopDocs;
use tantivy::indexer::NoMergePolicy;
use tantivy::query::Query;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{IndexWriter, ReloadPolicy, Searcher, doc};

use self::concepts::{Concept, concepts};
use self::fold::{Piece, pairs, pieces};
use self::query::Asked;
use super::error::{Error, Result};

/// Most hits of one search: what narrows, sorts and counts them comes after it. While it runs, a search holds twice as many places of 16 bytes
/// for each segment, and the ids.
pub const MAX_HITS: usize = 5_000;
/// Memory that building takes, in bytes; the least that tantivy takes.
const BUILDING: usize = 15_000_000;
/// Of what is only near, what fits less than this part of the best hit is left out.
const FAR: f32 = 0.4;

/// A listing or scenario as the index takes it.
#[derive(Debug, Clone, Default)]
pub struct IndexEntry {
    pub id: String,
    /// Titles in both languages, and what else names the thing.
    pub title: String,
    /// All texts in both languages, with the titles.
    pub text: String,
}

/// What a search has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Ids, best first; of what fits alike, the entry that was given first.
    pub ids: Vec<String>,
    /// Nothing has all of what was typed: these are near.
    pub near: bool,
    /// There are more than [`MAX_HITS`].
    pub cut: bool,
}

/// Fields of the index.
struct Fields {
    schema: Schema,
    /// Place of the entry among those that were given.
    place: Field,
    title: Field,
    text: Field,
    /// Names of concepts, as often as they occur.
    concept: Field,
    /// English words of text and of its concepts.
    near: Field,
    sound: Field,
    initials: Field,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default().set_tokenizer("whitespace").set_index_option(IndexRecordOption::WithFreqs);
    // How long a title is, and how many concepts a text has, says nothing of what it is about.
    let alike = TextOptions::default().set_indexing_options(indexing.clone().set_fieldnorms(false));
    let words = TextOptions::default().set_indexing_options(indexing);
    Fields {
        place: schema.add_u64_field("place", FAST),
        title: schema.add_text_field("title", alike.clone()),
        text: schema.add_text_field("text", words.clone()),
        concept: schema.add_text_field("concept", alike),
        near: schema.add_text_field("near", words.clone()),
        sound: schema.add_text_field("sound", words.clone()),
        initials: schema.add_text_field("initials", words),
        schema: schema.build(),
    }
});

/// Listings and scenarios, to be searched.
#[derive(Default)]
pub struct Index {
    built: RwLock<Option<Arc<(Corpus, Corpus)>>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Index")
    }
}

impl Index {
    /// Replaces all entries. Blocking.
    pub fn rebuild(&self, apps: Vec<IndexEntry>, scenarios: Vec<IndexEntry>) -> anyhow::Result<()> {
        let built = Arc::new((Corpus::build(apps)?, Corpus::build(scenarios)?));
        *self.built.write().unwrap_or_else(PoisonError::into_inner) = Some(built);
        Ok(())
    }

    fn built(&self) -> Result<Arc<(Corpus, Corpus)>> {
        let built = self.built.read().unwrap_or_else(PoisonError::into_inner).clone();
        built.ok_or_else(|| Error::unavailable("search-starting").retry_after(TimeDelta::seconds(1)))
    }

    /// The apps that fit what was typed.
    ///
    /// # Errors
    /// `search-starting`: the index was not built yet.
    pub fn apps(&self, words: &str) -> Result<Found> {
        Ok(self.built()?.0.find(words)?)
    }

    /// The scenarios that fit what was typed.
    ///
    /// # Errors
    /// `search-starting`.
    pub fn scenarios(&self, words: &str) -> Result<Found> {
        Ok(self.built()?.1.find(words)?)
    }
}

/// Entries of one kind, as they were when the index was built.
struct Corpus {
    searcher: Searcher,
    /// Ids by segment and document.
    ids: Vec<Vec<String>>,
}

impl Corpus {
    fn build(entries: Vec<IndexEntry>) -> anyhow::Result<Self> {
        let fields = &*FIELDS;
        let index = tantivy::Index::create_in_ram(fields.schema.clone());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, BUILDING)?;
        // What was added first is to come first of what fits alike.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        for (place, entry) in (0u64..).zip(&entries) {
            let tokens = Tokens::of(&entry.text);
            writer.add_document(doc!(
                fields.place => place,
                fields.title => Tokens::of(&entry.title).text.joined(),
                fields.text => tokens.text.joined(),
                fields.concept => tokens.concepts.join(" "),
                fields.near => tokens.near.joined(),
                fields.sound => tokens.sounds.joined(),
                fields.initials => tokens.initials.joined(),
            ))?;
        }
        writer.commit()?;
        let reader: tantivy::IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let mut ids = Vec::new();
        for segment in searcher.segment_readers() {
            let places = segment.fast_fields().u64("place")?;
            let id = |doc| places.first(doc).and_then(|place| entries.get(usize::try_from(place).ok()?)).map(|entry| entry.id.clone());
            ids.push((0..segment.max_doc()).map(|doc| id(doc).unwrap_or_default()).collect());
        }
        Ok(Self { searcher, ids })
    }

    fn find(&self, words: &str) -> anyhow::Result<Found> {
        let asked = Asked::of(words);
        if asked.is_empty() {
            return Ok(Found::default());
        }
        let all = self.hits(&*asked.all(&FIELDS), 0.0)?;
        if !all.ids.is_empty() {
            return Ok(all);
        }
        let near = self.hits(&*asked.near(&FIELDS), FAR)?;
        let half = if near.ids.is_empty() { asked.half(&FIELDS) } else { None };
        let found = half.map_or(Ok(near), |half| self.hits(&*half, FAR))?;
        Ok(Found { near: !found.ids.is_empty(), ..found })
    }

    /// The ids that a query finds, best first, down to a part of the best score.
    fn hits(&self, query: &dyn Query, down_to: f32) -> anyhow::Result<Found> {
        // One more than is given tells that there are more. The collector takes memory for its limit, so that is no more than there are entries.
        let limit = self.ids.iter().map(Vec::len).sum::<usize>().clamp(1, MAX_HITS + 1);
        let hits = self.searcher.search(query, &TopDocs::with_limit(limit).order_by_score())?;
        let least = hits.first().map_or(0.0, |(best, _)| best * down_to);
        let id = |at: tantivy::DocAddress| self.ids.get(at.segment_ord as usize)?.get(at.doc_id as usize).cloned();
        let mut ids: Vec<String> = hits.into_iter().take_while(|(score, _)| *score >= least).filter_map(|(_, at)| id(at)).collect();
        let cut = ids.len() > MAX_HITS;
        ids.truncate(MAX_HITS);
        Ok(Found { ids, near: false, cut })
    }
}

/// Tokens, each once, in the order of their first place.
#[derive(Default)]
struct Once {
    seen: HashSet<String>,
    all: Vec<String>,
}

impl Once {
    fn add(&mut self, token: &str) {
        if !token.is_empty() && self.seen.insert(token.to_owned()) {
            self.all.push(token.to_owned());
        }
    }

    fn joined(&self) -> String {
        self.all.join(" ")
    }
}

/// What a text is found by.
#[derive(Default)]
struct Tokens {
    /// English words; single Han characters and pairs.
    text: Once,
    concepts: Vec<&'static str>,
    near: Once,
    sounds: Once,
    initials: Once,
}

impl Tokens {
    fn of(text: &str) -> Self {
        let mut tokens = Self::default();
        for piece in pieces(text) {
            match &piece {
                Piece::Han(run) => {
                    for c in run {
                        tokens.text.add(c.encode_utf8(&mut [0; 4]));
                    }
                    for pair in &pairs(run) {
                        tokens.text.add(pair);
                    }
                    for sound in &sound::windows(run) {
                        tokens.sounds.add(sound);
                    }
                    for letters in &sound::initials(run) {
                        tokens.initials.add(letters);
                    }
                    concepts().split_run(run).into_iter().filter_map(|(_, concept)| concept).for_each(|c| tokens.add_concept(c));
                }
                Piece::Words(words) => {
                    for word in words {
                        tokens.text.add(word);
                        tokens.near.add(word);
                    }
                    concepts().split_words(words).into_iter().filter_map(|(_, concept)| concept).for_each(|c| tokens.add_concept(c));
                }
            }
        }
        tokens
    }

    fn add_concept(&mut self, concept: &Concept) {
        if concept.weight == concepts::Weight::Stop {
            return;
        }
        self.concepts.push(concept.name);
        concept.words.iter().for_each(|word| self.near.add(word));
        concept.sounds.iter().for_each(|sound| self.sounds.add(sound));
    }
}
