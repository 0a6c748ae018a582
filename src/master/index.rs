//! Names to dense numbers, and dense numbers made dense again.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Finds what is numbered by its name, in one hash look-up, without a second copy of the name.
///
/// A `HashMap<Box<str>, T>` would hold every name twice, here and where it is written out from. So the map's
/// key is the name's hash, made by std's keyed hasher; the caller says which name belongs to a number. Where two
/// names have one hash, the later one goes to the next free key. Nothing depends on the order of the keys.
#[derive(Debug)]
pub struct Index<T> {
    numbers: HashMap<u32, T, BuildHasherDefault<Spread>>,
    keys: RandomState,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            numbers: HashMap::default(),
            keys: RandomState::new(),
        }
    }
}

impl<T: Copy> Index<T> {
    /// The number of that name.
    pub fn find<'n>(&self, name: &str, name_of: impl Fn(T) -> &'n str) -> Option<T> {
        self.find_key(name, name_of)
            .and_then(|key| self.numbers.get(&key).copied())
    }

    /// Adds a name that is not there yet.
    pub fn insert(&mut self, name: &str, number: T) {
        let mut key = self.first_key(name);
        while self.numbers.contains_key(&key) {
            key = key.wrapping_add(1);
        }
        self.numbers.insert(key, number);
    }

    /// Removes a name. `name_of` still has to know it.
    pub fn remove<'n>(&mut self, name: &str, name_of: impl Fn(T) -> &'n str) {
        let Some(mut key) = self.find_key(name, &name_of) else {
            return;
        };
        self.numbers.remove(&key);
        // Those behind it may stand there only because its place was taken.
        key = key.wrapping_add(1);
        while let Some(number) = self.numbers.remove(&key) {
            self.insert(name_of(number), number);
            key = key.wrapping_add(1);
        }
    }

    /// Makes room for `additional` names at once.
    pub fn reserve(&mut self, additional: usize) {
        self.numbers.reserve(additional);
    }

    fn find_key<'n>(&self, name: &str, name_of: impl Fn(T) -> &'n str) -> Option<u32> {
        let mut key = self.first_key(name);
        loop {
            let number = *self.numbers.get(&key)?;
            if name_of(number) == name {
                return Some(key);
            }
            key = key.wrapping_add(1);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    fn first_key(&self, name: &str) -> u32 {
        self.keys.hash_one(name) as u32
    }
}

/// Hashes a hash: to itself, in both halves, since the map looks at the lowest bits and at the highest ones.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u32(&mut self, hash: u32) {
        self.0 = u64::from(hash) << 32 | u64::from(hash);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Which of `count` numbers are not free.
pub fn mark_used(count: usize, free: Vec<u32>) -> Vec<bool> {
    let mut is_used = vec![true; count];
    for number in free {
        is_used[number as usize] = false;
    }
    is_used
}

/// Keeps the elements whose numbers are used.
pub fn retain_used<T>(list: &mut Vec<T>, is_used: &[bool]) {
    let mut is_used = is_used.iter();
    list.retain(|_| is_used.next() == Some(&true));
}

#[cfg(test)]
mod tests {
    use super::Index;

    /// Of so many names some have the same hash: about ten pairs of them, and none once in 30,000 runs.
    const NAMES: u32 = 300_000;

    #[test]
    fn every_name_is_found_until_it_is_removed() {
        let names: Vec<String> = (0..NAMES).map(|number| format!("w{number}")).collect();
        let name_of = |number: u32| names[number as usize].as_str();
        let mut index = Index::default();
        for number in 0..NAMES {
            assert_eq!(index.find(name_of(number), name_of), None);
            index.insert(name_of(number), number);
        }
        for number in (0..NAMES).step_by(2) {
            index.remove(name_of(number), name_of);
        }
        for number in 0..NAMES {
            let expected = (number % 2 == 1).then_some(number);
            assert_eq!(index.find(name_of(number), name_of), expected);
        }
        index.remove("never there", name_of);
        assert_eq!(index.find(name_of(1), name_of), Some(1));
    }
}
