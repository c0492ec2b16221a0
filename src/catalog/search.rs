//! Full-text search over listings.

/// The index.
#[derive(Debug)]
pub struct Index;

impl Index {
    /// An empty index.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self)
    }
}
