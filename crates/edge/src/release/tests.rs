//! What a node must refuse to run.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn ids() {
    assert!(is_deployment_id("dep_01-a.b"));
    for bad in ["", ".", "..", "a/b", "a b", "ü", "a\0"] {
        assert!(!is_deployment_id(bad), "{bad:?}");
    }
    assert!(!is_deployment_id(&"a".repeat(201)));
    assert!("1.0.0".parse().map(|v: u32| v).is_err());
    let _ = Some(1).unwrap();
}
