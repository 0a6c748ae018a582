//! The command line.

use crate::process::{Ended, command, heartbeat, heartbeat_ok, run};
use mapreduce_master::wire::TYPES;

fn assert_refused(ended: &Ended) {
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert_eq!(ended.log().len(), 1, "{ended:?}");
    assert!(ended.log.ends_with('\n'), "{ended:?}");
    assert!(ended.replies.is_empty(), "{ended:?}");
}

/// What stderr says about a command line that is refused, without the program's name and the reference to help.
fn refusal(arguments: &[&str]) -> String {
    let ended = run(arguments, heartbeat(1));
    assert_refused(&ended);
    let said = ended.log.strip_prefix("mapreduce-master: ");
    let said = said.and_then(|said| said.strip_suffix("; see --help\n"));
    said.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
}

#[test]
fn unknown_option_is_refused_and_named() {
    assert_eq!(refusal(&["--nope"]), r#"unknown option "--nope""#);
    assert_eq!(refusal(&["-x"]), r#"unknown option "-x""#);
    assert_eq!(
        refusal(&["--quiet", "--nope"]),
        r#"unknown option "--nope""#
    );
    assert_eq!(
        refusal(&["--two\nlines"]),
        r#"unknown option "--two\nlines""#
    );
}

#[test]
fn misspelt_option_is_refused_with_the_nearest() {
    for (wrong, right) in [
        ("--quite", "--quiet"),
        ("--QUIET", "--quiet"),
        ("-quiet", "--quiet"),
        ("--jornal", "--journal"),
        ("--jornal=j", "--journal"),
        ("--journal-snyc", "--journal-sync"),
        ("--hlep", "--help"),
        ("--versoin", "--version"),
    ] {
        let said = refusal(&[wrong]);
        assert!(
            said.ends_with(&format!("; did you mean {right}?")),
            "{said}"
        );
    }
}

#[test]
fn option_given_twice_is_refused() {
    for arguments in [
        &["--quiet", "--quiet"][..],
        &["-q", "--quiet"],
        &["--journal", "a", "--journal=b"],
    ] {
        assert!(refusal(arguments).ends_with("is given twice; give it once"));
    }
}

#[test]
fn option_without_its_value_is_refused() {
    assert_eq!(refusal(&["--journal"]), "--journal needs a value");
    for arguments in [&["--journal", ""][..], &["--journal="]] {
        let wanted = "the value of --journal is empty; give one, or leave --journal out";
        assert_eq!(refusal(arguments), wanted);
    }
    assert_eq!(
        refusal(&["--journal", "--quiet"]),
        r#"--journal needs a value, and "--quiet" looks like an option; if it is the value, write --journal=VALUE"#
    );
    assert!(refusal(&["--journal", "--"]).starts_with("--journal needs a value"));
    assert!(!std::path::Path::new("--quiet").exists());
}

#[test]
fn value_that_an_option_does_not_take_is_refused() {
    assert_eq!(
        refusal(&["--quiet=yes"]),
        "--quiet takes no value; write --quiet"
    );
    assert_eq!(refusal(&["--help="]), "--help takes no value; write --help");
    assert_eq!(
        refusal(&["--journal=j", "--journal-sync=always"]),
        r#"--journal-sync must be batch or never, not "always""#
    );
    assert_eq!(
        refusal(&["--journal-sync=never"]),
        "--journal-sync needs --journal FILE"
    );
}

#[test]
fn file_as_an_argument_is_refused_with_the_way_to_give_it() {
    for file in ["requests.jsonl", "", "-", "two\nlines"] {
        let wanted =
            format!("unexpected argument {file:?}: the node reads standard input; try `< FILE`");
        assert_eq!(refusal(&[file]), wanted);
        assert_eq!(refusal(&["--quiet", "--", file]), wanted);
    }
    assert!(refusal(&["--", "--quiet"]).starts_with("unexpected argument"));
    for word in ["help", "version"] {
        let wanted = format!("unknown command {word:?}; did you mean --{word}?");
        assert_eq!(refusal(&[word]), wanted);
    }
}

#[test]
fn short_options_and_values_behind_an_equals_sign_are_taken() {
    let journal = crate::process::unused_path("arguments");
    let options = [
        &*format!("--journal={journal}"),
        "--journal-sync=never",
        "-q",
        "--",
    ];
    assert_eq!(run(&options, heartbeat(1)).replies(), [heartbeat_ok(1)]);
    assert!(std::fs::remove_file(journal).is_ok());
}

#[cfg(unix)]
#[test]
fn argument_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    for argument in [&b"--\xff"[..], b"--journal=\xff", b"\xff"] {
        let argument = std::ffi::OsStr::from_bytes(argument);
        let child = command(&[]).arg(argument).spawn();
        let session = crate::process::Session::of(child.expect("the binary runs"));
        assert_refused(&session.end());
    }
}

#[test]
fn help_lists_options_and_message_types() {
    let ended = run(&["--help"], heartbeat(1));
    let help = ended.replies().join("\n");
    assert_eq!(ended.log, "");
    assert!(help.contains("mapreduce-master"), "{help}");
    for option in ["--help", "--version", "--quiet"] {
        assert!(help.contains(option), "{option} is not in\n{help}");
    }
    for kind in TYPES {
        let mut words = help.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        assert!(words.any(|word| word == kind), "{kind} is not in\n{help}");
    }
}

#[test]
fn version_is_the_packages() {
    for argument in ["--version", "-V"] {
        let ended = run(&[argument], heartbeat(1));
        let version = concat!("mapreduce-master ", env!("CARGO_PKG_VERSION"));
        assert_eq!(ended.replies(), [version]);
        assert_eq!(ended.log, "");
    }
}

#[test]
fn help_and_version_do_not_wait_for_input() {
    for argument in ["--help", "-h", "--version", "-V"] {
        let session = crate::process::Session::start(&[argument]);
        let ended = session.wait();
        assert_eq!(ended.status, Some(0));
    }
}

#[test]
fn quiet_says_nothing_of_workers_but_still_what_is_dropped() {
    let check = r#"{"type": "check_failures", "msg_id": 2, "timeout_ms": 0, "now": 1}"#;
    let input = heartbeat(1) + check + "\nno object\n" + &heartbeat(3);
    let ended = run(&["--quiet"], input);
    let replies = ended.replies();
    assert_eq!(
        (replies[0], replies[2]),
        (&*heartbeat_ok(1), &*heartbeat_ok(3))
    );
    assert_eq!(ended.log().len(), 1, "{}", ended.log);
    assert!(ended.log.contains("line 3"), "{}", ended.log);
}
