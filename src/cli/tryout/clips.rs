//! Clips with what was seen in them, for a person: each as a clip again, and a picture of the beginning of each event.

use std::path::Path;

use inference::draw::{self, Scenery, Trace};
use inference::{app::MAX_INPUT, clip};

use super::Answered;
use super::told::Told;
use crate::cli::words::{Cannot as _, shown};

/// Longest part of a file's name that is kept, in characters.
const MAX_NAME: usize = 60;

/// Pictures of events that were written: name in the folder, and what is in it.
pub type Stills = Vec<(String, String)>;

/// Writes what was seen in each clip into a folder, and says so where that is wanted; for each file that was answered the pictures of its
/// events. What is no clip has none.
pub fn write(folder: &Path, found: &[Answered<'_>], traces: &[Trace], told: Told<'_>, tell: bool) -> anyhow::Result<Vec<Stills>> {
    let Told { manifest, lang, .. } = told;
    let labels: Vec<&str> = manifest.labels().map(|label| label.id.as_str()).collect();
    let drawn = manifest.golden.first().map(|sample| sample.scene.clone()).unwrap_or_default();
    let mut all = Vec::new();
    for (at, (Answered { file, copy, result }, trace)) in found.iter().zip(traces).enumerate() {
        let bytes = std::fs::read(copy).cannot(lang, "read", file)?;
        if !clip::is_avi(&bytes) || bytes.len() > MAX_INPUT {
            all.push(Stills::new());
            continue;
        }
        let scenery = Scenery { drawn: &drawn, rules: manifest.alarms(), labels: &labels, result, trace };
        let shows = draw::clip(&bytes, &scenery).map_err(|e| anyhow::anyhow!("{}: {e}", shown(file)))?;
        let name = format!("{:02}-{}", at + 1, plain(&file.file_stem().unwrap_or_default().to_string_lossy()));
        let path = folder.join(format!("{name}.avi"));
        std::fs::write(&path, &shows.avi).cannot(lang, "write", &path)?;
        if tell {
            print_line!("{}", lang.format("cli-try-clip", &[("path", &shown(&path))]));
        }
        if shows.cut() {
            eprintln!("{}", lang.format("cli-try-cut", &[("path", &shown(&path)), ("n", &shows.frames.to_string())]));
        }
        let mut stills = Stills::new();
        for (number, jpeg) in &shows.stills {
            let Some(event) = result.events.get(*number) else { continue };
            let what = [&event.rule, &event.zone, &event.line, &event.procedure].into_iter().flatten().next();
            let still = format!("{name}-{:06.1}s-{:03}-{}.jpg", event.begin, number + 1, plain(what.map_or("", String::as_str)));
            let path = folder.join(&still);
            std::fs::write(&path, jpeg).cannot(lang, "write", &path)?;
            stills.push((still, told.event(event, result)));
        }
        all.push(stills);
    }
    Ok(all)
}

/// A part of a file's name without what leads elsewhere: the answer comes from a child that read a stranger's package.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!((plain("../a b.c"), plain("北门-1_x"), plain("")), ("___a_b_c".into(), "北门-1_x".into(), String::new()));
        assert_eq!(plain(&"x".repeat(300)).len(), MAX_NAME);
    }
}
