// Device memory that kernels leave partial results in.
#pragma once

#include <cstddef>

namespace lowbit::cuda {

// Zeroed when it is first handed out; users leave the words that count at zero again. One user at a
// time: kernels of one stream. May be called while a stream is captured: memory that was handed out
// stays valid, so a captured graph keeps what it was captured with.
float* attention_workspace(size_t bytes);

// Memory that is never freed, all its bytes alike; may be called while a stream is captured.
void* filled_workspace(size_t bytes, int byte);

}  // namespace lowbit::cuda
