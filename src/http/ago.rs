//! How long ago something was, as pages show it.

/// How long ago something was: shown as an element that counts up by itself (`static/js/ages.js`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ago {
    /// When, in RFC 3339; empty where it never was.
    at: String,
    /// Words in the page's language.
    text: String,
}

impl Ago {
    /// Of a moment in RFC 3339, with its words of now.
    pub fn of(at: String, text: String) -> Self {
        Self { at, text }
    }

    /// Whether there is no moment.
    pub fn is_never(&self) -> bool {
        self.at.is_empty()
    }

    /// Words of something that never was.
    pub fn never(text: String) -> Self {
        Self { at: String::new(), text }
    }
}

/// As HTML.
impl std::fmt::Display for Ago {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = askama::filters::escape(&self.text, askama::filters::Html).map_err(|_| std::fmt::Error)?;
        if self.at.is_empty() { write!(f, "{text}") } else { write!(f, r#"<time datetime="{}" data-ago>{text}</time>"#, self.at) }
    }
}

/// What [`Ago`] writes is escaped already.
impl askama::filters::HtmlSafe for Ago {}
