//! Full-text search over listings: Latin words as words (any beginning of a word is found), Han runs as single characters and pairs.
//!
//! Mining terms are in no dictionary, so Chinese is not segmented: 皮带跑偏 is found by 皮带, 跑偏 and 带跑. The index lies in memory and
//! is rebuilt from the database.

use std::collections::HashSet;
use std::sync::Mutex;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, FuzzyTermQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term, doc};

/// Most hits of one search.
pub const MAX_HITS: usize = 500;

/// A listing as the index takes it.
#[derive(Debug, Clone)]
pub struct IndexEntry {
    pub id: String,
    /// All texts in both languages.
    pub text: String,
}

pub struct Index {
    reader: IndexReader,
    writer: Mutex<IndexWriter>,
    id: Field,
    text: Field,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Index")
    }
}

impl Index {
    /// An empty index.
    pub fn open() -> anyhow::Result<Self> {
        let mut schema = Schema::builder();
        let id = schema.add_text_field("id", STRING | STORED);
        let indexing = TextFieldIndexing::default().set_tokenizer("whitespace").set_index_option(IndexRecordOption::WithFreqs);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let index = tantivy::Index::create_in_ram(schema.build());
        index.tokenizers().register("whitespace", tantivy::tokenizer::WhitespaceTokenizer::default());
        let writer = index.writer_with_num_threads(1, 15_000_000)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { reader, writer: Mutex::new(writer), id, text })
    }

    /// Replaces all entries. Blocking.
    pub fn rebuild(&self, entries: &[IndexEntry]) -> anyhow::Result<()> {
        let mut writer = self.writer.lock().map_err(|_| anyhow::anyhow!("search index lock"))?;
        writer.delete_all_documents()?;
        for entry in entries {
            writer.add_document(doc!(self.id => entry.id.as_str(), self.text => tokens(&entry.text).join(" ")))?;
        }
        writer.commit()?;
        self.reader.reload()?;
        Ok(())
    }

    /// Ids of the apps in which every word of `words` occurs, best first.
    pub fn find(&self, words: &str) -> anyhow::Result<Vec<String>> {
        let parts: Vec<(Occur, Box<dyn Query>)> = query_tokens(words)
            .into_iter()
            .map(|token| {
                let term = Term::from_field_text(self.text, &token);
                let query: Box<dyn Query> = if token.is_ascii() {
                    Box::new(FuzzyTermQuery::new_prefix(term, 0, true))
                } else {
                    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
                };
                (Occur::Must, query)
            })
            .collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let searcher = self.reader.searcher();
        let hits = searcher.search(&BooleanQuery::new(parts), &TopDocs::with_limit(MAX_HITS).order_by_score())?;
        let mut ids = Vec::with_capacity(hits.len());
        for (_, address) in hits {
            let document: TantivyDocument = searcher.doc(address)?;
            if let Some(id) = document.get_first(self.id).and_then(|v| v.as_str()) {
                ids.push(id.to_owned());
            }
        }
        Ok(ids)
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Runs of Han characters and of other letters or digits, lower-case.
fn runs(text: &str) -> Vec<(bool, Vec<char>)> {
    let mut runs: Vec<(bool, Vec<char>)> = Vec::new();
    let mut open = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let han = is_han(c);
        match runs.last_mut() {
            Some((kind, run)) if open && *kind == han => run.push(c),
            _ => runs.push((han, vec![c])),
        }
        open = true;
    }
    runs
}

/// Tokens of a text that is indexed: words; single Han characters and pairs. Each once.
fn tokens(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    let mut add = |token: String| {
        if seen.insert(token.clone()) {
            out.push(token);
        }
    };
    for (han, run) in runs(text) {
        if han {
            for c in &run {
                add(c.to_string());
            }
            for pair in run.windows(2) {
                add(pair.iter().collect());
            }
        } else {
            add(run.into_iter().take(40).collect());
        }
    }
    out
}

/// Tokens of a search: words; Han pairs, or the character of a run of only one.
fn query_tokens(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (han, run) in runs(text).into_iter().take(16) {
        if han && run.len() > 1 {
            out.extend(run.windows(2).map(|pair| pair.iter().collect::<String>()));
        } else {
            out.push(run.into_iter().take(40).collect());
        }
    }
    out.truncate(32);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let index = Index::open().unwrap();
        let entry = |id: &str, text: &str| IndexEntry { id: id.into(), text: text.into() };
        index
            .rebuild(&[
                entry("belt", "皮带跑偏检测 Belt deviation on conveyor"),
                entry("gas", "瓦斯浓度超限预测 Gas forecast CH4"),
                entry("rope", "钢丝绳缺陷 Wire-rope defect"),
            ])
            .unwrap();
        index
    }

    #[test]
    fn two_characters_find_chinese_terms() {
        let index = index();
        for (words, id) in [
            ("皮带", "belt"),
            ("跑偏", "belt"),
            ("瓦斯 预测", "gas"),
            ("绳", "rope"),
            ("ch4", "gas"),
            ("CONV", "belt"),
            ("defect 钢丝", "rope"),
        ] {
            assert_eq!(index.find(words).unwrap(), [id], "{words}");
        }
    }

    #[test]
    fn what_is_absent_is_not_found_and_hostile_words_do_no_harm() {
        let index = index();
        for words in ["皮偏", "conveyor gas", "", "   ", "\" OR *:*", "\u{0}\u{202e}", "(((", &"长".repeat(2000)] {
            assert!(index.find(words).unwrap().is_empty(), "{words}");
        }
    }
}
