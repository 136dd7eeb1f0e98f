//! House rules that no lint knows, checked over the whole tree: size, headers, directions of dependency, banned words.
//!
//! Each test reports all offenders as `file:line: what`. The rules are plain functions over one file (`rules`,
//! `imports`, `documents`, `vendor`); `proofs` gives each of them a bad example. Clippy checks the size of functions
//! and types of `unwrap`.

mod circles;
mod documents;
mod imports;
mod names;
mod proofs;
mod routes;
mod rules;
mod source;
mod vendor;

use rules::{Offence, Rule};
use source::Source;
use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with every offence against `rule` in the files to which it `applies`.
fn hold(rule: Rule, applies: fn(&Source) -> bool) {
    let files = source::tree(root());
    assert!(files.iter().any(applies), "the rule was applied to no file at all");

    let offences: Vec<Offence> = files.iter().filter(|file| applies(file)).flat_map(rule).collect();

    let list: Vec<String> = offences.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} offences:\n{}", list.len(), list.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    hold(rules::size, Source::is_rust);
}

#[test]
fn no_comment_is_longer_than_120_characters() {
    hold(rules::long_comments, Source::is_rust);
}

#[test]
fn no_comment_begins_with_a_clause_for_a_noun() {
    hold(rules::clauses, Source::is_rust);
}

#[test]
fn every_source_file_begins_with_a_module_header() {
    hold(rules::header, Source::is_rust);
}

#[test]
fn modules_import_only_what_their_layer_may() {
    hold(imports::directions, Source::is_product);
}

#[test]
fn files_that_import_each_other_say_why() {
    let files = source::tree(root());
    let product: Vec<&Source> = files.iter().filter(|file| file.is_product()).collect();

    let offences: Vec<String> = circles::circles(&product).iter().map(ToString::to_string).collect();

    assert!(offences.is_empty(), "{} circles:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn a_type_name_has_one_meaning_in_the_crate() {
    let files = source::tree(root());
    let product: Vec<&Source> = files.iter().filter(|file| file.is_product()).collect();

    let offences: Vec<String> = names::repeated_types(&product).iter().map(ToString::to_string).collect();

    assert!(offences.is_empty(), "{} names:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn every_layer_of_the_table_exists() {
    let missing: Vec<&str> = imports::LAYERS.iter().map(|layer| layer.module).filter(|module| !imports::exists(root(), module)).collect();

    assert_eq!(missing, Vec::<&str>::new(), "layers without a module under src/");
}

#[test]
fn every_route_is_a_row_of_the_one_table() {
    let is_api = |file: &Source| file.is_product() && file.path.starts_with("src/api/");
    hold(routes::beside_the_table, is_api);

    let table = source::tree(root()).into_iter().find(|file| file.path == routes::TABLE);
    assert!(table.is_some_and(|file| !routes::served(&file).is_empty()), "no route was found at all");
}

#[test]
fn words_stay_inside_the_layers_that_may_say_them() {
    hold(rules::words, Source::is_rust);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    hold(rules::unwrap, Source::is_product);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    hold(rules::allow, Source::is_rust);
}

#[test]
fn nothing_is_left_unfinished() {
    hold(rules::unfinished, Source::is_rust);
}

#[test]
fn a_result_thrown_away_has_a_comment_saying_why() {
    hold(rules::thrown_away, Source::is_product);
}

#[test]
fn no_file_names_a_place_on_one_machine_or_a_package_registry() {
    hold(rules::places, |_| true);
}

#[test]
fn prose_of_documents_has_lines_of_at_most_120_characters() {
    hold(documents::long_lines, Source::is_markdown);
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    hold(documents::dead_links, Source::is_markdown);
}

#[test]
fn every_path_that_a_document_names_is_there() {
    hold(documents::missing_paths, |file| {
        file.is_markdown() && !["CHANGELOG.md", "tests/fixtures/chat_templates/README.md"].contains(&file.path.as_str())
    });
}

#[test]
fn the_documents_to_begin_with_have_at_most_150_lines() {
    hold(documents::too_long_to_begin_with, |file| ["README.md", "docs/ARCHITECTURE.md"].contains(&file.path.as_str()));
}

#[test]
fn the_index_of_decisions_names_every_page() {
    let files = source::tree(root());

    assert_eq!(documents::missing_in_index(&files), Vec::<String>::new());
}

#[test]
fn the_newest_version_of_the_changelog_is_that_of_the_crate() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let titles: Vec<&str> = changelog.lines().filter_map(|line| line.strip_prefix("## ")).take(2).collect();

    assert_eq!(titles[0], "Unreleased");
    assert!(titles[1].starts_with(concat!(env!("CARGO_PKG_VERSION"), " - ")), "CHANGELOG.md: {}", titles[1]);
}

#[test]
fn engine_manifest_cargo_manifest_and_lock_name_the_same_versions() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));

    let problems = vendor::disagreements(&read("vendor/engine.toml"), &read("Cargo.toml"), &read("Cargo.lock"));

    assert_eq!(problems, Vec::<String>::new());
}
