//! The parts of either format that the rules read, and the keys that lead to them.

use super::super::yaml::{Entry, Node};
use super::items;

/// The parts of an app.
pub(super) struct Parts<'a> {
    pub models: Vec<Model<'a>>,
    pub own: Vec<Own<'a>>,
    pub alarms: Option<&'a Node>,
    pub alarms_key: &'static str,
    /// Whether it is format 1.
    pub first: bool,
}

/// A vendor's own step.
pub(super) struct Own<'a> {
    /// Its place among the steps.
    pub at: usize,
    pub node: &'a Node,
    pub key: String,
}

/// A model with what leads to its tensors and from them.
pub(super) struct Model<'a> {
    /// Its place among the steps.
    pub at: usize,
    pub node: Option<&'a Node>,
    pub key: String,
    pub pre: Option<&'a Node>,
    pub pre_key: String,
    pub post: Option<&'a Node>,
    pub post_key: String,
}

impl<'a> Parts<'a> {
    pub fn of(root: &'a Node) -> Self {
        if root.get("format").and_then(Node::integer) == Some(2) {
            let steps = root.get("steps").map_or(&[][..], Node::items).iter().enumerate();
            let own = steps.clone().filter_map(|(at, step)| Some(Own { at, node: step.get("wasm")?, key: format!("steps[{at}].wasm") }));
            let own = own.collect();
            let models = steps.filter(|(_, step)| step.get("model").is_some()).map(|(at, step)| {
                let (node, key) = (step.get("model"), format!("steps[{at}].model"));
                let part = |name| node.and_then(|node| node.get(name));
                Model {
                    at,
                    node,
                    pre: part("pre"),
                    pre_key: format!("{key}.pre"),
                    post: part("post"),
                    post_key: format!("{key}.post"),
                    key,
                }
            });
            return Self { models: models.collect(), own, alarms: root.get("alarms"), alarms_key: "alarms", first: false };
        }
        let pipeline = root.get("pipeline");
        let part = |name| pipeline.and_then(|pipeline| pipeline.get(name));
        let model = Model {
            at: 0,
            node: root.get("models").and_then(|models| models.items().first()),
            key: "models[0]".to_owned(),
            pre: part("pre"),
            pre_key: "pipeline.pre".to_owned(),
            post: part("post"),
            post_key: "pipeline.post".to_owned(),
        };
        Self { models: vec![model], own: Vec::new(), alarms: part("alarms"), alarms_key: "pipeline.alarms", first: true }
    }
}

/// Whether a step's results are objects in a picture.
pub(super) fn finds(entry: &Entry) -> bool {
    matches!(entry.key.as_str(), "boxes" | "grid" | "segments" | "anomaly")
}

/// The ids of a step's labels or values, with their places.
pub(super) fn ids(entry: &Entry) -> Vec<(&str, (String, u32))> {
    let list = if entry.key == "values" { "items" } else { "labels" };
    let one = entry.value.get("label").map(|node| ("label.id".to_owned(), node));
    let all = one.into_iter().chain(items(&entry.value, list).map(|(j, item)| (format!("{list}[{j}].id"), item)));
    all.filter_map(|(place, node)| node.get("id").and_then(|id| Some((id.text()?, (place, id.line))))).collect()
}

impl<'a> Own<'a> {
    /// Whether it is given this.
    pub fn takes(&self, word: &str) -> bool {
        self.node.get("in").is_some_and(|list| list.items().iter().any(|item| item.text() == Some(word)))
    }

    /// Whether its answer is this.
    pub fn gives(&self, word: &str) -> bool {
        self.node.text_of("out") == Some(word)
    }

    /// The ids of its labels or values, with their places and lines.
    pub fn ids(&self) -> impl Iterator<Item = (&'a str, String, u32)> {
        let node = self.node;
        let key = if self.gives("values") { "items" } else { "labels" };
        let list = node.get(key).map_or(&[][..], Node::items).iter().enumerate();
        list.filter_map(move |(i, item)| item.get("id").and_then(|id| Some((id.text()?, format!("{key}[{i}].id"), id.line))))
    }
}

impl<'a> Model<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.and_then(|node| node.get(key))
    }

    pub fn tensors(&self, list: &str) -> &'a [Node] {
        self.get(list).map_or(&[], Node::items)
    }

    /// Names of the tensors of a list.
    pub fn names(&self, list: &str) -> Vec<&'a str> {
        self.tensors(list).iter().filter_map(|tensor| tensor.text_of("name")).collect()
    }

    /// The steps that turn tensors into results.
    pub fn posts(&self) -> impl Iterator<Item = &'a Entry> {
        self.post.map_or(&[][..], Node::items).iter().filter_map(|step| step.entries().first())
    }

    /// Whether an input is filled by `feed` or `state`.
    pub fn is_fed(&self, name: &str) -> bool {
        let fed = self.get("feed").is_some_and(|feed| feed.get(name).is_some());
        fed || self.get("state").is_some_and(|state| state.items().iter().any(|carried| carried.text_of("in") == Some(name)))
    }

    /// The input that is prepared, by its place: the one that is named, else the only one that is not fed.
    pub fn main_input(&self) -> Option<(usize, &'a Node)> {
        let mut left = self.tensors("inputs").iter().enumerate().filter(|(_, t)| t.text_of("name").is_none_or(|name| !self.is_fed(name)));
        match self.get("into").and_then(Node::text) {
            Some(name) => left.find(|(_, tensor)| tensor.text_of("name") == Some(name)),
            None => left.next().filter(|_| left.next().is_none()),
        }
    }
}
