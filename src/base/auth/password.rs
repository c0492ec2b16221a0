//! Passwords: argon2id (RFC 9106, second recommended option scaled to 19 MiB, t = 2, p = 1, the OWASP minimum), off the async threads; and
//! which ones are too weak to be taken: those that zxcvbn guesses in 10⁸ tries or fewer, from common passwords, names, rows of keys, dates
//! and what belongs to the person.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use zxcvbn::feedback::Warning;
use zxcvbn::{Score, zxcvbn};

use crate::base::error::{Error, Faults, Result};
use crate::base::turns::Queue;

/// Shortest password in characters.
pub const MIN_CHARS: usize = 10;
/// Longest password in bytes: bounds the time of hashing; argon2 itself would take more.
pub const MAX_BYTES: usize = 200;

/// Characters that a password must have beside what belongs to its person: name, short name and a year are guessed together.
const BESIDE_OWN: usize = 6;
/// Words of its person that are looked for in a password, and characters of each.
const OWN_WORDS: usize = 40;
const OWN_CHARS: usize = 100;

/// Checks a new password. `own` is what belongs to its person and is guessed first: address, names, short names.
///
/// Faults of the field: `too-short`, `too-long`, `password-own`, `password-pattern`, `password-common`.
///
/// # Errors
/// `server-busy`.
pub async fn check(faults: &mut Faults, field: &str, password: &str, own: &[&str]) -> Result<()> {
    if password.chars().count() < MIN_CHARS {
        faults.add_with(field, "too-short", "min", MIN_CHARS);
    } else if password.len() > MAX_BYTES {
        faults.add_with(field, "too-long", "max", MAX_BYTES);
    } else {
        let (password, own) = (password.to_owned(), own_words(own));
        if let Some(code) = in_turn(&STRENGTH, move || weakness(&password, &own)).await? {
            faults.add(field, code);
        }
    }
    Ok(())
}

/// The texts and the words in them, in lower case.
fn own_words(own: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for text in ["pithead", "坑口"].iter().chain(own) {
        let text: String = text.to_lowercase().chars().take(OWN_CHARS).collect();
        let parts = text.split(|c: char| !c.is_alphanumeric()).map(ToOwned::to_owned);
        for word in parts.chain([text.clone()]) {
            // A short word is found in good passwords by chance; two Chinese characters are a name.
            let long = word.len() >= 4;
            if long && words.len() < OWN_WORDS && !words.contains(&word) {
                words.push(word);
            }
        }
    }
    // The longest first: a word must not hide the longer one that it is a part of.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
}

/// Why a password is too weak, as an error code. Blocking: up to some milliseconds.
fn weakness(password: &str, own: &[String]) -> Option<&'static str> {
    let small = password.to_lowercase();
    let beside = own.iter().fold(small.clone(), |rest, word| rest.replace(word.as_str(), ""));
    if beside.chars().count() < BESIDE_OWN {
        return Some("password-own");
    }
    let words: Vec<&str> = own.iter().map(String::as_str).collect();
    let estimate = zxcvbn(password, &words);
    if estimate.score() >= Score::Three {
        return None;
    }
    if beside != small {
        return Some("password-own");
    }
    Some(match estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning) {
        Some(
            Warning::StraightRowsOfKeysAreEasyToGuess
            | Warning::ShortKeyboardPatternsAreEasyToGuess
            | Warning::RepeatsLikeAaaAreEasyToGuess
            | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess
            | Warning::SequencesLikeAbcAreEasyToGuess
            | Warning::RecentYearsAreEasyToGuess
            | Warning::DatesAreOftenEasyToGuess,
        ) => "password-pattern",
        _ => "password-common",
    })
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password in PHC form, with a random salt. Blocking: about 20 ms.
pub fn hash_blocking(password: &str) -> Result<String> {
    hasher().hash_password(password.as_bytes()).map(|h| h.to_string()).map_err(|e| Error::internal(anyhow::anyhow!("argon2: {e}")))
}

/// Hashes at once: each takes 19 MiB, and more of them than a small machine has processors would not be done sooner. Those who may wait have
/// their turn in three seconds or so.
static STRANGERS: Queue = Queue::new(2, 256);
/// So that strangers, however many they are, keep nobody from work.
static KNOWN: Queue = Queue::new(1, 64);
/// Judging a password is no hashing: who signs up must not hold up who signs in.
static STRENGTH: Queue = Queue::new(1, 64);

/// Whose password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Strangers,
    /// Of a browser that signed in to the account before, of who holds a link that was made for them, or of who is signed in.
    Known,
}

impl Line {
    fn queue(self) -> &'static Queue {
        match self {
            Self::Strangers => &STRANGERS,
            Self::Known => &KNOWN,
        }
    }
}

/// Works on the blocking pool when there is a turn.
async fn in_turn<T: Send + 'static>(queue: &'static Queue, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let turn = queue.turn().await?;
    let worked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    worked.await.map_err(Error::internal)
}

/// Hashes a password on the blocking pool.
///
/// # Errors
/// `server-busy`.
pub async fn hash(line: Line, password: String) -> Result<String> {
    in_turn(line.queue(), move || hash_blocking(&password)).await?
}

/// Whether a password fits a hash. Without a hash (no such account) it does the same work: the time must not tell whether there is one.
///
/// # Errors
/// `server-busy`.
pub async fn verify(line: Line, password: String, hash: Option<String>) -> Result<bool> {
    in_turn(line.queue(), move || {
        let Some(hash) = hash else {
            hash_blocking(&password)?;
            return Ok(false);
        };
        let parsed = PasswordHash::new(&hash).map_err(|e| Error::internal(anyhow::anyhow!("stored hash: {e}")))?;
        Ok(hasher().verify_password(password.as_bytes(), &parsed).is_ok())
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weak(password: &str) -> Option<&'static str> {
        weakness(password, &own_words(&["wang.lei@wulan-mine.example", "王磊 Wang Lei", "wulan-mine", "乌兰煤矿", "Wulan Mine"]))
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        for password in ["1234567890", "password12", "qwertyuiop", "1qaz2wsx3edc", "Passw0rd!2024", "iloveyou2024", "zhongguo2008"] {
            assert!(weak(password).is_some(), "{password}");
        }
        for password in ["aaaaaaaaaa", "abcabcabcabc", "abcdefghij", "0123456789"] {
            assert_eq!(weak(password), Some("password-pattern"), "{password}");
        }
        for password in [
            "wang.lei@wulan-mine.example",
            "wulan-mine",
            "wulan123456",
            "WulanMine2026",
            "乌兰煤矿乌兰煤矿乌兰",
            "pithead2026",
            "Pithead123",
        ] {
            assert_eq!(weak(password), Some("password-own"), "{password}");
        }
    }

    #[test]
    fn what_is_not_guessed_is_taken() {
        for password in ["a lamp in the dark", "pithead-demo-2026", "muxin-kaoliang-92", "correct horse battery", "煤层下面三百米有一盏灯"]
        {
            assert_eq!(weak(password), None, "{password}");
        }
    }

    /// Texts that make the estimate look at many combinations: it must not become a way to keep the server busy.
    #[test]
    fn no_password_takes_long_to_judge() {
        let hostile =
            ["a1@4".repeat(50), "4@8({[<369&#".repeat(16), "qwer1234".repeat(25), "ab".repeat(100), "1.1.2000".repeat(25), "é".repeat(100)];
        for password in hostile {
            let started = std::time::Instant::now();
            weak(&password);
            assert!(started.elapsed().as_secs() < 5, "{password}: {:?}", started.elapsed());
        }
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        for (password, code) in [("short", "too-short"), (&*"long ".repeat(50), "too-long")] {
            let mut faults = Faults::default();
            check(&mut faults, "password", password, &[]).await.unwrap();
            assert_eq!(faults.check().unwrap_err().fields.first().unwrap().code, code);
        }
    }

    #[tokio::test]
    async fn only_the_password_itself_fits() {
        let hash = hash_blocking("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(Line::Strangers, "correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify(Line::Known, "correct horse".into(), Some(hash)).await.unwrap());
        assert!(!verify(Line::Strangers, "anything".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn where_one_line_is_full_the_others_go_on() {
        static FULL: Queue = Queue::new(1, 0);
        let _turn = FULL.turn().await.unwrap();
        assert_eq!(in_turn(&FULL, || ()).await.unwrap_err().code, "server-busy");
        assert!(!verify(Line::Known, "anything".into(), None).await.unwrap());
        let lines = [Line::Strangers.queue(), Line::Known.queue(), &STRENGTH];
        for (n, line) in lines.iter().enumerate() {
            assert!(lines.iter().skip(n + 1).all(|other| !std::ptr::eq(*line, *other)), "line {n} is another's");
        }
    }
}
