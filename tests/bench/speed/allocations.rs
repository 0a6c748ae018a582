//! How many allocations a heartbeat makes.

use super::Bench;
use super::table::{Measured, Row, Target, Unit};
use super::workload::{INIT, Order, heartbeats};
use mapreduce_master::node;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;

/// The system's allocator, with a count of allocations for each thread. The count is not atomic, so that it does not
/// slow down the baselines, which use this allocator, too.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written without; each call goes to the system's as it came"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

/// In steady state, heartbeats allocate nothing: once every worker is known, twice as many heartbeats make no more
/// allocations.
pub fn rows(_: &Bench) -> io::Result<Vec<Row>> {
    const COUNT: usize = 100_000;
    let cases = [
        ("before `init`", &b""[..], Order::Normal),
        ("after `init`", INIT, Order::Normal),
        ("after `init`, in any other order", INIT, Order::All),
    ];
    let mut rows = Vec::new();
    for (when, init, order) in cases {
        let allocated = |count| {
            let input = [init, &heartbeats(count, 1_000, order)].concat();
            let before = ALLOCATIONS.get();
            node::run(&input[..], io::sink(), io::sink(), false).map_err(io::Error::other)?;
            Ok::<_, io::Error>(ALLOCATIONS.get() - before)
        };
        let (once, twice) = (allocated(COUNT)?, allocated(2 * COUNT)?);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let more = (twice.abs_diff(once)) as f64;
        rows.push(Row {
            what: format!("allocations of 100,000 more heartbeats {when}"),
            against: "",
            target: Target::AtMost(0.0, Unit::Allocations),
            measured: Measured::Value(more, format!("{once} for the first")),
            how: "node::run in this process",
        });
    }
    Ok(rows)
}
