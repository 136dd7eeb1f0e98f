//! The engine thread: drain commands, plan a step, execute, sample, report.
