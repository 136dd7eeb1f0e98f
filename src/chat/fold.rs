//! System messages that a template does not take are put into the turns of users, or joined.
//!
//! A leading one goes before the first user turn, a later one into the user turn beside it, each parted by an empty
//! line. Where no user turn is beside it, it becomes a user turn. Nothing is left out. Takes time linear in the
//! messages.

use super::{
    abilities::SystemMessages,
    conversation::{Conversation, Message, Part, Role},
};

/// The text between a system message and a user's.
const BREAK: &str = "\n\n";

/// The changes to system messages; at least one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folding {
    /// Leading system messages were put before the first user turn.
    pub leading: bool,
    /// Later system messages were put into user turns.
    pub later: bool,
    /// Leading system messages were joined to one.
    pub joined: bool,
}

/// The user turn for a later system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserTurn {
    /// The next message, else the last one, else a turn of its own.
    Beside,
    /// The last user turn before it, else the next one, however far away.
    Nearest,
}

impl Folding {
    /// The change in words, in visible ASCII and without a semicolon.
    #[must_use]
    pub fn text(self) -> &'static str {
        match (self.leading, self.later) {
            (true, _) => "system messages were put into user turns: the model's chat template takes none",
            (false, true) => "later system messages were put into user turns: the model's chat template takes them only at the beginning",
            (false, false) => "system messages were joined to one: the model's chat template takes one",
        }
    }
}

/// Brings the system messages of a conversation to places where a template takes them; `None` if nothing was changed.
pub(super) fn fold(conversation: &mut Conversation, taken: SystemMessages, turn: UserTurn) -> Option<Folding> {
    let is_system = |message: &Message| message.role == Role::System;
    let leading = conversation.messages.iter().take_while(|message| is_system(message)).count();
    let has_later = conversation.messages[leading..].iter().any(is_system);
    let folding = Folding {
        leading: taken == SystemMessages::Nowhere && leading > 0,
        later: taken < SystemMessages::Everywhere && has_later,
        joined: taken == SystemMessages::One && leading > 1,
    };
    if folding == Folding::default() {
        return None;
    }
    let mut folded = Folded { turn, messages: Vec::with_capacity(conversation.messages.len()), waiting: Vec::new(), last_user: None };
    let mut messages = std::mem::take(&mut conversation.messages).into_iter().enumerate().peekable();
    while let Some((index, message)) = messages.next() {
        let next_is_user = messages.peek().is_some_and(|(_, next)| next.role == Role::User);
        let next_is_system = messages.peek().is_some_and(|(_, next)| is_system(next));
        let stays = if index < leading { !folding.leading } else { !folding.later };
        match (is_system(&message), stays) {
            (true, true) if folding.joined => folded.join(message),
            (true, false) => folded.take(message, next_is_user, next_is_system),
            _ => folded.push(message),
        }
    }
    folded.end();
    conversation.messages = folded.messages;
    Some(folding)
}

/// The messages so far, and the system messages that wait for a user turn.
struct Folded {
    turn: UserTurn,
    messages: Vec<Message>,
    waiting: Vec<Message>,
    /// The place of the last user turn.
    last_user: Option<usize>,
}

impl Folded {
    /// Adds a message that stays, with the system messages that waited for it.
    fn push(&mut self, mut message: Message) {
        if message.role == Role::User {
            let waiting = std::mem::take(&mut self.waiting);
            if let Some(before) = joined(&waiting) {
                prepend(&mut message, &before.text);
            }
            self.last_user = Some(self.messages.len());
        }
        self.messages.push(message);
    }

    /// Adds a system message to the one before it.
    fn join(&mut self, message: Message) {
        match self.messages.last_mut() {
            Some(last) => last.append(BREAK, &message.text()),
            None => self.messages.push(message),
        }
    }

    /// Takes a system message that is to stand in a user turn.
    fn take(&mut self, message: Message, next_is_user: bool, next_is_system: bool) {
        self.waiting.push(message);
        match self.turn {
            UserTurn::Beside if next_is_user || next_is_system => {}
            UserTurn::Beside => {
                let beside = self.messages.len().checked_sub(1);
                let beside = beside.filter(|last| self.last_user == Some(*last));
                self.settle(beside);
            }
            UserTurn::Nearest if self.last_user.is_some() => self.settle(self.last_user),
            UserTurn::Nearest => {}
        }
    }

    /// Puts what waits into the user turn at this place, or into one of its own at the end.
    fn settle(&mut self, place: Option<usize>) {
        let Some(waiting) = joined(&std::mem::take(&mut self.waiting)) else { return };
        match place.and_then(|place| self.messages.get_mut(place)) {
            Some(user) => user.append(BREAK, &waiting.text),
            None => {
                self.last_user = Some(self.messages.len());
                self.messages.push(Message::of_text(Role::User, waiting.text, waiting.at));
            }
        }
    }

    /// At the end of the conversation nothing may wait.
    fn end(&mut self) {
        self.settle(None);
    }
}

/// The text of some system messages, and the place of the first one.
struct Joined {
    text: String,
    at: crate::field_path::FieldPath,
}

fn joined(messages: &[Message]) -> Option<Joined> {
    let at = messages.first()?.at.clone();
    Some(Joined { text: messages.iter().map(Message::text).collect::<Vec<String>>().join(BREAK), at })
}

fn prepend(message: &mut Message, text: &str) {
    match message.content.first_mut() {
        Some(Part::Text { text: first, .. }) => first.insert_str(0, &[text, BREAK].concat()),
        None => message.content.push(Part::Text { text: text.to_owned(), at: message.at.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_path::FieldPath;

    /// A conversation from letters with texts: `s`, `u`, `a` and `t`.
    fn conversation(turns: &[(char, &str)]) -> Conversation {
        let role = |letter| match letter {
            's' => Role::System,
            'u' => Role::User,
            'a' => Role::Assistant,
            _ => Role::Tool,
        };
        let message = |(letter, text): &(char, &str)| Message::of_text(role(*letter), (*text).to_owned(), FieldPath::default());
        Conversation { messages: turns.iter().map(message).collect() }
    }

    fn folded(turns: &[(char, &str)], taken: SystemMessages, turn: UserTurn) -> (String, Option<Folding>) {
        let mut conversation = conversation(turns);
        let folding = fold(&mut conversation, taken, turn);
        let shown = conversation.messages.iter().map(|message| format!("{}:{}", message.role.name(), message.text()));
        (shown.collect::<Vec<_>>().join("|").replace(BREAK, "+"), folding)
    }

    #[test]
    fn a_template_that_takes_system_messages_gets_them_where_they_stand() {
        let turns = [('s', "1"), ('s', "2"), ('u', "a"), ('s', "3")];
        let untouched = "system:1|system:2|user:a|system:3";
        assert_eq!(folded(&turns, SystemMessages::Everywhere, UserTurn::Beside), (untouched.to_owned(), None));
        assert_eq!(folded(&turns[..3], SystemMessages::Several, UserTurn::Beside).1, None);
        assert_eq!(folded(&turns[1..3], SystemMessages::One, UserTurn::Beside).1, None);
        assert_eq!(folded(&[('u', "a")], SystemMessages::Nowhere, UserTurn::Beside).1, None);
    }

    #[test]
    fn leading_system_messages_are_joined_or_go_before_the_first_user_turn() {
        let turns = [('s', "1"), ('s', "2"), ('u', "a"), ('a', "b")];
        let joined = Folding { joined: true, ..Folding::default() };
        assert_eq!(folded(&turns, SystemMessages::One, UserTurn::Beside), ("system:1+2|user:a|assistant:b".to_owned(), Some(joined)));
        let leading = Folding { leading: true, ..Folding::default() };
        assert_eq!(folded(&turns, SystemMessages::Nowhere, UserTurn::Beside), ("user:1+2+a|assistant:b".to_owned(), Some(leading)));
        assert_eq!(folded(&[('s', "1")], SystemMessages::Nowhere, UserTurn::Beside).0, "user:1");
        assert_eq!(folded(&[('s', "1"), ('a', "b"), ('u', "c")], SystemMessages::Nowhere, UserTurn::Beside).0, "user:1|assistant:b|user:c");
    }

    #[test]
    fn later_system_messages_go_into_the_user_turn_beside_them() {
        let turns = [('s', "0"), ('u', "a"), ('s', "1"), ('a', "b"), ('s', "2"), ('s', "3"), ('u', "c"), ('a', "d"), ('s', "4")];
        let later = Folding { later: true, ..Folding::default() };
        let expected = "system:0|user:a+1|assistant:b|user:2+3+c|assistant:d|user:4";
        assert_eq!(folded(&turns, SystemMessages::Several, UserTurn::Beside), (expected.to_owned(), Some(later)));
        let after_tool = [('u', "a"), ('a', "b"), ('t', "c"), ('s', "1")];
        assert_eq!(folded(&after_tool, SystemMessages::One, UserTurn::Beside).0, "user:a|assistant:b|tool:c|user:1");
        assert_eq!(folded(&after_tool, SystemMessages::One, UserTurn::Nearest).0, "user:a+1|assistant:b|tool:c");
        assert_eq!(folded(&[('a', "b"), ('s', "1"), ('u', "c")], SystemMessages::One, UserTurn::Nearest).0, "assistant:b|user:1+c");
        assert_eq!(folded(&[('a', "b"), ('s', "1")], SystemMessages::One, UserTurn::Nearest).0, "assistant:b|user:1");
    }
}
