//! Jobs.

use crate::app::App;
use crate::error::Result;

/// Writes the desired state of a node anew.
pub async fn rebuild(_app: &App, _node_id: &str) -> Result<()> {
    Ok(())
}
