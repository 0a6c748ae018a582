//! The run times of a job's completed tasks of one kind, and their median (protocol, section 6).

use std::collections::BTreeMap;

/// A multiset of run times in ms, split into a lower and an upper half. The median is where the halves meet, so its cost
/// does not depend on their size.
#[derive(Debug, Default)]
pub struct RunTimes {
    /// Holds as many times as `upper`, or one more. None is greater than any in `upper`.
    lower: Half,
    upper: Half,
}

#[derive(Debug, Default)]
struct Half {
    times: BTreeMap<i128, u64>,
    count: u64,
}

impl Half {
    fn add(&mut self, time: i128) {
        *self.times.entry(time).or_default() += 1;
        self.count += 1;
    }

    fn remove(&mut self, time: i128) -> bool {
        let Some(count) = self.times.get_mut(&time) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.times.remove(&time);
        }
        self.count -= 1;
        true
    }

    fn first(&self) -> Option<i128> {
        self.times.first_key_value().map(|(time, _)| *time)
    }

    fn last(&self) -> Option<i128> {
        self.times.last_key_value().map(|(time, _)| *time)
    }
}

impl RunTimes {
    pub fn add(&mut self, time: i128) {
        if self.upper.first().is_some_and(|first| time >= first) {
            self.upper.add(time);
        } else {
            self.lower.add(time);
        }
        self.balance();
    }

    /// Removes a time that was added.
    pub fn remove(&mut self, time: i128) {
        let removed = self.lower.remove(time) || self.upper.remove(time);
        debug_assert!(removed, "the time was added");
        self.balance();
    }

    /// Twice the median, which is a whole number: the median of an even count is the mean of the two in the middle.
    pub fn twice_median(&self) -> Option<i128> {
        let lower = self.lower.last()?;
        let upper = if self.lower.count > self.upper.count {
            lower
        } else {
            self.upper.first()?
        };
        Some(lower + upper)
    }

    fn balance(&mut self) {
        if self.lower.count > self.upper.count + 1 {
            if let Some(time) = self.lower.last() {
                self.lower.remove(time);
                self.upper.add(time);
            }
        } else if self.upper.count > self.lower.count
            && let Some(time) = self.upper.first()
        {
            self.upper.remove(time);
            self.lower.add(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RunTimes;

    #[test]
    fn the_median_is_that_of_the_sorted_list() {
        let mut run_times = RunTimes::default();
        let mut list: Vec<i128> = Vec::new();
        let mut state = 1_u64;
        for _ in 0..2000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let random = (state >> 33) as usize;
            if random.is_multiple_of(3) && !list.is_empty() {
                run_times.remove(list.swap_remove(random / 3 % list.len()));
            } else {
                let time = (random % 20) as i128 - 5;
                run_times.add(time);
                list.push(time);
            }
            let mut sorted = list.clone();
            sorted.sort_unstable();
            let expected = (!sorted.is_empty())
                .then(|| sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]);
            assert_eq!(run_times.twice_median(), expected);
        }
    }
}
