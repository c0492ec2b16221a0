//! The one error type of this crate: a stable code for programs and a sentence for people.

/// What went wrong. Also available as `app::AppError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AppError {
    /// Stable kebab-case word, for example `input-not-a-picture`.
    pub code: &'static str,
    /// English sentence with the particulars; never holds secrets or input data beyond names and numbers.
    pub message: String,
}

impl AppError {
    /// An error with this code and message; the message is cut at 2,000 characters, for engines can be talkative.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(2_000) {
            message.truncate(end);
        }
        Self { code, message }
    }
}

/// Result with [`AppError`].
pub type Result<T, E = AppError> = std::result::Result<T, E>;
