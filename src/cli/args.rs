//! The command line in clap's terms, made from the table of options; clap's types are used nowhere else.

use super::{bench, rpc_worker::RpcWorker};
use crate::{
    build_info,
    config::{Flags, GROUPS, Kind, OptionSpec, options},
};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

/// The command that the user gave, with its options.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Invocation {
    /// Serve a model, or only check or print the configuration.
    Serve { flags: Flags, mode: ServeMode },
    /// Fetch a known model.
    Pull { name: String, models_dir: Option<PathBuf> },
    /// List models.
    Models { models_dir: Option<PathBuf> },
    /// Measure a server, or compare two measurements.
    Bench(bench::Action),
    /// Serve this machine's devices to an engine on another one.
    RpcWorker(RpcWorker),
    /// Run as the engine of the gateway with this process id.
    Engine { parent_pid: u32 },
    /// Run as the process in which the engine with this process id tries out constraints.
    ConstraintTrial { parent_pid: u32 },
}

/// The use that `serve` makes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServeMode {
    Run,
    Print,
    Check,
    Calibrate,
}

const EXIT_CODES: &str = "Exit codes: 0 all went well, 1 it failed, 64 the command line or the configuration is wrong.";

/// Reads the arguments (without the program). Aliases must have been replaced by llamero's own spelling already.
///
/// # Errors
/// clap's errors, which also stand for `--help` and `--version`.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Invocation, clap::Error> {
    let program = std::iter::once(OsString::from("llamero"));
    let mut matches = command().try_get_matches_from(program.chain(arguments))?;
    let (name, mut matches) = matches.remove_subcommand().expect("clap demands a subcommand");
    Ok(match name.as_str() {
        "serve" => serve_invocation(&mut matches),
        "pull" => {
            Invocation::Pull { name: matches.remove_one("name").expect("clap demands it"), models_dir: matches.remove_one("models_dir") }
        }
        "bench" => Invocation::Bench(bench::read(&mut matches)),
        "config" => config_invocation(&mut matches),
        "models" => Invocation::Models { models_dir: matches.remove_one("models_dir") },
        "rpc-worker" => Invocation::RpcWorker(RpcWorker {
            listen: matches.remove_one("listen").expect("it has a default"),
            cache_dir: matches.remove_one("cache_dir"),
            threads: matches.remove_one("threads"),
            insecure: matches.get_flag("insecure_rpc"),
        }),
        "constraint-trial" => Invocation::ConstraintTrial { parent_pid: parent_pid(&mut matches) },
        _ => Invocation::Engine { parent_pid: parent_pid(&mut matches) },
    })
}

fn parent_pid(matches: &mut ArgMatches) -> u32 {
    matches.remove_one("parent_pid").expect("clap demands it")
}

fn serve_invocation(matches: &mut ArgMatches) -> Invocation {
    let mode = if matches.get_flag("print_config") {
        ServeMode::Print
    } else if matches.get_flag("check_config") {
        ServeMode::Check
    } else if matches.get_flag("calibrate_only") {
        ServeMode::Calibrate
    } else {
        ServeMode::Run
    };
    let mut flags = Flags { config: matches.remove_one("config"), ..Flags::default() };
    for spec in options() {
        if let Some(values) = matches.remove_many::<String>(spec.key) {
            flags.values.push((spec.key, values.collect()));
        }
    }
    if let Some(model) = matches.remove_one::<String>("positional_model") {
        flags.values.push(("model", vec![model]));
    }
    Invocation::Serve { flags, mode }
}

/// `config check FILE` and `config show FILE` are `serve --check-config` and `--print-config` with that file.
fn config_invocation(matches: &mut ArgMatches) -> Invocation {
    let (name, mut matches) = matches.remove_subcommand().expect("clap demands a subcommand");
    let mode = if name == "check" { ServeMode::Check } else { ServeMode::Print };
    Invocation::Serve { flags: Flags { config: matches.remove_one("config"), ..Flags::default() }, mode }
}

fn command() -> Command {
    let models_dir = Arg::new("models_dir")
        .long("models-dir")
        .value_name("FOLDER")
        .value_parser(value_parser!(PathBuf))
        .help("Folder of the models [env: LLAMERO_MODELS_DIR; default: models/ of a checkout, else the user's data directory]");
    Command::new("llamero")
        .version(build_info::VERSION)
        .long_version(build_info::long_version())
        .about("An OpenAI-compatible inference server for GGUF models")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve_command())
        .subcommand(
            Command::new("pull")
                .about("Fetch a model of the catalog, verify it and print where it is")
                .arg(Arg::new("name").value_name("NAME").required(true).help("A name that `llamero models` lists"))
                .arg(models_dir.clone()),
        )
        .subcommand(Command::new("models").about("List the models of the catalog and of the models folder").arg(models_dir))
        .subcommand(config_command())
        .subcommand(bench::command())
        .subcommand(rpc_worker_command())
        .subcommand(child_command("engine"))
        .subcommand(child_command("constraint-trial"))
}

fn config_command() -> Command {
    let file = Arg::new("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A TOML file, as for `serve --config`; without it, the environment and the defaults [env: LLAMERO_CONFIG]");
    Command::new("config")
        .about("Check or show the configuration that a server would have")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("check").about("Report every problem of the configuration and of the model's file").arg(file.clone()))
        .subcommand(Command::new("show").about("Print every option as TOML, with where its value comes from; keys are not shown").arg(file))
}

fn rpc_worker_command() -> Command {
    Command::new("rpc-worker")
        .about("Serve this machine's devices to a server on another one (`serve --rpc`), for a model larger than one machine")
        .after_help("The protocol has neither keys nor encryption: use it on a private network alone. Both ends need the same llamero.")
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS:PORT")
                .value_parser(value_parser!(SocketAddr))
                .default_value("127.0.0.1:50052")
                .help("Address and port to listen on, IPv4; only loopback and private addresses"),
        )
        .arg(
            Arg::new("cache_dir")
                .long("cache-dir")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .help("Keep weights that were sent once in this folder, so that the next load does not send them again"),
        )
        .arg(
            Arg::new("threads")
                .long("threads")
                .short('t')
                .value_name("N")
                .value_parser(value_parser!(usize))
                .help("CPU threads of a worker without a GPU; by default the number of physical cores"),
        )
        .arg(
            Arg::new("insecure_rpc")
                .long("insecure-rpc")
                .action(ArgAction::SetTrue)
                .help("Listen on an address that others reach: whoever does can run what they like"),
        )
}

/// A command that only another process of this program runs: its standard input is the socket to that process.
fn child_command(name: &'static str) -> Command {
    let parent_pid = Arg::new("parent_pid").long("parent-pid").required(true).value_parser(value_parser!(u32));
    Command::new(name).hide(true).arg(parent_pid)
}

fn serve_command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Read options from this TOML file; environment and flags win over it [env: LLAMERO_CONFIG]");
    let look = |key: &'static str, help: &'static str| Arg::new(key).long(key.replace('_', "-")).action(ArgAction::SetTrue).help(help);
    let mut command = Command::new("serve")
        .about("Serve a model with an OpenAI-compatible API")
        .after_help(EXIT_CODES)
        .args_override_self(true)
        .arg(Arg::new("positional_model").value_name("MODEL").conflicts_with("model").help("Same as --model"))
        .arg(config)
        .arg(look("print_config", "Print the whole configuration as TOML, with where each value comes from, and end"))
        .arg(look("check_config", "Report every problem of the configuration and of the model's file, and end"))
        .arg(look("calibrate_only", "Load the model, measure what it takes on this machine, print the tables, and end"));
    for (title, specs) in GROUPS {
        command = command.next_help_heading(*title);
        for spec in *specs {
            command = command.arg(flag(spec));
        }
    }
    command
}

fn flag(spec: &'static OptionSpec) -> Arg {
    let default = if spec.default.is_empty() { String::new() } else { format!("default: {}; ", spec.default) };
    let also = if spec.flag_aliases.is_empty() { String::new() } else { format!("; also {}", spec.flag_aliases.join(", ")) };
    let arg = Arg::new(spec.key).long(spec.flag()).help(format!("{} [{default}env: {}{also}]", spec.help, spec.env()));
    match spec.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL"),
        // vLLM takes several names after one flag.
        Kind::List => arg.action(ArgAction::Append).num_args(1..).value_name("TEXT"),
        Kind::Secrets => arg.action(ArgAction::Append).value_name("KEY"),
        Kind::Integer { .. } | Kind::Number { .. } => arg.allow_negative_numbers(true).value_name("N"),
        Kind::Duration { .. } => arg.value_name("TIME"),
        Kind::Choice(words) => arg.value_name(words.join("|")),
        Kind::Text => arg.value_name("TEXT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parsed(arguments: &[&str]) -> Result<Invocation, ErrorKind> {
        parse(arguments.iter().map(OsString::from).collect()).map_err(|error| error.kind())
    }

    fn serve(arguments: &[&str]) -> (Flags, ServeMode) {
        match parsed(&[&["serve"], arguments].concat()) {
            Ok(Invocation::Serve { flags, mode }) => (flags, mode),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_names_every_option_with_its_variable_and_other_spellings() {
        let help = serve_command().term_width(0).render_long_help().to_string();

        for spec in options() {
            let line = format!("--{}", spec.flag());
            assert!(help.contains(&line) && help.contains(&spec.env()), "{line} with {}", spec.env());
            assert!(spec.flag_aliases.iter().all(|alias| help.contains(alias)), "{:?}", spec.flag_aliases);
        }
    }

    #[test]
    fn flags_become_settings_under_their_keys() {
        let (flags, mode) = serve(&["--port", "1", "--n-gpu-layers", "-1", "--api-key", "a", "--api-key", "b", "--insecure-no-auth"]);

        let expected: [(&str, &[&str]); 4] =
            [("n_gpu_layers", &["-1"]), ("port", &["1"]), ("insecure_no_auth", &["true"]), ("api_key", &["a", "b"])];
        let given: Vec<(&str, Vec<&str>)> =
            flags.values.iter().map(|(key, values)| (*key, values.iter().map(String::as_str).collect())).collect();
        assert_eq!(given, expected.map(|(key, values)| (key, values.to_vec())));
        assert_eq!(mode, ServeMode::Run);
    }

    #[test]
    fn the_model_may_stand_alone_and_the_last_of_a_repeated_flag_counts() {
        assert_eq!(serve(&["x.gguf"]).0.values, [("model", vec!["x.gguf".to_owned()])]);
        assert_eq!(serve(&["--port", "1", "--port", "2"]).0.values, [("port", vec!["2".to_owned()])]);
        assert_eq!(serve(&["--served-model-name", "a", "b"]).0.values, [("served_model_name", vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(serve(&["--check-config"]).1, ServeMode::Check);
        assert_eq!(serve(&["--calibrate-only"]).1, ServeMode::Calibrate);
        assert_eq!(serve(&["--config", "c.toml", "--print-config"]).0.config, Some(PathBuf::from("c.toml")));
        assert_eq!(parsed(&["serve", "x.gguf", "--model", "y.gguf"]), Err(ErrorKind::ArgumentConflict));
    }

    #[test]
    fn a_configuration_file_is_checked_and_shown_by_commands_of_their_own() {
        let file = || Flags { config: Some(PathBuf::from("c.toml")), ..Flags::default() };

        assert_eq!(parsed(&["config", "check", "c.toml"]), Ok(Invocation::Serve { flags: file(), mode: ServeMode::Check }));
        assert_eq!(parsed(&["config", "show", "c.toml"]), Ok(Invocation::Serve { flags: file(), mode: ServeMode::Print }));
        assert_eq!(parsed(&["config", "show"]), Ok(Invocation::Serve { flags: Flags::default(), mode: ServeMode::Print }));
    }

    #[test]
    fn other_commands_are_understood() {
        assert_eq!(parsed(&["pull", "tiny"]), Ok(Invocation::Pull { name: "tiny".into(), models_dir: None }));
        assert_eq!(parsed(&["models", "--models-dir", "m"]), Ok(Invocation::Models { models_dir: Some("m".into()) }));
        assert_eq!(parsed(&["engine", "--parent-pid", "7"]), Ok(Invocation::Engine { parent_pid: 7 }));
        let worker = RpcWorker { listen: SocketAddr::from(([10, 0, 0, 2], 9)), cache_dir: None, threads: Some(2), insecure: false };
        assert_eq!(parsed(&["rpc-worker", "--listen", "10.0.0.2:9", "-t", "2"]), Ok(Invocation::RpcWorker(worker)));
        assert_eq!(parsed(&["constraint-trial", "--parent-pid", "7"]), Ok(Invocation::ConstraintTrial { parent_pid: 7 }));
        assert_eq!(parsed(&["--version"]), Err(ErrorKind::DisplayVersion));
        assert_eq!(parsed(&["serve", "--no-such-flag"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(parsed(&["dance"]), Err(ErrorKind::InvalidSubcommand));
    }
}
