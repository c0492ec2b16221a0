//! Words for faults, in Chinese and English: those that the platform shows, so that both say the same.

const ZH: &str = include_str!("../../../../locales/zh-CN/node.ftl");
const EN: &str = include_str!("../../../../locales/en/node.ftl");

/// What a fault means and what to do, by its code; `None` where there are no words for it. Lines with variables are for the platform only.
pub fn words(code: &str, chinese: bool) -> Option<&'static str> {
    let lines = if chinese { ZH } else { EN }.lines().filter(|line| !line.contains('{'));
    lines.filter_map(|line| line.strip_prefix("node-fault-")).find_map(|line| line.strip_prefix(code)?.strip_prefix(" = "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_agent_have_words_in_both_languages() {
        for code in [
            "clock-wrong",
            "disk-full",
            "engine-missing",
            "sandbox-failed",
            "api-open",
            "app-unconfined",
            "model-name-shared",
            "data-folder-copied",
            "license-expired",
            "license-not-yet-valid",
            "state-not-fresh",
            "state-older",
            "app-crashed",
            "provider-not-here",
            "provider-missing",
            "provider-no-device",
            "provider-crashed",
            "app-starting",
            "source-invalid",
            "source-unreachable",
            "source-unknown",
            "source-silent",
            "credentials-refused",
            "codec-unsupported",
            "decoder-missing",
            "decoder-failed",
            "picture-unreadable",
            "picture-not-usable",
            "app-not-running",
            "input-not-taken",
            "scene-invalid",
            "source-broken",
            "source-untrusted",
            "rows-awaited",
            "rows-too-many",
            "sensor-out-of-range",
            "sensor-unreadable",
            "sensor-stuck",
            "sensor-late",
            "picture-lost",
            "picture-black",
            "picture-frozen",
            "picture-covered",
            "picture-moved",
            "picture-blurred",
            "picture-glare",
            "picture-dark",
        ] {
            let (zh, en) = (words(code, true), words(code, false));
            assert!(zh.is_some_and(|text| !text.is_ascii()) && en.is_some_and(str::is_ascii), "{code}: {zh:?} {en:?}");
        }
        assert_eq!(words("no-such-code", true), None);
        assert_eq!(words("app", true), None);
    }
}
