//! Jobs.

use crate::app::App;
use crate::error::Result;

/// Checks a release.
pub async fn check(_app: &App, _release_id: &str) -> Result<()> {
    Ok(())
}
