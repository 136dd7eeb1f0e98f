//! Grammars in GBNF, most of them in the style of llama.cpp's own examples.

use crate::{constrain::tests::Automaton, protocol::Constraint};

fn grammar(text: &str) -> Result<Automaton, String> {
    Automaton::new(&Constraint::Grammar(text.to_owned()))
}

#[track_caller]
fn check(text: &str, accepts: &[&str], rejects: &[&str]) {
    let automaton = grammar(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for accepted in accepts {
        assert!(automaton.accepts(accepted), "{accepted:?} is not accepted by {text}");
    }
    for rejected in rejects {
        assert!(!automaton.accepts(rejected), "{rejected:?} is accepted by {text}");
    }
}

#[test]
fn literals_classes_and_repetitions_mean_what_they_do_in_llama_cpp() {
    check("root ::= \"yes\" | \"no\"", &["yes", "no"], &["", "yesno", "y"]);
    check(r#"root ::= [a-c]+ [^x\n] . [-z] [\]\[]"#, &["abqq-]", "a\u{e9}\n-["], &["abxq-]", "ab\nq-]", "qq-]"]);
    check(r#"root ::= "\x41\u00e9\U0001F600\t\"\\" [\x30-\x39]{2} [日-本]?"#, &["Aé😀\t\"\\42", "Aé😀\t\"\\42日"], &["A42"]);
    check(r#"root ::= "a"{2} "b"{1,} "c"{0,2} "d"? "e"*"#, &["aab", "aabbbccdee"], &["ab", "aa", "aabccc"]);
    check("root ::= | \"a\"", &["", "a"], &["b"]);
}

#[test]
fn comments_lines_and_groups_are_where_llama_cpp_has_them() {
    let text = "# first\r\nroot ::= (  # a comment\n  item |\n  \"x\"\n) tail\n\nitem ::= \"a\" |\n  \"b\"\ntail_1 ::= \"unused\"\ntail ::= \"!\" # end";
    check(text, &["a!", "b!", "x!"], &["a", "!"]);
}

#[test]
fn chains_of_rules_that_do_not_recurse_are_regular_and_exact() {
    // If each part took its longest match, `word` would swallow the `end`.
    let text = "root ::= word \"end\" | list\nword ::= [a-z]+\nlist ::= (\"- \" word \"\\n\")+\n";
    check(text, &["xend", "endend", "- a\n- b\n"], &["end", "- a", "x"]);
}

#[test]
fn recursive_rules_work() {
    let arithmetic = "root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+\n";
    check(arithmetic, &["1", "1+2*3", "((1)-(20/3))"], &["", "1+", "(1", "a"]);
    let left = "root ::= list\nlist ::= list \",\" item | item\nitem ::= [a-z]\n";
    check(left, &["a", "a,b,c"], &["", "a,", "ab"]);
    let counted = "root ::= pair{2,3}\npair ::= \"(\" pair? \")\"\n";
    check(counted, &["()()", "(())()()"], &["()", "()()()()"]);
}

#[test]
fn the_json_grammar_of_llama_cpp_works() {
    let json = r#"root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"#;
    check(
        json,
        &["{}", r#"{"a":1}"#, "{\n  \"a\": [1, -2.5e+3, \"x\\u00e9\\n\"],\n  \"b\": {\"c\": null}\n}"],
        &["[]", "{", r#"{"a":01}"#, r#"{"a" 1}"#, r#"{"a":1,}"#],
    );
}

#[test]
fn a_text_that_is_no_gbnf_is_refused_with_its_line() {
    let cases = [
        ("root ::= missing", "no rule 'missing'"),
        ("start ::= \"a\"", "no rule 'root'"),
        ("root ::= \"a\"\nroot ::= \"b\"", "line 2 of the grammar: the rule 'root' is defined twice"),
        ("root ::= \"a", "ends inside"),
        ("root ::= [a", "ends inside"),
        ("root ::= []", "is empty"),
        ("root ::= [z-a]", "is empty"),
        ("root ::= (\"a\"", "expected ')'"),
        ("root ::= \"a\")", "unexpected ')'"),
        ("root ::= *", "nothing before it"),
        ("root ::= \"a\"{3,2}", "n up to m"),
        ("root ::= \"a\"{99999}", "up to 2000"),
        ("root ::= \"\\q\"", "unknown escape"),
        ("root ::= \"\\u12\"", "hexadecimal"),
        ("root ::= \"\\ud800\"", "hexadecimal"),
        ("root ::= <think>", "tokens are not supported"),
        ("root ::= \"a\"\nother \"a\" ::= b", "expected '::='"),
        ("root ::= \"a\"\n\n?? ::= b", "line 3"),
    ];
    for (text, expected) in cases {
        let error = grammar(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_lark_grammar_that_mentions_the_sign_is_lark() {
    assert!(super::is_gbnf("# a comment\n  root-1 ::= \"a\"") && !super::is_gbnf("start: \"a ::= b\""));
    check("start: \"a ::= b\"", &["a ::= b"], &["a"]);
}
