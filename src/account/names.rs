//! Names of organisations as readers tell them apart. Nobody signs up under a name or short name that looks like another organisation's
//! or like the platform's, alone or with words that say no more than whose it is (`Pithead 官方`); one that only resembles such a name is
//! taken, and shown to those who moderate. So is one that goes on after the platform's name: 坑口 is also the mouth of any pit, and an honest
//! mine may be 坑口煤矿.
//!
//! Invariant: `organization_names` holds the look of each organisation's short name and names, each look once.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use super::model::Organization;
use super::store;
use crate::base::app::App;
use crate::base::auth::OrgKind;
use crate::base::db::Conn;
use crate::base::error::{Error, Faults, QueryResultExt as _, Result};

/// Words that stand for the platform itself: a name or short name that looks like one is refused.
const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "admin",
    "administrator",
    "api",
    "auditor",
    "bank",
    "billing",
    "edge",
    "finance",
    "help",
    "mail",
    "moderator",
    "official",
    "operations",
    "pithead",
    "pithead operations",
    "platform",
    "postmaster",
    "registry",
    "root",
    "security",
    "settings",
    "static",
    "support",
    "system",
    "token",
    "www",
    "坑口",
    "坑口平台",
    "坑口官方",
    "坑口平台运营",
    "平台",
    "平台运营",
    "官方",
    "管理员",
];

/// Brands of the platform: a name that holds one, or a word that is one letter away from one, resembles the platform's.
const BRANDS: [&str; 2] = ["pithead", "坑口"];

/// Words that say nothing about whose name it is. Chinese ones are taken out wherever they stand, the longest first.
const GENERIC_ZH: &[&str] = &["股份有限公司", "有限责任公司", "有限公司", "集团", "公司", "科技", "技术", "官方", "平台", "（中国）"];
const GENERIC_EN: &[&str] = &[
    "ltd",
    "limited",
    "inc",
    "corp",
    "corporation",
    "co",
    "company",
    "gmbh",
    "llc",
    "group",
    "the",
    "official",
    "technology",
    "tech",
    "team",
    "support",
];

/// Further words that beside a brand say no more than that it is the platform, as the reserved ones do.
const SERVICE_ZH: &[&str] = &[
    "客户服务",
    "客服",
    "运营",
    "管理",
    "中心",
    "支持",
    "服务",
    "商店",
    "商城",
    "市场",
    "官网",
    "中国",
    "财务",
    "支付",
    "账单",
    "审核",
    "账号",
    "旗舰店",
];
const SERVICE_EN: &[&str] = &[
    "app",
    "apps",
    "center",
    "centre",
    "china",
    "cn",
    "com",
    "helpdesk",
    "market",
    "marketplace",
    "net",
    "online",
    "payment",
    "payments",
    "service",
    "services",
    "shop",
    "store",
];

/// Organisations whose names are written in one transaction.
const BATCH: i64 = 500;

/// The look of a name: two names with the same look cannot be told apart by eye. Width and composition (NFKC), case, signs and spaces are
/// taken away, then the skeleton of UTS 39 §4 is made; `i`, `l` and `1` count as one, for a font and a capital make them so.
pub fn look(name: &str) -> String {
    let letters: String = name.nfkc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
    let shape: String = skeleton(&letters).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
    if shape.is_empty() { name.trim().to_lowercase() } else { shape.replace(['i', 'ı'], "l") }
}

/// The look of what is left of a name without legal forms and words of praise, and with each letter once where it stands twice.
pub fn gist(name: &str) -> String {
    let mut text: String = name.nfkc().flat_map(char::to_lowercase).collect();
    for word in GENERIC_ZH {
        text = text.replace(&word.nfkc().collect::<String>(), " ");
    }
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !GENERIC_EN.contains(word));
    let letters = once(&words.collect::<String>());
    if letters.chars().count() < 2 { look(name) } else { look(&letters) }
}

/// Whether one letter more, less or other, or two that change places, makes one text the other.
fn one_apart(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let swapped = || {
        let (mut x, mut y) = (a.iter().skip(same).take(2), b.iter().skip(same).take(2));
        same + rest + 2 == a.len() && x.next() == y.next_back() && x.next() == b.get(same)
    };
    same + rest + 1 >= a.len().max(b.len()) || a.len() == b.len() && swapped()
}

/// The brand of the platform that a name holds, or that it or one of its words nearly is.
fn brand(name: &str) -> Option<&'static str> {
    let whole = look(name);
    let words: Vec<String> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(look).collect();
    BRANDS.into_iter().find(|brand| {
        let brand = look(brand);
        // A short one is one letter away from honest names.
        let nearly = |text: &String| brand.chars().count() >= 5 && one_apart(text, &brand);
        whole.contains(&brand) || nearly(&whole) || words.iter().any(nearly)
    })
}

/// Whether a name is a brand of the platform with nothing beside it but digits and words that say no more than whose it is.
fn is_brand_alone(name: &str) -> bool {
    let mut text: String = name.nfkc().flat_map(char::to_lowercase).collect();
    for word in GENERIC_ZH.iter().chain(SERVICE_ZH) {
        text = text.replace(&word.nfkc().collect::<String>(), " ");
    }
    let service = || GENERIC_EN.iter().chain(SERVICE_EN).chain(RESERVED).filter(|word| !BRANDS.contains(word));
    let known = |word: &&str| service().any(|known| known == word);
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !known(word));
    let rest: String = words.map(|word| word.trim_matches(|c: char| c.is_ascii_digit())).collect();
    let left = look(&once(&rest));
    BRANDS.iter().any(|brand| {
        let brand = look(brand);
        let beside = left.strip_prefix(&brand).or_else(|| left.strip_suffix(&brand));
        // Words may stand without a space: `pitheadofficial`.
        beside.is_some_and(|beside| beside.is_empty() || service().any(|word| look(&once(word)) == beside))
    })
}

/// A text with each letter once where it stands twice.
fn once(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    letters.dedup_by(|a, b| a == b && a.is_alphabetic());
    letters.into_iter().collect()
}

/// Adds a fault for each name of a sign-up that is the platform's.
pub fn check_reserved(app: &App, faults: &mut Faults, slug: &str, name_zh: &str, name_en: &str) {
    let own = look(&app.settings.bank.account_name);
    let reserved = |name: &str| {
        let look_of_name = look(name);
        look_of_name == own || RESERVED.iter().any(|word| look(word) == look_of_name) || is_brand_alone(name)
    };
    for (field, name) in [("slug", slug), ("name_zh", name_zh), ("name_en", name_en)] {
        if !name.is_empty() && reserved(name) {
            faults.add(field, "name-reserved");
        }
    }
}

/// Each name of an organisation with the field that it came from.
fn names(organization: &Organization) -> impl Iterator<Item = (&'static str, &str)> {
    let all = [("slug", &organization.slug), ("name_zh", &organization.name_zh), ("name_en", &organization.name_en)];
    all.into_iter().map(|(field, name)| (field, name.as_str())).filter(|(_, name)| !name.is_empty())
}

/// Claims the names of a new organisation, whose row is there; gives what they resemble, if anything. The platform takes its names even
/// where somebody has them, and they then resemble the platform's.
///
/// # Errors
/// A wrong field with `name-taken`: a name looks like that of another organisation.
pub fn claim(conn: &mut Conn, organization: &Organization) -> Result<()> {
    let mut resembled = None;
    for (field, name) in names(organization) {
        let (look_of_name, gist_of_name) = (look(name), gist(name));
        match store::holder_of_look(conn, &look_of_name)? {
            Some(holder) if holder == organization.id => continue,
            Some(holder) if organization.kind == OrgKind::Platform => {
                store::set_resembles(conn, &holder, &organization.slug)?;
                continue;
            }
            Some(_) => return Err(Error::field(field, "name-taken")),
            None => {}
        }
        if organization.kind != OrgKind::Platform && resembled.is_none() {
            let other = store::slug_with_gist(conn, &gist_of_name, &organization.id)?;
            resembled = other.or_else(|| brand(name).map(str::to_owned));
        }
        // Another sign-up may have taken the name since it was looked for.
        store::insert_look(conn, &look_of_name, &gist_of_name, &organization.id).or_conflict("name-taken")?;
    }
    if let Some(other) = resembled {
        store::set_resembles(conn, &organization.id, &other)?;
    }
    Ok(())
}

/// Writes the looks of organisations from before there were any. Of two that look alike the older has the look, and the newer
/// resembles it.
pub async fn fill(app: &App) -> Result<()> {
    loop {
        let written = app.db.write(|conn| {
            let unnamed = store::organizations_without_look(conn, BATCH)?;
            for organization in &unnamed {
                fill_one(conn, organization)?;
            }
            Ok(unnamed.len())
        });
        if written.await? == 0 {
            return Ok(());
        }
    }
}

fn fill_one(conn: &mut Conn, organization: &Organization) -> Result<()> {
    let mut looks = BTreeSet::new();
    for (_, name) in names(organization) {
        let look_of_name = look(name);
        match store::holder_of_look(conn, &look_of_name)? {
            Some(holder) if holder != organization.id && organization.kind == OrgKind::Platform => {
                store::set_resembles(conn, &holder, &organization.slug)?;
            }
            Some(holder) if holder != organization.id => {
                let holder = store::get_organization(conn, &holder)?;
                store::set_resembles(conn, &organization.id, &holder.slug)?;
            }
            Some(_) => {
                looks.insert(look_of_name);
            }
            None => {
                store::insert_look(conn, &look_of_name, &gist(name), &organization.id)?;
                looks.insert(look_of_name);
            }
        }
    }
    if looks.is_empty() {
        // All of its looks are another's: a row that no name can equal says that it was looked at.
        store::insert_look(conn, &format!("={}", organization.id), "", &organization.id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_have_one_look() {
        for (one, other) in [
            ("Pithead", "ｐｉｔｈｅａｄ"),
            ("pithead", "PlTHEAD"),
            ("pithead", "p1t-head"),
            ("pithead", "рithеаd"), // Cyrillic р, е, а
            ("platform", "pla tform"),
            ("platform", "p\u{3000}latform"),
            ("admin", "αdmin"),
            ("north0", "northo"),
            ("坑口平台", "坑口 平台"),
            ("坑口", "坑⼝"), // Kangxi radical
            ("坑口", "坑ロ"), // katakana
            ("Åcme", "A\u{30a}cme"),
        ] {
            assert_eq!(look(one), look(other), "{one} {other}");
        }
        for (one, other) in [("acme", "acne"), ("乌兰煤矿", "乌海煤矿"), ("mine 1", "mine 2"), ("—", "·")] {
            assert_ne!(look(one), look(other), "{one} {other}");
        }
    }

    #[test]
    fn legal_forms_and_doubled_letters_leave_a_name_similar() {
        for (one, other) in
            [("乌兰矿业", "乌兰矿业科技有限公司"), ("Acme", "The Acme Group, Ltd."), ("acme", "accme"), ("acme", "acme-official")]
        {
            assert_eq!(gist(one), gist(other), "{one} {other}");
        }
        assert_ne!(gist("乌兰矿业有限公司"), gist("乌海矿业有限公司"));
        assert_ne!(gist("mine 1"), gist("mine 11"));
        assert_eq!(gist("有限公司"), look("有限公司"));
    }

    #[test]
    fn what_holds_or_nearly_is_a_brand_resembles_the_platform() {
        for name in [
            "Pithead Support",
            "坑口官方客服",
            "pithed",
            "pitthead",
            "pitheat",
            "Pihtead Tools",
            "My P1thaed",
            "坑口煤矿",
            "Pithead Valley Coal",
        ] {
            assert!(brand(name).is_some(), "{name}");
        }
        for name in ["acme", "pit", "head", "矿", "Whitehead Mining", "坑道煤矿", "口岸矿业"] {
            assert!(brand(name).is_none(), "{name}");
        }
        assert!(one_apart("abc", "abc") && one_apart("abc", "ab") && one_apart("abc", "axc") && !one_apart("abc", "axd"));
        assert!(one_apart("abcd", "acbd") && one_apart("ab", "ba") && !one_apart("abcd", "acdb") && !one_apart("abcd", "adcb"));
    }

    #[test]
    fn a_brand_with_nothing_of_its_own_beside_it_is_the_platform() {
        for name in [
            "piithead",
            "pithead1",
            "Pithead-2026",
            "p1thead",
            "Pithead 官方",
            "坑口官方",
            "坑口官方客服",
            "坑口 运营中心",
            "Рithead",
            "Ｐｉｔｈｅａｄ　官方",
            "The Pithead Company, Ltd.",
            "pithead-support",
            "pitheadofficial",
            "official-pithead",
            "坑口科技有限公司",
            "Pithead Billing",
            "Pithead Finance",
            "pithead-payments",
            "pitheadbilling",
            "坑口财务",
            "坑口审核中心",
            "坑口官方旗舰店",
            "坑口支付",
        ] {
            assert!(is_brand_alone(name), "{name}");
        }
        for name in [
            "坑口煤矿",
            "坑口矿业有限公司",
            "乌兰坑口矿",
            "Pithead Valley Coal",
            "pinhead",
            "Acme",
            "官方",
            "1234",
            "",
            "The Company",
            "矿业集团",
        ] {
            assert!(!is_brand_alone(name), "{name}");
        }
    }
}
