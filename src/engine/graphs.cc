#include "engine/graphs.h"

#include "base/check.h"

namespace lowbit {

Graphs::~Graphs() {
  if (!backend_.graph) return;
  try {
    backend_.synchronize(stream_of(backend_));  // a step may be running
  } catch (const Error&) {
    // The device is lost, and with it what ran there.
  }
}

void Graphs::abandon(Stream stream) {
  try {
    api_->destroy(api_->end_capture(stream));
  } catch (const Error&) {
    // What broke the capture is on its way to the caller.
  }
}

}  // namespace lowbit
