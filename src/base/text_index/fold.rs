//! One form for what reads the same: width and compatibility forms (NFKD), marks and case away, simplified for traditional characters.
//!
//! The table is `OpenCC`'s, character by character: what a converter of whole texts decides by phrases does not matter where both sides are folded
//! alike, and the crates that convert carry megabytes of phrases.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest word that is kept, in characters.
const MAX_WORD: usize = 40;

static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let lines = include_str!("traditional.txt").lines().filter(|line| !line.starts_with('#'));
    let chars: Vec<char> = lines.flat_map(str::chars).collect();
    chars.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
});

/// The folded form of a text.
pub(super) fn fold(text: &str) -> String {
    let plain = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    plain.map(|c| if c.is_ascii() { c } else { SIMPLIFIED.get(&c).copied().unwrap_or(c) }).collect()
}

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Han characters without a break.
    Han(Vec<char>),
    /// Words of other letters and digits that follow one another, in the singular.
    Words(Vec<String>),
}

/// The stretches of a text, folded.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Whether the last character goes on in the next one.
    let mut open = false;
    for c in fold(text).chars() {
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let han = is_han(c);
        match pieces.last_mut() {
            Some(Piece::Han(run)) if han && open => run.push(c),
            Some(Piece::Words(words)) if !han => match words.last_mut() {
                Some(word) if open => word.push(c),
                _ => words.push(c.to_string()),
            },
            _ if han => pieces.push(Piece::Han(vec![c])),
            _ => pieces.push(Piece::Words(vec![c.to_string()])),
        }
        open = true;
    }
    for piece in &mut pieces {
        if let Piece::Words(words) = piece {
            for word in words.iter_mut() {
                *word = singular(word);
            }
        }
    }
    pieces
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// A word without the ending of the plural, as far as the letters tell; cut to [`MAX_WORD`].
fn singular(word: &str) -> String {
    let stem = match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && word.is_ascii() && !stem.ends_with('s') && !stem.ends_with('u') => stem,
        _ => word,
    };
    match stem.strip_suffix("ie") {
        Some(root) if root.len() > 2 && stem.len() < word.len() => format!("{root}y"),
        _ => stem.chars().take(MAX_WORD).collect(),
    }
}

/// What a stretch of Han characters is found by: each pair, or the character that stands alone.
pub(super) fn pairs(run: &[char]) -> Vec<String> {
    if run.len() > 1 { run.windows(2).map(|pair| pair.iter().collect()).collect() } else { run.iter().map(char::to_string).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_same_is_folded_to_one_form() {
        for (written, folded) in [
            ("ＣＨ４ Ｂｅｌｔ", "ch4 belt"),
            ("皮帶輸送機 煙火檢測 錨桿", "皮带输送机 烟火检测 锚杆"),
            ("採煤機 鑽孔 礦用", "采煤机 钻孔 矿用"),
            ("Convéyor ÜBER", "conveyor uber"),
            ("ﾍﾞﾙﾄ", "ヘルト"),
            ("①㎏", "1kg"),
        ] {
            assert_eq!(fold(written), folded, "{written}");
        }
    }

    #[test]
    fn words_are_kept_in_the_singular() {
        for (word, one) in [
            ("belts", "belt"),
            ("gas", "gas"),
            ("process", "process"),
            ("batteries", "battery"),
            ("series", "sery"),
            ("bus", "bus"),
            ("s", "s"),
        ] {
            assert_eq!(singular(word), one, "{word}");
        }
    }

    #[test]
    fn stretches_end_where_the_script_changes_or_a_sign_stands() {
        let words = |words: &[&str]| Piece::Words(words.iter().map(ToString::to_string).collect());
        assert_eq!(
            pieces("瓦斯 CH4浓度,Gas forecasts"),
            [Piece::Han(vec!['瓦', '斯']), words(&["ch4"]), Piece::Han(vec!['浓', '度']), words(&["gas", "forecast"])]
        );
    }
}
