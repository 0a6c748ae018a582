//! Jobs that complete, and their results.

use super::kit::{Folder, PLAIN, count, text};
use std::fs;

#[test]
fn word_count_is_that_of_a_direct_count() {
    let (folder, text) = (Folder::new(), text(4_000_000));
    folder.write("text", &text);
    assert_eq!(folder.run("word_count.py text").results(), count(&text));
}

/// The output does not depend on how the work is divided, nor on what fits into memory.
#[test]
fn results_are_the_same_however_the_job_is_cut() {
    let (folder, text) = (Folder::new(), text(300_000));
    folder.write("text", &text).write("plain.py", PLAIN);
    let with_combine = format!("{PLAIN}\ncombine = reduce\n");
    folder.write("combining.py", with_combine);
    let direct = count(&text);
    for options in [
        "--reduces 1 --workers 1 --memory-mb 1",
        "--reduces 5 --chunk-mb 0.003",
    ] {
        for module in ["plain.py", "combining.py", "word_count.py"] {
            let run = folder.run(&format!("{options} {module} text"));
            assert!(run.results() == direct, "{options} {module}");
        }
    }
}

/// Far more pairs than fit into the memory that the worker may use.
#[test]
fn maps_that_yield_more_than_fits_into_memory_sort_on_disk() {
    let folder = Folder::new();
    let module = "
def map(lines):
    for line in lines:
        for number in range(40_000):
            yield number * 7919 % 10_007, line

def reduce(key, values):
    yield key, [key, sum(map_line(value) for value in values)]

def map_line(value):
    return int(value)
";
    folder
        .write("module.py", module)
        .write("text", "1\n2\n3\n4\n5\n");
    let results = folder.run("--memory-mb 1 module.py text").results();
    let lines: Vec<&str> = results.lines().collect();
    assert_eq!(lines.len(), 10_007);
    assert_eq!(lines[0], "0\t[0,60]");
    assert!(
        lines[9].starts_with("9\t[9,"),
        "integers are sorted as such"
    );
}

#[test]
fn keys_may_be_strings_integers_and_tuples_and_partitions_the_users_own() {
    let folder = Folder::new();
    let module = r#"
from collections import Counter
counters = Counter()

def map(lines):
    for line in lines:
        counters["lines seen"] += 1
        yield (len(line), line[:1]), {"line": line}

def reduce(key, values):
    yield "tab\tback\\slash", [key[0], sorted(value["line"] for value in values)]

def partition(key, partitions):
    return key[0] % partitions
"#;
    folder
        .write("module.py", module)
        .write("text", "bb\na\nba\n");
    let output = folder.run("--reduces 2 --output out module.py text");
    assert_eq!(output.results(), "");
    let part = |name: &str| fs::read_to_string(folder.path("out").join(name)).expect("it is there");
    assert_eq!(
        part("part-00000.jsonl"),
        "[\"tab\\tback\\\\slash\",[2,[\"ba\",\"bb\"]]]\n"
    );
    assert_eq!(
        part("part-00001.jsonl"),
        "[\"tab\\tback\\\\slash\",[1,[\"a\"]]]\n"
    );
    assert_eq!(folder.names(), ["module.py", "out", "text"]);

    let printed = folder.run("--reduces 2 module.py text").results();
    assert!(
        printed.contains("tab\\tback\\slash\t[1,[\"a\"]]\n"),
        "{printed}"
    );
}

#[test]
fn modules_may_import_their_neighbours_whatever_their_names() {
    let folder = Folder::new();
    folder.write("worker.py", "PLACE = 'here'");
    let module = format!(
        "import worker\nassert worker.PLACE == 'here'\nprint('this is no result')\n{PLAIN}"
    );
    folder.write("local.py", module).write("text", "a b a");
    assert_eq!(folder.run("local.py text").results(), "a\t2\nb\t1\n");
}

/// A reader that goes away is no error.
#[test]
fn results_may_be_cut_off_by_their_reader() {
    let (folder, text) = (Folder::new(), text(500_000));
    folder.write("text", text);
    let mut run = folder.start("word_count.py text");
    drop(run.stdout.take());
    let run = super::kit::Run::from(run.wait_with_output());
    assert_eq!(run.status, Some(0), "{}", run.log);
    assert!(!run.log.contains("Traceback"), "{}", run.log);
}

#[test]
fn results_are_sorted_by_key_in_whichever_order_reduces_yield_them() {
    let folder = Folder::new();
    let module = format!(
        "{PLAIN}\nsums = reduce\ndef reduce(word, counts):\n    for word, sum in sums(word, counts):\n        yield -sum, word\n"
    );
    folder.write("module.py", module);
    let words: Vec<String> = (0..20_000)
        .map(|number| format!("w{}", number * 7919 % 6_000))
        .collect();
    folder.write("text", words.join(" "));
    let results = folder.run("--reduces 3 module.py text").results();
    let keys: Vec<i64> = results
        .lines()
        .map(|line| {
            line.split_once('\t')
                .expect("a tab")
                .0
                .parse()
                .expect("a key")
        })
        .collect();
    assert_eq!(keys.len(), 6_000);
    assert!(keys.is_sorted());
}
