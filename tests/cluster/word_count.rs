//! What the cluster computes: how often each word occurs in a text; and the text.

use super::random::Random;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

const WORDS: usize = 100_000;
const VOCABULARY: usize = 6_000;

/// Words that JSON has to escape, or that are more bytes than letters.
const AWKWARD: [&str; 8] = [
    "don't", "\"hark\"", "C:\\dir", "naïve", "日本", "🦀", "</p>", "\u{7f}",
];

/// Words made of syllables, as often as in a natural language: the n-th most frequent one about 1/n as often
/// as the first (Zipf's law).
pub static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut random = Random::new(2004);
    let vocabulary: Vec<String> = (0..VOCABULARY)
        .map(|rank| match rank {
            100..108 => AWKWARD[rank - 100].to_owned(),
            _ => word(&mut random, 1 + (rank + 1).ilog10() as usize),
        })
        .collect();
    let mut total = 0;
    let up_to: Vec<u64> = (0..VOCABULARY as u64)
        .map(|rank| {
            total += 1_000_000_000 / (rank + 2);
            total
        })
        .collect();
    let words: Vec<&str> = (0..WORDS)
        .map(|_| {
            let drawn = random.below(total);
            &*vocabulary[up_to.partition_point(|end| *end <= drawn)]
        })
        .collect();
    words.join(" ")
});

fn word(random: &mut Random, syllables: usize) -> String {
    const ONSETS: [&str; 12] = ["", "b", "d", "f", "k", "l", "m", "n", "r", "s", "t", "th"];
    const RHYMES: [&str; 10] = ["a", "e", "i", "o", "u", "an", "er", "is", "on", "ut"];
    let mut pick = |from: &[&'static str]| {
        let at = random.below(from.len() as u64);
        from[usize::try_from(at).expect("it is an index")]
    };
    (0..syllables)
        .flat_map(|_| [pick(&ONSETS), pick(&RHYMES)])
        .collect()
}

/// The text in that many pieces of about the same number of words.
pub fn chunks(text: &str, count: usize) -> Vec<String> {
    let words: Vec<&str> = text.split(' ').collect();
    words
        .chunks(words.len().div_ceil(count))
        .map(|piece| piece.join(" "))
        .collect()
}

/// The direct count, which every job has to arrive at.
pub fn count<'a>(texts: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, u64> {
    let mut counts = HashMap::new();
    for word in texts.into_iter().flat_map(|text| text.split(' ')) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// A map: the counts of a chunk, each word's in its partition.
pub fn map(chunk: &str, partitions: usize) -> Value {
    let mut output = vec![Map::new(); partitions];
    for (word, count) in count([chunk]) {
        output[partition_of(word, partitions)].insert(word.to_owned(), json!(count));
    }
    Value::Array(output.into_iter().map(Value::Object).collect())
}

/// A reduce: the sums of the counts that the maps have for its partition.
pub fn reduce<'a>(outputs: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut sums = HashMap::<&str, u64>::new();
    for (word, count) in outputs.into_iter().flat_map(entries) {
        *sums.entry(word).or_default() += count;
    }
    json!(sums)
}

/// The sums of a job's outputs. Panics where a word is found in a partition that is not its own.
pub fn merge(outputs: &[Value]) -> HashMap<&str, u64> {
    let mut counts = HashMap::new();
    for (partition, output) in outputs.iter().enumerate() {
        for (word, count) in entries(output) {
            let its_own = partition_of(word, outputs.len());
            assert_eq!(partition, its_own, "the partition of {word:?}");
            counts.insert(word, count);
        }
    }
    counts
}

fn entries(counts: &Value) -> impl Iterator<Item = (&str, u64)> {
    let entries = counts.as_object().expect("counts are an object");
    entries
        .iter()
        .map(|(word, count)| (&**word, count.as_u64().expect("a count is a number")))
}

/// FNV-1a: the same for every worker, as a partition function has to be.
fn partition_of(word: &str, partitions: usize) -> usize {
    let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % partitions as u64).expect("it is less than a usize")
}
