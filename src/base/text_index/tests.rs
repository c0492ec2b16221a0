use super::*;
use crate::base::error::Kind;

/// The apps of the demo and the scenarios of the taxonomy, by name and slug, with the texts that the catalogue's follower gives.
fn index() -> Index {
    let scenarios: Vec<[String; 4]> = include_str!("../../../migrations/sqlite/2026-11-23-000001_taxonomy/up.sql")
        .lines()
        .filter_map(|line| line.trim().strip_prefix('(')?.strip_suffix("),").or_else(|| line.trim().strip_prefix('(')?.strip_suffix(");")))
        .filter_map(|row| {
            let texts: Vec<String> = row.split('\'').skip(1).step_by(2).map(ToOwned::to_owned).collect();
            <[String; 4]>::try_from(texts).ok()
        })
        .collect();
    assert_eq!(scenarios.len(), 47);
    let of = |slug: &str| scenarios.iter().find(|[own, ..]| own == slug).map(|[_, _, zh, en]| format!("{zh} {en}")).unwrap();
    let mut apps: Vec<_> = std::fs::read_dir("demo/apps").unwrap().map(|entry| entry.unwrap().path().join("app.yaml")).collect();
    apps.retain(|path| path.is_file());
    apps.sort();
    let apps = apps.into_iter().map(|path| {
        let app: serde_yaml_ng::Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let text = |key: &str| format!("{} {}", app[key]["zh"].as_str().unwrap(), app[key]["en"].as_str().unwrap());
        let title = format!("{} {}", text("title"), of(app["scenario"].as_str().unwrap()));
        IndexEntry { id: app["name"].as_str().unwrap().to_owned(), text: format!("{title} {} 坑口智能 Pit AI", text("summary")), title }
    });
    let scenarios = scenarios.iter().map(|[slug, _, zh, en]| {
        let title = format!("{zh} {en}");
        IndexEntry { id: slug.clone(), text: title.clone(), title }
    });
    let index = Index::default();
    index.rebuild(apps.collect(), scenarios.collect()).unwrap();
    index
}

#[test]
fn what_was_typed_finds_the_app_that_is_meant() {
    let index = index();
    let mut wrong = Vec::new();
    for (words, first) in [
        // As it is written: what has it in its title comes first.
        ("皮带", "belt-foreign-object"),
        ("皮带异物", "belt-foreign-object"),
        ("煤矸", "gangue-sorting"),
        ("煤矸识别", "gangue-sorting"),
        ("烟火", "smoke-fire"),
        ("钻屑", "drill-cuttings"),
        ("belt", "belt-foreign-object"),
        ("coke quality", "coke-quality"),
        ("CONV", "belt-foreign-object"),
        ("掘进机 fault", "roadheader-fault"),
        ("振动", "hoist-vibration"),
        ("csr", "coke-quality"),
        // Width, marks, traditional characters, the plural.
        ("ＢＥＬＴ", "belt-foreign-object"),
        ("皮帶異物", "belt-foreign-object"),
        ("煙火識別", "smoke-fire"),
        ("Roadhéader", "roadheader-fault"),
        ("conveyors", "belt-foreign-object"),
        // Words that mean the same.
        ("人员", "walk-drive-conflict"),
        ("pedestrian", "walk-drive-conflict"),
        ("带式输送机", "belt-foreign-object"),
        ("conveyor", "belt-foreign-object"),
        ("矸石", "gangue-sorting"),
        ("gangue", "gangue-sorting"),
        ("fire smoke", "smoke-fire"),
        ("火灾", "smoke-fire"),
        ("液压支架", "roof-weighting"),
        ("coke quality prediction", "coke-quality"),
        // Small errors.
        ("bellt", "belt-foreign-object"),
        ("convayor", "belt-foreign-object"),
        ("vibratoin", "hoist-vibration"),
        ("yan huo", "smoke-fire"),
        ("煤干识别", "gangue-sorting"),
        ("皮代", "belt-foreign-object"),
        ("提升机减速厢振动诊断", "hoist-vibration"),
        // As it is typed in Latin letters.
        ("pidai", "belt-foreign-object"),
        ("pid", "belt-foreign-object"),
        ("meigan", "gangue-sorting"),
        ("pidaiyiwu", "belt-foreign-object"),
        ("yanhuo", "smoke-fire"),
        ("jjjgz", "roadheader-fault"),
        // A whole sentence.
        ("检测井下皮带上的大块煤和锚杆", "belt-foreign-object"),
        ("有没有能识别皮带着火的系统", "smoke-fire"),
        ("find people walking in the roadway", "walk-drive-conflict"),
        ("我想在提升机的减速箱上发现轴承故障", "hoist-vibration"),
    ] {
        let found = index.apps(words).unwrap();
        if found.ids.first().is_none_or(|id| id != first) {
            wrong.push((words, first, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_only_near_is_said_to_be() {
    let index = index();
    for (words, near) in [("皮带", false), ("人员", false), ("pidai", true), ("bellt", true), ("皮带 瓦斯", true)] {
        let found = index.apps(words).unwrap();
        assert!(!found.ids.is_empty() && found.near == near, "{words}: {found:?}");
    }
}

#[test]
fn what_has_no_app_finds_its_scenario() {
    let index = index();
    for (words, scenario) in [
        ("瓦斯", "gas-forecast"),
        ("瓦丝", "gas-forecast"),
        ("wasi", "gas-forecast"),
        ("gas", "gas-forecast"),
        ("methane", "gas-forecast"),
        ("methan", "gas-forecast"),
        ("CH4", "gas-forecast"),
        ("瓦斯预测", "gas-forecast"),
        ("托辊", "idler-fault"),
        ("idlers", "idler-fault"),
        ("安全帽", "ppe-check"),
        ("helmet", "ppe-check"),
        ("猴车", "chairlift-carry"),
        ("浮選", "flotation-froth"),
    ] {
        let (apps, scenarios) = (index.apps(words).unwrap(), index.scenarios(words).unwrap());
        assert!(apps.ids.is_empty(), "{words}: {apps:?}");
        assert_eq!(scenarios.ids.first().map(String::as_str), Some(scenario), "{words}: {scenarios:?}");
    }
}

#[test]
fn what_is_absent_is_not_found_and_hostile_words_do_no_harm() {
    let index = index();
    for words in ["皮偏", "", "   ", "\" *:*", "\u{0}\u{202e}", "(((", "\u{fdfa}", &"长".repeat(2000), "𪚥", "zzzzqq"] {
        assert_eq!(index.apps(words).unwrap(), Found::default(), "{words}");
    }
    let all: String = ('\u{4e00}'..'\u{4f00}').collect();
    for words in [&"a ".repeat(5000), &"gas 皮带 wasi 煤 ".repeat(500), &all, &"\u{fdfa}".repeat(500), &"abcdefgh".repeat(4000)] {
        let begun = std::time::Instant::now();
        index.apps(words).unwrap();
        index.scenarios(words).unwrap();
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?} for {} bytes", begun.elapsed(), words.len());
    }
}

#[test]
fn what_fits_alike_comes_in_the_order_given_and_a_search_is_bounded() {
    let index = Index::default();
    let entry = |i: usize| IndexEntry { id: format!("app_{i}"), title: "皮带".into(), text: "皮带".into() };
    for (entries, cut) in [(600, false), (MAX_HITS, false), (MAX_HITS + 1, true)] {
        index.rebuild((0..entries).map(entry).collect(), Vec::new()).unwrap();
        let found = index.apps("皮带").unwrap();
        assert_eq!((found.ids.len(), found.cut), (entries.min(MAX_HITS), cut));
        assert!(found.ids.iter().enumerate().all(|(i, id)| *id == format!("app_{i}")), "{:?}", found.ids);
    }
}

#[test]
fn before_the_first_build_nobody_is_told_that_nothing_exists() {
    let index = Index::default();
    for refused in [index.apps("belt").unwrap_err(), index.scenarios("belt").unwrap_err()] {
        assert_eq!((refused.kind, refused.code, refused.retry_after), (Kind::Unavailable, "search-starting", Some(1)));
    }
    index.rebuild(Vec::new(), Vec::new()).unwrap();
    assert_eq!(index.apps("belt").unwrap(), Found::default());
}
