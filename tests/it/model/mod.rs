//! Comparisons with llama.cpp itself: the only tests that name it.

mod sampling;
