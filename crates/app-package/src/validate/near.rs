//! Words that are probably meant: at most two letters away (Levenshtein).

/// The known key that is meant, when at most two letters differ.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    known.map(|name| (strsim::levenshtein(word, name), name)).filter(|(d, name)| *d <= 2 && *d < name.len()).min().map(|(_, name)| name)
}
