//! The messages to the service manager after given events. Real sockets: tests/clients/test_service_manager.py.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn view(state: EngineState) -> View {
    View { state, gauges: EngineGauges::default(), leaving: false, pulse: PulseReading::default() }
}

fn told(watchdog: Option<u64>) -> (Told, Instant) {
    let now = Instant::now();
    (Told::new(watchdog.map(Duration::from_secs), now), now)
}

fn status(text: &str) -> Notice {
    Notice::Status(text.to_owned())
}

#[test]
fn a_start_reports_its_progress_extends_its_time_and_is_ready_once() {
    let (mut told, now) = told(None);
    let mut after = |event, state| told.messages(event, &view(state), now);

    assert_eq!(after(Event::Tick, EngineState::Preparing), [status("the model file is being fetched or checked"), Notice::Extend]);
    assert_eq!(after(Event::State, EngineState::Loading(0.429)), [status("the model is being loaded: 42 %")]);
    assert_eq!(after(Event::Tick, EngineState::Loading(0.429)), [Notice::Extend]);
    assert_eq!(after(Event::State, EngineState::Ready), [Notice::Ready, status("serving: 0 sequences run, 0 wait")]);
    assert_eq!(after(Event::Tick, EngineState::Ready), []);
}

#[test]
fn an_engine_that_starts_again_changes_the_status_alone() {
    let (mut told, now) = told(None);
    told.messages(Event::State, &view(EngineState::Ready), now);
    let mut after = |event, state| told.messages(event, &view(state), now);

    let cause = EngineState::Restarting("killed by signal 9\nREADY=1".to_owned());
    assert_eq!(after(Event::State, cause.clone()), [status("the engine stopped (killed by signal 9) and is being started again")]);
    assert_eq!(after(Event::Tick, cause), []);
    assert_eq!(after(Event::State, EngineState::Ready), [status("serving: 0 sequences run, 0 wait")]);
}

#[test]
fn a_reload_is_told_from_beginning_to_end_unless_the_server_starts_or_stops() {
    let (mut told, now) = told(None);
    let mut after = |phase, state| told.messages(Event::Phase(phase), &view(state), now);

    assert_eq!(after(Phase::Reloading, EngineState::Loading(0.0)), [status("the model is being loaded: 0 %")]);
    assert_eq!(after(Phase::Reloaded, EngineState::Loading(0.0)), []);
    assert_eq!(after(Phase::Reloaded, EngineState::Ready), [Notice::Ready, status("serving: 0 sequences run, 0 wait")]);
    assert_eq!(after(Phase::Reloading, EngineState::Ready), [Notice::Reloading, Notice::Now]);
    assert_eq!(after(Phase::Reloaded, EngineState::Ready), [Notice::Ready]);
    assert_eq!(after(Phase::Stopping, EngineState::Ready), [Notice::Stopping, status("stopping")]);
    assert_eq!(after(Phase::Reloading, EngineState::Ready), []);
    assert_eq!(after(Phase::Reloaded, EngineState::Ready), []);
}

#[test]
fn a_stop_extends_its_time_and_says_how_many_still_run() {
    let (mut told, now) = told(None);
    told.messages(Event::State, &view(EngineState::Ready), now);
    told.messages(Event::Phase(Phase::Stopping), &view(EngineState::Ready), now);

    let mut draining = view(EngineState::Draining);
    draining.gauges.running = 3;
    assert_eq!(told.messages(Event::Tick, &draining, now), [status("stopping: 3 sequences still run"), Notice::Extend]);

    let (mut early, now) = self::told(None);
    assert_eq!(early.messages(Event::Phase(Phase::Stopping), &view(EngineState::Ready), now), [Notice::Stopping, status("stopping")]);
}

#[test]
fn the_watchdog_is_fed_unless_a_busy_engine_stands_still() {
    let (mut told, now) = told(Some(20));
    told.messages(Event::State, &view(EngineState::Ready), now);
    let mut is_fed = |state, ticks, still| {
        let pulse = PulseReading { ticks, still: still * SECOND };
        let messages = told.messages(Event::Tick, &View { pulse, ..view(state) }, now);
        messages.contains(&Notice::Watchdog)
    };

    assert!(is_fed(EngineState::Ready, 1, 0));
    assert!(is_fed(EngineState::Ready, 2, 9));
    assert!(!is_fed(EngineState::Ready, 3, 10));
    assert!(is_fed(EngineState::Restarting("killed".to_owned()), 4, 10), "the engine is being started again");
    assert!(is_fed(EngineState::Draining, 4, 10), "the drain has a limit of its own");
    assert!(is_fed(EngineState::Ready, 5, 0));
}

#[test]
fn the_watchdog_is_not_fed_when_nobody_watches_the_engine() {
    let (mut told, begun) = told(Some(20));
    told.messages(Event::State, &view(EngineState::Ready), begun);
    let mut is_fed = |ticks, seconds| {
        let pulse = PulseReading { ticks, still: Duration::ZERO };
        told.messages(Event::Tick, &View { pulse, ..view(EngineState::Ready) }, begun + seconds * SECOND).contains(&Notice::Watchdog)
    };

    assert_eq!(
        [is_fed(1, 0), is_fed(1, 9), is_fed(1, 10), is_fed(2, 11), is_fed(2, 20), is_fed(2, 21)],
        [true, true, false, true, true, false]
    );
}

#[test]
fn without_a_watchdog_none_is_fed_and_its_time_sets_the_period() {
    let (mut none, now) = told(None);
    assert!(!none.messages(Event::Tick, &view(EngineState::Ready), now).contains(&Notice::Watchdog));

    let period = |watchdog: Option<Duration>| Told::new(watchdog, now).period();
    let periods = [None, Some(SECOND * 300), Some(SECOND * 8), Some(SECOND / 1000)].map(period);
    assert_eq!(periods, [PERIOD, PERIOD, SECOND * 2, MIN_PERIOD]);
}

#[test]
fn messages_have_the_form_of_sd_notify() {
    let messages = [Notice::Ready, Notice::Reloading, Notice::Stopping, status("serving"), Notice::Extend, Notice::Watchdog];

    let lines = messages.map(|message| message.state().unwrap().to_string());

    let expected = ["READY=1", "RELOADING=1", "STOPPING=1", "STATUS=serving", "EXTEND_TIMEOUT_USEC=60000000", "WATCHDOG=1"];
    assert_eq!(lines, expected);
    assert!(Notice::Now.state().unwrap().to_string().starts_with("MONOTONIC_USEC="));
}

#[test]
fn what_could_not_be_sent_is_said_again() {
    let (mut told, now) = told(None);
    told.messages(Event::State, &view(EngineState::Ready), now);

    told.on_sent(Err("no such file".to_owned()));
    let again = told.messages(Event::Tick, &view(EngineState::Ready), now);
    told.on_sent(Ok(()));
    let later = told.messages(Event::Tick, &view(EngineState::Ready), now);

    assert_eq!(again, [Notice::Ready, status("serving: 0 sequences run, 0 wait")]);
    assert_eq!(later, []);

    told.messages(Event::Phase(Phase::Stopping), &view(EngineState::Ready), now);
    told.on_sent(Err("no such file".to_owned()));
    assert_eq!(told.messages(Event::State, &view(EngineState::Ready), now), [Notice::Stopping, status("stopping")]);
}
