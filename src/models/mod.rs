//! Known models, downloads, and the check of a GGUF header before llama.cpp sees the file.
