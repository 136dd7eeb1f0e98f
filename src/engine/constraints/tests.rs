//! Tests of submissions that are cancelled, new or known, and of the end of the queue. They use no model and no
//! process: nothing is compiled.

use super::*;
use crate::protocol::{CallId, EngineReply};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

fn constraints() -> (Constraints, Receiver<WorkerCommand>) {
    let (commands, received) = sync_channel(8);
    (Constraints::new(commands), received)
}

fn request(id: u64) -> Box<SequenceRequest> {
    Box::new(SequenceRequest { id: SequenceId(id), constraint: Some(Constraint::JsonObject), ..SequenceRequest::default() })
}

fn check(constraints: &Constraints, call: u64, constraint: Constraint, namespace: u64) -> Option<FromEngine> {
    constraints.check(Asked { id: CallId(call), question: CheckConstraint { constraint, namespace } })
}

#[test]
fn a_cancellation_before_its_turn_ends_a_submission() {
    let (constraints, received) = constraints();
    constraints.submit(request(1));
    constraints.submit(request(2));

    assert!(constraints.cancel(SequenceId(1)));

    assert!(matches!(constraints.next(true), Some(AssignedJob { job: Job::Submit { request, .. }, .. }) if request.id == SequenceId(2)));
    assert!(matches!(received.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_cancellation_while_it_is_compiled_ends_a_submission() {
    let (constraints, received) = constraints();
    constraints.submit(request(1));
    assert!(constraints.next(true).is_some());

    assert!(constraints.cancel(SequenceId(1)));
    constraints.pass_on(SequenceId(1), WorkerCommand::Submit { request: request(1), matcher: None });

    assert!(matches!(received.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn a_cancellation_after_a_submission_is_the_engine_thread_s() {
    let (constraints, received) = constraints();
    constraints.submit(request(1));
    assert!(constraints.next(true).is_some());

    constraints.pass_on(SequenceId(1), WorkerCommand::Submit { request: request(1), matcher: None });

    assert!(!constraints.cancel(SequenceId(1)));
    assert!(matches!(received.try_recv(), Ok(WorkerCommand::Submit { .. })));
}

#[test]
fn when_the_gateway_is_gone_the_threads_end_and_so_does_the_engine_s_queue() {
    let (constraints, received) = constraints();
    constraints.submit(request(1));

    constraints.close();

    assert!(constraints.next(true).is_none());
    assert!(matches!(received.try_recv(), Err(TryRecvError::Disconnected)));
}

/// The calls in the order in which threads get them; the place of each is given back at once.
fn order(constraints: &Constraints) -> Vec<u64> {
    let mut calls = Vec::new();
    while !constraints.lock().new.is_empty() {
        let Some(AssignedJob { job: Job::Check { asked, .. }, place: Some(caller) }) = constraints.next(true) else { break };
        constraints.leave(caller, &asked.question.constraint);
        calls.push(asked.id.0);
    }
    calls
}

#[test]
fn callers_with_new_constraints_take_turns() {
    let (constraints, _received) = constraints();
    for call in 0..4 {
        assert_eq!(check(&constraints, call, Constraint::Regex(call.to_string()), 1), None);
    }
    assert_eq!(check(&constraints, 9, Constraint::JsonObject, 2), None);

    assert_eq!(order(&constraints), [0, 9, 1, 2, 3]);
}

#[test]
fn a_caller_with_too_many_new_constraints_gets_busy_and_others_do_not() {
    let (constraints, _received) = constraints();
    for call in 0..MAX_WAITING {
        let call = u64::try_from(call).unwrap();
        assert_eq!(check(&constraints, call, Constraint::Regex(call.to_string()), 1), None);
    }

    let answer = check(&constraints, 99, Constraint::JsonObject, 1);

    let Some(FromEngine::Reply { id: CallId(99), reply: EngineReply::Check(Err(error)) }) = &answer else { panic!("{answer:?}") };
    assert_eq!(error.kind, Busy);
    assert_eq!(check(&constraints, 100, Constraint::JsonObject, 2), None);
}
