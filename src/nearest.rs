//! "Did you mean": the words that a misspelt one is likely to stand for.

use std::mem;

/// The candidates that `word` may be a misspelling of, the nearest first; among equals, in the order given.
///
/// A candidate is near when at most a third of its letters, rounded up, must be inserted, deleted, replaced or
/// swapped with their neighbour to make it `word`. Case does not matter.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Vec<&'a str> {
    let mut near: Vec<_> = candidates
        .iter()
        .filter_map(|candidate| {
            let limit = candidate.len().div_ceil(3);
            // The length alone rules out nearly everything, and anything that is too long to compare.
            if word.len().abs_diff(candidate.len()) > limit {
                return None;
            }
            let edits = edit_distance(word.as_bytes(), candidate.as_bytes());
            (edits <= limit).then_some((edits, *candidate))
        })
        .collect();
    near.sort_by_key(|(edits, _)| *edits);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// All candidates: those that `word` may be a misspelling of, the nearest first, and then the others as they were.
pub fn nearest_first<'a>(word: &str, candidates: &[&'a str]) -> Vec<&'a str> {
    let mut list = nearest(word, candidates);
    let near = list.len();
    for candidate in candidates {
        if !list[..near].contains(candidate) {
            list.push(candidate);
        }
    }
    list
}

/// The number of edits between two words: the optimal string alignment distance of their bytes.
fn edit_distance(left: &[u8], right: &[u8]) -> usize {
    let is_same = |l: u8, r: u8| l.eq_ignore_ascii_case(&r);
    // Row `l` holds the distances between the first `l` bytes of `left` and each beginning of `right`.
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for l in 1..=left.len() {
        let mut row = vec![l];
        for r in 1..=right.len() {
            let replaced = last[r - 1] + usize::from(!is_same(left[l - 1], right[r - 1]));
            let mut edits = replaced.min(last[r] + 1).min(row[r - 1] + 1);
            let is_swapped = l > 1
                && r > 1
                && is_same(left[l - 1], right[r - 2])
                && is_same(left[l - 2], right[r - 1]);
            if is_swapped {
                let before: &Vec<usize> = &before_last;
                edits = edits.min(before[r - 2] + 1);
            }
            row.push(edits);
        }
        before_last = mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_insertions_deletions_replacements_and_swaps() {
        for (left, right, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("status", "status", 0),
            ("STATUS", "status", 0),
            ("statu", "status", 1),
            ("sstatus", "status", 1),
            ("stakus", "status", 1),
            ("sattus", "status", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(
                edit_distance(left.as_bytes(), right.as_bytes()),
                edits,
                "{left} {right}"
            );
        }
    }

    #[test]
    fn nearest_come_first_and_distant_ones_not_at_all() {
        let candidates = ["job_status", "task_status", "status", "heartbeat"];
        assert_eq!(nearest("statsu", &candidates), ["status"]);
        assert_eq!(
            nearest("jask_status", &candidates),
            ["task_status", "job_status"]
        );
        assert_eq!(
            nearest_first("task_statu", &candidates),
            ["task_status", "job_status", "status", "heartbeat"]
        );
        assert_eq!(nearest_first("reassign", &candidates), candidates);
        assert_eq!(nearest("reassign", &candidates), [""; 0]);
        assert_eq!(nearest("", &candidates), [""; 0]);
        assert_eq!(nearest(&"heartbeat".repeat(1 << 20), &candidates), [""; 0]);
    }
}
