//! The kit's jobs on one machine (`src/cluster/local.py`), run as a user would: each result is compared with a direct
//! count, whatever happens to the workers, the input, or the user's code.

mod local {
    mod failures;
    mod inputs;
    mod interruptions;
    mod jobs;
    mod kit;
    mod worker;
}
