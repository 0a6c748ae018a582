//! A state that contains something of every kind, and queries about it.

/// Requests that leave something of every kind in the state: workers known, failed, removed and joined again, attempts live, lost
/// and failed, a backup that waits, a task taken in, results with and without partitions.
pub const TRACES: [&str; 24] = [
    r#"{"type": "init", "node_id": "n1"}"#,
    r#"{"type": "heartbeat", "worker_id": "gone", "timestamp": 1}"#,
    r#"{"type": "heartbeat", "worker_id": "w1", "timestamp": 1}"#,
    r#"{"type": "heartbeat", "worker_id": "w2", "timestamp": -9223372036854775808}"#,
    r#"{"type": "heartbeat", "worker_id": "w3", "timestamp": 9223372036854775807}"#,
    r#"{"type": "submit_job", "job_id": "gone-job", "tasks": [{"id": "gone-task", "chunk": "gone-chunk"}]}"#,
    r#"{"type": "request_task", "worker_id": "gone", "timestamp": 2}"#,
    r#"{"type": "remove_job", "job_id": "gone-job"}"#,
    r#"{"type": "remove_worker", "worker_id": "gone"}"#,
    r#"{"type": "submit_job", "job_id": "j", "tasks": [{"id": "m0", "chunk": null}, {"id": "m1", "chunk": 1e400}, {"id": "m2", "chunk": "\ud800"}, {"id": "m3", "chunk": -0}], "reduce_tasks": 2, "max_losses": 9}"#,
    r#"{"type": "request_task", "worker_id": "w1", "timestamp": 10}"#,
    r#"{"type": "complete_task", "worker_id": "w1", "task_id": "m0", "attempt": 1, "timestamp": 12, "output": [null, {"a":1.0}]}"#,
    r#"{"type": "request_task", "worker_id": "w1", "timestamp": 13}"#,
    r#"{"type": "request_task", "worker_id": "w2", "timestamp": 14}"#,
    r#"{"type": "fail_task", "worker_id": "w2", "task_id": "m2", "attempt": 1, "timestamp": 15, "error": "e"}"#,
    r#"{"type": "request_task", "worker_id": "w3", "timestamp": 16}"#,
    r#"{"type": "check_stragglers", "now": 1000, "slow_after_ms": 500}"#,
    r#"{"type": "request_task", "worker_id": "w4", "timestamp": 990}"#,
    r#"{"type": "check_failures", "timeout_ms": 100, "now": 1000}"#,
    r#"{"type": "remove_worker", "worker_id": "w2"}"#,
    r#"{"type": "heartbeat", "worker_id": "w2", "timestamp": 3}"#,
    r#"{"type": "reassign", "failed_worker": "w1", "healthy_worker": "w5", "tasks": [{"id": "x", "chunk": []}]}"#,
    r#"{"type": "submit_job", "job_id": "empty", "tasks": []}"#,
    r#"{"type": "check_stragglers", "now": 5000, "slow_after_ms": 500}"#,
];

/// Queries about all of that. The last few requests then continue from it.
pub const QUESTIONS: [&str; 20] = [
    r#"{"type": "status"}"#,
    r#"{"type": "job_status", "job_id": "j"}"#,
    r#"{"type": "job_status", "job_id": "gone-job"}"#,
    r#"{"type": "job_status", "job_id": "empty"}"#,
    r#"{"type": "job_status", "job_id": ""}"#,
    r#"{"type": "task_status", "task_id": "m0"}"#,
    r#"{"type": "task_status", "task_id": "m1"}"#,
    r#"{"type": "task_status", "task_id": "m2"}"#,
    r#"{"type": "task_status", "task_id": "m3"}"#,
    r#"{"type": "task_status", "task_id": "j-reduce-1"}"#,
    r#"{"type": "task_status", "task_id": "x"}"#,
    r#"{"type": "init", "node_id": "n2"}"#,
    r#"{"type": "check_failures", "timeout_ms": 0, "now": 6000}"#,
    r#"{"type": "request_task", "worker_id": "w5", "timestamp": 6001, "running": ["m0", "m1"]}"#,
    r#"{"type": "request_task", "worker_id": "w4", "timestamp": 6002}"#,
    r#"{"type": "request_task", "worker_id": "w6", "timestamp": 6003}"#,
    r#"{"type": "request_task", "worker_id": "w7", "timestamp": 6004}"#,
    r#"{"type": "reassign", "failed_worker": "w4", "healthy_worker": "w6"}"#,
    r#"{"type": "check_failures", "timeout_ms": 0, "now": 9000}"#,
    r#"{"type": "status"}"#,
];
