//! The one integration binary: each test binary links all of llama.cpp.

mod tidy;
