//! The only place that names llama.cpp's bindings, and the only place with unsafe code.
