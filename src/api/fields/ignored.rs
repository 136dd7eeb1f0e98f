//! Names of fields that have no effect, as warnings list them, and warnings about fields that are obeyed only in part.
//!
//! The first [`SHOWN`] names are listed; the others are only counted. A body of 2 MB can have 400,000 names, so adding
//! one takes the same time however many there are.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

/// Number of names that are kept as text.
pub(in crate::api) const SHOWN: usize = 16;

/// A random key for each process, so that no client can send names with equal digests.
static DIGESTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A set of ignored field names: 16 as text, all as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The first names, in order, with their digests.
    shown: Vec<(u64, String)>,
    /// Digests of all names.
    known: HashSet<u64>,
    /// Fields that are obeyed only in part, each with its warning: at most as many as the readers have fields.
    changed: Vec<(String, String)>,
}

impl Ignored {
    /// Adds a name, unless the set contains it.
    pub fn add(&mut self, name: &str) {
        self.insert(digest(name), || name.to_owned());
    }

    /// Adds the name of a field inside another, `outer.name`.
    pub fn add_inside(&mut self, outer: &str, name: &str) {
        self.insert(digest((outer, digest(name))), || format!("{outer}.{name}"));
    }

    /// Adds that a field is obeyed only in part; the name is empty for the body as a whole, and `text` is visible ASCII
    /// and spaces.
    pub fn change(&mut self, name: &str, text: String) {
        self.changed.push((name.to_owned(), text));
    }

    /// Takes the fields that are obeyed only in part, each with its warning.
    pub fn take_changed(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changed)
    }

    /// Adds names of fields inside another.
    pub fn extend_inside(&mut self, outer: &str, names: &Self) {
        self.changed.extend(names.changed.iter().map(|(name, text)| (format!("{outer}.{name}"), text.clone())));
        for (known, name) in &names.shown {
            self.insert(digest((outer, *known)), || format!("{outer}.{name}"));
        }
        self.known.extend(names.hidden().map(|known| digest((outer, known))));
    }

    /// Adds names to the list.
    pub fn extend(&mut self, names: Self) {
        self.known.extend(names.hidden());
        self.changed.extend(names.changed);
        for (known, name) in names.shown {
            self.insert(known, || name);
        }
    }

    /// The number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True if no field was ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The first names, at most 16.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().map(|(_, name)| name.as_str())
    }

    fn hidden(&self) -> impl Iterator<Item = u64> {
        // `shown` has at most 16 entries, so this is linear.
        self.known.iter().copied().filter(|known| self.shown.iter().all(|(shown, _)| shown != known))
    }

    fn insert(&mut self, known: u64, name: impl FnOnce() -> String) {
        if self.known.insert(known) && self.shown.len() < SHOWN {
            self.shown.push((known, name()));
        }
    }
}

impl<'a> FromIterator<&'a str> for Ignored {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut ignored = Self::default();
        names.into_iter().for_each(|name| ignored.add(name));
        ignored
    }
}

/// The digest of a name. Two names of one digest would be counted as one: once in 10⁸ bodies of 400,000 names.
fn digest(of: impl std::hash::Hash) -> u64 {
    DIGESTS.hash_one(of)
}

#[cfg(test)]
impl<const N: usize> PartialEq<[&str; N]> for Ignored {
    fn eq(&self, names: &[&str; N]) -> bool {
        self.len() == N && self.shown().eq(names.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(prefix: &str, count: usize) -> Ignored {
        let names: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn the_first_names_are_shown_and_all_are_counted_once() {
        let mut ignored = many("a", 15);
        ignored.add("a3");
        ignored.add_inside("x", "b");
        ignored.add("c");
        ignored.add_inside("x", "b");
        ignored.add("c");

        assert_eq!((ignored.len(), ignored.shown().count()), (17, 16));
        assert_eq!(ignored.shown().last(), Some("x.b"));
    }

    #[test]
    fn names_beside_and_inside_are_counted_once_whether_shown_or_not() {
        let mut ignored = many("a", 20);
        ignored.extend(many("a", 30));
        assert_eq!(ignored.len(), 30);

        let mut outer = Ignored::default();
        outer.extend_inside("x", &ignored);
        outer.extend_inside("x", &ignored);
        outer.extend_inside("y", &ignored);
        assert_eq!((outer.len(), outer.shown().next(), outer.shown().count()), (60, Some("x.a0"), 16));
    }

    #[test]
    fn two_hundred_thousand_names_are_no_more_work_each_than_two() {
        let mut ignored = many("a", 200_000);
        ignored.extend(many("b", 200_000));
        let mut outer = Ignored::default();
        outer.extend_inside("x", &ignored);

        assert_eq!((outer.len(), outer.shown().count()), (400_000, SHOWN));
    }
}
