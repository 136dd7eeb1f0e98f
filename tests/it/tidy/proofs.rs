//! Proofs that each rule of `tidy` can fail, and that it raises no false alarm: small files given to the rule
//! functions.

use super::{
    circles, documents, imports, names, routes,
    rules::{self, Rule},
    source::{Source, blank},
    vendor,
};

/// Lines of `text`, at `path`, in which `rule` finds an offence.
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|offence| offence.line).collect()
}

#[test]
fn size_refuses_line_501_and_takes_line_500() {
    assert_eq!(lines(rules::size, "src/a.rs", &"x\n".repeat(500)), Vec::<usize>::new());
    assert_eq!(lines(rules::size, "src/a.rs", &"x\n".repeat(501)), [501]);
}

#[test]
fn long_comments_refuses_every_kind_of_comment_but_no_table_code_or_address() {
    let long = "word ".repeat(25);
    for text in [format!("    /// {long}\n"), format!("//! {long}\n"), format!("  // {long}\n")] {
        assert_eq!(lines(rules::long_comments, "src/a.rs", &text), [1], "{text}");
    }
    let fine = format!("//! ```\n//! {long}\n//! ```\n/// | {long} |\n// https://a.b/{}\n", "x".repeat(120));
    assert_eq!(lines(rules::long_comments, "src/a.rs", &fine), Vec::<usize>::new());
    assert_eq!(lines(rules::long_comments, "src/a.rs", &format!("/// {}\n", "x ".repeat(58))), Vec::<usize>::new());
}

#[test]
fn clauses_refuse_a_comment_that_begins_with_one_and_take_the_word_elsewhere() {
    let text = "//! What it is.\n/// A size.\n    // Whether it fits.\nfn f() {} // Why?\n/// Whatsoever, see what it is.\n";
    assert_eq!(lines(rules::clauses, "src/a.rs", text), [1, 3]);
}

/// The circles among `files`, each as one text.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    circles::circles(&files.iter().collect::<Vec<_>>()).iter().map(ToString::to_string).collect()
}

#[test]
fn circles_are_found_through_other_files_and_folders_and_only_where_nobody_explains_them() {
    let [a, c] = [("src/a.rs", "use crate::b::B;"), ("src/c.rs", "use super::a;")];
    let through_folder = ("src/b/mod.rs", "mod d;\npub use d::B;");

    assert_eq!(circles_of(&[a, ("src/b/mod.rs", "mod d;"), ("src/b/d.rs", "use super::B;"), c]), Vec::<String>::new());
    let found = circles_of(&[a, through_folder, ("src/b/d.rs", "use crate::c;"), c]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("src/a.rs src/b/mod.rs src/b/d.rs src/c.rs"), "{found:?}");
    assert_eq!(circles_of(&[a, through_folder, ("src/b/d.rs", "// Import circle: because.\nuse crate::c;"), c]), Vec::<String>::new());
}

#[test]
fn a_repeated_type_name_is_refused_whatever_its_kind_and_visibility_and_local_types_are_taken() {
    let repeated = |second: &str| -> Vec<usize> {
        let files = [Source::new("src/a.rs", "pub struct Row<T> {\n    t: T,\n}\n"), Source::new("src/b.rs", second)];
        names::repeated_types(&files.iter().collect::<Vec<_>>()).iter().map(|offence| offence.line).collect()
    };

    for second in ["struct Row;", "pub enum Row {}", "pub(super) trait Row: Copy {}", "pub(in crate::api) type Row<'a> = &'a u8;"] {
        assert_eq!(repeated(&format!("//! A.\n{second}\n")), [2], "{second}");
    }
    for second in ["struct Rows;", "impl A for B {\n    type Row = u8;\n}", "// struct Row;", "#[cfg(test)]\nstruct Row;", "fn row() {}"] {
        assert_eq!(repeated(second), Vec::<usize>::new(), "{second}");
    }
}

#[test]
fn header_refuses_code_item_docs_and_plain_comments_first() {
    for text in ["use a;\n", "/// An item.\nfn f() {}\n", "// Comment.\n", "\n//! Late.\n", ""] {
        assert_eq!(lines(rules::header, "src/a.rs", text), [1], "{text:?}");
    }
    assert_eq!(lines(rules::header, "src/a.rs", "//! What it is.\n"), Vec::<usize>::new());
}

#[test]
fn directions_refuse_every_edge_that_the_picture_does_not_have() {
    for (path, text) in [
        ("src/api/error.rs", "use crate::llama::Model;"),
        ("src/api/router.rs", "use crate::engine::scheduler::Scheduler;"),
        ("src/gateway/handle.rs", "use crate::api::error::ApiError;"),
        ("src/gateway/keys.rs", "fn f() { crate::engine::worker::run() }"),
        ("src/gateway/mod.rs", "use crate::llama;"),
        ("src/protocol/frame.rs", "use crate::sampling::Sampler;"),
        ("src/engine/worker.rs", "use crate::{gateway::handle, protocol};"),
        ("src/engine/worker.rs", "use crate::config;"),
        ("src/engine/worker.rs", "use crate::llama::Runner;"),
        ("src/sampling/draw.rs", "use super::super::engine::runner;"),
        ("src/sampling/mod.rs", "use super::engine::runner;"),
        ("src/llama/runner.rs", "use crate::{protocol::Token, engine::{runner::ModelRunner, scheduler}};"),
        ("src/llama/runner.rs", "use crate::engine::worker as w;"),
        ("src/engine/process.rs", "use crate::gateway;"),
    ] {
        assert_eq!(lines(imports::directions, path, text), [1], "{path}: {text}");
    }
}

#[test]
fn directions_name_the_line_of_each_offender() {
    let text = "//! A.\nuse crate::protocol::{\n    Token,\n};\nuse crate::{\n    api::error,\n    gateway,\n};\nuse crate::cli;\n";

    assert_eq!(lines(imports::directions, "src/engine/worker.rs", text), [5, 5, 9]);
}

#[test]
fn directions_refuse_a_new_module_that_the_table_does_not_know() {
    assert_eq!(lines(imports::directions, "src/cache/mod.rs", "//! A.\n"), [1]);
}

#[test]
fn directions_take_what_the_picture_has() {
    for (path, text) in [
        ("src/api/error.rs", "use crate::{gateway::error::SubmitError, protocol::*, config::ApiConfig};"),
        ("src/gateway/keys.rs", "use super::limits; use crate::config::KeyConfig;"),
        ("src/engine/text/mod.rs", "use super::super::engine::runner; use super::runner; use crate::sampling::Sampler;"),
        ("src/engine/process.rs", "use crate::{llama::Runner, protocol::frame};"),
        ("src/llama/runner.rs", "use crate::engine::runner::{self, ModelRunner};"),
        ("src/cli/serve.rs", "use crate::{api, gateway, llama, engine, models};"),
        (
            "src/engine/worker.rs",
            "// use crate::api;\nconst A: &str = \"crate::api\";\n#[cfg(test)]\nmod tests { use crate::llama::Runner; }",
        ),
        ("src/api/openai/mod.rs", "mod models; use self::models::list; use super::error;"),
        ("src/lib.rs", "pub mod api;"),
    ] {
        assert_eq!(lines(imports::directions, path, text), Vec::<usize>::new(), "{path}: {text}");
    }
}

#[test]
fn words_refuse_llama_cpp_and_unsafe_outside_their_folder() {
    let text = "//! A.\nuse llama_cpp_2::model;\nuse llama_cpp_sys_2 as sys;\nfn f() { unsafe { g() } }\n";

    for path in ["src/engine/worker.rs", "src/cli/serve.rs", "tests/it/streams.rs", "build.rs"] {
        assert_eq!(lines(rules::words, path, text), [2, 3, 4], "{path}");
    }
    for path in ["src/llama/raw.rs", "tests/it/model/oracle.rs"] {
        assert_eq!(lines(rules::words, path, text), Vec::<usize>::new(), "{path}");
    }
}

#[test]
fn words_refuse_http_json_and_clocks_where_they_are_not_known() {
    for (path, text) in [
        ("src/gateway/limits.rs", "use axum::http;"),
        ("src/gateway/limits.rs", "fn f() -> StatusCode {}"),
        ("src/engine/worker.rs", "serde_json::to_string(&a)"),
        ("src/engine/scheduler/plan.rs", "use std::time::Instant;"),
        ("src/engine/scheduler/plan.rs", "std::time::SystemTime::now()"),
    ] {
        assert_eq!(lines(rules::words, path, text), [1], "{path}: {text}");
    }
    for (path, text) in [
        ("src/api/limits.rs", "use axum::http::StatusCode;"),
        ("src/models/pull/tests.rs", "use axum::Router;"),
        ("src/gateway/limits.rs", "#[cfg(test)]\nmod tests { use axum::Router; }"),
        ("src/engine/worker.rs", "use std::time::Instant;"),
        ("src/engine/scheduler/plan.rs", "// No Instant here.\nlet unsafe_code = InstantNoodle;"),
    ] {
        assert_eq!(lines(rules::words, path, text), Vec::<usize>::new(), "{path}: {text}");
    }
}

#[test]
fn unwrap_is_refused_in_the_product_and_taken_in_tests_and_words() {
    let text = "fn f() { a.unwrap(); }\n#[cfg(test)]\nmod tests {\n    fn g() { b.unwrap(); }\n}\nfn h() { c\n    .unwrap() }\n";

    assert_eq!(lines(rules::unwrap, "src/api/a.rs", text), [1, 7]);
    assert_eq!(lines(rules::unwrap, "src/api/a.rs", "// a.unwrap()\na.unwrap_or(1);\n\"a.unwrap()\""), Vec::<usize>::new());
}

#[test]
fn allow_is_refused_and_expect_taken() {
    assert_eq!(lines(rules::allow, "src/a.rs", "#![allow(dead_code)]\n#[allow(unused)]\nfn f() {}\n"), [1, 2]);
    assert_eq!(lines(rules::allow, "src/a.rs", "#[expect(unused, reason = \"#[allow(\")]\nfn f() {}\n"), Vec::<usize>::new());
}

#[test]
fn unfinished_refuses_what_panics_for_want_of_code() {
    assert_eq!(lines(rules::unfinished, "src/a.rs", "todo!()\nunimplemented!(\"a\")\ndbg!(a)\n// todo!()\n"), [1, 2, 3]);
}

#[test]
fn a_thrown_away_result_needs_a_comment_on_its_line_or_close_above() {
    let bad = "// Far.\nf();\nf();\nlet _ = g();\nlet _ = h();\n";
    let good = "// The peer may be gone.\nlet _ = g();\nlet _ = h();\nf();\nlet _ = g(); // As above.\nlet _guard = h();\n";

    assert_eq!(lines(rules::thrown_away, "src/a.rs", bad), [4, 5]);
    assert_eq!(lines(rules::thrown_away, "src/a.rs", good), Vec::<usize>::new());
}

#[test]
fn places_are_refused_in_any_file() {
    for halves in rules::PLACES {
        let text = format!("one\ntwo {}x\n", halves.concat());
        for path in ["README.md", "src/a.rs", "scripts/serve"] {
            assert_eq!(lines(rules::places, path, &text), [2], "{path}: {text}");
        }
    }
}

#[test]
fn blanking_keeps_lines_and_code_and_drops_comments_and_literals() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */\nd */ e", "a             \n     e"),
        (r#"f("a\"b") + g"#, r"f(      ) + g"),
        ("r#\"a\"b\"# + c", "r#     # + c"),
        ("'a' + '\\'' + 'b'", "    +      +    "),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        ("'{' }", "    }"),
    ] {
        assert_eq!(blank(text), code, "{text}");
    }
}

#[test]
fn vendor_versions_must_agree_in_all_three_files() {
    let engine = |sys: &str| {
        let entry = |name: &str, version: &str| format!("[{name}]\nversion = \"{version}\"\nwhy = \"w\"\n");
        [entry("llama-cpp-2", "1.0.1"), entry("llama-cpp-sys-2", sys), entry("ggml", "0.1.0")].concat()
    };
    let manifest = |pin: &str| format!("[dependencies]\nllama-cpp-2 = {{ version = \"{pin}\" }}\nllama-cpp-sys-2 = \"=1.0.2\"\n");
    let package = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
    let lock = |version: &str| [package("llama-cpp-2", version), package("llama-cpp-sys-2", "1.0.2")].concat();
    let problems = |engine: String, manifest: String, lock: String| vendor::disagreements(&engine, &manifest, &lock).len();

    assert_eq!(problems(engine("1.0.2"), manifest("=1.0.1"), lock("1.0.1")), 0);
    assert_eq!(problems(engine("1.0.2"), manifest("1.0.1"), lock("1.0.1")), 1, "a version that is not pinned");
    assert_eq!(problems(engine("1.0.2"), manifest("=1.0.1"), lock("1.0.3")), 1, "another one in the lock");
    assert_eq!(problems(engine("1.0.3"), manifest("=1.0.1"), lock("1.0.1")), 2, "another one in engine.toml");
    assert_eq!(problems(engine("1.0.2"), manifest("=1.0.1"), lock("1.0.1") + &package("llama-cpp-2", "1.0.0")), 1, "two in the lock");
}

#[test]
fn routes_refuse_a_path_that_is_given_beside_the_table() {
    let lines = |path: &str, text: &str| -> Vec<usize> {
        routes::beside_the_table(&Source::new(path, text)).iter().map(|offence| offence.line).collect()
    };

    assert_eq!(lines("src/api/a.rs", "//! A.\nf()\n    .route(\"/c\", get(c));\n"), [3]);
    assert_eq!(lines("src/api/a.rs", "//! A.\nf().nest(\"/a\", x);\n"), [2]);
    assert_eq!(lines(routes::TABLE, "//! A.\nf().route(row.path, get(c));\n"), [0; 0]);
    assert_eq!(lines("src/api/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    fn f() { f().route(\"/c\", c) }\n}\n"), [0; 0]);
}

#[test]
fn long_prose_is_refused_and_long_rows_code_and_addresses_are_taken() {
    let long = "a".repeat(documents::MAX_LINE_CHARS + 1);
    let row = format!("| {long} |\n");
    let text = format!("{}\n{long}\n{row}```\n{long}\n```\nhttps://{long}\n  {long}\n", &long[1..]);

    assert_eq!(lines(documents::long_lines, "docs/A.md", &text), [2, 8]);
}

#[test]
fn links_are_refused_that_lead_to_no_file_or_to_no_heading() {
    let text =
        "# The `--a` one\n[a](#the---a-one) [b](#no)\n[c](../README.md) [d](NO.md)\n```\n[e](NO.md)\n```\n| [f](../README.md#no) |\n";

    assert_eq!(lines(documents::dead_links, "docs/A.md", text), [2, 3, 7]);
}

#[test]
fn a_path_that_is_not_there_is_refused_and_a_pattern_is_taken() {
    let text = "`src/lib.rs` `src/no.rs`\n`models/*.gguf` `no/a.rs`\n`docs/NO.md`\n";

    assert_eq!(lines(documents::missing_paths, "docs/A.md", text), [1, 3]);
}

#[test]
fn a_decision_that_the_index_does_not_name_is_found() {
    let page = |name: &str, text: &str| Source::new(&format!("docs/decisions/{name}"), text);
    let files = [page("README.md", "[one](0001-a.md)"), page("0001-a.md", ""), page("0002-b.md", "")];

    assert_eq!(documents::missing_in_index(&files), ["0002-b.md"]);
}
