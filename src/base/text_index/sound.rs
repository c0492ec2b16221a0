//! How Han characters are typed in Latin letters: pinyin without tones, and first letters.
//!
//! Each place of a text is found by the sound of the characters from there on, so what is typed is looked for as a beginning and need not be
//! split into syllables.

use pinyin::ToPinyin as _;

/// Characters whose sound is kept at each place.
pub(super) const WINDOW: usize = 6;
/// Most ways to read a window.
const MAX_READINGS: usize = 8;

/// Second readings in words of the field (调速, 巷道, 重复, 长壁); of other characters the first of the table is theirs.
const ALSO: &[(char, &str)] =
    &[('调', "tiao"), ('巷', "hang"), ('重', "chong"), ('长', "chang"), ('行', "hang"), ('载', "zai"), ('斗', "dou")];

/// How a character may be typed: ü as v and as u.
fn readings(c: char) -> Vec<String> {
    let Some(first) = c.to_pinyin().map(pinyin::Pinyin::plain) else { return Vec::new() };
    let mut all = if first.contains('ü') { vec![first.replace('ü', "v"), first.replace('ü', "u")] } else { vec![first.to_owned()] };
    all.extend(ALSO.iter().filter(|(of, also)| *of == c && *also != first).map(|(_, also)| (*also).to_owned()));
    all
}

/// The sound of characters that were typed, of [`WINDOW`] at most; empty where they have none.
pub(super) fn of(run: &[char]) -> String {
    run.iter().take(WINDOW).filter_map(|c| readings(*c).into_iter().next()).collect()
}

/// The sounds from each place on.
pub(super) fn windows(run: &[char]) -> Vec<String> {
    let mut out = Vec::new();
    for i in 0..run.len() {
        let mut sounds = vec![String::new()];
        for c in run.iter().skip(i).take(WINDOW) {
            let next = readings(*c);
            if next.is_empty() {
                break;
            }
            sounds = sounds.iter().flat_map(|sound| next.iter().map(move |more| format!("{sound}{more}"))).take(MAX_READINGS).collect();
        }
        out.extend(sounds.into_iter().filter(|sound| !sound.is_empty()));
    }
    out
}

/// The first letters from each place on.
pub(super) fn initials(run: &[char]) -> Vec<String> {
    let letters: Vec<char> = run.iter().filter_map(|c| readings(*c).first().and_then(|sound| sound.chars().next())).collect();
    (0..letters.len()).map(|i| letters.iter().skip(i).take(WINDOW).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_sounds() {
        let run: Vec<char> = "皮带巷".chars().collect();
        assert_eq!(windows(&run), ["pidaixiang", "pidaihang", "daixiang", "daihang", "xiang", "hang"]);
        assert_eq!(initials(&run), ["pdx", "dx", "x"]);
        assert_eq!(of(&['瓦', '丝']), of(&['瓦', '斯']));
        assert_eq!(windows(&['绿']), ["lv", "lu"]);
        assert!(windows(&"行".repeat(100).chars().collect::<Vec<_>>()).len() <= 100 * MAX_READINGS);
    }
}
