# Read by the build of llama-cpp-python: llama.cpp's helpers for its programs take half of the time and no binding uses them.
set(LLAMA_BUILD_COMMON OFF)
