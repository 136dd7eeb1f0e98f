//! The names of tools: the client knows a tool by its name and the namespace around it, the model by one name alone.
//!
//! A tool in a namespace keeps its own name for the model, because instructions speak of it by that name; two tools of
//! one name get their namespaces before it. Items of the answer and of the history are translated here.

use std::collections::HashMap;

/// The names of a request's tools.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ToolNames {
    /// The tools in namespaces, by the name that the model knows.
    by_model_name: HashMap<String, NamespacedName>,
    /// The names that the model knows.
    model_names: HashMap<NamespacedName, String>,
}

/// The name of a tool in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct NamespacedName {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ToolNames {
    /// The name for the model of the tool `name` in `namespace`; `is_taken` is true if another tool has that name too.
    pub(super) fn add(&mut self, namespace: &str, name: &str, is_taken: bool) -> String {
        let model_name = if is_taken { qualified(namespace, name) } else { name.to_owned() };
        let client = NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() };
        self.by_model_name.insert(model_name.clone(), client.clone());
        self.model_names.insert(client, model_name.clone());
        model_name
    }

    /// The name of a tool for the client: its namespace, if it is in one, and the name in it.
    pub(super) fn for_client(&self, model_name: String) -> (Option<String>, String) {
        match self.by_model_name.get(&model_name) {
            Some(NamespacedName { namespace, name }) => (Some(namespace.clone()), name.clone()),
            None => (None, model_name),
        }
    }

    /// The name for the model of a tool that is offered.
    pub(super) fn offered(&self, namespace: &str, name: &str) -> Option<String> {
        let client = NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() };
        self.model_names.get(&client).cloned()
    }

    /// The name of a tool for the model. Tools of earlier turns may not be offered any more.
    pub(super) fn for_model(&self, namespace: Option<String>, name: String) -> String {
        namespace.and_then(|namespace| self.offered(&namespace, &name)).unwrap_or(name)
    }
}

/// The namespace and the name, with two underscores between them unless the namespace ends with one.
fn qualified(namespace: &str, name: &str) -> String {
    let between = if namespace.ends_with('_') { "" } else { "__" };
    format!("{namespace}{between}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_there_and_back() {
        let mut names = ToolNames::default();
        assert_eq!(names.add("mcp__a__", "f", true), "mcp__a__f");
        assert_eq!(names.add("b", "f", true), "b__f");
        assert_eq!(names.add("b", "g", false), "g");

        let client = |name: &str| names.for_client(name.to_owned());
        assert_eq!(client("mcp__a__f"), (Some("mcp__a__".to_owned()), "f".to_owned()));
        assert_eq!(client("g"), (Some("b".to_owned()), "g".to_owned()));
        assert_eq!(client("f"), (None, "f".to_owned()));
        let model = |namespace: Option<&str>, name: &str| names.for_model(namespace.map(str::to_owned), name.to_owned());
        assert_eq!(model(Some("b"), "f"), "b__f");
        assert_eq!(model(Some("b"), "g"), "g");
        assert_eq!(model(Some("gone"), "h"), "h");
        assert_eq!(model(None, "f"), "f");
    }
}
