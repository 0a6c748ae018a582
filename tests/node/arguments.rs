//! The command line.

use crate::process::{Ended, command, heartbeat, heartbeat_ok, run};
use mapreduce_master::wire::TYPES;

fn assert_refused(ended: &Ended) {
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert_eq!(ended.log().len(), 1, "{ended:?}");
    assert!(ended.log.ends_with('\n'), "{ended:?}");
    assert!(ended.replies.is_empty(), "{ended:?}");
}

#[test]
fn any_other_argument_is_refused_in_one_line() {
    for arguments in [
        &["--nope"][..],
        &["-h"],
        &["-q"],
        &["help"],
        &[""],
        &["-"],
        &["--"],
        &["--quiet=yes"],
        &["--quiet", "--nope"],
        &["--nope", "--quiet"],
        &["two\nlines"],
    ] {
        assert_refused(&run(arguments, heartbeat(1)));
    }
}

#[test]
fn the_refused_argument_is_named() {
    assert!(run(&["--nope"], "").log.contains("--nope"));
}

#[cfg(unix)]
#[test]
fn argument_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let argument = std::ffi::OsStr::from_bytes(b"--\xff");
    let child = command(&[]).arg(argument).spawn();
    let session = crate::process::Session::of(child.expect("the binary runs"));
    assert_refused(&session.end());
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
    let ended = run(&["--version"], heartbeat(1));
    let version = concat!("mapreduce-master ", env!("CARGO_PKG_VERSION"));
    assert_eq!(ended.replies(), [version]);
    assert_eq!(ended.log, "");
}

#[test]
fn help_and_version_do_not_wait_for_input() {
    for argument in ["--help", "--version"] {
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
