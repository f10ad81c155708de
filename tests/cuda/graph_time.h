// How long the GPU takes for launches, without the host's share: they are captured as one graph.
#pragma once

#include <algorithm>
#include <cmath>

#include "cuda/runtime.h"

namespace lowbit::test {

// Microseconds for each of `launches` calls body(i, stream), the best of six graphs of them all.
template <class Body>
double graph_microseconds(int launches, const Body& body) {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  LB_CUDA(cudaStreamCreate(&stream));
  LB_CUDA(cudaEventCreate(&begin));
  LB_CUDA(cudaEventCreate(&end));
  LB_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < launches; ++i) body(i, stream);
  LB_CUDA(cudaStreamEndCapture(stream, &graph));
  LB_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  float best = INFINITY;
  for (int i = 0; i < 6; ++i) {
    LB_CUDA(cudaEventRecord(begin, stream));
    LB_CUDA(cudaGraphLaunch(exec, stream));
    LB_CUDA(cudaEventRecord(end, stream));
    LB_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    LB_CUDA(cudaEventElapsedTime(&ms, begin, end));
    best = std::min(best, ms);
  }
  LB_CUDA(cudaGraphExecDestroy(exec));
  LB_CUDA(cudaGraphDestroy(graph));
  LB_CUDA(cudaEventDestroy(begin));
  LB_CUDA(cudaEventDestroy(end));
  LB_CUDA(cudaStreamDestroy(stream));
  return double{best} * 1e3 / launches;
}

}  // namespace lowbit::test
